#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "sync/memory_catalog.h"
#include "sync/operations.h"
#include "sync/read_view.h"
#include "sync/test_record.h"

/// For tests of questions: random records, and syncs made of them.
namespace vellum::sync {

/// By identity; the later put of one replaces the earlier.
using TestModel = std::map<std::vector<std::string>, TestRecord>;

inline void AppendTestField(std::string* message, int number, std::string_view bytes) {
  message->push_back(static_cast<char>(number << 3 | 2));
  ASSERT_LT(bytes.size(), 128u);
  message->push_back(static_cast<char>(bytes.size()));
  message->append(bytes);
}

/// A resource's message: its parent, and a display name.
inline std::string ResourceMessage(const std::string& parent_type, const std::string& parent_id, const std::string& name) {
  std::string message;
  if (!parent_id.empty()) {
    std::string parent;
    AppendTestField(&parent, 1, parent_type);
    AppendTestField(&parent, 2, parent_id);
    AppendTestField(&message, 2, parent);
  }
  AppendTestField(&message, 3, name);
  return message;
}

/// A grant's message with sources: entitlement id and is_direct.
inline std::string GrantMessage(const std::vector<std::pair<std::string, bool>>& sources) {
  std::string map;
  for (const auto& [id, direct] : sources) {
    std::string entry;
    AppendTestField(&entry, 1, id);
    AppendTestField(&entry, 2, direct ? std::string("\x08\x01", 2) : std::string());
    AppendTestField(&map, 1, entry);
  }
  std::string message;
  if (!sources.empty()) {
    // As AppendTestField, for a length of two bytes.
    message.push_back(5 << 3 | 2);
    message.push_back(static_cast<char>((map.size() & 0x7F) | 0x80));
    message.push_back(static_cast<char>(map.size() >> 7));
    message += map;
  }
  return message;
}

/// Names from a small world, with colons, zero bytes and ids that are shared by resources.
class TestWorld {
 public:
  explicit TestWorld(std::mt19937_64* random) : random_(*random) {}

  std::size_t Below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }
  bool Chance(int percent) { return Below(100) < static_cast<std::size_t>(percent); }
  std::string Pick(const std::vector<std::string>& names) { return names[Below(names.size())]; }

  std::string ResourceType() { return Pick({"group", "role", "app", std::string("z\0ne", 4), "a:b"}); }
  std::string ResourceId() { return Pick({"1", "2", "3", "x:y", "eng", std::string("\0", 1), "b:1"}); }
  std::string UserType() { return Pick({"user", "group", "svc:bot"}); }
  std::string UserId() { return Pick({"ann", "bob", "cy", "d:d", "1", "2", "eng"}); }
  std::string EntitlementId(const std::string& type, const std::string& resource) {
    return Chance(50) ? type + ":" + resource + ":" + Pick({"member", "admin", "", "a:b"})
                      : Pick({"member", "admin", "group:1:member", "opaque-7"});
  }

  TestRecord Record() {
    TestRecord record;
    record.stamp = Below(4);
    switch (Below(10)) {
      case 0:
        record.type = RecordType::kResourceType;
        record.id = ResourceType();
        record.data = ResourceMessage("", "", Pick({"A", "B"}));
        break;
      case 1:
        record.type = RecordType::kAsset;
        record.id = Pick({"logo", "icon:1", "icon:2"});
        record.content_type = Pick({"", "image/png"});
        record.data = Pick({"one", "two"});
        break;
      case 2:
      case 3:
        record.type = RecordType::kResource;
        record.type_id = Chance(50) ? ResourceType() : UserType();
        record.id = Chance(50) ? ResourceId() : UserId();
        if (Chance(50)) {
          record.parent_type = ResourceType();
          record.parent_id = ResourceId();
        }
        record.data = ResourceMessage(record.parent_type, record.parent_id, Pick({"A", "B"}));
        break;
      case 4:
      case 5:
        record.type = RecordType::kEntitlement;
        record.type_id = ResourceType();
        record.resource_id = ResourceId();
        record.id = EntitlementId(record.type_id, record.resource_id);
        record.data = ResourceMessage("", "", Pick({"A", "B"}));
        break;
      default:
        record.type = RecordType::kGrant;
        record.type_id = ResourceType();
        record.resource_id = ResourceId();
        record.entitlement_id = EntitlementId(record.type_id, record.resource_id);
        record.principal_type = UserType();
        record.principal_id = UserId();
        if (Chance(20)) record.id = Pick({"grant-1", "grant-2", "member:user:ann"});
        record.needs_expansion = Chance(20);
        if (record.needs_expansion) AppendTestField(&record.expansion, 1, Pick({"member", "admin"}));
        record.data = GrantMessage({});
        break;
    }
    return record;
  }

 private:
  std::mt19937_64& random_;
};

/// A store in a directory and a catalog of its own.
class TestSyncs {
 public:
  TestSyncs() { Reopen(); }
  void Reopen() {
    store_.reset();
    StoreOptions options;
    options.data_dir = dir_.path();
    options.memory_bytes = 64u << 10;  // so that runs are spilled
    auto opened = Store::Open(std::move(options), &catalog_);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store_ = *std::move(opened);
  }
  Store* store() { return store_.get(); }

  std::unique_ptr<SyncWriter> Begin(const std::string& id) {
    SyncRun run;
    run.id = id;
    run.type = "full";
    run.started_at = 1;
    auto writer = SyncWriter::Begin(store_.get(), std::move(run), "test", SyncWriter::IfExists::kReplace);
    EXPECT_TRUE(writer.ok()) << writer.error().ToString();
    return *std::move(writer);
  }
  template <typename Records>
  void Write(const std::string& id, const Records& records) {
    const auto writer = Begin(id);
    for (const TestRecord& record : records) ASSERT_TRUE(writer->Put(record.view()).ok());
    const auto sealed = writer->Seal(2, "seal");
    ASSERT_TRUE(sealed.ok()) << sealed.error().ToString();
  }
  std::shared_ptr<const ReadView> View(const std::string& id) {
    auto view = OpenView(*store_, id, std::nullopt);
    EXPECT_TRUE(view.ok()) << view.error().ToString();
    return *std::move(view);
  }

 private:
  TestDir dir_;
  MemoryCatalog catalog_;
  std::unique_ptr<Store> store_;
};

inline std::vector<TestRecord> RecordsOf(const TestModel& model) {
  std::vector<TestRecord> records;
  for (const auto& [identity, record] : model) records.push_back(record);
  return records;
}

}  // namespace vellum::sync
