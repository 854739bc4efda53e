#pragma once

#include <initializer_list>

#include "vellum/log.h"

namespace vellum {

/// A cheap handle on a LogSink with a least level. Copy it freely. A null sink drops everything.
class Logger {
 public:
  Logger() = default;
  explicit Logger(LogSink* sink, LogLevel least = LogLevel::kInfo) : sink_(sink), least_(least) {}

  bool enabled(LogLevel level) const { return sink_ != nullptr && level >= least_; }

  /// Use the macro below, which fills in `file` and `line`. `file` is cut to "room/name.cc".
  void Write(LogLevel level, std::string_view file, int line, std::string_view message,
             std::initializer_list<LogField> fields = {}) const;

 private:
  LogSink* sink_ = nullptr;
  LogLevel least_ = LogLevel::kInfo;
};

}  // namespace vellum

/// VELLUM_LOG(logger, kInfo, "message", {{"revision", 5}, {"file", name}}); the fields are not evaluated when the level is off.
#define VELLUM_LOG(logger, level, ...)                                                           \
  do {                                                                                           \
    if ((logger).enabled(::vellum::LogLevel::level))                                             \
      (logger).Write(::vellum::LogLevel::level, __FILE__, __LINE__, __VA_ARGS__);                \
  } while (false)
