#pragma once

#include <string>

#include "server/config.h"

namespace vellum::server {

/// What --help prints: what the process does, and every option of the table under its group. etcd's other flags are
/// listed by name for the personality that is asked for them, with what becomes of them.
std::string HelpText(Personality personality);

/// The options as a table in Markdown, for docs/operations.md.
std::string OptionsMarkdown();

}  // namespace vellum::server
