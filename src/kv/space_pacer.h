#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kv/applier.h"
#include "kv/disk_guard.h"
#include "storage/database.h"

namespace vellum::kv {

/// Makes large deletes fit on a disk that is nearly full. What is deleted moves to `history` and is there twice until the
/// command is done and the views of before are gone; but it need not be in the log and in memory as well. Where space is
/// plentiful this does nothing. On the applier's thread.
class SpacePacer final : public PartPacer {
 public:
  /// Both must outlive this object.
  SpacePacer(DiskGuard* guard, storage::Database* database) : guard_(guard), database_(database) {}

  std::size_t PartBytes() override {
    constexpr std::uint64_t kLeast = 1u << 20;
    const std::uint64_t room = guard_->RoomForDeletes();
    // A part is in the log, in memory and in a table at the same time.
    return static_cast<std::size_t>(room == UINT64_MAX ? room : std::max(room / 8, kLeast));
  }

  Status AfterPart(const KeyInterval&) override {
    if (guard_->RoomForDeletes() == UINT64_MAX) return {};
    VELLUM_TRY(database_->Sync());
    return database_->Flush();  // and the log goes
  }

 private:
  DiskGuard* const guard_;
  storage::Database* const database_;
};

}  // namespace vellum::kv
