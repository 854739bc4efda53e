// The encoding of commands. What decodes must decode to the same again after it was encoded.
#include "kv/command.h"
#include "target.h"

using vellum::kv::Command;
using vellum::kv::DecodeCommand;
using vellum::kv::EncodeCommand;

std::vector<std::string> Seeds() {
  vellum::TxnRequest inner;
  vellum::RangeRequest range;
  range.key = "k";
  range.limit = 5;
  vellum::PutRequest put;
  put.key = "key";
  put.value = "value";
  put.lease = -1;
  inner.success.push_back({put});
  inner.failure.push_back({range});
  vellum::TxnRequest outer;
  vellum::Compare compare;
  compare.target = vellum::CompareTarget::kValue;
  compare.key = "k";
  compare.value = "v";
  outer.compares.push_back(compare);
  outer.success.push_back({inner});
  outer.success.push_back({vellum::DeleteRangeRequest{.key = "a", .range_end = "b", .prev_kv = true}});
  return {EncodeCommand(vellum::kv::TxnCommand{outer}),
          EncodeCommand(vellum::kv::PutCommand{put}),
          EncodeCommand(vellum::kv::AlarmCommand{.activate = true, .alarm = vellum::kv::AlarmType::kNoSpace, .member_id = 9}),
          EncodeCommand(vellum::kv::ReclaimCommand{.compacted = 12})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto command = DecodeCommand({reinterpret_cast<const char*>(data), size});
  if (!command) return 0;
  const std::string again = EncodeCommand(*command);
  const auto decoded = DecodeCommand(again);
  if (!decoded || EncodeCommand(*decoded) != again) std::abort();
  return 0;
}
