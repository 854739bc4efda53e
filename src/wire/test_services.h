#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/test_await.h"
#include "wire/server.h"
#include "wire/service.h"

namespace vellum::wire {

/// A thread that runs what it is given, in order; what a service's worker pool is to the wire.
class TestWorker {
 public:
  TestWorker();
  ~TestWorker();
  void Post(std::function<void()> task);

 private:
  void Run();

  std::mutex mu_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

/// The services that the tests call, and what they saw.
///
///   /test.Echo/Unary        answers with the request
///   /test.Echo/Worker       the same, from another thread
///   /test.Echo/Fail         fails with kNotFound and the request as text
///   /test.Echo/Forget       drops its reply
///   /test.Echo/Hold         keeps its reply in `held`
///   /test.Echo/Big          answers with as many bytes as the request says in decimal
///   /test.Echo/Stream       echoes each message; ends with OK after the half-close
///   /test.Echo/Feed         ends nothing and sends what the test sends through `writers`
///   /test.Echo/Hoard        consumes nothing until the test says so
class TestServices {
 public:
  TestServices();
  ~TestServices();

  ServiceTable& table() { return table_; }

  struct Seen {
    std::atomic<int> streams_open{0};
    std::atomic<int> streams_closed{0};
    std::atomic<int> half_closed{0};
    std::atomic<int> writable{0};
    std::atomic<int> messages{0};
    std::atomic<std::size_t> message_bytes{0};
  };
  Seen seen;

  /// What Hold kept, and the contexts of every call that has one there.
  std::vector<std::unique_ptr<UnaryReply>> TakeHeld();
  std::vector<std::shared_ptr<const CallContext>> contexts();
  std::vector<std::shared_ptr<StreamWriter>> writers();

 private:
  friend class FeedStream;
  void AddUnaries();
  void AddStreams();
  void AddHttp();

  TestWorker worker_;
  std::mutex mu_;
  std::vector<std::unique_ptr<UnaryReply>> held_;
  std::vector<std::shared_ptr<const CallContext>> contexts_;
  std::vector<std::shared_ptr<StreamWriter>> writers_;
  ServiceTable table_;
};

/// A message of one piece.
Message OneMessage(std::string bytes);

/// A server on a free port of 127.0.0.1 with TestServices; stopped with the object.
class TestServer {
 public:
  explicit TestServer(const std::function<void(ServerOptions*)>& adjust = {});
  ~TestServer();

  const std::string& address() const { return address_; }
  Server& server() { return *server_; }
  TestServices& services() { return services_; }
  /// The value of a metric with exactly this name and labels, as exposed; -1 if there is none.
  double Metric(const std::string& line_start) const;
  /// Waits until the metric has this value.
  bool WaitForMetric(const std::string& line_start, double value) const;

 private:
  Metrics metrics_;
  TestServices services_;
  std::unique_ptr<Server> server_;
  std::string address_;
};

/// Polls `condition` until it holds, at most 20 s (with patience).
bool Eventually(const std::function<bool()>& condition);

}  // namespace vellum::wire
