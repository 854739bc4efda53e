#include "c1z/key_sorter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "base/test_random.h"

namespace vellum::c1z {
namespace {

class Keys : public ::testing::Test {
 protected:
  void ExpectSorted(std::vector<std::string> keys, KeySorter::Options options) {
    options.beside = dir_.path() + "/keys";
    KeySorter sorter(options);
    for (const std::string& key : keys) {
      const Status added = sorter.Add(key);
      ASSERT_TRUE(added.ok()) << added.ToString();
    }
    std::sort(keys.begin(), keys.end());
    const auto cursor = sorter.Finish();
    ASSERT_TRUE(cursor.ok()) << cursor.error().ToString();
    std::size_t at = 0;
    for (; (*cursor)->valid() && at < keys.size(); (*cursor)->Next(), ++at) {
      ASSERT_EQ((*cursor)->key(), keys[at]) << at << " of " << keys.size();
    }
    EXPECT_EQ(at, keys.size());
    EXPECT_FALSE((*cursor)->valid());
    EXPECT_TRUE((*cursor)->status().ok());
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));  // scratch files have no names
  }

  TestDir dir_;
};

TEST_F(Keys, NoneAndOne) {
  ExpectSorted({}, {});
  ExpectSorted({"a"}, {});
}

TEST_F(Keys, OfAnyOrderAndLengthThroughFiles) {
  auto random = SeededRandom();
  for (int round = 0; round < 6; ++round) {
    SCOPED_TRACE(round);
    std::vector<std::string> keys;
    for (std::uint64_t i = 0; i < 12'000; ++i) {
      std::string key(random() % 40, 'p');
      for (std::uint64_t left = random() % 20; left > 0; --left) key.push_back(static_cast<char>(random()));
      keys.push_back(key + "-" + std::to_string(i));  // none twice
    }
    keys.push_back(std::string(600'000, 'l'));  // longer than what is read at a time
    keys.push_back(std::string(600'000, 'l') + "m");
    // Ascending but for some; or as they are.
    std::sort(keys.begin(), keys.end());
    const std::size_t swaps = round % 3 == 0 ? 0 : round % 3 == 1 ? 100 : 100'000;
    for (std::size_t i = 0; i < swaps; ++i) std::swap(keys[random() % keys.size()], keys[random() % keys.size()]);
    KeySorter::Options options;
    options.memory_bytes = 100'000;
    options.merge_bytes = round < 3 ? 1 : 1u << 20;
    ExpectSorted(std::move(keys), options);
  }
}

}  // namespace
}  // namespace vellum::c1z
