#include "kv/applier.h"

#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "kv/history_filter.h"

namespace vellum::kv {
namespace {

/// An applier over a database of its own, without engine.
class KvApplier : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }

  void Open() {
    applier_.reset();
    database_.reset();
    storage::DatabaseOptions options;
    options.path = dir_.path() + "/kv";
    options.families = FamilyList(HistoryFilterFactory(mark_));
    auto database = storage::Database::Open(std::move(options));
    ASSERT_TRUE(database.ok()) << database.error().ToString();
    database_ = *std::move(database);
    auto applier = Applier::Open(options_, database_.get(), mark_, false);
    ASSERT_TRUE(applier.ok()) << applier.error().ToString();
    applier_ = *std::move(applier);
  }

  Outcome Apply(Command command) { return applier_->Apply(std::move(command)); }
  Outcome Put(std::string key, std::string value, LeaseId lease = 0) {
    return Apply(PutCommand{{.key = std::move(key), .value = std::move(value), .lease = lease}});
  }
  Outcome Txn(std::vector<TxnOp> success) { return Apply(TxnCommand{{{}, std::move(success), {}}}); }
  std::optional<KeyValue> Get(std::string_view key) {
    std::optional<KeyValue> kv;
    WriteSet set(database_.get(), nullptr, 0);
    const Result<bool> found = set.Get(key, [&](const Record& record) { kv = record.ToKeyValue(key); });
    EXPECT_TRUE(found.ok());
    return kv;
  }
  std::size_t Rows(storage::Family family) {
    std::size_t rows = 0;
    storage::Iterator it = database_->NewIterator(family);
    for (it.SeekToFirst(); it.valid(); it.Next()) ++rows;
    return rows;
  }

  TestDir dir_;
  Applier::Options options_;
  std::shared_ptr<CompactionMark> mark_ = std::make_shared<CompactionMark>();
  std::unique_ptr<storage::Database> database_;
  std::unique_ptr<Applier> applier_;
};

std::string FromKey() { return std::string(1, '\0'); }
TxnOp PutOp(std::string key, std::string value, LeaseId lease = 0) {
  return {PutRequest{.key = std::move(key), .value = std::move(value), .lease = lease}};
}
TxnOp DelOp(std::string key, std::string end = "") { return {DeleteRangeRequest{std::move(key), std::move(end), false}}; }

template <typename T>
const T& As(const Outcome& outcome) {
  EXPECT_TRUE(outcome.result.ok()) << outcome.result.error().ToString();
  return std::get<T>(*outcome.result);
}

TEST_F(KvApplier, PutsCountRevisionsAndVersions) {
  EXPECT_EQ(applier_->revision(), 1);
  EXPECT_EQ(As<PutResponse>(Put("a", "1")).revision, 2);
  const Outcome second = Apply(PutCommand{{.key = "a", .value = "2", .prev_kv = true}});
  EXPECT_EQ(As<PutResponse>(second).revision, 3);
  EXPECT_EQ(*As<PutResponse>(second).prev_kv, (KeyValue{"a", 2, 2, 1, "1", 0}));
  EXPECT_EQ(*Get("a"), (KeyValue{"a", 2, 3, 2, "2", 0}));
  ASSERT_EQ(second.revisions.size(), 1u);
  const PublishedRevision& published = *second.revisions[0];
  EXPECT_EQ(published.revision, 3);
  ASSERT_EQ(published.events.size(), 1u);
  EXPECT_EQ(published.events[0].event.kv, (KeyValue{"a", 2, 3, 2, "2", 0}));
  EXPECT_EQ(*published.events[0].event.prev_kv, (KeyValue{"a", 2, 2, 1, "1", 0}));
  EXPECT_EQ(applier_->keys(), 1);
}

