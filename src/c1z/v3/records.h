#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/v3/keys.h"
#include "sync/record.h"
#include "vellum/status.h"

/// Values of a v3 file's database: storage messages, turned into the connectors' messages that records carry.
namespace vellum::c1z::v3 {

/// Turns stored values into records. Reuses its memory, so a record is valid until the next call. Not thread-safe.
class RecordDecoder {
 public:
  explicit RecordDecoder(Identity identity) : identity_(identity) {}

  /// Reads a value stored under `key`. kInvalidArgument for bytes that are no such message, for text that is no UTF-8, and
  /// for a value whose identity is not the key's. Adds to `unstamped` if the record's stamp is no time.
  Status Decode(sync::RecordType type, std::string_view key, std::string_view value, sync::RecordView* record,
                std::uint64_t* unstamped);

 private:
  struct Stamped;
  Status ResourceType(std::string_view value, sync::RecordView* record, Stamped* stamped);
  Status Resource(std::string_view value, sync::RecordView* record, Stamped* stamped);
  Status Entitlement(std::string_view value, sync::RecordView* record, Stamped* stamped);
  Status Grant(std::string_view value, sync::RecordView* record, Stamped* stamped);
  Status Asset(std::string_view value, sync::RecordView* record, Stamped* stamped);

  struct Source {
    std::string_view id;
    bool is_direct = false;
  };

  const Identity identity_;
  std::string message_;
  std::string key_;
  std::string id_;
  std::string expansion_;
  std::string joined_[3];  ///< Submessages that came in several pieces.
  std::vector<std::string_view> annotations_;
  std::vector<std::string_view> texts_;
  std::vector<Source> sources_;
};

/// The message under 03 06. Its end is 0 for a sync that is not finished.
Result<sync::SyncRun> ParseSyncRun(std::string_view value);

/// The counts under 03 FF "stats" 00, per record type.
Result<std::array<std::uint64_t, sync::kRecordTypes>> ParseSyncStats(std::string_view value);

/// An entry of the scratch pad.
struct SessionRecord {
  std::string_view sync_id;
  std::string_view key;
  std::string_view value;
};
Result<SessionRecord> ParseSession(std::string_view value);

}  // namespace vellum::c1z::v3
