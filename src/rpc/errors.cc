#include "rpc/errors.h"

#include <array>
#include <cstddef>
#include <utility>

#include "base/check.h"

namespace vellum::rpc {
namespace {

// Code is handed to gRPC as a number.
static_assert(static_cast<int>(Code::kOk) == 0);
static_assert(static_cast<int>(Code::kCancelled) == 1);
static_assert(static_cast<int>(Code::kUnknown) == 2);
static_assert(static_cast<int>(Code::kInvalidArgument) == 3);
static_assert(static_cast<int>(Code::kDeadlineExceeded) == 4);
static_assert(static_cast<int>(Code::kNotFound) == 5);
static_assert(static_cast<int>(Code::kAlreadyExists) == 6);
static_assert(static_cast<int>(Code::kPermissionDenied) == 7);
static_assert(static_cast<int>(Code::kResourceExhausted) == 8);
static_assert(static_cast<int>(Code::kFailedPrecondition) == 9);
static_assert(static_cast<int>(Code::kAborted) == 10);
static_assert(static_cast<int>(Code::kOutOfRange) == 11);
static_assert(static_cast<int>(Code::kUnimplemented) == 12);
static_assert(static_cast<int>(Code::kInternal) == 13);
static_assert(static_cast<int>(Code::kUnavailable) == 14);
static_assert(static_cast<int>(Code::kDataLoss) == 15);
static_assert(static_cast<int>(Code::kUnauthenticated) == 16);

constexpr std::string_view kPrefix = "etcdserver: ";

using enum Code;
constexpr std::array kTable = std::to_array<EtcdErrorRow>({
    {EtcdError::kKeyEmpty, Reason::kKeyEmpty, kInvalidArgument, "etcdserver: key is not provided"},
    {EtcdError::kKeyNotFound, Reason::kKeyNotFound, kInvalidArgument, "etcdserver: key not found"},
    {EtcdError::kValueProvided, Reason::kValueProvided, kInvalidArgument, "etcdserver: value is provided"},
    {EtcdError::kLeaseProvided, Reason::kLeaseProvided, kInvalidArgument, "etcdserver: lease is provided"},
    {EtcdError::kTooManyOperations, Reason::kTooManyOperations, kInvalidArgument,
     "etcdserver: too many operations in txn request"},
    {EtcdError::kDuplicateKey, Reason::kDuplicateKey, kInvalidArgument,
     "etcdserver: duplicate key given in txn request"},
    {EtcdError::kInvalidSort, Reason::kInvalidSort, kInvalidArgument, "etcdserver: invalid sort option"},
    {EtcdError::kInvalidClientApiVersion, Reason::kNone, kInvalidArgument, "etcdserver: invalid client api version"},
    {EtcdError::kCompacted, Reason::kCompacted, kOutOfRange, "etcdserver: mvcc: required revision has been compacted"},
    {EtcdError::kFutureRevision, Reason::kFutureRevision, kOutOfRange,
     "etcdserver: mvcc: required revision is a future revision"},
    {EtcdError::kNoSpace, Reason::kNoSpace, kResourceExhausted, "etcdserver: mvcc: database space exceeded"},
    {EtcdError::kLeaseNotFound, Reason::kLeaseNotFound, kNotFound, "etcdserver: requested lease not found"},
    {EtcdError::kLeaseExists, Reason::kLeaseExists, kFailedPrecondition, "etcdserver: lease already exists"},
    {EtcdError::kLeaseTtlTooLarge, Reason::kLeaseTtlTooLarge, kOutOfRange, "etcdserver: too large lease TTL"},
    {EtcdError::kWatchCanceled, Reason::kNone, kCancelled, "etcdserver: watch canceled"},
    {EtcdError::kMemberExists, Reason::kNone, kFailedPrecondition, "etcdserver: member ID already exist"},
    {EtcdError::kPeerUrlExists, Reason::kNone, kFailedPrecondition, "etcdserver: Peer URLs already exists"},
    {EtcdError::kNotEnoughStarted, Reason::kNone, kFailedPrecondition,
     "etcdserver: re-configuration failed due to not enough started members"},
    {EtcdError::kMemberBadUrls, Reason::kNone, kInvalidArgument, "etcdserver: given member URLs are invalid"},
    {EtcdError::kMemberNotFound, Reason::kNone, kNotFound, "etcdserver: member not found"},
    {EtcdError::kMemberNotLearner, Reason::kNone, kFailedPrecondition,
     "etcdserver: can only promote a learner member"},
    {EtcdError::kTooManyLearners, Reason::kNone, kFailedPrecondition,
     "etcdserver: too many learner members in cluster"},
    {EtcdError::kRequestTooLarge, Reason::kRequestTooLarge, kInvalidArgument, "etcdserver: request is too large"},
    {EtcdError::kTooManyRequests, Reason::kTooManyRequests, kResourceExhausted, "etcdserver: too many requests"},
    {EtcdError::kBadLeaderTransferee, Reason::kNone, kFailedPrecondition, "etcdserver: bad leader transferee"},
    {EtcdError::kStopped, Reason::kStopped, kUnavailable, "etcdserver: server stopped"},
    {EtcdError::kTimeout, Reason::kTimeout, kUnavailable, "etcdserver: request timed out"},
    {EtcdError::kCorrupt, Reason::kCorrupt, kDataLoss, "etcdserver: corrupt cluster"},
    {EtcdError::kDowngradeBadFormat, Reason::kNone, kInvalidArgument,
     "etcdserver: wrong downgrade target version format"},
    {EtcdError::kDowngradeBadVersion, Reason::kNone, kInvalidArgument,
     "etcdserver: invalid downgrade target version"},
    {EtcdError::kRequestCanceled, Reason::kNone, kCancelled, "etcdserver: request canceled"},
    {EtcdError::kDeadlineExceeded, Reason::kNone, kDeadlineExceeded, "etcdserver: context deadline exceeded"},
});

constexpr bool RowsFollowTheEnumeration() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].error) != i) return false;
  }
  return kTable.size() == static_cast<std::size_t>(EtcdError::kDeadlineExceeded) + 1;
}
static_assert(RowsFollowTheEnumeration(), "the row of an error is found by its number");