TEST_F(KvApplier, WhatChangesNothingWritesNothing) {
  const Outcome outcome = Apply(DeleteRangeCommand{{"nope", "", true}});
  EXPECT_EQ(As<DeleteRangeResponse>(outcome).deleted, 0);
  EXPECT_EQ(As<DeleteRangeResponse>(outcome).revision, 1);
  EXPECT_FALSE(outcome.wrote);
  TxnRequest failed;
  failed.compares.push_back({.key = "a", .number = 99});
  failed.success.push_back(PutOp("a", "1"));
  const Outcome txn = Apply(TxnCommand{failed});
  EXPECT_FALSE(As<TxnResponse>(txn).succeeded);
  EXPECT_FALSE(txn.wrote);
  EXPECT_EQ(applier_->revision(), 1);
  EXPECT_EQ(Rows(kMeta), 0u);
}

TEST_F(KvApplier, IgnoredFieldsKeepWhatIsStored) {
  EXPECT_EQ(Apply(PutCommand{{.key = "a", .ignore_value = true}}).result.error().reason(), Reason::kKeyNotFound);
  ASSERT_TRUE(Apply(LeaseGrantCommand{7, 60}).result.ok());
  ASSERT_TRUE(Put("a", "1", 7).result.ok());
  ASSERT_TRUE(Apply(PutCommand{{.key = "a", .lease = 0, .ignore_value = true, .ignore_lease = true}}).result.ok());
  EXPECT_EQ(*Get("a"), (KeyValue{"a", 2, 3, 2, "1", 7}));
  ASSERT_TRUE(Apply(PutCommand{{.key = "a", .value = "2", .ignore_lease = true}}).result.ok());
  EXPECT_EQ(*Get("a"), (KeyValue{"a", 2, 4, 3, "2", 7}));
  ASSERT_TRUE(Apply(PutCommand{{.key = "a", .ignore_value = true}}).result.ok());
  EXPECT_EQ(*Get("a"), (KeyValue{"a", 2, 5, 4, "2", 0}));
  EXPECT_EQ(Rows(kLease), 1u);
}

TEST_F(KvApplier, LeasesFollowTheirKeys) {
  EXPECT_EQ(Put("a", "1", 7).result.error().reason(), Reason::kLeaseNotFound);
  ASSERT_TRUE(Apply(LeaseGrantCommand{7, 60}).result.ok());
  ASSERT_TRUE(Apply(LeaseGrantCommand{8, 60}).result.ok());
  EXPECT_EQ(Apply(LeaseGrantCommand{7, 60}).result.error().reason(), Reason::kLeaseExists);
  ASSERT_TRUE(Put("a", "1", 7).result.ok());
  ASSERT_TRUE(Put("b", "1", 7).result.ok());
  EXPECT_EQ(Rows(kLease), 4u);
  ASSERT_TRUE(Put("a", "1", 8).result.ok());   // moves
  ASSERT_TRUE(Put("b", "1").result.ok());      // detaches
  EXPECT_EQ(Rows(kLease), 3u);
  ASSERT_TRUE(Txn({PutOp("c", "1", 7), DelOp("c", FromKey())}).result.ok());  // a delete detaches, also at once
  EXPECT_EQ(Rows(kLease), 3u);
  const Outcome none = Apply(LeaseRevokeCommand{7});
  EXPECT_EQ(As<LeaseRevokeResult>(none).revision, applier_->revision());
  EXPECT_TRUE(none.revisions.empty());
  const Revision before = applier_->revision();
  const Outcome revoked = Apply(LeaseRevokeCommand{8});
  EXPECT_EQ(As<LeaseRevokeResult>(revoked).revision, before + 1);
  EXPECT_FALSE(Get("a").has_value());
  EXPECT_EQ(Rows(kLease), 0u);
  EXPECT_EQ(Apply(LeaseRevokeCommand{8}).result.error().reason(), Reason::kLeaseNotFound);
}

TEST_F(KvApplier, ExpiryMeetsOnlyTheIncarnationNamed) {
  const Outcome first = Apply(LeaseGrantCommand{7, 60});
  ASSERT_TRUE(Put("a", "1", 7).result.ok());
  ASSERT_TRUE(Apply(LeaseGrantCommand{8, 60}).result.ok());
  const std::uint64_t incarnation = first.leases[0].incarnation;
  EXPECT_EQ(As<LeaseExpireResult>(Apply(LeaseExpireCommand{{{7, incarnation + 1}}})).expired, 0);
  const Outcome expired = Apply(LeaseExpireCommand{{{99, 1}, {7, incarnation}}});
  EXPECT_EQ(As<LeaseExpireResult>(expired).expired, 1);
  ASSERT_EQ(expired.leases.size(), 1u);
  EXPECT_FALSE(expired.leases[0].granted);
  EXPECT_FALSE(Get("a").has_value());
  EXPECT_EQ(Rows(kLease), 1u);
}

