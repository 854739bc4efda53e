#include "server/option_rows.h"

namespace vellum::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kDay = 24 * 60 * kMinute;
constexpr std::int64_t kKiB = 1024;
constexpr std::int64_t kMiB = 1024 * kKiB;
constexpr std::int64_t kTiB = 1024 * 1024 * kMiB;

using enum OptionGroup;
using enum ValueType;

// One row, one or a few lines: a table is read down its columns.
// clang-format off
constexpr Option kRows[] = {
    // Where it listens.
    {.name = "listen-client-urls", .group = kListen, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.listen_client_urls; },
     .help = "Addresses to serve on: http://host:port (port 0: any free one) or unix:///path, separated by commas."},
    {.name = "advertise-client-urls", .group = kListen, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.advertise_client_urls; },
     .shown_default = "what is listened on",
     .help = "The addresses that the member list tells clients to dial. Set it when listening on 0.0.0.0."},
    {.name = "initial-advertise-peer-urls", .group = kListen, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.shown_peer_urls; },
     .help = "Peer addresses that the member list shows. Nobody listens there: Vellum is one member."},
    {.name = "listen-metrics-urls", .group = kListen, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.listen_metrics_urls; },
     .help = "More addresses that serve /metrics and the health checks, but no gRPC."},
    {.name = "listen-client-http-urls", .group = kListen, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.listen_client_http_urls; },
     .help = "More addresses for the HTTP routes alone. The client addresses serve them too."},
    {.name = "socket-reuse-port", .group = kListen, .type = kBool, .file_key = "socket-options.reuse-port",
     .target = [](Config& c) -> bool& { return c.wire.socket_reuse_port; },
     .help = "Let another process listen on the same port (SO_REUSEPORT)."},
    {.name = "socket-reuse-address", .group = kListen, .type = kBool, .file_key = "socket-options.reuse-address",
     .target = [](Config& c) -> bool& { return c.wire.socket_reuse_address; },
     .help = "Take a port over although old connections to it linger (SO_REUSEADDR)."},
    {.name = "event-loops", .group = kListen, .type = kNumber,
     .target = [](Config& c) -> std::int64_t& { return c.event_loops; }, .min = 0, .max = 256,
     .shown_default = "0, one for two processors",
     .help = "Threads that move bytes between connections and the store."},

    // The store.
    {.name = "name", .group = kStore, .target = [](Config& c) -> std::string& { return c.engine.node_name; },
     .help = "The member's name, as the member list shows it."},
    {.name = "data-dir", .group = kStore, .target = [](Config& c) -> std::string& { return c.engine.data_dir; },
     .shown_default = "NAME.vellum; NAME.etcd when started as etcd",
     .help = "Where everything is kept. Made, with mode 0700, if it is not there."},
    {.name = "block-cache-bytes", .group = kStore, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.engine.block_cache_bytes; }, .min = 8 * kMiB, .max = kTiB,
     .unit = "bytes", .help = "Memory for blocks of tables, their indexes and the memtables, all of them together."},
    {.name = "quota-backend-bytes", .group = kStore, .type = kNumber,
     .target = [](Config& c) -> std::int64_t& { return c.engine.quota_backend_bytes; }, .unit = "bytes",
     .shown_default = "0, no quota",
     .help = "Refuse writes and raise the alarm NOSPACE above this size, until an operator disarms it."},
    {.name = "free-space-floor-bytes", .group = kStore, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.engine.free_space_floor_bytes; }, .min = 0, .max = kTiB,
     .unit = "bytes", .help = "Refuse writes while the disk has less room than this. Deletes and compaction go on."},
    {.name = "rocksdb-options", .group = kStore, .target = [](Config& c) -> std::string& { return c.engine.rocksdb_options; },
     .help = "RocksDB's own option string (\"a=1;b=2\") for tuning. Checked at start."},

    // Limits.
    {.name = "max-request-bytes", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.limits.request_bytes_max; }, .min = 1, .max = 1024 * kMiB,
     .unit = "bytes", .help = "The largest write request."},
    {.name = "max-txn-ops", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.engine.txn_ops_max; }, .min = 1, .max = 1'000'000,
     .help = "The most operations in one list of a transaction."},
    {.name = "max-concurrent-streams", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint32_t& { return c.wire.concurrent_streams_max; }, .min = 1, .max = 4'294'967'295,
     .help = "The most calls at a time on one connection."},
    {.name = "max-connections", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.wire.connections_max; }, .min = 1, .max = 10'000'000,
     .help = "The most connections. More are closed at once."},
    {.name = "max-reply-bytes-in-flight", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.wire.reply_bytes_in_flight_max; }, .min = 16 * kMiB, .max = kTiB,
     .unit = "bytes", .help = "Memory for answers that clients have not read yet, all connections together."},
    {.name = "max-sync-streams", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.sync_limits.streams_max; }, .min = 1, .max = 4'096,
     .help = "The most calls of the service of syncs at a time. Each has a thread while it runs."},
    {.name = "max-sync-spool-bytes", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.sync_limits.spool_bytes_max; }, .min = kMiB, .max = 1024 * kTiB,
     .unit = "bytes", .help = "Disk for .c1z files on their way in, all calls together."},
    {.name = "max-sync-staging-bytes", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.syncs.staging_bytes_max; }, .min = kMiB, .max = 1024 * kTiB,
     .unit = "bytes", .help = "With more than this being written, no further sync may be begun."},
    {.name = "max-sync-record-bytes", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.syncs.record_bytes_max; }, .min = kKiB, .max = 64 * kMiB,
     .unit = "bytes", .help = "The largest record of a sync, ids and message together."},
    {.name = "max-sync-page-records", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.syncs.page_records_max; }, .min = 1, .max = 1'000'000,
     .help = "The most records of one page; who asks for more gets as many."},
    {.name = "sync-open-files", .group = kLimits, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.syncs.open_files_max; }, .min = 8, .max = 1'000'000,
     .help = "Table files of generations that stay open between questions. Those in use may exceed it."},
    {.name = "sync-idle-timeout", .group = kLimits, .type = kDuration,
     .target = [](Config& c) -> milliseconds& { return c.sync_limits.idle_timeout; }, .min = kSecond, .max = 365 * kDay,
     .help = "A client of the service of syncs that neither sends nor reads for so long loses its call."},

    // Compaction.
    {.name = "auto-compaction-mode", .group = kCompaction,
     .target = [](Config& c) -> std::string& { return c.auto_compaction_mode; }, .choices = "periodic|revision",
     .help = "What --auto-compaction-retention counts: time or revisions."},
    {.name = "auto-compaction-retention", .group = kCompaction,
     .target = [](Config& c) -> std::string& { return c.auto_compaction_retention; }, .shown_default = "0, off",
     .help = "History that stays: a duration (5m; a bare number is hours), or a number of revisions."},
    {.name = "reclaim-bytes-per-second", .group = kCompaction, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.engine.reclaim_bytes_per_second; }, .min = kMiB, .max = kTiB,
     .unit = "bytes", .help = "How fast compacted history is taken off the disk in the background."},
    {.name = "reclaim-delay", .group = kCompaction, .type = kDuration,
     .target = [](Config& c) -> milliseconds& { return c.engine.reclaim_delay; }, .min = 0, .max = kDay,
     .help = "From a compaction to the start of reclaiming its space."},

    // Access snapshots.
    {.name = "sync-history", .group = kSyncs, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.syncs.history_max; }, .min = 1, .max = 1'000,
     .help = "Generations that a sync can be rolled back to, the present one included."},
    {.name = "sync-unreferenced-keep", .group = kSyncs, .type = kDuration,
     .target = [](Config& c) -> seconds& { return c.sync_unreferenced_keep; }, .min = 0, .max = 365 * kDay,
     .help = "How long a generation that nothing refers to any more stays for clients that come back for the next page."},
    {.name = "sync-open-keep", .group = kSyncs, .type = kDuration,
     .target = [](Config& c) -> seconds& { return c.keeper.open_keep; }, .min = 0, .max = 10'000 * kDay,
     .help = "Unfinished syncs that nobody writes are deleted after this. 0: never."},
    {.name = "sync-retention", .group = kSyncs, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.sync_retention; }, .shown_default = "none, all stay",
     .help = "Finished full syncs that stay: NUMBER for all connectors, CONNECTOR=NUMBER for one, separated by commas."},
    {.name = "sync-rollup", .group = kSyncs, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.sync_rollup; }, .shown_default = "none",
     .help = "Connectors whose pending partial syncs are merged into their latest full one, separated by commas; * for all."},
    {.name = "sync-rewrite", .group = kSyncs, .type = kBool,
     .target = [](Config& c) -> bool& { return c.keeper.rewrite; },
     .help = "Rewrite generations that have 4 overlays or more than 15 % of dead bytes."},
    {.name = "sync-upkeep-interval", .group = kSyncs, .type = kDuration,
     .target = [](Config& c) -> nanoseconds& { return c.keeper.interval; }, .min = 0, .max = 365 * kDay,
     .help = "From one pass of the upkeep in the background (all of the above) to the next. 0: there is none."},
    {.name = "sync-upkeep-bytes-per-second", .group = kSyncs, .type = kNumber,
     .target = [](Config& c) -> std::uint64_t& { return c.keeper.bytes_per_second; }, .min = 0, .max = kTiB, .unit = "bytes",
     .help = "How fast the upkeep rewrites and rolls up. 0: as fast as it can."},

    // Connections.
    {.name = "grpc-keepalive-min-time", .group = kConnections, .type = kDuration,
     .target = [](Config& c) -> milliseconds& { return c.wire.keepalive_min_time; }, .min = 0, .max = kDay,
     .help = "Clients that ping more often than this are told to go."},
    {.name = "grpc-keepalive-interval", .group = kConnections, .type = kDuration,
     .target = [](Config& c) -> seconds& { return c.wire.keepalive_interval; }, .min = 0, .max = 365 * kDay,
     .help = "How often the server pings a quiet client, in whole seconds. 0: never."},
    {.name = "grpc-keepalive-timeout", .group = kConnections, .type = kDuration,
     .target = [](Config& c) -> seconds& { return c.wire.keepalive_timeout; }, .min = 0, .max = kDay,
     .help = "How long a pinged client may take to answer, in whole seconds."},
    {.name = "watch-progress-notify-interval", .group = kConnections, .type = kDuration, .experimental = true,
     .target = [](Config& c) -> milliseconds& { return c.engine.watch_progress_interval; },
     .min = kSecond / 10, .max = 365 * kDay,
     .help = "How often a quiet watch that asked for it is told the current revision."},

    // Logs and monitoring.
    {.name = "log-level", .group = kMonitoring, .target = [](Config& c) -> std::string& { return c.log_level; },
     .choices = "debug|info|warn|error|dpanic|panic|fatal", .help = "The least important lines that are written."},
    {.name = "log-format", .group = kMonitoring, .target = [](Config& c) -> std::string& { return c.log_format; },
     .choices = "json|console|text|auto", .shown_default = "text on a terminal, else json; json as etcd",
     .help = "Lines of JSON, or text for people (console and text are the same)."},
    {.name = "log-outputs", .group = kMonitoring, .type = kList,
     .target = [](Config& c) -> std::vector<std::string>& { return c.log_outputs; },
     .help = "stderr (default), stdout or paths of files, separated by commas. SIGHUP opens the files anew."},
    {.name = "metrics", .group = kMonitoring, .target = [](Config& c) -> std::string& { return c.metrics; },
     .choices = "basic|extensive", .help = "extensive adds a histogram of the duration of each gRPC method."},
    {.name = "warning-unary-request-duration", .group = kMonitoring, .type = kDuration, .experimental = true,
     .target = [](Config& c) -> nanoseconds& { return c.warning_unary_request_duration; }, .min = 0, .max = kDay,
     .help = "Calls that take longer are logged. 0: none."},

    // Risky.
    {.name = "unsafe-no-fsync", .group = kRisky, .type = kBool,
     .target = [](Config& c) -> bool& { return c.engine.unsafe_no_fsync; },
     .help = "Do not wait for the disk. Faster, and a power loss takes acknowledged writes with it."},
};
// clang-format on

}  // namespace

std::span<const Option> SettingRows() { return kRows; }

}  // namespace vellum::server
