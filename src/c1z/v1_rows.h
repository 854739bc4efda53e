#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/message_check.h"
#include "c1z/reader.h"
#include "c1z/sqlite.h"
#include "c1z/v1_reader.h"

/// Rows of v1 tables as records. Included inside this room only.
namespace vellum::c1z {

/// The annotation that says how a grant expands; v1 keeps it in a column of its own.
inline constexpr std::string_view kExpandable = "c1.connector.v2.GrantExpandable";

/// A record table of v1 and the columns that every version of it has.
struct TableSpec {
  sync::RecordType type;
  const char* name;
  std::vector<const char*> required;
};
const std::vector<TableSpec>& RecordTables();
const TableSpec& TableOf(sync::RecordType type);

/// What identifies a record according to its message. Parts that the message lacks are empty.
struct MessageIdentity {
  std::string_view id;
  std::string_view type_id;  ///< Of the resource, or of the entitlement's or grant's.
  std::string_view resource_id;
  std::string_view entitlement_id;
  std::string_view principal_type_id;
  std::string_view principal_id;
  std::string_view parent_type_id;
  std::string_view parent_id;
  bool has_bodies = false;  ///< Grants: an entitlement or a principal is in it.
};
/// Reads it without decoding the rest. nullopt for bytes that are not protobuf on the way there.
std::optional<MessageIdentity> ReadMessageIdentity(sync::RecordType type, std::string_view message);

/// Turns the rows of one table into records.
class RowDecoder {
 public:
  /// The columns that Decode expects, from column kFirst on. `has` says whether the table has a column, for those that
  /// older files lack.
  static std::string Columns(sync::RecordType type, const std::function<bool(const char*)>& has);
  static constexpr int kFirst = 2;

  RowDecoder(sync::RecordType type, const Zone* zone) : type_(type), zone_(zone) {}

  /// Views are valid until the statement steps or this decodes again. Not OK: the row cannot be a record, and why, in
  /// words that do not depend on the row where that is possible.
  Status Decode(const Statement& row, sync::RecordView* record, ReadReport* report);

 private:
  Status FillIdentity(const MessageIdentity& message, sync::RecordView* record);
  Status MoveExpansion(sync::RecordView* record, ReadReport* report);
  void CountDisagreements(const Statement& row, const MessageIdentity& message, const sync::RecordView& record,
                          ReadReport* report) const;

  const sync::RecordType type_;
  const Zone* const zone_;
  std::optional<Expansion> moved_;
  MessageCheck check_;
};

}  // namespace vellum::c1z
