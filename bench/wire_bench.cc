// What the wire costs by itself: an echo service in this process, driven by nghttp2 client sessions on one thread.
//
//   wire_bench [seconds per workload]
//
// Prints operations per second and, what counts here, the processor time that everything but the client's thread took
// per operation.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/metrics.h"
#include "wire/server.h"
#include "wire/service.h"

namespace vellum::wire {
namespace {

using SteadyClock = std::chrono::steady_clock;

double ProcessCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double ThreadCpuSeconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Message OneMessage(std::string bytes) {
  Message message;
  message.push_back({std::move(bytes), nullptr});
  return message;
}

class EchoStream final : public StreamHandler {
 public:
  explicit EchoStream(std::shared_ptr<StreamWriter> writer) : writer_(std::move(writer)) {}
  void OnMessage(std::string_view message) override {
    writer_->Send(OneMessage(std::string(message)));
    writer_->Consumed(message.size());
  }
  void OnHalfClose() override { writer_->Finish({}); }
  void OnClosed() override {}

 private:
  const std::shared_ptr<StreamWriter> writer_;
};

class SilentStream final : public StreamHandler {
 public:
  void OnMessage(std::string_view) override {}
  void OnHalfClose() override {}
  void OnClosed() override {}
};

/// Answers from a thread of its own, as a store's workers do.
class Worker {
 public:
  Worker() : thread_([this] { Run(); }) {}
  ~Worker() {
    stop_ = true;
    thread_.join();
  }
  void Post(std::unique_ptr<UnaryReply> reply, std::string text) {
    const std::lock_guard lock(mu_);
    tasks_.emplace_back(std::move(reply), std::move(text));
    wake_.notify_one();
  }

 private:
  void Run() {
    while (!stop_) {
      std::deque<std::pair<std::unique_ptr<UnaryReply>, std::string>> batch;
      {
        std::unique_lock lock(mu_);
        wake_.wait_for(lock, std::chrono::milliseconds(50), [this] { return !tasks_.empty(); });
        batch.swap(tasks_);
      }
      for (auto& [reply, text] : batch) reply->Finish(OneMessage(std::move(text)));
    }
  }

  std::mutex mu_;
  std::condition_variable wake_;
  std::deque<std::pair<std::unique_ptr<UnaryReply>, std::string>> tasks_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

struct Feeds {
  std::mutex mu;
  std::vector<std::shared_ptr<StreamWriter>> writers;
};

/// One connection with some callers, each of which has one call, or one message, outstanding.
class ClientConnection {
 public:
  enum class Mode { kUnary, kStream, kFeed };

  ClientConnection(std::uint16_t port, Mode mode, std::string path, std::string message)
      : mode_(mode), path_(std::move(path)) {
    message_.assign("\0\0\0\0", 4);
    message_.push_back(static_cast<char>(message.size()));
    message_ += message;
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    VELLUM_CHECK(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    const int yes = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    ::fcntl(fd_, F_SETFL, O_NONBLOCK);
    MakeSession();
  }
  ~ClientConnection() {
    nghttp2_session_del(session_);
    ::close(fd_);
  }

  int fd() const { return fd_; }
  std::uint64_t done() const { return done_; }

  void StartCall() {
    const auto field = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0};
    };
    const nghttp2_nv fields[] = {field(":method", "POST"),
                                 field(":scheme", "http"),
                                 field(":path", path_),
                                 field(":authority", "127.0.0.1:2379"),
                                 field("te", "trailers"),
                                 field("content-type", "application/grpc"),
                                 field("user-agent", "wire-bench/1 (with a name of the usual length)"),
                                 field("grpc-timeout", "4999m")};
    nghttp2_data_provider provider{};
    provider.read_callback = ReadBody;
    unsent_ = message_.size();
    nghttp2_submit_request(session_, nullptr, fields, std::size(fields), &provider, nullptr);
    if (mode_ != Mode::kUnary) {
      // The next stream's first message must not be taken for this one's.
      Flush();
    }
  }

