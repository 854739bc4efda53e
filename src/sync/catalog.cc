#include "sync/catalog.h"

#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/hex.h"
#include "sync/stamp_text.h"

namespace vellum::sync {
namespace {

using nlohmann::json;

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      encoded.push_back(c);
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

/// Bytes that are no UTF-8 cannot stand in JSON: they are written as {"hex": "..."}.
json TextOrHex(const std::string& text) {
  try {
    json plain = text;
    static_cast<void>(plain.dump());
    return plain;
  } catch (const json::exception&) {
    return json{{"hex", Hex(text)}};
  }
}

std::optional<std::string> FromTextOrHex(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object() || !value.contains("hex") || !value["hex"].is_string()) return std::nullopt;
  const std::string hex = value["hex"].get<std::string>();
  const auto digit = [](char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; };
  std::string bytes;
  if (hex.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]);
    const int low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

Status Damaged(std::string_view what) { return DataLoss("the catalog's row is damaged: " + std::string(what)); }

/// Reads members of one object, remembering whether any was of the wrong kind.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {}

  std::string Text(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return {};
    auto text = FromTextOrHex(*found);
    if (!text) bad_ = name;
    return text.value_or(std::string());
  }
  Stamp Time(const char* name) {
    const std::string text = Text(name);
    if (text.empty()) return 0;
    const auto stamp = ParseRfc3339(text);
    if (!stamp) bad_ = name;
    return stamp.value_or(0);
  }
  bool Truth(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return false;
    if (!found->is_boolean()) bad_ = name;
    return found->is_boolean() && found->get<bool>();
  }
  LeaseId Number(const char* name) {
    const auto found = object_.find(name);
    if (found == object_.end()) return 0;
    if (!found->is_number_integer()) bad_ = name;
    return found->is_number_integer() ? found->get<LeaseId>() : 0;
  }
  Status status() const { return bad_ == nullptr ? Status() : Damaged(std::string("member ") + bad_); }

 private:
  const json& object_;
  const char* bad_ = nullptr;
};

void SetTime(json* object, const char* name, Stamp stamp) {
  if (stamp != 0) (*object)[name] = FormatRfc3339(stamp);
}

void SetText(json* object, const char* name, const std::string& text) {
  if (!text.empty()) (*object)[name] = TextOrHex(text);
}

}  // namespace

Status CheckSyncId(std::string_view sync_id) {
  if (!sync_id.empty() && sync_id.size() <= kSyncIdBytesMax) return {};
  return InvalidArgument("a sync id has 1 to " + std::to_string(kSyncIdBytesMax) + " bytes, not " +
                         std::to_string(sync_id.size()));
}

std::string SyncKey(std::string_view sync_id) { return std::string(kSyncPrefix) + PercentEncode(sync_id); }
std::string GenerationKey(std::string_view generation_id) {
  return std::string(kGenerationPrefix) + PercentEncode(generation_id);
}

std::string SyncEntry::ToJson() const {
  json object;
  object["id"] = TextOrHex(run.id);
  SetText(&object, "connector", connector);
  object["type"] = TextOrHex(run.type);
  object["state"] = state == SyncState::kOpen ? "open" : "sealed";
  SetText(&object, "parent", run.parent_id);
  SetText(&object, "linked", run.linked_id);
  SetTime(&object, "started_at", run.started_at);
  SetTime(&object, "ended_at", run.ended_at);
  SetText(&object, "token", run.token);
  if (run.supports_diff) object["supports_diff"] = true;
  SetText(&object, "staging", staging);
  if (!history.empty()) object["generation"] = generation();
  object["history"] = json::array();
  for (const HistoryEntry& entry : history) {
    json each = {{"generation", entry.generation}, {"digest", entry.digest}, {"operation", entry.operation}};
    SetTime(&each, "switched_at", entry.switched_at);
    object["history"].push_back(std::move(each));
  }
  return object.dump();
}

Result<SyncEntry> SyncEntry::FromJson(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Damaged(Printable(text));
  Members members(object);
  SyncEntry entry;
  entry.run.id = members.Text("id");
  entry.connector = members.Text("connector");
  entry.run.type = members.Text("type");
  entry.state = members.Text("state") == "open" ? SyncState::kOpen : SyncState::kSealed;
  entry.run.parent_id = members.Text("parent");
  entry.run.linked_id = members.Text("linked");
  entry.run.started_at = members.Time("started_at");
  entry.run.ended_at = members.Time("ended_at");
  entry.run.token = members.Text("token");
  entry.run.supports_diff = members.Truth("supports_diff");
  entry.staging = members.Text("staging");
  VELLUM_TRY(members.status());
  if (object.contains("history")) {
    if (!object["history"].is_array()) return Damaged("member history");
    for (const json& each : object["history"]) {
      if (!each.is_object()) return Damaged("member history");
      Members parts(each);
      entry.history.push_back({parts.Text("generation"), parts.Text("digest"), parts.Time("switched_at"),
                               parts.Text("operation")});
      VELLUM_TRY(parts.status());
    }
  }
  if (entry.state == SyncState::kSealed && entry.history.empty()) return Damaged("a sealed sync without a generation");
  return entry;
}

std::string GenerationEntry::ToJson() const {
  json object;
  object["id"] = id;
  object["state"] = state == GenerationState::kBuilding ? "building"
                    : state == GenerationState::kSealed ? "sealed"
                                                        : "deleting";
  if (writer != 0) object["writer"] = writer;
  return object.dump();
}

Result<GenerationEntry> GenerationEntry::FromJson(std::string_view id, std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Damaged(Printable(text));
  Members members(object);
  GenerationEntry entry;
  entry.id = members.Text("id");
  const std::string state = members.Text("state");
  entry.writer = members.Number("writer");
  VELLUM_TRY(members.status());
  if (entry.id != id) return Damaged("generation " + std::string(id) + " is called " + Printable(entry.id));
  if (state == "building") {
    entry.state = GenerationState::kBuilding;
  } else if (state == "sealed") {
    entry.state = GenerationState::kSealed;
  } else if (state == "deleting") {
    entry.state = GenerationState::kDeleting;
  } else {
    return Damaged("generation " + entry.id + " is in state " + Printable(state));
  }
  return entry;
}

}  // namespace vellum::sync
