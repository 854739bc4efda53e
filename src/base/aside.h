#pragma once

#include <future>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

namespace vellum {

/// Has `work` done on a thread of its own while the caller goes on. Where no thread can be had, it has been done on the
/// caller's when this returns. So what is done aside may not wait for what the caller does after it.
/// The future waits for the work when it goes, as std::async's do.
template <typename Work>
[[nodiscard]] std::future<std::invoke_result_t<Work&>> DoAside(Work work) {
  const auto kept = std::make_shared<Work>(std::move(work));
  try {
    return std::async(std::launch::async, [kept] { return (*kept)(); });
  } catch (const std::system_error&) {
    std::packaged_task<std::invoke_result_t<Work&>()> here([kept] { return (*kept)(); });
    auto done = here.get_future();
    here();
    return done;
  }
}

}  // namespace vellum
