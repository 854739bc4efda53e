#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "load/load.h"

/// The requests of the workloads as bytes, and the few facts of the answers that callers need. Written and read field by field:
/// messages in between would cost the load more than some servers.
namespace vellum::load {

inline constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
inline constexpr char kPutPath[] = "/etcdserverpb.KV/Put";
inline constexpr char kTxnPath[] = "/etcdserverpb.KV/Txn";
inline constexpr char kCompactPath[] = "/etcdserverpb.KV/Compact";
inline constexpr char kWatchPath[] = "/etcdserverpb.Watch/Watch";
inline constexpr char kLeaseGrantPath[] = "/etcdserverpb.Lease/LeaseGrant";
inline constexpr char kLeaseKeepAlivePath[] = "/etcdserverpb.Lease/LeaseKeepAlive";

/// Makes requests. Not thread-safe; the same seed makes the same ones.
class RequestMaker {
 public:
  explicit RequestMaker(const Plan& plan);

  std::int64_t RandomKey() { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(plan_.keys)); }

  std::string Put(std::int64_t key);
  std::string Get(std::int64_t key) const;
  std::string Page();
  std::string Count() const;
  /// Every second `number` writes.
  std::string Txn(std::int64_t number);
  /// Puts if the key's last change was at `revision`, else reads it; 0: it does not exist.
  std::string CompareAndSet(std::int64_t key, std::int64_t revision);
  /// The puts of the keys `first` to `last` in the order of filling.
  std::string Fill(std::int64_t first, std::int64_t last);
  std::string WatchCreate(std::int64_t key) const;
  std::string Compact(std::int64_t revision) const;
  std::string LeaseGrant() const;
  std::string KeepAlive(std::int64_t lease) const;

 private:
  std::string_view RandomValue();

  const Plan& plan_;
  std::mt19937_64 random_;
  std::string bytes_;  // values are pieces of these
};

/// One field of a protobuf message after another. Stops at the end and at bytes that are none.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : reader_(message) {}
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;  ///< Of a varint.
    std::string_view bytes;   ///< Of a string or message.
  };
  std::optional<Field> Next();

 private:
  ByteReader reader_;
};

/// The first field of that number as a number; 0 if there is none.
std::int64_t NumberField(std::string_view message, std::uint64_t number);
/// The same as bytes.
std::string_view BytesField(std::string_view message, std::uint64_t number);
/// The revision in an answer's header.
std::int64_t HeaderRevision(std::string_view answer);
/// What a key's last change was after a compare-and-set: the answer's revision, or that which its get found.
std::int64_t RevisionAfter(std::string_view txn_answer);

}  // namespace vellum::load
