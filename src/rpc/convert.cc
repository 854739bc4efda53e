#include "rpc/convert.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/repeated_ptr_field.h>

#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace vellum::rpc {
namespace {

template <typename Enum>
Enum EnumOr(int number, int last, std::uint8_t otherwise) {
  const bool known = number >= 0 && number <= last;
  return static_cast<Enum>(known ? static_cast<std::uint8_t>(number) : otherwise);
}

// An operand that does not belong to the target counts as absent: 0, or no bytes.
Compare TakeCompare(pb::Compare* message) {
  Compare compare;
  compare.result = EnumOr<CompareResult>(message->result(), pb::Compare::NOT_EQUAL,
                                         static_cast<std::uint8_t>(CompareResult::kAlwaysTrue));
  compare.target = EnumOr<CompareTarget>(message->target(), pb::Compare::LEASE, kUnknownNumber);
  compare.key = std::move(*message->mutable_key());
  compare.range_end = std::move(*message->mutable_range_end());
  switch (compare.target) {
    case CompareTarget::kVersion:
      compare.number = message->version();
      break;
    case CompareTarget::kCreate:
      compare.number = message->create_revision();
      break;
    case CompareTarget::kMod:
      compare.number = message->mod_revision();
      break;
    case CompareTarget::kValue:
      if (message->has_value()) compare.value = std::move(*message->mutable_value());
      break;
    case CompareTarget::kLease:
      compare.number = message->lease();
      break;
    default:
      // A target that nobody defined selects nothing, which etcd takes for equal: so "equal" holds and the rest do not,
      // except for an equally unknown result. No version is below the least number.
      compare.target = CompareTarget::kVersion;
      if (compare.result == CompareResult::kEqual) {
        compare.result = CompareResult::kAlwaysTrue;
      } else if (compare.result != CompareResult::kAlwaysTrue) {
        compare.result = CompareResult::kLess;
        compare.number = std::numeric_limits<std::int64_t>::min();
      }
      break;
  }
  return compare;
}

Result<TxnRequest> TakeTxnAt(pb::TxnRequest* message, int depth);

Status TakeOperations(google::protobuf::RepeatedPtrField<pb::RequestOp>* from, int depth, std::vector<TxnOp>* to) {
  to->reserve(static_cast<std::size_t>(from->size()));
  for (pb::RequestOp& operation : *from) {
    TxnOp& op = to->emplace_back();
    switch (operation.request_case()) {
      case pb::RequestOp::kRequestRange:
        op.request = TakeRange(operation.mutable_request_range());
        break;
      case pb::RequestOp::kRequestPut:
        op.request = TakePut(operation.mutable_request_put());
        break;
      case pb::RequestOp::kRequestDeleteRange:
        op.request = TakeDeleteRange(operation.mutable_request_delete_range());
        break;
      case pb::RequestOp::kRequestTxn: {
        VELLUM_ASSIGN_OR_RETURN(TxnRequest nested, TakeTxnAt(operation.mutable_request_txn(), depth + 1));
        op.request = std::move(nested);
        break;
      }
      case pb::RequestOp::REQUEST_NOT_SET:
        break;
    }
  }
  return {};
}

Result<TxnRequest> TakeTxnAt(pb::TxnRequest* message, int depth) {
  if (depth > kTxnDepthMax) {
    return InvalidArgument("a transaction is nested more than " + std::to_string(kTxnDepthMax) + " levels deep",
                           Reason::kTooManyOperations);
  }
  TxnRequest request;
  request.compares.reserve(static_cast<std::size_t>(message->compare_size()));
  for (pb::Compare& compare : *message->mutable_compare()) request.compares.push_back(TakeCompare(&compare));
  VELLUM_TRY(TakeOperations(message->mutable_success(), depth, &request.success));
  VELLUM_TRY(TakeOperations(message->mutable_failure(), depth, &request.failure));
  return request;
}

void FillCompare(const Compare& compare, pb::Compare* message) {
  message->set_result(static_cast<pb::Compare::CompareResult>(compare.result));
  message->set_target(static_cast<pb::Compare::CompareTarget>(compare.target));
  message->set_key(compare.key);
  message->set_range_end(compare.range_end);
  switch (compare.target) {
    case CompareTarget::kVersion:
      message->set_version(compare.number);
      break;
    case CompareTarget::kCreate:
      message->set_create_revision(compare.number);
      break;
    case CompareTarget::kMod:
      message->set_mod_revision(compare.number);
      break;
    case CompareTarget::kValue:
      message->set_value(compare.value);
      break;
    case CompareTarget::kLease:
      message->set_lease(compare.number);
      break;
  }
}

void FillOperations(const std::vector<TxnOp>& from, google::protobuf::RepeatedPtrField<pb::RequestOp>* to) {
  for (const TxnOp& op : from) {
    pb::RequestOp* operation = to->Add();
    if (const auto* range = std::get_if<RangeRequest>(&op.request)) {
      FillRange(*range, operation->mutable_request_range());
    } else if (const auto* put = std::get_if<PutRequest>(&op.request)) {
      FillPut(*put, operation->mutable_request_put());
    } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.request)) {
      FillDeleteRange(*erase, operation->mutable_request_delete_range());
    } else if (const auto* nested = std::get_if<TxnRequest>(&op.request)) {
      FillTxn(*nested, operation->mutable_request_txn());
    }
  }
}

