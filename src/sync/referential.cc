#include "sync/referential.h"

#include <array>

#include "base/bytes.h"
#include "sync/codec.h"

namespace vellum::sync {
namespace {

/// Every key of `child`, without its bucket byte, must begin with a key of `named`, without its. The encoding of identities is
/// such that none is a prefix of another, so the two buckets can be walked side by side.
struct Rule {
  std::string_view text;
  Bucket child;
  Bucket named;
};

constexpr std::array<Rule, 6> kRules = {{
    {"grants without their entitlement", Bucket::kGrant, Bucket::kEntitlement},
    {"grants without their entitlement's resource", Bucket::kGrant, Bucket::kResource},
    {"grants without their principal", Bucket::kGrantByPrincipal, Bucket::kResource},
    {"entitlements without their resource", Bucket::kEntitlement, Bucket::kResource},
    {"resources without their resource type", Bucket::kResource, Bucket::kResourceType},
    {"resources without their parent", Bucket::kResourceByParent, Bucket::kResource},
}};

/// A record by its identity, for people.
std::string Name(std::string_view record_key) {
  const auto key = DecodedKey::Parse(record_key);
  if (!key.ok()) return Printable(record_key);
  RecordView record;
  record.type = key->type();
  key->FillIdentity(&record);
  const auto joined = [](std::string_view a, std::string_view b) { return Printable(std::string(a) + ":" + std::string(b)); };
  switch (record.type) {
    case RecordType::kResource: return joined(record.type_id, record.id);
    case RecordType::kEntitlement: return Printable(record.id) + " on " + joined(record.type_id, record.resource_id);
    case RecordType::kGrant:
      return Printable(record.entitlement_id) + " on " + joined(record.type_id, record.resource_id) + " for " +
             joined(record.principal_type_id, record.principal_id);
    default: return Printable(record.id);
  }
}

Status Walk(const Generation& generation, const Rule& rule, const Work& work, std::uint64_t* seen, Finding* finding) {
  const auto child = generation.Scan(rule.child);
  const auto named = generation.Scan(rule.named);
  for (; child->valid(); child->Next()) {
    const std::string_view key = child->key().substr(1);
    while (named->valid() && named->key().substr(1) < key && !key.starts_with(named->key().substr(1))) named->Next();
    if (!named->valid() || !key.starts_with(named->key().substr(1))) {
      if (++finding->count <= Finding::kNamedMax) {
        const bool index = FindBucket(static_cast<std::uint8_t>(rule.child))->index;
        const auto record_key = index ? IndexedRecordKey(child->key()) : Result<std::string>(std::string(child->key()));
        finding->first.push_back(record_key.ok() ? Name(*record_key) : Printable(child->key()));
      }
    }
    if (++*seen % 4096 != 0) continue;
    if (work.progress) work.progress(*seen);
    if (work.cancel != nullptr && work.cancel->load()) return Cancelled("verifying was cancelled");
  }
  VELLUM_TRY(child->status());
  return named->status();
}

}  // namespace

Result<std::vector<Finding>> FindDangling(const Generation& generation, const Work& work) {
  std::vector<Finding> findings;
  std::uint64_t seen = generation.info().records();
  for (const Rule& rule : kRules) {
    Finding finding;
    finding.rule = rule.text;
    VELLUM_TRY(Walk(generation, rule, work, &seen, &finding));
    if (finding.count > 0) findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace vellum::sync
