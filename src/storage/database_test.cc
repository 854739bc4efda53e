#include "storage/database.h"

#include <gtest/gtest.h>

#include "storage/test_dir.h"

namespace vellum::storage {
namespace {


TEST(Database, WritesAndReads) {
  TestDir dir;
  DatabaseOptions options;
  options.path = dir.path();
  options.families.resize(3);
  options.families[0].name = "default";
  options.families[1].name = "one";
  options.families[2].name = "two";
  options.families[1].point_lookups = true;
  for (int round = 0; round < 3; ++round) {
    auto opened = Database::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    Database& db = **opened;
    PinnedValue value;
    if (round > 0) {
      auto got = db.Get(1, "a", &value);
      ASSERT_TRUE(got.ok() && *got);
      EXPECT_EQ(value.view(), "1");
    }
    Batch batch;
    batch.Put(1, "a", "1");
    batch.Put(2, "b", "2");
    ASSERT_TRUE(db.Write(std::move(batch)).ok());
    ASSERT_TRUE(db.Sync().ok());
    auto got = db.Get(2, "b", &value);
    ASSERT_TRUE(got.ok() && *got);
    EXPECT_EQ(value.view(), "2");
    Iterator it = db.NewIterator(1);
    it.SeekToFirst();
    ASSERT_TRUE(it.valid());
    EXPECT_EQ(it.key(), "a");
    if (round == 1) {
      ASSERT_TRUE(db.Flush().ok());
    }
  }
  EXPECT_NE(Database::EngineVersion().find("7."), std::string::npos);
}

}  // namespace
}  // namespace vellum::storage
