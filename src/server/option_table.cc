#include "server/option_table.h"

#include <algorithm>
#include <charconv>
#include <type_traits>
#include <utility>

#include "base/bytes.h"
#include "server/go_duration.h"
#include "server/option_rows.h"

namespace vellum::server {
namespace {

constexpr std::string_view kExperimental = "experimental-";

std::string Quoted(std::string_view value) { return "\"" + Printable(value, 200) + "\""; }

// What Go takes for a truth value.
Result<bool> ParseBool(std::string_view value) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (value == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (value == no) return false;
  }
  return InvalidArgument("invalid value " + Quoted(value) + ": must be true or false");
}

std::string Amount(const Option& option, std::int64_t number) {
  if (option.type == ValueType::kDuration) return FormatGoDuration(std::chrono::nanoseconds(number));
  return std::to_string(number) + (option.unit.empty() ? "" : " " + std::string(option.unit));
}

Status CheckRange(const Option& option, std::int64_t number) {
  if (number >= option.min && number <= option.max) return {};
  return InvalidArgument("invalid value " + Amount(option, number) + ": must be between " + Amount(option, option.min) +
                         " and " + Amount(option, option.max));
}

Result<std::int64_t> ParseNumber(const Option& option, std::string_view value) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    return InvalidArgument("invalid value " + Quoted(value) + ": must be a whole number" +
                           (option.unit.empty() ? "" : " of " + std::string(option.unit)));
  }
  VELLUM_TRY(CheckRange(option, number));
  return number;
}

Result<std::chrono::nanoseconds> ParseDuration(const Option& option, std::string_view value, ValueSyntax syntax) {
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), whole);
  std::chrono::nanoseconds duration(whole);
  if (syntax == ValueSyntax::kFlag || error != std::errc() || end != value.data() + value.size()) {
    VELLUM_ASSIGN_OR_RETURN(duration, ParseGoDuration(value));
  }
  VELLUM_TRY(CheckRange(option, duration.count()));
  return duration;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at + 1);
  }
  return parts;
}

std::vector<std::string> ParseList(std::string_view value) {
  std::vector<std::string> items;
  for (std::string_view part : Split(value, ',')) {
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && part.back() == ' ') part.remove_suffix(1);
    if (!part.empty()) items.emplace_back(part);
  }
  return items;
}

Status CheckChoice(const Option& option, std::string_view value) {
  if (option.choices.empty()) return {};
  const std::vector<std::string_view> choices = Split(option.choices, '|');
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return {};
  std::string names;
  for (const std::string_view choice : choices) names += (names.empty() ? "" : ", ") + std::string(choice);
  return InvalidArgument("invalid value " + Quoted(value) + ": must be one of " + names);
}

template <typename T>
struct FieldType;
template <typename T>
struct FieldType<FieldOf<T>> {
  using Type = T;
};
template <typename T>
constexpr bool kIsDuration = std::is_same_v<T, std::chrono::nanoseconds> ||
                             std::is_same_v<T, std::chrono::milliseconds> || std::is_same_v<T, std::chrono::seconds>;

// Parses for a field of type T and stores.
template <typename T>
Status Store(const Option& option, std::string_view value, ValueSyntax syntax, T* field) {
  if constexpr (std::is_same_v<T, bool>) {
    VELLUM_ASSIGN_OR_RETURN(*field, ParseBool(value));
  } else if constexpr (std::is_same_v<T, std::string>) {
    VELLUM_TRY(CheckChoice(option, value));
    *field = std::string(value);
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    *field = ParseList(value);
  } else if constexpr (kIsDuration<T>) {
    VELLUM_ASSIGN_OR_RETURN(const std::chrono::nanoseconds duration, ParseDuration(option, value, syntax));
    // Rounded up: a short but positive time must not become "never".
    *field = std::chrono::ceil<T>(duration);
  } else {
    VELLUM_ASSIGN_OR_RETURN(const std::int64_t number, ParseNumber(option, value));
    // The table's bounds may be wider than the field.
    if (!std::in_range<T>(number)) return InvalidArgument("invalid value " + Quoted(value) + ": out of range");
    *field = static_cast<T>(number);
  }
  return {};
}

