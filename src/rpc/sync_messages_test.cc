#include "rpc/sync_messages.h"

#include <gtest/gtest.h>

namespace vellum::rpc {
namespace {

/// Keeps copies of what it is given.
class Keeper final : public sync::RecordSink {
 public:
  struct Kept {
    sync::RecordType type;
    std::string id;
    std::string data;
  };
  Status Put(const sync::RecordView& record) override {
    kept.push_back({record.type, std::string(record.id), std::string(record.data)});
    return {};
  }
  std::vector<Kept> kept;
};

/// Sends what a batcher makes through the bytes of messages to a taker.
class Loop {
 public:
  explicit Loop(std::size_t record_bytes_max) : taker(record_bytes_max) {}
  RecordBatcher batcher{[this](v1::RecordBatch* batch) -> Status {
                          v1::RecordBatch back;
                          largest = std::max(largest, batch->ByteSizeLong());
                          if (!back.ParseFromString(batch->SerializeAsString())) return Internal("not parsed");
                          ++batches;
                          return taker.TakeBatch(back, &keeper);
                        },
                        [this](std::string_view part) -> Status {
                          largest = std::max(largest, part.size());
                          return taker.TakePart(part);
                        }};
  RecordTaker taker;
  Keeper keeper;
  std::size_t largest = 0;
  int batches = 0;
};

sync::RecordView Asset(std::string_view id, std::string_view data) {
  sync::RecordView record;
  record.type = sync::RecordType::kAsset;
  record.id = id;
  record.data = data;
  return record;
}

TEST(SyncMessages, RecordsOfAnySizeArriveWholeAndInOrder) {
  Loop loop(64u << 20);
  std::vector<std::string> datas;
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{200} << 10, std::size_t{256} << 10,
                                 std::size_t{5} << 20, std::size_t{1}, (std::size_t{3} << 20) + 1}) {
    datas.push_back(std::string(size, static_cast<char>('a' + datas.size())));
  }
  for (const std::string& data : datas) ASSERT_TRUE(loop.batcher.Add(Asset("x", data)).ok());
  ASSERT_TRUE(loop.batcher.Flush().ok());
  ASSERT_EQ(loop.keeper.kept.size(), datas.size());
  for (std::size_t i = 0; i < datas.size(); ++i) EXPECT_EQ(loop.keeper.kept[i].data, datas[i]);
  EXPECT_LT(loop.largest, std::size_t{1} << 20) << "far below what servers take";
  EXPECT_EQ(loop.taker.records(), datas.size());
}

TEST(SyncMessages, SmallRecordsShareMessages) {
  Loop loop(64u << 20);
  for (int i = 0; i < 10'000; ++i) ASSERT_TRUE(loop.batcher.Add(Asset(std::to_string(i), "data")).ok());
  ASSERT_TRUE(loop.batcher.Flush().ok());
  EXPECT_EQ(loop.keeper.kept.size(), 10'000u);
  EXPECT_LT(loop.batches, 20);
}

TEST(SyncMessages, PartsAreBoundedAndMustBeFollowedByTheirRecord) {
  RecordTaker taker(100);
  ASSERT_TRUE(taker.TakePart(std::string(60, 'x')).ok());
  EXPECT_EQ(taker.TakePart(std::string(60, 'x')).code(), Code::kInvalidArgument);
  EXPECT_EQ(taker.CheckNothingWaits("a checkpoint").code(), Code::kInvalidArgument);
  Keeper keeper;
  v1::RecordBatch batch;
  EXPECT_EQ(taker.TakeBatch(batch, &keeper).code(), Code::kInvalidArgument);
  FillRecord(Asset("a", "y"), batch.add_records());
  FillRecord(Asset("b", "z"), batch.add_records());
  ASSERT_TRUE(taker.TakeBatch(batch, &keeper).ok());
  EXPECT_TRUE(taker.CheckNothingWaits("a checkpoint").ok());
  EXPECT_EQ(keeper.kept[0].data, std::string(60, 'x') + "y");
  EXPECT_EQ(keeper.kept[1].data, "z");
}

TEST(SyncMessages, RecordKeepsEveryField) {
  sync::RecordView record;
  record.type = sync::RecordType::kGrant;
  record.discovered_at = 7;
  record.id = "id\xff";
  record.type_id = "rt";
  record.resource_id = "r";
  record.entitlement_id = "e";
  record.principal_type_id = "pt";
  record.principal_id = "p";
  record.parent_type_id = "parent type";
  record.parent_id = "parent";
  record.expansion = "expansion";
  record.needs_expansion = true;
  record.slim = true;
  record.content_type = "text/plain";
  record.data = "data";
  v1::Record message;
  FillRecord(record, &message);
  v1::Record back;
  ASSERT_TRUE(back.ParseFromString(message.SerializeAsString()));
  const auto view = ViewRecord(back);
  ASSERT_TRUE(view.ok());
  v1::Record again;
  FillRecord(*view, &again);
  EXPECT_EQ(again.SerializeAsString(), message.SerializeAsString());
  EXPECT_EQ(view->id, record.id);
  EXPECT_EQ(view->parent_id, record.parent_id);
  EXPECT_TRUE(view->slim);
  for (int i = 1; i <= 15; ++i) {
    EXPECT_TRUE(v1::Record::descriptor()->FindFieldByNumber(i) != nullptr);
  }
}

TEST(SyncMessages, DescriptionKeepsEverything) {
  service::SyncDescription sync;
  sync.entry.run = {"id", "full", "parent", "linked", "token", 3, 4, true};
  sync.entry.connector = "connector";
  sync.entry.state = sync::SyncState::kSealed;
  sync.entry.history = {{"g2", "d2", 5, "merge"}, {"g1", "d1", 4, "import"}};
  sync.entry.mod_revision = 17;
  sync.history_records = {9, std::nullopt};
  sync.generation.emplace();
  sync.generation->id = "g2";
  sync.generation->records = 9;
  sync.generation->overlays = 1;
  sync.generation->totals[sync::Bucket::kGrant] = {9, 100, 1, 2, {3, 4}, {5, 6}};
  v1::SyncDescription message;
  FillDescription(sync, &message);
  const auto back = TakeDescription(message);
  ASSERT_TRUE(back.ok());
  v1::SyncDescription again;
  FillDescription(*back, &again);
  EXPECT_EQ(again.SerializeAsString(), message.SerializeAsString());
  EXPECT_EQ(back->history_records[1], std::nullopt);
  EXPECT_EQ(back->generation->totals.at(sync::Bucket::kGrant).digest_unstamped, (sync::Sum128{5, 6}));
  message.mutable_generation()->mutable_totals(0)->set_bucket(250);
  EXPECT_EQ(TakeDescription(message).error().code(), Code::kInternal);
}

}  // namespace
}  // namespace vellum::rpc
