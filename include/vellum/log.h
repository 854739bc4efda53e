#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace vellum {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError };

/// One named value of a log line. Numbers are written without quotes in JSON.
struct LogField {
  std::string_view name;
  std::string value;
  bool is_number = false;

  LogField(std::string_view field, std::string_view text) : name(field), value(text) {}
  LogField(std::string_view field, const char* text) : name(field), value(text) {}
  LogField(std::string_view field, const std::string& text) : name(field), value(text) {}
  LogField(std::string_view field, bool truth) : name(field), value(truth ? "true" : "false"), is_number(true) {}
  template <typename T>
    requires std::is_arithmetic_v<T>
  LogField(std::string_view field, T number) : name(field), value(std::to_string(number)), is_number(true) {}
};

/// One line of the log. Everything is valid only during the call that receives it.
struct LogRecord {
  LogLevel level;
  std::string_view caller;  ///< "kv/applier.cc:120"
  std::string_view message;
  std::span<const LogField> fields;
};

/// Where log lines go. Implementations must be safe from several threads, must not block for long, and must outlive
/// whatever logs to them.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void Write(const LogRecord& record) = 0;
};

}  // namespace vellum
