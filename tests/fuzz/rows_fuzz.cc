// The stored rows of the metadata plane. The first byte says which decoder. Keys must encode to the same bytes again, so that
// no two keys mean the same; values may have been written with longer varints than ours, so what they encode to must only be
// stable.
#include "kv/meta.h"
#include "kv/schema.h"
#include "target.h"

namespace {

using namespace vellum;      // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::kv;  // NOLINT(google-build-using-namespace)

constexpr Revision kMain = 1000;

void Check(bool promise) {
  if (!promise) std::abort();
}

/// Encoding, decoding and encoding again must change nothing.
template <typename Row, typename Encode, typename Decode>
void CheckStable(const Row& row, Encode encode, Decode decode) {
  const std::string once = encode(row);
  const auto again = decode(once);
  Check(again.ok());
  Check(encode(*again) == once);
}

std::string Tagged(char decoder, const std::string& bytes) { return decoder + bytes; }

}  // namespace

std::vector<std::string> Seeds() {
  const Record record{.mod = 900, .mod_sub = 3, .create = 17, .version = 5, .lease = -7, .value = "value"};
  const RevEntry put{.type = EventType::kPut, .previous_mod = 900, .key = "key", .superseded = {}};
  Record hidden = record;
  hidden.mod = kMain;
  const RevEntry superseded{.type = EventType::kPut, .previous_mod = 0, .key = "key", .superseded = hidden};
  const std::string zero_key("a\0\xff" "b", 4);
  return {
      Tagged(0, EncodeRecord(record)),
      Tagged(1, HistoryKey(zero_key, 900)),
      Tagged(2, EncodeHistoryRecord({.end = 1000, .record = record})),
      Tagged(3, RevKey(kMain, 2)),
      Tagged(4, EncodeRevEntry(kMain, put)),
      Tagged(4, EncodeRevEntry(kMain, superseded)),
      Tagged(5, EncodeLeafCount(64)),
      Tagged(6, LeaseKey(-1)),
      Tagged(6, LeaseAttachmentKey(12, zero_key)),
      Tagged(7, EncodeLeaseRecord({.granted_ttl_s = 60, .incarnation = 5, .remaining_ttl_s = 30})),
      Tagged(8, EncodeAlarms({{.member_id = 1, .alarm = AlarmType::kNoSpace}})),
      Tagged(9, EncodePending({.command = DeleteRangeCommand{.request = {.key = "a", .range_end = "z"}}, .main = 7, .cursor = "k"})),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 10) {
    case 0:
      if (auto row = DecodeRecord(bytes)) CheckStable(*row, EncodeRecord, DecodeRecord);
      break;
    case 1:
      if (auto row = DecodeHistoryKey(bytes)) Check(HistoryKey(row->key, row->mod) == bytes);
      break;
    case 2:
      if (auto row = DecodeHistoryRecord(bytes)) {
        CheckStable(*row, EncodeHistoryRecord, DecodeHistoryRecord);
        Check(HistoryRecordEnd(bytes) == row->end);
      }
      break;
    case 3:
      if (auto row = DecodeRevKey(bytes)) Check(RevKey(row->main, row->sub) == bytes);
      break;
    case 4:
      if (auto row = DecodeRevEntry(kMain, bytes)) {
        CheckStable(*row, [](const RevEntry& entry) { return EncodeRevEntry(kMain, entry); },
                    [](std::string_view text) { return DecodeRevEntry(kMain, text); });
      }
      break;
    case 5:
      if (auto row = DecodeLeafCount(bytes)) CheckStable(*row, EncodeLeafCount, DecodeLeafCount);
      break;
    case 6:
      if (auto row = DecodeLeaseKey(bytes)) {
        Check((row->key ? LeaseAttachmentKey(row->id, *row->key) : LeaseKey(row->id)) == bytes);
      }
      break;
    case 7:
      if (auto row = DecodeLeaseRecord(bytes)) CheckStable(*row, EncodeLeaseRecord, DecodeLeaseRecord);
      break;
    case 8:
      if (auto row = DecodeAlarms(bytes)) CheckStable(*row, EncodeAlarms, DecodeAlarms);
      break;
    default:
      if (auto row = DecodePending(bytes)) CheckStable(*row, EncodePending, DecodePending);
      break;
  }
  return 0;
}
