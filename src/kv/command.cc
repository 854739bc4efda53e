#include "kv/command.h"

#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/bytes.h"

namespace vellum::kv {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr int kDepthMax = 128;

// Numbers of the alternatives. They are stored: never change or reuse one.
enum class Tag : std::uint8_t {
  kPut = 1,
  kDeleteRange = 2,
  kTxn = 3,
  kCompact = 4,
  kLeaseGrant = 5,
  kLeaseRevoke = 6,
  kLeaseExpire = 7,
  kLeaseCheckpoint = 8,
  kAlarm = 9,
  kSample = 10,
  kReclaim = 11,
};
enum class OpTag : std::uint8_t { kEmpty = 0, kRange = 1, kPut = 2, kDeleteRange = 3, kTxn = 4 };

class Encoder {
 public:
  explicit Encoder(std::string* out) : out_(out) {}

  void Byte(std::uint8_t value) { out_->push_back(static_cast<char>(value)); }
  template <typename E>
    requires std::is_enum_v<E>
  void Enum(E value) {
    Byte(static_cast<std::uint8_t>(value));
  }
  void Bool(bool value) { Byte(value ? 1 : 0); }
  void Int(std::int64_t value) { AppendZigzag(out_, value); }
  void Uint(std::uint64_t value) { AppendVarint(out_, value); }
  void Bytes(std::string_view value) { AppendLengthPrefixed(out_, value); }

  void Write(const PutRequest& r) {
    Bytes(r.key);
    Bytes(r.value);
    Int(r.lease);
    Byte(static_cast<std::uint8_t>((r.prev_kv ? 1 : 0) | (r.ignore_value ? 2 : 0) | (r.ignore_lease ? 4 : 0)));
  }
  void Write(const DeleteRangeRequest& r) {
    Bytes(r.key);
    Bytes(r.range_end);
    Bool(r.prev_kv);
  }
  void Write(const RangeRequest& r) {
    Bytes(r.key);
    Bytes(r.range_end);
    Int(r.limit);
    Int(r.revision);
    Enum(r.sort_order);
    Enum(r.sort_target);
    Byte(static_cast<std::uint8_t>((r.serializable ? 1 : 0) | (r.keys_only ? 2 : 0) | (r.count_only ? 4 : 0)));
    Int(r.min_mod_revision);
    Int(r.max_mod_revision);
    Int(r.min_create_revision);
    Int(r.max_create_revision);
  }
  void Write(const Compare& c) {
    Enum(c.result);
    Enum(c.target);
    Bytes(c.key);
    Bytes(c.range_end);
    Int(c.number);
    Bytes(c.value);
  }
  void Write(const std::vector<TxnOp>& ops) {
    Uint(ops.size());
    for (const TxnOp& op : ops) {
      if (const auto* range = std::get_if<RangeRequest>(&op.request)) {
        Enum(OpTag::kRange);
        Write(*range);
      } else if (const auto* put = std::get_if<PutRequest>(&op.request)) {
        Enum(OpTag::kPut);
        Write(*put);
      } else if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) {
        Enum(OpTag::kDeleteRange);
        Write(*del);
      } else if (const auto* txn = std::get_if<TxnRequest>(&op.request)) {
        Enum(OpTag::kTxn);
        Write(*txn);
      } else {
        Enum(OpTag::kEmpty);
      }
    }
  }
  void Write(const TxnRequest& r) {
    Uint(r.compares.size());
    for (const Compare& compare : r.compares) Write(compare);
    Write(r.success);
    Write(r.failure);
  }

