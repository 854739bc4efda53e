#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/config.h"
#include "vellum/clock.h"
#include "vellum/log.h"
#include "vellum/status.h"

namespace vellum::server {

/// `bytes` as a JSON string with its quotes. Whatever is not UTF-8 becomes U+FFFD, so that a line is always valid JSON.
std::string JsonString(std::string_view bytes);

/// One line (without its end) as etcd writes it: {"level":"info","ts":"2026-11-20T13:00:00.123456Z","caller":"...",
/// "msg":"...", fields...}.
std::string JsonLine(const LogRecord& record, Clock::WallTime time);

/// The same for people: time, level, caller, message and the fields as JSON, separated by tabs.
std::string TextLine(const LogRecord& record, Clock::WallTime time);

/// The process's log: lines to standard error, standard output and files. Thread-safe; a line is written before Write
/// returns, so nothing is lost by a crash.
class LogOutput final : public LogSink {
 public:
  struct Options {
    LogFormat format = LogFormat::kJson;  ///< kAuto: text where standard error is a terminal.
    std::vector<std::string> outputs{
        "default"};  ///< "default", "stderr", "systemd/journal" (all standard error), "stdout", or files.
    Clock* clock = SystemClock();
  };

  /// kFailedPrecondition, naming the file, if one cannot be opened. Files are appended to.
  static Result<std::unique_ptr<LogOutput>> Open(Options options);
  ~LogOutput() override;

  void Write(const LogRecord& record) override;

  /// Opens the files anew, after they have been moved away. What cannot be opened keeps its old file, and is reported.
  Status Reopen();

 private:
  struct Impl;
  explicit LogOutput(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::server
