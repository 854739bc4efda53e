#include "rpc/encode.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

constexpr HeaderIds kIds{.cluster_id = 0xcdf818194e3a8c32, .member_id = 0x8e9e05c52164694d, .raft_term = 2};

std::string Join(const wire::Message& message) {
  std::string bytes;
  for (const wire::Piece& piece : message) {
    bytes += piece.own;
    if (piece.shared) bytes += *piece.shared;
  }
  return bytes;
}

// Protobuf reads the bytes, understands all of them, and would have written the same.
template <typename Message>
Message ParseExactly(const std::string& bytes) {
  Message message;
  EXPECT_TRUE(message.ParseFromString(bytes));
  EXPECT_TRUE(message.GetReflection()->GetUnknownFields(message).empty());
  EXPECT_EQ(message.SerializeAsString(), bytes);
  return message;
}

KeyValue FullKeyValue(std::size_t value_bytes) {
  KeyValue kv;
  kv.key = std::string("k\0\xff", 3);
  kv.create_revision = 7;
  kv.mod_revision = std::numeric_limits<std::int64_t>::max();
  kv.version = 300;
  kv.value = std::string(value_bytes, 'v');
  kv.lease = -13;
  return kv;
}

void ExpectHeader(const pb::ResponseHeader& header, Revision revision) {
  EXPECT_EQ(header.cluster_id(), kIds.cluster_id);
  EXPECT_EQ(header.member_id(), kIds.member_id);
  EXPECT_EQ(header.revision(), revision);
  EXPECT_EQ(header.raft_term(), kIds.raft_term);
}

TEST(RpcEncode, RangeResponseEqualsProtobufsBytes) {
  for (const std::size_t value_bytes : {0u, 1u, 127u, 128u, 4095u, 4096u, 100'000u}) {
    RangeResponse response{.revision = 42, .kvs = {FullKeyValue(value_bytes), KeyValue{}, FullKeyValue(3)},
                           .more = true, .count = 1'000'000};
    RangeResponse copy = response;
    auto message = ParseExactly<pb::RangeResponse>(Join(EncodeRangeResponse(kIds, std::move(copy))));
    ExpectHeader(message.header(), 42);
    const RangeResponse back = TakeRangeResponse(&message);
    EXPECT_EQ(back.revision, 42);
    EXPECT_EQ(back.kvs, response.kvs);
    EXPECT_TRUE(back.more);
    EXPECT_EQ(back.count, 1'000'000);
  }
  ExpectHeader(ParseExactly<pb::RangeResponse>(Join(EncodeRangeResponse(kIds, RangeResponse{}))).header(), 0);
}

TEST(RpcEncode, LargeValuesAreNotCopied) {
  RangeResponse response;
  response.kvs.push_back(FullKeyValue(1 << 20));
  const char* bytes = response.kvs[0].value.data();
  const wire::Message message = EncodeRangeResponse(kIds, std::move(response));
  ASSERT_EQ(message.size(), 2u);
  EXPECT_EQ(message[0].shared->data(), bytes);
}

TEST(RpcEncode, PartsOfARangeAreMergedIntoItsAnswer) {
  pb::RangeStreamResponse merged;
  for (const bool last : {false, true}) {
    RangeResponse part{.revision = 42, .kvs = {FullKeyValue(last ? 3 : 9000)}, .more = true, .count = 7};
    const std::string bytes = Join(EncodeRangePart(kIds, std::move(part), last));
    const auto parsed = ParseExactly<pb::RangeStreamResponse>(bytes);
    EXPECT_EQ(parsed.range_response().has_header(), last);
    EXPECT_EQ(parsed.range_response().more(), last);
    EXPECT_EQ(parsed.range_response().count(), last ? 7 : 0);
    merged.MergeFrom(parsed);
  }
  RangeResponse whole{.revision = 42, .kvs = {FullKeyValue(9000), FullKeyValue(3)}, .more = true, .count = 7};
  EXPECT_EQ(merged.range_response().SerializeAsString(), Join(EncodeRangeResponse(kIds, std::move(whole))));
}

TEST(RpcEncode, PutAndDeleteRangeResponsesEqualProtobufsBytes) {
  auto put = ParseExactly<pb::PutResponse>(
      Join(EncodePutResponse(kIds, PutResponse{.revision = 5, .prev_kv = FullKeyValue(5000)})));
  ExpectHeader(put.header(), 5);
  EXPECT_EQ(TakePutResponse(&put).prev_kv, FullKeyValue(5000));
  auto bare = ParseExactly<pb::PutResponse>(Join(EncodePutResponse(kIds, PutResponse{.revision = 5, .prev_kv = {}})));
  EXPECT_FALSE(bare.has_prev_kv());

  DeleteRangeResponse response{.revision = 6, .deleted = 2, .prev_kvs = {FullKeyValue(1), FullKeyValue(9000)}};
  const std::vector<KeyValue> kvs = response.prev_kvs;
  auto erased = ParseExactly<pb::DeleteRangeResponse>(Join(EncodeDeleteRangeResponse(kIds, std::move(response))));
  ExpectHeader(erased.header(), 6);
  const DeleteRangeResponse back = TakeDeleteRangeResponse(&erased);
  EXPECT_EQ(back.deleted, 2);
  EXPECT_EQ(back.prev_kvs, kvs);
}

TEST(RpcEncode, TxnResponseHasTheProtocolsHeaders) {
  TxnResponse inner{.revision = 9, .succeeded = true, .responses = {}};
  inner.responses.push_back({PutResponse{.revision = 9, .prev_kv = FullKeyValue(4096)}});
  TxnResponse response{.revision = 9, .succeeded = true, .responses = {}};
  response.responses.push_back({RangeResponse{.revision = 9, .kvs = {FullKeyValue(10)}, .more = false, .count = 1}});
  response.responses.push_back({PutResponse{.revision = 9, .prev_kv = {}}});
  response.responses.push_back({DeleteRangeResponse{.revision = 9, .deleted = 1, .prev_kvs = {FullKeyValue(5000)}}});
  response.responses.push_back({std::move(inner)});
  auto message = ParseExactly<pb::TxnResponse>(Join(EncodeTxnResponse(kIds, std::move(response))));
  ExpectHeader(message.header(), 9);
  ASSERT_EQ(message.responses_size(), 4);
  const auto& range = message.responses(0).response_range();
  EXPECT_EQ(range.header().SerializeAsString(), std::string("\x18\x09"));
  EXPECT_EQ(message.responses(1).response_put().header().SerializeAsString(), std::string("\x18\x09"));
  EXPECT_EQ(message.responses(2).response_delete_range().header().SerializeAsString(), std::string("\x18\x09"));
  const auto& nested = message.responses(3).response_txn();
  ASSERT_TRUE(nested.has_header());
  EXPECT_EQ(nested.header().ByteSizeLong(), 0u);
  EXPECT_TRUE(nested.succeeded());
  EXPECT_EQ(nested.responses(0).response_put().header().revision(), 9);
  EXPECT_EQ(nested.responses(0).response_put().prev_kv().value().size(), 4096u);
}

// Random nested transactions, with values on both sides of every threshold.
TxnResponse RandomTxn(std::mt19937_64* random, int depth) {
  const auto pick = [random](std::size_t n) { return static_cast<std::size_t>((*random)() % n); };
  constexpr std::size_t kSizes[] = {0, 1, 200, 260, 4095, 4096, 20'000};
  const auto kv = [&] { return FullKeyValue(kSizes[pick(std::size(kSizes))]); };
  TxnResponse response{.revision = static_cast<Revision>(pick(1000)), .succeeded = pick(2) == 0, .responses = {}};
  for (std::size_t i = pick(5); i > 0; --i) {
    switch (pick(depth > 0 ? 4 : 3)) {
      case 0:
        response.responses.push_back({RangeResponse{.revision = 3, .kvs = {kv(), kv()}, .more = true, .count = 9}});
        break;
      case 1:
        response.responses.push_back({PutResponse{.revision = 3, .prev_kv = kv()}});
        break;
      case 2:
        response.responses.push_back({DeleteRangeResponse{.revision = 3, .deleted = 1, .prev_kvs = {kv()}}});
        break;
      default:
        response.responses.push_back({RandomTxn(random, depth - 1)});
    }
  }
  return response;
}

TEST(RpcEncode, RandomTxnResponsesEqualProtobufsBytes) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200; ++i) ParseExactly<pb::TxnResponse>(Join(EncodeTxnResponse(kIds, RandomTxn(&random, 5))));
}

