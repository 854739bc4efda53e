#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace vellum::c1z::v3 {

/// Walks a row block from its start: entries that share the front of their keys with the one before.
class RowBlock {
 public:
  RowBlock() = default;
  /// `block` must outlive this.
  static Result<RowBlock> Start(std::string_view block);

  /// False at the end.
  Result<bool> Next();
  /// Valid until the next move.
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }

 private:
  std::string_view rest_;
  std::string key_;
  std::string_view value_;
};

}  // namespace vellum::c1z::v3
