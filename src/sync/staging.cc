#include "sync/staging.h"

#include <set>

#include "base/bytes.h"
#include "storage/files.h"
#include "sync/codec.h"
#include "vellum/sync/v1/staging.pb.h"

namespace vellum::sync {
namespace {

constexpr std::uint32_t kFormat = 1;
constexpr std::uint64_t kStagingFileBytesMax = 64u << 20;

/// Grants are most of every sync; their by-principal keys come next.
std::size_t MemoryShare(Bucket bucket, std::size_t all) {
  switch (bucket) {
    case Bucket::kGrant: return all / 2;
    case Bucket::kGrantByPrincipal: return all / 4;
    default: return all / 16;
  }
}

std::string StagingPath(const std::string& directory) { return directory + "/STAGING"; }

}  // namespace

Staging::Staging(Options options) : options_(std::move(options)) {}
Staging::~Staging() = default;

Result<std::unique_ptr<Staging>> Staging::Create(Options options) {
  VELLUM_ASSIGN_OR_RETURN(const bool exists, storage::Exists(options.files.get(), StagingPath(options.directory)));
  if (exists) {
    return FailedPrecondition(options.directory + " already holds a sync that is being written: resume it");
  }
  const std::size_t lanes = std::max<std::size_t>(1, options.lanes);
  options.memory_bytes /= lanes;
  std::unique_ptr<Staging> staging(new Staging(std::move(options)));
  for (std::size_t lane = 1; lane < lanes; ++lane) {
    staging->further_.push_back(std::unique_ptr<Staging>(new Staging(staging->options_)));
    staging->further_.back()->run_prefix_ = "lane-" + std::to_string(lane) + "-";
  }
  return staging;
}

namespace {

Result<v1::Staging> ReadStagingFile(const std::string& directory, storage::FileSystem* files) {
  const std::string path = StagingPath(directory);
  VELLUM_ASSIGN_OR_RETURN(const bool exists, storage::Exists(files, path));
  if (!exists) return NotFound(directory + " holds no checkpoint");
  VELLUM_ASSIGN_OR_RETURN(const std::string bytes, storage::ReadSmallFile(files, path, kStagingFileBytesMax));
  v1::Staging proto;
  if (!proto.ParseFromString(bytes) || proto.format() != kFormat) return DataLoss(path + " is damaged");
  for (const v1::Run& run : proto.runs()) {
    const BucketInfo* const bucket = run.bucket() > 0xFF ? nullptr : FindBucket(static_cast<std::uint8_t>(run.bucket()));
    if (bucket == nullptr || run.name().empty() || run.name().find('/') != std::string::npos) {
      return DataLoss(path + " names a run that cannot be: " + Printable(run.name()));
    }
  }
  return proto;
}

}  // namespace

Result<std::shared_ptr<const ReadView>> Staging::ReadCheckpoint(const std::string& directory, const GenerationId& id,
                                                                const FileSystemPtr& files) {
  VELLUM_ASSIGN_OR_RETURN(const v1::Staging proto, ReadStagingFile(directory, files.get()));
  std::map<Bucket, std::vector<std::string>> paths;
  for (const v1::Run& run : proto.runs()) paths[static_cast<Bucket>(run.bucket())].push_back(directory + "/" + run.name());
  std::map<Bucket, std::shared_ptr<const SortedRuns>> runs;
  for (const auto& [bucket, names] : paths) {
    VELLUM_ASSIGN_OR_RETURN(runs[bucket], OpenRuns(names, files));
  }
  return ViewOfRuns(id, std::move(runs));
}

Result<std::shared_ptr<const ReadView>> Staging::Snapshot(const GenerationId& id) {
  // By bucket and then lane: of equal keys the last runs' is shown.
  std::map<Bucket, std::vector<RunSorter::Freeze>> freezing;
  const auto freeze_lane = [&freezing](Staging* lane) -> Status {
    MutexLock lock(&lane->mu_);
    if (lane->sealing_) return Unavailable("the sync is being sealed: ask again");
    for (auto& [bucket, sorter] : lane->sorters_) {
      VELLUM_ASSIGN_OR_RETURN(auto freeze, sorter->Snapshot());
      freezing[bucket].push_back(std::move(freeze));
    }
    return {};
  };
  VELLUM_TRY(freeze_lane(this));
  for (const auto& lane : further_) VELLUM_TRY(freeze_lane(lane.get()));
  std::map<Bucket, std::shared_ptr<const SortedRuns>> runs;
  for (const auto& [bucket, lanes] : freezing) {
    std::vector<std::shared_ptr<const SortedRuns>> frozen;
    for (const RunSorter::Freeze& freeze : lanes) {
      VELLUM_ASSIGN_OR_RETURN(auto one, freeze());
      frozen.push_back(std::move(one));
    }
    runs[bucket] = UniteRuns(std::move(frozen));
  }
  return ViewOfRuns(id, std::move(runs));
}

Result<std::unique_ptr<Staging>> Staging::Resume(Options options) {
  storage::FileSystem* const files = options.files.get();
  VELLUM_ASSIGN_OR_RETURN(const v1::Staging proto, ReadStagingFile(options.directory, files));

  std::unique_ptr<Staging> staging(new Staging(std::move(options)));
  MutexLock lock(&staging->mu_);
  std::set<std::string> named = {"STAGING"};
  for (const v1::Run& run : proto.runs()) {
    VELLUM_TRY(staging->Sorter(static_cast<Bucket>(run.bucket()))->Adopt(staging->options_.directory + "/" + run.name()));
    named.insert(run.name());
  }
  // What came after the checkpoint is in nobody's way but that of new runs with the same names.
  VELLUM_ASSIGN_OR_RETURN(const auto names, storage::ListDirectory(files, staging->options_.directory));
  for (const std::string& name : names) {
    if (!named.contains(name)) VELLUM_TRY(storage::RemoveTree(files, staging->options_.directory + "/" + name));
  }
  staging->token_ = proto.token();
  staging->records_ = proto.records();
  return staging;
}

RunSorter* Staging::Sorter(Bucket bucket) {
  auto& sorter = sorters_[bucket];
  if (!sorter) {
    sorter = std::make_unique<RunSorter>(
        RunSorter::Options{options_.directory, run_prefix_ + std::string(FindBucket(static_cast<std::uint8_t>(bucket))->name),
                           MemoryShare(bucket, options_.memory_bytes), options_.files});
  }
  return sorter.get();
}

Status Staging::Put(const RecordView& record) {
  VELLUM_TRY(CheckRecord(record));
  key_.clear();
  value_.clear();
  AppendRecordKey(&key_, record);
  AppendRecordValue(&value_, record);
  MutexLock lock(&mu_);
  VELLUM_TRY(Sorter(RecordBucket(record.type))->Add(key_, value_));
  if (record.type == RecordType::kGrant) {
    index_key_.clear();
    AppendPrincipalIndexKey(&index_key_, key_, record);
    VELLUM_TRY(Sorter(Bucket::kGrantByPrincipal)->Add(index_key_, {}));
  }
  ++records_;
  return {};
}

std::uint64_t Staging::records() const {
  std::uint64_t records = records_;
  for (const auto& lane : further_) records += lane->records_;
  return records;
}

Status Staging::Checkpoint(std::string_view token) {
  if (!further_.empty()) return FailedPrecondition("a sync that is written in lanes cannot be checkpointed");
  if (token.size() > kTokenBytesMax) {
    return InvalidArgument("a checkpoint token of " + std::to_string(token.size()) + " bytes is above the limit of " +
                           std::to_string(kTokenBytesMax));
  }
  v1::Staging proto;
  proto.set_format(kFormat);
  proto.set_token(std::string(token));
  proto.set_records(records_);
  MutexLock lock(&mu_);
  for (auto& [bucket, sorter] : sorters_) {
    VELLUM_TRY(sorter->Flush());
    for (const std::string& path : sorter->runs()) {
      v1::Run* const run = proto.add_runs();
      run->set_name(path.substr(path.rfind('/') + 1));
      run->set_bucket(static_cast<std::uint32_t>(bucket));
    }
  }
  VELLUM_TRY(storage::SyncDirectory(options_.files.get(), options_.directory));
  VELLUM_TRY(storage::WriteFileDurably(options_.files.get(), StagingPath(options_.directory), proto.SerializeAsString()));
  token_.assign(token);
  return {};
}

Result<Derived> Staging::Seal(const MergeLimits& limits) {
  if (std::exchange(ended_, true)) return FailedPrecondition("this sync was sealed before, or tried to be: resume it");
  // By bucket and then lane: of equal keys the last cursor's is kept.
  std::map<Bucket, std::vector<std::unique_ptr<storage::TableCursor>>> cursors;
  const auto finish = [&cursors](Staging* lane) -> Status {
    MutexLock lock(&lane->mu_);
    lane->sealing_ = true;
    for (auto& [bucket, sorter] : lane->sorters_) {
      VELLUM_ASSIGN_OR_RETURN(auto cursor, sorter->Finish());
      cursors[bucket].push_back(std::move(cursor));
    }
    return {};
  };
  VELLUM_TRY(finish(this));
  for (const auto& lane : further_) VELLUM_TRY(finish(lane.get()));
  SortedRecords sorted;
  for (auto& [bucket, runs] : cursors) {
    auto cursor = MergeRuns(std::move(runs));
    if (bucket == Bucket::kGrantByPrincipal) {
      sorted.grants_by_principal = std::move(cursor);
    } else {
      sorted.records[static_cast<std::size_t>(BucketType(bucket))] = std::move(cursor);
    }
  }
  return SealSorted(std::move(sorted), limits);
}

}  // namespace vellum::sync
