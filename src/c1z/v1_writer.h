#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/reader.h"
#include "c1z/zone.h"
#include "sync/record.h"
#include "vellum/status.h"

namespace vellum::c1z {

struct WriteOptions {
  Zone zone;               ///< What the file's zone-less stamps will be in.
  enum class IfExists : std::uint8_t { kRefuse, kReplace };
  IfExists if_exists = IfExists::kRefuse;
  int threads = 2;         ///< For compressing.
};

/// Whether a file may be written at `path`: kFailedPrecondition if one is there and is not to be replaced, or if what is
/// there is no ordinary file (a directory, a device, a pipe).
Status CheckTarget(const std::string& path, WriteOptions::IfExists if_exists);

/// Ids by which v1 would keep more than one record of a type.
struct SharedIds {
  std::uint64_t records = 0;
  std::vector<std::string> named;  ///< The first ten, for people.
};

/// Writes a .c1z v1 file, compressed as it is made: rows in the order they come, indexes afterwards. The target appears
/// whole and synced, by rename, when Finish returns; before that nothing is at its place but what was there. Not
/// thread-safe.
class V1Writer {
 public:
  /// kFailedPrecondition if `path` exists and is not to be replaced. Scratch files lie beside it.
  static Result<std::unique_ptr<V1Writer>> Create(const std::string& path, const WriteOptions& options);
  ~V1Writer();

  /// Starts a sync; records and sessions that follow are its own.
  Status BeginSync(const sync::SyncRun& run);
  Status Put(const sync::RecordView& record);
  Status PutSession(const Session& session);

  /// `last_check`, if there is one, is asked when all but the file's name is there: its error is this one's.
  /// kInvalidArgument if the tables cannot hold all that was put: two rows with the same id.
  Status Finish(const std::function<Status()>& last_check = {});
  /// From the last check on: the ids that records of a sync share.
  SharedIds shared_ids(const std::string& sync_id) const;
  std::uint64_t rows() const;
  /// Of the finished file.
  std::uint64_t bytes() const;

 private:
  struct Impl;
  explicit V1Writer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The id under which v1 tables keep a record: what must be unique within a sync and a table.
std::string V1ExternalId(const sync::RecordView& record);

/// The schema's statements, for tests and for benchmarks that write the same tables by other means.
extern const char* const kV1Tables;
extern const char* const kV1Indexes;

}  // namespace vellum::c1z
