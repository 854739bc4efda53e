#include "storage/tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "storage/fault_file_system.h"

namespace vellum::storage {
namespace {

std::string RandomKey(std::mt19937_64& random) { return "key" + std::to_string(random() % 3000); }

/// Writes one table file; nullopt deletes.
void WriteTable(const std::string& path, const std::map<std::string, std::optional<std::string>>& records,
                const std::shared_ptr<FileSystem>& files) {
  TableOptions options;
  options.block_bytes = 512;  // so that there are many
  auto writer = TableWriter::Create(path, options, files);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  for (const auto& [key, value] : records) {
    ASSERT_TRUE((value ? (*writer)->Put(key, *value) : (*writer)->Delete(key)).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
}

/// A directory of a base and `overlays` layers, and what it has.
std::shared_ptr<TableDirectory> MakeLayers(const std::string& path, const TableCache& cache, int overlays,
                                           std::mt19937_64& random, std::map<std::string, std::string>* model,
                                           const std::shared_ptr<FileSystem>& files = nullptr) {
  std::vector<std::vector<std::string>> layers;
  for (int layer = 0; layer <= overlays; ++layer) {
    std::map<std::string, std::optional<std::string>> records;
    for (int i = 0; i < (layer == 0 ? 2000 : 150); ++i) {
      std::string key = RandomKey(random);
      if (layer > 0 && random() % 3 == 0) {
        records[key] = std::nullopt;
        model->erase(key);
      } else {
        const std::string value = std::to_string(layer) + std::string(random() % 200, 'v');
        records[key] = value;
        (*model)[key] = value;
      }
    }
    layers.push_back({path + "-" + std::to_string(layer) + ".sst"});
    WriteTable(layers.back().front(), records, files);
  }
  EXPECT_TRUE(TableDirectory::Build(path, layers, files).ok());
  auto directory = TableDirectory::Open(path, cache, files);
  EXPECT_TRUE(directory.ok()) << directory.error().ToString();
  return directory.ok() ? *directory : nullptr;
}

TEST(Tables, ManyKeysAtOnceAsOneByOne) {
  auto random = SeededRandom();
  for (int overlays = 0; overlays < 4; ++overlays) {
    TestDir dir;
    const TableCache cache(1u << 20);
    std::map<std::string, std::string> model;
    auto directory = MakeLayers(dir.path() + "/tables", cache, overlays, random, &model);
    ASSERT_TRUE(directory != nullptr);
    TableValues values;
    for (int round = 0; round < 60; ++round) {
      std::vector<std::string> wanted(random() % 100);
      for (std::string& key : wanted) key = random() % 10 == 0 ? "elsewhere" : RandomKey(random);
      if (round % 2 == 0) std::sort(wanted.begin(), wanted.end());
      const std::vector<std::string_view> keys(wanted.begin(), wanted.end());
      directory->GetMany(keys, &values);
      for (std::size_t i = 0; i < keys.size(); ++i) {
        const auto found = values.at(i);
        ASSERT_TRUE(found.ok()) << found.error().ToString();
        const auto alone = directory->Get(keys[i]);
        ASSERT_TRUE(alone.ok());
        EXPECT_EQ(found->value_or("none"), std::string_view(alone->value_or("none"))) << keys[i];
        const auto expected = model.find(wanted[i]);
        EXPECT_EQ(found->value_or("none"), expected == model.end() ? "none" : expected->second) << keys[i];
      }
    }
    // They keep what they lead into.
    const std::string key = model.begin()->first;
    directory->GetMany({key}, &values);
    directory.reset();
    EXPECT_EQ(**values.at(0), model.begin()->second);
  }
}

TEST(Tables, OfManyKeysOnlyThoseFailWhoseBlockDoes) {
  auto random = SeededRandom();
  TestDir dir;
  const auto faults = FaultFileSystem::Create();
  const TableCache cache(1u << 20);
  std::map<std::string, std::string> model;
  const auto directory = MakeLayers(dir.path() + "/tables", cache, 0, random, &model, faults->file_system());
  ASSERT_TRUE(directory != nullptr);
  std::vector<std::string_view> keys;
  for (const auto& [key, value] : model) {
    if (random() % 40 == 0) keys.push_back(key);
  }
  TableValues values;
  for (const bool broken : {true, false}) {
    if (broken) faults->Inject({.operation = FaultFileSystem::Operation::kRead, .nth = 3, .forever = false});
    directory->GetMany(keys, &values);
    std::size_t failed = 0;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto found = values.at(i);
      if (!found.ok()) {
        ++failed;
        EXPECT_EQ(found.error().code(), Code::kInternal) << found.error().ToString();
      } else {
        EXPECT_EQ(found->value_or("none"), model.at(std::string(keys[i])));
      }
    }
    EXPECT_EQ(failed > 0, broken);
    EXPECT_LT(failed, keys.size());
    faults->ClearFault();
  }
}

}  // namespace
}  // namespace vellum::storage
