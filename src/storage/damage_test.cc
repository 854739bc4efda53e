// Bytes that change under us: named and refused, or harmless, but never wrong data.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <vector>

#include "storage/database.h"
#include "storage/fault_file_system.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

namespace fs = std::filesystem;

DatabaseOptions Options(const std::string& path) {
  DatabaseOptions options;
  options.path = path;
  options.families = {{.name = "default"}, {.name = "one", .point_lookups = true}, {.name = "two"}};
  options.block_cache_bytes = 8u << 20;
  options.file_system = FaultFileSystem::Create()->file_system();  // syncs nothing: quicker
  return options;
}

std::string Key(int step) { return "key" + std::to_string(1000 + step); }

/// A directory as kill -9 leaves it, and what was acknowledged before.
class Image {
 public:
  /// `steps` batches with values of `value_bytes`, synced in groups of three; flushed in between if asked for.
  Image(int steps, std::size_t value_bytes, bool flush) : steps_(steps), value_bytes_(value_bytes) {
    TestDir dir;
    auto db = Database::Open(Options(dir.path()));
    EXPECT_TRUE(db.ok()) << db.error().ToString();
    for (int step = 0; step < steps; ++step) {
      Batch batch;
      batch.Put(1, Key(step), Value(step));
      batch.Put(2, Key(step), Value(step));
      EXPECT_TRUE((*db)->Write(std::move(batch)).ok());
      if (step % 3 == 2 || step + 1 == steps) {
        EXPECT_TRUE((*db)->Sync().ok());
      }
    }
    if (flush) {
      EXPECT_TRUE((*db)->Flush().ok());
    }
    for (const auto& entry : fs::directory_iterator(dir.path())) {
      files_[entry.path().filename().string()] = ReadWholeFile(entry.path().string());
    }
  }

  std::string Value(int step) const { return std::string(value_bytes_, static_cast<char>('a' + step % 26)); }
  const std::map<std::string, std::string>& files() const { return files_; }

  /// The file of this kind with the most bytes.
  std::string Largest(const std::string& suffix) const {
    std::string name;
    for (const auto& [each, bytes] : files_) {
      if (each.find(suffix) != std::string::npos && (name.empty() || bytes.size() > files_.at(name).size())) name = each;
    }
    return name;
  }

  void Restore(const std::string& path) const {
    for (const auto& [name, bytes] : files_) WriteWholeFile(path + "/" + name, bytes);
  }

  /// How many steps are there, all of them before any that is missing; -1 and an error if reading fails.
  int Read(Database* db, Status* error) const {
    PinnedValue value;
    int present = 0;
    for (int step = 0; step < steps_; ++step) {
      for (Family family = 1; family <= 2; ++family) {
        auto got = db->Get(family, Key(step), &value);
        if (!got.ok()) {
          *error = got.error();
          return -1;
        }
        if (*got) {
          EXPECT_EQ(value.view(), Value(step)) << "wrong data for step " << step;
          EXPECT_GE(step, family == 1 ? present : present - 1) << "a hole before step " << step;
        }
        if (*got && family == 2) present = step + 1;
      }
    }
    for (Family family = 1; family <= 2; ++family) {
      int seen = 0;
      Iterator it = db->NewIterator(family);
      for (it.SeekToFirst(); it.valid(); it.Next(), ++seen) {
        EXPECT_EQ(it.value(), Value(std::stoi(std::string(it.key().substr(3))) - 1000));
      }
      if (!it.status().ok()) {
        *error = it.status();
        return -1;
      }
      EXPECT_EQ(seen, present);
    }
    return present;
  }

  /// Opens the directory with one file changed; true if that was refused, with kDataLoss naming `blamed`.
  bool OpensRightOrRefuses(const std::string& name, const std::string& bytes, const std::string& blamed) const {
    TestDir dir;
    Restore(dir.path());
    WriteWholeFile(dir.path() + "/" + name, bytes);
    Status error;
    if (auto db = Database::Open(Options(dir.path())); db.ok()) {
      const int present = Read(db->get(), &error);
      if (error.ok()) {
        EXPECT_EQ(present, steps_) << "acknowledged batches are gone";
        return false;
      }
    } else {
      error = db.error();
    }
    EXPECT_EQ(error.code(), Code::kDataLoss) << error.ToString();
    EXPECT_NE(error.message().find(blamed), std::string::npos) << error.ToString();
    return true;
  }

