#pragma once

#include <span>

#include "server/option_table.h"

namespace vellum::server {

/// The two halves of the table: what does something here, and the rest of etcd's flags.
std::span<const Option> SettingRows();
std::span<const Option> EtcdOnlyRows();

}  // namespace vellum::server