// The form of an ignored value is checked too: what etcd would refuse is a typing error here as well.
Status CheckForm(const Option& option, std::string_view value, ValueSyntax syntax) {
  switch (option.type) {
    case ValueType::kBool: return ParseBool(value).error();
    case ValueType::kNumber: return ParseNumber(option, value).error();
    case ValueType::kDuration: return ParseDuration(option, value, syntax).error();
    case ValueType::kText:
    case ValueType::kList: return {};
  }
  return {};
}

// Whether the value of a refused option asks for nothing after all.
bool IsHarmless(const Option& option, std::string_view value) {
  if (value.empty()) return true;
  // One member is what Vellum is.
  if (option.harmless == "@single") return ParseList(value).size() <= 1;
  if (option.type == ValueType::kBool) {
    const Result<bool> asked = ParseBool(value);
    return asked.ok() && !*asked;
  }
  const std::vector<std::string_view> harmless = Split(option.harmless, '|');
  return std::find(harmless.begin(), harmless.end(), value) != harmless.end();
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

const std::vector<Option>& AllRows() {
  static const std::vector<Option> rows = [] {
    std::vector<Option> all(SettingRows().begin(), SettingRows().end());
    all.insert(all.end(), EtcdOnlyRows().begin(), EtcdOnlyRows().end());
    return all;
  }();
  return rows;
}

template <typename T>
std::string Format(const T& field) {
  if constexpr (std::is_same_v<T, bool>) {
    return field ? "true" : "false";
  } else if constexpr (std::is_same_v<T, std::string>) {
    return field;
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    std::string text;
    for (const std::string& item : field) text += (text.empty() ? "" : ",") + item;
    return text;
  } else if constexpr (kIsDuration<T>) {
    return FormatGoDuration(field);
  } else {
    return std::to_string(field);
  }
}

}  // namespace

std::span<const Option> Options() { return AllRows(); }

const Option* FindOption(std::string_view name, bool* experimental) {
  if (experimental != nullptr) *experimental = false;
  for (const Option& option : AllRows()) {
    if (option.name == name) return &option;
    if (option.experimental && name.starts_with(kExperimental) && name.substr(kExperimental.size()) == option.name) {
      if (experimental != nullptr) *experimental = true;
      return &option;
    }
  }
  return nullptr;
}

const Option* FindOptionByFileKey(std::string_view key) {
  for (const Option& option : AllRows()) {
    if (!option.file_key.empty() && option.file_key == key) return &option;
  }
  return FindOption(key);
}

std::string EnvironmentName(std::string_view option) {
  std::string name = "ETCD_";
  for (const char c : option) name += c == '-' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
  return name;
}

std::string_view NearestOption(std::string_view name) {
  std::string_view nearest;
  // A third of the letters may be wrong. Long input is no typing error, and would be slow.
  std::size_t distance = name.size() / 3 + 1;
  if (name.size() > 64) return nearest;
  for (const Option& option : AllRows()) {
    const std::size_t each = EditDistance(name, option.name);
    if (each < distance) {
      distance = each;
      nearest = option.name;
    }
  }
  return nearest;
}

Status ApplyOption(const Option& option, std::string_view value, ValueSyntax syntax, Config* config) {
  if (option.kind == OptionKind::kRefused && !IsHarmless(option, value)) {
    VELLUM_TRY(CheckForm(option, value, syntax));
    return FailedPrecondition("is refused: " + std::string(option.help));
  }
  if (option.kind != OptionKind::kSetting) return value.empty() ? Status() : CheckForm(option, value, syntax);
  return std::visit(
      [&](const auto& target) -> Status {
        using Field = std::decay_t<decltype(target)>;
        if constexpr (std::is_same_v<Field, std::monostate>) {
          return {};
        } else {
          return Store<typename FieldType<Field>::Type>(option, value, syntax, &target(*config));
        }
      },
      option.target);
}

std::string OptionValue(const Option& option, const Config& config) {
  // The accessors take a changeable Config because they serve writing too; a copy keeps this honest.
  Config copy = config;
  return std::visit(
      [&copy](const auto& target) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(target)>, std::monostate>) {
          return {};
        } else {
          return Format(target(copy));
        }
      },
      option.target);
}

}  // namespace vellum::server
