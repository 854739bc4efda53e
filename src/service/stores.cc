#include "service/stores.h"

#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace vellum::service {

Result<std::unique_ptr<DataDirectory>> DataDirectory::Open(const std::string& path, IfMissing if_missing) {
  std::unique_ptr<DataDirectory> opened(new DataDirectory());
  kv::EngineOptions engine;
  engine.data_dir = path;
  engine.create_if_missing = if_missing == IfMissing::kCreate;
  auto started = kv::Engine::Open(std::move(engine));
  if (!started.ok()) {
    // The one failure that people meet who work beside a running server.
    const bool held = started.error().message().find(" is in use by ") != std::string::npos;
    if (!held) return std::move(started).error();
    return FailedPrecondition(started.error().message() + "; a server on it can be asked with --endpoint HOST:PORT");
  }
  opened->engine_ = *std::move(started);
  opened->catalog_ = std::make_unique<sync::KvCatalog>(opened->engine_.get());
  sync::StoreOptions store;
  store.data_dir = path;
  VELLUM_ASSIGN_OR_RETURN(opened->store_, sync::Store::Open(std::move(store), opened->catalog_.get()));
  return opened;
}

DataDirectory::~DataDirectory() {
  store_.reset();
  if (engine_) engine_->Stop().IgnoreError("what was acknowledged is durable");
}

Result<std::unique_ptr<ScratchDirectory>> ScratchDirectory::Make() {
  std::error_code error;
  const std::filesystem::path system = std::filesystem::temp_directory_path(error);
  if (error) return FailedPrecondition("there is no directory for temporary files: " + error.message());
  std::string path = (system / "vellum-scratch-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) {
    return FailedPrecondition("cannot make a scratch directory in " + system.string() + ": " + std::strerror(errno));
  }
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(std::move(path)));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

Result<std::unique_ptr<ScratchStore>> ScratchStore::MakeBeside(const std::string& beside) {
  std::string path = (beside.empty() ? std::string(".") : beside) + "/.vellum-scratch-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return FailedPrecondition("cannot make a scratch directory in " + beside + ": " + std::strerror(errno));
  }
  std::unique_ptr<ScratchStore> scratch(new ScratchStore(std::move(path), /*owns=*/true));
  VELLUM_TRY(scratch->Open());
  return scratch;
}

Result<std::unique_ptr<ScratchStore>> ScratchStore::OpenIn(const std::string& directory) {
  std::unique_ptr<ScratchStore> scratch(new ScratchStore(directory, /*owns=*/false));
  VELLUM_TRY(scratch->Open());
  return scratch;
}

Status ScratchStore::Open() {
  sync::StoreOptions options;
  options.data_dir = directory_;
  VELLUM_ASSIGN_OR_RETURN(store_, sync::Store::Open(std::move(options), &catalog_));
  return {};
}

ScratchStore::~ScratchStore() {
  store_.reset();
  std::error_code error;
  if (owns_) std::filesystem::remove_all(directory_, error);
}

}  // namespace vellum::service
