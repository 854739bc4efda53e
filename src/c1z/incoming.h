#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/merge_files.h"
#include "sync/codec.h"

/// Included inside this room only.
namespace vellum::c1z {

/// The records that come into a base: those of the other files, per identity the one that wins among them. Held in
/// memory, within limits; kInvalidArgument where they hold more, or are no syncs that are merged. Not thread-safe.
class Incoming {
 public:
  explicit Incoming(sync::Ties ties) : ties_(ties) {}

  /// Adds a file's records. In the order in which files win ties.
  Status Read(const FileInput& input, const MergeFilesOptions& options, const sync::Work& work);
  /// No more files.
  Status EndFiles();

  struct Record {
    const std::string* key = nullptr;  ///< The store's, as the value.
    const std::string* value = nullptr;
    sync::RecordType type = sync::RecordType::kGrant;
    bool met = false;  ///< The base has one of this identity; whoever finds it sets it.
  };
  /// After EndFiles: what comes in for the identity of a record, and null for none. Some tens of nanoseconds.
  Record* Find(const sync::RecordView& record);
  /// Whether what comes takes the place of what is there: it is newer, or as new where the last one wins ties.
  bool Wins(sync::Stamp comes, sync::Stamp there) const {
    return comes > there || (comes == there && ties_ == sync::Ties::kLast);
  }
  /// In the order of their keys.
  const std::vector<Record>& records() const { return found_; }
  const std::vector<sync::SyncRun>& runs() const { return runs_; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t record = 0;  ///< Its number and 1; 0: empty.
  };

  Status Take(const sync::RecordView& record, const sync::Work& work, std::map<std::string, std::string>* records);
  void Merge(std::map<std::string, std::string> records);
  std::uint64_t Hash(const sync::RecordView& record) const;
  std::size_t Bit(std::uint64_t hash) const;

  const sync::Ties ties_;
  std::map<std::string, std::string> records_;
  std::vector<Record> found_;
  std::vector<Slot> slots_;  ///< By hash, at least half of them empty.
  std::vector<std::uint8_t>
      maybe_;  ///< Bits, by hash: one that is 0 has no slot. Small enough for a processor's cache.
  std::uint64_t seed_ = 0;
  sync::StoredRecord stored_;
  std::vector<sync::SyncRun> runs_;
  std::size_t bytes_ = 0;
};

/// Whether a sync of this type takes part in merges.
bool IsMergeable(const std::string& type);

}  // namespace vellum::c1z
