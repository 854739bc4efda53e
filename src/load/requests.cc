#include "load/requests.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "rpc/encode.h"

namespace vellum::load {
namespace {

using rpc::MessageWriter;

// More than RocksDB's or bolt's compression window sees, and little enough for the processor's caches.
constexpr std::size_t kPoolBytes = 1u << 20;

// A prime above every number of keys, so that multiplying with it visits each key once.
constexpr std::int64_t kScatter = 2'654'435'761;

std::string Key(std::int64_t number) {
  char text[24];
  const int size = std::snprintf(text, sizeof(text), "%08lld", static_cast<long long>(number));
  return {text, static_cast<std::size_t>(size)};
}

std::string Bytes(MessageWriter&& writer) {
  std::string bytes;
  for (const wire::Piece& piece : writer.Take()) {
    bytes += piece.own;
    if (piece.shared != nullptr) bytes += *piece.shared;
  }
  return bytes;
}

MessageWriter GetMessage(std::int64_t key) {
  MessageWriter range;
  range.Bytes(1, Key(key));
  return range;
}

MessageWriter PutMessage(std::int64_t key, std::string_view value) {
  MessageWriter put;
  put.Bytes(1, Key(key));
  put.Bytes(2, value);
  return put;
}

// RequestOp of a transaction's branch.
void AddOperation(MessageWriter* txn, int branch, int kind, MessageWriter&& request) {
  MessageWriter operation;
  operation.Nested(kind, std::move(request));
  txn->Nested(branch, std::move(operation));
}

constexpr int kSuccess = 2;
constexpr int kFailure = 3;
constexpr int kRangeOp = 1;
constexpr int kPutOp = 2;

}  // namespace

RequestMaker::RequestMaker(const Plan& plan) : plan_(plan), random_(plan.seed) {
  bytes_.resize(kPoolBytes + plan.value_bytes);
  for (char& byte : bytes_) byte = static_cast<char>(random_());
}

std::string_view RequestMaker::RandomValue() {
  return std::string_view(bytes_).substr(random_() % kPoolBytes, plan_.value_bytes);
}

std::string RequestMaker::Put(std::int64_t key) { return Bytes(PutMessage(key, RandomValue())); }

std::string RequestMaker::Get(std::int64_t key) const {
  MessageWriter range = GetMessage(key);
  range.Bool(7, plan_.serializable);
  return Bytes(std::move(range));
}

std::string RequestMaker::Page() {
  MessageWriter range;
  // Where a whole page is left, if there is such a place.
  const std::int64_t starts = std::max<std::int64_t>(1, plan_.keys - plan_.limit + 1);
  const std::string first = Key(static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(starts)));
  range.Bytes(1, plan_.from_start ? std::string_view("\0", 1) : std::string_view(first));
  range.Bytes(2, std::string_view("\0", 1));
  range.Signed(3, plan_.limit);
  range.Bool(7, plan_.serializable);
  return Bytes(std::move(range));
}

std::string RequestMaker::Count() const {
  MessageWriter range;
  range.Bytes(1, std::string_view("\0", 1));
  range.Bytes(2, std::string_view("\0", 1));
  range.Bool(7, plan_.serializable);
  range.Bool(9, true);
  return Bytes(std::move(range));
}

std::string RequestMaker::Txn(std::int64_t number) {
  MessageWriter txn;
  if (number % 2 == 0) {
    AddOperation(&txn, kSuccess, kRangeOp, GetMessage(RandomKey()));
    AddOperation(&txn, kSuccess, kRangeOp, GetMessage(RandomKey()));
    return Bytes(std::move(txn));
  }
  const std::int64_t key = RandomKey();
  MessageWriter compare;  // its version is above -1, as that of every key, there or not
  compare.Unsigned(1, 1);
  compare.Bytes(3, Key(key));
  compare.Signed(4, -1);
  txn.Nested(1, std::move(compare));
  AddOperation(&txn, kSuccess, kRangeOp, GetMessage(RandomKey()));
  AddOperation(&txn, kSuccess, kPutOp, PutMessage(key, RandomValue()));
  // Another key: a transaction may not put one twice.
  AddOperation(&txn, kSuccess, kPutOp, PutMessage((key + 1) % plan_.keys, RandomValue()));
  return Bytes(std::move(txn));
}

std::string RequestMaker::CompareAndSet(std::int64_t key, std::int64_t revision) {
  MessageWriter compare;
  compare.Unsigned(2, 2);  // equal; the revision of the last change
  compare.Bytes(3, Key(key));
  compare.Signed(6, revision);
  MessageWriter txn;
  txn.Nested(1, std::move(compare));
  AddOperation(&txn, kSuccess, kPutOp, PutMessage(key, RandomValue()));
  AddOperation(&txn, kFailure, kRangeOp, GetMessage(key));
  return Bytes(std::move(txn));
}

std::string RequestMaker::Fill(std::int64_t first, std::int64_t last) {
  MessageWriter txn;
  for (std::int64_t i = first; i <= last; ++i) {
    AddOperation(&txn, kSuccess, kPutOp, PutMessage(i * kScatter % plan_.keys, RandomValue()));
  }
  return Bytes(std::move(txn));
}

std::string RequestMaker::WatchCreate(std::int64_t key) const {
  MessageWriter create;
  create.Bytes(1, Key(key));
  MessageWriter request;
  request.Nested(1, std::move(create));
  return Bytes(std::move(request));
}

std::string RequestMaker::Compact(std::int64_t revision) const {
  MessageWriter request;
  request.Signed(1, revision);
  request.Bool(2, plan_.physical);
  return Bytes(std::move(request));
}

std::string RequestMaker::LeaseGrant() const {
  MessageWriter request;
  request.Signed(1, 600);
  return Bytes(std::move(request));
}

std::string RequestMaker::KeepAlive(std::int64_t lease) const {
  MessageWriter request;
  request.Signed(1, lease);
  return Bytes(std::move(request));
}

std::optional<FieldReader::Field> FieldReader::Next() {
  const std::optional<std::uint64_t> tag = reader_.ReadVarint();
  if (!tag) return std::nullopt;
  Field field{*tag >> 3, 0, {}};
  switch (*tag & 7) {
    case 0: {
      const std::optional<std::uint64_t> value = reader_.ReadVarint();
      if (!value) return std::nullopt;
      field.value = *value;
      return field;
    }
    case 2: {
      const std::optional<std::string_view> bytes = reader_.ReadLengthPrefixed();
      if (!bytes) return std::nullopt;
      field.bytes = *bytes;
      return field;
    }
    default: return std::nullopt;  // no message of etcd has others
  }
}

std::int64_t NumberField(std::string_view message, std::uint64_t number) {
  FieldReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->number == number) return static_cast<std::int64_t>(field->value);
  }
  return 0;
}

std::string_view BytesField(std::string_view message, std::uint64_t number) {
  FieldReader reader(message);
  while (const auto field = reader.Next()) {
    if (field->number == number) return field->bytes;
  }
  return {};
}

std::int64_t HeaderRevision(std::string_view answer) { return NumberField(BytesField(answer, 1), 3); }

std::int64_t RevisionAfter(std::string_view txn_answer) {
  if (NumberField(txn_answer, 2) != 0) return HeaderRevision(txn_answer);
  const std::string_view range = BytesField(BytesField(txn_answer, 3), 1);
  return NumberField(BytesField(range, 2), 3);
}

}  // namespace vellum::load
