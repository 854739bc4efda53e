#include "kv/interval_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "base/test_random.h"

namespace vellum::kv {
namespace {

struct Named : IntervalIndex::Item {
  int name = 0;
  KeyInterval interval;
};

std::multiset<int> Matches(IntervalIndex* index, std::string_view key) {
  std::multiset<int> names;
  index->VisitMatches(key, [&](IntervalIndex::Item* item) { names.insert(static_cast<Named*>(item)->name); });
  return names;
}

TEST(KvIntervalIndex, FindsKeysRangesAndOpenEnds) {
  IntervalIndex index;
  Named key{{}, 1, KeyInterval::SingleKey("b")};
  Named same_key{{}, 2, KeyInterval::SingleKey("b")};
  Named range{{}, 3, {"a", "c"}};
  Named open{{}, 4, {"b", std::nullopt}};
  Named all{{}, 5, KeyInterval::Everything()};
  Named nothing{{}, 6, {"c", "a"}};
  for (Named* item : {&key, &same_key, &range, &open, &all, &nothing}) index.Insert(item->interval, item);
  EXPECT_EQ(Matches(&index, "b"), (std::multiset<int>{1, 2, 3, 4, 5}));
  EXPECT_EQ(Matches(&index, "a"), (std::multiset<int>{3, 5}));
  EXPECT_EQ(Matches(&index, "c"), (std::multiset<int>{4, 5}));
  EXPECT_EQ(Matches(&index, std::string_view("b\0", 2)), (std::multiset<int>{3, 4, 5}));
  index.Remove(&key);
  index.Remove(&key);
  index.Remove(&all);
  EXPECT_EQ(Matches(&index, "b"), (std::multiset<int>{2, 3, 4}));
  EXPECT_EQ(index.size(), 4u);
}

TEST(KvIntervalIndex, AgreesWithALinearSearch) {
  std::mt19937_64 rng = SeededRandom();
  const auto random_key = [&] {
    std::string key;
    for (std::size_t n = rng() % 4; n > 0; --n) key.push_back(static_cast<char>("\0abc\xff"[rng() % 5]));
    return key;
  };
  IntervalIndex index;
  std::vector<std::unique_ptr<Named>> items;
  for (int step = 0; step < 6000; ++step) {
    const auto dice = rng() % 10;
    if (dice < 4) {
      auto item = std::make_unique<Named>();
      item->name = step;
      item->interval.begin = random_key();
      if (rng() % 3 == 0)
        item->interval = KeyInterval::SingleKey(item->interval.begin);
      else if (rng() % 8 != 0)
        item->interval.end = random_key();
      index.Insert(item->interval, item.get());
      items.push_back(std::move(item));
    } else if (dice < 7 && !items.empty()) {
      std::swap(items[rng() % items.size()], items.back());
      index.Remove(items.back().get());
      items.pop_back();
    } else {
      const std::string key = random_key();
      std::multiset<int> expected;
      for (const auto& item : items) {
        if (item->interval.Contains(key)) expected.insert(item->name);
      }
      ASSERT_EQ(Matches(&index, key), expected);
    }
    ASSERT_EQ(index.size(), items.size());
  }
}

}  // namespace
}  // namespace vellum::kv
