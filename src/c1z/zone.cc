#include "c1z/zone.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <cstdio>

#include "sync/stamp_text.h"

namespace vellum::c1z {

struct Zone::Impl {
  absl::TimeZone zone;
};

namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;

/// The parts of zone-less text; nullopt if it is not of that form.
struct CivilText {
  absl::CivilSecond second;
  std::int64_t nanos = 0;
};

bool TakeNumber(std::string_view* text, std::size_t digits, int* number) {
  if (text->size() < digits) return false;
  *number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return false;
    *number = *number * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return true;
}

bool TakeChar(std::string_view* text, char wanted) {
  if (text->empty() || text->front() != wanted) return false;
  text->remove_prefix(1);
  return true;
}

std::optional<CivilText> ParseCivil(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  const bool well_formed = TakeNumber(&text, 4, &year) && TakeChar(&text, '-') && TakeNumber(&text, 2, &month) &&
                           TakeChar(&text, '-') && TakeNumber(&text, 2, &day) && TakeChar(&text, ' ') &&
                           TakeNumber(&text, 2, &hour) && TakeChar(&text, ':') && TakeNumber(&text, 2, &minute) &&
                           TakeChar(&text, ':') && TakeNumber(&text, 2, &second);
  if (!well_formed || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  if (!sync::DaysSince1970(year, static_cast<unsigned>(month), static_cast<unsigned>(day))) return std::nullopt;
  CivilText civil{absl::CivilSecond(year, month, day, hour, minute, second), 0};
  if (TakeChar(&text, '.')) {
    if (text.empty() || text.size() > 9) return std::nullopt;
    std::int64_t unit = kNanosPerSecond;
    for (const char c : text) {
      if (c < '0' || c > '9') return std::nullopt;
      unit /= 10;
      civil.nanos += unit * (c - '0');
    }
    text = {};
  }
  return text.empty() ? std::optional(civil) : std::nullopt;
}

}  // namespace

Zone::Zone() = default;

Result<Zone> Zone::Parse(const std::string& name) {
  Zone zone;
  zone.name_ = name;
  if (name == "UTC" || name == "utc" || name == "Z") {
    zone.name_ = "UTC";
    return zone;
  }
  std::string_view text = name;
  const bool east = TakeChar(&text, '+');
  if (east || TakeChar(&text, '-')) {
    int hours = 0;
    int minutes = 0;
    if (TakeNumber(&text, 2, &hours) && TakeChar(&text, ':') && TakeNumber(&text, 2, &minutes) && text.empty() &&
        hours < 24 && minutes < 60) {
      const int seconds = (hours * 60 + minutes) * 60 * (east ? 1 : -1);
      zone.impl_ = std::make_shared<Impl>(Impl{absl::FixedTimeZone(seconds)});
      return zone;
    }
  } else if (name == "local") {
    zone.impl_ = std::make_shared<Impl>(Impl{absl::LocalTimeZone()});
    return zone;
  } else if (absl::TimeZone loaded; !name.empty() && absl::LoadTimeZone(name, &loaded)) {
    zone.impl_ = std::make_shared<Impl>(Impl{loaded});
    return zone;
  }
  return InvalidArgument("time zone '" + name + "' is not known: use UTC, an offset like +02:00, local, or a name like "
                         "Europe/Paris");
}

std::optional<sync::Stamp> Zone::ToStamp(std::string_view text) const {
  const auto civil = ParseCivil(text);
  if (!civil) return sync::ParseRfc3339(text);
  std::int64_t seconds = 0;
  if (impl_ == nullptr) {
    seconds = civil->second - absl::CivilSecond(1970, 1, 1);
  } else {
    seconds = absl::ToUnixSeconds(absl::FromCivil(civil->second, impl_->zone));
  }
  if (seconds < 0) return 0;
  sync::Stamp stamp = 0;
  const bool fits = !__builtin_mul_overflow(static_cast<std::uint64_t>(seconds), std::uint64_t{kNanosPerSecond}, &stamp) &&
                    !__builtin_add_overflow(stamp, static_cast<std::uint64_t>(civil->nanos), &stamp);
  return fits ? std::optional(stamp) : std::nullopt;
}

std::string Zone::FromStamp(sync::Stamp stamp) const {
  const absl::Time time = absl::FromUnixSeconds(static_cast<std::int64_t>(stamp / kNanosPerSecond));
  const absl::CivilSecond civil = absl::ToCivilSecond(time, impl_ == nullptr ? absl::UTCTimeZone() : impl_->zone);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d", static_cast<int>(civil.year()), civil.month(),
                civil.day(), civil.hour(), civil.minute(), civil.second());
  std::string formatted = text;
  if (const auto nanos = static_cast<unsigned long long>(stamp % kNanosPerSecond); nanos != 0) {
    std::snprintf(text, sizeof text, ".%09llu", nanos);
    formatted += text;
    while (formatted.back() == '0') formatted.pop_back();
  }
  return formatted;
}

std::string_view StampTexts::Of(sync::Stamp stamp) {
  const sync::Stamp second = stamp / kNanosPerSecond;
  Second& known = seconds_[second % seconds_.size()];
  if (known.text.empty() || known.second != second) {
    known.text = zone_.FromStamp(second * kNanosPerSecond);
    known.second = second;
  }
  text_.assign(known.text);
  if (sync::Stamp nanos = stamp % kNanosPerSecond; nanos != 0) {
    text_.push_back('.');
    for (sync::Stamp unit = kNanosPerSecond / 10; nanos != 0; unit /= 10) {
      text_.push_back(static_cast<char>('0' + nanos / unit));
      nanos %= unit;
    }
  }
  return text_;
}

}  // namespace vellum::c1z
