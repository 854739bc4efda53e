#include "storage/piecewise_delete.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <utility>
#include <vector>

#include "storage/engine_file_system.h"
#include "storage/fault_file_system.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

namespace fs = std::filesystem;
using Operation = FaultFileSystem::Operation;

class PiecewiseDelete : public ::testing::Test {
 protected:
  void SetUp() override {
    faults_->SetObserver([this](Operation operation, FaultFileSystem::Moment moment, const std::string& path) {
      if (moment == FaultFileSystem::Moment::kBefore) seen_.emplace_back(operation, path);
    });
  }
  rocksdb::IOStatus Delete(const std::string& name) {
    return DeletePiecewise(EngineView(faults_->file_system()).get(), name, rocksdb::IOOptions(), nullptr);
  }
  /// A file of three pieces and a bit.
  std::string MakeLarge() {
    const std::string name = dir_.path() + "/large";
    WriteWholeFile(name, std::string(3 * kDeletePieceBytes + 1, 'x'));
    return name;
  }

  TestDir dir_;
  std::shared_ptr<FaultFileSystem> faults_ = FaultFileSystem::Create();
  std::vector<std::pair<Operation, std::string>> seen_;
};

TEST_F(PiecewiseDelete, LargeFileGoesByNameFirstThenPieceByPiece) {
  const std::string name = MakeLarge();
  ASSERT_TRUE(Delete(name).ok());
  EXPECT_FALSE(fs::exists(name));
  const std::vector<std::pair<Operation, std::string>> expected = {
      {Operation::kDelete, name},   {Operation::kSync, dir_.path()}, {Operation::kTruncate, name},
      {Operation::kTruncate, name}, {Operation::kTruncate, name},
  };
  EXPECT_EQ(seen_, expected);
  // The name stays away.
  faults_->CutPower();
  faults_->DropUnsynced();
  EXPECT_FALSE(fs::exists(name));
}

TEST_F(PiecewiseDelete, FileWithAnotherNameIsNotCut) {
  const std::string name = MakeLarge();
  const std::string other = dir_.path() + "/other";
  fs::create_hard_link(name, other);
  ASSERT_TRUE(Delete(name).ok());
  EXPECT_FALSE(fs::exists(name));
  EXPECT_EQ(fs::file_size(other), 3 * kDeletePieceBytes + 1);
  EXPECT_EQ(faults_->count(Operation::kTruncate), 0u);
}

TEST_F(PiecewiseDelete, SmallFileIsOnlyRemoved) {
  const std::string name = dir_.path() + "/small";
  WriteWholeFile(name, std::string(kDeletePieceBytes, 'x'));
  ASSERT_TRUE(Delete(name).ok());
  EXPECT_FALSE(fs::exists(name));
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(PiecewiseDelete, NothingIsCutWhileTheNameMayComeBack) {
  const std::string name = MakeLarge();
  faults_->Inject({.operation = Operation::kSync});
  ASSERT_TRUE(Delete(name).ok());
  EXPECT_EQ(faults_->count(Operation::kTruncate), 0u);
  faults_->CutPower();
  faults_->DropUnsynced();
  EXPECT_EQ(fs::file_size(name), 3 * kDeletePieceBytes + 1);
}

TEST_F(PiecewiseDelete, FailureToRemoveKeepsTheFileWhole) {
  const std::string name = MakeLarge();
  faults_->Inject({.operation = Operation::kDelete});
  EXPECT_FALSE(Delete(name).ok());
  EXPECT_EQ(fs::file_size(name), 3 * kDeletePieceBytes + 1);
}

TEST_F(PiecewiseDelete, FailureToCutIsNoFailureToRemove) {
  const std::string name = MakeLarge();
  faults_->Inject({.operation = Operation::kTruncate});
  EXPECT_TRUE(Delete(name).ok());
  EXPECT_FALSE(fs::exists(name));
}

TEST_F(PiecewiseDelete, NoFileIsMadeInPassing) {
  const std::string name = dir_.path() + "/none";
  EXPECT_TRUE(Delete(name).IsNotFound() || Delete(name).IsPathNotFound()) << Delete(name).ToString();
  EXPECT_FALSE(fs::exists(name));
}

}  // namespace
}  // namespace vellum::storage
