#include "rpc/maintenance_service.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "kv/view.h"
#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

using ContextPtr = std::shared_ptr<const wire::CallContext>;

std::string_view AlarmName(kv::AlarmType alarm) {
  switch (alarm) {
    case kv::AlarmType::kNone:
      return "NONE";
    case kv::AlarmType::kNoSpace:
      return "NOSPACE";
    case kv::AlarmType::kCorrupt:
      return "CORRUPT";
  }
  return "UNKNOWN";
}

void FillAlarms(const std::vector<kv::AlarmEntry>& alarms, pb::AlarmType only, pb::AlarmResponse* response) {
  for (const kv::AlarmEntry& entry : alarms) {
    const auto type = static_cast<pb::AlarmType>(entry.alarm);
    if (only != pb::NONE && only != type) continue;
    pb::AlarmMember* member = response->add_alarms();
    member->set_memberid(entry.member_id);
    member->set_alarm(type);
  }
}

// In a worker: numbers of the storage may take locks that an event loop must not wait for.
void RunShort(const CorePtr& core, const Reply& reply, std::function<void()> work) {
  const Status submitted = core->context.reads->Submit(std::move(work));
  if (!submitted.ok()) reply.Fail(submitted);
}

void ServerStatus(const CorePtr& core, const Reply& reply) {
  RunShort(core, reply, [core, reply] {
    const kv::Engine::Info info = core->engine().GetInfo();
    const Identity& identity = core->context.identity;
    const DbSize size = ToDbSize(info);
    pb::StatusResponse response;
    core->FillHeader(info.revision, response.mutable_header());
    response.set_version(identity.server_version);
    response.set_dbsize(size.total);
    response.set_dbsizeinuse(size.in_use);
    response.set_leader(identity.member_id);
    response.set_raftindex(info.applied_index);
    response.set_raftappliedindex(info.applied_index);
    response.set_raftterm(identity.raft_term);
    response.set_storageversion(identity.storage_version);
    response.set_dbsizequota(core->engine().ShownQuota());
    response.mutable_downgradeinfo();
    for (const kv::AlarmEntry& entry : info.alarms) {
      // With the blank at the end that clients of etcd see there, and without a member that is 0.
      const std::string member = entry.member_id == 0 ? "" : "memberID:" + std::to_string(entry.member_id) + " ";
      response.add_errors(member + "alarm:" + std::string(AlarmName(entry.alarm)) + " ");
    }
    if (!info.writer.ok()) response.add_errors(ToWire(info.writer).message());
    reply.Finish(response);
  });
}

void ListAlarms(const CorePtr& core, pb::AlarmType only, const Reply& reply) {
  RunShort(core, reply, [core, only, reply] {
    const kv::Engine::Info info = core->engine().GetInfo();
    pb::AlarmResponse response;
    core->FillHeader(info.revision, response.mutable_header());
    FillAlarms(info.alarms, only, &response);
    reply.Finish(response);
  });
}

void Alarm(const CorePtr& core, const pb::AlarmRequest& message, const Reply& reply) {
  if (message.action() == pb::AlarmRequest::GET) {
    ListAlarms(core, message.alarm(), reply);
    return;
  }
  const bool change = message.action() == pb::AlarmRequest::ACTIVATE || message.action() == pb::AlarmRequest::DEACTIVATE;
  if (!change || (message.alarm() != pb::NOSPACE && message.alarm() != pb::CORRUPT)) {
    // Nothing that could be switched: a success that did nothing.
    pb::AlarmResponse response;
    core->FillHeader(core->CurrentRevision(), response.mutable_header());
    reply.Finish(response);
    return;
  }
  kv::AlarmCommand command;
  command.activate = message.action() == pb::AlarmRequest::ACTIVATE;
  command.alarm = static_cast<kv::AlarmType>(message.alarm());
  command.member_id = message.memberid();
  core->engine().Propose(command, [core, reply](Result<kv::CommandResult> result) {
    if (!result.ok()) {
      reply.Fail(result.error());
      return;
    }
    const auto& changed = std::get<kv::AlarmResult>(*result);
    pb::AlarmResponse response;
    core->FillHeader(changed.revision, response.mutable_header());
    FillAlarms(changed.alarms, pb::NONE, &response);
    reply.Finish(response);
  });
}

void Defragment(const CorePtr& core, const Reply& reply) {
  core->engine().Defragment([reply](Status status) {
    if (status.ok()) {
      reply.Finish(pb::DefragmentResponse());
    } else {
      reply.Fail(status);
    }
  });
}

// Hashes `revision` in the lane for long work and answers with `answer`.
void RunHash(const CorePtr& core, const ContextPtr& context, Revision revision, const Reply& reply,
             std::function<void(Revision current, const kv::HashResult&)> answer) {
  const Status submitted = core->context.long_reads->Submit([core, context, revision, reply, answer = std::move(answer)] {
    const auto view = core->engine().CurrentView();
    const auto hash = kv::HashKeyValues(*view, revision, &context->cancelled);
    if (hash.ok()) {
      answer(view->revision(), *hash);
    } else {
      reply.Fail(hash.error());
    }
  });
  if (!submitted.ok()) reply.Fail(submitted);
}

