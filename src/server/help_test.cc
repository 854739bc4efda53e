#include "server/help.h"

#include <gtest/gtest.h>

#include <sstream>

#include "server/option_table.h"

namespace vellum::server {
namespace {

TEST(Help, SaysEverySettingOnce) {
  for (const Personality personality : {Personality::kVellum, Personality::kEtcd}) {
    const std::string text = HelpText(personality);
    for (const Option& option : Options()) {
      if (option.kind != OptionKind::kSetting) continue;
      const std::string head = "\n  --" + std::string(option.name);
      const std::size_t first = text.find(head);
      ASSERT_NE(first, std::string::npos) << option.name;
    }
  }
}

TEST(Help, FitsATerminal) {
  for (const Personality personality : {Personality::kVellum, Personality::kEtcd}) {
    std::istringstream lines(HelpText(personality));
    std::string line;
    while (std::getline(lines, line)) EXPECT_LE(line.size(), 110u) << line;
  }
}

TEST(Help, OnlyEtcdListsWhatIsIgnored) {
  EXPECT_NE(HelpText(Personality::kEtcd).find("--heartbeat-interval"), std::string::npos);
  EXPECT_EQ(HelpText(Personality::kVellum).find("--heartbeat-interval"), std::string::npos);
}

TEST(Help, MarkdownHasARowForEverySetting) {
  const std::string text = OptionsMarkdown();
  for (const Option& option : Options()) {
    const bool found = text.find("| `--" + std::string(option.name)) != std::string::npos;
    EXPECT_EQ(found, option.kind == OptionKind::kSetting) << option.name;
  }
}

}  // namespace
}  // namespace vellum::server
