#include "server/config_file.h"

#include <gtest/gtest.h>

#include <map>

namespace vellum::server {
namespace {

std::map<std::string, std::string> Parse(std::string_view text) {
  std::map<std::string, std::string> found;
  const Result<std::vector<FileEntry>> entries = ParseConfigText(text);
  EXPECT_TRUE(entries.ok()) << entries.error().ToString();
  if (!entries.ok()) return found;
  for (const FileEntry& entry : *entries) found[entry.key] = entry.value;
  return found;
}

TEST(ConfigFile, FlattensMapsAndJoinsLists) {
  const auto found = Parse(
      "name: 'm1'\n"
      "data-dir:\n"
      "snapshot-count: 10000\n"
      "log-outputs: [stderr, 'a.log']\n"
      "cipher-suites: []\n"
      "client-transport-security:\n"
      "  cert-file:\n"
      "  client-cert-auth: false\n");
  EXPECT_EQ(found, (std::map<std::string, std::string>{{"name", "m1"},
                                                       {"snapshot-count", "10000"},
                                                       {"log-outputs", "stderr,a.log"},
                                                       {"client-transport-security.client-cert-auth", "false"}}));
}

TEST(ConfigFile, ReadsJson) {
  EXPECT_EQ(Parse("{\"name\": \"m1\", \"max-txn-ops\": 7}"),
            (std::map<std::string, std::string>{{"max-txn-ops", "7"}, {"name", "m1"}}));
}

TEST(ConfigFile, EmptyIsEmpty) {
  EXPECT_TRUE(Parse("").empty());
  EXPECT_TRUE(Parse("# only a comment\n").empty());
}

TEST(ConfigFile, RefusesWhatIsNoMapOfSettings) {
  for (const std::string_view text : {"- a\n- b\n", "just text", "a: [1", "a: b: c", "name: a\nname: b\n",
                                      "a:\n  b:\n    c: 1\n", "a: [[1]]", "? [x]\n: y\n", "\x01\x02", "a: &x [*x]"}) {
    const Result<std::vector<FileEntry>> entries = ParseConfigText(text);
    EXPECT_FALSE(entries.ok()) << text;
  }
  EXPECT_FALSE(ParseConfigText(std::string((1u << 20) + 1, '#')).ok());
}

TEST(ConfigFile, NamesAFileThatIsNotThere) {
  const Result<std::vector<FileEntry>> entries = ReadConfigFile("/nowhere/vellum.yaml");
  ASSERT_FALSE(entries.ok());
  EXPECT_NE(entries.error().message().find("/nowhere/vellum.yaml"), std::string::npos);
}

}  // namespace
}  // namespace vellum::server
