#pragma once

#include <nlohmann/json_fwd.hpp>

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

}  // namespace vellum::c1z
