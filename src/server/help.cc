#include "server/help.h"

#include <array>
#include <cstdlib>
#include <utility>

#include "server/option_table.h"

namespace vellum::server {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kIndent = 6;

constexpr std::array<std::pair<OptionGroup, std::string_view>, 8> kGroups{{
    {OptionGroup::kListen, "Where it listens"},
    {OptionGroup::kStore, "The store"},
    {OptionGroup::kLimits, "Limits"},
    {OptionGroup::kCompaction, "Letting go of the past"},
    {OptionGroup::kSyncs, "Access snapshots"},
    {OptionGroup::kConnections, "Connections"},
    {OptionGroup::kMonitoring, "Logs and monitoring"},
    {OptionGroup::kRisky, "Risky"},
}};

// Words of `text` in lines of kColumns, each line indented.
std::string Wrap(std::string_view text, std::size_t indent) {
  std::string out;
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    text = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
    if (column == 0 || column + 1 + word.size() > kColumns) {
      if (column != 0) out += '\n';
      out.append(indent, ' ');
      column = indent;
    } else {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out + '\n';
}

std::string ValueName(const Option& option) {
  if (!option.choices.empty()) return std::string(option.choices);
  switch (option.type) {
    case ValueType::kBool: return "";
    case ValueType::kNumber: return option.unit.empty() ? "NUMBER" : "BYTES";
    case ValueType::kDuration: return "DURATION";
    case ValueType::kText: return "TEXT";
    case ValueType::kList: return "A,B,...";
  }
  return "";
}

std::string DefaultText(const Option& option) {
  if (!option.shown_default.empty()) return std::string(option.shown_default);
  std::string value = OptionValue(option, Config());
  if (option.unit != "bytes") return value;
  // For people, who do not divide in their heads.
  const std::uint64_t bytes = std::strtoull(value.c_str(), nullptr, 10);
  constexpr std::uint64_t kMiB = 1u << 20;
  if (bytes >= kMiB && bytes % (kMiB / 2) == 0) {
    value += ", " + std::to_string(bytes / kMiB) + (bytes % kMiB == 0 ? "" : ".5") + " MiB";
  }
  return value;
}

std::string SettingHelp(const Option& option) {
  std::string head = "  --" + std::string(option.name);
  if (const std::string value = ValueName(option); !value.empty()) head += "=" + value;
  const std::string shown = DefaultText(option);
  if (option.type != ValueType::kBool || shown != "false") {
    if (!shown.empty()) head += "  (" + shown + ")";
  }
  return head + "\n" + Wrap(option.help, kIndent);
}

constexpr std::string_view kServeIntro =
    "Serves the store to etcd v3 clients, over gRPC and HTTP on the same port.\n\n"
    "Usage: vellum serve [--FLAG=VALUE ...]\n\n"
    "  vellum serve                                   serve on 127.0.0.1:2379, data in default.vellum\n"
    "  vellum serve --data-dir=/var/lib/vellum --listen-client-urls=http://0.0.0.0:2379 \\\n"
    "      --advertise-client-urls=http://10.0.0.5:2379    serve the network (in plain text)\n"
    "  vellum serve --auto-compaction-retention=1h    keep an hour of history\n\n"
    "Every flag can also be a variable of the environment: ETCD_MAX_TXN_OPS for --max-txn-ops. A flag beats\n"
    "a variable. --config-file=FILE takes them from a YAML file instead, with the flags' names as keys, and\n"
    "then nothing else counts. In brackets: the default. Durations are written as 300ms, 5s or 1h30m.\n";

constexpr std::string_view kServeTail =
    "\nEnding it: SIGTERM or Ctrl-C finishes what was begun, flushes and exits with 0; a second signal ends it\n"
    "at once. SIGHUP opens log files anew. Exit codes: 0 ended as asked, 1 failed, 2 not understood.\n"
    "etcd's other flags are accepted too, with a warning where they have no meaning here: etcd --help lists them.\n";

constexpr std::string_view kEtcdIntro =
    "Usage:\n\n"
    "  etcd [flags]\n    Start an etcd-compatible server. This is Vellum under the name etcd.\n\n"
    "  etcd --version\n    Show the version of etcd that it stands for.\n\n"
    "  etcd -h | --help\n    Show this text.\n\n"
    "  etcd --config-file FILE\n    Take everything from a YAML file. Flags and variables are ignored then.\n\n"
    "The sub-commands gateway and grpc-proxy are not there. In brackets: the default.\n";

// Names, separated by commas and wrapped; used where one sentence explains them all.
std::string NameList(OptionKind kind) {
  std::string names;
  for (const Option& option : Options()) {
    if (option.kind != kind) continue;
    names += (names.empty() ? "--" : ", --") + std::string(option.name);
  }
  return Wrap(names, 2);
}

}  // namespace

std::string HelpText(Personality personality) {
  const bool etcd = personality == Personality::kEtcd;
  std::string text(etcd ? kEtcdIntro : kServeIntro);
  for (const auto& [group, title] : kGroups) {
    text += "\n" + std::string(title) + ":\n";
    for (const Option& option : Options()) {
      if (option.kind == OptionKind::kSetting && option.group == group) text += SettingHelp(option);
    }
  }
  if (!etcd) return text + std::string(kServeTail);
  text += "\nAccepted with a warning, because they have no meaning in Vellum:\n" + NameList(OptionKind::kNoMeaning);
  text +=
      "\nRefused when they ask for something, because Vellum does not have it yet:\n" + NameList(OptionKind::kRefused);
  text += "\nThe older spelling --experimental-NAME is understood wherever etcd had it.\n";
  return text;
}

std::string OptionsMarkdown() {
  std::string text =
      "# Flags\n\n"
      "Every flag of `vellum serve`, and of Vellum under the name `etcd`. Each is also a variable of the environment\n"
      "(`ETCD_MAX_TXN_OPS` for `--max-txn-ops`; a flag beats a variable) and a key of the file that `--config-file` "
      "names,\n"
      "which replaces both. Durations are written as `300ms`, `5s` or `1h30m`, in the file also as whole "
      "nanoseconds.\n";
  for (const auto& [group, title] : kGroups) {
    text += "\n## " + std::string(title) + "\n\n| flag | default | what it does |\n|---|---|---|\n";
    for (const Option& option : Options()) {
      if (option.kind != OptionKind::kSetting || option.group != group) continue;
      std::string value = ValueName(option);
      for (std::size_t at = 0; (at = value.find('|', at)) != std::string::npos; at += 2) value.replace(at, 1, "\\|");
      const std::string shown = DefaultText(option);
      text += "| `--" + std::string(option.name) + (value.empty() ? "" : "=" + value) + "` | " +
              (shown.empty() ? "" : "`" + shown + "`") + " | " + std::string(option.help) + " |\n";
    }
  }
  text +=
      "\n## etcd's flags without a meaning here\n\nAccepted, with one line in the log that says so.\n\n| flag | why "
      "|\n|---|---|\n";
  for (const Option& option : Options()) {
    if (option.kind != OptionKind::kNoMeaning) continue;
    text += "| `--" + std::string(option.name) + "` | " + std::string(option.help) + " |\n";
  }
  text +=
      "\n## etcd's flags that are refused\n\nThey ask for something that must not be missing silently. An empty value, "
      "or one that asks for\n"
      "nothing, is accepted.\n\n| flag | why | accepted |\n|---|---|---|\n";
  for (const Option& option : Options()) {
    if (option.kind != OptionKind::kRefused) continue;
    const std::string harmless = option.harmless == "@single" ? "one member" : "`" + std::string(option.harmless) + "`";
    text += "| `--" + std::string(option.name) + "` | " + std::string(option.help) + " | " +
            (option.harmless.empty() ? "" : harmless) + " |\n";
  }
  return text;
}

}  // namespace vellum::server
