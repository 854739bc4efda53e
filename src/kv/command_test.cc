#include "kv/command.h"

#include <gtest/gtest.h>

#include <random>

#include "kv/meta.h"

namespace vellum::kv {
namespace {

TxnRequest Nested(int depth) {
  TxnRequest txn;
  txn.success.push_back({PutRequest{.key = "k", .value = "v"}});
  for (int i = 1; i < depth; ++i) {
    TxnRequest outer;
    outer.success.push_back({std::move(txn)});
    txn = std::move(outer);
  }
  return txn;
}

std::vector<Command> Samples() {
  TxnRequest txn;
  txn.compares.push_back({CompareResult::kLess, CompareTarget::kValue, std::string("a\0b", 3), "z", -5, "x"});
  txn.success.push_back({RangeRequest{.key = "a", .range_end = "b", .limit = 3, .revision = -1,
                                      .sort_order = SortOrder::kDescend, .sort_target = SortTarget::kValue,
                                      .keys_only = true, .min_mod_revision = -7, .max_create_revision = 9}});
  txn.success.push_back({});
  txn.failure.push_back({DeleteRangeRequest{"k", std::string(1, '\0'), true}});
  txn.failure.push_back({Nested(3)});
  return {PutCommand{{.key = "k", .value = "v", .lease = -3, .prev_kv = true, .ignore_lease = true}},
          DeleteRangeCommand{{"a", "b", true}},
          TxnCommand{txn, /*frees_space=*/true},
          CompactCommand{77, CompactRules::kEtcd},
          LeaseGrantCommand{INT64_MIN, 9},
          LeaseRevokeCommand{INT64_MAX},
          LeaseExpireCommand{{{1, 2}, {-3, UINT64_MAX}}},
          LeaseCheckpointCommand{{{1, 2, 3}, {4, 5, 6}}},
          AlarmCommand{true, AlarmType::kCorrupt, UINT64_MAX},
          SampleCommand{1700000000, 1600000000},
          ReclaimCommand{12, ReclaimCommand::Step::kBegin}};
}

TEST(KvCommand, EveryKindSurvivesEncoding) {
  for (const Command& command : Samples()) {
    const std::string bytes = EncodeCommand(command);
    const Result<Command> back = DecodeCommand(bytes);
    ASSERT_TRUE(back.ok()) << back.error().ToString();
    EXPECT_EQ(back->index(), command.index());
    EXPECT_EQ(EncodeCommand(*back), bytes);
  }
  const Result<Command> txn = DecodeCommand(EncodeCommand(Samples()[2]));
  ASSERT_TRUE(txn.ok());
  EXPECT_TRUE(std::get<TxnCommand>(*txn).frees_space);
  const TxnRequest& request = std::get<TxnCommand>(*txn).request;
  EXPECT_EQ(request.compares[0].key, std::string("a\0b", 3));
  EXPECT_EQ(request.compares[0].number, -5);
  EXPECT_EQ(std::get<RangeRequest>(request.success[0].request).min_mod_revision, -7);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(request.success[1].request));
  EXPECT_TRUE(std::get<DeleteRangeRequest>(request.failure[0].request).prev_kv);
}

TEST(KvCommand, EveryCutIsRefused) {
  for (const Command& command : Samples()) {
    const std::string bytes = EncodeCommand(command);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const Result<Command> cut = DecodeCommand(std::string_view(bytes).substr(0, size));
      EXPECT_EQ(cut.error().code(), Code::kDataLoss);
    }
    EXPECT_EQ(DecodeCommand(bytes + "x").error().code(), Code::kDataLoss);
  }
}

TEST(KvCommand, RandomDamageIsAnErrorOrAnotherCommand) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  const std::vector<Command> samples = Samples();
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = EncodeCommand(samples[random() % samples.size()]);
    for (unsigned n = random() % 4 + 1; n > 0; --n) bytes[random() % bytes.size()] = static_cast<char>(random());
    const Result<Command> command = DecodeCommand(bytes);
    if (!command.ok()) {
      EXPECT_EQ(command.error().code(), Code::kDataLoss);
    }
  }
}

TEST(KvCommand, NestingIsLimited) {
  EXPECT_TRUE(DecodeCommand(EncodeCommand(TxnCommand{Nested(128)})).ok());
  EXPECT_EQ(DecodeCommand(EncodeCommand(TxnCommand{Nested(129)})).error().code(), Code::kDataLoss);
}

TEST(KvCommand, AnotherVersionIsRefused) {
  std::string bytes = EncodeCommand(CompactCommand{5});
  bytes[0] = 2;
  EXPECT_EQ(DecodeCommand(bytes).error().code(), Code::kDataLoss);
}

TEST(KvMeta, RowsSurviveEncodingAndDamageIsRefused) {
  EXPECT_EQ(*DecodeMetaNumber("revision", EncodeMetaNumber(-1)), -1);
  EXPECT_EQ(DecodeMetaNumber("revision", "short").error().code(), Code::kDataLoss);
  EXPECT_EQ(*SampleRowSeconds(SampleRow(1700000000)), 1700000000);
  EXPECT_LT(SampleRow(99), SampleRow(100));
  EXPECT_FALSE(SampleRowSeconds("sample/1").has_value());

  const std::vector<AlarmEntry> alarms = {{7, AlarmType::kNoSpace}, {UINT64_MAX, AlarmType::kCorrupt}};
  const std::string bytes = EncodeAlarms(alarms);
  EXPECT_EQ(*DecodeAlarms(bytes), alarms);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(DecodeAlarms(bytes.substr(0, size)).ok());

  PendingCommand pending;
  pending.command = DeleteRangeCommand{{"a", "z", false}};
  pending.main = 9;
  pending.sub = 500;
  pending.changes = 500;
  pending.index = 3;
  pending.cursor = std::string("m\0", 2);
  const std::string row = EncodePending(pending);
  const Result<PendingCommand> back = DecodePending(row);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(EncodePending(*back), row);
  EXPECT_EQ(back->cursor, pending.cursor);
  for (std::size_t size = 0; size < row.size(); ++size) EXPECT_FALSE(DecodePending(row.substr(0, size)).ok());
}

}  // namespace
}  // namespace vellum::kv
