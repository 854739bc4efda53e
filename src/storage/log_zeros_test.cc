#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <utility>
#include <vector>

#include "storage/engine_file_system.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

/// What was written in place, and not appended.
struct InPlace {
  std::vector<std::pair<std::uint64_t, std::string>> writes;
  IOStatus answer;
};

class WatchedFile final : public rocksdb::FSRandomRWFileOwnerWrapper {
 public:
  WatchedFile(std::unique_ptr<rocksdb::FSRandomRWFile> file, InPlace* seen)
      : FSRandomRWFileOwnerWrapper(std::move(file)), seen_(seen) {}
  IOStatus Write(std::uint64_t offset, const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    seen_->writes.emplace_back(offset, data.ToString());
    return seen_->answer.ok() ? FSRandomRWFileOwnerWrapper::Write(offset, data, options, debug) : seen_->answer;
  }

 private:
  InPlace* const seen_;
};

class WatchedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit WatchedFileSystem(InPlace* seen) : FileSystemWrapper(rocksdb::FileSystem::Default()), seen_(seen) {}
  const char* Name() const override { return "WatchedFileSystem"; }
  IOStatus NewRandomRWFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSRandomRWFile>* file, IODebugContext* debug) override {
    IOStatus status = FileSystemWrapper::NewRandomRWFile(name, options, file, debug);
    if (status.ok()) *file = std::make_unique<WatchedFile>(std::move(*file), seen_);
    return status;
  }

 private:
  InPlace* const seen_;
};

class LogZeros : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto files = GuardLogs(std::make_shared<WatchedFileSystem>(&seen_), health_);
    ASSERT_TRUE(files->NewWritableFile(path_, rocksdb::FileOptions(), &log_, nullptr).ok());
    log_->SetPreallocationBlockSize(64u << 20);
  }
  /// As RocksDB does it.
  void Append(std::size_t bytes) {
    const std::string data(bytes, static_cast<char>('a' + written_.size() % 20));
    log_->PrepareWrite(written_.size(), bytes, IOOptions(), nullptr);
    ASSERT_TRUE(log_->Append(data, IOOptions(), nullptr).ok());
    ASSERT_TRUE(log_->Sync(IOOptions(), nullptr).ok());
    written_ += data;
  }
  void ExpectWholeAfterClose() {
    const std::string open = ReadWholeFile(path_);
    ASSERT_GE(open.size(), written_.size());
    EXPECT_EQ(open, written_ + std::string(open.size() - written_.size(), '\0'));
    ASSERT_TRUE(log_->Close(IOOptions(), nullptr).ok());
    EXPECT_EQ(ReadWholeFile(path_), written_);
    EXPECT_FALSE(health_->broken());
  }

  TestDir dir_;
  const std::string path_ = dir_.path() + "/000001.log";
  InPlace seen_;
  std::shared_ptr<LogHealth> health_ = std::make_shared<LogHealth>();
  std::unique_ptr<rocksdb::FSWritableFile> log_;
  std::string written_;
};

TEST_F(LogZeros, SmallAppendsFindBlocksThatWereWritten) {
  for (int i = 0; i < 2000; ++i) Append(650);
  std::uint64_t end = 0;
  for (const auto& [offset, bytes] : seen_.writes) {
    EXPECT_GE(offset, end) << "each block once";
    EXPECT_EQ(bytes, std::string(bytes.size(), '\0'));
    end = offset + bytes.size();
  }
  EXPECT_GT(end, written_.size());
  EXPECT_LE(seen_.writes.size(), 8u) << "far fewer than appends";
  EXPECT_EQ(end - written_.size(), health_->bytes_ahead());
  ExpectWholeAfterClose();
}

TEST_F(LogZeros, LargeAppendsWriteNone) {
  for (int i = 0; i < 50; ++i) Append(100'000);
  EXPECT_TRUE(seen_.writes.empty());
  Append(10);
  for (const auto& [offset, bytes] : seen_.writes) EXPECT_GE(offset, written_.size());
  Append(700'000);
  Append(10);
  ExpectWholeAfterClose();
}

TEST_F(LogZeros, NothingDependsOnThem) {
  seen_.answer = IOStatus::IOError("injected");
  for (int i = 0; i < 1000; ++i) Append(650);
  EXPECT_FALSE(seen_.writes.empty());
  ExpectWholeAfterClose();
}

}  // namespace
}  // namespace vellum::storage
