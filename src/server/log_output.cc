#include "server/log_output.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <shared_mutex>

#include "base/bytes.h"
#include "base/utf8.h"

namespace vellum::server {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarn: return "warn";
    case LogLevel::kError: return "error";
  }
  return "error";
}

// "2026-11-20T13:00:00.123456Z" with the number of digits asked for.
std::string Timestamp(Clock::WallTime time, int digits) {
  const auto whole = std::chrono::floor<std::chrono::seconds>(time);
  const std::time_t seconds = whole.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 48> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::string fraction =
      std::to_string(1'000'000'000 + (time - whole).count()).substr(1, static_cast<std::size_t>(digits));
  return std::string(text.data(), size) + "." + fraction + "Z";
}

// True for what JSON takes without quotes: true, false and finite numbers.
bool IsBareJson(std::string_view value) {
  if (value == "true" || value == "false") return true;
  if (value.empty() || value.size() > 400) return false;
  for (const char c : value) {
    if ((c < '0' || c > '9') && c != '-' && c != '.') return false;
  }
  return true;
}

void AppendField(std::string* out, const LogField& field) {
  *out += JsonString(field.name) + ":";
  *out += field.is_number && IsBareJson(field.value) ? field.value : JsonString(field.value);
}

}  // namespace

std::string JsonString(std::string_view bytes) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\"";
  while (!bytes.empty()) {
    const auto c = static_cast<unsigned char>(bytes.front());
    std::size_t length = 1;
    if (c == '"' || c == '\\') {
      out += {'\\', bytes.front()};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c < 0x20 || c == 0x7F) {
      out += "\\u00";
      out += {kHex[c >> 4], kHex[c & 15]};
    } else if (length = Utf8Length(bytes); length == 0) {
      out += kReplacement;
      length = 1;
    } else {
      out += bytes.substr(0, length);
    }
    bytes.remove_prefix(length);
  }
  return out + "\"";
}

std::string JsonLine(const LogRecord& record, Clock::WallTime time) {
  std::string line = "{\"level\":\"" + std::string(LevelName(record.level)) + "\",\"ts\":\"" + Timestamp(time, 6) +
                     "\",\"caller\":" + JsonString(record.caller) + ",\"msg\":" + JsonString(record.message);
  for (const LogField& field : record.fields) {
    line += ',';
    AppendField(&line, field);
  }
  return line + "}";
}

std::string TextLine(const LogRecord& record, Clock::WallTime time) {
  // Escaped as in JSON, without the quotes: a message must not be able to forge a line.
  const std::string message = JsonString(record.message);
  std::string line = Timestamp(time, 3) + "\t" + std::string(LevelName(record.level)) + "\t" +
                     std::string(record.caller) + "\t" + message.substr(1, message.size() - 2);
  if (record.fields.empty()) return line;
  line += "\t{";
  for (const LogField& field : record.fields) {
    if (line.back() != '{') line += ", ";
    AppendField(&line, field);
  }
  return line + "}";
}

struct LogOutput::Impl {
  Options options;
  bool json = true;
  std::shared_mutex mu;                 // shared: writing; alone: exchanging the sinks
  std::vector<spdlog::sink_ptr> sinks;  // guarded by mu
};

namespace {

Result<spdlog::sink_ptr> OpenSink(const std::string& output) {
  spdlog::sink_ptr sink;
  try {
    if (output == "default" || output == "stderr" || output == "systemd/journal") {
      sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    } else if (output == "stdout") {
      sink = std::make_shared<spdlog::sinks::stdout_sink_mt>();
    } else {
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(output);
    }
    // Lines come ready-made.
    sink->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, "\n"));
  } catch (const spdlog::spdlog_ex& error) {
    // spdlog's only way to say so; it ends here.
    return FailedPrecondition("cannot open log file " + Printable(output, 256) + ": " + error.what());
  }
  return sink;
}

bool IsFile(const std::string& output) {
  return output != "default" && output != "stderr" && output != "stdout" && output != "systemd/journal";
}

}  // namespace

LogOutput::LogOutput(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogOutput::~LogOutput() = default;

Result<std::unique_ptr<LogOutput>> LogOutput::Open(Options options) {
  auto impl = std::make_unique<Impl>();
  impl->json = options.format == LogFormat::kJson || (options.format == LogFormat::kAuto && isatty(STDERR_FILENO) == 0);
  for (const std::string& output : options.outputs) {
    VELLUM_ASSIGN_OR_RETURN(spdlog::sink_ptr sink, OpenSink(output));
    impl->sinks.push_back(std::move(sink));
  }
  impl->options = std::move(options);
  return std::unique_ptr<LogOutput>(new LogOutput(std::move(impl)));
}

void LogOutput::Write(const LogRecord& record) {
  const Clock::WallTime now = impl_->options.clock->WallNow();
  const std::string line = impl_->json ? JsonLine(record, now) : TextLine(record, now);
  const spdlog::details::log_msg message(spdlog::string_view_t(), spdlog::level::info, line);
  const std::shared_lock lock(impl_->mu);
  for (const spdlog::sink_ptr& sink : impl_->sinks) {
    try {
      sink->log(message);
      sink->flush();
    } catch (const std::exception&) {
      // A full disk must not end the server; standard error is the last place to say so.
      static_cast<void>(std::fputs("vellum: a log line could not be written\n", stderr));
    }
  }
}

Status LogOutput::Reopen() {
  Status first;
  const std::unique_lock lock(impl_->mu);
  for (std::size_t i = 0; i < impl_->sinks.size(); ++i) {
    if (!IsFile(impl_->options.outputs[i])) continue;
    Result<spdlog::sink_ptr> sink = OpenSink(impl_->options.outputs[i]);
    if (sink.ok()) {
      impl_->sinks[i] = *std::move(sink);
    } else if (first.ok()) {
      first = std::move(sink).error();
    }
  }
  return first;
}

}  // namespace vellum::server
