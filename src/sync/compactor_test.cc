// The public headers, as an embedding program uses them; nothing else of this room is included here.
#include "vellum/compactor.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <thread>

#include "base/test_dir.h"
#include "vellum/store.h"
#include "vellum/sync_store.h"

namespace vellum {
namespace {

namespace fs = std::filesystem;

/// A data directory with its syncs open.
struct Opened {
  Opened() {
    auto opened = SyncStore::Open({.directory = dir.path() + "/data"});
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    store = *std::move(opened);
  }
  SyncStore* operator->() const { return store.get(); }
  SyncStore* get() const { return store.get(); }

  TestDir dir;
  std::unique_ptr<SyncStore> store;
};

SyncRun RunOf(const std::string& id, const std::string& type = "full") {
  SyncRun run;
  run.id = id;
  run.type = type;
  run.parent_id = "parent of " + id;
  run.started_at = 1000;
  return run;
}

RecordView GrantOf(std::string_view group, std::string_view user, Stamp stamp) {
  RecordView grant;
  grant.type = RecordType::kGrant;
  grant.discovered_at = stamp;
  grant.type_id = "group";
  grant.resource_id = group;
  grant.entitlement_id = "member";
  grant.principal_type_id = "user";
  grant.principal_id = user;
  grant.data = "grant";
  return grant;
}

/// A sealed sync of `grants` grants to users `prefix`0 and on, every fifth waiting for expansion, over seven groups below one
/// parent (field 2 of their messages), with their type and entitlements.
void Write(const Opened& to, const std::string& id, int grants, const std::string& prefix, Stamp stamp = 5,
           const std::string& type = "full") {
  auto writer = to->Write(RunOf(id, type), "test");
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  RecordView record;
  record.type = RecordType::kResourceType;
  record.id = "group";
  if (grants > 0) {
    ASSERT_TRUE((*writer)->Put(record).ok());
  }
  for (int i = 0; i < std::min(grants, 7); ++i) {
    const std::string group = prefix + "g" + std::to_string(i);
    record = {};
    record.type = RecordType::kResource;
    record.type_id = "group";
    record.id = group;
    record.data = std::string_view("\x12\x0a\x0a\x03org\x12\x03top", 12);
    ASSERT_TRUE((*writer)->Put(record).ok());
    record = {};
    record.type = RecordType::kEntitlement;
    record.type_id = "group";
    record.resource_id = group;
    record.id = "member";
    ASSERT_TRUE((*writer)->Put(record).ok());
  }
  for (int i = 0; i < grants; ++i) {
    const std::string group = prefix + "g" + std::to_string(i % 7);
    const std::string user = prefix + std::to_string(i);
    RecordView grant = GrantOf(group, user, stamp);
    grant.needs_expansion = i % 5 == 0;
    ASSERT_TRUE((*writer)->Put(grant).ok());
  }
  const Status sealed = (*writer)->Seal(2000);
  ASSERT_TRUE(sealed.ok()) << sealed.ToString();
}

std::set<std::string> Principals(std::unique_ptr<RecordSource> source) {
  std::set<std::string> principals;
  RecordView record;
  for (auto more = source->Next(&record); more.ok() && *more; more = source->Next(&record)) {
    EXPECT_TRUE(principals.insert(std::string(record.principal_id)).second);
  }
  return principals;
}

std::size_t Count(std::unique_ptr<RecordSource> source) {
  std::size_t count = 0;
  RecordView record;
  auto more = source->Next(&record);
  for (; more.ok() && *more; more = source->Next(&record)) ++count;
  EXPECT_TRUE(more.ok()) << more.error().ToString();
  return count;
}

std::size_t Grants(const Opened& of, const std::string& id) {
  const auto view = of->Read(id);
  EXPECT_TRUE(view.ok()) << view.error().ToString();
  if (!view.ok()) return 0;
  const std::size_t grants = Count((*view)->Records(RecordType::kGrant));
  EXPECT_EQ((*view)->records(RecordType::kGrant), grants);
  return grants;
}

void ExpectSound(const Opened& of, const std::string& id) {
  const auto view = of->Read(id);
  ASSERT_TRUE(view.ok()) << view.error().ToString();
  const auto problems = (*view)->Verify(of.dir.path());
  ASSERT_TRUE(problems.ok()) << problems.error().ToString();
  EXPECT_TRUE(problems->empty()) << problems->front();
}

TEST(SyncCompact, BasicRoundtrip) {
  Opened base;
  Opened source;
  Write(source, "S", 200, "u");
  const auto outcome = Compactor(base.get()).Compact(source.get(), "S");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->result, CompactResult::kCreated);
  EXPECT_EQ(outcome->records, 200u + 7 + 7 + 1);
  EXPECT_GT(outcome->files_linked, 0u);
  EXPECT_EQ(Grants(base, "S"), 200u);
  const auto view = *base->Read("S");
  EXPECT_EQ(view->digest(), (*source->Read("S"))->digest());
  // By every index.
  EXPECT_EQ(Count(view->GrantsOfResource("group", "ug3")), 29u);
  EXPECT_EQ(Count(view->GrantsOfEntitlement("group", "ug3", "member")), 29u);
  EXPECT_EQ(Count(view->GrantsOfEntitlement("group", "ug3", "owner")), 0u);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(Count(view->GrantsOfPrincipal("user", "u" + std::to_string(i))), 1u);
  EXPECT_EQ(Count(view->GrantsNeedingExpansion()), 40u);
  EXPECT_EQ(Count(view->Children("org", "top")), 7u);
  const auto info = base->Find("S");
  ASSERT_TRUE(info.ok() && *info);
  EXPECT_EQ((*info)->run.ended_at, 2000u);
  EXPECT_EQ((*info)->run.parent_id, "parent of S");
  EXPECT_EQ((*info)->history.at(0).operation, "replace");
  EXPECT_EQ((*info)->history.at(0).generation, outcome->generation);
  ExpectSound(base, "S");
}

TEST(SyncCompact, ReplacesExisting) {
  Opened base;
  Opened source;
  Write(base, "S", 500, "stale");
  Write(source, "S", 50, "fresh", 5, "partial");
  const auto outcome = Compactor(base.get()).Compact(source.get(), "S");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->result, CompactResult::kReplaced);
  EXPECT_EQ(Grants(base, "S"), 50u);
  const auto view = *base->Read("S");
  const std::set<std::string> fresh = Principals(view->Records(RecordType::kGrant));
  for (const std::string& user : fresh) EXPECT_TRUE(user.starts_with("fresh")) << user;
  for (int i = 0; i < 500; ++i) EXPECT_EQ(Count(view->GrantsOfPrincipal("user", "stale" + std::to_string(i))), 0u);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(Count(view->GrantsOfResource("group", "staleg" + std::to_string(i))), 0u);
  EXPECT_EQ(Count(view->GrantsNeedingExpansion()), 10u);
  EXPECT_EQ(Count(view->Children("org", "top")), 7u);
  EXPECT_EQ((*base->Find("S"))->run.type, "partial");
  ExpectSound(base, "S");
}

