#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "c1z/incoming.h"
#include "c1z/page_writer.h"
#include "c1z/v1_stats.h"
#include "c1z/zone.h"

/// Included inside this room only.
namespace vellum::c1z {

/// Writes a v1 database again with other records in it: one pass over its pages, which checks them, puts rows and index
/// entries as they are stored into the pages of the new one, and those that come in between them. SQLite neither reads
/// nor writes a page of a record. Not thread-safe; uses a second thread for the entries that come in.
class Rewriter {
 public:
  struct Options {
    std::string from;  ///< The id of the base's only sync.
    std::string to;    ///< Its id in the new database; as long as `from`.
    Zone read_zone;
    Zone write_zone;
    std::string beside;  ///< Scratch files lie in its directory.
    const sync::Work* work = nullptr;
  };

  /// `database`: the path of a private file that nothing changes. `sink` gets the new one from its second page on.
  /// kInvalidArgument says what is not plain in the base, also where the new rows would not fit to it.
  static Result<std::unique_ptr<Rewriter>> Open(const std::string& database, Incoming* incoming, PageStream::Sink sink,
                                                Options options);
  ~Rewriter();

  std::uint32_t page_bytes() const;
  /// Does it all, and returns the first page. `run` is the new sync, but for its id. Errors as of Open, and the sink's.
  Result<std::string> Run(sync::SyncRun run);
  const V1Stats& stats() const;

 private:
  struct Impl;
  explicit Rewriter(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z
