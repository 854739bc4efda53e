#include "storage/engine_status.h"

#include <gtest/gtest.h>

namespace vellum::storage {
namespace {

using Engine = rocksdb::Status;

TEST(EngineStatus, EveryCodeHasAMeaning) {
  struct Case {
    Engine engine;
    Code code;
    Reason reason;
  };
  const Case cases[] = {
      {Engine::NotFound("x"), Code::kNotFound, Reason::kNone},
      {Engine::Corruption("x"), Code::kDataLoss, Reason::kCorrupt},
      {Engine::NotSupported("x"), Code::kUnimplemented, Reason::kNone},
      {Engine::InvalidArgument("x"), Code::kInvalidArgument, Reason::kNone},
      {Engine::IOError("x"), Code::kInternal, Reason::kNone},
      {Engine::MergeInProgress("x"), Code::kInternal, Reason::kNone},
      {Engine::Incomplete("x"), Code::kUnavailable, Reason::kNone},
      {Engine::ShutdownInProgress("x"), Code::kUnavailable, Reason::kStopped},
      {Engine::TimedOut("x"), Code::kDeadlineExceeded, Reason::kNone},
      {Engine::Aborted("x"), Code::kAborted, Reason::kNone},
      {Engine::Busy("x"), Code::kAborted, Reason::kNone},
      {Engine::Expired("x"), Code::kInternal, Reason::kNone},
      {Engine::TryAgain("x"), Code::kAborted, Reason::kNone},
      {Engine::CompactionTooLarge("x"), Code::kResourceExhausted, Reason::kNone},
      {Engine::ColumnFamilyDropped("x"), Code::kInternal, Reason::kNone},
  };
  int codes = 1;  // kOk
  for (const Case& each : cases) {
    const Status status = FromEngine(each.engine);
    EXPECT_EQ(status.code(), each.code) << each.engine.ToString();
    EXPECT_EQ(status.reason(), each.reason) << each.engine.ToString();
    EXPECT_NE(status.message().find('x'), std::string::npos);
    ++codes;
  }
  EXPECT_EQ(codes, static_cast<int>(Engine::Code::kMaxCode)) << "RocksDB has codes that are not in this test";
  EXPECT_TRUE(FromEngine(Engine::OK()).ok());
}

TEST(EngineStatus, SubcodesThatMatter) {
  EXPECT_EQ(FromEngine(Engine::NoSpace("/d/1.log", "No space left on device")).code(), Code::kResourceExhausted);
  EXPECT_EQ(FromEngine(Engine::NoSpace("/d/1.log", "No space left on device")).reason(), Reason::kNoSpace);
  EXPECT_EQ(FromEngine(Engine::SpaceLimit()).reason(), Reason::kNoSpace);
  EXPECT_EQ(FromEngine(Engine::Incomplete(Engine::SubCode::kManualCompactionPaused)).code(), Code::kCancelled);
  EXPECT_EQ(FromEngine(Engine::MemoryLimit()).code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace vellum::storage
