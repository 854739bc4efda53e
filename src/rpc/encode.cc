#include "rpc/encode.h"

#include <memory>
#include <utility>
#include <variant>

#include "base/bytes.h"
#include "base/check.h"

namespace vellum::rpc {
namespace {

// Shorter pieces of a nested message are copied into the outer one: a piece costs more than the copy.
constexpr std::size_t kCopiedBytes = 256;

// No KeyValue has more bytes than this beside its key and value, unless it has a lease.
constexpr std::size_t kKeyValueOverhead = 48;

// Nor a response's header, its own small fields and the prefix that the wire puts before it.
constexpr std::size_t kHeaderBytes = 80;

constexpr std::uint64_t kVarintType = 0;
constexpr std::uint64_t kLengthType = 2;

std::uint64_t Tag(int field, std::uint64_t type) { return static_cast<std::uint64_t>(field) << 3 | type; }

// Some small fields, put together on the stack: a string is appended to once for all of them.
class SmallFields {
 public:
  SmallFields& Unsigned(int field, std::uint64_t value) {
    return value == 0 ? *this : Varint(Tag(field, kVarintType)).Varint(value);
  }
  SmallFields& Signed(int field, std::int64_t value) { return Unsigned(field, static_cast<std::uint64_t>(value)); }
  // The tag and length of something with `size` bytes.
  SmallFields& Begin(int field, std::size_t size) { return Varint(Tag(field, kLengthType)).Varint(size); }

  std::string_view bytes() const { return {bytes_, size_}; }

 private:
  // The most that one function below puts together: five fields of a tag's byte and a number's ten.
  static constexpr std::size_t kBytesMax = 5 * 11;

  SmallFields& Varint(std::uint64_t value) {
    VELLUM_DCHECK(size_ + VarintSize(value) <= kBytesMax);
    size_ += WriteVarint(bytes_ + size_, value);
    return *this;
  }

