#include "c1z/key_sorter.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/aside.h"
#include "base/bytes.h"
#include "base/check.h"
#include "sync/tournament.h"

namespace vellum::c1z {
namespace {

using storage::TableCursor;

constexpr std::size_t kTailBytes = 256u << 10;
constexpr std::size_t kBufferBytesMin = 4u << 10;
constexpr std::size_t kBufferBytesMax = 256u << 10;
/// How far ahead the bytes of sorted keys are fetched.
constexpr std::size_t kAhead = 8;

std::size_t SharedBytes(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t at = 0;
  for (; at + 8 <= most; at += 8) {
    std::uint64_t left = 0;
    std::uint64_t right = 0;
    std::memcpy(&left, a.data() + at, 8);
    std::memcpy(&right, b.data() + at, 8);
    if (left != right) break;
  }
  while (at < most && a[at] == b[at]) ++at;
  return at;
}

/// Sorted keys that are still in memory.
class MemoryCursor final : public TableCursor {
 public:
  explicit MemoryCursor(std::unique_ptr<sync::MemoryRun> run) : run_(std::move(run)) {}
  void Seek(std::string_view key) override { at_ = run_->LowerBound(key); }
  void Next() override { run_->Expect(++at_ + kAhead); }
  bool valid() const override { return at_ < run_->size(); }
  std::string_view key() const override { return run_->key(at_); }
  std::string_view value() const override { return {}; }
  Status status() const override { return {}; }

 private:
  const std::unique_ptr<sync::MemoryRun> run_;
  std::size_t at_ = 0;
};

/// Several as one.
class MergedCursor final : public TableCursor {
 public:
  explicit MergedCursor(std::vector<std::unique_ptr<TableCursor>> cursors)
      : cursors_(std::move(cursors)), tournament_(&cursors_, sync::Tournament::Ties::kEarlierFirst) {
    tournament_.Restart();
  }
  void Seek(std::string_view key) override {
    for (const auto& cursor : cursors_) cursor->Seek(key);
    tournament_.Restart();
  }
  void Next() override {
    const std::size_t rank = tournament_.winner();
    cursors_[rank]->Next();
    tournament_.Moved(rank);
  }
  bool valid() const override { return tournament_.winner() != sync::Tournament::kNone; }
  std::string_view key() const override { return tournament_.key(tournament_.winner()); }
  std::string_view value() const override { return {}; }
  Status status() const override {
    for (const auto& cursor : cursors_) VELLUM_TRY(cursor->status());
    return {};
  }

 private:
  const std::vector<std::unique_ptr<TableCursor>> cursors_;
  sync::Tournament tournament_;
};

}  // namespace

/// Front to back. Keys are as long as ids may be, so the buffer grows where one does not fit.
class RunFile::Cursor final : public TableCursor {
 public:
  Cursor(const RunFile* file, Run run, std::size_t buffer_bytes) : file_(file), run_(run), buffer_bytes_(buffer_bytes) {
    Rewind();
  }
  void Seek(std::string_view key) override {
    Rewind();
    while (valid_ && std::string_view(key_) < key) Next();
  }
  void Next() override {
    valid_ = false;
    if (left_.empty() && read_ == run_.end) return;
    auto shared = TakeNumber();
    auto more = TakeNumber();
    if (!status_.ok()) return;
    if (!Fill(more)) return;
    key_.resize(shared);
    key_.append(left_.substr(0, more));
    left_.remove_prefix(more);
    valid_ = true;
  }
  bool valid() const override { return valid_; }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return {}; }
  Status status() const override { return status_; }

 private:
  void Rewind() {
    read_ = run_.begin;
    left_ = {};
    key_.clear();
    Next();
  }

  /// Whether so many bytes are at hand, reading what is missing.
  bool Fill(std::size_t bytes) {
    if (left_.size() >= bytes) return true;
    const std::uint64_t rest = run_.end - read_;
    const std::size_t more = static_cast<std::size_t>(std::min<std::uint64_t>(std::max(buffer_bytes_, bytes), rest));
    std::string buffer(left_.size() + more, '\0');
    if (!left_.empty()) std::memcpy(buffer.data(), left_.data(), left_.size());
    if (status_ = file_->ReadAt(read_, buffer.data() + left_.size(), more); !status_.ok()) return false;
    read_ += more;
    buffer_ = std::move(buffer);
    left_ = buffer_;
    if (left_.size() < bytes) status_ = DataLoss("a scratch file holds something else than was written to it");
    return status_.ok();
  }

