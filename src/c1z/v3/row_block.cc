#include "c1z/v3/row_block.h"

#include "base/bytes.h"
#include "c1z/v3/bytes.h"

namespace vellum::c1z::v3 {

Result<RowBlock> RowBlock::Start(std::string_view block) {
  if (block.size() < 8) return Damaged("a row block has " + std::to_string(block.size()) + " bytes: at least 8 are needed");
  const std::uint64_t restarts = LoadLe<std::uint32_t>(block.data() + block.size() - 4);
  if (restarts == 0 || restarts > (block.size() - 4) / 4) {
    return Damaged("a row block of " + std::to_string(block.size()) + " bytes claims " + std::to_string(restarts) + " restarts");
  }
  RowBlock rows;
  rows.rest_ = block.substr(0, static_cast<std::size_t>(block.size() - 4 - 4 * restarts));
  return rows;
}

Result<bool> RowBlock::Next() {
  if (rest_.empty()) return false;
  ByteReader reader(rest_);
  const auto shared = reader.ReadVarint();
  const auto unshared = shared ? reader.ReadVarint() : std::nullopt;
  const auto value_size = unshared ? reader.ReadVarint() : std::nullopt;
  const std::string what = "a row block's entry, " + std::to_string(rest_.size()) + " bytes before the end,";
  if (!value_size) return Damaged(what + " has no lengths");
  if (*shared > key_.size()) {
    return Damaged(what + " shares " + std::to_string(*shared) + " bytes with a key of " + std::to_string(key_.size()));
  }
  const auto tail = *unshared <= reader.rest().size() ? reader.ReadBytes(static_cast<std::size_t>(*unshared)) : std::nullopt;
  const auto value =
      tail && *value_size <= reader.rest().size() ? reader.ReadBytes(static_cast<std::size_t>(*value_size)) : std::nullopt;
  if (!value) {
    return Damaged(what + " claims " + std::to_string(*unshared) + " bytes of key and " + std::to_string(*value_size) + " of value");
  }
  key_.resize(static_cast<std::size_t>(*shared));
  key_ += *tail;
  value_ = *value;
  rest_ = reader.rest();
  return true;
}

}  // namespace vellum::c1z::v3
