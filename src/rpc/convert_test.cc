#include "rpc/convert.h"

#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <string>

namespace vellum::rpc {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Sets every scalar field of a message (except members of oneofs) to a value that tells it from all others, and each
// enumeration to `enum_number`. A field that is added to the protocol is thereby in the tests below at once.
void FillScalars(Message* message, int enum_number) {
  const auto* reflection = message->GetReflection();
  const auto* descriptor = message->GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor* field = descriptor->field(i);
    if (field->is_repeated() || field->real_containing_oneof() != nullptr) continue;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        reflection->SetString(message, field, std::string("\0\xff", 2) + field->name());
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        reflection->SetInt64(message, field, -1000 - field->number());
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        reflection->SetBool(message, field, true);
        break;
      case FieldDescriptor::CPPTYPE_ENUM:
        reflection->SetEnumValue(message, field, enum_number);
        break;
      default:
        break;  // messages: filled by the test that has them
    }
  }
}

// Request -> domain -> request gives the same message again, for each single field alone and for all at once.
template <typename Proto, typename Domain>
void ExpectRoundTrip(Domain (*take)(Proto*), void (*fill)(const Domain&, Proto*)) {
  Proto full;
  FillScalars(&full, 1);
  Proto copy = full;
  Proto back;
  fill(take(&copy), &back);
  EXPECT_EQ(back.SerializeAsString(), full.SerializeAsString());

  const auto* descriptor = Proto::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    Proto single = full;
    for (int j = 0; j < descriptor->field_count(); ++j) {
      if (j != i) single.GetReflection()->ClearField(&single, descriptor->field(j));
    }
    Proto single_copy = single;
    Proto single_back;
    fill(take(&single_copy), &single_back);
    EXPECT_EQ(single_back.SerializeAsString(), single.SerializeAsString()) << descriptor->field(i)->full_name();
  }
}

TEST(RpcConvert, RequestsKeepEveryField) {
  ExpectRoundTrip<pb::RangeRequest, RangeRequest>(TakeRange, FillRange);
  ExpectRoundTrip<pb::PutRequest, PutRequest>(TakePut, FillPut);
  ExpectRoundTrip<pb::DeleteRangeRequest, DeleteRangeRequest>(TakeDeleteRange, FillDeleteRange);
}

TEST(RpcConvert, RangeNamesMeanWhatTheyMean) {
  RangeRequest request;
  request.sort_order = SortOrder::kDescend;
  request.sort_target = SortTarget::kValue;
  request.min_mod_revision = 1;
  request.max_mod_revision = 2;
  request.min_create_revision = 3;
  request.max_create_revision = 4;
  request.keys_only = true;
  pb::RangeRequest message;
  FillRange(request, &message);
  EXPECT_EQ(message.sort_order(), pb::RangeRequest::DESCEND);
  EXPECT_EQ(message.sort_target(), pb::RangeRequest::VALUE);
  EXPECT_EQ(message.min_mod_revision(), 1);
  EXPECT_EQ(message.max_mod_revision(), 2);
  EXPECT_EQ(message.min_create_revision(), 3);
  EXPECT_EQ(message.max_create_revision(), 4);
  EXPECT_TRUE(message.keys_only());
  EXPECT_FALSE(message.count_only());
}

TEST(RpcConvert, UnknownSortNumbersStayUnknown) {
  for (const int number : {-1, 5, 9, 256, 257, 1 << 30}) {
    pb::RangeRequest message;
    message.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(number));
    message.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(number));
    const RangeRequest request = TakeRange(&message);
    EXPECT_EQ(static_cast<int>(request.sort_order), kUnknownNumber) << number;
    EXPECT_EQ(static_cast<int>(request.sort_target), kUnknownNumber) << number;
  }
}

TEST(RpcConvert, ComparesKeepEveryTargetAndOperand) {
  TxnRequest request;
  for (int target = 0; target <= 4; ++target) {
    for (int result = 0; result <= 3; ++result) {
      Compare compare;
      compare.target = static_cast<CompareTarget>(target);
      compare.result = static_cast<CompareResult>(result);
      compare.key = "key";
      compare.range_end = "z";
      if (compare.target == CompareTarget::kValue) {
        compare.value = "operand";
      } else {
        compare.number = 10 * target - 15;
      }
      request.compares.push_back(compare);
    }
  }
  pb::TxnRequest message;
  FillTxn(request, &message);
  const auto back = TakeTxn(&message);
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->compares.size(), request.compares.size());
  for (std::size_t i = 0; i < request.compares.size(); ++i) {
    const Compare& want = request.compares[i];
    const Compare& got = back->compares[i];
    EXPECT_EQ(got.result, want.result);
    EXPECT_EQ(got.target, want.target);
    EXPECT_EQ(got.key, want.key);
    EXPECT_EQ(got.range_end, want.range_end);
    EXPECT_EQ(got.number, want.number);
    EXPECT_EQ(got.value, want.value);
  }
}

