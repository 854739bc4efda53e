#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/metrics.h"

namespace vellum::sync {

/// Where a store stands: what it keeps, and what that costs. Taken by Store::Survey.
struct StoreFacts {
  std::uint64_t syncs_open = 0;
  std::uint64_t syncs_sealed = 0;
  std::uint64_t generations_building = 0;
  std::uint64_t generations_sealed = 0;        ///< Those that nothing refers to included.
  std::uint64_t generations_deleting = 0;
  std::uint64_t generations_unreferenced = 0;  ///< Waiting for their readers' grace to end.
  std::uint64_t generations_unreadable = 0;    ///< Sealed ones whose GENERATION cannot be read.
  std::uint64_t generations_wasteful = 0;      ///< Past the limit of sync/waste.h.
  std::uint64_t overlays = 0;                  ///< Over all sealed generations.
  std::uint64_t bytes = 0;                     ///< Of table files, each counted once however many generations have it.
  std::uint64_t bytes_shared = 0;              ///< What sharing saves: files counted once per generation, less `bytes`.
  std::uint64_t bytes_dead = 0;                ///< Keys and values that overlays hide, uncompressed.
  std::uint64_t staging_bytes = 0;
  std::uint64_t trash_bytes = 0;
};

/// The vellum_sync_* metrics of one store. Thread-safe; cheap enough for every operation, not for every record.
class StoreMetrics {
 public:
  /// In `metrics`, which must outlive this; null: in a registry of its own that nobody reads.
  explicit StoreMetrics(Metrics* metrics);

  /// The gauges that a survey feeds.
  void Surveyed(const StoreFacts& facts);
  void OpenGenerations(std::size_t generations, std::size_t files);
  void Readers(std::size_t generations) { readers_.Set(static_cast<double>(generations)); }

  void Opened(bool from_cache) { (from_cache ? open_hits_ : open_misses_).Increment(); }
  /// A sync points at another generation now.
  void Switched(const std::string& operation);
  /// A generation was made out of others, or of what a writer put.
  void Made(const std::string& operation, std::uint64_t records, std::uint64_t bytes_written, double seconds);
  void Exported(std::uint64_t records) { exported_.Increment(static_cast<double>(records)); }
  void Swept(std::uint64_t generations, std::uint64_t directories, std::uint64_t bytes);
  void WriterRefused() { refused_.Increment(); }
  /// Retention deleted a sync; `rule` is one of a few words.
  void Retired(const std::string& rule);
  void RolledUp(std::uint64_t syncs);
  /// One task of the keeper ended.
  void Kept(std::string_view task, bool ok);
  /// A whole pass of the keeper ended at `wall_s`, seconds since 1970.
  void KeeperPass(bool ok, double seconds, double wall_s);

  /// A limit and its value, so that the metrics above can be compared with it.
  void Limit(const std::string& name, double value);

 private:
  struct Shape {
    Counter& records;
    Counter& bytes;
    Histogram& seconds;
  };
  Counter& SwitchCounter(const std::string& operation);
  Shape MadeShape(const std::string& operation);
  Counter& RetiredCounter(const std::string& rule);

  const std::unique_ptr<Metrics> own_;
  Metrics* const metrics_;
  Gauge& open_generations_;
  Gauge& open_files_;
  Gauge& readers_;
  Counter& open_hits_;
  Counter& open_misses_;
  Counter& exported_;
  Counter& sweeps_;
  Counter& swept_generations_;
  Counter& swept_directories_;
  Counter& swept_bytes_;
  Counter& refused_;
  Counter& rollups_;
  Counter& rolled_up_;
  Gauge& last_success_;
  Histogram& pass_seconds_;
};

}  // namespace vellum::sync
