#include "base/log.h"

namespace vellum {

void Logger::Write(LogLevel level, std::string_view file, int line, std::string_view message,
                   std::initializer_list<LogField> fields) const {
  if (!enabled(level)) return;
  // The last two parts of the path: the room and the file.
  auto slash = file.rfind('/');
  if (slash != std::string_view::npos && slash > 0) slash = file.rfind('/', slash - 1);
  if (slash != std::string_view::npos) file.remove_prefix(slash + 1);
  const std::string caller = std::string(file) + ":" + std::to_string(line);
  sink_->Write(LogRecord{level, caller, message, std::span<const LogField>(fields.begin(), fields.size())});
}

}  // namespace vellum
