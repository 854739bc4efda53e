#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "c1z/envelope.h"
#include "c1z/zone.h"
#include "sync/record.h"
#include "vellum/status.h"

namespace vellum::c1z {

struct OpenOptions {
  std::string scratch_dir;  ///< Where the decompressed database lies while the file is open; empty: the system's.
  ReadLimits limits;
  Zone zone;                ///< What the file's zone-less stamps are in.
};

/// A sync as a v1 file describes it.
struct V1Sync {
  sync::SyncRun run;
  bool grants_backfilled = false;  ///< False: expansions may still be annotations in the grants' messages.
  std::string stats_json;          ///< As cached by whoever wrote the file; not to be trusted.
};

/// What reading came across.
struct ReadReport {
  std::uint64_t rows = 0;
  /// Rows that cannot be records, by reason. They fail the reading unless they are to be skipped.
  std::map<std::string, std::uint64_t> invalid;
  std::uint64_t unstamped = 0;        ///< Rows whose stamp is not a time; they count as unstamped.
  std::uint64_t expansions_moved = 0;  ///< Taken out of messages.
};

/// A row of connector_sessions.
struct Session {
  std::string key;
  std::string value;
};

/// A .c1z v1 file, open for reading. The file is decompressed into a private copy that goes with this object. The content is
/// hostile: nothing of its schema is run, columns are found by name, and damage is an error, never an empty answer.
/// Not thread-safe; several may be open on one file.
class V1Reader {
 public:
  static Result<std::unique_ptr<V1Reader>> Open(const std::string& path, const OpenOptions& options);
  ~V1Reader();

  /// In the order of their rows.
  const std::vector<V1Sync>& syncs() const;

  /// Hands every row of one type to `visit`, in the order of their rows (so the last of equal identities is the one the
  /// file's own tool wrote last). Views are valid during the call.
  using Visit = std::function<Status(const sync::RecordView&)>;
  enum class Invalid : std::uint8_t { kFail, kSkip };
  Status ReadRecords(const V1Sync& sync, sync::RecordType type, Invalid invalid, const Visit& visit, ReadReport* report);

  Status ReadSessions(const V1Sync& sync, const std::function<Status(const Session&)>& visit);

  /// Rows of any record table that belong to no sync run: they are never read.
  Result<std::uint64_t> CountOrphans();

 private:
  struct Impl;
  explicit V1Reader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Takes the GrantExpandable annotation out of an encoded Grant: `message` without it, and its encoded value with blank
/// entitlement ids left in place; empty if there is none, or none with an id that is not blank. nullopt: not protobuf.
struct Expansion {
  std::string message;
  std::string expansion;
};
std::optional<Expansion> ExtractExpansion(std::string_view grant_message);

}  // namespace vellum::c1z
