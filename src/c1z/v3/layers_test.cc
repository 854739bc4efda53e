#include <gtest/gtest.h>

#include <fstream>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/message_check.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/columns.h"
#include "c1z/v3/merge.h"
#include "c1z/v3/reader.h"
#include "c1z/v3/record_log.h"
#include "c1z/v3/records.h"
#include "c1z/v3/row_block.h"
#include "c1z/v3/scan.h"
#include "c1z/v3/test_writer.h"
#include "c1z/wire_reader.h"

/// The layers of the v3 reader, each alone: bytes that a real file holds, and tables of every form.
namespace vellum::c1z::v3 {
namespace {

std::string Unhex(std::string_view text) {
  std::string bytes;
  std::string digits;
  for (const char c : text) {
    if (c == ' ') continue;
    digits.push_back(c);
    if (digits.size() < 2) continue;
    bytes.push_back(static_cast<char>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return bytes;
}

Budget::Limits Plenty() { return {1u << 30, 1u << 30, std::chrono::milliseconds(0)}; }

using Map = std::map<std::string, std::string>;

/// Everything that tables amount to.
Result<Map> Merge(const Files& files, std::string from = "", std::string until = "") {
  Budget budget(Plenty());
  VELLUM_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::FromFiles(files, &budget));
  VELLUM_ASSIGN_OR_RETURN(const Database database, OpenDatabase(*checkpoint, &budget));
  TableSet tables(checkpoint.get(), &database, 256u << 20, &budget);
  VELLUM_ASSIGN_OR_RETURN(const auto scan, MergedScan::Start(&tables, std::move(from), std::move(until)));
  Map map;
  std::string before;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool any, scan->Next());
    if (!any) return map;
    EXPECT_TRUE(map.empty() || before < scan->key());
    before = scan->key();
    map.emplace(scan->key(), scan->value());
  }
}

std::string Key(int number) {
  std::string digits = std::to_string(number);
  return "key" + std::string(6 - digits.size(), '0') + digits;
}

TEST(V3Bytes, MaskedChecksumsAreThoseOfTheFormat) {
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(MaskCrc(Crc32c("123456789")), 0xC78AB0E5u);
  EXPECT_EQ(MaskCrc(Crc32c("")), 0xA282EAD8u);
}

TEST(V3Bytes, TheFirstRecordOfAManifest) {
  const std::string edit = Unhex("01 1a") + "leveldb.BytewiseComparator" + Unhex("03 02 04 00");
  const std::string log = WriteRecordLog({edit});
  EXPECT_EQ(log.substr(0, 7), Unhex("a1 17 77 4a 20 00 01"));
  RecordLog reader(log);
  std::string_view record;
  ASSERT_TRUE(*reader.Next(&record));
  EXPECT_EQ(record, edit);
  EXPECT_FALSE(*reader.Next(&record));
}

TEST(V3Bytes, AnEditThatAddsATable) {
  const std::string key = Unhex("03 06 01 62 00 00 00 00 00 00");
  Version version;
  const Status applied = version.Apply(Unhex("02 07 03 09 04 62 67 00 08 c6 06 0a") + key + Unhex("0a") + key +
                                       Unhex("62 62 06 05 a3 c7 80 d8 06 01"));
  ASSERT_TRUE(applied.ok()) << applied.ToString();
  EXPECT_EQ(version.min_log_number(), 7u);
  ASSERT_EQ(version.tables().size(), 1u);
  const TableMeta& table = version.tables().at(8);
  EXPECT_EQ(table.level, 0);
  EXPECT_EQ(table.size, 838u);
  EXPECT_EQ(table.smallest.user, "\x03\x06");
  EXPECT_EQ(table.smallest.sequence(), 98u);
  EXPECT_EQ(table.smallest_sequence, 98u);
  EXPECT_EQ(table.largest_sequence, 98u);
  EXPECT_FALSE(table.is_virtual());
}

TEST(V3Bytes, AFooter) {
  const std::string footer = Unhex("01 d6 05 2e a0 01 24") + std::string(34, '\0') +
                             Unhex("80 00 00 00 14 e2 9e a7 07 00 00 00 f0 9f aa b3 f0 9f aa b3");
  ASSERT_EQ(footer.size(), 61u);
  const auto parsed = ParseFooter(footer, 838);
  ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
  EXPECT_EQ(parsed->version, 7u);
  EXPECT_EQ(parsed->metaindex.offset, 726u);
  EXPECT_EQ(parsed->metaindex.size, 46u);
  EXPECT_EQ(parsed->index.offset, 160u);
  EXPECT_EQ(parsed->index.size, 36u);
  EXPECT_EQ(parsed->attributes, 128u);
  EXPECT_EQ(parsed->offset, 777u);
}

TEST(V3Bytes, AnIndexBlock) {
  const std::string block = Unhex("01 04 00 01 00 00 00 03 1b 00 00 00 02 1f 00 00 00 02 20 00 00 00 03 22 00 00 00"
                                  "01 00 01 04 00 01 9b 00 00");
  const auto index = ParseIndexBlock(block);
  ASSERT_TRUE(index.ok()) << index.error().ToString();
  ASSERT_EQ(index->rows, 1u);
  EXPECT_EQ(index->separator[0], "\x04");
  EXPECT_EQ(index->offset[0], 0u);
  EXPECT_EQ(index->size[0], 155u);
}

TEST(V3Bytes, ADataBlock) {
  const std::string value = Unhex("0a 1b") + "3AKrFg2DodbmMYsERIlv6FSibdb" + Unhex("10 01 22 06 08 80 e4 8f cd 06 2a 06 08 da e4 8f cd 06 32 12") +
                            "{\"fixture\":\"tiny\"}" + Unhex("38 01");
  ASSERT_EQ(value.size(), 69u);
  const std::string block =
      Unhex("02 00 00 00 01 07 00 01 00 00 00 04 2e 00 00 00 03 35 00 00 00 02 36 00 00 00 01 3a 00 00 00 03 50 00 00 00"
            "01 98 00 00 00 01 99 00 00 00 04 01 02 02 02 03 06 00 02 00 01 62 00 00 00 00 00 00") +
      Unhex("01 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 01 00 45") + value + Unhex("01 01 00");
  ASSERT_EQ(block.size(), 155u);
  const std::string sealed = SealBlock(block, 0, Checksum::kCrc32c);
  EXPECT_EQ(sealed.substr(155), Unhex("00 50 ca f9 f7"));
  BlockRows rows;
  const Status started = rows.Start(block, 7);
  ASSERT_TRUE(started.ok()) << started.ToString();
  ASSERT_TRUE(*rows.Next());
  EXPECT_EQ(rows.key(), "\x03\x06");
  EXPECT_EQ(rows.trailer(), 0x6201u);
  EXPECT_EQ(rows.value(), value);
  EXPECT_FALSE(*rows.Next());
  const auto run = ParseSyncRun(value);
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->id, "3AKrFg2DodbmMYsERIlv6FSibdb");
  EXPECT_EQ(run->type, "full");
  EXPECT_EQ(run->started_at, 1'772'352'000'000'000'000u);
  EXPECT_EQ(run->ended_at, 1'772'352'090'000'000'000u);
  EXPECT_EQ(run->token, "{\"fixture\":\"tiny\"}");
  EXPECT_TRUE(run->supports_diff);
  // And what our writer makes of the same row.
  EXPECT_EQ(WriteDataBlock({{"\x03\x06", 98, 1, value}}), block);
}