TEST_F(KvApplier, OneKeyMayChangeSeveralTimesInOneRevision) {
  ASSERT_TRUE(Put("a", "old").result.ok());
  const KeyValue old = *Get("a");
  const Outcome outcome = Txn({DelOp("a", FromKey()), PutOp("a", "4"), DelOp("a", FromKey())});
  ASSERT_EQ(outcome.revisions.size(), 1u);
  const auto& events = outcome.revisions[0]->events;
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].event, (Event{EventType::kDelete, {.key = "a", .mod_revision = 3}, old}));
  EXPECT_EQ(events[1].event, (Event{EventType::kPut, {"a", 3, 3, 1, "4", 0}, std::nullopt}));
  EXPECT_EQ(events[2].event, (Event{EventType::kDelete, {.key = "a", .mod_revision = 3}, old}));
  EXPECT_EQ(Rows(kRev), 4u);
  EXPECT_EQ(Rows(kLatest), 0u);
  EXPECT_EQ(applier_->keys(), 0);

  const Outcome fresh = Txn({PutOp("b", "5"), DelOp("b", FromKey())});
  EXPECT_EQ(fresh.revisions[0]->events[0].event, (Event{EventType::kPut, {"b", 4, 4, 1, "5", 0}, std::nullopt}));
  EXPECT_EQ(fresh.revisions[0]->events[1].event, (Event{EventType::kDelete, {.key = "b", .mod_revision = 4}, std::nullopt}));
}

TEST_F(KvApplier, ATxnThatWouldKillEtcdFailsAsAWhole) {
  ASSERT_TRUE(Put("a", "1").result.ok());
  const Outcome outcome = Txn({PutOp("z", "1"), DelOp("a", FromKey()), {PutRequest{.key = "a", .ignore_value = true}}});
  EXPECT_EQ(outcome.result.error().reason(), Reason::kKeyNotFound);
  EXPECT_FALSE(outcome.wrote);
  EXPECT_EQ(applier_->revision(), 2);
  EXPECT_TRUE(Get("a").has_value());
  ASSERT_TRUE(Put("b", "1").result.ok());
  EXPECT_EQ(applier_->keys(), 2);  // the failed one left nothing in the count tree
}

TEST_F(KvApplier, ComparesFollowEtcd) {
  ASSERT_TRUE(Put("a1", "x").result.ok());
  ASSERT_TRUE(Put("a2", "y").result.ok());
  const auto holds = [&](Compare compare) {
    return As<TxnResponse>(Apply(TxnCommand{{{std::move(compare)}, {}, {}}})).succeeded;
  };
  using R = CompareResult;
  using T = CompareTarget;
  EXPECT_FALSE(holds({R::kNotEqual, T::kValue, "no", "", 0, "x"}));
  EXPECT_TRUE(holds({R::kEqual, T::kVersion, "no", "", 0, ""}));
  EXPECT_TRUE(holds({R::kLess, T::kMod, "no", "", 1, ""}));
  EXPECT_TRUE(holds({static_cast<R>(9), T::kVersion, "no", "", 7, ""}));
  EXPECT_TRUE(holds({R::kEqual, T::kVersion, "a", "b", 1, ""}));
  EXPECT_FALSE(holds({R::kEqual, T::kCreate, "a", "b", 2, ""}));
  EXPECT_TRUE(holds({R::kGreater, T::kValue, "a", "b", 0, "w"}));
  EXPECT_TRUE(holds({R::kEqual, T::kLease, "a1", "", 0, ""}));
  EXPECT_FALSE(holds({R::kNotEqual, T::kValue, "x", "z", 0, "q"}));  // an empty interval is a missing key
  EXPECT_TRUE(holds({R::kEqual, T::kVersion, "z", "a", 0, ""}));
}

