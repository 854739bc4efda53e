#include "sync/diff.h"

#include <gtest/gtest.h>

#include <map>

#include "base/test_random.h"
#include "sync/test_world.h"

/// Differences against a comparison of two maps.
namespace vellum::sync {
namespace {

/// What differs, as identity and change; the record on each side in full.
using Found = std::map<std::vector<std::string>, std::vector<std::string>>;

std::vector<std::string> Joined(const char* change, const TestRecord* before, const TestRecord* after) {
  std::vector<std::string> parts = {change};
  for (const TestRecord* record : {before, after}) {
    if (record == nullptr) continue;
    const std::vector<std::string> shown = record->Shown();
    parts.insert(parts.end(), shown.begin(), shown.end());
  }
  return parts;
}

Found Naive(const TestModel& before, const TestModel& after, bool stamps) {
  Found found;
  for (const auto& [identity, record] : before) {
    const auto other = after.find(identity);
    if (other == after.end()) {
      found[identity] = Joined("removed", &record, nullptr);
      continue;
    }
    TestRecord unstamped = other->second;
    if (!stamps) unstamped.stamp = record.stamp;
    if (unstamped.Shown() != record.Shown()) found[identity] = Joined("changed", &record, &other->second);
  }
  for (const auto& [identity, record] : after) {
    if (!before.contains(identity)) found[identity] = Joined("added", nullptr, &record);
  }
  return found;
}

Found Ask(const ReadView& before, const ReadView& after, bool stamps, DiffSummary* summary) {
  Found found;
  DiffOptions options;
  options.stamps = stamps;
  const auto result = DiffViews(before, after, options, [&found](const DiffRow& row) {
    TestRecord old_record;
    TestRecord new_record;
    if (row.before != nullptr) old_record = TestRecordOf(*row.before);
    if (row.after != nullptr) new_record = TestRecordOf(*row.after);
    const char* const change = row.change == Change::kAdded ? "added" : row.change == Change::kRemoved ? "removed" : "changed";
    const auto identity = row.before != nullptr ? old_record.Identity() : new_record.Identity();
    EXPECT_FALSE(found.contains(identity));
    found[identity] = Joined(change, row.before != nullptr ? &old_record : nullptr, row.after != nullptr ? &new_record : nullptr);
    return Status();
  });
  EXPECT_TRUE(result.ok()) << result.error().ToString();
  if (!result.ok()) return found;
  *summary = *result;
  std::uint64_t counted = 0;
  for (const DiffSummary::Counts& counts : result->counts) counted += counts.added + counts.removed + counts.changed;
  EXPECT_EQ(counted, found.size());
  EXPECT_EQ(result->differ(), !found.empty());
  const auto silent = DiffViews(before, after, options, nullptr);
  EXPECT_TRUE(silent.ok());
  for (std::size_t type = 0; type < result->counts.size(); ++type) {
    EXPECT_EQ(silent->counts[type].added, result->counts[type].added);
    EXPECT_EQ(silent->counts[type].removed, result->counts[type].removed);
    EXPECT_EQ(silent->counts[type].changed, result->counts[type].changed);
  }
  return found;
}

TestModel RandomModel(TestWorld* world, std::size_t puts) {
  TestModel model;
  for (std::size_t i = 0; i < puts; ++i) {
    const TestRecord record = world->Record();
    model.insert_or_assign(record.Identity(), record);
  }
  return model;
}

TEST(SyncDiff, UnrelatedSyncs) {
  auto random = SeededRandom();
  TestWorld world(&random);
  for (int round = 0; round < 6; ++round) {
    const TestModel before = RandomModel(&world, round == 0 ? 0 : 400);
    TestModel after = round == 1 ? before : RandomModel(&world, 400);
    if (round > 2) after.insert(before.begin(), std::next(before.begin(), static_cast<std::ptrdiff_t>(before.size() / 2)));
    TestSyncs syncs;
    syncs.Write("A", RecordsOf(before));
    syncs.Write("B", RecordsOf(after));
    for (const bool stamps : {false, true}) {
      DiffSummary summary;
      EXPECT_EQ(Ask(*syncs.View("A"), *syncs.View("B"), stamps, &summary), Naive(before, after, stamps));
      EXPECT_EQ(Ask(*syncs.View("B"), *syncs.View("A"), stamps, &summary), Naive(after, before, stamps));
    }
  }
}

TEST(SyncDiff, DerivedSyncsReadOnlyWhatChanged) {
  auto random = SeededRandom();
  TestWorld world(&random);
  for (int round = 0; round < 2; ++round) {
    TestSyncs syncs;
    TestModel models[4];
    models[0] = RandomModel(&world, 1000);
    syncs.Write("S", RecordsOf(models[0]));
    std::vector<std::shared_ptr<const ReadView>> views = {syncs.View("S")};
    // Folds that build on each other: newer records and new ones.
    for (std::size_t fold = 1; fold < 4; ++fold) {
      models[fold] = models[fold - 1];
      std::vector<TestRecord> partial;
      for (int i = 0; i < 10; ++i) {
        TestRecord record = world.Record();
        if (record.type == RecordType::kAsset) continue;  // those of a source are not taken
        record.stamp = 100 + fold;
        partial.push_back(record);
        models[fold].insert_or_assign(record.Identity(), record);
      }
      const std::string id = "P" + std::to_string(fold);
      syncs.Write(id, partial);
      MergeOptions options;
      options.strategy = Strategy::kFold;
      const auto folded = MergeSyncs(syncs.store(), {{syncs.store(), id}}, "S", options);
      ASSERT_TRUE(folded.ok()) << folded.error().ToString();
      views.push_back(syncs.View("S"));
    }
    for (std::size_t a = 0; a < 4; ++a) {
      for (std::size_t b = 0; b < 4; ++b) {
        DiffSummary summary;
        DiffSummary stamped;
        EXPECT_EQ(Ask(*views[a], *views[b], true, &stamped), Naive(models[a], models[b], true));
        EXPECT_EQ(Ask(*views[a], *views[b], false, &summary), Naive(models[a], models[b], false));
        EXPECT_GE(summary.files_skipped, 5u);
      }
    }
  }
}

TestRecord AnnsGrant() {
  TestRecord grant;
  grant.type_id = "group";
  grant.resource_id = "g";
  grant.entitlement_id = "member";
  grant.principal_type = "user";
  grant.principal_id = "ann";
  return grant;
}

TEST(SyncDiff, OrderInAMapAndSpellingOfNumbersMeanNothing) {
  TestRecord grant = AnnsGrant();
  const auto differ = [&grant](const std::string& before, const std::string& after) {
    TestSyncs syncs;
    grant.data = before;
    syncs.Write("A", std::vector<TestRecord>{grant});
    grant.data = after;
    syncs.Write("B", std::vector<TestRecord>{grant});
    const auto summary = DiffViews(*syncs.View("A"), *syncs.View("B"), {}, nullptr);
    EXPECT_TRUE(summary.ok());
    return summary->differ();
  };
  const std::string a = GrantMessage({{"x", true}, {"y", false}});
  EXPECT_FALSE(differ(a, GrantMessage({{"y", false}, {"x", true}})));
  EXPECT_TRUE(differ(a, GrantMessage({{"y", true}, {"x", true}})));
  EXPECT_TRUE(differ(a, GrantMessage({{"x", true}})));
  EXPECT_TRUE(differ(a, "\xff"));
  // An unknown field, its length spelled in two ways.
  EXPECT_FALSE(differ(a + std::string("\xfa\x01\x01z", 4), a + std::string("\xfa\x01\x81\x00z", 5)));
  EXPECT_TRUE(differ(a + std::string("\xfa\x01\x01z", 4), a));
}

TEST(SyncDiff, WhatColumnsKeepCounts) {
  TestRecord grant = AnnsGrant();
  grant.data = GrantMessage({});
  const auto changed = [&grant](const TestRecord& other, bool stamps = false) {
    TestSyncs syncs;
    syncs.Write("A", std::vector<TestRecord>{grant});
    syncs.Write("B", std::vector<TestRecord>{other});
    DiffOptions options;
    options.stamps = stamps;
    const auto summary = DiffViews(*syncs.View("A"), *syncs.View("B"), options, nullptr);
    EXPECT_TRUE(summary.ok());
    return summary->counts[static_cast<std::size_t>(RecordType::kGrant)].changed == 1;
  };
  EXPECT_FALSE(changed(grant));
  TestRecord other = grant;
  other.needs_expansion = true;
  EXPECT_TRUE(changed(other));
  other = grant;
  AppendTestField(&other.expansion, 1, "admin");
  EXPECT_TRUE(changed(other));
  other = grant;
  other.id = "its-own";
  EXPECT_TRUE(changed(other));
  other = grant;
  other.stamp = 7;
  EXPECT_FALSE(changed(other));
  EXPECT_TRUE(changed(other, /*stamps=*/true));
}

}  // namespace
}  // namespace vellum::sync