TEST(V3Bytes, AGrant) {
  const std::string key = Unhex("03 04 00 62 61 72 65 00 62 00 31 00 00 75 73 65 72 00 62 6f 62");
  const std::string value = Unhex("12 0e") + "\xE7\xB5\xB5\xE6\x96\x87\xE5\xAD\x97-\xF0\x9F\x94\x91" + Unhex("1a 12 0a 04") + "bare" +
                            Unhex("12 01") + "b" + Unhex("1a 07") + "bare:b:" + Unhex("22 0b 0a 04") + "user" + Unhex("12 03") + "bob" +
                            Unhex("2a 0b 08 80 e4 8f cd 06 10 a6 ab 8f 12");
  RecordDecoder decoder(Identity::kStructural);
  sync::RecordView grant;
  std::uint64_t unstamped = 0;
  const Status decoded = decoder.Decode(sync::RecordType::kGrant, key, value, &grant, &unstamped);
  ASSERT_TRUE(decoded.ok()) << decoded.ToString();
  EXPECT_EQ(grant.id, "\xE7\xB5\xB5\xE6\x96\x87\xE5\xAD\x97-\xF0\x9F\x94\x91");
  EXPECT_EQ(grant.type_id, "bare");
  EXPECT_EQ(grant.resource_id, "b");
  EXPECT_EQ(grant.entitlement_id, "bare:b:");
  EXPECT_EQ(grant.principal_type_id, "user");
  EXPECT_EQ(grant.principal_id, "bob");
  EXPECT_EQ(grant.discovered_at, 1'772'352'000'038'000'038u);
  std::string again;
  AppendKey(&again, grant, Identity::kStructural);
  EXPECT_EQ(again, key);
}