  void operator()(const PutCommand& c) {
    Enum(Tag::kPut);
    Write(c.request);
  }
  void operator()(const DeleteRangeCommand& c) {
    Enum(Tag::kDeleteRange);
    Write(c.request);
  }
  void operator()(const TxnCommand& c) {
    Enum(Tag::kTxn);
    Write(c.request);
    Bool(c.frees_space);
  }
  void operator()(const CompactCommand& c) {
    Enum(Tag::kCompact);
    Int(c.revision);
    Enum(c.rules);
  }
  void operator()(const LeaseGrantCommand& c) {
    Enum(Tag::kLeaseGrant);
    Int(c.id);
    Int(c.ttl_s);
  }
  void operator()(const LeaseRevokeCommand& c) {
    Enum(Tag::kLeaseRevoke);
    Int(c.id);
  }
  void operator()(const LeaseExpireCommand& c) {
    Enum(Tag::kLeaseExpire);
    Uint(c.entries.size());
    for (const LeaseExpireCommand::Entry& entry : c.entries) {
      Int(entry.id);
      Uint(entry.incarnation);
    }
  }
  void operator()(const LeaseCheckpointCommand& c) {
    Enum(Tag::kLeaseCheckpoint);
    Uint(c.entries.size());
    for (const LeaseCheckpointCommand::Entry& entry : c.entries) {
      Int(entry.id);
      Uint(entry.incarnation);
      Int(entry.remaining_ttl_s);
    }
  }
  void operator()(const AlarmCommand& c) {
    Enum(Tag::kAlarm);
    Bool(c.activate);
    Enum(c.alarm);
    Uint(c.member_id);
  }
  void operator()(const SampleCommand& c) {
    Enum(Tag::kSample);
    Int(c.wall_s);
    Int(c.drop_before_s);
  }
  void operator()(const ReclaimCommand& c) {
    Enum(Tag::kReclaim);
    Int(c.compacted);
    Enum(c.step);
  }

 private:
  std::string* const out_;
};

