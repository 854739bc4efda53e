#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sync/record.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// The time zone that a v1 file's zone-less stamps are in. Immutable; copies share; thread-safe.
class Zone {
 public:
  /// UTC.
  Zone();
  /// "UTC", "+02:00", an IANA name ("Europe/Paris"), or "local" for this machine's. kInvalidArgument otherwise.
  static Result<Zone> Parse(const std::string& name);

  /// "2026-03-01 08:00:00.004" -> nanoseconds since 1970 UTC. nullopt for malformed text, and for
  /// times beyond 64 bits of nanoseconds (July 2554). Instants before 1970 become 0 ("absent"). Also takes 'T' between date and time, and a trailing offset,
  /// which then beats the zone: files that other tools touched have them.
  std::optional<sync::Stamp> ToStamp(std::string_view text) const;

  /// The other way: trailing zeros of the fraction left out.
  std::string FromStamp(sync::Stamp stamp) const;

  const std::string& name() const { return name_; }
  bool IsUtc() const { return impl_ == nullptr; }

 private:
  struct Impl;
  std::string name_ = "UTC";
  std::shared_ptr<const Impl> impl_;  ///< Null: UTC.
};

}  // namespace vellum::c1z
