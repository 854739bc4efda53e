#include "scenes.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/bytes.h"
#include "c1z/transfer.h"
#include "storage/files.h"
#include "sync/codec.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;

StoreOptions OptionsFor(const std::string& directory) {
  StoreOptions options;
  options.data_dir = directory;
  options.file_bytes = 8u << 10;     // several files per bucket
  options.memory_bytes = 64u << 10;  // several runs per bucket
  options.threads = 1;               // one order of steps
  options.history_max = 2;
  return options;
}

/// Records of every type, of which two thirds depend on `flavour`; grants with all indexes.
Status PutRecords(RecordSink* sink, int from, int to, const std::string& flavour, Stamp stamp) {
  for (int i = from; i < to; ++i) {
    const std::string number = std::to_string(i);
    const std::string data = "\x1a" + std::string(1, static_cast<char>(flavour.size() + 200)) + "\x01" + flavour + std::string(200, 'x');
    RecordView record;
    record.discovered_at = stamp;
    record.data = data;
    record.type = static_cast<RecordType>(i % 7 < 4 ? i % 7 : 3);
    record.type_id = "group";
    const std::string id = record.type == RecordType::kEntitlement ? "group:g" + number + ":member" : "id-" + number;
    const std::string resource = record.type == RecordType::kEntitlement ? "g" + number : "g" + std::to_string(i % 5);
    const std::string principal = i % 3 == 0 ? number : flavour + number;
    record.id = id;
    if (record.type == RecordType::kEntitlement) record.resource_id = resource;
    if (record.type == RecordType::kGrant) {
      record.resource_id = resource;
      record.entitlement_id = "member";
      record.principal_type_id = "user";
      record.principal_id = principal;
      record.needs_expansion = i % 2 == 0;
      record.expansion = i % 2 == 0 ? "\x0A\x01\x65" : "";
    }
    VELLUM_TRY(sink->Put(record));
  }
  return {};
}

SyncRun RunOf(const std::string& id, const std::string& type = "full") {
  SyncRun run;
  run.id = id;
  run.type = type;
  run.started_at = 1000;
  return run;
}

constexpr int kRecords = 700;

/// Writes a sync whole, over the one of that id if there is one.
Status Write(Store* store, const std::string& id, const std::string& flavour, Stamp stamp, int records = kRecords,
             const std::string& type = "full") {
  VELLUM_ASSIGN_OR_RETURN(const auto writer,
                          SyncWriter::Begin(store, RunOf(id, type), "scenes", SyncWriter::IfExists::kReplace));
  VELLUM_TRY(PutRecords(writer.get(), 0, records, flavour, stamp));
  return writer->Seal(2000 + stamp, "write").error();
}

Status WriteSessions(Store* store, const std::string& id, const std::string& flavour) {
  return store->WriteSessions(id, [&](const Store::PutPair& put) { return put("key", flavour); });
}

/// Checkpoints on the way; goes on from where an earlier attempt was stopped, as a connector does.
Status WriteInSteps(World* world, int checkpoints, bool seal) {
  VELLUM_ASSIGN_OR_RETURN(const auto present, world->store->Find("W"));
  std::unique_ptr<SyncWriter> writer;
  if (present && !present->staging.empty()) {
    VELLUM_ASSIGN_OR_RETURN(writer, SyncWriter::Resume(world->store.get(), "W"));
  } else if (present) {
    return {};  // sealed already
  } else {
    VELLUM_ASSIGN_OR_RETURN(writer, SyncWriter::Begin(world->store.get(), RunOf("W"), "scenes"));
  }
  int done = writer->token().empty() ? 0 : std::stoi(writer->token());
  for (; done < checkpoints; ++done) {
    VELLUM_TRY(PutRecords(writer.get(), done * 200, (done + 1) * 200, "new", 5));
    VELLUM_TRY(writer->Checkpoint(std::to_string(done + 1)));
  }
  if (!seal) return {};
  VELLUM_TRY(PutRecords(writer.get(), 400, 600, "new", 5));
  return writer->Seal(2005, "write").error();
}

Status Merge(World* world, Strategy strategy, std::size_t fan_in_max, int sources) {
  std::vector<MergeSourceSync> all;
  for (int i = 0; i < sources; ++i) all.push_back({world->store.get(), "P" + std::to_string(i)});
  MergeOptions options;
  options.strategy = strategy;
  options.fan_in_max = fan_in_max;
  options.create = true;
  return MergeSyncs(world->store.get(), all, "S", options).error();
}

