#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum::kv {

/// A transaction; put and delete-range are commands of their own because most are.
struct PutCommand {
  PutRequest request;
};
struct DeleteRangeCommand {
  DeleteRangeRequest request;
};
struct TxnCommand {
  TxnRequest request;
  /// It is let in on a full disk as well, as long as the log has room. For the store's own parts: it is small, and space
  /// comes back because of it.
  bool frees_space = false;
};
/// Whose checks a compaction passes. They differ in one case: etcd accepts revision 0 on a store that was never compacted.
enum class CompactRules : std::uint8_t {
  kLibrary,  ///< Revisions below 1 are kInvalidArgument.
  kEtcd,     ///< Whatever is at or below C is kCompacted, and C starts at kNeverCompacted.
};
/// Marks `revision` as compacted: one small batch, whatever the revision. Expired leases are proposed before it, as
/// commands of their own; what became garbage goes later (ReclaimCommand).
struct CompactCommand {
  Revision revision = 0;
  CompactRules rules = CompactRules::kLibrary;
};
struct LeaseGrantCommand {
  LeaseId id = 0;  ///< Chosen before proposing; never 0.
  std::int64_t ttl_s = 0;
};
struct LeaseRevokeCommand {
  LeaseId id = 0;
};
/// Revokes those leases that are still the incarnations named; the others are skipped without an error. One revision
/// per lease that had keys.
struct LeaseExpireCommand {
  struct Entry {
    LeaseId id = 0;
    std::uint64_t incarnation = 0;
  };
  std::vector<Entry> entries;
};
/// Stores the remaining time of leases (0: reset to full), so that a restart does not prolong them.
struct LeaseCheckpointCommand {
  struct Entry {
    LeaseId id = 0;
    std::uint64_t incarnation = 0;
    std::int64_t remaining_ttl_s = 0;
  };
  std::vector<Entry> entries;
};
enum class AlarmType : std::uint8_t { kNone = 0, kNoSpace = 1, kCorrupt = 2 };
/// An alarm that is on.
struct AlarmEntry {
  std::uint64_t member_id = 0;
  AlarmType alarm = AlarmType::kNone;

  friend bool operator==(const AlarmEntry&, const AlarmEntry&) = default;
};
struct AlarmCommand {
  bool activate = false;
  AlarmType alarm = AlarmType::kNone;
  std::uint64_t member_id = 0;
};
/// Remembers which revision was current at a time (seconds since 1970), for periodic compaction, and forgets the
/// samples of before `drop_before_s`, which keeps their number bounded. Changes no revision.
struct SampleCommand {
  std::int64_t wall_s = 0;
  std::int64_t drop_before_s = 0;
};
/// From the reclaimer, which itself never writes. Changes no revision. Answered by Applied.
struct ReclaimCommand {
  enum class Step : std::uint8_t {
    kBegin,     ///< Drops `rev` below `compacted` (one range delete), before its space is returned.
    kFinished,  ///< The space has been returned: stored (kMetaReclaimed), so that a restart does not begin again.
  };
  Revision compacted = 0;  ///< At most the stored C: a higher one is refused. A finished one is ignored.
  Step step = Step::kFinished;
};

/// Everything that may change the store. Carries all it needs to be applied the same way at any time and place: the
/// applier has no clock and no randomness.
using Command = std::variant<PutCommand, DeleteRangeCommand, TxnCommand, CompactCommand, LeaseGrantCommand,
                             LeaseRevokeCommand, LeaseExpireCommand, LeaseCheckpointCommand, AlarmCommand,
                             SampleCommand, ReclaimCommand>;

/// One versioned encoding, for the `pending` row and for logs to come.
std::string EncodeCommand(const Command& command);
/// kDataLoss for bytes that are not a command; nested transactions are limited to a depth of 128.
Result<Command> DecodeCommand(std::string_view bytes);

struct CompactResult {
  Revision revision = 0;  ///< The current one.
};
struct LeaseRevokeResult {
  Revision revision = 0;
};
struct LeaseExpireResult {
  Revision revision = 0;
  std::int64_t expired = 0;  ///< Leases that really went.
};
struct AlarmResult {
  Revision revision = 0;
  bool changed = false;
  /// Activate: the alarm, also if it was on before. Deactivate: what was removed; empty if it was not on.
  std::vector<AlarmEntry> alarms;
};
struct Applied {
  Revision revision = 0;
};

/// What a command answers; the alternative belongs to the command.
using CommandResult = std::variant<PutResponse, DeleteRangeResponse, TxnResponse, CompactResult, LeaseGrantResponse,
                                   LeaseRevokeResult, LeaseExpireResult, AlarmResult, Applied>;

/// Hands a command to the engine, for the parts that propose by themselves (lessor, reclaimer, automatic compaction).
/// Must not block; `done` is called exactly once, on any thread, possibly before this returns.
using ProposeFunction = std::function<void(Command, std::function<void(Result<CommandResult>)> done)>;

}  // namespace vellum::kv
