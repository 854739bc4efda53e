#include "kv/schema.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "base/bytes.h"
#include "base/test_random.h"

namespace vellum::kv {
namespace {

constexpr Revision kRevisionMax = std::numeric_limits<Revision>::max();

/// Keys over the bytes that escaping cares about.
std::string RandomKey(std::mt19937_64& random) {
  static constexpr char kBytes[] = {'\x00', '\x01', '\x02', 'a', '\xFE', '\xFF'};
  std::string key;
  const std::size_t size = 1 + random() % 5;
  for (std::size_t i = 0; i < size; ++i) key.push_back(kBytes[random() % sizeof(kBytes)]);
  return key;
}

std::int64_t RandomNumber(std::mt19937_64& random, std::int64_t least) {
  const std::uint64_t bits = random() >> (1 + random() % 62);
  return std::max<std::int64_t>(static_cast<std::int64_t>(bits), least);
}

Record RandomRecord(std::mt19937_64& random, const std::string& value) {
  Record record;
  record.mod = RandomNumber(random, 1);
  record.mod_sub = random() % 2 == 0 ? 0 : static_cast<std::int32_t>(random() % 0x7FFFFFFF);
  record.create = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(record.mod));
  record.version = RandomNumber(random, 1);
  record.lease = random() % 2 == 0 ? 0 : static_cast<LeaseId>(random() | 1);
  record.value = value;
  return record;
}

void ExpectSame(const Record& a, const Record& b) {
  EXPECT_EQ(a.mod, b.mod);
  EXPECT_EQ(a.mod_sub, b.mod_sub);
  EXPECT_EQ(a.create, b.create);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.lease, b.lease);
  EXPECT_EQ(a.value, b.value);
}

