#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>
#include <tuple>

#include "base/test_random.h"
#include "sync/codec.h"
#include "sync/merge.h"
#include "sync/staging.h"

/// Writing, merging and folding against a plain in-memory reference, which shares no code with codec or merge.
namespace vellum::sync {
namespace {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() {
    std::string path = (fs::temp_directory_path() / "vellum-derive-XXXXXX").string();
    path_ = ::mkdtemp(path.data());
  }
  ~TempDir() { fs::remove_all(path_); }
  std::string Make(const std::string& name) const {
    const std::string path = path_ + "/" + name;
    fs::create_directories(path);
    return path;
  }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// One record of the reference, fields as a connector names them.
struct Fields {
  RecordType type = RecordType::kGrant;
  std::string a, b, c, d, e;  ///< The identity's parts, in the order RecordView lists them.
  auto operator<=>(const Fields&) const = default;
};
struct Content {
  Stamp stamp = 0;
  std::string id;  ///< A grant's own id.
  std::string parent_type, parent;
  std::string payload;
  std::string expansion;
  bool needs_expansion = false;
  auto operator<=>(const Content&) const = default;
};
using Model = std::map<Fields, Content>;

void AppendField(std::string* out, int number, std::string_view bytes) {
  out->push_back(static_cast<char>(number << 3 | 2));
  std::size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) out->push_back(static_cast<char>(size | 0x80));
  out->push_back(static_cast<char>(size));
  out->append(bytes);
}

/// A resource's message with its parent; others: just the payload in field 3.
std::string Message(const Fields& fields, const Content& content) {
  std::string message;
  if (fields.type == RecordType::kResource && !content.parent.empty()) {
    std::string parent;
    AppendField(&parent, 1, content.parent_type);
    AppendField(&parent, 2, content.parent);
    AppendField(&message, 2, parent);
  }
  AppendField(&message, 3, content.payload);
  return message;
}

void PutInto(RecordSink* sink, const Fields& fields, const Content& content) {
  RecordView record;
  record.type = fields.type;
  record.discovered_at = content.stamp;
  const std::string message = Message(fields, content);
  record.data = message;
  record.expansion = content.expansion;
  record.needs_expansion = content.needs_expansion;
  switch (fields.type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: record.id = fields.a; break;
    case RecordType::kResource:
      record.type_id = fields.a;
      record.id = fields.b;
      break;
    case RecordType::kEntitlement:
      record.type_id = fields.a;
      record.resource_id = fields.b;
      record.id = fields.c;
      break;
    case RecordType::kGrant:
      record.type_id = fields.a;
      record.resource_id = fields.b;
      record.entitlement_id = fields.c;
      record.principal_type_id = fields.d;
      record.principal_id = fields.e;
      record.id = content.id;
      break;
  }
  ASSERT_TRUE(sink->Put(record).ok());
}

class Draws {
 public:
  explicit Draws(std::mt19937_64* random) : random_(*random) {}

  Fields Identity() {
    Fields fields;
    fields.type = static_cast<RecordType>(random_() % kRecordTypes);
    fields.a = Name();
    if (fields.type == RecordType::kResource || fields.type == RecordType::kEntitlement || fields.type == RecordType::kGrant) {
      fields.b = Name();
    }
    if (fields.type == RecordType::kEntitlement || fields.type == RecordType::kGrant) {
      fields.c = random_() % 2 ? fields.a + ":" + fields.b + ":" + Name() : Name();
    }
    if (fields.type == RecordType::kGrant) {
      fields.d = Name();
      fields.e = Name();
    }
    return fields;
  }

  Content Record(const Fields& fields) {
    Content content;
    content.stamp = random_() % 4;
    content.payload = std::string(random_() % 50 == 0 ? 100000 : random_() % 6, static_cast<char>('a' + random_() % 3));
    if (fields.type == RecordType::kResource && random_() % 2) {
      content.parent_type = Name();
      content.parent = Name();
    }
    if (fields.type == RecordType::kGrant) {
      content.id = random_() % 2 ? Name() : fields.c + ":" + fields.d + ":" + fields.e;
      content.needs_expansion = random_() % 2;
      content.expansion = random_() % 2 ? "x" : "";
    }
    return content;
  }

 private:
  std::string Name() {
    static const std::vector<std::string> kNames = {"user", "user2", "a:b", std::string("a\0", 2), "\xFF\x01", ":"};
    return kNames[random_() % kNames.size()];
  }
  std::mt19937_64& random_;
};

class Derive : public testing::Test {
 protected:
  MergeLimits Limits(const std::string& name) {
    MergeLimits limits;
    limits.scratch = dir_.Make(name + "-scratch");
    limits.file_bytes = 4096;  // many files
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
    const Status assembled = Assemble(dir_.Path(name), std::move(derived.files), &info);
    EXPECT_TRUE(assembled.ok()) << assembled.ToString();
    auto opened = Generation::Open(dir_.Path(name), cache_, Generation::Check::kFiles);
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    return *opened;
  }

  /// A generation of random records and what it must hold. Later puts of an identity win.
  std::shared_ptr<const Generation> Write(const std::string& name, int records, Model* model) {
    Draws draws(&random_);
    auto staging = Staging::Create({dir_.Make(name + "-staging"), 1 << 16});
    EXPECT_TRUE(staging.ok());
    for (int i = 0; i < records; ++i) {
      const Fields fields = draws.Identity();
      const Content content = draws.Record(fields);
      PutInto(staging->get(), fields, content);
      (*model)[fields] = content;
    }
    auto derived = (*staging)->Seal(Limits(name));
    EXPECT_TRUE(derived.ok()) << derived.error().ToString();
    return AssembleAs(name, *std::move(derived));
  }

