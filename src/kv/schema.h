#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/database.h"
#include "vellum/types.h"

/// How the metadata plane lies in RocksDB: families, keys, values. The bytes are described in docs/formats.md.
namespace vellum::kv {

inline constexpr storage::Family kMeta = 0;
inline constexpr storage::Family kLatest = 1;
inline constexpr storage::Family kHistory = 2;
inline constexpr storage::Family kRev = 3;
inline constexpr storage::Family kCount = 4;
inline constexpr storage::Family kLease = 5;

/// What `latest` and `history` keep of a key. `mod_sub` orders the changes of one revision.
struct Record {
  Revision mod = 0;
  std::int32_t mod_sub = 0;
  Revision create = 0;
  std::int64_t version = 0;
  LeaseId lease = 0;
  std::string_view value;  ///< Borrowed from whatever was decoded.

  KeyValue ToKeyValue(std::string_view key) const;
};

/// `latest`: user key -> Record.
std::string EncodeRecord(const Record& record);
/// kDataLoss when the bytes are not a record.
Result<Record> DecodeRecord(std::string_view bytes);

/// `history`: esc(key) 00 01 BE64(~mod) -> end, Record. Visible at r iff mod <= r < end.
struct HistoryRecord {
  Revision end = 0;
  Record record;
};
std::string HistoryKey(std::string_view key, Revision mod);
/// Every history key of `key` starts with this.
std::string HistoryPrefix(std::string_view key);
struct HistoryKeyParts {
  std::string key;
  Revision mod = 0;
};
Result<HistoryKeyParts> DecodeHistoryKey(std::string_view bytes);
std::string EncodeHistoryRecord(const HistoryRecord& record);
Result<HistoryRecord> DecodeHistoryRecord(std::string_view bytes);
/// Only the end, for the compaction filter and the table property; cheap. nullopt for bytes that are no record.
std::optional<Revision> HistoryRecordEnd(std::string_view bytes);

/// `rev`: BE64(main) BE32(sub) -> what changed.
struct RevEntry {
  EventType type = EventType::kPut;
  /// The key's mod revision before this main revision; 0: it did not exist then.
  Revision previous_mod = 0;
  std::string_view key;  ///< Borrowed.
  /// Set when this put was superseded inside its own revision: no read can see it, so its record is kept here.
  std::optional<Record> superseded;
};
std::string RevKey(Revision main, std::int32_t sub);
struct RevKeyParts {
  Revision main = 0;
  std::int32_t sub = 0;
};
Result<RevKeyParts> DecodeRevKey(std::string_view bytes);
/// `main` is the revision of the entry's key: previous_mod is stored as a distance to it.
std::string EncodeRevEntry(Revision main, const RevEntry& entry);
Result<RevEntry> DecodeRevEntry(Revision main, std::string_view bytes);

/// `count`: first key of a leaf (the first leaf's is empty) -> number of keys in the leaf.
std::string EncodeLeafCount(std::int64_t count);
Result<std::int64_t> DecodeLeafCount(std::string_view bytes);

/// `lease`: BE64(id) -> LeaseRecord;  BE64(id) key -> empty ("attached").
struct LeaseRecord {
  std::int64_t granted_ttl_s = 0;
  /// Applied index of the grant: tells two leases of one id apart.
  std::uint64_t incarnation = 0;
  /// Remaining at the last checkpoint; 0: none, so the full TTL counts.
  std::int64_t remaining_ttl_s = 0;
};
std::string LeaseKey(LeaseId id);
std::string LeaseAttachmentKey(LeaseId id, std::string_view key);
struct LeaseKeyParts {
  LeaseId id = 0;
  std::optional<std::string_view> key;  ///< Set: an attachment.
};
Result<LeaseKeyParts> DecodeLeaseKey(std::string_view bytes);
std::string EncodeLeaseRecord(const LeaseRecord& record);
Result<LeaseRecord> DecodeLeaseRecord(std::string_view bytes);

/// Rows of `meta`.
inline constexpr std::string_view kMetaFormat = "format";
inline constexpr std::string_view kMetaRevision = "revision";
inline constexpr std::string_view kMetaCompacted = "compacted";      ///< C: durable before anything goes.
inline constexpr std::string_view kMetaReclaimed = "reclaimed";      ///< Reclaiming up to here has finished.
inline constexpr std::string_view kMetaAppliedIndex = "applied";
inline constexpr std::string_view kMetaClusterId = "cluster_id";
inline constexpr std::string_view kMetaMemberId = "member_id";
inline constexpr std::string_view kMetaPending = "pending";          ///< A huge command that is half applied.
inline constexpr std::string_view kMetaAlarms = "alarms";
inline constexpr std::string_view kMetaSamplePrefix = "sample/";     ///< BE64(seconds since 1970) -> revision.

/// Families with their options, in the order of the constants above. `history_filter` is the compaction filter.
std::vector<storage::FamilyOptions> FamilyList(storage::RecordFilterFactory history_filter);

/// [begin, end) over user keys; no `end`: to the last key.
struct KeyInterval {
  std::string begin;
  std::optional<std::string> end;

  /// From a request's key and range_end as etcd reads them (RangeRequest::range_end).
  static KeyInterval FromRequest(std::string_view key, std::string_view range_end);
  static KeyInterval SingleKey(std::string_view key);
  static KeyInterval Everything() { return {}; }

  bool Contains(std::string_view key) const;
  bool empty() const { return end && *end <= begin; }
};

}  // namespace vellum::kv
