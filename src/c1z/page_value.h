#pragma once

#include <cstdint>
#include <string_view>

namespace vellum::c1z {

/// One value of a row or of an index entry in a SQLite database.
struct PageValue {
  enum class Kind : std::uint8_t { kNull, kInteger, kReal, kText, kBlob };
  Kind kind = Kind::kNull;
  std::int64_t number = 0;   ///< Integers.
  std::string_view bytes{};  ///< Text and blobs.

  static PageValue Integer(std::int64_t number) { return {Kind::kInteger, number, {}}; }
  static PageValue Text(std::string_view text) { return {Kind::kText, 0, text}; }
  static PageValue Blob(std::string_view bytes) { return {Kind::kBlob, 0, bytes}; }
};

}  // namespace vellum::c1z
