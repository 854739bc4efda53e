#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/config.h"
#include "vellum/status.h"

/// The one table of everything that can be set: flags, ETCD_* variables, keys of the configuration file, help and
/// documentation all come from its rows.
namespace vellum::server {

/// What becomes of an option.
enum class OptionKind : std::uint8_t {
  kSetting,    ///< Does something.
  kNoMeaning,  ///< etcd's, without a counterpart here: accepted with a warning that says so.
  kRefused,    ///< Asks for something that is not here and that must not be missing silently.
};

enum class OptionGroup : std::uint8_t {
  kListen,
  kStore,
  kLimits,
  kCompaction,
  kSyncs,
  kConnections,
  kMonitoring,
  kRisky,
  kEtcdOnly
};

/// How a value is written.
enum class ValueType : std::uint8_t { kBool, kNumber, kDuration, kText, kList };

/// The field of Config that an option sets. Functions, so that rows are constants and the default of an option is read
/// from a Config that nobody has touched instead of being written twice.
template <typename T>
using FieldOf = T& (*)(Config&);
using Target =
    std::variant<std::monostate, FieldOf<bool>, FieldOf<std::string>, FieldOf<std::vector<std::string>>,
                 FieldOf<std::int32_t>, FieldOf<std::uint32_t>, FieldOf<std::int64_t>, FieldOf<std::uint64_t>,
                 FieldOf<std::chrono::nanoseconds>, FieldOf<std::chrono::milliseconds>, FieldOf<std::chrono::seconds>>;

struct Option {
  std::string_view name = {};  ///< The flag without its dashes.
  OptionKind kind = OptionKind::kSetting;
  OptionGroup group = OptionGroup::kEtcdOnly;
  ValueType type = ValueType::kText;
  /// The spelling "experimental-" + name is understood too.
  bool experimental = false;
  /// Where the configuration file has it in a nested map: "client-transport-security.cert-file". Else under its name.
  std::string_view file_key = {};
  Target target = std::monostate{};
  /// Bounds of numbers, and of durations in nanoseconds.
  std::int64_t min = std::numeric_limits<std::int64_t>::min();
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::string_view unit = {};     ///< Of numbers: "bytes".
  std::string_view choices = {};  ///< Of texts: "json|console"; empty: any.
  /// Shown instead of the default where that depends on something.
  std::string_view shown_default = {};
  /// kSetting: what it does. Otherwise why not; reads on after "is ignored: " or "is refused: ".
  std::string_view help = {};
  /// kRefused: values that ask for nothing, separated by '|'. An empty value always does.
  std::string_view harmless = {};
};

/// All rows, in the order of the help text.
std::span<const Option> Options();

/// Null: no such option. Understands the "experimental-" spellings; `experimental` (may be null) tells whether one was
/// used where another spelling is current.
const Option* FindOption(std::string_view name, bool* experimental = nullptr);
/// By the dotted key of the configuration file.
const Option* FindOptionByFileKey(std::string_view key);
/// "ETCD_MAX_TXN_OPS" for "max-txn-ops".
std::string EnvironmentName(std::string_view option);
/// The nearest name to a misspelt one; empty if none is near.
std::string_view NearestOption(std::string_view name);

/// Who writes a value: files have durations as whole nanoseconds, flags and variables never.
enum class ValueSyntax : std::uint8_t { kFlag, kFile };

/// Checks `value` against the row and, for a setting, stores it. kInvalidArgument says what is wrong with the value,
/// without naming the option; kFailedPrecondition: a refused option that asks for something.
Status ApplyOption(const Option& option, std::string_view value, ValueSyntax syntax, Config* config);

/// The value that an option has in `config`, as a flag would be written. Empty for anything but a setting.
std::string OptionValue(const Option& option, const Config& config);

}  // namespace vellum::server
