#pragma once

namespace vellum {

/// Asks the kernel to let this thread, and the threads that it starts from now on, have short turns on a processor (0.1 ms)
/// for which they need not wait long: woken, such a thread takes over from one whose turns are longer, a compiler's or a
/// backup's for one, which otherwise keeps its core for up to 4 ms. What a thread gets in the long run, its priority and
/// its class stay as they are.
///
/// False: the kernel does not do that (Linux does from 6.12 on), the thread is of a class without turns, or a sandbox
/// forbids it. Then nothing has changed.
bool TakeShortTurns();

}  // namespace vellum
