#include "c1z/pages.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_dir.h"
#include "c1z/sqlite.h"

namespace vellum::c1z {
namespace {

constexpr std::size_t kPageBytes = 4096;

/// A table of one row whose value fills pages of its own: page 2 holds the row, those behind it the rest.
class Pages : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(path_).close();
    auto database = Sqlite::OpenForEditing(path_);
    ASSERT_TRUE(database.ok()) << database.error().ToString();
    ASSERT_TRUE(database->Run("PRAGMA page_size = 4096").ok());
    ASSERT_TRUE(database->Run("CREATE TABLE t (a TEXT)").ok());
    ASSERT_TRUE(database->Run("INSERT INTO t VALUES (replace(hex(zeroblob(5000)), '00', 'xy'))").ok());
    ASSERT_TRUE(database->Close().ok());
    std::ifstream in(path_, std::ios::binary);
    whole_.assign(std::istreambuf_iterator<char>(in), {});
    ASSERT_EQ(whole_.size(), 4 * kPageBytes);
  }
  Status Walk(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    VELLUM_ASSIGN_OR_RETURN(const auto pages, DatabasePages::Open(path_));
    const auto ignore = [](const PageRecord&) { return Status(); };
    VELLUM_TRY(pages->Walk(1, DatabasePages::Tree::kTable, ignore));
    VELLUM_TRY(pages->Walk(2, DatabasePages::Tree::kTable, ignore));
    return pages->CheckFreePages();
  }

  TestDir dir_;
  const std::string path_ = dir_.path() + "/made.db";
  std::string whole_;
};

TEST_F(Pages, ARecordHasThePagesThatItFillsAndNoMore) {
  const Status walked = Walk(whole_);
  ASSERT_TRUE(walked.ok()) << walked.ToString();
  // The four bytes at the beginning of a page of a record name the next one; there is none behind the last.
  for (const std::size_t page : {3u, 4u}) {
    for (std::size_t byte = 0; byte < 4; ++byte) {
      std::string changed = whole_;
      changed[(page - 1) * kPageBytes + byte] = '\x69';
      EXPECT_FALSE(Walk(changed).ok()) << "page " << page << ", byte " << byte;
    }
  }
}

TEST(PageRecords, ValuesFillTheirRecord) {
  const auto parses = [](std::string_view record) {
    std::vector<PageValue> values;
    return ParseRecord(record, &values);
  };
  using namespace std::string_view_literals;
  // A header of three bytes, text of one, text of two.
  EXPECT_TRUE(parses("\x03\x0F\x11" "abc"sv));
  EXPECT_FALSE(parses("\x03\x0F\x13" "abc"sv)) << "too few bytes";
  EXPECT_FALSE(parses("\x03\x0F\x0D" "abc"sv)) << "bytes that are no value's";
  EXPECT_FALSE(parses("\x03\x0F\x11" "abcd"sv));
  EXPECT_TRUE(parses("\x01"sv));
  EXPECT_FALSE(parses("\x00"sv)) << "a header that ends before it begins";
  EXPECT_FALSE(parses("\x03\x0F"sv));
  EXPECT_FALSE(parses(""sv));
}

}  // namespace
}  // namespace vellum::c1z
