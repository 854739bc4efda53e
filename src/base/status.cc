#include "vellum/status.h"

namespace vellum {
namespace {

const std::string& EmptyMessage() {
  static const std::string empty;
  return empty;
}

}  // namespace

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "kOk";
    case Code::kCancelled: return "kCancelled";
    case Code::kUnknown: return "kUnknown";
    case Code::kInvalidArgument: return "kInvalidArgument";
    case Code::kDeadlineExceeded: return "kDeadlineExceeded";
    case Code::kNotFound: return "kNotFound";
    case Code::kAlreadyExists: return "kAlreadyExists";
    case Code::kPermissionDenied: return "kPermissionDenied";
    case Code::kResourceExhausted: return "kResourceExhausted";
    case Code::kFailedPrecondition: return "kFailedPrecondition";
    case Code::kAborted: return "kAborted";
    case Code::kOutOfRange: return "kOutOfRange";
    case Code::kUnimplemented: return "kUnimplemented";
    case Code::kInternal: return "kInternal";
    case Code::kUnavailable: return "kUnavailable";
    case Code::kDataLoss: return "kDataLoss";
    case Code::kUnauthenticated: return "kUnauthenticated";
  }
  return "kUnknown";
}

Status::Status(Code code, std::string message, Reason reason) {
  if (code != Code::kOk) {
    rep_ = std::make_unique<Rep>(Rep{code, reason, /*maybe_applied=*/false, std::move(message)});
  }
}

Status::Status(const Status& other) : rep_(other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) rep_ = other.rep_ ? std::make_unique<Rep>(*other.rep_) : nullptr;
  return *this;
}

Code Status::code() const noexcept { return rep_ ? rep_->code : Code::kOk; }

Reason Status::reason() const noexcept { return rep_ ? rep_->reason : Reason::kNone; }

const std::string& Status::message() const noexcept { return rep_ ? rep_->message : EmptyMessage(); }

bool Status::maybe_applied() const noexcept { return rep_ && rep_->maybe_applied; }

Status Status::WithMaybeApplied() && {
  if (rep_) rep_->maybe_applied = true;
  return std::move(*this);
}

Status Status::WithContext(std::string_view context) && {
  if (rep_) rep_->message = std::string(context) + ": " + rep_->message;
  return std::move(*this);
}

std::string Status::ToString() const {
  if (!rep_) return "ok";
  std::string text(CodeName(rep_->code));
  text += ": ";
  text += rep_->message;
  if (rep_->maybe_applied) text += " (may have taken effect)";
  return text;
}

Status Cancelled(std::string message) { return {Code::kCancelled, std::move(message)}; }
Status InvalidArgument(std::string message, Reason reason) {
  return {Code::kInvalidArgument, std::move(message), reason};
}
Status DeadlineExceeded(std::string message) { return {Code::kDeadlineExceeded, std::move(message)}; }
Status NotFound(std::string message, Reason reason) { return {Code::kNotFound, std::move(message), reason}; }
Status PermissionDenied(std::string message) { return {Code::kPermissionDenied, std::move(message)}; }
Status ResourceExhausted(std::string message, Reason reason) {
  return {Code::kResourceExhausted, std::move(message), reason};
}
Status FailedPrecondition(std::string message, Reason reason) {
  return {Code::kFailedPrecondition, std::move(message), reason};
}
Status Aborted(std::string message) { return {Code::kAborted, std::move(message)}; }
Status OutOfRange(std::string message, Reason reason) { return {Code::kOutOfRange, std::move(message), reason}; }
Status Unimplemented(std::string message) { return {Code::kUnimplemented, std::move(message)}; }
Status Internal(std::string message) { return {Code::kInternal, std::move(message)}; }
Status Unavailable(std::string message, Reason reason) { return {Code::kUnavailable, std::move(message), reason}; }
Status DataLoss(std::string message, Reason reason) { return {Code::kDataLoss, std::move(message), reason}; }

}  // namespace vellum
