#include "rpc/kv_service.h"

#include <chrono>
#include <utility>
#include <variant>

#include "kv/operations.h"
#include "kv/validate.h"
#include "kv/view.h"
#include "rpc/catalog_guard.h"
#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

using ContextPtr = std::shared_ptr<const wire::CallContext>;

// What the log adds to a marshalled request: its field's tag and length, and a header with an id.
constexpr std::size_t kEnvelopeBytes = 20;
// Ranges over more keys than this run in the lane for long work.
constexpr std::int64_t kLongRangeKeys = 10'000;
// Answers with more pairs than this are put on the wire by a worker instead of the applier's thread.
constexpr std::size_t kLongAnswerKvs = 64;

double SecondsSince(const Clock& clock, Clock::TimePoint start) {
  return std::chrono::duration<double>(clock.Now() - start).count();
}

// How many keys a range may have to look at: from the count tree alone, without reading anything.
std::int64_t EstimateKeys(const kv::View& view, const RangeRequest& request) {
  if (request.range_end.empty()) return 1;
  const auto interval = kv::KeyInterval::FromRequest(request.key, request.range_end);
  const bool old = request.revision > 0 && request.revision < view.revision();
  if (request.count_only && !old) return 0;
  const std::int64_t whole = kv::CountTree::Split(view.count_root(), interval).whole;
  const bool everything = request.sort_target != SortTarget::kKey || request.sort_order == SortOrder::kDescend ||
                          request.min_mod_revision != 0 || request.max_mod_revision != 0 ||
                          request.min_create_revision != 0 || request.max_create_revision != 0;
  if (request.limit > 0 && !everything) return std::min(whole, request.limit);
  return whole;
}

std::int64_t EstimateKeys(const kv::View& view, const TxnRequest& request) {
  std::int64_t keys = 0;
  for (const Compare& compare : request.compares) {
    if (compare.range_end.empty()) continue;
    keys += kv::CountTree::Split(view.count_root(), kv::KeyInterval::FromRequest(compare.key, compare.range_end)).whole;
  }
  for (const auto* branch : {&request.success, &request.failure}) {
    for (const TxnOp& op : *branch) {
      if (const auto* range = std::get_if<RangeRequest>(&op.request)) keys += EstimateKeys(view, *range);
    }
  }
  return keys;
}

// Runs `work` in the lane that fits, or answers that there are too many requests.
void RunRead(const CorePtr& core, std::int64_t keys, const Reply& reply, std::function<void()> work) {
  WorkerPool* pool = keys > kLongRangeKeys ? core->context.long_reads : core->context.reads;
  const Status submitted = pool->Submit(std::move(work));
  if (!submitted.ok()) reply.Fail(submitted);
}

void AnswerRange(Core* core, Clock::TimePoint start, Result<RangeResponse> response, const Reply& reply) {
  core->range_total.Increment();
  (response.ok() ? core->range_seconds_ok : core->range_seconds_failed).Observe(SecondsSince(*core->context.clock, start));
  if (response.ok()) {
    reply.Finish(EncodeRangeResponse(core->ids, *std::move(response)));
  } else {
    reply.Fail(response.error());
  }
}

void Range(const CorePtr& core, const ContextPtr& context, pb::RangeRequest* message, const Reply& reply) {
  RangeRequest request = TakeRange(message);
  const Status checked = kv::CheckRange(request);
  if (!checked.ok()) {
    reply.Fail(checked);
    return;
  }
  const auto start = core->context.clock->Now();
  const auto view = core->engine().CurrentView();
  if (request.range_end.empty()) {
    // One key that memory has: answered here, which saves two changes of thread.
    auto found = kv::ReadKeyFromMemory(*view, request);
    if (!found.ok()) {
      AnswerRange(core.get(), start, std::move(found).error(), reply);
      return;
    }
    if (*found) {
      AnswerRange(core.get(), start, **std::move(found), reply);
      return;
    }
  }
  RunRead(core, EstimateKeys(*view, request), reply, [core, context, reply, start, request = std::move(request)] {
    // Not the view from before the queue: the answer is to be as new as it can be.
    const auto newest = core->engine().CurrentView();
    AnswerRange(core.get(), start, kv::ReadRange(*newest, request, &context->cancelled), reply);
  });
}

// Refuses a request that is too large; as etcd does, only after everything else that can be said about it was checked.
bool RefuseLarge(const CorePtr& core, std::size_t bytes, const Status& checked, const Reply& reply) {
  if (!ExceedsRequestLimit(core->context.limits, bytes)) return false;
  if (checked.ok()) {
    reply.Fail(EtcdError::kRequestTooLarge);
  } else {
    reply.Fail(checked);
  }
  return true;
}

