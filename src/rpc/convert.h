#pragma once

#include <cstdint>
#include <string_view>

#include "etcdserverpb/rpc.pb.h"
#include "vellum/status.h"
#include "vellum/types.h"

/// Protobuf messages <-> the domain's types, field by field, both ways. Nothing is checked here but what the domain's
/// types cannot hold.
namespace vellum::rpc {

namespace pb = ::etcdserverpb;

/// What an enumeration field becomes whose number the protocol does not define. proto3 lets any number through; the
/// domain refuses this one (Reason::kInvalidSort).
inline constexpr std::uint8_t kUnknownNumber = 0xff;

/// Deepest nesting of transactions that is looked at. The budget of operations (128, less at each level) ends before it.
inline constexpr int kTxnDepthMax = 192;

/// Requests, on the server's side. They take the strings out of the message.
RangeRequest TakeRange(pb::RangeRequest* message);
PutRequest TakePut(pb::PutRequest* message);
DeleteRangeRequest TakeDeleteRange(pb::DeleteRangeRequest* message);
/// kInvalidArgument with kTooManyOperations when nested deeper than kTxnDepthMax.
Result<TxnRequest> TakeTxn(pb::TxnRequest* message);

/// Parses a transaction whose nesting may exceed what protobuf accepts by default. False: malformed, or nested
/// absurdly deep.
bool ParseTxn(std::string_view bytes, pb::TxnRequest* message);

/// Requests, on the client's side. `*message` must be empty.
void FillRange(const RangeRequest& request, pb::RangeRequest* message);
void FillPut(const PutRequest& request, pb::PutRequest* message);
void FillDeleteRange(const DeleteRangeRequest& request, pb::DeleteRangeRequest* message);
void FillTxn(const TxnRequest& request, pb::TxnRequest* message);

/// Answers, on the client's side. They take the strings out of the message. (The server writes answers without protobuf:
/// encode.h.)
KeyValue TakeKeyValue(mvccpb::KeyValue* message);
Event TakeEvent(mvccpb::Event* message);
RangeResponse TakeRangeResponse(pb::RangeResponse* message);
PutResponse TakePutResponse(pb::PutResponse* message);
DeleteRangeResponse TakeDeleteRangeResponse(pb::DeleteRangeResponse* message);
/// kInternal for an answer nested deeper than any request may be, or with an empty member.
Result<TxnResponse> TakeTxnResponse(pb::TxnResponse* message);

}  // namespace vellum::rpc
