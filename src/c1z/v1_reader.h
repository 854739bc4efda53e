#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/reader.h"

namespace vellum::c1z {

/// A .c1z v1 file, open for reading. The file is decompressed into a private copy that goes with this object. Nothing of
/// its schema is run, and columns are found by name. Records come in the order of their rows.
class V1Reader final : public Reader {
 public:
  static Result<std::unique_ptr<V1Reader>> Open(const std::string& path, const OpenOptions& options);
  ~V1Reader() override;

  Format format() const override { return Format::kV1; }
  const std::vector<FileSync>& syncs() const override;
  Status ReadRecords(const FileSync& sync, sync::RecordType type, Invalid invalid, const Visit& visit,
                     ReadReport* report) override;
  /// One connection a part, cut by row ids.
  Status ReadInParts(const FileSync& sync, sync::RecordType type, Invalid invalid, const std::vector<Visit>& visits,
                     ReadReport* report) override;
  bool InIdentityOrder(sync::RecordType /*type*/) const override { return false; }
  Status ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) override;
  Result<std::uint64_t> CountOrphans() override;
  /// SQLite's own check: pages, indexes, columns that may not be null.
  Status CheckRest() override;

  /// Closes the database and hands it over: a private file that goes with this object. Nothing can be read after it.
  Result<std::string> ReleaseDatabase();

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
