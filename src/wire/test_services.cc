#include "wire/test_services.h"

#include <poll.h>

#include <cstdlib>
#include <utility>

#include "base/check.h"

namespace vellum::wire {

TestWorker::TestWorker() : thread_([this] { Run(); }) {}

TestWorker::~TestWorker() {
  {
    const std::lock_guard lock(mu_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void TestWorker::Post(std::function<void()> task) {
  {
    const std::lock_guard lock(mu_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void TestWorker::Run() {
  std::unique_lock lock(mu_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

Message OneMessage(std::string bytes) {
  Message message;
  message.push_back({std::move(bytes), nullptr});
  return message;
}

/// A stream that reports what happens to it, and echoes, feeds or hoards.
class FeedStream final : public StreamHandler {
 public:
  enum class Mode : std::uint8_t { kEcho, kFeed, kHoard };
  FeedStream(TestServices* services, Mode mode, std::shared_ptr<StreamWriter> writer)
      : services_(services), mode_(mode), writer_(std::move(writer)) {
    ++services_->seen.streams_open;
  }
  ~FeedStream() override { --services_->seen.streams_open; }

  void OnMessage(std::string_view message) override {
    ++services_->seen.messages;
    services_->seen.message_bytes += message.size();
    if (mode_ == Mode::kEcho) writer_->Send(OneMessage(std::string(message)));
    if (mode_ != Mode::kHoard) writer_->Consumed(message.size());
  }
  void OnHalfClose() override {
    ++services_->seen.half_closed;
    if (mode_ == Mode::kEcho) writer_->Finish({});
  }
  void OnWritable() override { ++services_->seen.writable; }
  void OnClosed() override { ++services_->seen.streams_closed; }

 private:
  TestServices* const services_;
  const Mode mode_;
  const std::shared_ptr<StreamWriter> writer_;
};

TestServices::TestServices() {
  AddUnaries();
  AddStreams();
  AddHttp();
}

TestServices::~TestServices() = default;

void TestServices::AddUnaries() {
  table_.AddUnary("/test.Echo/Unary", [](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
    reply->Finish(OneMessage(std::string(request)));
  });
  table_.AddUnary("/test.Echo/Worker", [this](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
    worker_.Post([shared = std::shared_ptr<UnaryReply>(std::move(reply)), text = std::string(request)] {
      shared->Finish(OneMessage(text));
    });
  });
  table_.AddUnary("/test.Echo/Fail", [](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
    reply->Fail(NotFound(std::string(request)));
  });
  table_.AddUnary("/test.Echo/Forget", [](auto, std::string_view, std::unique_ptr<UnaryReply>) {});
  table_.AddUnary("/test.Echo/Hold", [this](std::shared_ptr<const CallContext> context, std::string_view,
                                            std::unique_ptr<UnaryReply> reply) {
    const std::lock_guard lock(mu_);
    held_.push_back(std::move(reply));
    contexts_.push_back(std::move(context));
  });
  table_.AddUnary("/test.Echo/Big", [](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
    const auto size = static_cast<std::size_t>(std::strtoull(std::string(request).c_str(), nullptr, 10));
    Message message = OneMessage(std::string(size / 2, 'a'));
    message[0].shared = std::make_shared<const std::string>(size - size / 2, 'b');
    reply->Finish(std::move(message));
  });
}

void TestServices::AddStreams() {
  const auto add = [this](const char* name, FeedStream::Mode mode) {
    table_.AddStream(name,
                     [this, mode](std::shared_ptr<const CallContext> context, std::shared_ptr<StreamWriter> writer) {
                       {
                         const std::lock_guard lock(mu_);
                         contexts_.push_back(std::move(context));
                         writers_.push_back(writer);
                       }
                       return std::make_unique<FeedStream>(this, mode, std::move(writer));
                     });
  };
  add("/test.Echo/Stream", FeedStream::Mode::kEcho);
  add("/test.Echo/Feed", FeedStream::Mode::kFeed);
  add("/test.Echo/Hoard", FeedStream::Mode::kHoard);
}

void TestServices::AddHttp() {
  table_.SetHttp([this](HttpRequest request, HttpReply reply) {
    HttpResponse response;
    response.headers.emplace_back("X-Method", request.method);
    if (request.path == "/forget") return;
    if (request.path == "/echo") {
      response.body = request.query + "|" + request.body;
    } else if (request.path == "/worker") {
      worker_.Post([reply, response] {
        HttpResponse late = response;
        late.body = "from a worker";
        reply(std::move(late));
      });
      return;
    } else if (request.path == "/big") {
      response.body = std::string(3u << 20, 'x');
    } else if (request.path == "/host") {
      response.body = std::string(Find(request.headers, "host").value_or("none"));
    } else {
      response.status = 404;
      response.body = "404 page not found\n";
    }
    reply(std::move(response));
  });
}

std::vector<std::unique_ptr<UnaryReply>> TestServices::TakeHeld() {
  const std::lock_guard lock(mu_);
  return std::exchange(held_, {});
}

std::vector<std::shared_ptr<const CallContext>> TestServices::contexts() {
  const std::lock_guard lock(mu_);
  return contexts_;
}

std::vector<std::shared_ptr<StreamWriter>> TestServices::writers() {
  const std::lock_guard lock(mu_);
  return writers_;
}

TestServer::TestServer(const std::function<void(ServerOptions*)>& adjust) {
  ServerOptions options;
  Endpoint endpoint;
  endpoint.host = "127.0.0.1";
  options.endpoints.push_back(endpoint);
  options.metrics = &metrics_;
  // VELLUM_TEST_LOOPS=2 runs every test with two loops, which is what a thread sanitizer wants to see.
  if (const char* const loops = std::getenv("VELLUM_TEST_LOOPS"); loops != nullptr) options.loops = std::atoi(loops);
  if (adjust) adjust(&options);
  auto server = Server::Listen(std::move(options), &services_.table());
  VELLUM_CHECK(server.ok());
  server_ = *std::move(server);
  server_->Start();
  address_ = server_->addresses()[0];
}

TestServer::~TestServer() { server_->Stop(std::chrono::milliseconds(0)); }

double TestServer::Metric(const std::string& line_start) const {
  const std::string text = "\n" + metrics_.Expose();
  const std::size_t at = text.find("\n" + line_start + " ");
  return at == std::string::npos ? -1 : std::strtod(text.c_str() + at + line_start.size() + 2, nullptr);
}

bool TestServer::WaitForMetric(const std::string& line_start, double value) const {
  return Eventually([&] { return Metric(line_start) == value; });
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + Patient(std::chrono::seconds(20));
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    ::poll(nullptr, 0, 1);
  }
  return true;
}

}  // namespace vellum::wire
