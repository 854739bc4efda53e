#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum::client {

struct ClientOptions {
  /// "127.0.0.1:2379", "http://host:port", "unix:/path". The first that answers is used, the others when it fails.
  std::vector<std::string> endpoints;
  std::chrono::milliseconds dial_timeout{2000};
  std::chrono::milliseconds call_timeout{5000};  ///< Per call; watches and keep-alive streams have none.
  std::size_t receive_bytes_max = 2'147'483'647;
};

struct WatchRequest {
  std::string key;
  std::string range_end;
  Revision start_revision = 0;
  std::int64_t watch_id = 0;  ///< 0: the server chooses.
  bool progress_notify = false;
  bool no_put = false;
  bool no_delete = false;
  bool prev_kv = false;
  bool fragment = false;
};

struct WatchResponse {
  Revision revision = 0;  ///< Of the header.
  std::int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  Revision compact_revision = 0;
  std::string cancel_reason;
  bool fragment = false;
  std::vector<Event> events;
};

/// One Watch call, over which any number of watchers run. Thread-safe. Destruction cancels the call.
class WatchStream {
 public:
  ~WatchStream();
  WatchStream(const WatchStream&) = delete;
  WatchStream& operator=(const WatchStream&) = delete;

  /// Requests; false when the call is over. They are answered through Next.
  bool Create(const WatchRequest& request);
  bool Cancel(std::int64_t watch_id);
  bool RequestProgress();
  /// Sends no more; responses go on.
  bool HalfClose();

  /// The next response, as the server sent it. kDeadlineExceeded if none came within `patience`; the call's own failure
  /// once it is over and everything it brought has been taken.
  Result<WatchResponse> Next(std::chrono::milliseconds patience);

 private:
  friend class Client;
  struct Impl;
  explicit WatchStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// One LeaseKeepAlive call. Thread-safe. Destruction cancels it.
class KeepAliveStream {
 public:
  ~KeepAliveStream();
  KeepAliveStream(const KeepAliveStream&) = delete;
  KeepAliveStream& operator=(const KeepAliveStream&) = delete;

  bool Renew(LeaseId id);
  /// Sends no more; the answers to what was sent still come, then the end.
  bool HalfClose();

  struct Answer {
    Revision revision = 0;
    LeaseId id = 0;
    std::int64_t ttl_s = 0;  ///< 0: there is no such lease.
  };
  /// As WatchStream::Next. The end after HalfClose is kCancelled.
  Result<Answer> Next(std::chrono::milliseconds patience);

 private:
  friend class Client;
  struct Impl;
  explicit KeepAliveStream(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct MemberInfo {
  std::uint64_t id = 0;
  std::string name;
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
};

struct ServerStatus {
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  Revision revision = 0;
  std::string version;
  std::string storage_version;
  std::int64_t db_bytes = 0;
  std::int64_t db_bytes_in_use = 0;
  std::int64_t db_quota_bytes = 0;
  std::uint64_t leader = 0;
  std::uint64_t raft_term = 0;
  std::uint64_t raft_index = 0;
  std::uint64_t applied_index = 0;
  std::vector<std::string> errors;
};

struct HashKvResponse {
  Revision revision = 0;  ///< The store's.
  std::uint32_t hash = 0;
  Revision hash_revision = 0;
  Revision compact_revision = 0;
};

enum class Alarm : std::uint8_t { kAny = 0, kNoSpace = 1, kCorrupt = 2 };
struct AlarmInfo {
  std::uint64_t member_id = 0;
  Alarm alarm = Alarm::kAny;
};

/// A client of Vellum's or any etcd v3 server's API, on gRPC C++. Calls block. Thread-safe.
///
/// Failures carry the server's code and text, and the Reason where the text is one of the protocol's. A write whose
/// outcome is not known, because the connection or the deadline ended first, is marked maybe_applied and never repeated;
/// reads are repeated on the next endpoint.
class Client {
 public:
  /// kUnavailable if no endpoint could be connected within the dial timeout.
  static Result<std::unique_ptr<Client>> Connect(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Result<RangeResponse> Range(const RangeRequest& request);
  Result<PutResponse> Put(const PutRequest& request);
  Result<DeleteRangeResponse> DeleteRange(const DeleteRangeRequest& request);
  Result<TxnResponse> Txn(const TxnRequest& request);
  /// The store's revision.
  Result<Revision> Compact(Revision revision, bool physical = false);

  Result<LeaseGrantResponse> LeaseGrant(std::int64_t ttl_s, LeaseId id = 0);
  Result<Revision> LeaseRevoke(LeaseId id);
  /// The new TTL in seconds; 0: there is no such lease.
  Result<std::int64_t> LeaseKeepAliveOnce(LeaseId id);
  Result<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseId id, bool keys = false);
  /// Ids, the one that expires first first.
  Result<std::vector<LeaseId>> Leases();

  Result<ServerStatus> GetStatus();
  Result<HashKvResponse> HashKv(Revision revision = 0);
  Status Defragment();
  Result<std::vector<AlarmInfo>> Alarms();
  /// What was on. kAny switches off all that are.
  Result<std::vector<AlarmInfo>> Disarm(Alarm alarm = Alarm::kAny);
  Result<std::vector<MemberInfo>> Members();
  /// gRPC's health check of a service; the empty name is the server.
  Result<bool> Healthy(const std::string& service = {});

  Result<std::unique_ptr<WatchStream>> Watch();
  Result<std::unique_ptr<KeepAliveStream>> KeepAlive();

  /// One unary call with marshalled messages, for tools and for methods that this class does not name:
  /// Call("/etcdserverpb.Maintenance/Hash", "").
  Result<std::string> Call(const std::string& method, const std::string& request);

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::client
