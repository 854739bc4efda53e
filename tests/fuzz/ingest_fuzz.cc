// The stream of records that a client sends in: messages in any order, whole records and records in parts.
#include <string_view>

#include "rpc/sync_messages.h"
#include "sync/codec.h"
#include "target.h"

namespace {

namespace v1 = ::vellum::sync::v1;

constexpr std::size_t kRecordBytesMax = 4096;

/// Stores as a generation does, and reads back what it stored.
class CheckingSink final : public vellum::sync::RecordSink {
 public:
  vellum::Status Put(const vellum::sync::RecordView& record) override {
    VELLUM_TRY(vellum::sync::CheckRecord(record));
    std::string key;
    std::string value;
    vellum::sync::AppendRecordKey(&key, record);
    vellum::sync::AppendRecordValue(&value, record);
    const auto stored = vellum::sync::StoredRecord::Parse(key, value);
    if (!stored.ok()) std::abort();
    const vellum::sync::RecordView back = stored->view();
    if (back.type != record.type || back.data != record.data || back.discovered_at != record.discovered_at) std::abort();
    return {};
  }
};

void Append(std::string* input, const v1::WriteRequest& message) {
  const std::string bytes = message.SerializeAsString();
  input->push_back(static_cast<char>(bytes.size() >> 8));
  input->push_back(static_cast<char>(bytes.size() & 0xFF));
  *input += bytes;
}

}  // namespace

std::vector<std::string> Seeds() {
  v1::WriteRequest start;
  start.mutable_start()->mutable_run()->set_id("s1");
  v1::WriteRequest records;
  v1::Record* const grant = records.mutable_records()->add_records();
  grant->set_type(v1::Record::GRANT);
  grant->set_discovered_at(5);
  grant->set_id("g");
  grant->set_resource_type("group");
  grant->set_resource("g1");
  grant->set_entitlement("group:g1:member");
  grant->set_principal_type("user");
  grant->set_principal("alice");
  v1::WriteRequest part;
  part.set_part("the beginning of ");
  v1::WriteRequest asset;
  v1::Record* const logo = asset.mutable_records()->add_records();
  logo->set_type(v1::Record::ASSET);
  logo->set_id("logo");
  logo->set_data("an image");
  v1::WriteRequest checkpoint;
  checkpoint.mutable_checkpoint()->set_token("page 1");
  v1::WriteRequest seal;
  seal.mutable_seal()->set_ended_at(9);
  std::string input;
  for (const v1::WriteRequest* message : {&start, &records, &part, &asset, &checkpoint, &seal}) Append(&input, *message);
  return {input};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  vellum::rpc::RecordTaker taker(kRecordBytesMax);
  CheckingSink sink;
  while (input.size() >= 2) {
    const std::size_t promised = static_cast<std::size_t>(static_cast<std::uint8_t>(input[0])) << 8 |
                                 static_cast<std::uint8_t>(input[1]);
    input.remove_prefix(2);
    const std::string_view bytes = input.substr(0, promised);
    input.remove_prefix(bytes.size());
    v1::WriteRequest message;
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return 0;
    vellum::Status taken;
    if (message.has_records()) taken = taker.TakeBatch(message.records(), &sink);
    if (message.has_part()) taken = taker.TakePart(message.part());
    if (message.has_checkpoint()) taken = taker.CheckNothingWaits("a checkpoint");
    if (!taken.ok() && taken.code() != vellum::Code::kInvalidArgument) std::abort();
    if (!taken.ok()) return 0;
  }
  return 0;
}
