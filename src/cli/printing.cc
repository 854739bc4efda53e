#include "cli/printing.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/output.h"

namespace vellum::cli {
namespace {

/// Set by the first Ctrl-C; the second one has the default effect.
std::atomic<bool> g_cancelled{false};

void OnInterrupt(int /*signal*/) {
  g_cancelled.store(true);
  static_cast<void>(std::signal(SIGINT, SIG_DFL));
}

constexpr std::size_t kTableRowsWait = 1000;

std::string CsvCell(const std::string& cell) {
  if (cell.find_first_of(",\"\r\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char c : cell) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

/// Cells may hold any byte, zeros too.
void PrintText(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

std::string CsvLine(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) line += (i == 0 ? "" : ",") + CsvCell(cells[i]);
  return line + "\n";
}

}  // namespace

Progress::Progress(std::string what) : what_(std::move(what)), shown_(::isatty(STDERR_FILENO) == 1) {
  g_cancelled.store(false);
  static_cast<void>(std::signal(SIGINT, OnInterrupt));
  work_.cancel = &g_cancelled;
  if (shown_) work_.progress = [this](std::uint64_t records) { Show(records); };
}

Progress::~Progress() {
  static_cast<void>(std::signal(SIGINT, SIG_DFL));
  if (printed_.load()) std::fputs("\r\033[K", stderr);
}

double Progress::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}

void Progress::Show(std::uint64_t records) {
  const auto now_ms = static_cast<std::int64_t>(seconds() * 1000);
  std::int64_t last = last_ms_.load();
  if (now_ms - last < 200 || !last_ms_.compare_exchange_strong(last, now_ms)) return;
  printed_.store(true);
  std::fprintf(stderr, "\r%s: %llu records, %.1f s", what_.c_str(), static_cast<unsigned long long>(records), seconds());
}

RowPrinter::RowPrinter(Format format, std::vector<Column> columns) : format_(format), columns_(std::move(columns)) {
  if (format_ == Format::kCsv) PrintText(CsvLine(Titles()));
}

RowPrinter::~RowPrinter() {
  if (format_ == Format::kTable) FlushTable();
  if (format_ == Format::kJson) std::fputs(any_ ? "\n]\n" : "[]\n", stdout);
}

std::vector<std::string> RowPrinter::Titles() const {
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.name);
  return titles;
}

void RowPrinter::FlushTable() {
  if (!titled_) {
    waiting_.insert(waiting_.begin(), Titles());
    titled_ = true;
  }
  PrintText(Columns(waiting_));
  waiting_.clear();
}

void RowPrinter::Row(std::vector<std::string> cells) {
  if (format_ == Format::kTable) {
    for (std::string& cell : cells) cell = PlainText(cell);
    waiting_.push_back(std::move(cells));
    if (waiting_.size() >= kTableRowsWait) FlushTable();
    return;
  }
  if (format_ == Format::kCsv) return PrintText(CsvLine(cells));
  nlohmann::ordered_json object;
  for (std::size_t i = 0; i < columns_.size() && i < cells.size(); ++i) {
    if (columns_[i].number && !cells[i].empty()) {
      object[columns_[i].name] = std::stoull(cells[i]);
    } else {
      object[columns_[i].name] = std::move(cells[i]);
    }
  }
  const std::string text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::fputs(format_ == Format::kJsonl ? "" : any_ ? ",\n" : "[\n", stdout);
  std::fputs(text.c_str(), stdout);
  if (format_ == Format::kJsonl) std::fputc('\n', stdout);
  any_ = true;
}

}  // namespace vellum::cli