 private:
  const int steps_;
  const std::size_t value_bytes_;
  std::map<std::string, std::string> files_;
};

std::string Flipped(std::string bytes, std::size_t offset, unsigned mask) {
  bytes[offset] = static_cast<char>(static_cast<unsigned char>(bytes[offset]) ^ mask);
  return bytes;
}

TEST(Damage, EveryByteOfASmallLogIsGuarded) {
  const Image image(12, 10, /*flush=*/false);
  const std::string log = image.Largest(".log");
  const std::string bytes = image.files().at(log);
  ASSERT_GT(bytes.size(), 700u);
  for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
    const unsigned mask = 1u << offset % 8;
    ASSERT_TRUE(image.OpensRightOrRefuses(log, Flipped(bytes, offset, mask), log)) << offset << " of " << bytes.size();
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Damage, BytesOfALogOfSeveralBlocksAreGuarded) {
  const Image image(40, 2500, /*flush=*/false);
  const std::string log = image.Largest(".log");
  const std::string bytes = image.files().at(log);
  ASSERT_GT(bytes.size(), 5u * 32768);
  int refused = 0;
  int tried = 0;
  for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
    const std::size_t in_block = offset % 32768;
    if (in_block > 20 && in_block < 32768 - 20 && offset % 1009 != 0) continue;
    ++tried;
    // Only padding at the end of a block may change unnoticed.
    refused += image.OpensRightOrRefuses(log, Flipped(bytes, offset, 0x10), log) ? 1 : 0;
    ASSERT_FALSE(HasFailure()) << offset << " of " << bytes.size();
  }
  EXPECT_GE(refused, tried - 6 * 6);
}

TEST(Damage, ATornLogOpensWithWhatIsWhole) {
  const Image image(20, 10, /*flush=*/false);
  const std::string log = image.Largest(".log");
  const std::string bytes = image.files().at(log);
  int before = 0;
  for (std::size_t size = 0; size <= bytes.size(); size += size + 40 < bytes.size() ? 7 : 1) {
    TestDir dir;
    image.Restore(dir.path());
    WriteWholeFile(dir.path() + "/" + log, bytes.substr(0, size));
    auto db = Database::Open(Options(dir.path()));
    ASSERT_TRUE(db.ok()) << size << ": " << db.error().ToString();
    Status error;
    const int present = image.Read(db->get(), &error);
    ASSERT_TRUE(error.ok()) << error.ToString();
    ASSERT_GE(present, before);
    ASSERT_LE(present, before + 1) << "a step has more than a byte";
    before = present;
  }
  EXPECT_EQ(before, 20);
}

TEST(Damage, RescueOpensUpToTheDamage) {
  const Image image(20, 10, /*flush=*/false);
  const std::string log = image.Largest(".log");
  const std::string bytes = image.files().at(log);
  TestDir dir;
  image.Restore(dir.path());
  WriteWholeFile(dir.path() + "/" + log, Flipped(bytes, bytes.size() / 2, 0x04));
  ASSERT_EQ(Database::Open(Options(dir.path())).error().code(), Code::kDataLoss);

  DatabaseOptions options = Options(dir.path());
  options.accept_wal_loss = true;
  {
    auto db = Database::Open(options);
    ASSERT_TRUE(db.ok()) << db.error().ToString();
    Status error;
    const int present = image.Read(db->get(), &error);
    EXPECT_TRUE(error.ok()) << error.ToString();
    EXPECT_GT(present, 5);
    EXPECT_LT(present, 15);
  }
  EXPECT_TRUE(fs::exists(dir.path() + "/" + log + ".lost"));
  // From then on it opens as usual.
  EXPECT_TRUE(Database::Open(Options(dir.path())).ok());
}

