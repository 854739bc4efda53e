#include "storage/files.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "storage/fault_file_system.h"
#include "storage/test_dir.h"

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

}  // namespace
}  // namespace vellum::storage
