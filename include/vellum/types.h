#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace vellum {

/// The store's clock: one main revision per applied write transaction. An empty store is at 1; the first write gets 2.
using Revision = std::int64_t;
/// Chosen by the client or by the store; any value but 0, which means "no lease".
using LeaseId = std::int64_t;

/// C before anything was ever compacted.
inline constexpr Revision kNeverCompacted = -1;
/// A range_end of this one byte means "every key from `key` on".
inline constexpr char kFromKey[] = "\0";

/// One key as it is, or was, at some revision.
struct KeyValue {
  std::string key{};
  Revision create_revision = 0;  ///< Of the put that began the present incarnation.
  Revision mod_revision = 0;     ///< Of the last change.
  std::int64_t version = 0;      ///< 1 after creation, one more per put.
  std::string value{};
  LeaseId lease = 0;

  friend bool operator==(const KeyValue&, const KeyValue&) = default;
};

enum class EventType : std::uint8_t { kPut = 0, kDelete = 1 };

/// One change of one key. A delete's `kv` holds key and mod_revision only. `prev_kv` is the key's state at
/// mod_revision - 1: absent for a creation, and where that revision is compacted.
struct Event {
  EventType type = EventType::kPut;
  KeyValue kv{};
  std::optional<KeyValue> prev_kv{};

  friend bool operator==(const Event&, const Event&) = default;
};

enum class SortOrder : std::uint8_t { kNone = 0, kAscend = 1, kDescend = 2 };
enum class SortTarget : std::uint8_t { kKey = 0, kVersion = 1, kCreate = 2, kMod = 3, kValue = 4 };

/// Which keys, as of when, and what of them.
struct RangeRequest {
  std::string key{};        ///< Must not be empty.
  std::string range_end{};  ///< Empty: the one key. "\0": all from `key` on. Else [key, range_end).
  std::int64_t limit = 0;  ///< <= 0: none.
  Revision revision = 0;   ///< <= 0: the current one.
  SortOrder sort_order = SortOrder::kNone;
  SortTarget sort_target = SortTarget::kKey;
  bool serializable = false;  ///< May be answered from a member's own state. One member: the same.
  bool keys_only = false;
  bool count_only = false;
  Revision min_mod_revision = 0;  ///< 0: off; so for the other three.
  Revision max_mod_revision = 0;
  Revision min_create_revision = 0;
  Revision max_create_revision = 0;
};

/// `count` is the number of keys in the interval at that revision, whatever limit and filters left out.
struct RangeResponse {
  Revision revision = 0;  ///< The store's current revision when it answered, not the one that was asked for.
  std::vector<KeyValue> kvs{};
  bool more = false;
  std::int64_t count = 0;
};

struct PutRequest {
  std::string key{};
  std::string value{};
  LeaseId lease = 0;
  bool prev_kv = false;
  bool ignore_value = false;  ///< Keep the stored value; the key must exist.
  bool ignore_lease = false;  ///< Keep the stored lease; the key must exist.
};

struct PutResponse {
  Revision revision = 0;
  std::optional<KeyValue> prev_kv{};
};

struct DeleteRangeRequest {
  std::string key{};
  std::string range_end{};
  bool prev_kv = false;
};

struct DeleteRangeResponse {
  Revision revision = 0;
  std::int64_t deleted = 0;
  std::vector<KeyValue> prev_kvs{};  ///< In key order, if asked for.
};

enum class CompareResult : std::uint8_t { kEqual = 0, kGreater = 1, kLess = 2, kNotEqual = 3, kAlwaysTrue = 4 };
enum class CompareTarget : std::uint8_t { kVersion = 0, kCreate = 1, kMod = 2, kValue = 3, kLease = 4 };

/// A condition on one key, or on every key of an interval. On a missing key, kValue is never true and the other
/// targets are 0.
struct Compare {
  CompareResult result = CompareResult::kEqual;  ///< kAlwaysTrue: a number that etcd does not know either.
  CompareTarget target = CompareTarget::kVersion;
  std::string key{};
  std::string range_end{};
  std::int64_t number = 0;  ///< The operand of every target but kValue.
  std::string value{};        ///< The operand of kValue.
};

struct TxnOp;

/// If all compares hold, `success` runs, else `failure`; in order, each operation seeing those before it, all in one
/// revision. Compares, nested ones too, see the state before the transaction.
struct TxnRequest {
  std::vector<Compare> compares{};
  std::vector<TxnOp> success;
  std::vector<TxnOp> failure;
};

/// monostate: an operation without content, which is refused.
struct TxnOp {
  std::variant<std::monostate, RangeRequest, PutRequest, DeleteRangeRequest, TxnRequest> request;
};

struct TxnOpResponse;

struct TxnResponse {
  Revision revision = 0;
  bool succeeded = false;
  std::vector<TxnOpResponse> responses;
};

struct TxnOpResponse {
  std::variant<RangeResponse, PutResponse, DeleteRangeResponse, TxnResponse> response;
};

struct LeaseGrantResponse {
  Revision revision = 0;
  LeaseId id = 0;
  std::int64_t ttl_s = 0;  ///< Effective: raised to the minimum where less was asked for.
};

struct LeaseTimeToLiveResponse {
  Revision revision = 0;
  LeaseId id = 0;
  std::int64_t ttl_s = -1;  ///< Remaining, rounded as etcd does; -1: no such lease.
  std::int64_t granted_ttl_s = 0;
  std::vector<std::string> keys{};  ///< Ascending, if asked for.
};

}  // namespace vellum