Compare TakeOne(const pb::Compare& compare) {
  pb::TxnRequest message;
  *message.add_compare() = compare;
  auto request = TakeTxn(&message);
  EXPECT_TRUE(request.ok());
  return request->compares.at(0);
}

TEST(RpcConvert, AnOperandThatDoesNotFitTheTargetIsZero) {
  pb::Compare compare;
  compare.set_target(pb::Compare::MOD);
  compare.set_version(7);
  EXPECT_EQ(TakeOne(compare).number, 0);
  compare.set_target(pb::Compare::VALUE);
  EXPECT_EQ(TakeOne(compare).value, "");
  compare.set_value("x");
  compare.set_target(pb::Compare::LEASE);
  EXPECT_EQ(TakeOne(compare).number, 0);
}

TEST(RpcConvert, UnknownCompareNumbers) {
  pb::Compare compare;
  compare.set_result(static_cast<pb::Compare::CompareResult>(9));
  compare.set_version(7);
  EXPECT_EQ(TakeOne(compare).result, CompareResult::kAlwaysTrue);

  compare.set_target(static_cast<pb::Compare::CompareTarget>(9));
  EXPECT_EQ(TakeOne(compare).result, CompareResult::kAlwaysTrue);
  compare.set_result(pb::Compare::EQUAL);
  EXPECT_EQ(TakeOne(compare).result, CompareResult::kAlwaysTrue);
  for (const auto result : {pb::Compare::NOT_EQUAL, pb::Compare::GREATER, pb::Compare::LESS}) {
    compare.set_result(result);
    const Compare taken = TakeOne(compare);
    EXPECT_EQ(taken.target, CompareTarget::kVersion);
    EXPECT_EQ(taken.result, CompareResult::kLess);
    EXPECT_EQ(taken.number, std::numeric_limits<std::int64_t>::min());
  }
}

TEST(RpcConvert, TransactionsKeepTheirShape) {
  TxnRequest nested;
  nested.failure.push_back({RangeRequest{.key = "nested", .range_end = {}}});
  TxnRequest request;
  request.success.push_back({PutRequest{.key = "put", .value = "v", .lease = 3}});
  request.success.push_back({DeleteRangeRequest{.key = "del", .range_end = {}, .prev_kv = true}});
  request.success.push_back({});
  request.failure.push_back({nested});
  pb::TxnRequest message;
  FillTxn(request, &message);
  pb::TxnRequest parsed;
  ASSERT_TRUE(ParseTxn(message.SerializeAsString(), &parsed));
  const auto back = TakeTxn(&parsed);
  ASSERT_TRUE(back.ok());
  ASSERT_EQ(back->success.size(), 3u);
  EXPECT_EQ(std::get<PutRequest>(back->success[0].request).lease, 3);
  EXPECT_TRUE(std::get<DeleteRangeRequest>(back->success[1].request).prev_kv);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(back->success[2].request));
  ASSERT_EQ(back->failure.size(), 1u);
  const auto& inner = std::get<TxnRequest>(back->failure[0].request);
  EXPECT_EQ(std::get<RangeRequest>(inner.failure.at(0).request).key, "nested");
}

// `depth` transactions inside each other, as bytes: built from the inside, because protobuf would not build it.
std::string NestedTxn(int depth) {
  const auto wrap = [](char tag, const std::string& content) {
    std::string bytes(1, tag);
    for (std::size_t size = content.size();; size >>= 7) {
      bytes.push_back(static_cast<char>((size & 0x7f) | (size >= 0x80 ? 0x80 : 0)));
      if (size < 0x80) break;
    }
    return bytes + content;
  };
  std::string txn;
  for (int i = 1; i < depth; ++i) txn = wrap('\x12', wrap('\x22', txn));  // success = 2, request_txn = 4
  return txn;
}

