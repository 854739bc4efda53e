#include "vellum/compactor.h"

#include <chrono>
#include <map>
#include <memory>

#include "base/bytes.h"
#include "sync/embedded_store.h"

// The public operations: checks of what is public, then the operations of this room.
namespace vellum {
namespace {

/// Null for a null pointer, and for a SyncStore that this library did not make.
const sync::EmbeddedStore* Ours(const SyncStore* store) { return dynamic_cast<const sync::EmbeddedStore*>(store); }

}  // namespace

Result<CompactOutcome> Compactor::Compact(SyncStore* source, std::string_view sync_id, const SyncWork& work) {
  if (base_ == nullptr) return InvalidArgument("replace: no base store was given");
  if (source == nullptr) return InvalidArgument("replace: no source store was given");
  if (sync_id.empty()) return InvalidArgument("replace: the sync id is empty");
  const std::string name = "sync " + Printable(sync_id);
  if (source == base_) return InvalidArgument("replace: source and base are the same store, and " + name);
  const auto* const base_store = Ours(base_);
  const auto* const source_store = Ours(source);
  if (base_store == nullptr || source_store == nullptr) {
    return InvalidArgument("replace: " + name + ": a store that SyncStore did not open");
  }
  const sync::EmbeddedStore::Use base(base_store->body());
  if (!base) return sync::StoreClosed().WithContext(name + ": base");
  const sync::EmbeddedStore::Use from(source_store->body());
  if (!from) return sync::StoreClosed().WithContext(name + ": source");

  auto replaced = sync::ReplaceSync(base.get(), from.get(), sync_id, work, scratch_dir_);
  if (!replaced.ok()) return std::move(replaced).error();
  CompactOutcome outcome;
  outcome.result = replaced->emptied   ? CompactResult::kEmptySync
                   : replaced->created ? CompactResult::kCreated
                                       : CompactResult::kReplaced;
  outcome.records = replaced->generation->info().records();
  outcome.files_linked = replaced->files_linked;
  outcome.bytes_copied = replaced->bytes_copied;
  outcome.generation = replaced->generation->info().id;
  return outcome;
}

Result<MergeIntoOutcome> MergeInto(SyncStore* dest, const std::vector<SourceSync>& sources, std::string_view dest_sync_id,
                                   const MergeIntoOptions& options, const SyncWork& work) {
  const auto began = std::chrono::steady_clock::now();
  if (dest == nullptr) return InvalidArgument("merge: no destination store was given");
  // One use of each store: a lock must not be taken twice by one thread.
  std::map<const SyncStore*, std::unique_ptr<sync::EmbeddedStore::Use>> uses;
  const auto use = [&uses](const SyncStore* store, const std::string& what) -> Result<sync::Store*> {
    auto& present = uses[store];
    if (!present) {
      const auto* const ours = Ours(store);
      if (ours == nullptr) return InvalidArgument("merge: " + what + " is a store that SyncStore did not open");
      present = std::make_unique<sync::EmbeddedStore::Use>(ours->body());
    }
    if (!*present) return sync::StoreClosed().WithContext("merge: " + what);
    return present->get();
  };
  VELLUM_ASSIGN_OR_RETURN(sync::Store* const into, use(dest, "the destination"));
  std::vector<sync::MergeSourceSync> inputs;
  for (const SourceSync& source : sources) {
    sync::MergeSourceSync input{nullptr, source.sync_id};
    const std::string what = "source " + std::to_string(inputs.size() + 1);
    if (source.store != nullptr) {
      VELLUM_ASSIGN_OR_RETURN(input.store, use(source.store, what));
    }
    inputs.push_back(std::move(input));
  }
  sync::MergeOptions how;
  how.strategy = options.strategy;
  how.ties = options.ties;
  how.fan_in_max = options.fan_in_max;
  VELLUM_ASSIGN_OR_RETURN(sync::MergeOutcome merged, sync::MergeSyncs(into, std::move(inputs), dest_sync_id, how, work));
  MergeIntoOutcome outcome;
  outcome.stats = merged.stats;
  outcome.strategy = merged.strategy;
  outcome.why = std::move(merged.why);
  outcome.changed = merged.changed;
  outcome.records = merged.generation->info().records();
  outcome.bytes_written = merged.bytes_written;
  outcome.generation = merged.generation->info().id;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return outcome;
}

}  // namespace vellum
