// What goes on beside a sweep: switches, readers and writers, at the very moments that count.
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "storage/fault_file_system.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

using storage::FaultFileSystem;
using testing::TestStore;
using Moment = FaultFileSystem::Moment;
using Operation = FaultFileSystem::Operation;

class SyncSweep : public ::testing::Test {
 protected:
  /// Does `what` once, before the first operation of this kind on a path that contains `part`.
  void Once(Operation operation, std::string part, std::function<void()> what) {
    done_ = false;
    faults_->SetObserver([=, this](Operation each, Moment moment, const std::string& path) {
      if (each != operation || moment != Moment::kBefore || path.find(part) == std::string::npos) return;
      if (!done_.exchange(true)) what();
    });
  }

  Store* store() { return base_.store.get(); }
  GenerationId GenerationOf(const std::string& id) { return base_.Get(id).generation(); }
  /// Two generations, so that there is one to go back to.
  void WriteTwice(const std::string& id) {
    testing::Write(&base_, {.id = id, .grants = 10});
    TestStore source;
    testing::Write(&source, {.id = id, .grants = 20});
    ASSERT_TRUE(ReplaceSync(store(), source.store.get(), id).ok());
  }

  const std::shared_ptr<FaultFileSystem> faults_ = FaultFileSystem::Create();
  TestStore base_{[this](StoreOptions* options) { options->files = faults_->file_system(); }};
  std::atomic<bool> done_{false};
};

TEST_F(SyncSweep, HoldsNoSwitchUp) {
  WriteTwice("other");
  testing::Write(&base_, {.id = "going"});
  testing::Write(&base_, {.id = "going too"});
  const SyncEntry too = base_.Get("going too");
  // Should a switch wait for the removal, then the removal must not wait for the switch.
  std::future<void> switches;
  Once(Operation::kDelete, "/trash/", [&] {
    switches = std::async(std::launch::async, [&] {
      EXPECT_TRUE(store()->Rollback("other", std::nullopt).ok());
      testing::Write(&base_, {.id = "new"});
      EXPECT_TRUE(store()->Remove(too).ok());
    });
    EXPECT_EQ(switches.wait_for(std::chrono::seconds(20)), std::future_status::ready) << "held up by the removal";
  });
  ASSERT_TRUE(store()->Delete("going").ok());
  EXPECT_TRUE(done_);
  switches.wait();
  faults_->SetObserver(nullptr);
  EXPECT_EQ(base_.Ids(), (std::vector<std::string>{"new", "other"}));
  EXPECT_EQ(base_.Open("other")->info().records(), 10u);
  ASSERT_TRUE(store()->Sweep().ok());
  EXPECT_EQ(base_.Count("generations"), 3u);
}

TEST_F(SyncSweep, NobodyBeginsToReadWhatIsBeingRemoved) {
  testing::Write(&base_, {.id = "going"});
  const SyncEntry going = base_.Get("going");
  Once(Operation::kRename, "/trash/", [&] {  // all of its files are there still
    EXPECT_EQ(store()->OpenGeneration(going.generation()).error().code(), Code::kNotFound);
    SyncEntry again = going;
    again.mod_revision = 0;
    EXPECT_EQ(store()->SwitchTo(going.generation(), {{again, "again"}}).code(), Code::kFailedPrecondition);
  });
  ASSERT_TRUE(store()->Delete("going").ok());
  EXPECT_TRUE(done_);
  faults_->SetObserver(nullptr);
  EXPECT_EQ(base_.Count("generations"), 0u);
  EXPECT_EQ(store()->OpenGeneration(going.generation()).error().code(), Code::kDataLoss);
}

TEST_F(SyncSweep, WhatIsBeingOpenedIsInUse) {
  testing::Write(&base_, {.id = "going"});
  const SyncEntry going = base_.Get("going");
  base_.Reopen();  // so that it is in no cache
  Once(Operation::kRead, going.generation(), [&] {
    EXPECT_TRUE(store()->Remove(going).ok());
    const auto swept = store()->Sweep();
    ASSERT_TRUE(swept.ok()) << swept.error().ToString();
    EXPECT_EQ(swept->in_use, 1u);
    EXPECT_EQ(swept->generations, 0u);
  });
  auto generation = store()->OpenGeneration(going.generation());
  ASSERT_TRUE(generation.ok()) << generation.error().ToString();
  EXPECT_TRUE(done_);
  faults_->SetObserver(nullptr);
  EXPECT_FALSE(testing::Dump(**generation).empty());
  EXPECT_EQ(base_.Count("generations"), 1u);
  generation->reset();
  EXPECT_EQ(store()->Sweep()->generations, 1u);
  EXPECT_EQ(base_.Count("generations"), 0u);
}

