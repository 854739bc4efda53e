#include "server/log_output.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/log.h"
#include "base/manual_clock.h"

namespace vellum::server {
namespace {

class LogFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "vellum_log_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

  std::filesystem::path directory_;
};

TEST(LogLine, IsZapsJson) {
  ManualClock clock;
  const LogField fields[] = {{"revision", 5}, {"file", "a b"}, {"ok", true}, {"ratio", 0.5}};
  const LogRecord record{LogLevel::kWarn, "kv/applier.cc:12", "said \"so\"", fields};
  const Clock::WallTime time(std::chrono::seconds(1'795'179'600) + std::chrono::microseconds(123'456));
  EXPECT_EQ(JsonLine(record, time),
            "{\"level\":\"warn\",\"ts\":\"2026-11-20T13:00:00.123456Z\",\"caller\":\"kv/applier.cc:12\","
            "\"msg\":\"said \\\"so\\\"\",\"revision\":5,\"file\":\"a b\",\"ok\":true,\"ratio\":0.500000}");
  EXPECT_EQ(TextLine(record, time),
            "2026-11-20T13:00:00.123Z\twarn\tkv/applier.cc:12\tsaid \\\"so\\\"\t"
            "{\"revision\":5, \"file\":\"a b\", \"ok\":true, \"ratio\":0.500000}");
}

TEST(LogLine, TimesBefore1970HaveDigitsToo) {
  const LogRecord record{LogLevel::kInfo, "a.cc:1", "m", {}};
  EXPECT_NE(JsonLine(record, Clock::WallTime(std::chrono::nanoseconds(-1))).find("1969-12-31T23:59:59.999999Z"),
            std::string::npos);
}

TEST(LogLine, ANumberThatIsNoneIsQuoted) {
  const LogField fields[] = {{"x", std::numeric_limits<double>::quiet_NaN()},
                             {"y", std::numeric_limits<double>::infinity()}};
  const std::string line = JsonLine({LogLevel::kInfo, "a.cc:1", "m", fields}, {});
  EXPECT_NE(line.find("\"x\":\"nan\""), std::string::npos) << line;
  EXPECT_NE(line.find("\"y\":\"inf\""), std::string::npos) << line;
}

TEST(JsonString, EscapesArbitraryBytes) {
  EXPECT_EQ(JsonString("a\"b\\c\n\t\r"), "\"a\\\"b\\\\c\\n\\t\\r\"");
  EXPECT_EQ(JsonString(std::string_view("\0\x01\x1F\x7F", 4)), "\"\\u0000\\u0001\\u001f\\u007f\"");
  EXPECT_EQ(JsonString("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), "\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\"");
  // Cut short, overlong, a surrogate, too large, a stray continuation: each offending byte is replaced.
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(JsonString("\xC3"), "\"" + bad + "\"");
  EXPECT_EQ(JsonString("\xC0\xAF"), "\"" + bad + bad + "\"");
  EXPECT_EQ(JsonString("\xED\xA0\x80"), "\"" + bad + bad + bad + "\"");
  EXPECT_EQ(JsonString("\xF5\x80\x80\x80"), "\"" + bad + bad + bad + bad + "\"");
  EXPECT_EQ(JsonString("a\x80z"), "\"a" + bad + "z\"");
}

TEST_F(LogFile, WritesLinesToSeveralFiles) {
  Result<std::unique_ptr<LogOutput>> log = LogOutput::Open({.outputs = {Path("a"), Path("b")}});
  ASSERT_TRUE(log.ok()) << log.error().ToString();
  const Logger logger(log->get(), LogLevel::kInfo);
  VELLUM_LOG(logger, kInfo, "first", {{"n", 1}});
  VELLUM_LOG(logger, kDebug, "not shown");
  for (const std::string name : {"a", "b"}) {
    const std::string text = Read(Path(name));
    EXPECT_NE(text.find("\"msg\":\"first\",\"n\":1}\n"), std::string::npos) << text;
    EXPECT_EQ(text.find("not shown"), std::string::npos);
    EXPECT_NE(text.find("server/log_output_test.cc:"), std::string::npos) << text;
  }
}

TEST_F(LogFile, ReopensAfterTheFileWasMoved) {
  Result<std::unique_ptr<LogOutput>> log = LogOutput::Open({.outputs = {Path("a"), "stderr"}});
  ASSERT_TRUE(log.ok());
  const Logger logger(log->get());
  VELLUM_LOG(logger, kInfo, "before");
  std::filesystem::rename(Path("a"), Path("a.1"));
  ASSERT_TRUE((*log)->Reopen().ok());
  VELLUM_LOG(logger, kInfo, "after");
  EXPECT_NE(Read(Path("a.1")).find("before"), std::string::npos);
  EXPECT_EQ(Read(Path("a.1")).find("after"), std::string::npos);
  EXPECT_NE(Read(Path("a")).find("after"), std::string::npos);
}

TEST_F(LogFile, NamesAFileThatCannotBeOpened) {
  std::ofstream(Path("file")) << "x";
  const Result<std::unique_ptr<LogOutput>> log = LogOutput::Open({.outputs = {Path("file") + "/log"}});
  ASSERT_FALSE(log.ok());
  EXPECT_EQ(log.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(log.error().message().find(Path("file")), std::string::npos);
}

TEST_F(LogFile, LinesOfSeveralThreadsStayWhole) {
  Result<std::unique_ptr<LogOutput>> log = LogOutput::Open({.outputs = {Path("a")}});
  ASSERT_TRUE(log.ok());
  const Logger logger(log->get());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&logger] {
      for (int i = 0; i < 100; ++i) VELLUM_LOG(logger, kInfo, "line", {{"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(Read(Path("a")));
  std::string line;
  int count = 0;
  for (; std::getline(lines, line); ++count) {
    EXPECT_TRUE(line.starts_with("{\"level\"") && line.ends_with("}")) << line;
  }
  EXPECT_EQ(count, 400);
}

}  // namespace
}  // namespace vellum::server