  /// The reference's rules: strictly newer replaces, ties and absence keep, new ones are added, assets stay out.
  static void MergeModel(Model* into, const Model& source) {
    for (const auto& [fields, content] : source) {
      if (fields.type == RecordType::kAsset) continue;
      const auto found = into->find(fields);
      if (found == into->end()) {
        into->emplace(fields, content);
      } else if (content.stamp > found->second.stamp) {
        found->second = content;
      }
    }
  }

  void ExpectHolds(const Generation& generation, const Model& model) {
    Model read;
    std::vector<std::string> index_keys;
    std::map<Bucket, Totals> totals;
    for (const BucketInfo& bucket : kBuckets) {
      if (bucket.index) continue;
      const auto cursor = generation.Scan(bucket.bucket);
      for (; cursor->valid(); cursor->Next()) {
        const auto stored = StoredRecord::Parse(cursor->key(), cursor->value());
        ASSERT_TRUE(stored.ok());
        const RecordView record = stored->view();
        ReadBack(record, &read);
        totals[bucket.bucket].Add(bucket, cursor->key(), cursor->value());
        ASSERT_TRUE(ForEachIndexKey(cursor->key(), cursor->value(), [&](Bucket, std::string_view key) {
                      index_keys.emplace_back(key);
                    }).ok());
      }
      ASSERT_TRUE(cursor->status().ok());
    }
    EXPECT_EQ(read.size(), model.size());
    EXPECT_TRUE(read == model);
    // Indexes equal a rebuild, byte for byte, and GENERATION counts what is there.
    std::sort(index_keys.begin(), index_keys.end());
    std::vector<std::string> stored_keys;
    for (const BucketInfo& bucket : kBuckets) {
      if (!bucket.index) continue;
      for (const auto cursor = generation.Scan(bucket.bucket); cursor->valid(); cursor->Next()) {
        stored_keys.emplace_back(cursor->key());
        EXPECT_EQ(cursor->value(), "");
        totals[bucket.bucket].Add(bucket, cursor->key(), cursor->value());
      }
    }
    EXPECT_TRUE(index_keys == stored_keys);
    for (const BucketInfo& bucket : kBuckets) {
      const auto counted = generation.info().totals.find(bucket.bucket);
      const Totals said = counted == generation.info().totals.end() ? Totals{} : counted->second;
      EXPECT_EQ(said.records, totals[bucket.bucket].records) << bucket.name;
      EXPECT_EQ(said.bytes, totals[bucket.bucket].bytes) << bucket.name;
      EXPECT_EQ(said.digest, totals[bucket.bucket].digest) << bucket.name;
      EXPECT_EQ(said.digest_unstamped, totals[bucket.bucket].digest_unstamped) << bucket.name;
    }
  }

  static void ReadBack(const RecordView& record, Model* model) {
    Fields fields;
    fields.type = record.type;
    Content content;
    content.stamp = record.discovered_at;
    switch (record.type) {
      case RecordType::kResourceType:
      case RecordType::kAsset: fields.a = record.id; break;
      case RecordType::kResource:
        fields.a = record.type_id;
        fields.b = record.id;
        content.parent_type = record.parent_type_id;
        content.parent = record.parent_id;
        break;
      case RecordType::kEntitlement:
        fields.a = record.type_id;
        fields.b = record.resource_id;
        fields.c = record.id;
        break;
      case RecordType::kGrant:
        fields.a = record.type_id;
        fields.b = record.resource_id;
        fields.c = record.entitlement_id;
        fields.d = record.principal_type_id;
        fields.e = record.principal_id;
        content.id = record.id;
        content.needs_expansion = record.needs_expansion;
        content.expansion = record.expansion;
        break;
    }
    // The payload is what Message put last, behind a length of one to three bytes.
    const std::size_t without = Message(fields, content).size() - 1;
    for (std::size_t length_bytes = 1; length_bytes <= 3 && without + length_bytes <= record.data.size(); ++length_bytes) {
      content.payload.assign(record.data.substr(without + length_bytes));
      if (Message(fields, content) == record.data) break;
    }
    EXPECT_TRUE(model->emplace(fields, content).second) << "an identity occurs twice";
  }

  TempDir dir_;
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
  const std::string directory = dir_.Make("resumed");
  {
    auto staging = Staging::Create({directory, 1 << 16});
    ASSERT_TRUE(staging.ok());
    for (int i = 0; i < 500; ++i) {
      const Fields fields = draws.Identity();
      const Content content = draws.Record(fields);
      PutInto(staging->get(), fields, content);
      model[fields] = content;
    }
    ASSERT_TRUE((*staging)->Checkpoint("page 5").ok());
    for (int i = 0; i < 500; ++i) {  // lost: put after the checkpoint
      const Fields fields = draws.Identity();
      PutInto(staging->get(), fields, draws.Record(fields));
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
    PutInto(staging->get(), fields, content);
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
  fs::permissions(file, fs::perms::owner_all);
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
  fs::remove(file);
  EXPECT_EQ(Generation::Open(generation->path(), cache_).error().code(), Code::kDataLoss);
}

}  // namespace
}  // namespace vellum::sync
