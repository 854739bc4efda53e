#include "storage/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "storage/fault_file_system.h"
#include "storage/test_dir.h"

namespace vellum::storage {
namespace {

namespace fs = std::filesystem;

TEST(Files, WritesReadsAndRemoves) {
  TestDir dir;
  const std::string path = dir.path() + "/a/b/format";
  EXPECT_EQ(ReadSmallFile(nullptr, path).error().code(), Code::kNotFound);
  ASSERT_TRUE(CreateDirectories(nullptr, dir.path() + "/a/b").ok());
  EXPECT_EQ(fs::status(dir.path() + "/a/b").permissions(), fs::perms::owner_all);
  ASSERT_TRUE(CreateDirectories(nullptr, dir.path() + "/a/b").ok());
  ASSERT_TRUE(WriteFileDurably(nullptr, path, "one").ok());
  ASSERT_TRUE(WriteFileDurably(nullptr, path, "two").ok());
  EXPECT_EQ(*ReadSmallFile(nullptr, path), "two");
  EXPECT_TRUE(*FileExists(nullptr, path));
  EXPECT_FALSE(*FileExists(nullptr, path + ".tmp"));
  EXPECT_EQ(ReadSmallFile(nullptr, path, 2).error().code(), Code::kDataLoss);
  EXPECT_TRUE(RemoveFile(nullptr, path).ok());
  EXPECT_TRUE(RemoveFile(nullptr, path).ok());
  EXPECT_FALSE(*FileExists(nullptr, path));
  EXPECT_GT(*FreeSpace(nullptr, dir.path()), 0u);
}

TEST(Files, AReplacedFileIsOldOrNewAfterPowerLoss) {
  for (const auto leftover : {FaultFileSystem::Leftover::kNothing, FaultFileSystem::Leftover::kPrefixes}) {
    bool was_cut = true;
    for (std::uint64_t sync = 1; was_cut; ++sync) {
      for (std::uint64_t seed = 0; seed < 8; ++seed) {
        TestDir dir;
        auto faults = FaultFileSystem::Create();
        FileSystem* files = faults->file_system().get();
        const std::string path = dir.path() + "/format";
        ASSERT_TRUE(WriteFileDurably(files, path, "old").ok());
        faults->CutPowerAtSync(sync);
        const bool done = WriteFileDurably(files, path, "brand new").ok();
        was_cut = faults->power_is_cut();
        EXPECT_EQ(done, !was_cut);
        faults->CutPower();
        faults->DropUnsynced(leftover, seed);
        const std::string content = *ReadSmallFile(files, path);
        EXPECT_TRUE(content == "brand new" || (!done && content == "old")) << content;
      }
    }
  }
}

TEST(Files, ANewDirectorySurvivesPowerLoss) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  FileSystem* files = faults->file_system().get();
  ASSERT_TRUE(CreateDirectories(files, dir.path() + "/data/member").ok());
  ASSERT_TRUE(WriteFileDurably(files, dir.path() + "/data/member/format", "1").ok());
  faults->CutPower();
  faults->DropUnsynced();
  EXPECT_EQ(*ReadSmallFile(files, dir.path() + "/data/member/format"), "1");
}

TEST(Files, FailuresSayWhatAndWhere) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  FileSystem* files = faults->file_system().get();
  const std::string path = dir.path() + "/format";
  for (const auto operation : {FaultFileSystem::Operation::kCreate, FaultFileSystem::Operation::kAppend,
                               FaultFileSystem::Operation::kSync, FaultFileSystem::Operation::kRename}) {
    faults->Inject({.operation = operation, .nth = 1, .name_contains = dir.path(), .no_space = true});
    const Status status = WriteFileDurably(files, path, "x");
    EXPECT_EQ(status.code(), Code::kResourceExhausted);
    EXPECT_EQ(status.reason(), Reason::kNoSpace);
    EXPECT_NE(status.message().find(dir.path()), std::string::npos);
    EXPECT_EQ(faults->faults(), 1u);
  }
  faults->ClearFault();
  EXPECT_TRUE(WriteFileDurably(files, path, "x").ok());
}

TEST(Files, AReserveMakesRoomWhenItGoes) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  FileSystem* files = faults->file_system().get();
  faults->SetFreeBytes(10u << 20);
  const std::string path = dir.path() + "/reserve";
  ASSERT_TRUE(ReserveFile(files, path, 3u << 20).ok());
  EXPECT_EQ(fs::file_size(path), 3u << 20);
  EXPECT_EQ(*FreeSpace(files, dir.path()), 7u << 20);
  ASSERT_TRUE(ReserveFile(files, path, 3u << 20).ok());
  EXPECT_EQ(*FreeSpace(files, dir.path()), 7u << 20);
  ASSERT_TRUE(RemoveFile(files, path).ok());
  EXPECT_EQ(*FreeSpace(files, dir.path()), 10u << 20);
  const Status status = ReserveFile(files, path, 20u << 20);
  EXPECT_EQ(status.reason(), Reason::kNoSpace) << status.ToString();
}

}  // namespace
}  // namespace vellum::storage
