// The blocks of tables in .c1z v3 files, and the records in them. The first byte says which decoder. What a decoder accepts must
// stay within the input, and a record that is accepted must be readable by everyone else.
#include <nlohmann/json.hpp>

#include "c1z/record_json.h"
#include "c1z/v3/columns.h"
#include "c1z/v3/records.h"
#include "c1z/v3/row_block.h"
#include "c1z/v3/scan.h"
#include "c1z/v3/table.h"
#include "c1z/v3/test_writer.h"
#include "target.h"

namespace {

using namespace vellum;           // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::c1z::v3;  // NOLINT(google-build-using-namespace)

constexpr char kDecoders = 12;

void Check(bool promise) {
  if (!promise) std::abort();
}

bool Within(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void ReadRows(std::string_view bytes, std::uint32_t version) {
  BlockRows rows;
  if (!rows.Start(bytes, version).ok()) return;
  std::size_t seen = 0;
  for (auto any = rows.Next(); any.ok() && *any; any = rows.Next()) {
    Check(++seen <= bytes.size());
    Check(Within(rows.value(), bytes));
    Check(rows.key().size() <= bytes.size());
  }
}

void ReadColumns(std::string_view bytes, int kind) {
  if (kind == 0) {
    const auto index = ParseIndexBlock(bytes);
    for (std::uint32_t row = 0; index.ok() && row < index->rows; ++row) {
      Check(Within(index->separator[row], bytes));
      static_cast<void>(index->offset[row] + index->size[row]);
    }
  } else if (kind == 1) {
    const auto deletions = ParseRangeDeletionBlock(bytes);
    for (std::uint32_t span = 0; deletions.ok() && span + 1 < deletions->boundaries; ++span) {
      Check(deletions->boundary[span] < deletions->boundary[span + 1]);
      for (std::uint64_t i = deletions->first[span]; i < deletions->first[span + 1]; ++i) {
        static_cast<void>(deletions->trailer[static_cast<std::uint32_t>(i)]);
      }
    }
  } else {
    const auto pairs = ParseKeyValueBlock(bytes);
    for (std::uint32_t row = 0; pairs.ok() && row < pairs->rows; ++row) {
      Check(Within(pairs->key[row], bytes) && Within(pairs->value[row], bytes));
    }
  }
}

void ReadRecord(std::string_view value, sync::RecordType type) {
  RecordDecoder decoder(Identity::kStructural);
  sync::RecordView record;
  std::uint64_t unstamped = 0;
  const Status decoded = decoder.Decode(type, "no key", value, &record, &unstamped);
  // At the front: other errors may quote the input, and the input may say anything.
  if (!decoded.message().starts_with("the value is another record's than the key: ")) return;
  std::string key;
  AppendKey(&key, record, Identity::kStructural);
  Check(decoder.Decode(type, key, value, &record, &unstamped).ok());
  Check(c1z::RecordFields(record).ok());
}

std::string Tagged(char decoder, const std::string& bytes) { return decoder + bytes; }

}  // namespace

std::vector<std::string> Seeds() {
  const std::vector<WriterRow> rows = {{"a", 9, 1, "one"}, {"a", 3, 0, ""}, {"abcd", 700'000, 1, std::string(300, 'x')}, {"abce", 1, 18, "y"}};
  sync::RecordView grant;
  grant.type = sync::RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = grant.principal_id = "x";
  grant.entitlement_id = "group:x:member";
  grant.principal_type_id = "user";
  grant.discovered_at = 1'700'000'000'000'000'001;
  std::vector<std::string> seeds = {
      Tagged(0, WriteDataBlock(rows)),
      Tagged(0, WriteDataBlock(rows, 1)),
      Tagged(1, WriteRowBlock({{std::string("a\x01\x09\0\0\0\0\0\0", 9), std::string("\0v", 2)}, {std::string("b\x01\x09\0\0\0\0\0\0", 9), std::string("\0w", 2)}})),
      Tagged(2, WriteIndexBlock({{"b", {0, 100}}, {"c", {105, 70'000}}})),
      Tagged(3, WriteRangeDeletionBlock({{"a", "c", 4}, {"d", "e", 5}})),
      Tagged(4, WriteKeyValueBlock({{"rocksdb.properties", "\x01\x02"}, {"x", ""}})),
      Tagged(5, SealBlock("a block, a block, a block, a block", 1, Checksum::kCrc32c)),
      Tagged(6, SealBlock("a block, a block, a block, a block", 7, Checksum::kCrc32c)),
  };
  for (char type = 0; type < sync::kRecordTypes; ++type) {
    grant.type = static_cast<sync::RecordType>(type);
    grant.id = "id";
    seeds.push_back(Tagged(static_cast<char>(7 + type), EncodeStorage(grant)));
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const int decoder = data[0] % kDecoders;
  if (decoder == 0) ReadRows(bytes, 7);
  if (decoder == 1) ReadRows(bytes, 4);
  if (decoder >= 2 && decoder <= 4) ReadColumns(bytes, decoder - 2);
  if (decoder == 5 || decoder == 6) {
    Budget budget({64u << 20, 1u << 20, std::chrono::milliseconds(0)});
    Buffer room;
    const auto decoded = Decompress(decoder == 5 ? 1 : 7, bytes.substr(0, bytes.size() - std::min<std::size_t>(bytes.size(), 5)), 1u << 20, &budget, &room);
    if (decoded.ok()) Check(decoded->size() <= (1u << 20));
  }
  if (decoder >= 7) ReadRecord(bytes, static_cast<sync::RecordType>(decoder - 7));
  return 0;
}
