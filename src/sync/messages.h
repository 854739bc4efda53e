#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "sync/record.h"

/// The few things that questions need of the connectors' messages, read out of their bytes.
namespace vellum::sync {

/// An entry of a grant's sources.
struct GrantSource {
  std::string_view entitlement_id;  ///< From which the grant derives; the grant's own entitlement: it is direct too.
  bool is_direct = false;           ///< The principal holds that one itself.
};
/// In the order of their ids, each id once. nullopt for bytes that are not protobuf. Views into `grant_message`.
std::optional<std::vector<GrantSource>> ReadGrantSources(std::string_view grant_message);

/// display_name of a resource type, resource or entitlement; empty without one, and for bytes that are not protobuf.
std::string_view ReadDisplayName(RecordType type, std::string_view message);

/// Whether two records of one identity say the same: every field of their messages and what columns keep beside them.
/// Bytes that differ are compared as messages, because the order of a map's entries means nothing; messages that cannot be
/// decoded are compared as bytes. The stamp counts with `stamps` alone. A slim grant is compared without the bodies that it
/// lacks. Costs a comparison of bytes where those are equal, two decodings otherwise.
bool SameContent(const RecordView& a, const RecordView& b, bool stamps);

}  // namespace vellum::sync
