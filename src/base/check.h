#pragma once

#include <string_view>

namespace vellum {

/// Prints `what` with its place on standard error and aborts. For broken assumptions of the code itself, never for
/// bytes from a user, the disk or a peer: those get a Status.
[[noreturn]] void CheckFailed(const char* file, int line, std::string_view what);

}  // namespace vellum

/// Aborts, in every build, unless `condition` holds.
#define VELLUM_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::vellum::CheckFailed(__FILE__, __LINE__, #condition))

/// As VELLUM_CHECK in builds without NDEBUG; nothing in the others.
#ifdef NDEBUG
#define VELLUM_DCHECK(condition) static_cast<void>(0)
#else
#define VELLUM_DCHECK(condition) VELLUM_CHECK(condition)
#endif
