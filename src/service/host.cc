#include "service/host.h"

#include <filesystem>

namespace vellum::service {

Host::Host(kv::Engine* engine, sync::StoreOptions options, sync::KeeperOptions keeper)
    : options_(std::move(options)), keeper_options_(std::move(keeper)), metrics_(options_.metrics), catalog_(engine) {}

Host::~Host() { Stop(); }

void Host::Start() {
  std::error_code error;
  if (!std::filesystem::exists(options_.data_dir + "/generations", error)) return;
  opener_ = std::thread([this] {
    const auto opened = service();
    if (opened.ok() || opened.error().code() == Code::kUnavailable) return;
    VELLUM_LOG(options_.logger, kError, "the syncs of the data directory cannot be opened",
               {{"error", opened.error().message()}});
  });
}

Result<LocalSyncService*> Host::service() {
  MutexLock lock(&mu_);
  if (stopped_) return Unavailable("the server is stopping");
  if (service_) return service_.get();
  VELLUM_ASSIGN_OR_RETURN(store_, sync::Store::Open(options_, &catalog_));
  service_ = std::make_unique<LocalSyncService>(store_.get());
  shown_.store(store_.get(), std::memory_order_release);
  keeper_ = std::make_unique<sync::Keeper>(keeper_options_, store_.get(), options_.logger);
  keeper_->Start();
  return service_.get();
}

bool Host::IsWriterLease(LeaseId id) const {
  const sync::Store* const store = shown_.load(std::memory_order_acquire);
  return store != nullptr && store->IsWriterLease(id);
}

void Host::Stop() {
  {
    MutexLock lock(&mu_);
    stopped_ = true;
  }
  if (opener_.joinable()) opener_.join();
  MutexLock lock(&mu_);
  keeper_.reset();
  shown_.store(nullptr, std::memory_order_release);
  service_.reset();
  store_.reset();
}

}  // namespace vellum::service
