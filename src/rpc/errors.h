#pragma once

#include <span>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// Failures as they stand on the wire: codes and texts that etcd's clients compare byte by byte.
namespace vellum::rpc {

/// The failures that clients know by their exact text.
enum class EtcdError : std::uint8_t {
  kKeyEmpty,
  kKeyNotFound,
  kValueProvided,
  kLeaseProvided,
  kTooManyOperations,
  kDuplicateKey,
  kInvalidSort,
  kInvalidClientApiVersion,
  kCompacted,
  kFutureRevision,
  kNoSpace,
  kLeaseNotFound,
  kLeaseExists,
  kLeaseTtlTooLarge,
  kWatchCanceled,
  kMemberExists,
  kPeerUrlExists,
  kNotEnoughStarted,
  kMemberBadUrls,
  kMemberNotFound,
  kMemberNotLearner,
  kTooManyLearners,
  kRequestTooLarge,
  kTooManyRequests,
  kBadLeaderTransferee,
  kStopped,
  kTimeout,
  kCorrupt,
  kDowngradeBadFormat,
  kDowngradeBadVersion,
  kRequestCanceled,
  kDeadlineExceeded,
};

/// One row of the table: `reason` is the domain's name of the same failure, kNone for those that only the protocol has.
struct EtcdErrorRow {
  EtcdError error;
  Reason reason;
  Code code;
  std::string_view text;  ///< Whole, with its prefix.
};
std::span<const EtcdErrorRow> EtcdErrorTable();

/// The failure with its code and text, ready for the wire.
Status MakeError(EtcdError error);
/// Only the text, without copying.
std::string_view ErrorText(EtcdError error);

/// A failure of the domain as the wire says it. Those with a reason get the table's code and text; a cancelled or late
/// call the protocol's; all others keep their code, and their message gets the protocol's prefix. maybe_applied stays.
/// `status` must not be OK.
Status ToWire(const Status& status);

/// The other way, for a client: a code and text from a server become the Status that the same failure is here. Texts
/// outside the table keep code and text, with Reason::kNone.
Status FromWire(int code, std::string text);

}  // namespace vellum::rpc
