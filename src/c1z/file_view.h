#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "c1z/reader.h"
#include "c1z/transfer.h"
#include "sync/access.h"
#include "sync/diff.h"
#include "sync/read_view.h"

/// Questions to a file, answered by the same code as those to a store.
namespace vellum::c1z {

/// One sync of a file, sorted for reading; no indexes but grants by principal.
struct FileView {
  sync::SyncRun run;
  std::shared_ptr<const sync::ReadView> view;
  ReadReport report;
};

/// Reads all of a sync: the one that `options.only` names, or the one that stands for the file. What does not fit in memory is
/// spilled into `scratch_dir`, which exists and may go once this has returned.
Result<FileView> ReadSync(const std::string& path, const ImportOptions& options, const std::string& scratch_dir,
                          const sync::Work& work);

/// Answers a question about access in two or three passes over the file that keep only what it needs: the grants of the principal
/// or resource, with `why` those that they may derive from, and the records that they name. Pending expansions are those of the
/// whole sync.
Result<sync::AccessSummary> AskFile(const std::string& path, const ImportOptions& options, const std::string& scratch_dir,
                                    const sync::AccessQuestion& question, const sync::AccessVisitor& visit,
                                    const sync::Work& work);

}  // namespace vellum::c1z