TEST(SyncCompact, IsolatesOtherSyncs) {
  Opened base;
  Opened source;
  Write(base, "A", 100, "a");
  Write(base, "B", 100, "b");
  Write(source, "A", 25, "n");
  const auto before = *base->Find("B");
  ASSERT_TRUE(Compactor(base.get()).Compact(source.get(), "A").ok());
  EXPECT_EQ(Grants(base, "A"), 25u);
  EXPECT_EQ(Grants(base, "B"), 100u);
  EXPECT_EQ((*base->Read("A"))->digest(), (*source->Read("A"))->digest());
  const auto after = *base->Find("B");
  EXPECT_EQ(after->history.size(), 1u);
  EXPECT_EQ(after->history.at(0).generation, before->history.at(0).generation);
  ExpectSound(base, "A");
  ExpectSound(base, "B");
}

TEST(SyncCompact, EmptySource) {
  Opened base;
  Opened source;
  Write(base, "S", 100, "u");
  Write(base, "T", 10, "u");
  auto outcome = Compactor(base.get()).Compact(source.get(), "S");  // the source does not know it
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->result, CompactResult::kEmptySync);
  EXPECT_EQ(Grants(base, "S"), 0u);
  EXPECT_EQ(Count((*base->Read("S"))->GrantsOfPrincipal("user", "u0")), 0u);
  EXPECT_EQ((*base->Find("S"))->run.type, "full");
  Write(source, "T", 0, "u", 5, "partial");  // knows it, without records
  outcome = Compactor(base.get()).Compact(source.get(), "T");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(outcome->result, CompactResult::kEmptySync);
  EXPECT_EQ(Grants(base, "T"), 0u);
  EXPECT_EQ((*base->Find("T"))->run.type, "partial");
  ExpectSound(base, "S");
}