/// SwitchTo reads the row, then opens the files: swept in between, nothing points at what is gone.
TEST_F(SyncSweep, ASwitchToWhatIsSweptMeanwhileIsAborted) {
  testing::Write(&base_, {.id = "going"});
  const SyncEntry going = base_.Get("going");
  base_.Reopen();
  // The failed read stands for files that are gone: while they are being opened a sweep leaves them alone.
  FaultFileSystem::Fault fault;
  fault.operation = Operation::kRead;
  fault.name_contains = going.generation();
  faults_->Inject(fault);
  Once(Operation::kRead, going.generation(), [&] {
    EXPECT_TRUE(store()->Remove(going).ok());
    EXPECT_TRUE(store()->Sweep().ok());
  });
  SyncEntry again = going;
  again.mod_revision = 0;
  EXPECT_EQ(store()->SwitchTo(going.generation(), {{again, "again"}}).code(), Code::kAborted);
  EXPECT_TRUE(done_);
  faults_->SetObserver(nullptr);
  faults_->ClearFault();
  EXPECT_TRUE(base_.Ids().empty());
}

/// The switch has happened, somebody else switches away from it and sweeps, and only then does the one who made it go on.
TEST_F(SyncSweep, WhatWasJustMadeIsInUseByItsMaker) {
  auto writer = SyncWriter::Begin(store(), testing::RunOf({.id = "S"}), "test");
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  testing::PutGrant(writer->get(), "g", "u", 1, "x");
  base_.failing.OnceCommitted([&] {
    const SyncEntry sealed = base_.Get("S");
    EXPECT_EQ(sealed.state, SyncState::kSealed);
    EXPECT_TRUE(store()->Remove(sealed).ok());
    const auto swept = store()->Sweep();
    ASSERT_TRUE(swept.ok()) << swept.error().ToString();
    EXPECT_EQ(swept->in_use, 1u);
    EXPECT_EQ(swept->directories, 0u);
    done_ = true;
  });
  auto generation = (*writer)->Seal(2000, "seal");
  ASSERT_TRUE(generation.ok()) << generation.error().ToString();
  EXPECT_TRUE(done_);
  EXPECT_EQ(testing::Dump(**generation).size(), 2u);
  generation->reset();
  writer->reset();
  EXPECT_EQ(store()->Sweep()->generations, 1u);
  EXPECT_EQ(base_.Count("generations"), 0u);
  EXPECT_EQ(base_.Count("staging"), 0u);
}

/// A writer that was declared dead learns it when it seals, not by files that vanish while it writes.
TEST_F(SyncSweep, AWriterThatWasDeclaredDeadKeepsItsDirectoryAndCannotSeal) {
  auto writer = SyncWriter::Begin(store(), testing::RunOf({.id = "S"}), "test");
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  testing::PutGrant(writer->get(), "g", "u", 1, "x");
  const auto registered = base_.catalog.Get(GenerationKey(base_.Get("S").staging));
  ASSERT_TRUE(registered.ok() && *registered);
  ASSERT_TRUE(base_.catalog.RevokeLease((*registered)->lease).ok());
  EXPECT_EQ(store()->Get("S").error().code(), Code::kNotFound);
  EXPECT_EQ(store()->Sweep()->directories, 0u);
  EXPECT_EQ(base_.Count("staging"), 1u);
  testing::PutGrant(writer->get(), "g", "v", 1, "x");
  EXPECT_EQ((*writer)->Seal(2000, "seal").error().code(), Code::kAborted);
  EXPECT_TRUE(base_.Ids().empty());
  writer->reset();
  EXPECT_EQ(base_.Count("staging"), 0u);
  EXPECT_EQ(base_.Count("generations"), 0u);
}

/// Both would write files of the same names into the same directory.
TEST_F(SyncSweep, NobodyTakesOverFromAWriterThatWasDeclaredDeadWhileItGoesOn) {
  auto writer = SyncWriter::Begin(store(), testing::RunOf({.id = "S"}), "test");
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  testing::PutGrant(writer->get(), "g", "kept", 1, "x");
  ASSERT_TRUE((*writer)->Checkpoint("page 2").ok());
  const auto registered = base_.catalog.Get(GenerationKey(base_.Get("S").staging));
  ASSERT_TRUE(registered.ok() && *registered);
  ASSERT_TRUE(base_.catalog.RevokeLease((*registered)->lease).ok());
  EXPECT_EQ(SyncWriter::Resume(store(), "S").error().code(), Code::kFailedPrecondition);
  testing::PutGrant(writer->get(), "g", "lost", 1, "x");
  EXPECT_EQ((*writer)->Checkpoint("page 3").code(), Code::kAborted);
  writer->reset();
  EXPECT_EQ(store()->Sweep()->directories, 0u);
  auto resumed = SyncWriter::Resume(store(), "S");
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  EXPECT_EQ((*resumed)->token(), "page 3");  // it was complete; only its row was not written
  auto generation = (*resumed)->Seal(2000, "seal");
  ASSERT_TRUE(generation.ok()) << generation.error().ToString();
  EXPECT_EQ((*generation)->info().records(), 2u);
}

}  // namespace
}  // namespace vellum::sync