  void Flush() {
    for (;;) {
      const std::uint8_t* bytes = nullptr;
      const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
      if (size <= 0) break;
      out_.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    }
    if (out_.empty()) return;
    const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent > 0) out_.erase(0, static_cast<std::size_t>(sent));
  }

  void Read(std::vector<char>* buffer) {
    const ssize_t got = ::recv(fd_, buffer->data(), buffer->size(), 0);
    if (got <= 0) return;
    nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(buffer->data()),
                             static_cast<std::size_t>(got));
    Flush();
  }

 private:
  static ssize_t ReadBody(nghttp2_session*, std::int32_t id, std::uint8_t* to, std::size_t, std::uint32_t* flags,
                          nghttp2_data_source*, void* user_data) {
    auto* const self = static_cast<ClientConnection*>(user_data);
    if (self->mode_ != Mode::kUnary) {
      auto& owed = self->OwedOn(id);
      if (owed == 0) return NGHTTP2_ERR_DEFERRED;
      --owed;
    } else {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    std::memcpy(to, self->message_.data(), self->message_.size());
    return static_cast<ssize_t>(self->message_.size());
  }
  static int OnData(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t*, std::size_t size,
                    void* user_data) {
    auto* const self = static_cast<ClientConnection*>(user_data);
    if (self->mode_ == Mode::kUnary) return 0;
    if (self->mode_ == Mode::kFeed) {
      self->bytes_ += size;
      self->done_ = self->bytes_ / 305;
      return 0;
    }
    ++self->done_;
    ++self->OwedOn(id);
    nghttp2_session_resume_data(session, id);
    return 0;
  }
  static int OnClose(nghttp2_session*, std::int32_t, std::uint32_t, void* user_data) {
    auto* const self = static_cast<ClientConnection*>(user_data);
    ++self->done_;
    if (self->mode_ == Mode::kUnary) self->StartCall();
    return 0;
  }

  int& OwedOn(std::int32_t id) {
    const auto index = static_cast<std::size_t>(id / 2);
    if (owed_.size() <= index) owed_.resize(index + 1, 1);
    return owed_[index];
  }

  void MakeSession() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry window{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 24};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &window, 1);
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 1 << 28);
  }

  const Mode mode_;
  const std::string path_;
  std::string message_;
  int fd_ = -1;
  nghttp2_session* session_ = nullptr;
  std::string out_;
  std::size_t unsent_ = 0;
  std::vector<int> owed_;
  std::uint64_t done_ = 0;
  std::uint64_t bytes_ = 0;
};

struct Workload {
  const char* name;
  const char* path;
  ClientConnection::Mode mode;
  int connections;
  int callers;
};