const EtcdErrorRow& Row(EtcdError error) {
  const auto index = static_cast<std::size_t>(error);
  VELLUM_CHECK(index < kTable.size());
  return kTable[index];
}

Status Keep(Status made, const Status& original) {
  return original.maybe_applied() ? std::move(made).WithMaybeApplied() : std::move(made);
}

}  // namespace

std::span<const EtcdErrorRow> EtcdErrorTable() { return kTable; }

Status MakeError(EtcdError error) {
  const EtcdErrorRow& row = Row(error);
  return Status(row.code, std::string(row.text), row.reason);
}

std::string_view ErrorText(EtcdError error) { return Row(error).text; }

Status ToWire(const Status& status) {
  VELLUM_CHECK(!status.ok());
  if (status.reason() != Reason::kNone) {
    for (const EtcdErrorRow& row : kTable) {
      if (row.reason == status.reason()) return Keep(MakeError(row.error), status);
    }
  }
  if (status.code() == kCancelled) return Keep(MakeError(EtcdError::kRequestCanceled), status);
  if (status.code() == kDeadlineExceeded) return Keep(MakeError(EtcdError::kDeadlineExceeded), status);
  return Keep(Status(status.code(), std::string(kPrefix) + status.message()), status);
}

Status FromWire(int code, std::string text) {
  const bool known = code > static_cast<int>(kOk) && code <= static_cast<int>(kUnauthenticated);
  const Code checked = known ? static_cast<Code>(code) : kUnknown;
  for (const EtcdErrorRow& row : kTable) {
    if (row.code == checked && row.text == text) return Status(checked, std::move(text), row.reason);
  }
  return Status(checked, std::move(text));
}

}  // namespace vellum::rpc