TEST_F(KvApplier, RangesInsideSeeWhatCameBefore) {
  ASSERT_TRUE(Put("a", "1").result.ok());
  ASSERT_TRUE(Put("b", "1").result.ok());
  const Outcome outcome = Txn({{RangeRequest{.key = "a", .range_end = "z"}},
                               PutOp("c", "2"),
                               {RangeRequest{.key = "a", .range_end = "z", .limit = 1}},
                               DelOp("a"),
                               {RangeRequest{.key = "a", .range_end = "z", .count_only = true}},
                               {RangeRequest{.key = "a", .range_end = "z", .revision = 3}}});
  const TxnResponse& response = As<TxnResponse>(outcome);
  EXPECT_EQ(response.revision, 4);
  const auto range = [&](std::size_t i) { return std::get<RangeResponse>(response.responses[i].response); };
  EXPECT_EQ(range(0).revision, 3);
  EXPECT_EQ(range(0).count, 2);
  EXPECT_EQ(range(2).revision, 4);
  EXPECT_EQ(range(2).count, 3);
  EXPECT_TRUE(range(2).more);
  EXPECT_EQ(range(4).count, 2);
  EXPECT_EQ(range(5).revision, 4);
  EXPECT_EQ(range(5).count, 2);
  EXPECT_EQ(range(5).kvs.front().key, "a");
}

TEST_F(KvApplier, RevisionsInsideATxnAreCheckedBeforeAnythingChanges) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Put("a", std::to_string(i)).result.ok());
  const auto reason = [&](Revision revision) {
    return Txn({PutOp("b", "1"), {RangeRequest{.key = "a", .revision = revision}}}).result.error().reason();
  };
  EXPECT_EQ(reason(7), Reason::kFutureRevision);
  EXPECT_EQ(reason(-5), Reason::kCompacted);
  EXPECT_EQ(applier_->revision(), 6);
  ASSERT_TRUE(Apply(CompactCommand{4}).result.ok());
  EXPECT_EQ(reason(3), Reason::kCompacted);
  EXPECT_EQ(reason(-1), Reason::kCompacted);
  EXPECT_EQ(reason(4), Reason::kNone);
  EXPECT_EQ(applier_->revision(), 7);
}

TEST_F(KvApplier, CompactionHasTheContractsTexts) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(Put("a", std::to_string(i)).result.ok());
  const auto error = [&](Revision revision, CompactRules rules) {
    return Apply(CompactCommand{revision, rules}).result.error();
  };
  EXPECT_EQ(error(0, CompactRules::kLibrary).message(), "invalid compact revision: 0");
  EXPECT_EQ(error(-3, CompactRules::kLibrary).message(), "invalid compact revision: -3");
  EXPECT_EQ(error(6, CompactRules::kLibrary).message(), "cannot compact to future revision 6 (current: 5)");
  EXPECT_TRUE(error(0, CompactRules::kEtcd).ok());
  EXPECT_EQ(error(0, CompactRules::kEtcd).reason(), Reason::kCompacted);
  EXPECT_EQ(error(-3, CompactRules::kEtcd).reason(), Reason::kCompacted);
  EXPECT_EQ(error(6, CompactRules::kEtcd).reason(), Reason::kFutureRevision);
  EXPECT_TRUE(error(3, CompactRules::kLibrary).ok());
  EXPECT_EQ(error(2, CompactRules::kLibrary).message(), "already compacted to revision 3 (requested: 2)");
  EXPECT_EQ(applier_->revision(), 5);
  Open();
  EXPECT_EQ(applier_->compacted(), 3);
}