TEST(Damage, EveryByteOfTheManifestIsGuarded) {
  const Image image(9, 10, /*flush=*/true);
  const std::string manifest = image.Largest("MANIFEST");
  const std::string bytes = image.files().at(manifest);
  for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
    ASSERT_TRUE(image.OpensRightOrRefuses(manifest, Flipped(bytes, offset, 0x21), manifest)) << offset;
    ASSERT_FALSE(HasFailure()) << offset << " of " << bytes.size();
  }
}

TEST(Damage, EveryByteOfCurrentIsGuarded) {
  const Image image(9, 10, /*flush=*/true);
  const std::string bytes = image.files().at("CURRENT");
  for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
    ASSERT_TRUE(image.OpensRightOrRefuses("CURRENT", Flipped(bytes, offset, 0x01), "CURRENT")) << offset;
  }
  ASSERT_TRUE(image.OpensRightOrRefuses("CURRENT", "", "CURRENT"));
}

TEST(Damage, AMissingCurrentIsNotAnEmptyDatabase) {
  for (const bool flush : {false, true}) {
    const Image image(9, 10, flush);
    TestDir dir;
    image.Restore(dir.path());
    fs::remove(dir.path() + "/CURRENT");
    auto db = Database::Open(Options(dir.path()));
    ASSERT_FALSE(db.ok());
    EXPECT_EQ(db.error().code(), Code::kDataLoss);
    EXPECT_NE(db.error().message().find("CURRENT"), std::string::npos);
  }
}

TEST(Damage, AMissingLogIsNotAnEmptyOne) {
  const Image image(9, 10, /*flush=*/true);
  TestDir dir;
  image.Restore(dir.path());
  for (const auto& [name, bytes] : image.files()) {
    if (name.ends_with(".log")) fs::remove(dir.path() + "/" + name);
  }
  auto db = Database::Open(Options(dir.path()));
  ASSERT_FALSE(db.ok()) << "whatever had been acknowledged since the last flush";
  EXPECT_EQ(db.error().code(), Code::kDataLoss) << db.error().ToString();
  EXPECT_NE(db.error().message().find(dir.path()), std::string::npos) << db.error().ToString();

  DatabaseOptions options = Options(dir.path());
  options.accept_wal_loss = true;
  EXPECT_TRUE(Database::Open(options).ok());
  EXPECT_TRUE(Database::Open(Options(dir.path())).ok());
}

TEST(Damage, TableFilesNeverYieldWrongData) {
  const Image image(40, 100, /*flush=*/true);
  int refused = 0;
  int tried = 0;
  for (const auto& [name, bytes] : image.files()) {
    if (!name.ends_with(".sst")) continue;
    for (std::size_t offset = 0; offset < bytes.size(); offset += 13) {
      ++tried;
      refused += image.OpensRightOrRefuses(name, Flipped(bytes, offset, 0x40), name) ? 1 : 0;
      ASSERT_FALSE(HasFailure()) << name << " at " << offset << " of " << bytes.size();
    }
  }
  EXPECT_GT(tried, 100);
  EXPECT_GT(refused, tried / 2);
}

TEST(Damage, AMissingTableFileIsNamed) {
  const Image image(9, 10, /*flush=*/true);
  const std::string table = image.Largest(".sst");
  TestDir dir;
  image.Restore(dir.path());
  fs::remove(dir.path() + "/" + table);
  auto db = Database::Open(Options(dir.path()));
  ASSERT_FALSE(db.ok());
  EXPECT_EQ(db.error().code(), Code::kDataLoss) << db.error().ToString();
  EXPECT_NE(db.error().message().find(table), std::string::npos) << db.error().ToString();
}

TEST(Damage, ACutTableFileIsNamed) {
  const Image image(40, 100, /*flush=*/true);
  const std::string table = image.Largest(".sst");
  const std::string bytes = image.files().at(table);
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_TRUE(image.OpensRightOrRefuses(table, bytes.substr(0, size), table)) << size;
  }
}

}  // namespace
}  // namespace vellum::storage
