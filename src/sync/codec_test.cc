#include "sync/codec.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <tuple>

#include "base/bytes.h"
#include "base/test_random.h"
#include "sync/test_record.h"

namespace vellum::sync {
namespace {

/// Strings that look like each other's parts: separators, escapes, empty tails.
std::string OddString(std::mt19937_64& random, bool may_be_empty) {
  static const std::vector<std::string> kPieces = {":", "a", "b", std::string(1, '\0'), "\x01", "\xFF", "user", "::"};
  std::string text;
  const std::size_t pieces = random() % 4 + (may_be_empty ? 0 : 1);
  for (std::size_t i = 0; i < pieces; ++i) text += kPieces[random() % kPieces.size()];
  return text;
}

TestRecord Draw(std::mt19937_64& random) {
  TestRecord record;
  record.type = static_cast<RecordType>(random() % kRecordTypes);
  record.stamp = random() % 3;
  record.data = OddString(random, true);
  record.id = OddString(random, false);
  if (record.type == RecordType::kResource || record.type == RecordType::kEntitlement || record.type == RecordType::kGrant) {
    record.type_id = OddString(random, false);
  }
  if (record.type == RecordType::kEntitlement || record.type == RecordType::kGrant) record.resource_id = OddString(random, false);
  if (record.type == RecordType::kEntitlement && random() % 2) {
    record.id = record.type_id + ":" + record.resource_id + ":" + OddString(random, true);
  }
  if (record.type == RecordType::kGrant) {
    record.entitlement_id = random() % 2 ? record.type_id + ":" + record.resource_id + ":" + OddString(random, true)
                                         : OddString(random, false);
    record.principal_type = OddString(random, false);
    record.principal_id = OddString(random, false);
    if (random() % 2) record.id = ConventionalGrantId(record.entitlement_id, record.principal_type, record.principal_id);
    record.expansion = random() % 2 ? OddString(random, true) : "";
    record.needs_expansion = random() % 2;
    record.slim = random() % 2;
  }
  if (record.type == RecordType::kAsset) record.content_type = OddString(random, true);
  return record;
}

std::string KeyOf(const TestRecord& record) {
  std::string key;
  AppendRecordKey(&key, record.view());
  return key;
}

TEST(SyncCodec, RecordsRoundTrip) {
  std::mt19937_64 random = SeededRandom();
  for (int i = 0; i < 20000; ++i) {
    const TestRecord record = Draw(random);
    ASSERT_TRUE(CheckRecord(record.view()).ok());
    std::string value;
    AppendRecordValue(&value, record.view());
    const std::string key = KeyOf(record);
    const auto stored = StoredRecord::Parse(key, value);
    ASSERT_TRUE(stored.ok()) << stored.error().ToString();
    const RecordView back = stored->view();
    EXPECT_EQ(back.type, record.type);
    EXPECT_EQ(back.id, record.id);
    EXPECT_EQ(back.type_id, record.type_id);
    EXPECT_EQ(back.resource_id, record.resource_id);
    EXPECT_EQ(back.entitlement_id, record.entitlement_id);
    EXPECT_EQ(back.principal_type_id, record.principal_type);
    EXPECT_EQ(back.principal_id, record.principal_id);
    EXPECT_EQ(back.expansion, record.expansion);
    EXPECT_EQ(back.needs_expansion, record.needs_expansion);
    EXPECT_EQ(back.slim, record.slim);
    EXPECT_EQ(back.content_type, record.content_type);
    EXPECT_EQ(back.data, record.data);
    EXPECT_EQ(back.discovered_at, record.stamp);
    EXPECT_EQ(ValueStamp(value), record.stamp);
    ASSERT_TRUE(ForEachIndexKey(key, value, [&](Bucket bucket, std::string_view index_key) {
      EXPECT_EQ(static_cast<std::uint8_t>(index_key[0]), static_cast<std::uint8_t>(bucket));
      const auto found = IndexedRecordKey(index_key);
      ASSERT_TRUE(found.ok()) << found.error().ToString();
      EXPECT_EQ(*found, key);
    }).ok());
    if (record.type == RecordType::kGrant) {
      std::string index_key;
      AppendPrincipalIndexKey(&index_key, key, record.view());
      EXPECT_EQ(IndexedRecordKey(index_key).value_or(""), key);
      EXPECT_EQ(key.substr(0, GrantsOfEntitlementPrefix(record.type_id, record.resource_id, record.entitlement_id).size()),
                GrantsOfEntitlementPrefix(record.type_id, record.resource_id, record.entitlement_id));
    }
  }
}

TEST(SyncCodec, MemoryThatIsUsedAgainDecodesAlike) {
  std::mt19937_64 random = SeededRandom();
  StoredRecord again;
  DecodedKey identity;
  for (int i = 0; i < 20000; ++i) {
    const TestRecord record = Draw(random);
    std::string value;
    AppendRecordValue(&value, record.view());
    std::string key = KeyOf(record);
    if (random() % 4 == 0) key[random() % key.size()] = static_cast<char>(random());
    const auto fresh = StoredRecord::Parse(key, value);
    ASSERT_EQ(again.Assign(key, value).ok(), fresh.ok()) << Printable(key);
    if (!fresh.ok()) continue;
    EXPECT_EQ(TestRecordOf(again.view()).Shown(), TestRecordOf(fresh->view()).Shown());
    // A copy does not depend on what it was copied from.
    const StoredRecord copy = again;
    ASSERT_TRUE(again.Assign(KeyOf(Draw(random)), value).ok());
    EXPECT_EQ(TestRecordOf(copy.view()).Shown(), TestRecordOf(fresh->view()).Shown());
    ASSERT_TRUE(ForEachIndexKey(key, value, [&](Bucket /*bucket*/, std::string_view index_key) {
      std::string record_key = "in front ";
      ASSERT_TRUE(AppendIndexedRecordKey(index_key, &record_key, &identity).ok());
      EXPECT_EQ(record_key, "in front " + key);
      RecordView view;
      identity.FillIdentity(&view);
      std::string made;
      AppendRecordKey(&made, view);
      EXPECT_EQ(made, key);
    }).ok());
  }
}

TEST(SyncCodec, EqualKeysMeanEqualIdentitiesAndPartsDecideTheOrder) {
  std::mt19937_64 random = SeededRandom();
  for (int i = 0; i < 20000; ++i) {
    const TestRecord a = Draw(random);
    const TestRecord b = Draw(random);
    EXPECT_EQ(KeyOf(a) == KeyOf(b), a.Identity() == b.Identity());
    if (a.type == b.type && a.type == RecordType::kResource) {
      EXPECT_EQ(KeyOf(a) < KeyOf(b), std::tie(a.type_id, a.id) < std::tie(b.type_id, b.id));
    }
  }
}

TEST(SyncCodec, HostileBytesAreRefused) {
  std::mt19937_64 random = SeededRandom();
  for (int i = 0; i < 50000; ++i) {
    const TestRecord record = Draw(random);
    std::string key = KeyOf(record);
    std::string value;
    AppendRecordValue(&value, record.view());
    for (std::string* bytes : {&key, &value}) {
      if (random() % 2 == 0) bytes->resize(random() % (bytes->size() + 1));
      if (!bytes->empty()) (*bytes)[random() % bytes->size()] = static_cast<char>(random());
    }
    // Whatever they say, nothing may crash, and what is accepted must encode to the same key again.
    const auto stored = StoredRecord::Parse(key, value);
    if (stored.ok()) {
      std::string again;
      AppendRecordKey(&again, stored->view());
      EXPECT_EQ(again, key);
    }
    ForEachIndexKey(key, value, [](Bucket, std::string_view) {}).IgnoreError("hostile bytes may be refused");
    IndexedRecordKey(key).error().IgnoreError("hostile bytes may be refused");
    ReadParent(value);
  }
}

TEST(SyncCodec, ParentIsReadFromTheMessage) {
  std::string message;
  message += "\x0A\x03" "abc";                      // field 1, a message
  message += "\x12\x09\x0A\x04" "team\x12\x01x";    // field 2: {1: "team", 2: "x"}
  message += std::string("\x18\x07", 2);         // field 3, a varint
  const auto parent = ReadParent(message);
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->type_id, "team");
  EXPECT_EQ(parent->id, "x");
  EXPECT_FALSE(ReadParent("\x12\x09\x0A"));
  EXPECT_TRUE(ReadParent(""));
}

TEST(SyncCodec, RecordsWithoutIdentityAreRefused) {
  RecordView grant;
  grant.type = RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = "g";
  grant.entitlement_id = "member";
  grant.principal_type_id = "user";
  EXPECT_EQ(CheckRecord(grant).code(), Code::kInvalidArgument);
  grant.principal_id = "u";
  EXPECT_TRUE(CheckRecord(grant).ok());
  const std::string long_id(kIdBytesMax + 1, 'x');
  grant.principal_id = long_id;
  EXPECT_NE(CheckRecord(grant).message().find("65537 bytes is above the limit of 65536"), std::string::npos);
}

}  // namespace
}  // namespace vellum::sync
