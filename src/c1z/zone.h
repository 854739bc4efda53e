#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

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

/// Zone::FromStamp for many stamps: seconds that it has seen lately cost little. Not thread-safe.
class StampTexts {
 public:
  explicit StampTexts(Zone zone) : zone_(std::move(zone)) {}
  /// Valid until the next call.
  std::string_view Of(sync::Stamp stamp);

 private:
  struct Second {
    sync::Stamp second = 0;
    std::string text;  ///< Empty: none yet.
  };
  const Zone zone_;
  std::array<Second, 64> seconds_;
  std::string text_;
};

}  // namespace vellum::c1z
