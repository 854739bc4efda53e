#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sync/codec.h"
#include "sync/generation.h"

/// For tests: what a sync holds as a plain map, and the rules of merging on it. It shares no code with codec or merge.
namespace vellum::sync {

/// An identity, its parts as a connector names them, in the order in which RecordView lists them.
struct Fields {
  RecordType type = RecordType::kGrant;
  std::string a, b, c, d, e;
  auto operator<=>(const Fields&) const = default;
};
struct Content {
  Stamp stamp = 0;
  std::string id;  ///< A grant's own id.
  std::string parent_type, parent;
  std::string payload;
  std::string expansion;
  std::string content_type;
  bool needs_expansion = false;
  bool slim = false;
  auto operator<=>(const Content&) const = default;
};
using Model = std::map<Fields, Content>;

/// Where a record keeps the parts of its identity.
struct IdentityPart {
  std::string_view RecordView::* view;
  std::string Fields::* field;
};
inline std::vector<IdentityPart> IdentityParts(RecordType type) {
  switch (type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: return {{&RecordView::id, &Fields::a}};
    case RecordType::kResource: return {{&RecordView::type_id, &Fields::a}, {&RecordView::id, &Fields::b}};
    case RecordType::kEntitlement:
      return {{&RecordView::type_id, &Fields::a}, {&RecordView::resource_id, &Fields::b}, {&RecordView::id, &Fields::c}};
    case RecordType::kGrant:
      return {{&RecordView::type_id, &Fields::a},
              {&RecordView::resource_id, &Fields::b},
              {&RecordView::entitlement_id, &Fields::c},
              {&RecordView::principal_type_id, &Fields::d},
              {&RecordView::principal_id, &Fields::e}};
  }
  return {};
}

inline void AppendField(std::string* out, int number, std::string_view bytes) {
  out->push_back(static_cast<char>(number << 3 | 2));
  std::size_t size = bytes.size();
  for (; size >= 0x80; size >>= 7) out->push_back(static_cast<char>(size | 0x80));
  out->push_back(static_cast<char>(size));
  out->append(bytes);
}

/// A resource's message with its parent; others: just the payload in field 3.
inline std::string Message(const Fields& fields, const Content& content) {
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

inline Status PutInto(RecordSink* sink, const Fields& fields, const Content& content) {
  RecordView record;
  record.type = fields.type;
  record.discovered_at = content.stamp;
  record.id = content.id;
  for (const IdentityPart& part : IdentityParts(fields.type)) record.*part.view = fields.*part.field;
  const std::string message = Message(fields, content);
  record.data = message;
  record.expansion = content.expansion;
  record.needs_expansion = content.needs_expansion;
  record.content_type = content.content_type;
  record.slim = content.slim;
  return sink->Put(record);
}

/// A stored record as an entry of a model.
inline Model::value_type ReadBack(const RecordView& record) {
  Fields fields;
  fields.type = record.type;
  for (const IdentityPart& part : IdentityParts(record.type)) (fields.*part.field).assign(record.*part.view);
  Content content;
  content.stamp = record.discovered_at;
  if (record.type == RecordType::kGrant) content.id = record.id;
  content.parent_type = record.parent_type_id;
  content.parent = record.parent_id;
  content.expansion = record.expansion;
  content.needs_expansion = record.needs_expansion;
  content.content_type = record.content_type;
  content.slim = record.slim;
  // The payload is what Message put last, behind a length of one to four bytes.
  const std::size_t without = Message(fields, content).size() - 1;
  for (std::size_t length_bytes = 1; length_bytes <= 4 && without + length_bytes <= record.data.size(); ++length_bytes) {
    content.payload.assign(record.data.substr(without + length_bytes));
    if (Message(fields, content) == record.data) break;
  }
  return {fields, content};
}

/// Draws few identities, so that they collide, of odd strings; equal and absent stamps; now and then a huge value.
class Draws {
 public:
  explicit Draws(std::mt19937_64* random) : random_(*random) {}

  Fields Identity() {
    Fields fields;
    fields.type = static_cast<RecordType>(random_() % kRecordTypes);
    for (const IdentityPart& part : IdentityParts(fields.type)) fields.*part.field = Name();
    const bool has_entitlement = fields.type == RecordType::kEntitlement || fields.type == RecordType::kGrant;
    if (has_entitlement && random_() % 2) fields.c = fields.a + ":" + fields.b + ":" + fields.c;
    return fields;
  }

  Content Record(const Fields& fields) {
    Content content;
    content.stamp = random_() % 4;
    content.payload = std::string(random_() % 6, static_cast<char>('a' + random_() % 3));
    if (random_() % 50 == 0) content.payload.assign(100000, 'h');
    if (random_() % 2000 == 0) content.payload.assign(3u << 20, 'H');
    if (fields.type == RecordType::kResource && random_() % 2) {
      content.parent_type = Name();
      content.parent = Name();
    }
    if (fields.type == RecordType::kAsset && random_() % 2) content.content_type = Name();
    if (fields.type == RecordType::kGrant) {
      content.id = random_() % 2 ? Name() : fields.c + ":" + fields.d + ":" + fields.e;
      content.needs_expansion = random_() % 2;
      content.expansion = random_() % 2 ? Name() : "";
      content.slim = random_() % 4 == 0;
    }
    return content;
  }

 private:
  std::string Name() {
    using namespace std::string_literals;
    static const std::vector<std::string> kNames = {"user",     "user2", "a:b", "a\0"s,  "a\0\xFF"s, "\xFF\x01",
                                                    "\xFF\xFF", ":",     "\0"s, "\x01", "user\0"s,  "a\x01"};
    return kNames[random_() % kNames.size()];
  }
  std::mt19937_64& random_;
};

/// The rules: strictly newer replaces, ties and absence keep, new ones are added, assets stay out.
inline void MergeModel(Model* into, const Model& source) {
  for (const auto& [fields, content] : source) {
    if (fields.type == RecordType::kAsset) continue;
    const auto [found, is_new] = into->emplace(fields, content);
    if (!is_new && content.stamp > found->second.stamp) found->second = content;
  }
}

/// The generation holds the model's records and no other; its indexes equal a rebuild byte for byte; GENERATION counts
/// and digests what is there.
inline void ExpectHolds(const Generation& generation, const Model& model) {
  Model read;
  std::vector<std::string> implied;
  std::vector<std::string> indexed;
  for (const BucketInfo& bucket : kBuckets) {
    Totals totals;
    const auto cursor = generation.Scan(bucket.bucket);
    for (; cursor->valid(); cursor->Next()) {
      totals.Add(bucket, cursor->key(), cursor->value());
      if (bucket.index) {
        indexed.emplace_back(cursor->key());
        EXPECT_EQ(cursor->value(), "");
        continue;
      }
      const auto stored = StoredRecord::Parse(cursor->key(), cursor->value());
      ASSERT_TRUE(stored.ok()) << stored.error().ToString();
      EXPECT_TRUE(read.insert(ReadBack(stored->view())).second) << "an identity occurs twice";
      ASSERT_TRUE(ForEachIndexKey(cursor->key(), cursor->value(), [&implied](Bucket, std::string_view key) {
                    implied.emplace_back(key);
                  }).ok());
    }
    ASSERT_TRUE(cursor->status().ok()) << cursor->status().ToString();
    const auto counted = generation.info().totals.find(bucket.bucket);
    const Totals said = counted == generation.info().totals.end() ? Totals{} : counted->second;
    EXPECT_EQ(said.records, totals.records) << bucket.name;
    EXPECT_EQ(said.bytes, totals.bytes) << bucket.name;
    EXPECT_EQ(said.digest, totals.digest) << bucket.name;
    EXPECT_EQ(said.digest_unstamped, totals.digest_unstamped) << bucket.name;
  }
  EXPECT_EQ(read.size(), model.size());
  EXPECT_TRUE(read == model);
  std::sort(implied.begin(), implied.end());
  EXPECT_TRUE(implied == indexed);
}

}  // namespace vellum::sync
