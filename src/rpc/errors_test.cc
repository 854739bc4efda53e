#include "rpc/errors.h"

#include <gtest/gtest.h>

#include <set>

namespace vellum::rpc {
namespace {

// The last enumerator; a Reason that is added behind it must get a row of the table and a line of the test below.
constexpr Reason kLastReason = Reason::kTimeout;

TEST(RpcErrors, EveryReasonHasExactlyOneText) {
  for (int number = 1; number <= static_cast<int>(kLastReason); ++number) {
    const auto reason = static_cast<Reason>(number);
    int rows = 0;
    for (const EtcdErrorRow& row : EtcdErrorTable()) rows += row.reason == reason ? 1 : 0;
    EXPECT_EQ(rows, 1) << "reason " << number;
  }
}

TEST(RpcErrors, TextsAreUniqueAndPrefixed) {
  std::set<std::string_view> texts;
  for (const EtcdErrorRow& row : EtcdErrorTable()) {
    EXPECT_TRUE(row.text.starts_with("etcdserver: ")) << row.text;
    EXPECT_TRUE(texts.insert(row.text).second) << row.text;
    EXPECT_NE(row.code, Code::kOk) << row.text;
  }
}

struct Expected {
  Reason reason;
  int code;
  const char* text;
};

// Written out a second time on purpose: these are the protocol's, not ours to change by editing the table.
constexpr Expected kExpected[] = {
    {Reason::kKeyEmpty, 3, "etcdserver: key is not provided"},
    {Reason::kKeyNotFound, 3, "etcdserver: key not found"},
    {Reason::kValueProvided, 3, "etcdserver: value is provided"},
    {Reason::kLeaseProvided, 3, "etcdserver: lease is provided"},
    {Reason::kTooManyOperations, 3, "etcdserver: too many operations in txn request"},
    {Reason::kDuplicateKey, 3, "etcdserver: duplicate key given in txn request"},
    {Reason::kInvalidSort, 3, "etcdserver: invalid sort option"},
    {Reason::kCompacted, 11, "etcdserver: mvcc: required revision has been compacted"},
    {Reason::kFutureRevision, 11, "etcdserver: mvcc: required revision is a future revision"},
    {Reason::kNoSpace, 8, "etcdserver: mvcc: database space exceeded"},
    {Reason::kCorrupt, 15, "etcdserver: corrupt cluster"},
    {Reason::kLeaseNotFound, 5, "etcdserver: requested lease not found"},
    {Reason::kLeaseExists, 9, "etcdserver: lease already exists"},
    {Reason::kLeaseTtlTooLarge, 11, "etcdserver: too large lease TTL"},
    {Reason::kRequestTooLarge, 3, "etcdserver: request is too large"},
    {Reason::kTooManyRequests, 8, "etcdserver: too many requests"},
    {Reason::kStopped, 14, "etcdserver: server stopped"},
    {Reason::kTimeout, 14, "etcdserver: request timed out"},
};

TEST(RpcErrors, ReasonsGetTheProtocolsCodeAndTextWhateverTheDomainSaid) {
  EXPECT_EQ(std::size(kExpected), static_cast<std::size_t>(kLastReason));
  for (const Expected& expected : kExpected) {
    const Status wire = ToWire(Status(Code::kInternal, "a message of the domain", expected.reason));
    EXPECT_EQ(static_cast<int>(wire.code()), expected.code) << expected.text;
    EXPECT_EQ(wire.message(), expected.text);
    EXPECT_FALSE(wire.maybe_applied());
  }
}

TEST(RpcErrors, OthersKeepCodeAndMessage) {
  for (int number = 1; number <= 16; ++number) {
    const auto code = static_cast<Code>(number);
    const Status wire = ToWire(Status(code, "the disk is on fire"));
    EXPECT_EQ(wire.code(), code);
    if (code == Code::kCancelled) {
      EXPECT_EQ(wire.message(), "etcdserver: request canceled");
    } else if (code == Code::kDeadlineExceeded) {
      EXPECT_EQ(wire.message(), "etcdserver: context deadline exceeded");
    } else {
      EXPECT_EQ(wire.message(), "etcdserver: the disk is on fire");
    }
  }
}

TEST(RpcErrors, TheMarkThatAWriteMayHaveHappenedStays) {
  EXPECT_TRUE(ToWire(Unavailable("stopping", Reason::kStopped).WithMaybeApplied()).maybe_applied());
  EXPECT_TRUE(ToWire(Internal("x").WithMaybeApplied()).maybe_applied());
  EXPECT_TRUE(ToWire(Cancelled("x").WithMaybeApplied()).maybe_applied());
}

TEST(RpcErrors, AClientGetsTheReasonBack) {
  for (const EtcdErrorRow& row : EtcdErrorTable()) {
    const Status status = FromWire(static_cast<int>(row.code), std::string(row.text));
    EXPECT_EQ(status.code(), row.code);
    EXPECT_EQ(status.reason(), row.reason) << row.text;
    EXPECT_EQ(status.message(), row.text);
  }
  // The text alone does not make the failure: the code counts too.
  EXPECT_EQ(FromWire(2, "etcdserver: key is not provided").reason(), Reason::kNone);
  EXPECT_EQ(FromWire(99, "x").code(), Code::kUnknown);
  EXPECT_EQ(FromWire(0, "x").code(), Code::kUnknown);
  EXPECT_EQ(FromWire(-1, "x").code(), Code::kUnknown);
}

}  // namespace
}  // namespace vellum::rpc
