#include "storage/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "storage/fault_file_system.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

namespace fs = std::filesystem;

TEST(Files, CreatesWhatIsMissing) {
  TestDir dir;
  ASSERT_TRUE(CreateDirectories(nullptr, dir.path() + "/a/b/").ok());
  EXPECT_EQ(fs::status(dir.path() + "/a").permissions(), fs::perms::owner_all);
  EXPECT_EQ(fs::status(dir.path() + "/a/b").permissions(), fs::perms::owner_all);
  EXPECT_TRUE(CreateDirectories(nullptr, dir.path() + "/a/b").ok());
  EXPECT_FALSE(CreateDirectories(nullptr, "").ok());
  WriteWholeFile(dir.path() + "/file", "x");
  const Status status = CreateDirectories(nullptr, dir.path() + "/file/below");
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find(dir.path() + "/file"), std::string::npos) << status.ToString();
}

TEST(Files, NewDirectoriesSurvivePowerLoss) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  ASSERT_TRUE(CreateDirectories(faults->file_system().get(), dir.path() + "/a/b").ok());
  faults->CutPower();
  faults->DropUnsynced();
  EXPECT_TRUE(fs::is_directory(dir.path() + "/a/b"));
  // Without the sync of their parents they would not have.
  faults->CutPowerAtSync(1);
  EXPECT_FALSE(CreateDirectories(faults->file_system().get(), dir.path() + "/a/b/c/d").ok());
  faults->DropUnsynced();
  EXPECT_FALSE(fs::exists(dir.path() + "/a/b/c"));
  EXPECT_TRUE(fs::is_directory(dir.path() + "/a/b"));
}

TEST(Files, TreesGoWholeAndLinksLeadNowhere) {
  TestDir dir;
  const std::string tree = dir.path() + "/tree";
  fs::create_directories(tree + "/a/b");
  fs::create_directories(dir.path() + "/outside");
  WriteWholeFile(dir.path() + "/outside/kept", "x");
  WriteWholeFile(tree + "/a/b/file", "123");
  fs::create_directory_symlink(dir.path() + "/outside", tree + "/link");
  EXPECT_EQ(DirectoryBytes(nullptr, tree + "/a"), 3u);
  EXPECT_TRUE(RemoveTree(nullptr, tree).ok());
  EXPECT_FALSE(fs::exists(tree));
  EXPECT_TRUE(fs::exists(dir.path() + "/outside/kept"));
  EXPECT_TRUE(RemoveTree(nullptr, tree).ok());  // is gone already
  EXPECT_EQ(DirectoryBytes(nullptr, tree), 0u);
  EXPECT_EQ(ListDirectory(nullptr, tree).error().code(), Code::kNotFound);
  EXPECT_EQ(FileSize(nullptr, tree).error().code(), Code::kNotFound);
}

TEST(Files, LinksShareBytesAndCopiesDoNot) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  FileSystem* const files = faults->file_system().get();
  const std::string one = dir.path() + "/one";
  WriteWholeFile(one, "bytes");
  ASSERT_TRUE(MakeReadOnly(one).ok());
  ASSERT_TRUE(*LinkFile(files, one, dir.path() + "/linked"));
  ASSERT_TRUE(CopyFile(files, one, dir.path() + "/copied").ok());
  EXPECT_EQ(fs::hard_link_count(one), 2u);
  std::string read;
  ASSERT_TRUE(ReadFile(files, dir.path() + "/copied", [&read](std::string_view piece) {
                read += piece;
                return Status();
              }).ok());
  EXPECT_EQ(read, "bytes");
  faults->Inject({.operation = FaultFileSystem::Operation::kLink, .impossible = true});
  EXPECT_FALSE(*LinkFile(files, one, dir.path() + "/other"));  // another device: to be copied
  faults->Inject({.operation = FaultFileSystem::Operation::kLink, .no_space = true});
  EXPECT_EQ(LinkFile(files, one, dir.path() + "/other").error().reason(), Reason::kNoSpace);
  faults->ClearFault();
  EXPECT_TRUE(faults->violations().empty());
  EXPECT_TRUE(WriteFileDurably(files, dir.path() + "/copied", "more").ok());
  EXPECT_TRUE(faults->violations().empty());
  static_cast<void>(CopyFile(files, dir.path() + "/copied", one));  // the machine refuses it to all but root
  EXPECT_EQ(faults->violations(), std::vector<std::string>{one});
}

/// What is in a directory goes with it when it is renamed, and comes back with it when the renaming was not durable.
TEST(Files, PowerLossUndoesRenamedDirectories) {
  for (const bool durable : {true, false}) {
    TestDir dir;
    auto faults = FaultFileSystem::Create();
    FileSystem* const files = faults->file_system().get();
    for (const char* name : {"/from", "/to", "/from/tree"}) ASSERT_TRUE(CreateDirectory(files, dir.path() + name).ok());
    for (const char* name : {"", "/from"}) ASSERT_TRUE(SyncDirectory(files, dir.path() + name).ok());
    ASSERT_TRUE(WriteFileDurably(files, dir.path() + "/from/tree/kept", "kept").ok());
    ASSERT_TRUE(CopyFile(files, dir.path() + "/from/tree/kept", dir.path() + "/from/tree/unsynced").ok());
    ASSERT_TRUE(Rename(files, dir.path() + "/from/tree", dir.path() + "/to/tree").ok());
    if (durable) {
      ASSERT_TRUE(SyncDirectory(files, dir.path() + "/to").ok());
    }
    faults->CutPower();
    faults->DropUnsynced();
    const std::string tree = dir.path() + (durable ? "/to/tree" : "/from/tree");
    EXPECT_EQ(ReadWholeFile(tree + "/kept"), "kept");
    EXPECT_FALSE(fs::exists(tree + "/unsynced"));
    EXPECT_FALSE(fs::exists(dir.path() + (durable ? "/from/tree" : "/to/tree")));
  }
}

}  // namespace
}  // namespace vellum::storage
