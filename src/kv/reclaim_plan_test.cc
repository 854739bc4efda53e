#include "kv/reclaim_plan.h"

#include <gtest/gtest.h>

namespace vellum::kv {
namespace {

storage::TableFile Table(int level, std::string smallest, std::string largest, std::uint64_t bytes,
                         std::optional<std::uint64_t> min_number = std::nullopt) {
  storage::TableFile table;
  table.level = level;
  table.smallest = std::move(smallest);
  table.largest = std::move(largest);
  table.bytes = bytes;
  table.entries = bytes;
  table.min_number = min_number;
  return table;
}

TEST(KvReclaimPlan, NothingToCut) { EXPECT_TRUE(CutIntoSlices({}, 100).empty()); }

TEST(KvReclaimPlan, OnlyLevelZeroIsOneSlice) {
  const auto slices = CutIntoSlices({Table(0, "a", "m", 10), Table(0, "c", "z", 20)}, 5);
  ASSERT_EQ(slices.size(), 1u);
  EXPECT_EQ(slices[0].begin, "");
  EXPECT_FALSE(slices[0].last.has_value());
  EXPECT_EQ(slices[0].bytes, 30u);
}

TEST(KvReclaimPlan, CutsBetweenTheFilesOfTheLowestLevel) {
  const std::vector<storage::TableFile> tables = {Table(6, "k", "p", 40), Table(6, "a", "c", 30), Table(6, "e", "h", 30),
                                                  Table(6, "r", "t", 70), Table(5, "b", "f", 10), Table(0, "a", "z", 40)};
  const auto slices = CutIntoSlices(tables, 90);
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[0].begin, "");
  EXPECT_EQ(slices[0].last, "h");
  EXPECT_EQ(slices[0].bytes, 30u + 30u + 10u + 20u);
  EXPECT_EQ(slices[1].begin, std::string("h\0", 2));
  EXPECT_EQ(slices[1].last, "p");
  EXPECT_EQ(slices[1].bytes, 50u);
  EXPECT_EQ(slices[2].begin, std::string("p\0", 2));
  EXPECT_FALSE(slices[2].last.has_value());
  EXPECT_EQ(slices[2].bytes, 80u);
}

TEST(KvReclaimPlan, SlicesCoverEveryKeyOnce) {
  std::vector<storage::TableFile> tables;
  for (int i = 0; i < 50; ++i)
    tables.push_back(Table(6, "k" + std::to_string(100 + 2 * i), "k" + std::to_string(101 + 2 * i), 10));
  const auto slices = CutIntoSlices(tables, 35);
  EXPECT_EQ(slices.front().begin, "");
  EXPECT_FALSE(slices.back().last.has_value());
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    bytes += slices[i].bytes;
    EXPECT_LE(slices[i].bytes, 35u);
    if (i + 1 < slices.size()) {
      EXPECT_EQ(slices[i + 1].begin, *slices[i].last + std::string(1, '\0'));
      EXPECT_EQ(*slices[i].Interval().end, slices[i + 1].begin);
    }
  }
  EXPECT_EQ(bytes, 500u);
}

TEST(KvReclaimPlan, AFileLargerThanASliceIsASlice) {
  const auto slices = CutIntoSlices({Table(6, "a", "b", 500), Table(6, "c", "d", 500)}, 100);
  EXPECT_EQ(slices.size(), 2u);
}

TEST(KvReclaimPlan, SkipsWhereNothingEnded) {
  const std::vector<storage::TableFile> tables = {Table(6, "a", "c", 30, 100), Table(6, "e", "h", 30, 50),
                                                  Table(6, "k", "p", 30), Table(5, "o", "q", 30, 70)};
  const ReclaimSlice first{"", "d", 0, 0};
  const ReclaimSlice second{"d", "j", 0, 0};
  const ReclaimSlice third{"j", std::nullopt, 0, 0};
  EXPECT_FALSE(HoldsEndedRecords(first, tables, 99));
  EXPECT_TRUE(HoldsEndedRecords(first, tables, 100));
  EXPECT_TRUE(HoldsEndedRecords(second, tables, 50));
  EXPECT_FALSE(HoldsEndedRecords(second, tables, 49));
  EXPECT_FALSE(HoldsEndedRecords(third, tables, 69));
  EXPECT_TRUE(HoldsEndedRecords(third, tables, 70)) << "an upper level's file reaches into it";
}

TEST(KvReclaimPlan, SizesFollowTheTables) {
  auto slices = CutIntoSlices({Table(6, "a", "c", 30), Table(6, "e", "h", 30), Table(0, "a", "z", 60)}, 60);
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[1].entries, 60u);
  SpreadSizes({Table(6, "a", "c", 40), Table(6, "e", "h", 30)}, &slices);
  EXPECT_EQ(slices[0].entries, 40u);
  EXPECT_EQ(slices[1].entries, 30u);
}

}  // namespace
}  // namespace vellum::kv
