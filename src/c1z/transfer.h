#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/reader.h"
#include "c1z/v1_writer.h"
#include "sync/operations.h"

/// Between .c1z files and a store.
namespace vellum::c1z {

struct ImportOptions {
  OpenOptions open;
  std::string connector;   ///< Empty: the file's stem.
  bool replace = false;    ///< Syncs whose ids exist, with other contents: switch them. Else they are refused.
  bool skip_invalid = false;
  std::vector<std::string> only;  ///< Sync ids; empty: all.
};

struct ImportedSync {
  Format format = Format::kV1;  ///< Of the file.
  std::vector<std::string> warnings;  ///< The reader's: odd things, for people.
  std::string id;
  std::string type;
  bool unchanged = false;  ///< Was there already, with the same contents.
  std::uint64_t records = 0;
  ReadReport report;
  std::uint64_t orphans = 0;  ///< Rows of the file that belong to no sync, told with its last one.
  /// Rows that v1 kept apart and structural identity does not, per record type: the later row stayed.
  std::array<std::uint64_t, sync::kRecordTypes> joined{};
  double seconds = 0;
};

/// Puts all records of a sync of a file into a writer that has `lanes` lanes, which take parts of a table that follow each other:
/// of equal identities the last row wins. `done` counts records on, for work.progress; `put` gets those of each type.
Status PutRecords(Reader* reader, const FileSync& source, Reader::Invalid invalid, sync::SyncWriter* writer, std::size_t lanes,
                  const sync::Work& work, std::atomic<std::uint64_t>* done, ReadReport* report,
                  std::array<std::uint64_t, sync::kRecordTypes>* put);

/// Imports the syncs of a file, one switch each. Stops at the first that fails; those before it are in. kFailedPrecondition for
/// a v3 file without a sync.
Result<std::vector<ImportedSync>> ImportFile(sync::Store* store, const std::string& path, const ImportOptions& options,
                                             const sync::Work& work);

struct ExportReport {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
};

/// Writes syncs into one v1 file. kFailedPrecondition when v1 cannot hold a sync: it says how many records cannot be in it
/// and names the first ten, and nothing appears at `path`. kInvalidArgument without any id.
Result<ExportReport> ExportFile(const sync::Store& store, const std::vector<std::string>& sync_ids, const std::string& path,
                                const WriteOptions& options, const sync::Work& work);

}  // namespace vellum::c1z
