#pragma once

#include <gtest/gtest.h>
#include <zstd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "c1z/record_json.h"
#include "sync/codec.h"
#include "sync/generation.h"

/// The fixtures' dumps, and records in the same form. For tests.
namespace vellum::c1z {

using nlohmann::json;
using sync::RecordType;

inline std::string Fixture(const std::string& name) { return std::string(VELLUM_FIXTURES) + "/c1z/" + name; }

inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline std::string Unzstd(const std::string& path) {
  const std::string packed = ReadAll(path);
  std::string text(64u << 20, '\0');
  const std::size_t size = ZSTD_decompress(text.data(), text.size(), packed.data(), packed.size());
  EXPECT_FALSE(ZSTD_isError(size)) << path;
  text.resize(ZSTD_isError(size) ? 0 : size);
  return text;
}

/// Records by (bucket, id), as dumps have them.
using Dump = std::map<std::string, json>;

inline std::string KeyOf(const std::string& bucket, const json& id) { return bucket + " " + id.dump(); }

/// The lines of a dump that are records of one sync (empty: of any), without assets if so asked.
inline Dump ReadDump(const std::string& path, const std::string& sync, bool assets) {
  Dump dump;
  std::istringstream lines(Unzstd(path));
  for (std::string line; std::getline(lines, line);) {
    json object = json::parse(line);
    const std::string bucket = object["bucket"];
    if (bucket == "sync_run" || (!assets && bucket == "asset") || (!sync.empty() && object["sync"] != sync)) continue;
    object.erase("data_sha256");
    object.erase("sync");
    dump[KeyOf(bucket, object["id"])] = object;
  }
  return dump;
}

inline json ToDumpLine(const sync::RecordView& record) {
  json line;
  line["bucket"] = RecordTypeName(record.type);
  line["id"] = RecordId(record);
  if (record.discovered_at != 0) line["discovered_at"] = record.discovered_at;
  auto fields = RecordFields(record);
  EXPECT_TRUE(fields.ok()) << fields.error().ToString();
  line["rec"] = *std::move(fields);
  if (record.type == RecordType::kAsset) {  // in dumps these are never left out
    line["rec"].emplace("content_type", "");
    line["rec"].emplace("size", 0);
  }
  return line;
}

inline Dump DumpGeneration(const sync::Generation& generation, bool assets) {
  Dump dump;
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    if (static_cast<RecordType>(type) == RecordType::kAsset && !assets) continue;
    const auto cursor = generation.Scan(sync::RecordBucket(static_cast<RecordType>(type)));
    for (; cursor->valid(); cursor->Next()) {
      const auto stored = sync::StoredRecord::Parse(cursor->key(), cursor->value());
      EXPECT_TRUE(stored.ok());
      json line = ToDumpLine(stored->view());
      const std::string key = KeyOf(line["bucket"], line["id"]);
      dump[key] = std::move(line);
    }
  }
  return dump;
}

inline void ExpectEqual(const Dump& actual, const Dump& expected) {
  int shown = 0;
  for (const auto& [key, line] : expected) {
    const auto found = actual.find(key);
    if (found == actual.end()) {
      if (++shown <= 5) ADD_FAILURE() << "missing " << key;
      continue;
    }
    json wanted = line;
    if (wanted.contains("discovered_at") && wanted["discovered_at"] == 0) wanted.erase("discovered_at");
    if (found->second != wanted && ++shown <= 5) ADD_FAILURE() << found->second.dump() << "\nexpected\n" << wanted.dump();
  }
  for (const auto& [key, line] : actual) {
    if (!expected.contains(key) && ++shown <= 5) ADD_FAILURE() << "unexpected " << key;
  }
}

}  // namespace vellum::c1z
