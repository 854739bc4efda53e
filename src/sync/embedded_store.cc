#include "sync/embedded_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kv/engine.h"
#include "kv/store_handle.h"
#include "sync/embedded_view.h"
#include "sync/kv_catalog.h"

namespace vellum::sync {
namespace {

/// The catalog in a metadata plane that may be closed meanwhile.
class HandleCatalog final : public Catalog {
 public:
  explicit HandleCatalog(std::shared_ptr<kv::EngineHandle> handle) : handle_(std::move(handle)) {}

  Result<std::optional<Row>> Get(std::string_view key) const override {
    const kv::EngineHandle::Use engine(*handle_);
    if (!engine) return StoreClosed();
    return KvCatalog(engine.get()).Get(key);
  }
  Result<std::vector<Row>> List(std::string_view prefix) const override {
    const kv::EngineHandle::Use engine(*handle_);
    if (!engine) return StoreClosed();
    return KvCatalog(engine.get()).List(prefix);
  }
  Status Commit(const Change& change) override {
    const kv::EngineHandle::Use engine(*handle_);
    return engine ? KvCatalog(engine.get()).Commit(change) : StoreClosed();
  }
  Result<LeaseId> GrantLease(std::int64_t ttl_s) override {
    const kv::EngineHandle::Use engine(*handle_);
    if (!engine) return StoreClosed();
    return KvCatalog(engine.get()).GrantLease(ttl_s);
  }
  Result<bool> RenewLease(LeaseId id) override {
    const kv::EngineHandle::Use engine(*handle_);
    if (!engine) return StoreClosed();
    return KvCatalog(engine.get()).RenewLease(id);
  }
  Status RevokeLease(LeaseId id) override {
    const kv::EngineHandle::Use engine(*handle_);
    return engine ? KvCatalog(engine.get()).RevokeLease(id) : StoreClosed();
  }

 private:
  const std::shared_ptr<kv::EngineHandle> handle_;
};

/// Holds the data plane of a directory: two stores over the same generations would sweep each other's work.
class DirectoryLock {
 public:
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }
  Status Take(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    fd_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd_ < 0) return Internal("cannot open " + path + ": " + std::strerror(errno));
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return {};
    return FailedPrecondition("the syncs of " + path + " are open already");
  }

 private:
  int fd_ = -1;
};

SyncInfo InfoOf(SyncEntry&& entry) {
  SyncInfo info;
  info.being_written = !entry.staging.empty();
  info.run = std::move(entry.run);
  info.connector = std::move(entry.connector);
  for (HistoryEntry& past : entry.history) {
    info.history.push_back(
        {std::move(past.generation), std::move(past.digest), past.switched_at, std::move(past.operation)});
  }
  return info;
}

}  // namespace

Status StoreClosed() { return Unavailable("the store of syncs is closed", Reason::kStopped); }

class EmbeddedStore::Body {
 public:
  /// A writer that Close can end. Guarded by the body's lock.
  struct Writing {
    std::unique_ptr<SyncWriter> writer;
  };

  Status Open(std::shared_ptr<kv::EngineHandle> engine, std::unique_ptr<vellum::Store> owned, StoreOptions options) {
    owned_ = std::move(owned);
    {
      const kv::EngineHandle::Use use(*engine);
      if (!use) return StoreClosed();
      options.data_dir = use->options().data_dir;
    }
    lock_ = std::make_unique<DirectoryLock>();
    VELLUM_TRY(lock_->Take(options.data_dir + "/generations"));
    catalog_ = std::make_unique<HandleCatalog>(std::move(engine));
    VELLUM_ASSIGN_OR_RETURN(store_, Store::Open(std::move(options), catalog_.get()));
    return {};
  }

  Status Close() {
    const std::unique_lock<std::shared_mutex> lock(mu_);
    for (const auto& each : writing_) {
      if (const auto writing = each.lock()) writing->writer.reset();
    }
    writing_.clear();
    store_.reset();
    lock_.reset();
    return owned_ ? std::exchange(owned_, nullptr)->Close() : Status();
  }

  std::shared_ptr<Writing> Remember(std::unique_ptr<SyncWriter> writer) {
    auto writing = std::make_shared<Writing>(Writing{std::move(writer)});
    const std::lock_guard<std::mutex> lock(writing_mu_);
    std::erase_if(writing_, [](const auto& each) { return each.expired(); });
    writing_.push_back(writing);
    return writing;
  }

 private:
  friend class EmbeddedStore::Use;
  mutable std::shared_mutex mu_;
  std::unique_ptr<vellum::Store> owned_;     // guarded by mu_, as all here
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<HandleCatalog> catalog_;
  std::unique_ptr<Store> store_;
  std::mutex writing_mu_;                    ///< For Remember, which several users may call at once.
  std::vector<std::weak_ptr<Writing>> writing_;
};

EmbeddedStore::Use::Use(const Body& body) : lock_(body.mu_), store_(body.store_.get()) {}

namespace {

class EmbeddedWriter final : public vellum::SyncWriter {
 public:
  EmbeddedWriter(std::shared_ptr<EmbeddedStore::Body> body, std::shared_ptr<EmbeddedStore::Body::Writing> writing)
      : body_(std::move(body)), writing_(std::move(writing)) {}
  ~EmbeddedWriter() override {
    const EmbeddedStore::Use store(*body_);
    writing_->writer.reset();
  }

