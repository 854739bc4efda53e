// Requests: bytes to protobuf to the domain's types.
#include "etcdserverpb/rpc.pb.h"
#include "rpc/convert.h"
#include "target.h"

namespace pb = ::etcdserverpb;

std::vector<std::string> Seeds() {
  pb::TxnRequest txn;
  auto* const compare = txn.add_compare();
  compare->set_target(pb::Compare::VALUE);
  compare->set_key("k");
  compare->set_value("v");
  compare->set_range_end("z");
  txn.add_success()->mutable_request_put()->set_key("k");
  txn.add_success()->mutable_request_range()->set_key("k");
  txn.add_failure()->mutable_request_delete_range()->set_key("k");
  txn.add_failure()->mutable_request_txn()->add_success();
  std::string nested;
  for (int depth = 0; depth < 100; ++depth) {
    pb::TxnRequest level;
    if (!level.add_success()->mutable_request_txn()->ParseFromString(nested)) break;
    nested = level.SerializeAsString();
  }
  return {txn.SerializeAsString(), nested};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  pb::TxnRequest message;
  if (!vellum::rpc::ParseTxn(bytes, &message)) return 0;
  const auto request = vellum::rpc::TakeTxn(&message);
  if (!request && request.error().code() != vellum::Code::kInvalidArgument) std::abort();
  return 0;
}