Result<TxnResponse> TakeTxnResponseAt(pb::TxnResponse* message, int depth) {
  if (depth > kTxnDepthMax) return Internal("a transaction's answer is nested deeper than any request may be");
  TxnResponse response;
  response.revision = message->header().revision();
  response.succeeded = message->succeeded();
  response.responses.reserve(static_cast<std::size_t>(message->responses_size()));
  for (pb::ResponseOp& operation : *message->mutable_responses()) {
    TxnOpResponse& op = response.responses.emplace_back();
    switch (operation.response_case()) {
      case pb::ResponseOp::kResponseRange:
        op.response = TakeRangeResponse(operation.mutable_response_range());
        break;
      case pb::ResponseOp::kResponsePut:
        op.response = TakePutResponse(operation.mutable_response_put());
        break;
      case pb::ResponseOp::kResponseDeleteRange:
        op.response = TakeDeleteRangeResponse(operation.mutable_response_delete_range());
        break;
      case pb::ResponseOp::kResponseTxn: {
        VELLUM_ASSIGN_OR_RETURN(TxnResponse nested, TakeTxnResponseAt(operation.mutable_response_txn(), depth + 1));
        op.response = std::move(nested);
        break;
      }
      case pb::ResponseOp::RESPONSE_NOT_SET:
        return Internal("a transaction's answer lacks the answer of one of its operations");
    }
  }
  return response;
}

std::vector<KeyValue> TakeKeyValues(google::protobuf::RepeatedPtrField<mvccpb::KeyValue>* from) {
  std::vector<KeyValue> kvs;
  kvs.reserve(static_cast<std::size_t>(from->size()));
  for (mvccpb::KeyValue& kv : *from) kvs.push_back(TakeKeyValue(&kv));
  return kvs;
}

}  // namespace

RangeRequest TakeRange(pb::RangeRequest* message) {
  RangeRequest request;
  request.key = std::move(*message->mutable_key());
  request.range_end = std::move(*message->mutable_range_end());
  request.limit = message->limit();
  request.revision = message->revision();
  request.sort_order = EnumOr<SortOrder>(message->sort_order(), pb::RangeRequest::DESCEND, kUnknownNumber);
  request.sort_target = EnumOr<SortTarget>(message->sort_target(), pb::RangeRequest::VALUE, kUnknownNumber);
  request.serializable = message->serializable();
  request.keys_only = message->keys_only();
  request.count_only = message->count_only();
  request.min_mod_revision = message->min_mod_revision();
  request.max_mod_revision = message->max_mod_revision();
  request.min_create_revision = message->min_create_revision();
  request.max_create_revision = message->max_create_revision();
  return request;
}

PutRequest TakePut(pb::PutRequest* message) {
  PutRequest request;
  request.key = std::move(*message->mutable_key());
  request.value = std::move(*message->mutable_value());
  request.lease = message->lease();
  request.prev_kv = message->prev_kv();
  request.ignore_value = message->ignore_value();
  request.ignore_lease = message->ignore_lease();
  return request;
}