  Status Put(const RecordView& record) override {
    const EmbeddedStore::Use store(*body_);
    return Usable(store) ? writing_->writer->Put(record) : Ended(store);
  }
  Status Checkpoint(std::string_view token) override {
    const EmbeddedStore::Use store(*body_);
    return Usable(store) ? writing_->writer->Checkpoint(token) : Ended(store);
  }
  std::string token() const override {
    const EmbeddedStore::Use store(*body_);
    return Usable(store) ? writing_->writer->token() : std::string();
  }
  std::uint64_t records() const override {
    const EmbeddedStore::Use store(*body_);
    return Usable(store) ? writing_->writer->records() : 0;
  }
  Status Seal(Stamp ended_at, const SyncWork& work) override {
    const EmbeddedStore::Use store(*body_);
    if (!Usable(store)) return Ended(store);
    Status sealed = writing_->writer->Seal(ended_at, "seal", work).error();
    if (sealed.ok()) writing_->writer.reset();
    return sealed;
  }

 private:
  bool Usable(const EmbeddedStore::Use& store) const { return store && writing_->writer != nullptr; }
  static Status Ended(const EmbeddedStore::Use& store) {
    return store ? FailedPrecondition("the writer has sealed its sync already") : StoreClosed();
  }

  const std::shared_ptr<EmbeddedStore::Body> body_;
  const std::shared_ptr<EmbeddedStore::Body::Writing> writing_;
};

}  // namespace

Result<std::unique_ptr<SyncStore>> EmbeddedStore::Make(std::shared_ptr<kv::EngineHandle> engine,
                                                       std::unique_ptr<vellum::Store> owned, StoreOptions options) {
  auto body = std::make_shared<Body>();
  VELLUM_TRY(body->Open(std::move(engine), std::move(owned), std::move(options)));
  return std::unique_ptr<SyncStore>(std::make_unique<EmbeddedStore>(std::move(body)));
}

EmbeddedStore::~EmbeddedStore() { EmbeddedStore::Close().IgnoreError("whoever wants to know has called Close before"); }

Status EmbeddedStore::Close() { return body_->Close(); }

Result<std::vector<SyncInfo>> EmbeddedStore::List() const {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(auto entries, store->List());
  std::vector<SyncInfo> infos;
  for (SyncEntry& entry : entries) infos.push_back(InfoOf(std::move(entry)));
  return infos;
}

Result<std::optional<SyncInfo>> EmbeddedStore::Find(std::string_view sync_id) const {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(auto entry, store->Find(sync_id));
  if (!entry) return std::optional<SyncInfo>();
  return std::optional<SyncInfo>(InfoOf(*std::move(entry)));
}

Result<std::shared_ptr<const SyncView>> EmbeddedStore::Read(std::string_view sync_id) const {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(auto generation, store->OpenSync(sync_id));
  return NewView(std::move(generation));
}

Result<std::unique_ptr<vellum::SyncWriter>> EmbeddedStore::Write(SyncRun run, std::string connector,
                                                                 IfExists if_exists) {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(
      auto writer, SyncWriter::Begin(store.get(), std::move(run), std::move(connector),
                                     if_exists == IfExists::kReplace ? SyncWriter::IfExists::kReplace
                                                                     : SyncWriter::IfExists::kRefuse));
  return std::unique_ptr<vellum::SyncWriter>(
      std::make_unique<EmbeddedWriter>(body_, body_->Remember(std::move(writer))));
}

Result<std::unique_ptr<vellum::SyncWriter>> EmbeddedStore::Resume(std::string_view sync_id) {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(auto writer, SyncWriter::Resume(store.get(), sync_id));
  return std::unique_ptr<vellum::SyncWriter>(
      std::make_unique<EmbeddedWriter>(body_, body_->Remember(std::move(writer))));
}

Status EmbeddedStore::Rollback(std::string_view sync_id) {
  const Use store(*body_);
  return store ? store->Rollback(sync_id, std::nullopt).error() : StoreClosed();
}

Status EmbeddedStore::Delete(std::string_view sync_id) {
  const Use store(*body_);
  return store ? store->Delete(sync_id) : StoreClosed();
}

Result<std::uint64_t> EmbeddedStore::Sweep() {
  const Use store(*body_);
  if (!store) return StoreClosed();
  VELLUM_ASSIGN_OR_RETURN(const Store::Swept swept, store->Sweep());
  return swept.bytes;
}

}  // namespace vellum::sync

namespace vellum {

Result<std::unique_ptr<SyncStore>> SyncStore::Open(SyncStoreOptions options) {
  StoreOptions store;
  store.directory = options.directory;
  store.create_if_missing = options.create_if_missing;
  store.clock = options.clock;
  store.log_sink = options.log_sink;
  store.log_level = options.log_level;
  VELLUM_ASSIGN_OR_RETURN(auto opened, Store::Open(std::move(store)));
  sync::StoreOptions syncs;
  static_cast<SyncOptions&>(syncs) = options.sync;
  syncs.clock = options.clock;
  syncs.logger = Logger(options.log_sink, options.log_level);
  auto engine = kv::HandleOf(opened.get());
  return sync::EmbeddedStore::Make(std::move(engine), std::move(opened), std::move(syncs));
}

Result<std::unique_ptr<SyncStore>> SyncStore::Attach(Store* store, const SyncOptions& options) {
  if (store == nullptr) return InvalidArgument("a store of syncs needs a store to attach to");
  auto engine = kv::HandleOf(store);
  if (engine == nullptr) return InvalidArgument("syncs can be attached only to a store that Store::Open made");
  sync::StoreOptions syncs;
  static_cast<SyncOptions&>(syncs) = options;
  {
    const kv::EngineHandle::Use use(*engine);
    if (!use) return sync::StoreClosed();
    syncs.clock = use->options().clock;
    syncs.logger = Logger(use->options().log_sink, use->options().log_level);
  }
  return sync::EmbeddedStore::Make(std::move(engine), nullptr, std::move(syncs));
}

}  // namespace vellum
