#include "c1z/write_behind.h"

#include <string_view>
#include <utility>

#include "base/aside.h"

namespace vellum::c1z {
namespace {

/// For calls of a megabyte the kernel takes large folios, whose memory is cold: thrice its time for the same bytes.
constexpr std::size_t kCallBytes = 128u << 10;

}  // namespace

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
  writing_ = DoAside([this]() -> Status {
    const std::string_view all(written_.data(), written_.size());
    for (std::size_t at = 0; at < all.size(); at += kCallBytes) VELLUM_TRY(out_.Write(all.substr(at, kCallBytes)));
    return {};
  });
  return {};
}

Status WriteBehind::Finish() {
  VELLUM_TRY(Wait());
  const std::size_t left = std::exchange(filled_, 0);
  return out_.Write({filling_.data(), left});
}

}  // namespace vellum::c1z