DeleteRangeRequest TakeDeleteRange(pb::DeleteRangeRequest* message) {
  DeleteRangeRequest request;
  request.key = std::move(*message->mutable_key());
  request.range_end = std::move(*message->mutable_range_end());
  request.prev_kv = message->prev_kv();
  return request;
}

Result<TxnRequest> TakeTxn(pb::TxnRequest* message) { return TakeTxnAt(message, 1); }

bool ParseTxn(std::string_view bytes, pb::TxnRequest* message) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) return false;
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  // A level of nesting is two messages. Twice what TakeTxn looks at, so that a transaction that is merely too deep
  // gets the answer that says so.
  input.SetRecursionLimit(4 * kTxnDepthMax);
  return message->ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
}

void FillRange(const RangeRequest& request, pb::RangeRequest* message) {
  message->set_key(request.key);
  message->set_range_end(request.range_end);
  message->set_limit(request.limit);
  message->set_revision(request.revision);
  message->set_sort_order(static_cast<pb::RangeRequest::SortOrder>(request.sort_order));
  message->set_sort_target(static_cast<pb::RangeRequest::SortTarget>(request.sort_target));
  message->set_serializable(request.serializable);
  message->set_keys_only(request.keys_only);
  message->set_count_only(request.count_only);
  message->set_min_mod_revision(request.min_mod_revision);
  message->set_max_mod_revision(request.max_mod_revision);
  message->set_min_create_revision(request.min_create_revision);
  message->set_max_create_revision(request.max_create_revision);
}

void FillPut(const PutRequest& request, pb::PutRequest* message) {
  message->set_key(request.key);
  message->set_value(request.value);
  message->set_lease(request.lease);
  message->set_prev_kv(request.prev_kv);
  message->set_ignore_value(request.ignore_value);
  message->set_ignore_lease(request.ignore_lease);
}

void FillDeleteRange(const DeleteRangeRequest& request, pb::DeleteRangeRequest* message) {
  message->set_key(request.key);
  message->set_range_end(request.range_end);
  message->set_prev_kv(request.prev_kv);
}

void FillTxn(const TxnRequest& request, pb::TxnRequest* message) {
  for (const Compare& compare : request.compares) FillCompare(compare, message->add_compare());
  FillOperations(request.success, message->mutable_success());
  FillOperations(request.failure, message->mutable_failure());
}

KeyValue TakeKeyValue(mvccpb::KeyValue* message) {
  KeyValue kv;
  kv.key = std::move(*message->mutable_key());
  kv.create_revision = message->create_revision();
  kv.mod_revision = message->mod_revision();
  kv.version = message->version();
  kv.value = std::move(*message->mutable_value());
  kv.lease = message->lease();
  return kv;
}

Event TakeEvent(mvccpb::Event* message) {
  Event event;
  event.type = message->type() == mvccpb::Event::DELETE ? EventType::kDelete : EventType::kPut;
  event.kv = TakeKeyValue(message->mutable_kv());
  if (message->has_prev_kv()) event.prev_kv = TakeKeyValue(message->mutable_prev_kv());
  return event;
}

RangeResponse TakeRangeResponse(pb::RangeResponse* message) {
  RangeResponse response;
  response.revision = message->header().revision();
  response.kvs = TakeKeyValues(message->mutable_kvs());
  response.more = message->more();
  response.count = message->count();
  return response;
}

PutResponse TakePutResponse(pb::PutResponse* message) {
  PutResponse response;
  response.revision = message->header().revision();
  if (message->has_prev_kv()) response.prev_kv = TakeKeyValue(message->mutable_prev_kv());
  return response;
}

DeleteRangeResponse TakeDeleteRangeResponse(pb::DeleteRangeResponse* message) {
  DeleteRangeResponse response;
  response.revision = message->header().revision();
  response.deleted = message->deleted();
  response.prev_kvs = TakeKeyValues(message->mutable_prev_kvs());
  return response;
}

Result<TxnResponse> TakeTxnResponse(pb::TxnResponse* message) { return TakeTxnResponseAt(message, 1); }

}  // namespace vellum::rpc
