#include "cli/verbs.h"

#include <CLI/CLI.hpp>

#include <cinttypes>
#include <cstdio>
#include <functional>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "client/client.h"

namespace vellum::cli {
namespace {

constexpr int kDone = 0;
constexpr int kNegative = 1;
constexpr int kFailed = 2;

using Json = nlohmann::ordered_json;

void Print(const std::string& text) { static_cast<void>(std::fwrite(text.data(), 1, text.size(), stdout)); }

int Fail(const Status& status, const std::string& endpoint = {}) {
  const std::string where = endpoint.empty() ? "" : endpoint + ": ";
  std::fprintf(stderr, "vellum: %s%s\n", where.c_str(), status.message().c_str());
  if (status.maybe_applied()) std::fputs("vellum: the write may have taken effect all the same\n", stderr);
  return kFailed;
}

}  // namespace

struct Verbs::Impl {
  struct Verb {
    CLI::App* app;
    std::function<int()> run;
  };

  // As given on the command line.
  std::vector<std::string> endpoints{"127.0.0.1:2379"};
  std::string output = "text";
  double timeout_s = 5;
  std::string key;
  std::string value;
  std::int64_t lease = 0;
  std::int64_t revision = 0;
  std::int64_t limit = 0;
  bool prefix = false;
  bool from_key = false;
  bool keys_only = false;
  bool count_only = false;
  bool previous = false;
  bool physical = false;

  std::vector<Verb> verbs;

  bool json() const { return output == "json"; }
  std::string RangeEnd() const {
    if (prefix) return PrefixEnd(key);
    return from_key ? std::string(kFromKey, 1) : std::string();
  }
  // etcd's convention: every key is after the zero byte, and an empty key is none.
  std::string RangeBegin() const { return key.empty() && (prefix || from_key) ? std::string(1, '\0') : key; }

  Result<std::unique_ptr<client::Client>> Connect(const std::vector<std::string>& to) const {
    client::ClientOptions options;
    options.endpoints = to;
    options.call_timeout = std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
    return client::Client::Connect(std::move(options));
  }

  int WithClient(const std::function<int(client::Client*)>& run) const {
    const Result<std::unique_ptr<client::Client>> client = Connect(endpoints);
    return client.ok() ? run(client->get()) : Fail(client.error());
  }
  // Each endpoint by itself; the worst outcome counts.
  int ForEach(const std::function<int(client::Client*, const std::string&)>& run) const {
    int worst = kDone;
    for (const std::string& endpoint : endpoints) {
      const Result<std::unique_ptr<client::Client>> client = Connect({endpoint});
      worst = std::max(worst, client.ok() ? run(client->get(), endpoint) : Fail(client.error(), endpoint));
    }
    return worst;
  }

  CLI::App* Add(CLI::App* app, const char* name, const char* help, int (Impl::*run)()) {
    CLI::App* const verb = app->add_subcommand(name, help);
    verb->add_option("--endpoint,--endpoints", endpoints, "Where the server is (127.0.0.1:2379)")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->envname("VELLUM_ENDPOINT");
    verb->add_option("-o,--output", output, "text or json")->check(CLI::IsMember({"text", "table", "json"}));
    verb->add_option("--timeout", timeout_s, "Seconds for one call")->check(CLI::Range(0.001, 86400.0));
    verbs.push_back({verb, [this, run] { return (this->*run)(); }});
    return verb;
  }
  void AddRange(CLI::App* verb) {
    verb->add_option("key", key, "The key")->required();
    CLI::Option* const by_prefix = verb->add_flag("--prefix", prefix, "Every key that begins with it");
    verb->add_flag("--from-key", from_key, "Every key from it on")->excludes(by_prefix);
  }

