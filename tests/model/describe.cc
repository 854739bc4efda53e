#include <sstream>

#include "base/bytes.h"
#include "model/reference.h"

// Answers as text.
namespace vellum::model {
namespace {

class Describer {
 public:
  std::string str() const { return out_.str(); }

  void operator()(const KeyValue& kv) {
    out_ << Printable(kv.key) << "=" << Printable(kv.value) << "{c" << kv.create_revision << " m" << kv.mod_revision
         << " v" << kv.version << " l" << kv.lease << "}";
  }
  void operator()(const std::vector<KeyValue>& kvs) {
    out_ << "[";
    for (const KeyValue& kv : kvs) {
      (*this)(kv);
      out_ << " ";
    }
    out_ << "]";
  }
  void operator()(const PutResponse& response) {
    out_ << "put r" << response.revision;
    if (response.prev_kv) (*this)(*response.prev_kv);
  }
  void operator()(const DeleteRangeResponse& response) {
    out_ << "delete r" << response.revision << " n" << response.deleted;
    (*this)(response.prev_kvs);
  }
  void operator()(const RangeResponse& response) {
    out_ << "range r" << response.revision << " n" << response.count << (response.more ? " more" : "");
    (*this)(response.kvs);
  }
  void operator()(const TxnResponse& response) {
    out_ << "txn r" << response.revision << (response.succeeded ? " yes(" : " no(");
    for (const TxnOpResponse& op : response.responses) {
      std::visit(*this, op.response);
      out_ << "; ";
    }
    out_ << ")";
  }
  void operator()(const kv::CompactResult& result) { out_ << "compact r" << result.revision; }
  void operator()(const LeaseGrantResponse& response) {
    out_ << "grant r" << response.revision << " id" << response.id << " ttl" << response.ttl_s;
  }
  void operator()(const kv::LeaseRevokeResult& result) { out_ << "revoke r" << result.revision; }
  void operator()(const kv::LeaseExpireResult& result) { out_ << "expire r" << result.revision << " n" << result.expired; }
  void operator()(const kv::AlarmResult& result) { out_ << "alarm r" << result.revision << " n" << result.alarms.size(); }
  void operator()(const kv::Applied& result) { out_ << "applied r" << result.revision; }
  void operator()(const Event& event) {
    out_ << (event.type == EventType::kPut ? "PUT " : "DELETE ");
    (*this)(event.kv);
    if (event.prev_kv) {
      out_ << " was ";
      (*this)(*event.prev_kv);
    }
    out_ << "\n";
  }
  void operator()(const Status& status) {
    out_ << "error " << CodeName(status.code()) << " " << static_cast<int>(status.reason());
  }

 private:
  std::ostringstream out_;
};

}  // namespace

std::string Describe(const Result<kv::CommandResult>& result) {
  Describer describer;
  result.ok() ? std::visit([&](const auto& answer) { describer(answer); }, *result) : describer(result.error());
  return describer.str();
}

std::string Describe(const Result<RangeResponse>& response) {
  Describer describer;
  response.ok() ? describer(*response) : describer(response.error());
  return describer.str();
}

std::string Describe(const State& state) {
  Describer describer;
  for (const auto& [key, kv] : state) describer(kv);
  return describer.str();
}

std::string Describe(const std::vector<Event>& events) {
  Describer describer;
  for (const Event& event : events) describer(event);
  return describer.str();
}

}  // namespace vellum::model
