#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "kv/command.h"
#include "model/reference.h"

namespace vellum::model {

/// Makes commands that meet each other: keys over few bytes, of which some are awkward.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  kv::Command NextCommand(const Reference& reference);
  /// A range of the kinds whose order is determined; `inside` a transaction or alone.
  RangeRequest NextRange(const Reference& reference);
  std::string NextKey();
  /// Empty, "\0", a prefix's end, or anything.
  std::string NextRangeEnd(const std::string& key);
  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }

 private:
  bool OneIn(std::uint64_t n) { return Below(n) == 0; }
  std::string NextValue();
  LeaseId NextLease();
  Revision NextRevision(const Reference& reference);
  PutRequest NextPut();
  DeleteRangeRequest NextDelete();
  Compare NextCompare(const Reference& reference);
  TxnRequest NextTxn(const Reference& reference, int depth);
  std::vector<TxnOp> NextOps(const Reference& reference, int depth);

  std::mt19937_64 random_;
  std::uint64_t values_ = 0;
};

}  // namespace vellum::model
