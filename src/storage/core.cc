#include "storage/core.h"

#include <rocksdb/convenience.h>

#include <utility>

#include "storage/blame.h"
#include "storage/engine_status.h"
#include "storage/files.h"
#include "storage/log_check.h"

namespace vellum::storage {

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
  // Compactions give way to requests; flushes keep their priority, because writers wait for them.
  core->parts_.env->LowerThreadPoolCPUPriority(rocksdb::Env::Priority::LOW, rocksdb::CpuPriority::kLow)
      .PermitUncheckedError();
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