TEST(SyncCompact, BadInputs) {
  Opened base;
  Opened source;
  Write(base, "S", 10, "u");
  const auto before = *base->Find("S");
  Compactor compactor(base.get());
  const auto code = [](const auto& result) { return result.error().code(); };
  EXPECT_EQ(code(Compactor(nullptr).Compact(source.get(), "S")), Code::kInvalidArgument);
  EXPECT_EQ(code(compactor.Compact(nullptr, "S")), Code::kInvalidArgument);
  EXPECT_EQ(code(compactor.Compact(source.get(), "")), Code::kInvalidArgument);
  EXPECT_EQ(code(compactor.Compact(base.get(), "S")), Code::kInvalidArgument);
  const auto unknown = compactor.Compact(source.get(), "unknown");
  EXPECT_EQ(code(unknown), Code::kNotFound);
  EXPECT_NE(unknown.error().message().find("unknown"), std::string::npos);
  EXPECT_EQ(code(Compactor(base.get(), base.dir.path() + "/absent").Compact(source.get(), "S")), Code::kInvalidArgument);
  {
    const auto writer = source->Write(RunOf("S"));
    ASSERT_TRUE(writer.ok());
    EXPECT_EQ(code(compactor.Compact(source.get(), "S")), Code::kFailedPrecondition);
    ASSERT_TRUE((*writer)->Checkpoint("page 1").ok());
  }
  EXPECT_EQ(code(compactor.Compact(source.get(), "S")), Code::kFailedPrecondition);  // left at a checkpoint
  const auto resumed = source->Resume("S");
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  ASSERT_TRUE((*resumed)->Seal(0).ok());
  EXPECT_EQ(code(compactor.Compact(source.get(), "S")), Code::kFailedPrecondition);  // unfinished
  Write(source, "W", 3, "u");
  const auto writer = base->Write(RunOf("W"));
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(code(compactor.Compact(source.get(), "W")), Code::kFailedPrecondition);
  std::atomic<bool> cancel{true};
  EXPECT_EQ(code(compactor.Compact(source.get(), "S", {.cancel = &cancel})), Code::kFailedPrecondition);
  ASSERT_TRUE(source->Delete("S").ok());
  Write(source, "S", 3, "n");
  EXPECT_EQ(code(compactor.Compact(source.get(), "S", {.cancel = &cancel})), Code::kCancelled);
  EXPECT_EQ(Grants(base, "S"), 10u);
  EXPECT_EQ((*base->Find("S"))->history.at(0).generation, before->history.at(0).generation);
  ASSERT_TRUE(source->Close().ok());
  EXPECT_EQ(code(compactor.Compact(source.get(), "S")), Code::kUnavailable);
  ASSERT_TRUE(base->Close().ok());
  EXPECT_EQ(code(compactor.Compact(source.get(), "S")), Code::kUnavailable);
}

TEST(SyncCompact, ScratchDirectoryIsLeftEmpty) {
  Opened base;
  Opened source;
  Write(source, "S", 20, "u");
  const std::string scratch = base.dir.path() + "/scratch";
  fs::create_directory(scratch);
  Compactor compactor(base.get(), scratch);
  for (int i = 0; i < 2; ++i) {  // one compactor, many calls
    ASSERT_TRUE(compactor.Compact(source.get(), "S").ok());
    EXPECT_TRUE(fs::is_empty(scratch));
  }
  EXPECT_EQ(Grants(base, "S"), 20u);
  ExpectSound(base, "S");
}

