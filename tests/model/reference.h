#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kv/command.h"
#include "vellum/types.h"

namespace vellum::model {

using State = std::map<std::string, KeyValue>;

/// What a store is, in the plainest form: every state and every event there ever was, in memory. Follows the protocol's
/// rules by the words, with no regard for cost, and shares no code with the store.
class Reference {
 public:
  Reference();

  /// Answers as the store has to, for commands about keys, leases and compaction (not: expiry, alarms, samples).
  Result<kv::CommandResult> Apply(const kv::Command& command);
  Result<RangeResponse> Range(const RangeRequest& request) const;

  Revision revision() const { return static_cast<Revision>(states_.size()) - 1; }
  Revision compacted() const { return compacted_; }
  const State& StateAt(Revision revision) const { return states_.at(static_cast<std::size_t>(revision)); }
  const State& state() const { return states_.back(); }
  const std::vector<Event>& EventsAt(Revision revision) const { return events_.at(static_cast<std::size_t>(revision)); }
  const std::set<LeaseId>& leases() const { return leases_; }

 private:
  /// A command under way.
  struct Work {
    State state;
    Revision main = 0;
    std::vector<Event> events;
    Revision current() const { return events.empty() ? main - 1 : main; }
  };
  Work Begin() const;
  void End(Work&& work);

  Result<PutResponse> Put(const PutRequest& request, Work* work) const;
  DeleteRangeResponse Delete(const DeleteRangeRequest& request, Work* work) const;
  RangeResponse RangeOf(const RangeRequest& request, const State& state, Revision current) const;
  void Remove(const std::string& key, Work* work) const;
  bool Holds(const TxnRequest& request) const;
  Status CheckPath(const TxnRequest& request) const;
  Result<TxnResponse> Run(const TxnRequest& request, Work* work) const;
  Result<kv::CommandResult> Apply(const PutRequest& request);
  Result<kv::CommandResult> Apply(const DeleteRangeRequest& request);
  Result<kv::CommandResult> Apply(const TxnRequest& request);
  Result<kv::CommandResult> Apply(const kv::CompactCommand& command);
  Result<kv::CommandResult> Apply(const kv::LeaseGrantCommand& command);
  Result<kv::CommandResult> Apply(const kv::LeaseRevokeCommand& command);

  std::vector<State> states_;  // by revision
  std::vector<std::vector<Event>> events_;
  std::set<LeaseId> leases_;
  Revision compacted_ = kNeverCompacted;
};

/// True if `key` lies in the interval that a request's two fields mean.
bool InInterval(const std::string& key, const std::string& begin, const std::string& range_end);

/// Answers and failures as text, for comparing and for people. Of a failure: its reason and code.
std::string Describe(const Result<kv::CommandResult>& result);
std::string Describe(const Result<RangeResponse>& response);
std::string Describe(const State& state);
std::string Describe(const std::vector<Event>& events);

}  // namespace vellum::model
