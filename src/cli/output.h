#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vellum/types.h"

/// What the tools print. JSON has etcdctl's names, and base64 where bytes need not be text.
namespace vellum::cli {

std::string Base64(std::string_view bytes);

/// Rows in columns that are as wide as their widest cell, the first row being the titles.
std::string Columns(const std::vector<std::vector<std::string>>& rows);

/// Text for a terminal: without what would move the cursor, or begin a row of its own.
std::string PlainText(std::string_view text);

/// "25 kB", "1.2 MB": three digits at most.
std::string Bytes(std::int64_t bytes);

/// One line of JSON each.
std::string RangeJson(const RangeResponse& response);
std::string EventJson(const Event& event);

/// The first key that does not begin with `prefix`, as a range's end.
std::string PrefixEnd(std::string_view prefix);

}  // namespace vellum::cli