TEST(SyncMergeInto, UnitesByStampAndTies) {
  for (const MergeStrategy strategy : {MergeStrategy::kMerge, MergeStrategy::kFold}) {
    Opened base;
    Opened other;
    Write(base, "D", 30, "u", 5, "partial");
    Write(other, "P", 10, "u", 7);
    Write(other, "Q", 40, "u", 5);
    const auto merged = MergeInto(base.get(), {{other.get(), "P"}, {other.get(), "Q"}, {other.get(), "P"}}, "D",
                                  {.strategy = strategy});
    ASSERT_TRUE(merged.ok()) << merged.error().ToString();
    EXPECT_EQ(merged->strategy, strategy);
    EXPECT_EQ(Grants(base, "D"), 40u);
    const MergeCounts& counts = merged->stats[static_cast<std::size_t>(RecordType::kGrant)];
    EXPECT_EQ(counts.added, 10u);
    EXPECT_EQ(counts.replaced, 10u);
    EXPECT_EQ((*base->Find("D"))->run.type, "full");
    ExpectSound(base, "D");
  }
}

TEST(SyncMergeInto, BadInputs) {
  Opened base;
  Write(base, "D", 3, "u");
  Write(base, "diff", 3, "u", 5, "partial_upserts");
  const auto code = [&](SyncStore* dest, const std::vector<SourceSync>& sources, const std::string& id) {
    return MergeInto(dest, sources, id).error().code();
  };
  SyncStore* const store = base.get();
  EXPECT_EQ(code(nullptr, {}, "D"), Code::kInvalidArgument);
  EXPECT_EQ(code(store, {}, ""), Code::kInvalidArgument);
  EXPECT_EQ(code(store, {{nullptr, "x"}}, "D"), Code::kInvalidArgument);
  EXPECT_EQ(code(store, {{store, ""}}, "D"), Code::kInvalidArgument);
  EXPECT_EQ(code(store, {{store, "D"}}, "D"), Code::kInvalidArgument);
  EXPECT_EQ(code(store, {{store, "absent"}}, "D"), Code::kNotFound);
  EXPECT_EQ(code(store, {{store, "diff"}}, "D"), Code::kFailedPrecondition);
  EXPECT_EQ(code(store, {}, "absent"), Code::kNotFound);
  ASSERT_TRUE(base->Close().ok());
  EXPECT_EQ(code(store, {}, "D"), Code::kUnavailable);
}

