#pragma once

#include <memory>
#include <string>
#include <vector>

#include "c1z/reader.h"
#include "c1z/v3/header.h"

namespace vellum::c1z::v3 {

/// A .c1z v3 file, open for reading: one sync. Its database is unpacked into memory and a scratch file without a name, and
/// read in place. Records come in the order of their keys, one pass over the tables per type.
///
/// kUnimplemented for what is defined and not read: engine "pebble", unflushed logs, blob files, range keys, MinLZ, formats
/// outside 13 to 24.
class V3Reader final : public Reader {
 public:
  static Result<std::unique_ptr<V3Reader>> Open(const std::string& path, const OpenOptions& options);
  ~V3Reader() override;

  Format format() const override { return Format::kV3; }
  /// None if the file holds no sync run; its records can be read all the same.
  const std::vector<FileSync>& syncs() const override;
  Status ReadRecords(const FileSync& sync, sync::RecordType type, Invalid invalid, const Visit& visit,
                     ReadReport* report) override;
  Status ReadInParts(const FileSync& sync, sync::RecordType type, Invalid invalid, const std::vector<Visit>& visits,
                     ReadReport* report) override;
  bool InIdentityOrder(sync::RecordType type) const override;
  Status ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) override;
  Result<std::uint64_t> CountOrphans() override;
  /// Reads every row of every table, indexes included, and compares the file's own counts.
  Status CheckRest() override;

  const Header& header() const;
  /// The most memory that the budget saw in use.
  std::uint64_t memory_peak() const;

 private:
  struct Impl;
  explicit V3Reader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z::v3
