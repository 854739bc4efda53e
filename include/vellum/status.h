#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace vellum {

/// What the caller should do next. The numbers are gRPC's.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,     ///< Fix the call.
  kDeadlineExceeded = 4,    ///< The outcome may be unknown: see Status::maybe_applied().
  kNotFound = 5,            ///< Absent where presence is required.
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,   ///< Shed load, or make room.
  kFailedPrecondition = 9,  ///< An operator has to act first.
  kAborted = 10,            ///< Lost a race: read again, repeat the whole operation.
  kOutOfRange = 11,         ///< Below the compacted revision, or beyond the current one.
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,  ///< Stopping, or not there yet: back off, go elsewhere.
  kDataLoss = 15,     ///< Stored bytes are damaged: stop, restore.
  kUnauthenticated = 16,
};

/// "kNotFound" and so on; "kUnknown" for a number outside the enumeration.
std::string_view CodeName(Code code);

/// Tells apart failures that share a Code but that callers must distinguish, as the etcd protocol does.
/// The text that belongs on the wire is decided where the wire is (src/rpc), not here.
enum class Reason : std::uint8_t {
  kNone = 0,
  kKeyEmpty,
  kKeyNotFound,
  kValueProvided,
  kLeaseProvided,
  kTooManyOperations,
  kDuplicateKey,
  kInvalidSort,
  kCompacted,
  kFutureRevision,
  kNoSpace,
  kCorrupt,
  kLeaseNotFound,
  kLeaseExists,
  kLeaseTtlTooLarge,
  kRequestTooLarge,
  kTooManyRequests,
  kStopped,
  kTimeout,
};

/// Success, or why not. One pointer; null is success, so passing success along costs nothing.
///
/// A message says what failed, on what, and the limit and actual value where there are any: lower case,
/// no full stop. Values, not exceptions: nothing in Vellum throws one of its own.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(Code code, std::string message, Reason reason = Reason::kNone);

  Status(const Status& other);
  Status& operator=(const Status& other);
  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  ~Status() = default;

  bool ok() const noexcept { return rep_ == nullptr; }
  Code code() const noexcept;
  Reason reason() const noexcept;
  /// Empty for success. Valid as long as this Status is neither changed nor destroyed.
  const std::string& message() const noexcept;

  /// True for a failed write that may nevertheless have taken effect, now or after a restart: the one fact
  /// that a caller cannot guess. False means that it certainly did not.
  bool maybe_applied() const noexcept;

  /// The same failure, marked as one that may have taken effect. Success stays success.
  Status WithMaybeApplied() &&;

  /// The same failure with "`context`: " before its message; code, reason and mark stay. Success stays success.
  Status WithContext(std::string_view context) &&;

  /// "ok", or "kNotFound: message", with " (may have taken effect)" where so.
  std::string ToString() const;

  /// Drops a failure on purpose. The reason is for the reader of the calling code.
  void IgnoreError(std::string_view reason) const noexcept { static_cast<void>(reason); }

 private:
  struct Rep {
    Code code;
    Reason reason;
    bool maybe_applied;
    std::string message;
  };
  std::unique_ptr<Rep> rep_;
};

Status Cancelled(std::string message);
Status InvalidArgument(std::string message, Reason reason = Reason::kNone);
Status DeadlineExceeded(std::string message);
Status NotFound(std::string message, Reason reason = Reason::kNone);
Status PermissionDenied(std::string message);
Status ResourceExhausted(std::string message, Reason reason = Reason::kNone);
Status FailedPrecondition(std::string message, Reason reason = Reason::kNone);
Status Aborted(std::string message);
Status OutOfRange(std::string message, Reason reason = Reason::kNone);
Status Unimplemented(std::string message);
Status Internal(std::string message);
Status Unavailable(std::string message, Reason reason = Reason::kNone);
Status DataLoss(std::string message, Reason reason = Reason::kNone);

/// A value, or the Status that says why there is none. Shaped like std::expected.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT(google-explicit-constructor): returning a value is the point
  /// `error` must not be OK: a success without a value is a bug, and becomes kInternal.
  Result(Status error)  // NOLINT(google-explicit-constructor)
      : error_(error.ok() ? Internal("a result was made from success without a value") : std::move(error)) {}

  bool ok() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }

  /// Success, or the error.
  const Status& error() const& noexcept { return error_; }
  Status&& error() && noexcept { return std::move(error_); }

  /// Undefined unless ok().
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

  template <typename U>
  T value_or(U&& other) && {
    return value_.has_value() ? *std::move(value_) : static_cast<T>(std::forward<U>(other));
  }

 private:
  std::optional<T> value_;
  Status error_;
};

}  // namespace vellum

#define VELLUM_CONCAT_INNER(a, b) a##b
#define VELLUM_CONCAT(a, b) VELLUM_CONCAT_INNER(a, b)

/// Leaves the calling function with the Status of `expr` unless it is OK.
#define VELLUM_TRY(expr) VELLUM_TRY_INNER(VELLUM_CONCAT(vellum_status_, __COUNTER__), expr)
#define VELLUM_TRY_INNER(tmp, expr)                              \
  do {                                                           \
    if (::vellum::Status tmp = (expr); !tmp.ok()) return tmp;    \
  } while (false)

/// Declares `decl` from the Result of `expr`, or leaves the calling function with its error.
#define VELLUM_ASSIGN_OR_RETURN(decl, expr) \
  VELLUM_ASSIGN_OR_RETURN_INNER(VELLUM_CONCAT(vellum_result_, __COUNTER__), decl, expr)
#define VELLUM_ASSIGN_OR_RETURN_INNER(tmp, decl, expr) \
  auto tmp = (expr);                                   \
  if (!tmp.ok()) return std::move(tmp).error();        \
  decl = *std::move(tmp)
