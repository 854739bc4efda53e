#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/manual_clock.h"
#include "kv/engine.h"
#include "model/generator.h"
#include "model/reference.h"

namespace vellum::model {

/// Reads that must give what the reference says, at the current revision.
void CheckState(const kv::Engine& engine, const Reference& reference);
/// The same for every revision that is readable, and for all events in `rev`.
void CheckHistory(const kv::Engine& engine, const Reference& reference);

/// Compact is not a plain command: it also expires leases and wakes the reclaimer.
Result<kv::CommandResult> Run(kv::Engine* engine, const kv::Command& command, bool physical = false);

/// A digest of all rows but those that differ from run to run (ids).
std::uint64_t DigestOfRows(const kv::Engine& engine);

/// Options for a store that is small in every way, so that files, splits and parts come soon.
kv::EngineOptions TinyOptions(const std::string& directory, Clock* clock);

}  // namespace vellum::model