/// Reads what Encoder wrote. The first mistake makes every later read fail; ok() tells at the end.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : reader_(bytes) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return ok_ && reader_.empty(); }

  std::uint8_t Byte() { return Take(reader_.ReadByte()); }
  bool Bool() { return Flags(1) != 0; }
  std::uint8_t Flags(std::uint8_t allowed) {
    const std::uint8_t flags = Byte();
    if ((flags & ~allowed) != 0) ok_ = false;
    return flags;
  }
  std::int64_t Int() { return Take(reader_.ReadZigzag()); }
  std::uint64_t Uint() { return Take(reader_.ReadVarint()); }
  std::string Bytes() { return std::string(Take(reader_.ReadLengthPrefixed())); }
  /// Numbers beyond `last` are mistakes; compares are stored as they came, so theirs may be any byte.
  template <typename E>
  E Enum(E last) {
    const std::uint8_t value = Byte();
    if (value > static_cast<std::uint8_t>(last)) ok_ = false;
    return static_cast<E>(value);
  }
  /// How many elements of at least `bytes_min` bytes follow. Bounded by what is left, so it is safe to reserve.
  std::size_t Count(std::size_t bytes_min) {
    const std::uint64_t count = Uint();
    if (count > reader_.rest().size() / bytes_min) ok_ = false;
    return ok_ ? static_cast<std::size_t>(count) : 0;
  }

  PutRequest Put() {
    PutRequest r;
    r.key = Bytes();
    r.value = Bytes();
    r.lease = Int();
    const std::uint8_t flags = Flags(7);
    r.prev_kv = (flags & 1) != 0;
    r.ignore_value = (flags & 2) != 0;
    r.ignore_lease = (flags & 4) != 0;
    return r;
  }
  DeleteRangeRequest DeleteRange() {
    DeleteRangeRequest r;
    r.key = Bytes();
    r.range_end = Bytes();
    r.prev_kv = Bool();
    return r;
  }
  RangeRequest Range() {
    RangeRequest r;
    r.key = Bytes();
    r.range_end = Bytes();
    r.limit = Int();
    r.revision = Int();
    r.sort_order = Enum(SortOrder::kDescend);
    r.sort_target = Enum(SortTarget::kValue);
    const std::uint8_t flags = Flags(7);
    r.serializable = (flags & 1) != 0;
    r.keys_only = (flags & 2) != 0;
    r.count_only = (flags & 4) != 0;
    r.min_mod_revision = Int();
    r.max_mod_revision = Int();
    r.min_create_revision = Int();
    r.max_create_revision = Int();
    return r;
  }
  Compare ReadCompare() {
    Compare c;
    c.result = static_cast<CompareResult>(Byte());
    c.target = static_cast<CompareTarget>(Byte());
    c.key = Bytes();
    c.range_end = Bytes();
    c.number = Int();
    c.value = Bytes();
    return c;
  }
  std::vector<TxnOp> Ops(int depth) {
    const std::size_t count = Count(1);
    std::vector<TxnOp> ops;
    for (std::size_t i = 0; i < count && ok_; ++i) {
      switch (Enum(OpTag::kTxn)) {
        case OpTag::kEmpty: ops.push_back({}); break;
        case OpTag::kRange: ops.push_back({Range()}); break;
        case OpTag::kPut: ops.push_back({Put()}); break;
        case OpTag::kDeleteRange: ops.push_back({DeleteRange()}); break;
        case OpTag::kTxn: ops.push_back({Txn(depth + 1)}); break;
      }
    }
    return ops;
  }
  TxnRequest Txn(int depth) {
    TxnRequest r;
    if (depth > kDepthMax) ok_ = false;
    if (!ok_) return r;
    const std::size_t compares = Count(6);
    for (std::size_t i = 0; i < compares && ok_; ++i) r.compares.push_back(ReadCompare());
    r.success = Ops(depth);
    r.failure = Ops(depth);
    return r;
  }
  LeaseExpireCommand Expire() {
    LeaseExpireCommand c;
    const std::size_t count = Count(2);
    for (std::size_t i = 0; i < count && ok_; ++i) {
      const LeaseId id = Int();
      c.entries.push_back({id, Uint()});
    }
    return c;
  }
  LeaseCheckpointCommand Checkpoint() {
    LeaseCheckpointCommand c;
    const std::size_t count = Count(3);
    for (std::size_t i = 0; i < count && ok_; ++i) {
      const LeaseId id = Int();
      const std::uint64_t incarnation = Uint();
      c.entries.push_back({id, incarnation, Int()});
    }
    return c;
  }

  Command ReadCommand() {
    switch (static_cast<Tag>(Byte())) {
      case Tag::kPut: return PutCommand{Put()};
      case Tag::kDeleteRange: return DeleteRangeCommand{DeleteRange()};
      case Tag::kTxn: {
        TxnRequest request = Txn(1);
        return TxnCommand{std::move(request), Bool()};
      }
      case Tag::kCompact: {
        const Revision revision = Int();
        return CompactCommand{revision, Enum(CompactRules::kEtcd)};
      }
      case Tag::kLeaseGrant: {
        const LeaseId id = Int();
        return LeaseGrantCommand{id, Int()};
      }
      case Tag::kLeaseRevoke: return LeaseRevokeCommand{Int()};
      case Tag::kLeaseExpire: return Expire();
      case Tag::kLeaseCheckpoint: return Checkpoint();
      case Tag::kAlarm: {
        const bool activate = Bool();
        const AlarmType alarm = Enum(AlarmType::kCorrupt);
        return AlarmCommand{activate, alarm, Uint()};
      }
      case Tag::kSample: {
        const std::int64_t wall_s = Int();
        return SampleCommand{wall_s, Int()};
      }
      case Tag::kReclaim: {
        const Revision compacted = Int();
        return ReclaimCommand{compacted, Enum(ReclaimCommand::Step::kFinished)};
      }
    }
    ok_ = false;
    return SampleCommand{};
  }

 private:
  template <typename T>
  T Take(std::optional<T> value) {
    if (!value) ok_ = false;
    return ok_ ? *value : T{};
  }

  ByteReader reader_;
  bool ok_ = true;
};

}  // namespace

std::string EncodeCommand(const Command& command) {
  std::string out;
  Encoder encoder(&out);
  encoder.Byte(kVersion);
  std::visit(encoder, command);
  return out;
}

Result<Command> DecodeCommand(std::string_view bytes) {
  Decoder decoder(bytes);
  const std::uint8_t version = decoder.Byte();
  if (decoder.ok() && version != kVersion) {
    return DataLoss("a stored command has version " + std::to_string(version) + ", known is " + std::to_string(kVersion));
  }
  Command command = decoder.ReadCommand();
  if (!decoder.AtEnd()) return DataLoss("a stored command of " + std::to_string(bytes.size()) + " bytes is damaged");
  return command;
}

}  // namespace vellum::kv
