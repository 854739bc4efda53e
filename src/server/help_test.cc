#include "server/help.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
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

TEST(Help, MarkdownHasARowForEveryOption) {
  const std::string text = OptionsMarkdown();
  for (const Option& option : Options()) {
    EXPECT_NE(text.find("| `--" + std::string(option.name)), std::string::npos) << option.name;
  }
}

// docs/flags.md is this text. After a change of the table, run this test with VELLUM_REWRITE_DOCS=1 and read the diff.
TEST(Help, TheDocumentIsUpToDate) {
  const std::string path = std::string(VELLUM_DOCS_DIR) + "/flags.md";
  const std::string expected = OptionsMarkdown();
  if (std::getenv("VELLUM_REWRITE_DOCS") != nullptr) std::ofstream(path) << expected;
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), expected);
}

}  // namespace
}  // namespace vellum::server
