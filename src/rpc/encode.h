#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "vellum/types.h"
#include "wire/service.h"

/// Answers straight from the domain's types to protobuf's wire format, without messages in between: a value is copied
/// once at most, and large ones not at all. The bytes are those that protobuf would write.
namespace vellum::rpc {

/// What the headers of all answers have in common.
struct HeaderIds {
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::uint64_t raft_term = 0;
};

/// Appends fields in protobuf's wire format. Fields with default values are left out, as proto3 has it.
class MessageWriter {
 public:
  /// Byte strings from this size on are handed to the wire by reference when the writer may take them.
  static constexpr std::size_t kReferencedBytes = 4096;

  /// Makes room for `bytes` more at once.
  void Reserve(std::size_t bytes) { own_.reserve(own_.size() + bytes); }

  void Unsigned(int field, std::uint64_t value);
  void Signed(int field, std::int64_t value) { Unsigned(field, static_cast<std::uint64_t>(value)); }
  void Bool(int field, bool value) { Unsigned(field, value ? 1 : 0); }
  void Bytes(int field, std::string_view bytes);
  /// The same; keeps `bytes` instead of copying them when they are large.
  void TakeBytes(int field, std::string&& bytes);
  /// A message field that is present even when it is empty.
  void Nested(int field, MessageWriter&& message);
  /// A tag and length; the caller appends exactly `size` bytes of content.
  void Begin(int field, std::size_t size);
  /// Fields that are in the wire format already.
  void Raw(std::string_view fields) { own_.append(fields); }

  /// Bytes written so far.
  std::size_t size() const { return flushed_ + own_.size(); }
  /// What was written. The writer is empty afterwards.
  wire::Message Take();

 private:
  void Append(wire::Piece&& piece);

  std::string own_;            // the end of the message, not yet a piece
  wire::Message pieces_;       // what comes before it
  std::size_t flushed_ = 0;    // bytes in pieces_
};

/// ResponseHeader as field 1.
void WriteHeader(MessageWriter* writer, const HeaderIds& ids, Revision revision);
/// mvccpb.KeyValue as a field.
void WriteKeyValue(MessageWriter* writer, int field, KeyValue&& kv);

wire::Message EncodeRangeResponse(const HeaderIds& ids, RangeResponse&& response);
/// One RangeStreamResponse of several. Only the last one has header, more and count; merged they are a RangeResponse.
wire::Message EncodeRangePart(const HeaderIds& ids, RangeResponse&& part, bool last);
wire::Message EncodePutResponse(const HeaderIds& ids, PutResponse&& response);
wire::Message EncodeDeleteRangeResponse(const HeaderIds& ids, DeleteRangeResponse&& response);
/// The answers inside carry headers with a revision only; those of nested transactions are empty.
wire::Message EncodeTxnResponse(const HeaderIds& ids, TxnResponse&& response);

/// An event as an element of WatchResponse.events, with its tag and length: such elements can be joined in any number.
std::string EncodeWatchEvent(const Event& event, bool with_previous);

/// Everything of a WatchResponse but its events, which may follow these bytes.
struct WatchResponseHead {
  Revision revision = 0;
  std::int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  Revision compact_revision = 0;
  std::string_view cancel_reason;
  bool fragment = false;
};
std::string EncodeWatchResponseHead(const HeaderIds& ids, const WatchResponseHead& head);

/// The head of a response with events, in two parts: the header, which all responses of one revision have in common, ...
std::string EncodeWatchHeader(const HeaderIds& ids, Revision revision);
/// ... and what follows it: appended to `out`.
void AppendWatchId(std::int64_t watch_id, bool fragment, std::string* out);

}  // namespace vellum::rpc
