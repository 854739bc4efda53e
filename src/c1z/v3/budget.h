#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace vellum::c1z::v3 {

/// What reading one file may cost. Thread-safe. kResourceExhausted, naming what was asked for and the limit, when it is
/// used up.
class Budget {
 public:
  struct Limits {
    std::uint64_t memory_bytes = 0;
    std::uint64_t records = 0;
    std::chrono::milliseconds time{0};  ///< 0: no limit.
  };
  explicit Budget(const Limits& limits);
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  Status Take(std::uint64_t bytes, std::string_view what);
  void Give(std::uint64_t bytes);
  /// Of entries read, whether they become records or not. Looks at the clock now and then.
  Status CountEntry() {
    return (entries_.fetch_add(1, std::memory_order_relaxed) & 0xFFF) == 0xFFF ? CheckEntries() : Status();
  }
  Status CheckTime() const;

  std::uint64_t memory_used() const { return used_.load(std::memory_order_relaxed); }
  std::uint64_t memory_peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  Status CheckEntries() const;

  const Limits limits_;
  const std::chrono::steady_clock::time_point began_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<std::uint64_t> peak_{0};
  std::atomic<std::uint64_t> entries_{0};
};

/// Memory that is counted against a budget, which must outlive it. Not initialised.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { Release(); }

  /// Room for `size` bytes; what was in it is gone. Small rooms are kept for reuse.
  Status Reset(Budget* budget, std::uint64_t size, std::string_view what);
  void Release();

  char* data() { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  Budget* budget_ = nullptr;
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

/// Memory that lies elsewhere, counted against a budget, which must outlive this.
class Charge {
 public:
  explicit Charge(Budget* budget) : budget_(budget) {}
  ~Charge() { budget_->Give(bytes_); }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  Status Take(std::uint64_t bytes, std::string_view what) {
    VELLUM_TRY(budget_->Take(bytes, what));
    bytes_ += bytes;
    return {};
  }

 private:
  Budget* const budget_;
  std::uint64_t bytes_ = 0;
};

}  // namespace vellum::c1z::v3