TEST(SyncStoreApi, AttachesToAStoreAndIsSeenThere) {
  TestDir dir;
  StoreOptions options;
  options.directory = dir.path();
  const auto store = Store::Open(options);
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  {
    auto syncs = SyncStore::Attach(store->get());
    ASSERT_TRUE(syncs.ok()) << syncs.error().ToString();
    EXPECT_EQ(SyncStore::Attach(store->get()).error().code(), Code::kFailedPrecondition);
    ASSERT_TRUE((*(*syncs)->Write(RunOf("S")))->Seal(7).ok());
    EXPECT_EQ((*store)->Range({.key = "/vellum/syncs/S"})->count, 1);
  }
  const auto again = SyncStore::Attach(store->get());
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ((*again)->List()->size(), 1u);
  ASSERT_TRUE((*store)->Close().ok());
  EXPECT_EQ((*again)->List().error().code(), Code::kUnavailable);
  EXPECT_EQ(SyncStore::Attach(nullptr).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(SyncStore::Attach(store->get()).error().code(), Code::kUnavailable);
}

TEST(SyncStoreApi, CloseEndsWritersAndKeepsViews) {
  Opened base;
  Write(base, "S", 10, "u");
  const auto view = *base->Read("S");
  const auto lost = base->Write(RunOf("lost"));
  const auto kept = base->Write(RunOf("kept"));
  ASSERT_TRUE(lost.ok() && kept.ok());
  ASSERT_TRUE((*kept)->Put(GrantOf("g", "u", 1)).ok());
  ASSERT_TRUE((*kept)->Checkpoint("page 2").ok());
  EXPECT_EQ(SyncStore::Open({.directory = base.dir.path() + "/data"}).error().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(base->Close().ok());
  ASSERT_TRUE(base->Close().ok());
  EXPECT_EQ((*lost)->Put(GrantOf("g", "u", 1)).code(), Code::kUnavailable);
  EXPECT_EQ((*kept)->Seal(1).code(), Code::kUnavailable);
  EXPECT_EQ(base->Read("S").error().code(), Code::kUnavailable);
  EXPECT_EQ(Count(view->Records(RecordType::kGrant)), 10u);

  const auto reopened = SyncStore::Open({.directory = base.dir.path() + "/data"});
  ASSERT_TRUE(reopened.ok()) << reopened.error().ToString();
  EXPECT_FALSE(*(*reopened)->Find("lost"));
  EXPECT_TRUE((*(*reopened)->Find("kept"))->being_written);
  const auto writer = (*reopened)->Resume("kept");
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  EXPECT_EQ((*writer)->token(), "page 2");
  EXPECT_EQ((*writer)->records(), 1u);
  ASSERT_TRUE((*writer)->Seal(9).ok());
  EXPECT_EQ((*writer)->Seal(9).code(), Code::kFailedPrecondition);
  EXPECT_EQ(Count((*(*reopened)->Read("kept"))->Records(RecordType::kGrant)), 1u);
}

TEST(SyncStoreApi, RollsBackDeletesAndSweeps) {
  Opened base;
  Write(base, "S", 10, "old");
  EXPECT_EQ(base->Rollback("S").code(), Code::kFailedPrecondition);
  EXPECT_EQ(base->Write(RunOf("S")).error().code(), Code::kFailedPrecondition);
  auto writer = base->Write(RunOf("S"), "", SyncStore::IfExists::kReplace);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  EXPECT_EQ(Grants(base, "S"), 10u);
  ASSERT_TRUE((*writer)->Seal(1).ok());
  EXPECT_EQ(Grants(base, "S"), 0u);
  ASSERT_TRUE(base->Rollback("S").ok());
  EXPECT_EQ(Grants(base, "S"), 10u);
  ASSERT_TRUE(base->Delete("S").ok());
  EXPECT_EQ(base->Delete("S").code(), Code::kNotFound);
  EXPECT_TRUE(base->Sweep().ok());
  EXPECT_TRUE(fs::is_empty(base.dir.path() + "/data/generations"));
}

/// An overlay's file may hold tombstones alone: here for the only grant that waited for expansion, and does no longer.
TEST(SyncMergeInto, AFoldMayOnlyTakeIndexEntriesAway) {
  Opened base;
  const auto write = [&base](const std::string& id, Stamp stamp, bool needs_expansion) {
    auto writer = base->Write(RunOf(id));
    ASSERT_TRUE(writer.ok());
    RecordView grant = GrantOf("g", "u", stamp);
    grant.needs_expansion = needs_expansion;
    ASSERT_TRUE((*writer)->Put(grant).ok());
    ASSERT_TRUE((*writer)->Seal(2000).ok());
  };
  write("S", 1, true);
  write("P", 2, false);
  const auto merged = MergeInto(base.get(), {{base.get(), "P"}}, "S", {.strategy = MergeStrategy::kFold});
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  const auto view = base->Read("S");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(Count((*view)->GrantsNeedingExpansion()), 0u);
  EXPECT_EQ(Count((*view)->Records(RecordType::kGrant)), 1u);
  const auto problems = (*view)->Verify(base.dir.path());
  ASSERT_TRUE(problems.ok());
  EXPECT_TRUE(problems->empty());
}

TEST(SyncStoreApi, CallsRaceWithClose) {
  Opened base;
  Write(base, "S", 100, "u");
  std::vector<std::thread> readers;
  std::atomic<int> seen{0};
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      for (;;) {
        const auto view = base->Read("S");
        if (!view.ok()) {
          EXPECT_EQ(view.error().code(), Code::kUnavailable);
          return;
        }
        EXPECT_EQ(Count((*view)->Records(RecordType::kGrant)), 100u);
        ++seen;
      }
    });
  }
  while (seen.load() < 10) std::this_thread::yield();
  EXPECT_TRUE(base->Close().ok());
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace vellum