TEST_F(KvApplier, AlarmsRefuseWhatTheyShould) {
  ASSERT_TRUE(Put("a", "1").result.ok());
  ASSERT_TRUE(Apply(LeaseGrantCommand{7, 9}).result.ok());
  const AlarmEntry alarm{42, AlarmType::kNoSpace};
  EXPECT_EQ(As<AlarmResult>(Apply(AlarmCommand{true, AlarmType::kNoSpace, 42})).alarms, std::vector{alarm});
  const Outcome again = Apply(AlarmCommand{true, AlarmType::kNoSpace, 42});
  EXPECT_FALSE(As<AlarmResult>(again).changed);
  EXPECT_EQ(As<AlarmResult>(again).alarms, std::vector{alarm});
  Open();
  EXPECT_EQ(applier_->alarms(), std::vector{alarm});
  EXPECT_EQ(Put("a", "1").result.error().reason(), Reason::kNoSpace);
  EXPECT_EQ(Apply(LeaseGrantCommand{8, 9}).result.error().reason(), Reason::kNoSpace);
  EXPECT_EQ(Apply(TxnCommand{{{}, {}, {PutOp("a", "1")}}}).result.error().reason(), Reason::kNoSpace);
  EXPECT_TRUE(Apply(TxnCommand{{{}, {PutOp("b", "1")}, {}}, /*frees_space=*/true}).result.ok());
  EXPECT_TRUE(Apply(DeleteRangeCommand{{"a", "", false}}).result.ok());
  EXPECT_TRUE(Apply(LeaseRevokeCommand{7}).result.ok());
  EXPECT_TRUE(Apply(CompactCommand{2}).result.ok());
  EXPECT_TRUE(As<AlarmResult>(Apply(AlarmCommand{false, AlarmType::kNoSpace, 1})).alarms.empty());
  EXPECT_EQ(As<AlarmResult>(Apply(AlarmCommand{false, AlarmType::kNoSpace, 42})).alarms, std::vector{alarm});
  EXPECT_TRUE(As<AlarmResult>(Apply(AlarmCommand{false, AlarmType::kNoSpace, 42})).alarms.empty());
  EXPECT_TRUE(Put("a", "1").result.ok());

  ASSERT_TRUE(Apply(AlarmCommand{true, AlarmType::kCorrupt, 42}).result.ok());
  EXPECT_EQ(Put("a", "1").result.error().reason(), Reason::kCorrupt);
  EXPECT_EQ(Apply(DeleteRangeCommand{{"a", "", false}}).result.error().code(), Code::kDataLoss);
  EXPECT_EQ(Apply(LeaseGrantCommand{8, 9}).result.error().reason(), Reason::kCorrupt);
}

TEST_F(KvApplier, HugeCommandsGoInPartsOfOneRevision) {
  options_.apply_batch_bytes_max = 1000;
  Open();
  ASSERT_TRUE(Apply(LeaseGrantCommand{7, 60}).result.ok());
  for (int i = 100; i < 200; ++i) ASSERT_TRUE(Put("k" + std::to_string(i), std::string(50, 'v'), 7).result.ok());
  ASSERT_TRUE(Put("z", "1").result.ok());
  const Revision before = applier_->revision();
  const Outcome outcome = Apply(DeleteRangeCommand{{"k15", "k2", true}});
  const auto& response = As<DeleteRangeResponse>(outcome);
  EXPECT_EQ(response.deleted, 50);
  EXPECT_EQ(response.prev_kvs.size(), 50u);
  EXPECT_EQ(response.revision, before + 1);
  ASSERT_EQ(outcome.revisions.size(), 1u);
  EXPECT_TRUE(outcome.revisions[0]->stored_only);
  EXPECT_EQ(applier_->keys(), 51);
  EXPECT_EQ(Rows(kRev), 151u);
  const Outcome revoked = Apply(LeaseRevokeCommand{7});
  EXPECT_EQ(As<LeaseRevokeResult>(revoked).revision, before + 2);
  EXPECT_EQ(applier_->keys(), 1);
  EXPECT_EQ(Rows(kLease), 0u);
  {
    storage::PinnedValue row;
    EXPECT_FALSE(*database_->Get(kMeta, kMetaPending, &row));
  }
  Open();
  EXPECT_EQ(applier_->revision(), before + 2);
  EXPECT_EQ(applier_->keys(), 1);
}

