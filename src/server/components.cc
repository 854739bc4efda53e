#include "server/version.h"
#include "storage/database.h"
#include "wire/http2_version.h"

namespace vellum::server {

Components FindComponents() { return {.rocksdb = storage::Database::EngineVersion(), .nghttp2 = wire::Http2Version()}; }

}  // namespace vellum::server