class Bench {
 public:
  explicit Bench(int loops) {
    AddMethods();
    ServerOptions options;
    options.loops = loops;
    Endpoint endpoint;
    endpoint.host = "127.0.0.1";
    options.endpoints.push_back(endpoint);
    options.metrics = &metrics_;
    auto server = Server::Listen(std::move(options), &table_);
    VELLUM_CHECK(server.ok());
    server_ = *std::move(server);
    server_->Start();
    const std::string address = server_->addresses()[0];
    port_ = static_cast<std::uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str()));
  }

  void Run(const Workload& workload, double seconds) {
    std::vector<std::unique_ptr<ClientConnection>> connections;
    const int epoll_fd = ::epoll_create1(0);
    for (int i = 0; i < workload.connections; ++i) {
      connections.push_back(
          std::make_unique<ClientConnection>(port_, workload.mode, workload.path, std::string(64, 'm')));
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = static_cast<std::uint32_t>(i);
      ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connections.back()->fd(), &event);
    }
    for (int i = 0; i < workload.callers; ++i) {
      connections[static_cast<std::size_t>(i % workload.connections)]->StartCall();
    }
    for (const auto& connection : connections) connection->Flush();
    Drive(epoll_fd, &connections, seconds / 4);
    std::atomic<bool> stop{false};
    std::thread feeder;
    if (workload.mode == ClientConnection::Mode::kFeed) feeder = std::thread([&] { Feed(&stop); });
    const std::uint64_t before = Done(connections);
    const double process = ProcessCpuSeconds();
    const double client = ThreadCpuSeconds();
    const auto start = SteadyClock::now();
    Drive(epoll_fd, &connections, seconds);
    const std::chrono::duration<double> took = SteadyClock::now() - start;
    const double server = (ProcessCpuSeconds() - process) - (ThreadCpuSeconds() - client);
    const auto operations = static_cast<double>(Done(connections) - before);
    stop = true;
    if (feeder.joinable()) feeder.join();
    std::printf("%-44s %10.0f ops/s %8.2f us of server CPU per op\n", workload.name, operations / took.count(),
                server * 1e6 / operations);
    std::fflush(stdout);
    ::close(epoll_fd);
    const std::lock_guard lock(feeds_.mu);
    feeds_.writers.clear();
  }

 private:
  static std::uint64_t Done(const std::vector<std::unique_ptr<ClientConnection>>& connections) {
    std::uint64_t done = 0;
    for (const auto& connection : connections) done += connection->done();
    return done;
  }

  static void Drive(int epoll_fd, std::vector<std::unique_ptr<ClientConnection>>* connections, double seconds) {
    std::vector<char> buffer(256u << 10);
    epoll_event events[128];
    const auto until = SteadyClock::now() + std::chrono::duration<double>(seconds);
    while (SteadyClock::now() < until) {
      const int count = ::epoll_wait(epoll_fd, events, 128, 50);
      for (int i = 0; i < count; ++i) (*connections)[events[i].data.u32]->Read(&buffer);
    }
  }

  // One event of 300 bytes to every stream, again and again, never more than some of them ahead.
  void Feed(const std::atomic<bool>* stop) {
    const std::lock_guard lock(feeds_.mu);
    while (!*stop) {
      const auto event = std::make_shared<const std::string>(290, 'e');
      for (const auto& writer : feeds_.writers) {
        if (writer->unsent_bytes() > 32'768) {
          std::this_thread::yield();
          continue;
        }
        Message message = OneMessage("0123456789");
        message[0].shared = event;
        writer->Send(std::move(message));
      }
    }
  }

  void AddMethods() {
    table_.AddUnary("/bench.Echo/Inline", [](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
      reply->Finish(OneMessage(std::string(request)));
    });
    table_.AddUnary("/bench.Echo/Worker", [this](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
      worker_.Post(std::move(reply), std::string(request));
    });
    table_.AddStream("/bench.Echo/Stream", [](auto, std::shared_ptr<StreamWriter> writer) {
      return std::make_unique<EchoStream>(std::move(writer));
    });
    table_.AddStream("/bench.Echo/Feed", [this](auto, std::shared_ptr<StreamWriter> writer) {
      const std::lock_guard lock(feeds_.mu);
      feeds_.writers.push_back(std::move(writer));
      return std::make_unique<SilentStream>();
    });
  }

  Metrics metrics_;
  Feeds feeds_;
  ServiceTable table_;
  Worker worker_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
};

}  // namespace
}  // namespace vellum::wire

int main(int argc, char** argv) {
  using vellum::wire::ClientConnection;
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  const std::string only = argc > 2 ? argv[2] : "";
  const vellum::wire::Workload workloads[] = {
      {"unary, 1,000 callers on 100 connections", "/bench.Echo/Inline", ClientConnection::Mode::kUnary, 100, 1000},
      {"the same, answered by another thread", "/bench.Echo/Worker", ClientConnection::Mode::kUnary, 100, 1000},
      {"unary, 1 caller", "/bench.Echo/Inline", ClientConnection::Mode::kUnary, 1, 1},
      {"stream echo, 1,000 streams on 100 connections", "/bench.Echo/Stream", ClientConnection::Mode::kStream, 100,
       1000},
      {"fan-out of 300 bytes, 1,000 streams", "/bench.Echo/Feed", ClientConnection::Mode::kFeed, 100, 1000},
  };
  vellum::wire::Bench bench(1);
  for (const auto& workload : workloads) {
    if (only.empty() || std::string(workload.path).ends_with(only)) bench.Run(workload, seconds);
  }
  return 0;
}
