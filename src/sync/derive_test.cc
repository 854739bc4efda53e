#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <tuple>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "sync/merge.h"
#include "sync/staging.h"
#include "sync/test_model.h"

/// Writing, merging and folding against a plain in-memory reference, which shares no code with codec or merge.
namespace vellum::sync {
namespace {

class Derive : public testing::Test {
 protected:
  MergeLimits Limits(const std::string& name) {
    MergeLimits limits;
    limits.scratch = Make(name + "-scratch");
    limits.file_bytes = 4096;  // many files
    limits.part_records = 20;  // and parts
    limits.threads = 3;
    limits.memory_bytes = 1 << 16;
    return limits;
  }

  std::shared_ptr<const Generation> AssembleAs(const std::string& name, Derived derived) {
    GenerationInfo info;
    info.id = name;
    info.operation = "test";
    info.totals = std::move(derived.totals);
    info.layers = derived.layers;
    info.dead_bytes = derived.dead_bytes;
    const Status assembled = Assemble(Path(name), std::move(derived.files), &info);
    EXPECT_TRUE(assembled.ok()) << assembled.ToString();
    auto opened = Generation::Open(Path(name), cache_, Generation::Check::kFiles);
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    return *opened;
  }

  /// A generation of random records and what it must hold. Later puts of an identity win.
  std::shared_ptr<const Generation> Write(const std::string& name, int records, Model* model) {
    Draws draws(&random_);
    auto staging = Staging::Create({Make(name + "-staging"), 1 << 16});
    EXPECT_TRUE(staging.ok());
    for (int i = 0; i < records; ++i) {
      const Fields fields = draws.Identity();
      const Content content = draws.Record(fields);
      EXPECT_TRUE(PutInto(staging->get(), fields, content).ok());
      (*model)[fields] = content;
    }
    auto derived = (*staging)->Seal(Limits(name));
    EXPECT_TRUE(derived.ok()) << derived.error().ToString();
    return AssembleAs(name, *std::move(derived));
  }

  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  std::string Make(const std::string& name) const {
    std::filesystem::create_directories(Path(name));
    return Path(name);
  }

