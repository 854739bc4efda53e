#include "server/process.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "server/config_loader.h"
#include "storage/fault_file_system.h"

namespace vellum::server {
namespace {

// Keeps what was logged, for questions about it.
class Lines final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    const std::lock_guard lock(mu_);
    worst_ = std::max(worst_, record.level);
    text_ += std::string(record.message) + "\n";
  }
  std::string text() const {
    const std::lock_guard lock(mu_);
    return text_;
  }
  LogLevel worst() const {
    const std::lock_guard lock(mu_);
    return worst_;
  }

 private:
  mutable std::mutex mu_;
  std::string text_;
  LogLevel worst_ = LogLevel::kDebug;
};

std::string Exchange(int descriptor, const std::string& request) {
  const timeval patience{30, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(write(descriptor, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t size = 0; (size = read(descriptor, buffer, sizeof buffer)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(size));
  close(descriptor);
  return answer;
}

// The answer to one HTTP/1.1 request, head and all. `address` as Process::addresses() gives it.
std::string Get(const std::string& address, const std::string& path) {
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
  if (address.find('/') != std::string::npos) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    address.copy(name.sun_path, sizeof name.sun_path - 1);
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    return Exchange(descriptor, request);
  }
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.substr(address.rfind(':') + 1).c_str())));
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(descriptor, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  return Exchange(descriptor, request);
}

class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "vellum_process_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Config Settings(const std::string& urls = "http://127.0.0.1:0") const {
    Config config;
    config.engine.data_dir = (directory_ / "data").string();
    config.engine.free_space_floor_bytes = 0;
    config.listen_client_urls = {urls};
    EXPECT_TRUE(FinishConfig(&config).ok());
    return config;
  }

  std::filesystem::path directory_;
  Lines lines_;
};

TEST_F(ProcessTest, ServesHealthVersionAndMetrics) {
  Config config = Settings();
  config.listen_client_urls.push_back("unix://" + (directory_ / "s.sock").string());
  config.listen_metrics_urls = {"http://127.0.0.1:0"};
  ASSERT_TRUE(FinishConfig(&config).ok());
  Result<std::unique_ptr<Process>> process = Process::Start(config, &lines_);
  ASSERT_TRUE(process.ok()) << process.error().ToString();
  const std::vector<std::string> addresses = (*process)->addresses();
  ASSERT_EQ(addresses.size(), 3u);
  for (const std::string& address : addresses) {
    const std::string health = Get(address, "/health");
    EXPECT_NE(health.find("200 OK"), std::string::npos) << health;
    EXPECT_TRUE(health.ends_with("{\"health\":\"true\",\"reason\":\"\"}")) << health;
    EXPECT_NE(Get(address, "/version").find("\"etcdserver\":\"3.6.16\""), std::string::npos);
    EXPECT_NE(Get(address, "/readyz?verbose").find("[+]linearizable_read ok\n"), std::string::npos);
    EXPECT_NE(Get(address, "/metrics").find("\netcd_server_has_leader 1\n"), std::string::npos);
    EXPECT_NE(Get(address, "/nothing").find("404"), std::string::npos);
  }
  EXPECT_TRUE((*process)->Stop().ok());
  EXPECT_TRUE((*process)->Stop().ok());
  for (const std::string text : {"published local member to cluster through raft", "enabled capabilities for version",
                                 "ready to serve client requests", "stopped"}) {
    EXPECT_NE(lines_.text().find(text), std::string::npos) << text;
  }
  EXPECT_LT(lines_.worst(), LogLevel::kError) << lines_.text();
}

