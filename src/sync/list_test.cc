#include "sync/list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "base/test_random.h"
#include "sync/codec.h"
#include "sync/page_token.h"
#include "sync/test_world.h"

/// Every filter combination against a reference that looks at each record in turn.
namespace vellum::sync {
namespace {

bool Named(const std::optional<ResourceName>& name, const std::string& type, const std::string& id) {
  return !name || (name->type == type && name->id == id);
}

bool Selected(const RecordQuery& query, const TestRecord& record) {
  if (record.type != query.type) return false;
  const std::string resource_id = record.type == RecordType::kResource ? record.id : record.resource_id;
  const std::string entitlement = record.type == RecordType::kGrant ? record.entitlement_id : record.id;
  return (query.resource_type.empty() || query.resource_type == record.type_id) &&
         Named(query.resource, record.type_id, resource_id) && Named(query.parent, record.parent_type, record.parent_id) &&
         (query.entitlement.empty() || query.entitlement == entitlement) &&
         Named(query.principal, record.principal_type, record.principal_id) &&
         (query.principal_type.empty() || query.principal_type == record.principal_type) &&
         (!query.needs_expansion || record.needs_expansion);
}

using Shown = std::multiset<std::vector<std::string>>;

Shown Expected(const TestModel& model, const RecordQuery& query) {
  Shown expected;
  for (const auto& [identity, record] : model) {
    if (Selected(query, record)) expected.insert(record.Shown());
  }
  return expected;
}

Shown ListAll(const ReadView& view, const RecordQuery& query, std::uint64_t page_records, bool principals = false) {
  Shown shown;
  std::string after;
  for (int pages = 0; pages < 100'000; ++pages) {
    std::uint64_t here = 0;
    const RecordVisitor visit = [&](const RecordView& record) {
      shown.insert(principals ? std::vector<std::string>{std::string(record.type_id), std::string(record.id)}
                              : TestRecordOf(record).Shown());
      ++here;
      return Status();
    };
    const auto page = principals ? ListPrincipals(view, query, page_records, after, visit)
                                 : ListRecords(view, query, page_records, after, visit);
    EXPECT_TRUE(page.ok()) << page.error().ToString();
    if (!page.ok()) return shown;
    EXPECT_EQ(page->records, here);
    if (page->last_key.empty()) return shown;
    EXPECT_EQ(here, page_records);  // a page that is not the last is full
    after = page->last_key;
  }
  ADD_FAILURE() << "the pages do not end";
  return shown;
}

RecordQuery RandomQuery(TestWorld* world) {
  RecordQuery query;
  query.type = static_cast<RecordType>(world->Chance(60) ? 3 : world->Below(5));
  const bool grants = query.type == RecordType::kGrant;
  const bool entitlements = grants || query.type == RecordType::kEntitlement;
  const bool resources = entitlements || query.type == RecordType::kResource;
  const std::string type = world->ResourceType();
  const std::string id = world->ResourceId();
  if (resources && world->Chance(30)) query.resource_type = world->Chance(80) ? type : world->ResourceType();
  if (resources && world->Chance(30)) query.resource = ResourceName{type, id};
  if (query.type == RecordType::kResource && world->Chance(50)) query.parent = ResourceName{world->ResourceType(), world->ResourceId()};
  if (entitlements && world->Chance(40)) query.entitlement = world->EntitlementId(type, id);
  if (grants && world->Chance(30)) query.principal = ResourceName{world->UserType(), world->UserId()};
  if (grants && world->Chance(30)) query.principal_type = query.principal && world->Chance(80) ? query.principal->type : world->UserType();
  if (grants && world->Chance(30)) query.needs_expansion = true;
  return query;
}

void CheckListings(const TestModel& model, const ReadView& view, TestWorld* world, int queries) {
  for (int i = 0; i < queries; ++i) {
    const RecordQuery query = RandomQuery(world);
    const Shown expected = Expected(model, query);
    EXPECT_EQ(ListAll(view, query, 0), expected);
    EXPECT_EQ(ListAll(view, query, 1 + world->Below(7)), expected);
    if (query.type != RecordType::kGrant) continue;
    Shown principals;
    std::set<std::vector<std::string>> distinct;
    for (const auto& [identity, record] : model) {
      if (Selected(query, record)) distinct.insert({record.principal_type, record.principal_id});
    }
    principals.insert(distinct.begin(), distinct.end());
    EXPECT_EQ(ListAll(view, query, 0, /*principals=*/true), principals);
    EXPECT_EQ(ListAll(view, query, 1 + world->Below(4), /*principals=*/true), principals);
  }
}

/// Whether `id` is the connector's name for the record, by asking it.
bool IsOwnId(const std::string& id, const TestRecord& record) {
  const std::string principal = ":" + record.principal_type + ":" + record.principal_id;
  if (record.type == RecordType::kResource) return id == record.type_id + ":" + record.id;
  if (record.type != RecordType::kGrant) return id == record.id;
  return id == (record.id.empty() ? record.entitlement_id + principal : record.id);
}

/// Whether `id` has the parts of the record's identity, colons between them.
bool HasParts(const std::string& id, const TestRecord& record) {
  const std::string resource = record.type_id + ":" + record.resource_id + ":";
  const std::string principal = ":" + record.principal_type + ":" + record.principal_id;
  if (record.type == RecordType::kEntitlement) return id == resource + record.id;
  return record.type == RecordType::kGrant &&
         (id == record.entitlement_id + principal || id == resource + record.entitlement_id + principal);
}

void CheckFinds(const TestModel& model, const ReadView& view, TestWorld* world, int finds) {
  const std::vector<TestRecord> records = RecordsOf(model);
  for (int i = 0; i < finds; ++i) {
    const TestRecord& one = records[world->Below(records.size())];
    std::string id = one.id;
    if (one.type == RecordType::kResource) id = one.type_id + ":" + one.id;
    if (one.type == RecordType::kGrant && (id.empty() || world->Chance(30))) {
      id = one.entitlement_id + ":" + one.principal_type + ":" + one.principal_id;
    }
    if (one.type == RecordType::kEntitlement && world->Chance(30)) id = one.type_id + ":" + one.resource_id + ":" + one.id;
    Shown expected;
    for (const TestRecord& each : records) {
      if (each.type == one.type && IsOwnId(id, each)) expected.insert(each.Shown());
    }
    const bool by_own_id = !expected.empty();
    for (const TestRecord& each : records) {
      if (!by_own_id && each.type == one.type && HasParts(id, each)) expected.insert(each.Shown());
    }
    // A resource's type ends at the first colon that leads to one.
    if (one.type == RecordType::kResource && expected.size() > 1) continue;
    Shown found;
    const auto count = FindRecords(view, one.type, id, [&found](const RecordView& record) {
      found.insert(TestRecordOf(record).Shown());
      return Status();
    });
    ASSERT_TRUE(count.ok()) << count.error().ToString();
    EXPECT_EQ(found, expected) << Printable(id);
    EXPECT_EQ(*count, expected.size());
  }
}

TEST(SyncList, EveryFilterAsTheReferenceSays) {
  auto random = SeededRandom();
  TestWorld world(&random);
  for (int round = 0; round < 4; ++round) {
    TestSyncs syncs;
    TestModel model;
    const std::size_t puts = round == 0 ? 30 : 1500;
    const auto writer = syncs.Begin("S");
    for (std::size_t i = 0; i < puts; ++i) {
      const TestRecord record = world.Record();
      ASSERT_TRUE(writer->Put(record.view()).ok());
      model.insert_or_assign(record.Identity(), record);
      if (i == puts / 2) {
        // An open sync is read as far as it goes, without the indexes that sealing makes.
        const auto view = syncs.View("S");
        ASSERT_TRUE(view != nullptr);
        CheckListings(model, *view, &world, 25);
        CheckFinds(model, *view, &world, 25);
      }
    }
    ASSERT_TRUE(writer->Seal(2, "seal").ok());
    const auto view = syncs.View("S");
    CheckListings(model, *view, &world, 120);
    CheckFinds(model, *view, &world, 120);
    std::uint64_t pending = 0;
    for (const auto& [identity, record] : model) pending += record.needs_expansion ? 1 : 0;
    EXPECT_EQ(*view->CountPendingExpansions(), pending);
  }
}

TEST(SyncList, OpenSyncShowsWhatWasPutAndThenItsCheckpoint) {
  TestSyncs syncs;
  TestRecord grant;
  grant.type_id = "group";
  grant.resource_id = "g";
  grant.entitlement_id = "member";
  grant.principal_type = "user";
  RecordQuery query;
  {
    const auto writer = syncs.Begin("S");
    for (int i = 0; i < 10; ++i) {
      grant.principal_id = std::to_string(i);
      ASSERT_TRUE(writer->Put(grant.view()).ok());
    }
    const auto early = syncs.View("S");
    ASSERT_TRUE(writer->Checkpoint("token").ok());
    grant.principal_id = "later";
    ASSERT_TRUE(writer->Put(grant.view()).ok());
    EXPECT_EQ(ListAll(*early, query, 0).size(), 10u);
    EXPECT_EQ(ListAll(*syncs.View("S"), query, 3).size(), 11u);
  }
  // Nobody writes it any more: up to its checkpoint, now and after a restart.
  EXPECT_EQ(ListAll(*syncs.View("S"), query, 0).size(), 10u);
  syncs.Reopen();
  EXPECT_EQ(ListAll(*syncs.View("S"), query, 0).size(), 10u);
  {
    auto resumed = SyncWriter::Resume(syncs.store(), "S");
    ASSERT_TRUE(resumed.ok());
    const auto view = syncs.View("S");
    ASSERT_TRUE((*resumed)->Put(grant.view()).ok());
    ASSERT_TRUE((*resumed)->Seal(2, "seal").ok());
    EXPECT_EQ(ListAll(*view, query, 0).size(), 10u);  // its files are unlinked by now
  }
  EXPECT_EQ(ListAll(*syncs.View("S"), query, 0).size(), 11u);
  const auto unwritten = syncs.Begin("empty");
  EXPECT_EQ(ListAll(*syncs.View("empty"), query, 0).size(), 0u);
}

TEST(SyncList, SwitchDuringPaging) {
  TestSyncs syncs;
  std::vector<TestRecord> grants(20);
  for (std::size_t i = 0; i < grants.size(); ++i) {
    grants[i].type_id = "group";
    grants[i].resource_id = "g";
    grants[i].entitlement_id = "member";
    grants[i].principal_type = "user";
    grants[i].principal_id = std::to_string(i);
  }
  syncs.Write("S", grants);
  const auto view = syncs.View("S");
  const auto first = ListRecords(*view, {}, 5, {}, [](const RecordView&) { return Status(); });
  ASSERT_TRUE(first.ok());
  syncs.Write("S", std::vector<TestRecord>());
  EXPECT_EQ(ListAll(*syncs.View("S"), {}, 0).size(), 0u);
  const auto rest = ListRecords(*view, {}, 0, first->last_key, [](const RecordView&) { return Status(); });
  ASSERT_TRUE(rest.ok());
  EXPECT_EQ(rest->records, 15u);
}

TEST(SyncList, RefusesFiltersThatDoNotGoAndForeignKeys) {
  TestSyncs syncs;
  syncs.Write("S", std::vector<TestRecord>());
  const auto view = syncs.View("S");
  const auto code = [&](const RecordQuery& query, std::string_view after = {}) {
    return ListRecords(*view, query, 0, after, [](const RecordView&) { return Status(); }).error().code();
  };
  RecordQuery query;
  query.type = RecordType::kResource;
  query.needs_expansion = true;
  EXPECT_EQ(code(query), Code::kInvalidArgument);
  query.needs_expansion = false;
  query.resource = ResourceName{"group", ""};
  EXPECT_EQ(code(query), Code::kInvalidArgument);
  query.type = RecordType::kAsset;
  query.resource = ResourceName{"group", "1"};
  EXPECT_EQ(code(query), Code::kInvalidArgument);
  RecordQuery grants;
  grants.resource = ResourceName{"group", "1"};
  EXPECT_EQ(code(grants, GrantsOfResourcePrefix("group", "1") + "x"), Code::kOk);
  EXPECT_EQ(code(grants, GrantsOfResourcePrefix("group", "2")), Code::kInvalidArgument);
  EXPECT_EQ(ListPrincipals(*view, {}, 0, "nonsense", [](const RecordView&) { return Status(); }).error().code(),
            Code::kInvalidArgument);
}

TEST(SyncPageToken, IsGoodOnlyAsItWasMade) {
  const PageToken token{"2abc", 0x123456789abcdef0, std::string("\x04key\0\x01", 6)};
  const std::string text = EncodePageToken(token);
  const auto decoded = DecodePageToken(text);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, token);
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'A', 'z', '-', '=', ' ', '\0'}) {
      std::string changed = text;
      if (changed[i] == c) continue;
      changed[i] = c;
      EXPECT_EQ(DecodePageToken(changed).error().code(), Code::kInvalidArgument) << changed;
    }
    EXPECT_FALSE(DecodePageToken(text.substr(0, i)).ok());
  }
  EXPECT_FALSE(DecodePageToken(text + "=").ok());
  EXPECT_FALSE(DecodePageToken(text + "A").ok());
  const auto long_one = DecodePageToken(std::string(kPageTokenBytesMax + 1, 'A'));
  EXPECT_NE(long_one.error().message().find("above the limit"), std::string::npos);
  RecordQuery query;
  const std::uint64_t plain = HashQuestion("S", "", Listing::kRecords, query);
  EXPECT_NE(plain, HashQuestion("T", "", Listing::kRecords, query));
  EXPECT_NE(plain, HashQuestion("S", "g", Listing::kRecords, query));
  EXPECT_NE(plain, HashQuestion("S", "", Listing::kPrincipals, query));
  query.needs_expansion = true;
  EXPECT_NE(plain, HashQuestion("S", "", Listing::kRecords, query));
}

}  // namespace
}  // namespace vellum::sync