Status WriteSources(World* world, int sources) {
  for (int i = 0; i < sources; ++i) {
    const std::string number = std::to_string(i);
    VELLUM_TRY(Write(world->store.get(), "P" + number, "part" + number, static_cast<Stamp>(4 + i), 150, "partial"));
  }
  return {};
}

Status PrepareMerge(World* world, int sources) {
  VELLUM_TRY(Write(world->store.get(), "S", "old", 5));
  return WriteSources(world, sources);
}

Status PrepareReplace(World* world) {
  VELLUM_TRY(Write(world->store.get(), "S", "old", 5));
  return Write(world->store.get(), "T", "other", 5, 50);
}

Status Replace(World* world) {
  VELLUM_TRY(world->OpenSource());
  VELLUM_TRY(Write(world->source.get(), "S", "new", 9));
  return ReplaceSync(world->store.get(), world->source.get(), "S").error();
}

/// The steps of a new generation, from its registration to the switch.
std::vector<std::string> PublishSteps(std::vector<std::string> more) {
  std::vector<std::string> steps = {"before-register",      "after-register",      "directory-made",
                                    "database-closed",      "generation-temporary", "generation-synced",
                                    "generation-renamed",   "generation-directory-synced", "moved",
                                    "parent-synced",        "before-switch",       "after-switch"};
  steps.insert(steps.end(), more.begin(), more.end());
  return steps;
}

const std::vector<std::string> kSweepSteps = {"before-deleting", "after-deleting", "trashed",      "trash-synced",
                                              "unlinked",        "before-forget",  "after-forget"};

/// Writes as many generations as the history keeps; the next one lets the first go.
Status FillHistory(World* world) {
  for (const char* flavour : {"one", "two"}) VELLUM_TRY(Write(world->store.get(), "S", flavour, 5, 100));
  return {};
}

/// A file with several syncs, and one with a connector's scratch pad.
Status Import(World* world) {
  c1z::ImportOptions options;
  options.replace = true;
  VELLUM_TRY(c1z::ImportFile(world->store.get(), std::string(VELLUM_FIXTURES) + "/c1z/sync-diff.v1.c1z", options, {}).error());
  VELLUM_TRY(world->OpenSource());
  VELLUM_TRY(Write(world->source.get(), "W", "new", 5, 50));
  VELLUM_TRY(WriteSessions(world->source.get(), "W", "new"));
  const std::string file = world->directory + "-source.c1z";
  VELLUM_TRY(storage::RemoveFile(nullptr, file));
  VELLUM_TRY(c1z::ExportFile(*world->source, {"W"}, file, {}, {}).error());
  options.connector = "scenes";
  return c1z::ImportFile(world->store.get(), file, options, {}).error();
}

Status ImportWithoutSessions(World* world) {
  VELLUM_TRY(Import(world));
  return world->store->WriteSessions("W", [](const Store::PutPair&) { return Status(); });
}

}  // namespace

Status World::Open() {
  store.reset();
  StoreOptions options = OptionsFor(directory);
  if (faults) options.files = faults->file_system();
  VELLUM_ASSIGN_OR_RETURN(store, Store::Open(options, catalog));
  return {};
}

Status World::OpenSource() {
  source.reset();
  std::error_code ignored;
  fs::remove_all(directory + "-source", ignored);
  VELLUM_ASSIGN_OR_RETURN(const auto rows, source_catalog.List("/"));
  for (const Catalog::Row& row : rows) {
    Catalog::Change change;
    change.remove.push_back(row.key);
    VELLUM_TRY(source_catalog.Commit(change));
  }
  VELLUM_ASSIGN_OR_RETURN(source, Store::Open(OptionsFor(directory + "-source"), &source_catalog));
  return {};
}

