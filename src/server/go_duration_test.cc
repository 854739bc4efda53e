#include "server/go_duration.h"

#include <gtest/gtest.h>

#include <limits>

namespace vellum::server {
namespace {

using namespace std::chrono_literals;

TEST(GoDuration, ReadsWhatGoWrites) {
  const std::pair<std::string_view, std::chrono::nanoseconds> cases[] = {
      {"0", 0ns},
      {"0s", 0ns},
      {"5s", 5s},
      {"100ms", 100ms},
      {"1h30m", 90min},
      {"1.5h", 90min},
      {"-2s", -2s},
      {"+2s", 2s},
      {"10m0s", 10min},
      {"1us", 1us},
      {"\xC2\xB5s", 0ns},
      {"3\xC2\xB5s", 3us},
      {"3\xCE\xBCs", 3us},
      {"7ns", 7ns},
      {"0.1s", 100ms},
      {".5s", 500ms},
      {"2562047h47m16.854775807s", std::chrono::nanoseconds::max()}};
  for (const auto& [text, duration] : cases) {
    const Result<std::chrono::nanoseconds> parsed = ParseGoDuration(text);
    if (text == "\xC2\xB5s") {
      EXPECT_FALSE(parsed.ok());
      continue;
    }
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_EQ(parsed->count(), duration.count()) << text;
  }
}

TEST(GoDuration, RefusesTheRest) {
  for (const std::string_view text : {"", "5", "s", ".", ".s", "-", "5 s", "5x", "1h30", "--5s", "1e3s",
                                      "99999999999999999999s", "2562048h", "9223372036854775807s", "5s\n"}) {
    const Result<std::chrono::nanoseconds> parsed = ParseGoDuration(text);
    EXPECT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument);
  }
}

TEST(GoDuration, WritesTheShortestText) {
  EXPECT_EQ(FormatGoDuration(0s), "0s");
  EXPECT_EQ(FormatGoDuration(2h), "2h");
  EXPECT_EQ(FormatGoDuration(90min), "1h30m");
  EXPECT_EQ(FormatGoDuration(1500ms), "1s500ms");
  EXPECT_EQ(FormatGoDuration(-5s), "-5s");
  for (const std::int64_t count :
       {std::int64_t{1}, std::int64_t{123'456'789'012'345}, std::numeric_limits<std::int64_t>::max()}) {
    const std::chrono::nanoseconds duration(count);
    EXPECT_EQ(ParseGoDuration(FormatGoDuration(duration)).value_or(0ns), duration);
  }
  EXPECT_EQ(FormatGoDuration(std::chrono::nanoseconds::min()).front(), '-');
}

}  // namespace
}  // namespace vellum::server
