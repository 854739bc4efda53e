#include "sync/run_sorter.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/test_dir.h"
#include "base/test_random.h"

namespace vellum::sync {
namespace {

/// Keys that are hard to sort a word at a time: of few bytes, zeros among them, one often the beginning of another.
std::string HardKey(std::mt19937_64* random) {
  static const std::string kStems[] = {"", "a", std::string(3, '\0'), "seven67", "eight678", "sixteen bytes 16",
                                       "a stem of many bytes, longer than three words"};
  std::string key = kStems[(*random)() % std::size(kStems)];
  for (std::size_t left = (*random)() % 12; left > 0; --left) key.push_back("\0\0a\xFF"[(*random)() % 4]);
  return key.empty() ? "x" : key;
}

TEST(RunSorter, SortsAnythingAndKeepsTheLast) {
  auto random = SeededRandom();
  for (const std::size_t memory_bytes : {std::size_t{8} << 10, std::size_t{64} << 20}) {
    TestDir dir;
    RunSorter sorter({.directory = dir.path(), .prefix = "test", .memory_bytes = memory_bytes});
    std::map<std::string, std::string> expected;
    for (int i = 0; i < 5000; ++i) {
      const std::string key = HardKey(&random);
      const std::string value = std::to_string(i);
      ASSERT_TRUE(sorter.Add(key, value).ok());
      expected[key] = value;
    }
    const auto cursor = sorter.Finish();
    ASSERT_TRUE(cursor.ok()) << cursor.error().ToString();
    auto at = expected.begin();
    for ((*cursor)->Seek({}); (*cursor)->valid(); (*cursor)->Next(), ++at) {
      ASSERT_NE(at, expected.end());
      ASSERT_EQ((*cursor)->key(), at->first);
      ASSERT_EQ((*cursor)->value(), at->second);
    }
    EXPECT_TRUE((*cursor)->status().ok());
    EXPECT_EQ(at, expected.end());
    for (int i = 0; i < 200; ++i) {
      const std::string wanted = HardKey(&random);
      (*cursor)->Seek(wanted);
      at = expected.lower_bound(wanted);
      ASSERT_EQ((*cursor)->valid(), at != expected.end());
      if (at != expected.end()) {
        ASSERT_EQ((*cursor)->key(), at->first);
      }
    }
  }
}

TEST(RunSorter, MergesAnyNumberOfRuns) {
  auto random = SeededRandom();
  for (int runs = 1; runs <= 9; ++runs) {
    TestDir dir;
    std::vector<std::unique_ptr<RunSorter>> sorters;
    std::vector<std::unique_ptr<storage::TableCursor>> cursors;
    std::map<std::string, std::string> expected;
    for (int run = 0; run < runs; ++run) {
      sorters.push_back(std::make_unique<RunSorter>(
          RunSorter::Options{.directory = dir.path(), .prefix = std::to_string(run), .memory_bytes = 1u << 20}));
      for (std::uint64_t left = random() % 60; left > 0; --left) {
        const std::string key = "k" + std::to_string(random() % 40);
        ASSERT_TRUE(sorters.back()->Add(key, std::to_string(run)).ok());
        expected[key] = std::to_string(run);
      }
      auto cursor = sorters.back()->Finish();
      ASSERT_TRUE(cursor.ok());
      cursors.push_back(*std::move(cursor));
    }
    const auto merged = MergeRuns(std::move(cursors));
    std::map<std::string, std::string> actual;
    for (merged->Seek({}); merged->valid(); merged->Next()) {
      EXPECT_TRUE(actual.empty() || actual.rbegin()->first < merged->key());
      actual.emplace(merged->key(), merged->value());
    }
    EXPECT_EQ(actual, expected);
  }
}

}  // namespace
}  // namespace vellum::sync
