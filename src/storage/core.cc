#include "storage/core.h"

#include <rocksdb/convenience.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/short_turns.h"
#include "storage/blame.h"
#include "storage/engine_status.h"
#include "storage/files.h"
#include "storage/log_check.h"

namespace vellum::storage {
namespace {

/// A tenth of the processor time that one gets who wants it at the same time. The more it were, the sooner a writer that has just
/// run would have had its share, and the kernel looks again only at its next tick.
constexpr int kFlushNice = 10;

/// On the thread that flushes, of which RocksDB has one. Repeating it changes nothing.
void GiveWay() {
  const id_t self = static_cast<id_t>(::gettid());
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, self);
  if (errno == 0 && nice < kFlushNice) ::setpriority(PRIO_PROCESS, self, kFlushNice);
}

}  // namespace

Core::Core(Logger logger, std::string path, bool sync_wal)
    : logger_(logger), path_(std::move(path)), sync_wal_(sync_wal) {}

Result<std::shared_ptr<Core>> Core::Open(const DatabaseOptions& options) {
  auto core = std::make_shared<Core>(options.logger, options.path, options.sync_wal);
  VELLUM_ASSIGN_OR_RETURN(const EngineOptions engine, MakeEngineOptions(options, &core->parts_));
  if (options.create_if_missing) {
    VELLUM_TRY(CreateDirectories(options.file_system.get(), options.path).WithContext("open " + options.path));
  }
  VELLUM_TRY(CheckLogs(core->parts_.files.get(), options.path,
                       {.accept_loss = options.accept_wal_loss, .logger = options.logger})
                 .WithContext("open " + options.path));
  rocksdb::DB* db = nullptr;
  // RocksDB starts its threads with the first database.
  const OrdinaryTurns background;
  rocksdb::Status status = rocksdb::DB::Open(engine.db, options.path, engine.families, &core->families_, &db);
  core->db_.reset(db);
  if (!status.ok()) {
    return BlameFile(status, core->parts_.env.get(), options.path).WithContext("open " + options.path);
  }
  for (Family family = 0; family < core->families_.size(); ++family) {
    // Batches name families by number: see FamilyNumber.
    if (core->families_[family]->GetID() != family) {
      return FailedPrecondition("column family \"" + options.families[family].name + "\" of " + options.path +
                                " has number " + std::to_string(core->families_[family]->GetID()) + ", expected " +
                                std::to_string(family));
    }
  }
  // Compactions give way to requests, and flushes do to a degree: a writer that has no memtable left waits for them.
  core->parts_.env->LowerThreadPoolCPUPriority(rocksdb::Env::Priority::LOW, rocksdb::CpuPriority::kLow)
      .PermitUncheckedError();
  core->parts_.env->Schedule([](void*) { GiveWay(); }, nullptr, rocksdb::Env::Priority::HIGH);
  return core;
}

Core::~Core() {
  if (db_ == nullptr) return;
  for (rocksdb::ColumnFamilyHandle* family : families_) {
    db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  if (const rocksdb::Status status = db_->Close(); !status.ok()) {
    VELLUM_LOG(logger_, kWarn, "closing the database failed", {{"path", path_}, {"error", status.ToString()}});
  }
}

Status Core::ReadOutcome(const rocksdb::Status& status) const {
  Status outcome = FromEngine(status);
  if (outcome.code() != Code::kDataLoss) return outcome;
  MutexLock lock(&damage_mu_);
  if (outcome.message() != last_damage_) {
    last_damage_ = outcome.message();
    VELLUM_LOG(logger_, kError, "stored bytes are damaged", {{"path", path_}, {"error", last_damage_}});
  }
  return outcome;
}

void Core::StopBackgroundWork() { rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/false); }

void Core::FinishBackgroundWork() { rocksdb::CancelAllBackgroundWork(db_.get(), /*wait=*/true); }

}  // namespace vellum::storage