const std::vector<Scene>& Scenes() {
  static const std::vector<Scene> scenes = {
      {"write", [](World*) { return Status(); }, [](World* world) { return Write(world->store.get(), "W", "new", 5); },
       PublishSteps({"before-open-row", "after-open-row", "table-written", "table-synced"})},
      {"overwrite",
       [](World* world) -> Status {
         VELLUM_TRY(Write(world->store.get(), "W", "old", 5));
         return WriteSessions(world->store.get(), "W", "old");
       },
       [](World* world) -> Status {
         VELLUM_TRY(Write(world->store.get(), "W", "new", 5));
         return WriteSessions(world->store.get(), "W", "new");
       },
       PublishSteps({"table-written", "table-synced", "sessions-renamed"}),
       {[](World* world) { return Write(world->store.get(), "W", "new", 5); }}},
      {"checkpoint", [](World*) { return Status(); },
       [](World* world) { return WriteInSteps(world, 2, /*seal=*/true); },
       PublishSteps({"checkpoint-temporary", "checkpoint-synced", "checkpoint-renamed", "before-open-row", "after-open-row"}),
       {[](World* world) { return WriteInSteps(world, 1, /*seal=*/false); },
        [](World* world) { return WriteInSteps(world, 2, /*seal=*/false); }}},
      {"replace", PrepareReplace, Replace, PublishSteps({"linked"})},
      {"replace by copies", PrepareReplace,
       [](World* world) -> Status {
         world->faults->Inject({.operation = storage::FaultFileSystem::Operation::kLink, .name_contains = "/taken-",
                                .impossible = true});
         return Replace(world);
       },
       PublishSteps({"table-written", "table-synced"})},
      {"merge", [](World* world) { return PrepareMerge(world, 2); },
       [](World* world) { return Merge(world, Strategy::kMerge, 64, 2); }, PublishSteps({"table-written", "table-synced"})},
      {"merge into a new sync", [](World* world) { return WriteSources(world, 2); },
       [](World* world) { return Merge(world, Strategy::kAuto, 64, 2); }, PublishSteps({"table-written", "table-synced"})},
      {"merge in rounds", [](World* world) { return PrepareMerge(world, 5); },
       [](World* world) { return Merge(world, Strategy::kMerge, 2, 5); }, PublishSteps({"table-written", "table-synced"})},
      {"fold", [](World* world) { return PrepareMerge(world, 2); },
       [](World* world) { return Merge(world, Strategy::kFold, 64, 2); }, PublishSteps({"table-written", "table-synced"})},
      {"rollback",
       [](World* world) -> Status {
         VELLUM_TRY(Write(world->store.get(), "S", "old", 5));
         return Write(world->store.get(), "S", "new", 6);
       },
       // By name, so that running it again does not turn it round.
       [](World* world) -> Status {
         VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, world->store->Get("S"));
         const auto oldest = std::min_element(entry.history.begin(), entry.history.end(), [](const auto& a, const auto& b) {
           return a.operation + a.digest < b.operation + b.digest;
         });
         return world->store->Rollback("S", oldest->generation).error();
       },
       {"before-switch", "after-switch"}},
      {"delete",
       [](World* world) -> Status {
         VELLUM_TRY(Write(world->store.get(), "S", "old", 5));
         VELLUM_TRY(WriteSessions(world->store.get(), "S", "old"));
         return Write(world->store.get(), "T", "old", 5, 100);
       },
       [](World* world) -> Status {
         Status deleted = world->store->Delete("S");
         return deleted.code() == Code::kNotFound ? Status() : std::move(deleted);
       },
       [] {
         std::vector<std::string> steps = kSweepSteps;
         steps.insert(steps.end(), {"before-remove", "after-remove"});
         return steps;
       }()},
      {"sweep", FillHistory,
       [](World* world) -> Status {
         VELLUM_TRY(Write(world->store.get(), "S", "three", 5, 100));
         return world->store->Sweep().error();
       },
       kSweepSteps},
      {"import", [](World*) { return Status(); }, Import,
       PublishSteps({"before-open-row", "after-open-row", "table-written", "table-synced", "sessions-renamed"}),
       {ImportWithoutSessions}},
  };
  return scenes;
}