TEST_F(ProcessTest, ASecondOneOnTheSameDirectoryIsRefused) {
  Result<std::unique_ptr<Process>> first = Process::Start(Settings(), &lines_);
  ASSERT_TRUE(first.ok()) << first.error().ToString();
  const Result<std::unique_ptr<Process>> second = Process::Start(Settings(), &lines_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(second.error().message().find((directory_ / "data").string()), std::string::npos)
      << second.error().message();
}

TEST_F(ProcessTest, APortThatIsTakenIsNamedAndNothingStaysBehind) {
  Result<std::unique_ptr<Process>> first = Process::Start(Settings(), &lines_);
  ASSERT_TRUE(first.ok());
  const std::string address = (*first)->addresses().front();
  Config config = Settings("http://" + address);
  config.engine.data_dir = (directory_ / "other").string();
  const Result<std::unique_ptr<Process>> second = Process::Start(config, &lines_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message().find(address), std::string::npos) << second.error().message();
  // Nor is it evaded by another address of the same name.
  Config by_name = Settings("http://localhost" + address.substr(address.rfind(':')));
  by_name.engine.data_dir = (directory_ / "other").string();
  EXPECT_FALSE(Process::Start(by_name, &lines_).ok());
  // Its directory is free again.
  Config third = Settings();
  third.engine.data_dir = (directory_ / "other").string();
  EXPECT_TRUE(Process::Start(third, &lines_).ok());
}

TEST_F(ProcessTest, ADirectoryThatCannotBeMadeIsNamed) {
  std::ofstream(directory_ / "file") << "x";
  Config config = Settings();
  config.engine.data_dir = (directory_ / "file" / "data").string();
  const Result<std::unique_ptr<Process>> process = Process::Start(config, &lines_);
  ASSERT_FALSE(process.ok());
  EXPECT_NE(process.error().message().find((directory_ / "file").string()), std::string::npos)
      << process.error().message();
}

TEST_F(ProcessTest, UnsafeWritingWarns) {
  Config config = Settings();
  config.engine.unsafe_no_fsync = true;
  Result<std::unique_ptr<Process>> process = Process::Start(config, &lines_);
  ASSERT_TRUE(process.ok());
  EXPECT_NE(lines_.text().find("--unsafe-no-fsync is set"), std::string::npos);
  EXPECT_EQ(lines_.worst(), LogLevel::kWarn);
}

TEST_F(ProcessTest, AWriterThatFailedMakesItUnhealthyAndIsLoggedOnce) {
  using storage::FaultFileSystem;
  const std::shared_ptr<FaultFileSystem> files = FaultFileSystem::Create();
  Config config = Settings();
  config.engine.file_system = files->file_system();
  // Its samples are the writes that will fail.
  config.auto_compaction_retention = "1s";
  ASSERT_TRUE(FinishConfig(&config).ok());
  Result<std::unique_ptr<Process>> process = Process::Start(config, &lines_);
  ASSERT_TRUE(process.ok()) << process.error().ToString();
  const std::string address = (*process)->addresses().front();
  (*process)->LookAfterStore();
  EXPECT_NE(Get(address, "/health").find("200 OK"), std::string::npos);

  files->Inject({.operation = FaultFileSystem::Operation::kSync, .name_contains = ".log"});
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  std::string health;
  while (health.find(" 503 ") == std::string::npos && std::chrono::steady_clock::now() < deadline) {
    health = Get(address, "/health");
  }
  EXPECT_NE(health.find("{\"health\":\"false\",\"reason\":\"RANGE ERROR:"), std::string::npos) << health;
  EXPECT_NE(Get(address, "/readyz").find("[-]linearizable_read failed: range error: "), std::string::npos);
  EXPECT_NE(Get(address, "/livez").find(" 503 "), std::string::npos);
  EXPECT_NE(Get(address, "/version").find("200 OK"), std::string::npos);
  EXPECT_NE(Get(address, "/metrics").find("\netcd_server_has_leader 0\n"), std::string::npos);
  (*process)->LookAfterStore();
  (*process)->LookAfterStore();
  EXPECT_FALSE((*process)->Stop().ok());
  const std::string log = lines_.text();
  const std::string line = "nothing is written any more until the store is opened anew";
  const std::size_t first = log.find(line);
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find(line, first + 1), std::string::npos) << log;
}

}  // namespace
}  // namespace vellum::server