TEST(KvSchema, RecordsComeBack) {
  auto random = SeededRandom();
  for (int i = 0; i < 2000; ++i) {
    const std::string value = random() % 3 == 0 ? "" : RandomKey(random);
    const Record record = RandomRecord(random, value);
    const std::string bytes = EncodeRecord(record);
    const auto decoded = DecodeRecord(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.error().ToString();
    ExpectSame(record, *decoded);
    if (record.mod == kRevisionMax) continue;
    const HistoryRecord history{record.mod + 1 + static_cast<std::int64_t>(random() % 2), record};
    if (history.end <= record.mod) continue;
    const std::string history_bytes = EncodeHistoryRecord(history);
    const auto history_decoded = DecodeHistoryRecord(history_bytes);
    ASSERT_TRUE(history_decoded.ok()) << history_decoded.error().ToString();
    EXPECT_EQ(history_decoded->end, history.end);
    ExpectSame(history.record, history_decoded->record);
    EXPECT_EQ(HistoryRecordEnd(history_bytes), history.end);
  }
}

TEST(KvSchema, ExtremeRecordsComeBack) {
  const Record record{kRevisionMax, std::numeric_limits<std::int32_t>::max(), 1, kRevisionMax,
                      std::numeric_limits<LeaseId>::min(), "v"};
  const std::string bytes = EncodeRecord(record);
  const auto decoded = DecodeRecord(bytes);
  ASSERT_TRUE(decoded.ok());
  ExpectSame(record, *decoded);
}

TEST(KvSchema, RecordBytesAreAsDocumented) {
  EXPECT_EQ(EncodeRecord({5, 0, 3, 2, 0, "xy"}), std::string("\x10\x05\x02\x02xy"));
  EXPECT_EQ(EncodeRecord({5, 1, 5, 1, 7, ""}), std::string("\x13\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07", 13));
  EXPECT_EQ(EncodeHistoryRecord({9, {5, 0, 3, 2, 0, "xy"}}), std::string("\x09\x10\x05\x02\x02xy"));
  EXPECT_EQ(EncodeRevEntry(9, {EventType::kPut, 0, "k", std::nullopt}), std::string("\x10k"));
  EXPECT_EQ(EncodeRevEntry(9, {EventType::kDelete, 4, "k", std::nullopt}), std::string("\x13\x05k"));
  EXPECT_EQ(EncodeRevEntry(9, {EventType::kPut, 0, "k", Record{9, 0, 9, 1, 0, "v"}}),
            std::string("\x14\x01k\x10\x09\x00\x01v", 8));
}

TEST(KvSchema, HistoryKeysOrderByKeyThenNewestFirst) {
  auto random = SeededRandom();
  for (int i = 0; i < 5000; ++i) {
    const std::string a = RandomKey(random), b = RandomKey(random);
    const Revision mod_a = RandomNumber(random, 1), mod_b = RandomNumber(random, 1);
    const bool less = a != b ? a < b : mod_a > mod_b;
    EXPECT_EQ(HistoryKey(a, mod_a) < HistoryKey(b, mod_b), less);
    EXPECT_EQ(HistoryPrefix(a) < HistoryPrefix(b), a < b);
    const auto parts = DecodeHistoryKey(HistoryKey(a, mod_a));
    ASSERT_TRUE(parts.ok());
    EXPECT_EQ(parts->key, a);
    EXPECT_EQ(parts->mod, mod_a);
    EXPECT_TRUE(HistoryKey(a, mod_a).starts_with(HistoryPrefix(a)));
    EXPECT_EQ(a != b && HistoryKey(a, mod_a).starts_with(HistoryPrefix(b)), false);
  }
}

TEST(KvSchema, RevRowsComeBack) {
  auto random = SeededRandom();
  for (int i = 0; i < 2000; ++i) {
    const std::string key = RandomKey(random), value = RandomKey(random);
    RevEntry entry;
    const Revision main = RandomNumber(random, 2);
    entry.type = random() % 2 == 0 ? EventType::kPut : EventType::kDelete;
    entry.previous_mod = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(main));
    entry.key = key;
    if (entry.type == EventType::kPut && random() % 2 == 0) {
      entry.superseded = Record{main, static_cast<std::int32_t>(random() % 9), 1, 3, 0, value};
    }
    const std::string bytes = EncodeRevEntry(main, entry);
    const auto decoded = DecodeRevEntry(main, bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.error().ToString();
    EXPECT_EQ(decoded->type, entry.type);
    EXPECT_EQ(decoded->previous_mod, entry.previous_mod);
    EXPECT_EQ(decoded->key, entry.key);
    ASSERT_EQ(decoded->superseded.has_value(), entry.superseded.has_value());
    if (entry.superseded) ExpectSame(*entry.superseded, *decoded->superseded);

    const auto sub = static_cast<std::int32_t>(random() % 1000);
    const auto parts = DecodeRevKey(RevKey(main, sub));
    ASSERT_TRUE(parts.ok());
    EXPECT_EQ(parts->main, main);
    EXPECT_EQ(parts->sub, sub);
    EXPECT_LT(RevKey(main, sub), RevKey(main, sub + 1));
    EXPECT_LT(RevKey(main, sub), RevKey(main + 1, 0));
  }
}

TEST(KvSchema, LeaseAndCountRowsComeBack) {
  for (const LeaseId id : {LeaseId{1}, LeaseId{-13}, std::numeric_limits<LeaseId>::max()}) {
    const auto lease = DecodeLeaseKey(LeaseKey(id));
    ASSERT_TRUE(lease.ok());
    EXPECT_EQ(lease->id, id);
    EXPECT_FALSE(lease->key.has_value());
    const std::string bytes = LeaseAttachmentKey(id, std::string_view("\0k", 2));
    const auto attachment = DecodeLeaseKey(bytes);
    ASSERT_TRUE(attachment.ok());
    EXPECT_EQ(attachment->id, id);
    EXPECT_EQ(attachment->key, std::string_view("\0k", 2));
  }
  const auto record = DecodeLeaseRecord(EncodeLeaseRecord({9'000'000'000, 77, 12}));
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->granted_ttl_s, 9'000'000'000);
  EXPECT_EQ(record->incarnation, 77u);
  EXPECT_EQ(record->remaining_ttl_s, 12);
  const auto count = DecodeLeafCount(EncodeLeafCount(300));
  ASSERT_TRUE(count.ok());
  EXPECT_EQ(*count, 300);
}

/// Every decoder must answer any bytes, with a value or with kDataLoss.
template <typename Decode>
void ExpectDecodesOrDataLoss(std::string_view bytes, Decode decode) {
  const auto decoded = decode(bytes);
  if (!decoded.ok()) {
    EXPECT_EQ(decoded.error().code(), Code::kDataLoss);
  }
}

TEST(KvSchema, DamagedBytesAreDataLossNeverMore) {
  auto random = SeededRandom();
  const std::string value = "value";
  for (int i = 0; i < 20000; ++i) {
    std::string bytes;
    switch (random() % 5) {
      case 0: bytes = EncodeRecord(RandomRecord(random, value)); break;
      case 1: bytes = EncodeRevEntry(9, {EventType::kPut, 4, "k", Record{9, 0, 9, 1, 0, value}}); break;
      case 2: bytes = HistoryKey(RandomKey(random), 7); break;
      case 3: bytes = EncodeLeaseRecord({60, 3, 9}); break;
      default: bytes = EncodeHistoryRecord({900, {5, 0, 3, 2, 0, value}}); break;
    }
    if (random() % 2 == 0) bytes.resize(random() % (bytes.size() + 1));
    for (std::uint64_t flips = random() % 3; flips > 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    ExpectDecodesOrDataLoss(bytes, DecodeRecord);
    ExpectDecodesOrDataLoss(bytes, DecodeHistoryRecord);
    ExpectDecodesOrDataLoss(bytes, DecodeHistoryKey);
    ExpectDecodesOrDataLoss(bytes, DecodeRevKey);
    ExpectDecodesOrDataLoss(bytes, [](std::string_view b) { return DecodeRevEntry(9, b); });
    ExpectDecodesOrDataLoss(bytes, DecodeLeafCount);
    ExpectDecodesOrDataLoss(bytes, DecodeLeaseKey);
    ExpectDecodesOrDataLoss(bytes, DecodeLeaseRecord);
  }
}

TEST(KvSchema, DamageIsNamed) {
  const auto text = [](const Status& status) { return status.message(); };
  EXPECT_TRUE(text(DecodeRecord("").error()).starts_with("latest: record is empty"));
  EXPECT_TRUE(text(DecodeRecord("\x20").error()).starts_with("latest: record has an unknown form"));
  EXPECT_TRUE(text(DecodeRecord(std::string("\x10\x00\x00\x01", 4)).error()).starts_with("latest: record has a bad mod"));
  EXPECT_TRUE(text(DecodeHistoryRecord(std::string("\x05\x10\x05\x00\x01", 5)).error())
                  .starts_with("history: record ends before it begins"));
  EXPECT_TRUE(text(DecodeRevEntry(9, "\x10").error()).starts_with("rev: entry has no key"));
  EXPECT_TRUE(text(DecodeRevEntry(9, "\x12\x09k").error()).starts_with("rev: entry has a bad previous revision"));
  EXPECT_TRUE(text(DecodeLeafCount(std::string("\0", 1)).error()).starts_with("count: leaf has a bad number"));
  EXPECT_TRUE(text(DecodeLeaseKey("short").error()).starts_with("lease: key has a bad id"));
}

TEST(KvSchema, IntervalsAreReadAsEtcdDoes) {
  const auto single = KeyInterval::FromRequest("a", "");
  EXPECT_TRUE(single.Contains("a"));
  EXPECT_FALSE(single.Contains(std::string_view("a\0", 2)));
  EXPECT_FALSE(single.empty());
  const auto from = KeyInterval::FromRequest("b", std::string_view("\0", 1));
  EXPECT_FALSE(from.Contains("a"));
  EXPECT_TRUE(from.Contains("\xFF\xFF"));
  const auto range = KeyInterval::FromRequest("b", "d");
  EXPECT_TRUE(range.Contains("b"));
  EXPECT_TRUE(range.Contains("c\xFF"));
  EXPECT_FALSE(range.Contains("d"));
  EXPECT_TRUE(KeyInterval::FromRequest("d", "b").empty());
  EXPECT_TRUE(KeyInterval::FromRequest("d", "d").empty());
  EXPECT_TRUE(KeyInterval::Everything().Contains(std::string_view("\0", 1)));
}

TEST(KvSchema, FamiliesAreInOrderAndHistoryCountsItsEnds) {
  const auto families = FamilyList({});
  ASSERT_EQ(families.size(), 6u);
  EXPECT_EQ(families[kMeta].name, "default");
  EXPECT_EQ(families[kLatest].name, "latest");
  EXPECT_EQ(families[kHistory].name, "history");
  EXPECT_EQ(families[kRev].name, "rev");
  EXPECT_EQ(families[kCount].name, "count");
  EXPECT_EQ(families[kLease].name, "lease");
  EXPECT_EQ(families[kHistory].number("", EncodeHistoryRecord({9, {5, 0, 3, 2, 0, ""}})), 9u);
  EXPECT_EQ(families[kHistory].number("", ""), std::nullopt);
}

}  // namespace
}  // namespace vellum::kv