Result<Described> Describe(World* world) {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, world->store->List());
  Described described;
  for (const SyncEntry& sync : syncs) {
    std::string text = std::string(sync.state == SyncState::kOpen ? "open" : "sealed") + " " + sync.run.type + " of " +
                       sync.connector + " " + std::to_string(sync.run.started_at) + ".." + std::to_string(sync.run.ended_at) +
                       " token '" + sync.run.token + "'" + (sync.staging.empty() ? "" : " staged");
    if (!sync.history.empty()) {
      VELLUM_ASSIGN_OR_RETURN(const auto generation, world->store->OpenSync(sync.run.id));
      const std::string scratch = world->directory + "-verify";
      VELLUM_TRY(storage::CreateDirectories(nullptr, scratch));
      VELLUM_ASSIGN_OR_RETURN(const VerifyReport report, VerifyGeneration(*generation, scratch));
      if (!report.ok()) return DataLoss("sync " + sync.run.id + ": " + report.problems.front());
      for (const GenerationFile& file : generation->info().files) {
        const auto mode = fs::status(generation->FilePath(file)).permissions();
        if ((mode & (fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write)) != fs::perms::none) {
          return DataLoss(generation->FilePath(file) + " can be written to");
        }
      }
      if (sync.history.front().digest != generation->info().Digest().ToHex()) {
        return DataLoss("sync " + sync.run.id + ": the catalog's digest is not the generation's");
      }
      text += " " + std::to_string(report.records) + " records " + sync.history.front().digest;
    }
    VELLUM_TRY(world->store->ReadSessions(sync.run.id, [&text](std::string_view key, std::string_view value) {
      text += " session " + std::string(key) + "=" + std::string(value);
      return Status();
    }));
    described[sync.run.id] = text;
  }
  return described;
}

Result<std::vector<std::string>> LeftBehind(World* world) {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, world->store->List());
  std::set<std::string> wanted = {"sessions", "generations", "staging", "trash"};
  std::set<std::string> generations;
  for (const SyncEntry& sync : syncs) {
    for (const HistoryEntry& entry : sync.history) generations.insert(entry.generation);
    if (!sync.staging.empty()) wanted.insert("staging/" + sync.staging);
  }
  for (const GenerationId& id : generations) wanted.insert("generations/" + id);
  std::vector<std::string> left;
  for (const char* folder : {"generations", "staging", "trash", "unregistered"}) {
    const auto names = storage::ListDirectory(nullptr, world->directory + "/" + folder);
    if (!names.ok() && names.error().code() == Code::kNotFound) continue;
    if (!names.ok()) return names.error();
    for (const std::string& name : *names) {
      const std::string path = std::string(folder) + "/" + name;
      if (wanted.erase(path) == 0) left.push_back(path);
    }
  }
  for (const std::string& name : wanted) {
    if (name.find('/') != std::string::npos) left.push_back(name + " is missing");
  }
  VELLUM_ASSIGN_OR_RETURN(const auto rows, world->catalog->List(kGenerationPrefix));
  for (const Catalog::Row& row : rows) {
    if (!generations.contains(row.key.substr(kGenerationPrefix.size()))) left.push_back("row " + row.key + " " + row.value);
  }
  // Sessions: one file for each sync that has any, and nothing else.
  std::size_t with_sessions = 0;
  for (const SyncEntry& sync : syncs) {
    bool any = false;
    VELLUM_TRY(world->store->ReadSessions(sync.run.id, [&any](std::string_view, std::string_view) {
      any = true;
      return Status();
    }));
    if (any) ++with_sessions;
  }
  VELLUM_ASSIGN_OR_RETURN(const auto sessions, storage::ListDirectory(nullptr, world->directory + "/sessions"));
  if (sessions.size() != with_sessions) left.push_back(std::to_string(sessions.size()) + " files in sessions");
  return left;
}

Allowed AllowedBy(const std::vector<Described>& states) {
  Allowed allowed;
  for (const Described& state : states) {
    for (const auto& [id, text] : state) allowed[id];
  }
  for (auto& [id, texts] : allowed) {
    for (const Described& state : states) {
      const auto found = state.find(id);
      texts.push_back(found == state.end() ? "" : found->second);
    }
  }
  return allowed;
}

std::string Compare(const Described& state, const Allowed& allowed) {
  for (const auto& [id, states] : allowed) {
    const auto found = state.find(id);
    const std::string text = found == state.end() ? "" : found->second;
    if (std::find(states.begin(), states.end(), text) != states.end()) continue;
    std::string message = "sync " + id + " is \"" + text + "\", not one of:";
    for (const std::string& each : states) message += "\n    \"" + each + "\"";
    return message;
  }
  for (const auto& [id, text] : state) {
    if (!allowed.contains(id)) return "there is a sync " + id + ": " + text;
  }
  return {};
}

}  // namespace vellum::sync
