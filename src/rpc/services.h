#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/worker_pool.h"
#include "kv/engine.h"
#include "vellum/clock.h"
#include "wire/service.h"

namespace vellum::rpc {

/// This process as a member of its (one-member) cluster, as MemberList and error checks show it.
struct Member {
  std::string name;
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;  ///< Must be reachable by clients: some of them dial these and no others.
};

/// Who answers. Constant while services run.
struct Identity {
  std::uint64_t cluster_id = 0;  ///< Both from kv::Engine::Info; never 0.
  std::uint64_t member_id = 0;
  std::uint64_t raft_term = 2;   ///< One member has nobody to vote against: any constant but 0.
  std::string server_version = "3.6.16";  ///< What clients take for etcd's version.
  std::string cluster_version = "3.6.0";
  std::string storage_version = "3.6.0";
};

/// Limits of requests and answers. Each default stands here and nowhere else.
struct Limits {
  std::size_t request_bytes_max = 1'572'864;  ///< A write as it would be logged; more: "request is too large".
  std::size_t fragment_slack_bytes = 524'288;  ///< A watch response is split from request_bytes_max + this on.
  std::size_t response_bytes_max = 2'147'483'647;  ///< What a client can receive in one message.
  /// Unsent; beyond it watchers fall back to history, and no more of the stream's requests are taken. Must not be below
  /// wire::ServerOptions::stream_high_water_bytes, which decides when a stream counts as writable again.
  std::size_t stream_high_water_bytes = 64u << 10;
  std::size_t watchers_per_stream_max = 1'000'000;  ///< Further creates are refused.
};

/// What the services work with. Every pointer must stay valid until both Services::Stop has returned and the wire
/// server that serves the table has been stopped.
struct ServiceContext {
  kv::Engine* engine = nullptr;
  WorkerPool* reads = nullptr;       ///< Ranges and whatever else reads the disk.
  WorkerPool* long_reads = nullptr;  ///< Hashes and whatever else reads everything.
  Identity identity;
  Limits limits;
  /// The member's present name and URLs. Called per request, from any thread.
  std::function<Member()> member;
  /// Whether a lease holds the syncs that are being written, so that clients must not revoke it. Must not block. Empty: none.
  std::function<bool(LeaseId)> is_writer_lease = {};
  Clock* clock = SystemClock();
  Logger logger;
  Metrics* metrics = nullptr;  ///< Must not be null.
};

/// etcd's services KV, Watch, Lease, Maintenance and Cluster, gRPC health and reflection, over a kv::Engine.
///
/// Order of stopping: Services::Stop, wire::Server::Stop, the two pools, the engine; this object goes after the wire
/// server.
class Services {
 public:
  explicit Services(ServiceContext context);
  /// Stops.
  ~Services();
  Services(const Services&) = delete;
  Services& operator=(const Services&) = delete;

  /// Adds every method to `table`, which keeps referring to this object.
  void Register(wire::ServiceTable* table);

  /// Ends all streams with 14 `etcdserver: server stopped`, and answers every call from now on in the same way.
  /// Idempotent, safe from any thread but the wire's loops and the watch hub's.
  void Stop();

  /// What gRPC health answers for the empty service; true at first. Those who watch it are told.
  void SetServing(bool serving);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::rpc