  int Get();
  int Put();
  int Delete();
  int Watch();
  int Compact();
  int Defragment();
  int HashKv();
  int Status();
  int Health();
};

int Verbs::Impl::Get() {
  return WithClient([this](client::Client* client) {
    RangeRequest request;
    request.key = RangeBegin();
    request.range_end = RangeEnd();
    request.revision = revision;
    request.limit = limit;
    request.keys_only = keys_only;
    request.count_only = count_only;
    const Result<RangeResponse> response = client->Range(request);
    if (!response.ok()) return Fail(response.error());
    if (json()) {
      Print(RangeJson(*response) + "\n");
    } else if (count_only) {
      Print(std::to_string(response->count) + "\n");
    } else {
      for (const KeyValue& kv : response->kvs) Print(kv.key + "\n" + (keys_only ? "" : kv.value + "\n"));
    }
    return response->count > 0 ? kDone : kNegative;
  });
}

int Verbs::Impl::Put() {
  if (value == "-") value.assign(std::istreambuf_iterator<char>(std::cin), {});
  return WithClient([this](client::Client* client) {
    PutRequest request;
    request.key = key;
    request.value = value;
    request.lease = lease;
    const Result<PutResponse> response = client->Put(request);
    if (!response.ok()) return Fail(response.error());
    Print(json() ? Json{{"revision", response->revision}}.dump() + "\n"
                 : "revision " + std::to_string(response->revision) + "\n");
    return kDone;
  });
}

int Verbs::Impl::Delete() {
  return WithClient([this](client::Client* client) {
    DeleteRangeRequest request;
    request.key = RangeBegin();
    request.range_end = RangeEnd();
    const Result<DeleteRangeResponse> response = client->DeleteRange(request);
    if (!response.ok()) return Fail(response.error());
    Print(json() ? Json{{"revision", response->revision}, {"deleted", response->deleted}}.dump() + "\n"
                 : std::to_string(response->deleted) + " deleted\n");
    return response->deleted > 0 ? kDone : kNegative;
  });
}

int Verbs::Impl::Watch() {
  return WithClient([this](client::Client* client) {
    const Result<std::unique_ptr<client::WatchStream>> stream = client->Watch();
    if (!stream.ok()) return Fail(stream.error());
    client::WatchRequest request;
    request.key = RangeBegin();
    request.range_end = RangeEnd();
    request.start_revision = revision;
    request.prev_kv = previous;
    (*stream)->Create(request);
    for (;;) {
      const Result<client::WatchResponse> response = (*stream)->Next(std::chrono::hours(1));
      if (!response.ok() && response.error().code() == Code::kDeadlineExceeded) continue;  // nothing happened
      if (!response.ok()) return Fail(response.error());
      for (const Event& event : response->events) {
        if (json()) {
          Print(EventJson(event) + "\n");
          continue;
        }
        const bool put = event.type == EventType::kPut;
        Print(std::to_string(event.kv.mod_revision) + (put ? " PUT " : " DELETE ") + event.kv.key +
              (put ? " " + event.kv.value : "") + (event.prev_kv ? " (was " + event.prev_kv->value + ")" : "") + "\n");
      }
      std::fflush(stdout);
      if (!response->canceled) continue;
      if (response->compact_revision != 0) {
        return Fail(
            OutOfRange("the history before revision " + std::to_string(response->compact_revision) + " is compacted"));
      }
      return Fail(Aborted("the server ended the watch: " + response->cancel_reason));
    }
  });
}

int Verbs::Impl::Compact() {
  return WithClient([this](client::Client* client) {
    const Result<Revision> current = client->Compact(revision, physical);
    if (!current.ok()) return Fail(current.error());
    Print(json() ? Json{{"compacted", revision}, {"revision", *current}}.dump() + "\n"
                 : "compacted up to revision " + std::to_string(revision) + " of " + std::to_string(*current) + "\n");
    return kDone;
  });
}

int Verbs::Impl::Defragment() {
  return ForEach([this](client::Client* client, const std::string& endpoint) {
    const vellum::Status status = client->Defragment();
    if (!status.ok()) return Fail(status, endpoint);
    Print(json() ? Json{{"endpoint", endpoint}, {"defragmented", true}}.dump() + "\n" : endpoint + ": defragmented\n");
    return kDone;
  });
}

int Verbs::Impl::HashKv() {
  return ForEach([this](client::Client* client, const std::string& endpoint) {
    const Result<client::HashKvResponse> hash = client->HashKv(revision);
    if (!hash.ok()) return Fail(hash.error(), endpoint);
    Print(json()
              ? Json{{"endpoint", endpoint},
                     {"hash", hash->hash},
                     {"hash_revision", hash->hash_revision},
                     {"compact_revision", hash->compact_revision}}
                        .dump() +
                    "\n"
              : endpoint + ": " + std::to_string(hash->hash) + " at revision " + std::to_string(hash->hash_revision) +
                    ", compacted up to " + std::to_string(hash->compact_revision) + "\n");
    return kDone;
  });
}

int Verbs::Impl::Status() {
  std::vector<std::vector<std::string>> rows{{"ENDPOINT", "VERSION", "REVISION", "ON DISK", "IN USE", "ERRORS"}};
  Json all = Json::array();
  const int outcome = ForEach([&rows, &all](client::Client* client, const std::string& endpoint) {
    const Result<client::ServerStatus> status = client->GetStatus();
    if (!status.ok()) return Fail(status.error(), endpoint);
    std::string errors;
    for (const std::string& error : status->errors) errors += (errors.empty() ? "" : ", ") + error;
    rows.push_back({endpoint, status->version, std::to_string(status->revision), Bytes(status->db_bytes),
                    Bytes(status->db_bytes_in_use), errors});
    all.push_back({{"endpoint", endpoint},
                   {"version", status->version},
                   {"storage_version", status->storage_version},
                   {"cluster_id", status->cluster_id},
                   {"member_id", status->member_id},
                   {"revision", status->revision},
                   {"db_bytes", status->db_bytes},
                   {"db_bytes_in_use", status->db_bytes_in_use},
                   {"db_quota_bytes", status->db_quota_bytes},
                   {"applied_index", status->applied_index},
                   {"errors", status->errors}});
    return kDone;
  });
  if (json()) {
    Print(all.dump() + "\n");
  } else if (rows.size() > 1) {
    Print(Columns(rows));
  }
  return outcome;
}

int Verbs::Impl::Health() {
  return ForEach([this](client::Client* client, const std::string& endpoint) {
    // What etcdctl does too: a read that must be current, and no alarm.
    RangeRequest request;
    request.key = "health";
    std::string reason;
    const Result<RangeResponse> read = client->Range(request);
    if (!read.ok()) reason = read.error().message();
    const Result<std::vector<client::AlarmInfo>> alarms = client->Alarms();
    if (reason.empty() && !alarms.ok()) reason = alarms.error().message();
    if (reason.empty()) {
      for (const client::AlarmInfo& alarm : *alarms) {
        if (alarm.alarm == client::Alarm::kNoSpace) reason = "alarm NOSPACE";
        if (alarm.alarm == client::Alarm::kCorrupt) reason = "alarm CORRUPT";
      }
    }
    const bool healthy = reason.empty();
    Print(json() ? Json{{"endpoint", endpoint}, {"healthy", healthy}, {"reason", reason}}.dump(
                       -1, ' ', false, Json::error_handler_t::replace) +
                       "\n"
                 : endpoint + (healthy ? ": healthy\n" : ": not healthy: " + reason + "\n"));
    return healthy ? kDone : kNegative;
  });
}

Verbs::Verbs(CLI::App* app) : impl_(std::make_unique<Impl>()) {
  Impl& impl = *impl_;
  impl.Add(app, "status", "What the server says about itself", &Impl::Status);
  impl.Add(app, "health", "Whether the server can be read and has no alarm", &Impl::Health);
  CLI::App* const get = impl.Add(app, "get", "Print keys and values; 1 if there is none", &Impl::Get);
  impl.AddRange(get);
  get->add_option("--rev", impl.revision, "As of this revision");
  get->add_option("--limit", impl.limit, "At most so many");
  get->add_flag("--keys-only", impl.keys_only, "Without values");
  get->add_flag("--count-only", impl.count_only, "Only how many there are");
  CLI::App* const put = impl.Add(app, "put", "Store a value; '-' reads it from standard input", &Impl::Put);
  put->add_option("key", impl.key, "The key")->required();
  put->add_option("value", impl.value, "The value")->required();
  put->add_option("--lease", impl.lease, "The lease that it goes with");
  impl.AddRange(impl.Add(app, "del", "Delete keys; 1 if there was none", &Impl::Delete));
  CLI::App* const watch = impl.Add(app, "watch", "Print changes until interrupted", &Impl::Watch);
  impl.AddRange(watch);
  watch->add_option("--rev", impl.revision, "From this revision on, history first");
  watch->add_flag("--prev", impl.previous, "With what was there before");
  CLI::App* const compact = impl.Add(app, "compact", "Give up the history before a revision", &Impl::Compact);
  compact->add_option("revision", impl.revision, "The oldest revision that stays readable")->required();
  compact->add_flag("--physical", impl.physical, "Wait until its space has been returned");
  impl.Add(app, "defrag", "Return the space of garbage, while serving", &Impl::Defragment);
  impl.Add(app, "hashkv", "The checksum of everything stored, as etcd computes it", &Impl::HashKv)
      ->add_option("--rev", impl.revision, "Up to this revision");
}

Verbs::~Verbs() = default;

std::optional<int> Verbs::Run(const std::vector<std::string>& endpoints) {
  if (!endpoints.empty()) impl_->endpoints = endpoints;
  for (const Impl::Verb& verb : impl_->verbs) {
    if (verb.app->parsed()) return verb.run();
  }
  return std::nullopt;
}

}  // namespace vellum::cli