// Proposes a command and answers with `encode` of the one result that belongs to it.
template <typename Response>
void Propose(const CorePtr& core, const wire::CallContext& context, kv::Command command, const Reply& reply,
             wire::Message (*encode)(const HeaderIds&, Response&&), std::size_t (*kvs)(const Response&)) {
  auto answer = [core, reply, encode, kvs](Result<kv::CommandResult> result) {
    if (!result.ok()) {
      reply.Fail(result.error());
      return;
    }
    auto* response = std::get_if<Response>(&*result);
    if (response == nullptr) {
      reply.Fail(Internal("a command was answered with another one's result"));
      return;
    }
    if (kvs(*response) <= kLongAnswerKvs) {
      reply.Finish(encode(core->ids, std::move(*response)));
      return;
    }
    // The change has happened: when the pool is full the answer is made here after all.
    auto shared = std::make_shared<Response>(std::move(*response));
    const Status submitted = core->context.reads->Submit(
        [core, reply, encode, shared] { reply.Finish(encode(core->ids, std::move(*shared))); });
    if (!submitted.ok()) reply.Finish(encode(core->ids, std::move(*shared)));
  };
  using Caller = kv::CommitLog::Caller;
  core->engine().Propose(std::move(command), std::move(answer),
                         context.may_block ? Caller::kMayBlock : Caller::kMustNotBlock);
}

void Put(const CorePtr& core, const wire::CallContext& context, pb::PutRequest* message, std::size_t bytes,
         const Reply& reply) {
  if (IsGuarded(message->key())) {
    reply.FailAsIs(RefusePut(message->key()));
    return;
  }
  kv::PutCommand command{TakePut(message)};
  if (RefuseLarge(core, bytes, kv::CheckPut(command.request), reply)) return;
  Propose<PutResponse>(core, context, std::move(command), reply, EncodePutResponse,
                       [](const PutResponse&) { return std::size_t{0}; });
}

// Runs an operation that may delete keys of the catalog: refused if one of them exists, else on the condition that none does
// when it is applied. `answer` gets the operation's own response.
void RunGuarded(const CorePtr& core, TxnOp operation, const std::vector<const DeleteRangeRequest*>& deletes,
                const Reply& reply, const std::function<void(Revision, TxnOpResponse)>& answer) {
  const auto view = core->engine().CurrentView();
  for (const DeleteRangeRequest* each : deletes) {
    const Status checked = CheckDelete(*view, *each);
    if (checked.code() == Code::kPermissionDenied) return reply.FailAsIs(checked);
    if (!checked.ok()) return reply.Fail(checked);
  }
  core->engine().Propose(kv::TxnCommand{OnlyWithoutCatalog(std::move(operation), deletes)},
                         [reply, answer](Result<kv::CommandResult> result) {
                           if (!result.ok()) return reply.Fail(result.error());
                           auto& response = std::get<TxnResponse>(*result);
                           if (!response.succeeded || response.responses.empty()) return reply.FailAsIs(RefuseMeanwhile());
                           answer(response.revision, std::move(response.responses.front()));
                         });
}

void GuardedDeleteRange(const CorePtr& core, DeleteRangeRequest request, const Reply& reply) {
  const Status submitted = core->context.reads->Submit([core, reply, request = std::move(request)] {
    RunGuarded(core, TxnOp{request}, {&request}, reply, [core, reply](Revision revision, TxnOpResponse operation) {
      auto response = std::get<DeleteRangeResponse>(std::move(operation.response));
      response.revision = revision;
      reply.Finish(EncodeDeleteRangeResponse(core->ids, std::move(response)));
    });
  });
  if (!submitted.ok()) reply.Fail(submitted);
}

void GuardedTxn(const CorePtr& core, TxnRequest request, const Reply& reply) {
  auto shared = std::make_shared<const TxnRequest>(std::move(request));
  const Status submitted = core->context.reads->Submit([core, reply, shared] {
    RunGuarded(core, TxnOp{*shared}, FindGuarded(*shared).deletes, reply,
               [core, reply](Revision revision, TxnOpResponse operation) {
                 auto response = std::get<TxnResponse>(std::move(operation.response));
                 response.revision = revision;
                 reply.Finish(EncodeTxnResponse(core->ids, std::move(response)));
               });
  });
  if (!submitted.ok()) reply.Fail(submitted);
}

void DeleteRange(const CorePtr& core, const wire::CallContext& context, pb::DeleteRangeRequest* message,
                 std::size_t bytes, const Reply& reply) {
  kv::DeleteRangeCommand command{TakeDeleteRange(message)};
  if (RefuseLarge(core, bytes, kv::CheckDeleteRange(command.request), reply)) return;
  if (TouchesGuarded(command.request.key, command.request.range_end)) {
    const Status checked = kv::CheckDeleteRange(command.request);
    if (!checked.ok()) return reply.Fail(checked);
    GuardedDeleteRange(core, std::move(command.request), reply);
    return;
  }
  Propose<DeleteRangeResponse>(core, context, std::move(command), reply, EncodeDeleteRangeResponse,
                               [](const DeleteRangeResponse& response) { return response.prev_kvs.size(); });
}