std::string Field(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  AppendLengthPrefixed(&field, bytes);
  return field;
}

/// Changed at random, values are refused, or become messages that protobuf reads: what comes in must come out.
TEST(V3Bytes, WhatIsTakenIsAMessage) {
  sync::RecordView grant;
  grant.type = sync::RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = "g";
  grant.entitlement_id = "group:g:member";
  grant.principal_type_id = "user";
  grant.principal_id = "zed";
  sync::RecordView resource;
  resource.type = sync::RecordType::kResource;
  resource.type_id = "user";
  resource.id = "zed";
  const std::string annotation = Field(1, "type") + Field(2, "value");
  const std::string entry = Field(1, "key") + Field(2, Field(5, Field(1, Field(1, "inner") + Field(2, Field(3, "text")))));
  const std::string status = Unhex("08 01") + Field(2, "ok");
  // A tag and a length of six bytes, which not all readers of protobuf take.
  const std::string long_tag = Unhex("8a 80 80 80 80 00 01 61");
  const std::string long_length = Unhex("0a 81 80 80 80 80 00 61");
  const std::vector<std::pair<sync::RecordView, std::string>> values = {
      {grant, Field(8, annotation) + Field(9, Field(1, "source") + Field(2, Unhex("20 01"))) + Field(6, Field(1, "id"))},
      {grant, Field(8, long_tag)},
      {grant, Field(8, long_length)},
      {grant, Field(6, long_length)},
      {resource, Field(7, annotation) + Field(9, Field(1, entry)) + Field(10, status) + Field(11, Unhex("08 05 10 06"))},
      {resource, Field(9, long_tag)},
      {resource, Field(10, long_length)},
  };
  auto random = SeededRandom();
  MessageCheck messages;
  RecordDecoder decoder(Identity::kStructural);
  int taken = 0;
  for (const auto& [record, more] : values) {
    const std::string key = RecordRow(record, 1).key;
    const std::string whole = EncodeStorage(record) + more;
    for (int round = 0; round < 20'000; ++round) {
      std::string value = whole;
      for (int i = round % 4; i > 0; --i) value[random() % value.size()] = static_cast<char>(random());
      sync::RecordView read;
      std::uint64_t unstamped = 0;
      if (!decoder.Decode(record.type, key, value, &read, &unstamped).ok()) continue;
      ++taken;
      ASSERT_TRUE(messages.Passes(read)) << Printable(value, 4096);
    }
  }
  EXPECT_GT(taken, 1000);
}

TEST(V3Bytes, ARangeDeletion) {
  const std::string block = WriteRangeDeletionBlock({{"\x03\x0A", "\x03\x0B", 82}});
  const auto parsed = ParseRangeDeletionBlock(block);
  ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
  ASSERT_EQ(parsed->boundaries, 2u);
  ASSERT_EQ(parsed->rows, 1u);
  EXPECT_EQ(parsed->boundary[0], "\x03\x0A");
  EXPECT_EQ(parsed->boundary[1], "\x03\x0B");
  EXPECT_EQ(parsed->trailer[0], 0x520Fu);
}

TEST(V3Columns, PrefixesAndRepeatedKeysAcrossBundles) {
  std::vector<WriterRow> rows;
  for (int i = 0; i < 100; ++i) {
    // Every third key has three states; bundles are of 16 rows, so some begin in the middle of them.
    for (int state = 3; state > (i % 3 == 0 ? 0 : 2); --state) {
      rows.push_back({Key(i), static_cast<std::uint64_t>(state), 1, std::to_string(i * 10 + state)});
    }
  }
  for (const unsigned shift : {0u, 1u, 4u, 30u}) {
    const std::string bytes = WriteDataBlock(rows, shift);
    BlockRows block;
    ASSERT_TRUE(block.Start(bytes, 7).ok());
    for (const WriterRow& row : rows) {
      ASSERT_TRUE(*block.Next());
      ASSERT_EQ(block.key(), row.key);
      ASSERT_EQ(block.trailer(), row.trailer());
      ASSERT_EQ(block.value(), row.value);
    }
    EXPECT_FALSE(*block.Next());
  }
}

