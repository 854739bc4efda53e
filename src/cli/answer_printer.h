#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/record_json.h"
#include "cli/printing.h"
#include "sync/query.h"

/// What questions about syncs print.
namespace vellum::cli {

/// Prints an answer as it comes. Tables and CSV have rows; JSON is one object, whose member `name` lists the answer's objects, one a
/// line, and whose other members say what holds for all of it; JSONL is one object a line, and last, if there is anything
/// to say, one of those other members. Not thread-safe.
class AnswerPrinter {
 public:
  AnswerPrinter(Format format, std::string name, std::vector<RowPrinter::Column> columns);
  ~AnswerPrinter();
  AnswerPrinter(const AnswerPrinter&) = delete;
  AnswerPrinter& operator=(const AnswerPrinter&) = delete;

  bool takes_objects() const { return format_ == Format::kJson || format_ == Format::kJsonl; }
  void Row(std::vector<std::string> cells);
  /// The text of one object.
  void Object(std::string_view object);
  /// Ends the answer. `always` and `worth_saying` are the other members; JSONL leaves `always` out. An answer that is not
  /// finished is visibly cut off.
  void Finish(const nlohmann::ordered_json& always, const nlohmann::ordered_json& worth_saying);

 private:
  static constexpr std::size_t kFlushBytes = 256u << 10;
  void Flush();

  const Format format_;
  const std::string name_;
  const std::vector<RowPrinter::Column> columns_;
  std::unique_ptr<RowPrinter> rows_;  ///< Made when there is something to print, so that a failure prints no titles.
  std::string text_;
  bool any_ = false;
};

/// Prints records of one type.
class RecordLister {
 public:
  /// `name`: of the JSON list; `type`: which decides the columns.
  RecordLister(Format format, std::string name, sync::RecordType type);
  Status Print(const sync::RecordView& record);
  AnswerPrinter& answer() { return answer_; }

 private:
  AnswerPrinter answer_;
  c1z::RecordPrinter printer_;
  std::string object_;
};

/// Prints who may reach what.
class AccessLister {
 public:
  /// `question` decides the columns.
  AccessLister(Format format, const sync::AccessQuestion& question);
  Status Print(const sync::AccessRow& row);
  void Finish(const sync::AccessSummary& summary);

 private:
  const bool why_;
  const bool by_principal_;
  AnswerPrinter answer_;
};

/// Prints differences.
class DiffLister {
 public:
  DiffLister(Format format, bool summary_only);
  Status Print(const sync::DiffRow& row);
  void Finish(const sync::DiffSummary& summary);

 private:
  const bool summary_only_;
  AnswerPrinter answer_;
  c1z::RecordPrinter printer_;
  std::string object_;
};

/// Says on standard error that grants wait for expansion, if any do.
void WarnOfPending(const std::string& what, std::uint64_t pending);

/// Bytes that are no UTF-8 are replaced.
std::string JsonText(const nlohmann::ordered_json& json);

/// The parts of a record's identity with colons between them, for people.
std::string IdentityText(const sync::RecordView& record);

}  // namespace vellum::cli
