#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace vellum::server {

/// Runs the server in the foreground until a signal ends it: configuration, log, signals, process. `arguments` are
/// those after the program's name and "serve". Prints help and etcd's version itself.
///
/// Returns the exit code: 0 ended as asked, 1 failed, 2 not understood. Call it on the main thread, before any other
/// thread has been started.
int RunServer(Personality personality, const std::vector<std::string>& arguments);

}  // namespace vellum::server