TEST(RpcConvert, DeepNestingIsRefusedAndNeverOverflowsTheStack) {
  pb::TxnRequest allowed;
  ASSERT_TRUE(ParseTxn(NestedTxn(kTxnDepthMax), &allowed));
  EXPECT_TRUE(TakeTxn(&allowed).ok());

  pb::TxnRequest deep;
  ASSERT_TRUE(ParseTxn(NestedTxn(kTxnDepthMax + 1), &deep));
  const auto refused = TakeTxn(&deep);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason(), Reason::kTooManyOperations);

  pb::TxnRequest absurd;
  EXPECT_FALSE(ParseTxn(NestedTxn(5'000), &absurd));
}

TEST(RpcConvert, MalformedBytesAreRefused) {
  pb::TxnRequest message;
  EXPECT_FALSE(ParseTxn("\x12\x05", &message));
  EXPECT_FALSE(ParseTxn(std::string(3, '\xff'), &message));
  EXPECT_TRUE(ParseTxn("", &message));
}

TEST(RpcConvert, AnswersKeepEveryField) {
  mvccpb::KeyValue kv;
  FillScalars(&kv, 1);
  const auto expect_kv = [](const KeyValue& taken) {
    EXPECT_EQ(taken.key, std::string("\0\xffkey", 5));
    EXPECT_EQ(taken.create_revision, -1002);
    EXPECT_EQ(taken.mod_revision, -1003);
    EXPECT_EQ(taken.version, -1004);
    EXPECT_EQ(taken.value, std::string("\0\xffvalue", 7));
    EXPECT_EQ(taken.lease, -1006);
  };
  mvccpb::KeyValue kv_copy = kv;
  expect_kv(TakeKeyValue(&kv_copy));

  pb::TxnResponse message;
  message.mutable_header()->set_revision(5);
  message.set_succeeded(true);
  auto* range = message.add_responses()->mutable_response_range();
  *range->add_kvs() = kv;
  range->mutable_header()->set_revision(6);
  range->set_more(true);
  range->set_count(8);
  auto* put = message.add_responses()->mutable_response_put();
  *put->mutable_prev_kv() = kv;
  put->mutable_header()->set_revision(6);
  auto* erase = message.add_responses()->mutable_response_delete_range();
  *erase->add_prev_kvs() = kv;
  erase->set_deleted(9);
  erase->mutable_header()->set_revision(6);
  message.add_responses()->mutable_response_txn()->add_responses()->mutable_response_put();

  const auto taken = TakeTxnResponse(&message);
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken->revision, 5);
  EXPECT_TRUE(taken->succeeded);
  ASSERT_EQ(taken->responses.size(), 4u);
  const auto& range_taken = std::get<RangeResponse>(taken->responses[0].response);
  expect_kv(range_taken.kvs.at(0));
  EXPECT_EQ(range_taken.revision, 6);
  EXPECT_TRUE(range_taken.more);
  EXPECT_EQ(range_taken.count, 8);
  const auto& put_taken = std::get<PutResponse>(taken->responses[1].response);
  expect_kv(put_taken.prev_kv.value());
  EXPECT_EQ(put_taken.revision, 6);
  const auto& erase_taken = std::get<DeleteRangeResponse>(taken->responses[2].response);
  expect_kv(erase_taken.prev_kvs.at(0));
  EXPECT_EQ(erase_taken.deleted, 9);
  EXPECT_EQ(erase_taken.revision, 6);
  EXPECT_EQ(std::get<TxnResponse>(taken->responses[3].response).responses.size(), 1u);

  pb::TxnResponse hollow;
  hollow.add_responses();
  EXPECT_EQ(TakeTxnResponse(&hollow).error().code(), Code::kInternal);
}

TEST(RpcConvert, EventsKeepTypeAndBothPairs) {
  mvccpb::Event message;
  message.set_type(mvccpb::Event::DELETE);
  message.mutable_kv()->set_key("k");
  message.mutable_kv()->set_mod_revision(9);
  message.mutable_prev_kv()->set_value("before");
  const Event event = TakeEvent(&message);
  EXPECT_EQ(event.type, EventType::kDelete);
  EXPECT_EQ(event.kv.key, "k");
  EXPECT_EQ(event.kv.mod_revision, 9);
  EXPECT_EQ(event.prev_kv.value().value, "before");
}

}  // namespace
}  // namespace vellum::rpc
