#include "c1z/reader.h"

#include <tuple>

#include "c1z/v1_reader.h"
#include "c1z/v3/reader.h"

namespace vellum::c1z {
namespace {

bool IsCompactable(const std::string& type) { return type == "full" || type == "resources_only" || type == "partial"; }

}  // namespace

void ReadReport::Add(const ReadReport& other) {
  rows += other.rows;
  for (const auto& [reason, count] : other.invalid) invalid[reason] += count;
  unstamped += other.unstamped;
  expansions_moved += other.expansions_moved;
  for (const auto& [part, count] : other.disagreeing) disagreeing[part] += count;
  foreign += other.foreign;
}

Result<std::unique_ptr<Reader>> OpenReader(const std::string& path, const OpenOptions& options) {
  VELLUM_ASSIGN_OR_RETURN(const Format format, DetectFormat(path));
  if (format == Format::kV3) {
    VELLUM_ASSIGN_OR_RETURN(auto reader, v3::V3Reader::Open(path, options));
    return std::unique_ptr<Reader>(std::move(reader));
  }
  VELLUM_ASSIGN_OR_RETURN(auto reader, V1Reader::Open(path, options));
  return std::unique_ptr<Reader>(std::move(reader));
}

Result<const FileSync*> ChooseSync(const Reader& reader, const std::string& path) {
  const FileSync* chosen = nullptr;
  for (const FileSync& sync : reader.syncs()) {
    if (sync.run.ended_at == 0 || !IsCompactable(sync.run.type)) continue;
    if (chosen == nullptr || std::tie(sync.run.ended_at, sync.run.id) > std::tie(chosen->run.ended_at, chosen->run.id)) {
      chosen = &sync;
    }
  }
  if (chosen == nullptr) {
    return FailedPrecondition(path + " has no finished sync of type full, resources_only or partial (diffs cannot be merged)");
  }
  return chosen;
}

}  // namespace vellum::c1z
