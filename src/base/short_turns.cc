#include "base/short_turns.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace vellum {
namespace {

/// The least that Linux grants.
constexpr std::uint64_t kTurnNanos = 100'000;

/// The kernel's sched_attr in its first version, which every kernel takes. Its header and the C library's sched.h exclude
/// each other, and this C library has no names for the two calls either.
struct Scheduling {
  std::uint32_t size = 0;
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};
static_assert(sizeof(Scheduling) == 48);

bool Get(Scheduling* scheduling) {
  return syscall(SYS_sched_getattr, 0, scheduling, sizeof(*scheduling), 0) == 0;
}
bool HasTurns(const Scheduling& scheduling) {
  return scheduling.policy == SCHED_OTHER || scheduling.policy == SCHED_BATCH;
}
bool Set(Scheduling* scheduling) { return syscall(SYS_sched_setattr, 0, scheduling, 0) == 0; }

}  // namespace

bool TakeShortTurns() {
  Scheduling scheduling;
  if (!Get(&scheduling)) return false;
  if (!HasTurns(scheduling)) return false;
  scheduling.runtime = kTurnNanos;
  if (!Set(&scheduling)) return false;
  // A kernel that knows nothing of turns takes the number and forgets it.
  return Get(&scheduling) && scheduling.runtime == kTurnNanos;
}

OrdinaryTurns::OrdinaryTurns() {
  Scheduling scheduling;
  if (!Get(&scheduling) || !HasTurns(scheduling) || scheduling.runtime == 0) return;
  const std::uint64_t before = std::exchange(scheduling.runtime, 0);
  if (Set(&scheduling)) before_ = before;
}

OrdinaryTurns::~OrdinaryTurns() {
  Scheduling scheduling;
  if (before_ == 0 || !Get(&scheduling)) return;
  scheduling.runtime = before_;
  Set(&scheduling);
}

}  // namespace vellum
