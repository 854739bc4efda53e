#include "c1z/v3/budget.h"

namespace vellum::c1z::v3 {
namespace {

/// Rooms beyond this are given back instead of being kept for the next block.
constexpr std::size_t kReusedBytesMax = 1u << 20;

}  // namespace

Budget::Budget(const Limits& limits) : limits_(limits), began_(std::chrono::steady_clock::now()) {}

Status Budget::Take(std::uint64_t bytes, std::string_view what) {
  std::uint64_t used = used_.load(std::memory_order_relaxed);
  do {
    if (bytes > limits_.memory_bytes || used > limits_.memory_bytes - bytes) {
      return ResourceExhausted(std::string(what) + " needs " + std::to_string(bytes) + " bytes of memory beside the " +
                               std::to_string(used) + " in use: the limit is " + std::to_string(limits_.memory_bytes));
    }
  } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  std::uint64_t peak = peak_.load(std::memory_order_relaxed);
  while (used + bytes > peak && !peak_.compare_exchange_weak(peak, used + bytes, std::memory_order_relaxed)) {
  }
  return {};
}

void Budget::Give(std::uint64_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

Status Budget::CheckTime() const {
  if (limits_.time.count() == 0 || std::chrono::steady_clock::now() - began_ <= limits_.time) return {};
  return ResourceExhausted("reading took longer than the limit of " + std::to_string(limits_.time.count()) + " ms");
}

Status Budget::CheckEntries() const {
  const std::uint64_t entries = entries_.load(std::memory_order_relaxed);
  if (entries > limits_.records) {
    return ResourceExhausted("more than " + std::to_string(limits_.records) + " entries were read: that is the limit");
  }
  return CheckTime();
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Release();
  budget_ = std::exchange(other.budget_, nullptr);
  bytes_ = std::move(other.bytes_);
  capacity_ = std::exchange(other.capacity_, 0);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

Status Buffer::Reset(Budget* budget, std::uint64_t size, std::string_view what) {
  if (budget == budget_ && size <= capacity_ && capacity_ <= kReusedBytesMax) {
    size_ = static_cast<std::size_t>(size);
    return {};
  }
  Release();
  VELLUM_TRY(budget->Take(size, what));
  budget_ = budget;
  bytes_ = std::make_unique_for_overwrite<char[]>(static_cast<std::size_t>(size));
  capacity_ = size_ = static_cast<std::size_t>(size);
  return {};
}

void Buffer::Release() {
  if (budget_ != nullptr) budget_->Give(capacity_);
  budget_ = nullptr;
  bytes_.reset();
  capacity_ = size_ = 0;
}

}  // namespace vellum::c1z::v3
