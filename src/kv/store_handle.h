#pragma once

#include <memory>

#include "kv/store_watch.h"

namespace vellum::kv {

/// The engine behind a public store, for what else this library keeps in it. Null for a Store that Store::Open did not make.
std::shared_ptr<EngineHandle> HandleOf(Store* store);

}  // namespace vellum::kv