TEST_F(KvApplier, ALargeTxnIsRefusedUnlessItIsOneDelete) {
  options_.apply_batch_bytes_max = 1000;
  options_.txn_bytes_max = 2000;
  Open();
  for (int i = 100; i < 150; ++i) ASSERT_TRUE(Put("k" + std::to_string(i), std::string(100, 'v')).result.ok());
  const Revision before = applier_->revision();
  const Outcome refused = Txn({DelOp("k", "l"), PutOp("z", "1")});
  EXPECT_EQ(refused.result.error().reason(), Reason::kRequestTooLarge);
  EXPECT_FALSE(refused.wrote);
  EXPECT_EQ(applier_->keys(), 50);
  const Outcome one = Txn({DelOp("k", "l")});
  EXPECT_EQ(As<TxnResponse>(one).revision, before + 1);
  EXPECT_EQ(std::get<DeleteRangeResponse>(As<TxnResponse>(one).responses[0].response).deleted, 50);
  EXPECT_EQ(applier_->keys(), 0);
}

TEST_F(KvApplier, SamplesAreKeptAndForgotten) {
  ASSERT_TRUE(Put("a", "1").result.ok());
  for (int s = 1; s <= 5; ++s) ASSERT_TRUE(Apply(SampleCommand{s * 100, 0}).result.ok());
  const std::size_t rows = Rows(kMeta);
  ASSERT_TRUE(Apply(SampleCommand{600, 400}).result.ok());
  EXPECT_EQ(Rows(kMeta), rows + 1 - 3);
  EXPECT_EQ(applier_->revision(), 2);
}

TEST_F(KvApplier, ReclaimingDropsRevBelowTheCompactedRevision) {
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(Put("a", std::to_string(i)).result.ok());
  EXPECT_FALSE(Apply(ReclaimCommand{5, ReclaimCommand::Step::kBegin}).result.ok());
  ASSERT_TRUE(Apply(CompactCommand{5}).result.ok());
  EXPECT_EQ(Rows(kRev), 9u);
  ASSERT_TRUE(Apply(ReclaimCommand{5, ReclaimCommand::Step::kBegin}).result.ok());
  EXPECT_EQ(Rows(kRev), 6u);  // 5 to 10: what is at C can still be watched
  ASSERT_TRUE(Apply(ReclaimCommand{5, ReclaimCommand::Step::kFinished}).result.ok());
  EXPECT_EQ(applier_->reclaimed(), 5);
  const Outcome again = Apply(ReclaimCommand{4, ReclaimCommand::Step::kFinished});
  EXPECT_TRUE(again.result.ok());
  EXPECT_FALSE(again.wrote);
}

TEST_F(KvApplier, ManyOperationsInOneTxnAreQuick) {
  // Puts, counts of everything, deletes and first pages in turn: quadratic work would take minutes.
  for (int i = 0; i < 2000; ++i) ASSERT_TRUE(Put("s" + std::to_string(i), "v").result.ok());
  std::vector<TxnOp> ops;
  for (int i = 0; i < 5000; ++i) {
    ops.push_back(PutOp("p" + std::to_string(i), "v"));
    ops.push_back({RangeRequest{.key = "a", .range_end = "zz", .count_only = true}});
    if (i < 2000) ops.push_back(DelOp("s" + std::to_string(i)));
    ops.push_back({RangeRequest{.key = "r", .range_end = "zz", .limit = 1}});
  }
  const Outcome outcome = Txn(std::move(ops));
  const TxnResponse& response = As<TxnResponse>(outcome);
  EXPECT_EQ(std::get<RangeResponse>(response.responses.back().response).count, 0);
  const auto& last_count = std::get<RangeResponse>(response.responses[response.responses.size() - 2].response);
  EXPECT_EQ(last_count.count, 5000);
}

TEST(KvDeltaSums, SumsAreExact) {
  DeltaSums sums;
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back(std::to_string(i * 7919 % 1000));
  std::map<std::string, std::int64_t> reference;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::int64_t delta = i % 3 == 0 ? -1 : 1;
    sums.Add(keys[i], delta);
    reference[keys[i]] += delta;
    const KeyInterval interval{keys[i / 2], i % 5 == 0 ? std::nullopt : std::optional(keys[i])};
    std::int64_t expected = 0;
    for (const auto& [key, sum] : reference) {
      if (interval.Contains(key)) expected += sum;
    }
    ASSERT_EQ(sums.Sum(interval), expected) << i;
  }
}

}  // namespace
}  // namespace vellum::kv