  TestDir dir_;
  storage::TableCache cache_{8u << 20};
  std::mt19937_64 random_ = SeededRandom();
};

TEST_F(Derive, SealedIsWhatWasPut) {
  for (const int records : {0, 1, 30, 3000}) {
    Model model;
    const auto generation = Write("g" + std::to_string(records), records, &model);
    ExpectHolds(*generation, model);
  }
}

TEST_F(Derive, MergeAndFoldAgreeWithTheReference) {
  for (int round = 0; round < 12; ++round) {
    const std::string name = "r" + std::to_string(round);
    const int sources = 1 + static_cast<int>(random_() % 5);
    Model model;
    std::vector<std::shared_ptr<const Generation>> generations = {
        Write(name + "-base", static_cast<int>(random_() % 400), &model)};
    for (int i = 0; i < sources; ++i) {
      Model source;
      generations.push_back(Write(name + "-s" + std::to_string(i), static_cast<int>(random_() % 200), &source));
      MergeModel(&model, source);
    }
    auto merged = MergeGenerations(generations, Limits(name + "-merge"));
    ASSERT_TRUE(merged.ok()) << merged.error().ToString();
    const MergeStats merge_stats = merged->stats;
    const auto by_merge = AssembleAs(name + "-merged", *std::move(merged));
    ExpectHolds(*by_merge, model);

    const std::vector<std::shared_ptr<const Generation>> partials(generations.begin() + 1, generations.end());
    auto folded = FoldIntoGeneration(generations[0], partials, Limits(name + "-fold"));
    ASSERT_TRUE(folded.ok()) << folded.error().ToString();
    const MergeStats fold_stats = folded->stats;
    const auto by_fold = AssembleAs(name + "-folded", *std::move(folded));
    ExpectHolds(*by_fold, model);
    EXPECT_EQ(by_merge->info().Digest(), by_fold->info().Digest());
    for (int type = 0; type < kRecordTypes; ++type) {
      const auto& m = merge_stats[static_cast<std::size_t>(type)];
      const auto& f = fold_stats[static_cast<std::size_t>(type)];
      EXPECT_EQ(std::tie(m.added, m.replaced, m.kept, m.unchanged), std::tie(f.added, f.replaced, f.kept, f.unchanged));
    }

    // A fold on a fold, and a rewrite of it, hold the same.
    Model more;
    const auto extra = Write(name + "-extra", 100, &more);
    MergeModel(&model, more);
    auto twice = FoldIntoGeneration(by_fold, {extra}, Limits(name + "-twice"));
    ASSERT_TRUE(twice.ok()) << twice.error().ToString();
    const auto by_two_folds = AssembleAs(name + "-two", *std::move(twice));
    ExpectHolds(*by_two_folds, model);
    auto rewritten = MergeGenerations({by_two_folds}, Limits(name + "-rewrite"));
    ASSERT_TRUE(rewritten.ok());
    ExpectHolds(*AssembleAs(name + "-rewritten", *std::move(rewritten)), model);
    // The inputs' bytes have not changed.
    for (const auto& input : generations) {
      EXPECT_TRUE(Generation::Open(input->path(), cache_, Generation::Check::kFiles).ok());
    }
  }
}

TEST_F(Derive, ResumeGoesOnFromTheCheckpoint) {
  Draws draws(&random_);
  Model model;
  const std::string directory = Make("resumed");
  {
    auto staging = Staging::Create({directory, 1 << 16});
    ASSERT_TRUE(staging.ok());
    for (int i = 0; i < 500; ++i) {
      const Fields fields = draws.Identity();
      const Content content = draws.Record(fields);
      ASSERT_TRUE(PutInto(staging->get(), fields, content).ok());
      model[fields] = content;
    }
    ASSERT_TRUE((*staging)->Checkpoint("page 5").ok());
    for (int i = 0; i < 500; ++i) {  // lost: put after the checkpoint
      const Fields fields = draws.Identity();
      ASSERT_TRUE(PutInto(staging->get(), fields, draws.Record(fields)).ok());
    }
  }
  EXPECT_EQ(Staging::Create({directory, 1 << 16}).error().code(), Code::kFailedPrecondition);
  auto staging = Staging::Resume({directory, 1 << 16});
  ASSERT_TRUE(staging.ok()) << staging.error().ToString();
  EXPECT_EQ((*staging)->token(), "page 5");
  EXPECT_EQ((*staging)->records(), 500u);
  for (int i = 0; i < 300; ++i) {
    const Fields fields = draws.Identity();
    const Content content = draws.Record(fields);
    ASSERT_TRUE(PutInto(staging->get(), fields, content).ok());
    model[fields] = content;
  }
  auto derived = (*staging)->Seal(Limits("resumed"));
  ASSERT_TRUE(derived.ok()) << derived.error().ToString();
  ExpectHolds(*AssembleAs("resumed-sealed", *std::move(derived)), model);
}

TEST_F(Derive, CancelStopsAMerge) {
  Model model;
  const auto generation = Write("base", 20000, &model);
  std::atomic<bool> cancel{true};
  MergeLimits limits = Limits("cancelled");
  limits.cancel = &cancel;
  EXPECT_EQ(MergeGenerations({generation}, limits).error().code(), Code::kCancelled);
}

TEST_F(Derive, DamageIsNoticed) {
  Model model;
  const auto generation = Write("damaged", 300, &model);
  const std::string file = generation->FilePath(generation->info().files.front());
  std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  {
    std::FILE* const raw = std::fopen(file.c_str(), "r+b");
    ASSERT_NE(raw, nullptr);
    std::fseek(raw, 10, SEEK_SET);
    std::fputc(0x5A, raw);
    std::fclose(raw);
  }
  const auto reopened = Generation::Open(generation->path(), cache_, Generation::Check::kFiles);
  EXPECT_EQ(reopened.error().code(), Code::kDataLoss);
  EXPECT_NE(reopened.error().message().find(file), std::string::npos);
  std::filesystem::remove(file);
  EXPECT_EQ(Generation::Open(generation->path(), cache_).error().code(), Code::kDataLoss);
}

/// Whatever byte of a table file is damaged, taking it over is refused or harmless: RocksDB alone would hide the records of
/// one whose first block is damaged, and end the process over the last.
TEST_F(Derive, ADamagedFileIsNotTakenOver) {
  const std::string path = Path("table.sst");
  auto writer = storage::TableWriter::Create(path);
  ASSERT_TRUE(writer.ok());
  for (int i = 0; i < 3000; ++i) {
    char key[16];
    std::snprintf(key, sizeof key, "%08d", i);
    std::string value(50, 'v');
    for (char& byte : value) byte = static_cast<char>(random_());
    ASSERT_TRUE((*writer)->Put(key, value).ok());
  }
  const auto info = (*writer)->Finish();
  ASSERT_TRUE(info.ok());
  std::ifstream in(path, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  int refused = 0;
  for (std::size_t at = 10; at < whole.size(); at += whole.size() / 64) {
    SCOPED_TRACE("byte " + std::to_string(at) + " of " + std::to_string(whole.size()));
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    const std::string name = "damaged" + std::to_string(at);
    std::ofstream(Path(name)) << damaged;
    const auto built = storage::TableDirectory::Build(Path(name + "-taken"), {{Path(name)}});
    if (built.ok()) continue;  // a block in the middle: whoever reads it finds out
    EXPECT_EQ(built.error().code(), Code::kDataLoss) << built.error().ToString();
    ++refused;
  }
  EXPECT_GE(refused, 2);
  EXPECT_TRUE(storage::TableDirectory::Build(Path("taken"), {{path}}).ok());
}

}  // namespace
}  // namespace vellum::sync
