#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/generation.h"
#include "sync/record.h"
#include "vellum/status.h"
#include "vellum/types.h"

/// Which sync is which generation: small JSON values under /vellum/ in the metadata plane, which any etcd client can read
/// and watch. docs/formats.md shows them.
namespace vellum::sync {

/// One generation that a sync has pointed at.
struct HistoryEntry {
  GenerationId generation;
  std::string digest;        ///< Hex; of all records, stamps included.
  Stamp switched_at = 0;
  std::string operation;     ///< What made it: "import", "merge", "fold", "replace", "rollback", ...

  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};

enum class SyncState : std::uint8_t { kOpen, kSealed };

/// A sync as the catalog has it. `history[0]` is the present generation; an open sync has none.
struct SyncEntry {
  SyncRun run;
  std::string connector;
  SyncState state = SyncState::kOpen;
  std::vector<HistoryEntry> history;
  /// Open syncs: the staging directory that a writer fills, or filled until its last checkpoint.
  GenerationId staging;
  Revision mod_revision = 0;  ///< Of the row; 0: not stored yet.

  const GenerationId& generation() const { return history.front().generation; }
  std::string ToJson() const;
  static Result<SyncEntry> FromJson(std::string_view json);
};

enum class GenerationState : std::uint8_t { kBuilding, kSealed, kDeleting };

struct GenerationEntry {
  GenerationId id;
  GenerationState state = GenerationState::kBuilding;
  LeaseId writer = 0;         ///< kBuilding: the lease whose end means that nobody writes it any more.
  Revision mod_revision = 0;

  std::string ToJson() const;
  static Result<GenerationEntry> FromJson(std::string_view id, std::string_view json);
};

inline constexpr std::string_view kCatalogPrefix = "/vellum/";
inline constexpr std::string_view kSyncPrefix = "/vellum/syncs/";
inline constexpr std::string_view kGenerationPrefix = "/vellum/generations/";
inline constexpr std::size_t kSyncIdBytesMax = 1024;

/// kInvalidArgument, with the limit and the length, if a sync cannot have this id.
Status CheckSyncId(std::string_view sync_id);

/// "/vellum/syncs/" and the id, percent-encoded but for letters, digits and -._~.
std::string SyncKey(std::string_view sync_id);
std::string GenerationKey(std::string_view generation_id);

/// What the data plane needs of the metadata plane: read rows, change several at once or none. Thread-safe.
class Catalog {
 public:
  struct Row {
    std::string key;
    std::string value;
    Revision mod_revision = 0;
    LeaseId lease = 0;
  };
  /// One change: every expectation holds, or nothing happens.
  struct Change {
    struct Expectation {
      std::string key;
      Revision mod_revision = 0;  ///< 0: the row must not exist.
    };
    struct Put {
      std::string key;
      std::string value;
      LeaseId lease = 0;  ///< The row goes when this lease ends.
    };
    std::vector<Expectation> expect;
    std::vector<Put> put;
    std::vector<std::string> remove;
    bool frees_space = false;  ///< Files go because of it: it goes through on a full disk as well.
  };

  virtual ~Catalog() = default;
  virtual Result<std::optional<Row>> Get(std::string_view key) const = 0;
  /// In key order.
  virtual Result<std::vector<Row>> List(std::string_view prefix) const = 0;
  /// Durable when it returns. kAborted if an expectation does not hold. A failure with maybe_applied() may have
  /// happened: read again before deciding.
  virtual Status Commit(const Change& change) = 0;

  /// A lease that ends when nobody renews it for `ttl_s` seconds.
  virtual Result<LeaseId> GrantLease(std::int64_t ttl_s) = 0;
  /// False: it has ended.
  virtual Result<bool> RenewLease(LeaseId id) = 0;
  /// Ends it, and removes the rows that hang on it. OK if it is gone already.
  virtual Status RevokeLease(LeaseId id) = 0;
};

}  // namespace vellum::sync
