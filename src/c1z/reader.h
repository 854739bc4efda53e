#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "c1z/envelope.h"
#include "c1z/zone.h"
#include "sync/record.h"
#include "vellum/status.h"

/// Reading .c1z files of any format.
namespace vellum::c1z {

struct OpenOptions {
  std::string scratch_dir;  ///< Where what must be unpacked lies while the file is open; empty: the system's.
  ReadLimits limits;
  Zone zone;                ///< What the file's zone-less stamps are in. v3 has none.
};

/// A sync as a file describes it.
struct FileSync {
  sync::SyncRun run;
  bool grants_backfilled = false;  ///< v1; false: expansions may still be annotations in the grants' messages.
  std::string stats_json;          ///< v1: as cached by whoever wrote the file; not to be trusted.
};

/// What reading came across.
struct ReadReport {
  std::uint64_t rows = 0;
  /// Rows that cannot be records, by reason. They fail the reading unless they are to be skipped.
  std::map<std::string, std::uint64_t> invalid;
  std::uint64_t unstamped = 0;         ///< Rows whose stamp is not a time; they count as unstamped.
  std::uint64_t expansions_moved = 0;  ///< Taken out of messages.
  /// v1: rows whose columns and message name different records, by table and part. The columns count; for an
  /// entitlement's resource and a resource's parent the message does.
  std::map<std::string, std::uint64_t> disagreeing;
  std::uint64_t foreign = 0;  ///< v1: rows of other syncs, or of none, that were passed over.

  void Add(const ReadReport& other);
};

/// An entry of a connector's scratch pad.
struct Session {
  std::string key;
  std::string value;
};

/// A .c1z file, open for reading. Its content is hostile: damage is an error that names the file and the place, never an
/// empty answer, and nothing of it is trusted before it is checked. Not thread-safe; several may be open on one file.
class Reader {
 public:
  virtual ~Reader() = default;

  virtual Format format() const = 0;
  /// In the file's order.
  virtual const std::vector<FileSync>& syncs() const = 0;

  /// Hands every record of one type to `visit`, on the calling thread; of equal identities the last is the one that the
  /// file's own tool wrote last. Views are valid during the call. `sync` is one of syncs(). What `visit` returns, if
  /// not OK, ends the reading and is returned.
  using Visit = std::function<Status(const sync::RecordView&)>;
  enum class Invalid : std::uint8_t { kFail, kSkip };
  virtual Status ReadRecords(const FileSync& sync, sync::RecordType type, Invalid invalid, const Visit& visit,
                             ReadReport* report) = 0;
  /// ReadRecords on several threads, where the format allows it: `visits[i]` is called on a thread of its own with the i-th
  /// part of the records. Parts follow each other in ReadRecords' order; some may be empty.
  virtual Status ReadInParts(const FileSync& sync, sync::RecordType type, Invalid invalid, const std::vector<Visit>& visits,
                             ReadReport* report) {
    return ReadRecords(sync, type, invalid, visits.front(), report);
  }
  /// Whether ReadRecords hands out the records of `type` in the order of the store's keys, each identity once, so that
  /// nobody need sort them.
  virtual bool InIdentityOrder(sync::RecordType type) const = 0;

  /// The connector's scratch pad, by key.
  virtual Status ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) = 0;

  /// Rows that belong to no sync: they are never read.
  virtual Result<std::uint64_t> CountOrphans() = 0;

  /// Checks what reading the records leaves unread. Cost: the whole file.
  virtual Status CheckRest() { return {}; }
  /// What is odd about the file and no reason to refuse it, for people. Grows with what is read.
  const std::vector<std::string>& warnings() const { return warnings_; }

 protected:
  void Warn(std::string warning) { warnings_.push_back(std::move(warning)); }

 private:
  std::vector<std::string> warnings_;
};

/// Opens a file of whichever format it has. Errors as DetectFormat, then as the format's reader.
Result<std::unique_ptr<Reader>> OpenReader(const std::string& path, const OpenOptions& options);

/// The sync of a file that stands for it: the newest finished full, resources_only or partial one, by its end, then its
/// id. `path` is for the error.
Result<const FileSync*> ChooseSync(const Reader& reader, const std::string& path);

}  // namespace vellum::c1z