std::size_t CountKvs(const TxnResponse& response) {
  std::size_t kvs = 0;
  for (const TxnOpResponse& op : response.responses) {
    if (const auto* range = std::get_if<RangeResponse>(&op.response)) kvs += range->kvs.size();
    if (const auto* erase = std::get_if<DeleteRangeResponse>(&op.response)) kvs += erase->prev_kvs.size();
    if (const auto* txn = std::get_if<TxnResponse>(&op.response)) kvs += CountKvs(*txn);
  }
  return kvs;
}

void ReadOnlyTxn(const CorePtr& core, const ContextPtr& context, TxnRequest request, const Reply& reply) {
  const std::int64_t keys = EstimateKeys(*core->engine().CurrentView(), request);
  RunRead(core, keys, reply, [core, context, reply, request = std::move(request)] {
    const auto view = core->engine().CurrentView();
    auto response = kv::ReadOnlyTxn(*view, request, &context->cancelled);
    if (!response.ok()) {
      reply.Fail(response.error());
      return;
    }
    core->range_total.Increment(static_cast<double>(response->responses.size()));
    if (response->responses.size() > 1) core->txn_total.Increment();
    reply.Finish(EncodeTxnResponse(core->ids, *std::move(response)));
  });
}

void Txn(const CorePtr& core, const ContextPtr& context, std::string_view bytes, const Reply& reply) {
  google::protobuf::Arena arena;
  auto* message = google::protobuf::Arena::CreateMessage<pb::TxnRequest>(&arena);
  if (!ParseTxn(bytes, message)) {
    reply.FailAsIs(Malformed());
    return;
  }
  auto request = TakeTxn(message);
  if (!request.ok()) {
    reply.Fail(request.error());
    return;
  }
  if (kv::IsReadOnly(*request)) {
    const Status checked = kv::CheckTxn(*request, core->engine().options().txn_ops_max);
    if (checked.ok()) {
      ReadOnlyTxn(core, context, *std::move(request), reply);
    } else {
      reply.Fail(checked);
    }
    return;
  }
  if (ExceedsRequestLimit(core->context.limits, bytes.size())) {
    RefuseLarge(core, bytes.size(), kv::CheckTxn(*request, core->engine().options().txn_ops_max), reply);
    return;
  }
  const GuardedOperations guarded = FindGuarded(*request);
  if (guarded.put != nullptr || !guarded.deletes.empty()) {
    const Status checked = kv::CheckTxn(*request, core->engine().options().txn_ops_max);
    if (!checked.ok()) return reply.Fail(checked);
    if (guarded.put != nullptr) return reply.FailAsIs(RefusePut(*guarded.put));
    return GuardedTxn(core, *std::move(request), reply);
  }
  Propose<TxnResponse>(core, *context, kv::TxnCommand{*std::move(request)}, reply, EncodeTxnResponse, CountKvs);
}

void Compact(const CorePtr& core, const pb::CompactionRequest& message, const Reply& reply) {
  core->engine().Compact(
      message.revision(), message.physical(),
      [core, reply](Result<kv::CompactResult> result) {
        if (!result.ok()) {
          reply.Fail(result.error());
          return;
        }
        pb::CompactionResponse response;
        core->FillHeader(result->revision, response.mutable_header());
        reply.Finish(response);
      },
      kv::CompactRules::kEtcd);
}

}  // namespace

bool ExceedsRequestLimit(const Limits& limits, std::size_t request_bytes) {
  return request_bytes + kEnvelopeBytes > limits.request_bytes_max;
}

void RegisterKv(const CorePtr& core, wire::ServiceTable* table) {
  const std::string service = "/etcdserverpb.KV/";
  AddUnary<pb::RangeRequest>(table, core, service + "Range",
                             [core](ContextPtr context, pb::RangeRequest* message, std::string_view, Reply reply) {
                               Range(core, context, message, reply);
                             });
  AddUnary<pb::PutRequest>(table, core, service + "Put",
                           [core](ContextPtr context, pb::PutRequest* message, std::string_view bytes, Reply reply) {
                             Put(core, *context, message, bytes.size(), reply);
                           });
  AddUnary<pb::DeleteRangeRequest>(
      table, core, service + "DeleteRange",
      [core](ContextPtr context, pb::DeleteRangeRequest* message, std::string_view bytes, Reply reply) {
        DeleteRange(core, *context, message, bytes.size(), reply);
      });
  AddUnary<pb::CompactionRequest>(table, core, service + "Compact",
                                  [core](ContextPtr, pb::CompactionRequest* message, std::string_view, Reply reply) {
                                    Compact(core, *message, reply);
                                  });
  // Parsed by itself, because transactions may be nested deeper than protobuf's default allows.
  table->AddUnary(service + "Txn",
                  [core](ContextPtr context, std::string_view bytes, std::unique_ptr<wire::UnaryReply> answer) {
                    const Reply reply(std::move(answer));
                    if (Admit(core.get(), *context, reply)) Txn(core, context, bytes, reply);
                  });
}

}  // namespace vellum::rpc
