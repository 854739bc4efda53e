#include "c1z/write_behind.h"

#include <utility>

namespace vellum::c1z {

WriteBehind::~WriteBehind() {
  if (writing_.valid()) writing_.wait();
}

char* WriteBehind::room() {
  if (filling_.empty()) filling_.resize(kPieceBytes);
  return filling_.data() + filled_;
}

Status WriteBehind::Commit(std::size_t bytes) {
  filled_ += bytes;
  if (filled_ < kPieceBytes) return {};
  VELLUM_TRY(Wait());
  std::swap(filling_, written_);
  filled_ = 0;
  writing_ = std::async(std::launch::async, [this] { return out_.Write({written_.data(), written_.size()}); });
  return {};
}

Status WriteBehind::Finish() {
  VELLUM_TRY(Wait());
  const std::size_t left = std::exchange(filled_, 0);
  return out_.Write({filling_.data(), left});
}

}  // namespace vellum::c1z
