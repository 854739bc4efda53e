#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "c1z/transfer.h"

/// Merging .c1z files into a new one.
namespace vellum::c1z {

/// A file, and the sync of it that is meant; empty: the one that stands for it.
struct FileInput {
  std::string path;
  std::string sync;
};

struct MergeFilesOptions {
  OpenOptions open;
  WriteOptions write;
  sync::Ties ties = sync::Ties::kFirst;
  bool skip_invalid = false;
  std::string merged_id;  ///< The output's sync id; one that no input has.
  /// Editing: the other files' bytes, as a share of the first's, up to which it pays; above 1: whatever their sizes.
  double share_max = 0.25;
};

struct MergeFilesReport {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  ///< Of the file.
  /// Per file, rows that were skipped, by reason.
  std::map<std::string, std::map<std::string, std::uint64_t>> skipped;
};

/// Merges the inputs into the first, by the rules of MergeSyncs, and writes the result: its assets are the first's, its
/// type the widest, and it has no parent, token or sessions. `store` is for this call: the inputs are imported into it.
Result<MergeFilesReport> MergeByStore(sync::Store* store, const std::vector<FileInput>& inputs, const std::string& out,
                                      const MergeFilesOptions& options, const sync::Work& work);

/// The same where the first file is of v1 and much larger than the others: its database is rewritten in one pass, with
/// what comes in between its rows, and reading the output gives the same. nullopt, with the reason in `why_not`, where
/// that is not possible or MergeByStore would have to say something; nothing is written then. Uses threads beside the
/// caller's and `write.threads`; memory does not grow with the first file, but with the others, within limits.
Result<std::optional<MergeFilesReport>> MergeByEditing(const std::vector<FileInput>& inputs, const std::string& out,
                                                       const MergeFilesOptions& options, const sync::Work& work,
                                                       std::string* why_not);

/// The sync of an input.
Result<const FileSync*> PickSync(const Reader& reader, const FileInput& input);

}  // namespace vellum::c1z