void Hash(const CorePtr& core, const ContextPtr& context, const Reply& reply) {
  // The protocol's hash is of etcd's files, which nothing else can have; what identifies the content here is HashKV's.
  RunHash(core, context, 0, reply, [core, reply](Revision current, const kv::HashResult& hash) {
    pb::HashResponse response;
    core->FillHeader(current, response.mutable_header());
    response.set_hash(hash.hash);
    reply.Finish(response);
  });
}

void HashKv(const CorePtr& core, const ContextPtr& context, Revision revision, const Reply& reply) {
  RunHash(core, context, revision, reply, [core, reply](Revision current, const kv::HashResult& hash) {
    pb::HashKVResponse response;
    core->FillHeader(current, response.mutable_header());
    response.set_hash(hash.hash);
    response.set_compact_revision(hash.compact_revision);
    response.set_hash_revision(hash.hash_revision);
    reply.Finish(response);
  });
}

void MoveLeader(const CorePtr& core, std::uint64_t target, const Reply& reply) {
  // There is one member, and it leads: moving the lead to it is done already, and nobody else could take it.
  if (target == core->ids.member_id) {
    reply.Finish(pb::MoveLeaderResponse());
  } else {
    reply.Fail(EtcdError::kBadLeaderTransferee);
  }
}

struct MinorVersion {
  int major = 0;
  int minor = 0;
  friend bool operator==(const MinorVersion&, const MinorVersion&) = default;
};

std::optional<int> TakeNumber(std::string_view* text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || text->empty() || text->front() == '-') return std::nullopt;
  text->remove_prefix(static_cast<std::size_t>(end - text->data()));
  return number;
}

// "3.5" or a semantic version, of which the rest does not matter.
std::optional<MinorVersion> ParseVersion(std::string_view text) {
  MinorVersion version;
  const auto major = TakeNumber(&text);
  if (!major || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  const auto minor = TakeNumber(&text);
  if (!minor) return std::nullopt;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!TakeNumber(&text)) return std::nullopt;
    if (!text.empty() && text.front() != '-' && text.front() != '+') return std::nullopt;
  } else if (!text.empty()) {
    return std::nullopt;
  }
  version.major = *major;
  version.minor = *minor;
  return version;
}

void Downgrade(const CorePtr& core, const pb::DowngradeRequest& message, const Reply& reply) {
  const MinorVersion own = ParseVersion(core->context.identity.cluster_version).value_or(MinorVersion{});
  pb::DowngradeResponse response;
  core->FillHeader(core->CurrentRevision(), response.mutable_header());
  response.set_version(std::to_string(own.major) + "." + std::to_string(own.minor));
  switch (message.action()) {
    case pb::DowngradeRequest::CANCEL:
      // No downgrade is ever under way; etcd 3.6 takes that for success.
      reply.Finish(response);
      return;
    case pb::DowngradeRequest::VALIDATE:
    case pb::DowngradeRequest::ENABLE:
      break;
    default:
      reply.Fail(Status(Code::kUnknown, "unknown method"));
      return;
  }
  const auto target = ParseVersion(message.version());
  if (!target) {
    reply.Fail(EtcdError::kDowngradeBadFormat);
  } else if (*target != MinorVersion{own.major, own.minor - 1}) {
    reply.Fail(EtcdError::kDowngradeBadVersion);
  } else if (message.action() == pb::DowngradeRequest::VALIDATE) {
    reply.Finish(response);
  } else {
    reply.Fail(Unimplemented("a data directory of this server cannot be opened by an older etcd"));
  }
}

}  // namespace

DbSize ToDbSize(const kv::Engine::Info& info) {
  DbSize size;
  size.total = static_cast<std::int64_t>(info.sizes.total());
  size.in_use = static_cast<std::int64_t>(info.sizes.in_use());
  return size;
}

void RegisterMaintenance(const CorePtr& core, wire::ServiceTable* table) {
  const std::string service = "/etcdserverpb.Maintenance/";
  AddUnary<pb::StatusRequest>(
      table, core, service + "Status",
      [core](ContextPtr, pb::StatusRequest*, std::string_view, Reply reply) { ServerStatus(core, reply); });
  AddUnary<pb::AlarmRequest>(table, core, service + "Alarm",
                             [core](ContextPtr, pb::AlarmRequest* message, std::string_view, Reply reply) {
                               Alarm(core, *message, reply);
                             });
  AddUnary<pb::DefragmentRequest>(
      table, core, service + "Defragment",
      [core](ContextPtr, pb::DefragmentRequest*, std::string_view, Reply reply) { Defragment(core, reply); });
  AddUnary<pb::HashRequest>(
      table, core, service + "Hash",
      [core](ContextPtr context, pb::HashRequest*, std::string_view, Reply reply) { Hash(core, context, reply); });
  AddUnary<pb::HashKVRequest>(table, core, service + "HashKV",
                              [core](ContextPtr context, pb::HashKVRequest* message, std::string_view, Reply reply) {
                                HashKv(core, context, message->revision(), reply);
                              });
  AddUnary<pb::MoveLeaderRequest>(table, core, service + "MoveLeader",
                                  [core](ContextPtr, pb::MoveLeaderRequest* message, std::string_view, Reply reply) {
                                    MoveLeader(core, message->targetid(), reply);
                                  });
  AddUnary<pb::DowngradeRequest>(table, core, service + "Downgrade",
                                 [core](ContextPtr, pb::DowngradeRequest* message, std::string_view, Reply reply) {
                                   Downgrade(core, *message, reply);
                                 });
}

}  // namespace vellum::rpc
