#pragma once

#include <cstdint>

namespace vellum {

/// Asks the kernel to let this thread, and the threads that it starts from now on, have short turns on a processor (0.1 ms)
/// for which they need not wait long: woken, such a thread takes over from one whose turns are longer, a compiler's or a
/// backup's for one, which otherwise keeps its core for up to 4 ms. What a thread gets in the long run, its priority and
/// its class stay as they are.
///
/// False: the kernel does not do that (Linux does from 6.12 on), the thread is of a class without turns, or a sandbox
/// forbids it. Then nothing has changed.
bool TakeShortTurns();

/// While it lives, the thread that made it, and threads that it starts, have turns of the kernel's own length; then the
/// thread has those from before again. For threads that work in the background: one whose turns are short keeps its core
/// through each of them, and does so from somebody who is woken meanwhile and whose turns are as short.
class OrdinaryTurns {
 public:
  OrdinaryTurns();
  ~OrdinaryTurns();
  OrdinaryTurns(const OrdinaryTurns&) = delete;
  OrdinaryTurns& operator=(const OrdinaryTurns&) = delete;

 private:
  std::uint64_t before_ = 0;  // nanoseconds; 0: nothing was changed
};

}  // namespace vellum
