#include "c1z/tree_pipe.h"

#include <utility>

#include "base/aside.h"
#include "base/check.h"

namespace vellum::c1z {
namespace {

constexpr std::size_t kPieceBytes = 1u << 20;

}  // namespace

TreePipe::~TreePipe() {
  if (writing_.valid()) writing_.wait();
}

void TreePipe::Begin(TreeWriter::Kind kind) {
  VELLUM_CHECK(!tree_);
  kind_ = kind;
  tree_.emplace(&stream_, kind);
}

Status TreePipe::Write(const Piece& piece) {
  const std::string_view bytes = piece.bytes;
  std::size_t begin = 0;
  for (const Piece::Record& record : piece.records) {
    const std::string_view one = bytes.substr(begin, record.end - begin);
    VELLUM_TRY(kind_ == TreeWriter::Kind::kTable ? tree_->AddRow(record.row_id, one) : tree_->AddEntry(one));
    begin = record.end;
  }
  return {};
}

Status TreePipe::Add(std::int64_t row_id, std::string_view record, std::size_t at, std::string_view with) {
  const std::size_t begin = filling_.bytes.size();
  filling_.bytes.append(record);
  with.copy(filling_.bytes.data() + begin + at, with.size());
  filling_.records.push_back({row_id, filling_.bytes.size()});
  if (filling_.bytes.size() < kPieceBytes) return {};
  VELLUM_TRY(Wait());
  std::swap(filling_, written_);
  filling_.bytes.clear();
  filling_.records.clear();
  writing_ = DoAside([this] { return Write(written_); });
  return {};
}

Result<std::uint32_t> TreePipe::Finish() {
  VELLUM_TRY(Wait());
  VELLUM_TRY(Write(filling_));
  filling_.bytes.clear();
  filling_.records.clear();
  VELLUM_ASSIGN_OR_RETURN(const std::uint32_t root, tree_->Finish());
  tree_.reset();
  return root;
}

}  // namespace vellum::c1z
