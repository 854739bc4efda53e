#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "sync/record.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// "resource_type", "resource", "entitlement", "grant", "asset".
std::string_view RecordTypeName(sync::RecordType type);

/// The identity's parts and, for a grant, its own id last:
///   resource type [id] · resource [type, id] · entitlement [resource type, resource id, id] ·
///   grant [the entitlement's three, principal type, principal id, id] · asset [id]
nlohmann::json RecordId(const sync::RecordView& record);

/// What the connector's message says beside the identity: display_name, annotations as {type_url, value_b64}, a resource's
/// parent and profile, a grant's expansion and sources, an asset's size and SHA-256. Defaults are left out. Bytes that are
/// no UTF-8 are replaced. kInvalidArgument if the message is not protobuf.
Result<nlohmann::json> RecordFields(const sync::RecordView& record);

/// A record as one object, as it is printed and served: RecordFields, and the identity by name: `id`; a resource's `type`;
/// an entitlement's and a grant's `resource` {type, id}; a grant's `entitlement` and `principal` {type, id};
/// `discovered_at` as RFC 3339, if there is a stamp.
Result<nlohmann::json> RecordObject(const sync::RecordView& record);

/// Prints records: the text of RecordObject on one line, members in alphabetical order, without making the object first.
/// Keeps its buffers from record to record. Not thread-safe; one per thread.
class RecordPrinter {
 public:
  RecordPrinter();
  ~RecordPrinter();
  RecordPrinter(const RecordPrinter&) = delete;
  RecordPrinter& operator=(const RecordPrinter&) = delete;

  /// Appends the object to `out`, without a line's end. Bytes that are no UTF-8 are replaced. kInvalidArgument if a message
  /// is not protobuf: `out` is as it was then.
  Status Append(const sync::RecordView& record, std::string* out);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z