TEST(V3Columns, AWrongByteAnywhereIsAnErrorOrHarmless) {
  const std::string block = WriteDataBlock({{"a", 3, 1, "one"}, {"a", 2, 1, "two"}, {"bcd", 700, 0, ""}, {"bce", 1, 1, "four"}});
  for (std::size_t at = 0; at < block.size(); ++at) {
    for (const int change : {1, 0x80, 0xFF}) {
      std::string damaged = block;
      damaged[at] = static_cast<char>(damaged[at] ^ change);
      BlockRows rows;
      if (!rows.Start(damaged, 7).ok()) continue;
      std::size_t seen = 0;
      for (auto any = rows.Next(); any.ok() && *any; any = rows.Next()) seen += 1 + rows.key().size() + rows.value().size();
      EXPECT_LE(seen, damaged.size() * 16);
    }
  }
  for (std::size_t size = 0; size < block.size(); ++size) {
    BlockRows rows;
    EXPECT_FALSE(rows.Start(std::string_view(block).substr(0, size), 7).ok()) << size;
  }
}

TEST(V3Log, RecordsCrossBlocksAndPaddingIsSkipped) {
  // 32,768 - 7 - 32,755 leaves 6 bytes, too few for a header.
  const std::vector<std::string> records = {std::string(32'755, 'a'), std::string(100'000, 'b'), "", std::string(70'000, 'c')};
  const std::string bytes = WriteRecordLog(records);
  RecordLog log(bytes);
  std::string_view record;
  for (const std::string& expected : records) {
    ASSERT_TRUE(*log.Next(&record));
    EXPECT_EQ(record, expected);
  }
  EXPECT_FALSE(*log.Next(&record));
}

struct Form {
  const char* name;
  TableFormat format;
};
class V3Tables : public testing::TestWithParam<Form> {};

TEST_P(V3Tables, KeysNewestStatesAndDeletions) {
  Map expected;
  std::vector<WriterRow> old_rows;
  std::vector<WriterRow> new_rows;
  for (int i = 0; i < 3000; ++i) {
    old_rows.push_back({Key(i), 10, 1, "old" + std::to_string(i)});
    expected[Key(i)] = "old" + std::to_string(i);
  }
  for (int i = 500; i < 2500; i += 2) {
    const bool gone = i % 10 == 0;
    const std::uint8_t kind = !gone ? (i % 4 == 0 ? 18 : 1) : (i % 20 == 0 ? 0 : i % 30 == 0 ? 7 : 23);
    new_rows.push_back({Key(i), 20, kind, gone ? "" : "new"});
    if (i % 6 == 0) new_rows.push_back({Key(i), 15, 1, "hidden in its own table"});
    if (gone) {
      expected.erase(Key(i));
    } else {
      expected[Key(i)] = "new";
    }
  }
  // Covers old rows and not the new ones, which are as new as it or newer.
  const std::vector<WriterDeletion> deletions = {{Key(1000), Key(1200), 12}, {Key(1200), Key(1300), 20}};
  for (int i = 1000; i < 1300; ++i) {
    if (i % 2 != 0) expected.erase(Key(i));
  }
  Files files = WriteCheckpoint({WriteTable(old_rows, {}, GetParam().format), WriteTable(new_rows, deletions, GetParam().format)});
  const auto merged = Merge(files);
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  EXPECT_EQ(*merged, expected);
  // From and to any key, at block boundaries and within.
  for (int from = 0; from < 3000; from += 371) {
    const auto part = Merge(files, Key(from), Key(from + 700));
    ASSERT_TRUE(part.ok()) << part.error().ToString();
    EXPECT_EQ(*part, Map(expected.lower_bound(Key(from)), expected.lower_bound(Key(from + 700)))) << from;
  }
}

TEST_P(V3Tables, RangeDeletionsAlone) {
  const Files files = WriteCheckpoint(
      {WriteTable({{"a", 1, 1, "1"}, {"b", 1, 1, "2"}, {"c", 1, 1, "3"}}, {}, GetParam().format),
       WriteTable({}, {{"b", "c", 5}}, GetParam().format)});
  const auto merged = Merge(files);
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  EXPECT_EQ(*merged, (Map{{"a", "1"}, {"c", "3"}}));
}

TEST_P(V3Tables, WindowsOnAFile) {
  std::vector<WriterRow> rows;
  for (int i = 0; i < 2000; ++i) rows.push_back({Key(i), 10, 1, "old"});
  WrittenTable backing = WriteTable(rows, {{Key(100), Key(1900), 11}}, GetParam().format);
  const auto window = [&](std::uint64_t number, int smallest, InternalKey largest) {
    TableMeta meta = backing.meta;
    meta.number = number;
    meta.backing = 9;
    meta.smallest = {Key(smallest), 10 << 8 | 1};
    meta.largest = std::move(largest);
    return meta;
  };
  WrittenTable middle = WriteTable({{Key(50), 5, 1, "oldest"}, {Key(150), 5, 1, "oldest"}, {Key(1500), 5, 1, "oldest"}}, {}, GetParam().format);
  middle.meta.number = 8;
  EditWriter edit;
  edit.Comparer().LogNumber(2).Backing(9, backing.bytes.size());
  edit.Table(window(20, 40, {Key(60), 10 << 8 | 1}));                      // inclusive
  edit.Table(window(21, 120, {Key(160), kSequenceMax << 8 | 15}));         // exclusive
  edit.Table(middle.meta);
  const Files files = WriteCheckpoint({{"000008.sst", middle.bytes}, {"000009.sst", backing.bytes}}, {edit.bytes()});
  const auto merged = Merge(files);
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  Map expected;
  for (int i = 40; i <= 60; ++i) expected[Key(i)] = "old";
  expected[Key(1500)] = "oldest";  // 120 to 160 are deleted there; 150 with them; 1500 is outside the window of the deletion
  EXPECT_EQ(*merged, expected);
}

TEST_P(V3Tables, TablesWrittenElsewhereTakeTheirNumberFromTheManifest) {
  WrittenTable below = WriteTable({{"a", 5, 1, "older"}, {"b", 5, 1, "older"}, {"c", 5, 1, "older"}}, {}, GetParam().format);
  WrittenTable ingested = WriteTable({{"a", 0, 1, "newer"}, {"b", 0, 0, ""}}, {{"c", "d", 0}}, GetParam().format);
  ingested.meta.smallest_sequence = ingested.meta.largest_sequence = 9;
  const auto merged = Merge(WriteCheckpoint({below, ingested}));
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  EXPECT_EQ(*merged, (Map{{"a", "newer"}}));
}

TEST_P(V3Tables, TheEmptyKeyAndEmptyValues) {
  const auto merged = Merge(WriteCheckpoint({WriteTable({{"", 3, 1, "e"}, {"", 2, 1, "older"}, {std::string(1, '\0'), 1, 1, ""}}, {}, GetParam().format)}));
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  EXPECT_EQ(*merged, (Map{{"", "e"}, {std::string(1, '\0'), ""}}));
}

std::vector<Form> Forms() {
  std::vector<Form> forms;
  static const char* const kNames[] = {"v1", "v2", "v3", "v4", "v5", "v6", "v7"};
  for (std::uint32_t version = 1; version <= 7; ++version) {
    TableFormat format;
    format.version = version;
    format.block_bytes = 1000;
    forms.push_back({kNames[version - 1], format});
  }
  TableFormat format;
  format.block_bytes = 500;
  format.compression = 1;
  forms.push_back({"snappy", format});
  format.compression = 7;
  format.checksum = Checksum::kXxh64;
  forms.push_back({"zstd_and_xxh64", format});
  format.two_levels = true;
  format.index_block_bytes = 200;
  forms.push_back({"two_levels", format});
  format.version = 4;
  forms.push_back({"two_levels_of_rows", format});
  format.version = 6;
  format.shift = 2;
  forms.push_back({"two_levels_of_v6", format});
  return forms;
}

INSTANTIATE_TEST_SUITE_P(Forms, V3Tables, testing::ValuesIn(Forms()), [](const auto& form) { return std::string(form.param.name); });

TEST(V3Ranges, OverlappingDeletionsKeepTheHighestNumber) {
  DeletedRanges ranges;
  ranges.Add("b", "f", 5);
  ranges.Add("d", "h", 9);
  ranges.Add("e", "g", 7);
  ranges.Add("m", "n", 2);
  ranges.Add("b", "c", 8);
  ranges.Build();
  const std::vector<std::pair<std::string, std::uint64_t>> expected = {
      {"a", 0}, {"b", 8}, {"bz", 8}, {"c", 5}, {"d", 9}, {"e", 9}, {"gz", 9}, {"h", 0}, {"m", 2}, {"n", 0}, {"z", 0}};
  for (const auto& [key, sequence] : expected) EXPECT_EQ(ranges.Covering(key), sequence) << key;
}

TEST(V3Keys, EscapesKeepTheOrderOfParts) {
  sync::RecordView record;
  record.type = sync::RecordType::kResource;
  const std::string ids[] = {std::string("a"), std::string("a\0", 2), std::string("a\0\1", 3), std::string("a\1"), std::string("a\1\2"), "ab"};
  std::string before;
  for (const std::string& id : ids) {
    record.type_id = id;
    record.id = "x";
    std::string key;
    AppendKey(&key, record, Identity::kStructural);
    EXPECT_LT(before, key);
    before = key;
  }
  EXPECT_EQ(before, Unhex("03 02 00 61 62 00 78"));
}

}  // namespace
}  // namespace vellum::c1z::v3
