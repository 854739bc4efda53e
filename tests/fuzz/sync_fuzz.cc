// What the data plane stores: keys, values and index keys of records, GENERATION, the catalog's rows. The first byte says
// which. Keys must encode to the same bytes again, so that no two keys mean the same record; what is decoded of the others
// must encode to something stable, and index keys must lead back to the record that implies them.
#include <google/protobuf/stubs/logging.h>

#include "sync/catalog.h"
#include "sync/codec.h"
#include "sync/generation.h"
#include "sync/stamp_text.h"
#include "target.h"

namespace {

using namespace vellum;        // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::sync;  // NOLINT(google-build-using-namespace)

void Check(bool promise) {
  if (!promise) std::abort();
}

std::string Tagged(char decoder, const std::string& bytes) { return decoder + bytes; }

/// A key and a value in one input: two bytes of the key's length, the key, the value.
std::string Joined(const std::string& key, const std::string& value) {
  return {std::string{static_cast<char>(key.size() >> 8), static_cast<char>(key.size())} + key + value};
}

void CheckKey(std::string_view bytes) {
  const auto key = DecodedKey::Parse(bytes);
  if (!key.ok()) return;
  RecordView record;
  record.type = key->type();
  key->FillIdentity(&record);
  std::string again;
  AppendRecordKey(&again, record);
  Check(again == bytes);
}

void CheckRecordOf(std::string_view key, std::string_view value) {
  const auto stored = StoredRecord::Parse(key, value);
  if (!stored.ok()) return;
  const RecordView record = stored->view();
  Check(record.discovered_at == ValueStamp(value));
  std::string key_again;
  AppendRecordKey(&key_again, record);
  Check(key_again == key);
  std::string value_again;
  AppendRecordValue(&value_again, record);
  const auto twice = StoredRecord::Parse(key, value_again);
  Check(twice.ok());
  const RecordView back = twice->view();
  Check(back.data == record.data && back.discovered_at == record.discovered_at && back.expansion == record.expansion &&
        back.needs_expansion == record.needs_expansion && back.slim == record.slim &&
        back.content_type == record.content_type && back.id == record.id);
  std::string value_twice;
  AppendRecordValue(&value_twice, back);
  Check(value_twice == value_again);
  const Status emitted = ForEachIndexKey(key, value, [&key](Bucket bucket, std::string_view index_key) {
    const BucketInfo* const info = FindBucket(static_cast<std::uint8_t>(index_key.front()));
    Check(info != nullptr && info->bucket == bucket && info->index);
    const auto leads_to = IndexedRecordKey(index_key);
    Check(leads_to.ok() && *leads_to == key);
  });
  Check(emitted.ok());
}

/// What a decoder accepts encodes to something that it accepts too, and that encodes to itself.
template <typename Decoded, typename Encode, typename Decode>
void CheckStable(const Decoded& decoded, Encode encode, Decode decode) {
  const std::string once = encode(decoded);
  const auto again = decode(once);
  Check(again.ok());
  Check(encode(*again) == once);
}

RecordView Grant() {
  RecordView grant;
  grant.type = RecordType::kGrant;
  grant.discovered_at = 1772352000004000004;
  grant.id = "a grant of its own name";
  grant.type_id = "group";
  grant.resource_id = std::string_view("g\0\xFF", 3);
  grant.entitlement_id = std::string_view("group:g\0\xFF:member", 16);
  grant.principal_type_id = "user";
  grant.principal_id = "u1";
  grant.expansion = "\n\x03x:y";
  grant.needs_expansion = true;
  grant.data = "\x1a\x01x";
  return grant;
}

RecordView Resource() {
  RecordView resource;
  resource.type = RecordType::kResource;
  resource.type_id = "user";
  resource.id = "u1";
  resource.data = "\x12\x0a\x0a\x03org\x12\x03one";
  return resource;
}

std::string SeedInfo() {
  GenerationInfo info;
  info.id = "2abc";
  info.operation = "fold";
  info.parents = {"1abc"};
  info.layers = 2;
  info.dead_bytes = 17;
  info.files = {{"000008.sst", Bucket::kGrant, 0, 1000, std::string(32, 'h'), 10, 0},
                {"000009.sst", Bucket::kByExternalId, 1, 100, std::string(32, 'i'), 2, 1}};
  info.totals[Bucket::kGrant] = {10, 900, 1, 2, {3, 4}, {5, 6}};
  return info.Encode();
}

std::string SeedSync() {
  SyncEntry entry;
  entry.run = {"id \xFF%", "full", "parent", "linked", "{\"token\":1}", 1772352000004000004, 0, true};
  entry.connector = "dir";
  entry.staging = "3abc";
  entry.history = {{"2abc", "ab", 7, "merge"}, {"1abc", "cd", 3, "import"}};
  return entry.ToJson();
}

}  // namespace

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds;
  for (const RecordView& record : {Grant(), Resource()}) {
    std::string key;
    std::string value;
    AppendRecordKey(&key, record);
    AppendRecordValue(&value, record);
    seeds.push_back(Tagged(0, key));
    seeds.push_back(Tagged(1, value));
    seeds.push_back(Tagged(2, Joined(key, value)));
    ForEachIndexKey(key, value, [&seeds](Bucket, std::string_view index_key) {
      seeds.push_back(Tagged(3, std::string(index_key)));
    }).IgnoreError("the record is ours");
  }
  seeds.push_back(Tagged(4, SeedInfo()));
  seeds.push_back(Tagged(5, SeedSync()));
  seeds.push_back(Tagged(6, GenerationEntry{"2abc", GenerationState::kBuilding, 77, 0}.ToJson()));
  seeds.push_back(Tagged(7, std::string(Resource().data)));
  seeds.push_back(Tagged(8, "2026-03-01T10:00:00.5+02:00"));
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // It would tell of every string that is no UTF-8.
  static const google::protobuf::LogHandler* const silenced = google::protobuf::SetLogHandler(nullptr);
  static_cast<void>(silenced);
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 9) {
    case 0:
      CheckKey(bytes);
      break;
    case 1:
      if (const auto value = ParseValue(bytes)) {
        Check(value->discovered_at == ValueStamp(bytes));
        Check(value->data.empty() || bytes.ends_with(value->data));
      }
      Check(ValueWithoutStamp(bytes).size() <= bytes.size());
      break;
    case 2:
      if (bytes.size() >= 2) {
        const std::size_t key_size = static_cast<std::uint8_t>(bytes[0]) * 256u + static_cast<std::uint8_t>(bytes[1]);
        if (key_size <= bytes.size() - 2) CheckRecordOf(bytes.substr(2, key_size), bytes.substr(2 + key_size));
      }
      break;
    case 3:
      if (const auto key = IndexedRecordKey(bytes)) Check(DecodedKey::Parse(*key).ok());
      break;
    case 4:
      if (const auto info = GenerationInfo::Decode(bytes)) {
        CheckStable(*info, [](const GenerationInfo& each) { return each.Encode(); }, GenerationInfo::Decode);
      }
      break;
    case 5:
      if (const auto entry = SyncEntry::FromJson(bytes)) {
        CheckStable(*entry, [](const SyncEntry& each) { return each.ToJson(); }, SyncEntry::FromJson);
      }
      break;
    case 6:
      // The id is the key's, not the row's.
      if (const auto entry = GenerationEntry::FromJson("2abc", bytes)) {
        CheckStable(*entry, [](const GenerationEntry& each) { return each.ToJson(); },
                    [](std::string_view row) { return GenerationEntry::FromJson("2abc", row); });
      }
      break;
    case 7:
      if (const auto parent = ReadParent(bytes)) {
        const auto inside = [bytes](std::string_view part) {
          return part.empty() || (part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size());
        };
        Check(inside(parent->type_id) && inside(parent->id));
      }
      break;
    default:
      if (const auto stamp = ParseRfc3339(bytes)) Check(*stamp == 0 || ParseRfc3339(FormatRfc3339(*stamp)) == stamp);
      break;
  }
  return 0;
}
