#include "cli/output.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"

namespace vellum::cli {
namespace {

using Json = nlohmann::ordered_json;

// Zero fields are left out, as protobuf's JSON does.
Json KeyValueObject(const KeyValue& kv) {
  Json object{{"key", Base64(kv.key)}};
  if (kv.create_revision != 0) object["create_revision"] = kv.create_revision;
  if (kv.mod_revision != 0) object["mod_revision"] = kv.mod_revision;
  if (kv.version != 0) object["version"] = kv.version;
  if (!kv.value.empty()) object["value"] = Base64(kv.value);
  if (kv.lease != 0) object["lease"] = kv.lease;
  return object;
}

}  // namespace

std::string Base64(std::string_view bytes) { return Base64Encode(bytes); }

std::string Columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - row[i].size() + 2, ' ');
    }
    text += '\n';
  }
  return text;
}

std::string PlainText(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string plain;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      plain.push_back(c);
    } else {
      plain.append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return plain;
}

std::string Bytes(std::int64_t bytes) {
  constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; amount >= 999.5 && unit + 1 < std::size(kUnits); ++unit) amount /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit > 0 && amount < 9.95 ? "%.1f" : "%.0f", amount);
  return std::string(text) + " " + std::string(kUnits[unit]);
}

std::string RangeJson(const RangeResponse& response) {
  Json object{{"header", {{"revision", response.revision}}}};
  if (!response.kvs.empty()) {
    Json kvs = Json::array();
    for (const KeyValue& kv : response.kvs) kvs.push_back(KeyValueObject(kv));
    object["kvs"] = std::move(kvs);
  }
  if (response.more) object["more"] = true;
  object["count"] = response.count;
  return object.dump();
}

std::string EventJson(const Event& event) {
  Json object{{"type", event.type == EventType::kPut ? "PUT" : "DELETE"}, {"kv", KeyValueObject(event.kv)}};
  if (event.prev_kv) object["prev_kv"] = KeyValueObject(*event.prev_kv);
  return object.dump();
}

std::string PrefixEnd(std::string_view prefix) {
  // Without a successor (also of the empty prefix): every key from there on.
  return PrefixSuccessor(prefix).value_or(std::string(kFromKey, 1));
}

}  // namespace vellum::cli