TEST(RpcEncode, WatchResponsesEqualProtobufsBytes) {
  Event put{.type = EventType::kPut, .kv = FullKeyValue(5000), .prev_kv = FullKeyValue(2)};
  Event erase{.type = EventType::kDelete, .kv = {}, .prev_kv = {}};
  erase.kv.key = "gone";
  erase.kv.mod_revision = 12;
  const WatchResponseHead head{.revision = 12, .watch_id = -4, .created = true, .canceled = true,
                               .compact_revision = 3, .cancel_reason = "because", .fragment = true};
  const std::string bytes = EncodeWatchResponseHead(kIds, head) + EncodeWatchEvent(put, true) +
                            EncodeWatchEvent(put, false) + EncodeWatchEvent(erase, true);
  auto message = ParseExactly<pb::WatchResponse>(bytes);
  ExpectHeader(message.header(), 12);
  EXPECT_EQ(message.watch_id(), -4);
  EXPECT_TRUE(message.created());
  EXPECT_TRUE(message.canceled());
  EXPECT_EQ(message.compact_revision(), 3);
  EXPECT_EQ(message.cancel_reason(), "because");
  EXPECT_TRUE(message.fragment());
  ASSERT_EQ(message.events_size(), 3);
  EXPECT_EQ(TakeEvent(message.mutable_events(0)), put);
  EXPECT_FALSE(message.events(1).has_prev_kv());
  EXPECT_EQ(TakeEvent(message.mutable_events(2)), erase);
}

TEST(RpcEncode, TheHeadOfEventsInTwoPartsIsTheHead) {
  for (const std::int64_t watch_id : {std::int64_t{0}, std::int64_t{1}, std::int64_t{300}, std::int64_t{-4}}) {
    for (const bool fragment : {false, true}) {
      WatchResponseHead head;
      head.revision = 12;
      head.watch_id = watch_id;
      head.fragment = fragment;
      std::string bytes = EncodeWatchHeader(kIds, head.revision);
      AppendWatchId(watch_id, fragment, &bytes);
      EXPECT_EQ(bytes, EncodeWatchResponseHead(kIds, head));
    }
  }
}

TEST(RpcEncode, AWatchResponseWithRevisionZeroKeepsTheIds) {
  WatchResponseHead head;
  head.compact_revision = 10;
  const std::string bytes = EncodeWatchResponseHead(kIds, head);
  ExpectHeader(ParseExactly<pb::WatchResponse>(bytes).header(), 0);
}

}  // namespace
}  // namespace vellum::rpc
