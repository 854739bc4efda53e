#include "steps.h"

namespace vellum::sync {
namespace {

using Operation = storage::FaultFileSystem::Operation;
using Moment = storage::FaultFileSystem::Moment;

/// "staging", "generations" or "trash", and what follows: the path's parts below the data directory.
struct Place {
  std::string folder;
  std::string rest;  ///< "" for the folder itself, "<id>", "<id>/file" ...
  std::size_t depth = 0;
};

Place PlaceOf(const std::string& path) {
  for (const char* folder : {"/staging", "/generations", "/trash", "/sessions"}) {
    const auto at = path.rfind(folder);
    if (at == std::string::npos) continue;
    const std::string rest = path.substr(at + std::string(folder).size());
    if (!rest.empty() && rest[0] != '/') continue;
    Place place{std::string(folder).substr(1), rest.empty() ? "" : rest.substr(1), 0};
    for (const char c : rest) place.depth += c == '/' ? 1u : 0u;
    return place;
  }
  return {};
}

bool EndsWith(const std::string& text, const char* end) { return text.ends_with(end); }

std::string StagingStep(Operation operation, Moment moment, const Place& place) {
  const bool after = moment == Moment::kAfter;
  const std::string& rest = place.rest;
  const bool table = EndsWith(rest, ".sst") || EndsWith(rest, ".run");
  if (EndsWith(rest, "/GENERATION.tmp")) {
    if (operation == Operation::kCreate && !after) return "database-closed";
    if (operation == Operation::kAppend && after) return "generation-temporary";
    if (operation == Operation::kSync && after) return "generation-synced";
  }
  if (EndsWith(rest, "/STAGING.tmp")) {
    if (operation == Operation::kAppend && after) return "checkpoint-temporary";
    if (operation == Operation::kSync && after) return "checkpoint-synced";
  }
  if (!after) return operation == Operation::kSync && table ? "table-written" : "";
  switch (operation) {
    case Operation::kMakeDirectory: return place.depth == 1 ? "directory-made" : "";
    case Operation::kLink: return rest.find("/taken-") != std::string::npos ? "linked" : "";
    case Operation::kRename:
      if (EndsWith(rest, "/GENERATION")) return "generation-renamed";
      return EndsWith(rest, "/STAGING") ? "checkpoint-renamed" : "";
    case Operation::kSync:
      if (table) return "table-synced";
      if (EndsWith(rest, "/generation")) return "generation-directory-synced";
      return place.depth == 1 ? "staging-synced" : "";
    default: return "";
  }
}

std::string ChangeName(const Catalog::Change& change) {
  for (const std::string& key : change.remove) {
    if (key.starts_with(kSyncPrefix)) return "remove";
    if (key.starts_with(kGenerationPrefix)) return "forget";
  }
  std::string name;
  for (const auto& put : change.put) {
    if (put.key.starts_with(kSyncPrefix)) {
      const auto entry = SyncEntry::FromJson(put.value);
      return entry.ok() && !entry->staging.empty() ? "open-row" : "switch";
    }
    const auto entry = GenerationEntry::FromJson(put.key.substr(kGenerationPrefix.size()), put.value);
    if (!entry.ok()) continue;
    if (entry->state == GenerationState::kBuilding) name = "register";
    if (entry->state == GenerationState::kDeleting) name = "deleting";
  }
  return name;
}

}  // namespace

std::string StepOf(Operation operation, Moment moment, const std::string& path) {
  const Place place = PlaceOf(path);
  if (place.folder == "staging") return StagingStep(operation, moment, place);
  if (moment != Moment::kAfter) return "";
  if (place.folder == "generations") {
    if (operation == Operation::kRename && place.depth == 1) return "moved";
    if (operation == Operation::kSync && place.depth == 0) return "parent-synced";
  }
  if (place.folder == "trash") {
    if (operation == Operation::kRename) return "trashed";
    if (operation == Operation::kSync) return "trash-synced";
    if (operation == Operation::kDelete) return "unlinked";
  }
  if (place.folder == "sessions" && operation == Operation::kRename) return "sessions-renamed";
  return "";
}

Status WatchedCatalog::Commit(const Change& change) {
  const std::string name = ChangeName(change);
  if (!name.empty()) observer_("before-" + name);
  VELLUM_TRY(target_->Commit(change));
  if (!name.empty()) observer_("after-" + name);
  return {};
}

}  // namespace vellum::sync
