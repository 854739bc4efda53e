#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "storage/log_scan.h"

namespace vellum::storage {

/// Writes logs as RocksDB does.
class LogBuilder {
 public:
  /// Adds a batch with a body of `bytes` bytes; with the mark, if it is the first one after a sync.
  LogBuilder& Batch(std::size_t bytes, bool first_after_sync = false) {
    std::string batch(12, '\1');
    batch += std::string(bytes, static_cast<char>('a' + count_++ % 26));
    if (first_after_sync) batch += std::string("\x03\x08", 2) + std::string(kSyncedMark);
    return Add(std::move(batch));
  }
  /// Adds a batch with a body of zeros.
  LogBuilder& Zeros(std::size_t bytes) { return Add(std::string(12, '\1') + std::string(bytes, '\0')); }
  LogBuilder& Add(std::string batch) {
    bool begin = true;
    do {
      const std::size_t room = kLogBlockBytes - log_.size() % kLogBlockBytes;
      if (room < 7) {
        log_.append(room, '\0');
        continue;
      }
      const std::size_t piece = std::min(batch.size(), room - 7);
      const bool end = piece == batch.size();
      Record(begin ? (end ? 1 : 2) : (end ? 4 : 3), batch.substr(0, piece));
      batch.erase(0, piece);
      begin = false;
    } while (!batch.empty());
    ends_.push_back(log_.size());
    return *this;
  }
  void Record(int type, const std::string& payload) {
    const std::uint32_t crc = Crc32c(static_cast<char>(type) + payload);
    const std::uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
    for (int byte = 0; byte < 4; ++byte) log_.push_back(static_cast<char>(masked >> 8 * byte));
    log_.push_back(static_cast<char>(payload.size() & 0xff));
    log_.push_back(static_cast<char>(payload.size() >> 8));
    log_.push_back(static_cast<char>(type));
    log_ += payload;
  }
  const std::string& log() const { return log_; }
  const std::vector<std::size_t>& ends() const { return ends_; }

 private:
  std::string log_;
  std::vector<std::size_t> ends_;  // of the batches
  int count_ = 0;
};

}  // namespace vellum::storage
