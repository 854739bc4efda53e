#pragma once

#include <memory>
#include <string_view>

#include "sync/record.h"

namespace vellum::c1z {

/// Tells whether bytes are a connector's message, down to its last string: whatever passes can be printed and served later,
/// and be read by the connectors' own tools. Linear in the bytes, without decoding them; what is unusual is decoded. Keeps
/// its buffers from message to message. Not thread-safe; one per thread.
class MessageCheck {
 public:
  MessageCheck();
  ~MessageCheck();
  MessageCheck(MessageCheck&&) noexcept;
  MessageCheck& operator=(MessageCheck&&) noexcept;

  /// A record's message and, of a grant, its expansion if there is one. An asset's bytes are no message: any pass.
  bool Passes(const sync::RecordView& record);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Hands on the records whose messages pass, and answers kInvalidArgument to others. Not thread-safe.
class CheckedSink final : public sync::RecordSink {
 public:
  explicit CheckedSink(sync::RecordSink* to) : to_(to) {}
  Status Put(const sync::RecordView& record) override;

 private:
  sync::RecordSink* const to_;
  MessageCheck messages_;
};

}  // namespace vellum::c1z