  std::size_t TakeNumber() {
    ByteReader reader(left_);
    auto number = reader.ReadVarint();
    if (!number) {
      const std::uint64_t rest = left_.size() + (run_.end - read_);
      if (!Fill(static_cast<std::size_t>(std::min<std::uint64_t>(10, rest)))) return 0;
      reader = ByteReader(left_);
      number = reader.ReadVarint();
      if (!number) {
        status_ = DataLoss("a scratch file holds something else than was written to it");
        return 0;
      }
    }
    left_ = reader.rest();
    return static_cast<std::size_t>(*number);
  }

  const RunFile* const file_;
  const Run run_;
  const std::size_t buffer_bytes_;
  std::uint64_t read_ = 0;
  std::string buffer_;
  std::string_view left_;  ///< Of the buffer.
  std::string key_;
  bool valid_ = false;
  Status status_;
};

void RunFile::Begin() {
  open_ = true;
  last_.clear();
  runs_.push_back({written_ + tail_.size(), 0});
}

Status RunFile::Add(std::string_view key) {
  const std::size_t shared = SharedBytes(last_, key);
  AppendVarint(&tail_, shared);
  AppendVarint(&tail_, key.size() - shared);
  tail_.append(key.substr(shared));
  last_.assign(key);
  if (tail_.size() < kTailBytes) return {};
  if (file_ == nullptr) {
    VELLUM_ASSIGN_OR_RETURN(File scratch, File::CreateScratch(beside_));
    file_ = std::make_unique<File>(std::move(scratch));
  }
  VELLUM_TRY(file_->Write(tail_));
  written_ += tail_.size();
  tail_.clear();
  return {};
}

void RunFile::End() {
  if (!open_) return;
  open_ = false;
  runs_.back().end = written_ + tail_.size();
}

std::unique_ptr<TableCursor> RunFile::Read(std::size_t run, std::size_t buffer_bytes) const {
  return std::make_unique<Cursor>(this, runs_[run], buffer_bytes);
}

Status RunFile::ReadAt(std::uint64_t offset, char* to, std::size_t size) const {
  if (offset < written_) {
    const auto in_file = static_cast<std::size_t>(std::min<std::uint64_t>(size, written_ - offset));
    VELLUM_TRY(file_->ReadAt(offset, to, in_file));
    offset += in_file;
    to += in_file;
    size -= in_file;
  }
  VELLUM_DCHECK(size == 0 || offset - written_ + size <= tail_.size());
  if (size > 0) std::memcpy(to, tail_.data() + (offset - written_), size);
  return {};
}

KeySorter::KeySorter(Options options)
    : options_(std::move(options)),
      ascending_(options_.beside),
      sorted_(options_.beside),
      filling_(std::make_unique<sync::MemoryRun>()) {}

KeySorter::~KeySorter() {
  if (spilling_.valid()) spilling_.wait();
}

Status KeySorter::Add(std::string_view key) {
  if (!ascending_.open()) ascending_.Begin();
  if (key >= ascending_.last()) return ascending_.Add(key);
  filling_->Add(key, {});
  return filling_->bytes() < options_.memory_bytes ? Status() : Spill();
}

Status KeySorter::Wait() { return spilling_.valid() ? spilling_.get() : Status(); }

Status KeySorter::Spill() {
  VELLUM_TRY(Wait());
  auto full = std::exchange(filling_, std::make_unique<sync::MemoryRun>());
  spilling_ = DoAside([this, run = std::move(full)]() -> Status {
    run->Sort();
    sorted_.Begin();
    for (std::size_t i = 0; i < run->size(); ++i) {
      run->Expect(i + kAhead);
      VELLUM_TRY(sorted_.Add(run->key(i)));
    }
    sorted_.End();
    return {};
  });
  return {};
}

Result<std::unique_ptr<TableCursor>> KeySorter::Finish() {
  VELLUM_TRY(Wait());
  ascending_.End();
  const std::size_t runs = ascending_.runs().size() + sorted_.runs().size();
  const std::size_t buffer =
      std::clamp(options_.merge_bytes / std::max<std::size_t>(1, runs), kBufferBytesMin, kBufferBytesMax);
  std::vector<std::unique_ptr<TableCursor>> cursors;
  for (std::size_t i = 0; i < ascending_.runs().size(); ++i) cursors.push_back(ascending_.Read(i, buffer));
  for (std::size_t i = 0; i < sorted_.runs().size(); ++i) cursors.push_back(sorted_.Read(i, buffer));
  if (filling_->size() > 0) {
    filling_->Sort();
    cursors.push_back(std::make_unique<MemoryCursor>(std::move(filling_)));
  }
  if (cursors.size() == 1) return std::move(cursors.front());
  return std::unique_ptr<TableCursor>(std::make_unique<MergedCursor>(std::move(cursors)));
}

}  // namespace vellum::c1z