  char bytes_[kBytesMax];
  std::size_t size_ = 0;
};

std::size_t UnsignedSize(int field, std::uint64_t value) {
  return value == 0 ? 0 : VarintSize(Tag(field, kVarintType)) + VarintSize(value);
}

std::size_t SignedSize(int field, std::int64_t value) { return UnsignedSize(field, static_cast<std::uint64_t>(value)); }

std::size_t NestedSize(int field, std::size_t size) {
  return VarintSize(Tag(field, kLengthType)) + VarintSize(size) + size;
}

std::size_t BytesSize(int field, std::string_view bytes) { return bytes.empty() ? 0 : NestedSize(field, bytes.size()); }

std::size_t KeyValueSize(const KeyValue& kv) {
  return BytesSize(1, kv.key) + SignedSize(2, kv.create_revision) + SignedSize(3, kv.mod_revision) +
         SignedSize(4, kv.version) + BytesSize(5, kv.value) + SignedSize(6, kv.lease);
}

void WriteKeyValueStart(MessageWriter* writer, int field, const KeyValue& kv) {
  writer->Begin(field, KeyValueSize(kv));
  writer->Bytes(1, kv.key);
  writer->Raw(SmallFields()
                  .Signed(2, kv.create_revision)
                  .Signed(3, kv.mod_revision)
                  .Signed(4, kv.version)
                  .bytes());
}

// The copying form, for what others still need.
void CopyKeyValue(MessageWriter* writer, int field, const KeyValue& kv) {
  WriteKeyValueStart(writer, field, kv);
  writer->Bytes(5, kv.value);
  writer->Signed(6, kv.lease);
}

void ReserveForRange(MessageWriter* writer, const RangeResponse& response) {
  std::size_t copied = kHeaderBytes;
  for (const KeyValue& kv : response.kvs) {
    copied += kKeyValueOverhead + kv.key.size();
    if (kv.value.size() < MessageWriter::kReferencedBytes) copied += kv.value.size();
  }
  writer->Reserve(copied);
}

void WriteRangeBody(MessageWriter* writer, RangeResponse&& response) {
  for (KeyValue& kv : response.kvs) WriteKeyValue(writer, 2, std::move(kv));
  writer->Bool(3, response.more);
  writer->Signed(4, response.count);
}

void WritePutBody(MessageWriter* writer, PutResponse&& response) {
  if (response.prev_kv) WriteKeyValue(writer, 2, std::move(*response.prev_kv));
}

void WriteDeleteRangeBody(MessageWriter* writer, DeleteRangeResponse&& response) {
  writer->Signed(2, response.deleted);
  for (KeyValue& kv : response.prev_kvs) WriteKeyValue(writer, 3, std::move(kv));
}

void WriteInnerHeader(MessageWriter* writer, Revision revision) { WriteHeader(writer, HeaderIds{}, revision); }

void WriteTxnBody(MessageWriter* writer, TxnResponse&& response);

// Overloads that write the answer of one operation as a message of its own, and return its field in ResponseOp.
int WriteOperation(MessageWriter* writer, RangeResponse&& response) {
  ReserveForRange(writer, response);
  WriteInnerHeader(writer, response.revision);
  WriteRangeBody(writer, std::move(response));
  return 1;
}
int WriteOperation(MessageWriter* writer, PutResponse&& response) {
  WriteInnerHeader(writer, response.revision);
  WritePutBody(writer, std::move(response));
  return 2;
}
int WriteOperation(MessageWriter* writer, DeleteRangeResponse&& response) {
  WriteInnerHeader(writer, response.revision);
  WriteDeleteRangeBody(writer, std::move(response));
  return 3;
}
int WriteOperation(MessageWriter* writer, TxnResponse&& response) {
  WriteInnerHeader(writer, 0);
  WriteTxnBody(writer, std::move(response));
  return 4;
}

void WriteTxnBody(MessageWriter* writer, TxnResponse&& response) {
  writer->Bool(2, response.succeeded);
  for (TxnOpResponse& op : response.responses) {
    MessageWriter inner;
    const int field =
        std::visit([&inner](auto& answer) { return WriteOperation(&inner, std::move(answer)); }, op.response);
    MessageWriter operation;
    operation.Nested(field, std::move(inner));
    writer->Nested(3, std::move(operation));
  }
}

}  // namespace

void MessageWriter::Unsigned(int field, std::uint64_t value) {
  if (value != 0) own_.append(SmallFields().Unsigned(field, value).bytes());
}

void MessageWriter::Begin(int field, std::size_t size) { own_.append(SmallFields().Begin(field, size).bytes()); }

void MessageWriter::Bytes(int field, std::string_view bytes) {
  if (bytes.empty()) return;
  Begin(field, bytes.size());
  own_.append(bytes);
}

void MessageWriter::TakeBytes(int field, std::string&& bytes) {
  if (bytes.size() < kReferencedBytes) {
    Bytes(field, bytes);
    return;
  }
  Begin(field, bytes.size());
  wire::Piece piece;
  piece.shared = std::make_shared<const std::string>(std::move(bytes));
  Append(std::move(piece));
}

void MessageWriter::Append(wire::Piece&& piece) {
  // What is pending comes first. A piece may bring both own and shared bytes.
  if (piece.own.size() < kCopiedBytes || own_.empty()) {
    if (own_.empty()) {
      own_ = std::move(piece.own);
    } else {
      own_.append(piece.own);
    }
    piece.own = std::exchange(own_, {});
  } else {
    flushed_ += own_.size();
    pieces_.push_back(wire::Piece{std::exchange(own_, {}), nullptr});
  }
  if (piece.shared == nullptr) {
    own_ = std::move(piece.own);
    return;
  }
  flushed_ += piece.own.size() + piece.shared->size();
  pieces_.push_back(std::move(piece));
}

void MessageWriter::Nested(int field, MessageWriter&& message) {
  Begin(field, message.size());
  for (wire::Piece& piece : message.Take()) Append(std::move(piece));
}

wire::Message MessageWriter::Take() {
  if (!own_.empty()) pieces_.push_back(wire::Piece{std::exchange(own_, {}), nullptr});
  flushed_ = 0;
  return std::exchange(pieces_, {});
}

void WriteHeader(MessageWriter* writer, const HeaderIds& ids, Revision revision) {
  const std::size_t size = UnsignedSize(1, ids.cluster_id) + UnsignedSize(2, ids.member_id) + SignedSize(3, revision) +
                           UnsignedSize(4, ids.raft_term);
  writer->Raw(SmallFields()
                  .Begin(1, size)
                  .Unsigned(1, ids.cluster_id)
                  .Unsigned(2, ids.member_id)
                  .Signed(3, revision)
                  .Unsigned(4, ids.raft_term)
                  .bytes());
}

void WriteKeyValue(MessageWriter* writer, int field, KeyValue&& kv) {
  WriteKeyValueStart(writer, field, kv);
  writer->TakeBytes(5, std::move(kv.value));
  writer->Signed(6, kv.lease);
}

wire::Message EncodeRangeResponse(const HeaderIds& ids, RangeResponse&& response) {
  MessageWriter writer;
  ReserveForRange(&writer, response);
  WriteHeader(&writer, ids, response.revision);
  WriteRangeBody(&writer, std::move(response));
  return writer.Take();
}

wire::Message EncodeRangePart(const HeaderIds& ids, RangeResponse&& part, bool last) {
  MessageWriter inner;
  ReserveForRange(&inner, part);
  if (last) {
    WriteHeader(&inner, ids, part.revision);
  } else {
    part.more = false;
    part.count = 0;
  }
  WriteRangeBody(&inner, std::move(part));
  MessageWriter writer;
  writer.Nested(1, std::move(inner));
  return writer.Take();
}

wire::Message EncodePutResponse(const HeaderIds& ids, PutResponse&& response) {
  MessageWriter writer;
  writer.Reserve(kHeaderBytes);
  WriteHeader(&writer, ids, response.revision);
  WritePutBody(&writer, std::move(response));
  return writer.Take();
}

wire::Message EncodeDeleteRangeResponse(const HeaderIds& ids, DeleteRangeResponse&& response) {
  MessageWriter writer;
  WriteHeader(&writer, ids, response.revision);
  WriteDeleteRangeBody(&writer, std::move(response));
  return writer.Take();
}

wire::Message EncodeTxnResponse(const HeaderIds& ids, TxnResponse&& response) {
  MessageWriter writer;
  writer.Reserve(kHeaderBytes);
  WriteHeader(&writer, ids, response.revision);
  WriteTxnBody(&writer, std::move(response));
  return writer.Take();
}

std::string EncodeWatchEvent(const Event& event, bool with_previous) {
  const bool previous = with_previous && event.prev_kv.has_value();
  const auto type = static_cast<std::uint64_t>(event.type);
  const std::size_t size = UnsignedSize(1, type) + NestedSize(2, KeyValueSize(event.kv)) +
                           (previous ? NestedSize(3, KeyValueSize(*event.prev_kv)) : 0);
  MessageWriter writer;
  writer.Begin(11, size);
  writer.Unsigned(1, type);
  CopyKeyValue(&writer, 2, event.kv);
  if (previous) CopyKeyValue(&writer, 3, *event.prev_kv);
  // Nothing was taken by reference, so it is one piece.
  return std::move(writer.Take().front().own);
}

std::string EncodeWatchResponseHead(const HeaderIds& ids, const WatchResponseHead& head) {
  MessageWriter writer;
  WriteHeader(&writer, ids, head.revision);
  writer.Signed(2, head.watch_id);
  writer.Bool(3, head.created);
  writer.Bool(4, head.canceled);
  writer.Signed(5, head.compact_revision);
  writer.Bytes(6, head.cancel_reason);
  writer.Bool(7, head.fragment);
  return std::move(writer.Take().front().own);
}

std::string EncodeWatchHeader(const HeaderIds& ids, Revision revision) {
  MessageWriter writer;
  WriteHeader(&writer, ids, revision);
  return std::move(writer.Take().front().own);
}

void AppendWatchId(std::int64_t watch_id, bool fragment, std::string* out) {
  out->append(SmallFields().Signed(2, watch_id).Unsigned(7, fragment ? 1 : 0).bytes());
}

}  // namespace vellum::rpc
