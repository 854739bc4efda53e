# Writes the header with the commit that is being built, unless it says so already.
execute_process(COMMAND git -C "${SOURCE_DIR}" rev-parse --short=12 HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" @ONLY CONTENT [[#pragma once

#include <string_view>

namespace vellum::server {

inline constexpr std::string_view kGitCommit = "@commit@";

}  // namespace vellum::server
]])
