#include <algorithm>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "c1z/transfer.h"
#include "c1z/v1_rows.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using sync::Generation;
using sync::RecordType;
using sync::RecordView;
using sync::StoredRecord;

constexpr std::size_t kNamedCollisions = 10;

Status ForEachRecord(const Generation& generation, RecordType type,
                     const std::function<Status(const RecordView&)>& visit) {
  const auto cursor = generation.Scan(sync::RecordBucket(type));
  for (; cursor->valid(); cursor->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(cursor->key(), cursor->value()));
    VELLUM_TRY(visit(stored.view()));
  }
  return cursor->status();
}

std::uint64_t HashOf(const std::string& id) { return XXH3_64bits(id.data(), id.size()); }

/// Whether a v1 file's reader would make the same record of it: some of what a record says v1 has in two places.
bool ReadsBack(const RecordView& record, const Zone& zone) {
  // An hour that a zone's clocks show twice is lost.
  if (!zone.IsUtc() && zone.ToStamp(zone.FromStamp(record.discovered_at)) != record.discovered_at) return false;
  const auto message = ReadMessageIdentity(record.type, record.data);
  if (!message) return false;
  if (record.type == RecordType::kEntitlement && !message->type_id.empty() && !message->resource_id.empty()) {
    return message->type_id == record.type_id && message->resource_id == record.resource_id;
  }
  return record.type != RecordType::kGrant || !record.expansion.empty() ||
         record.data.find(kExpandable) == std::string_view::npos;
}

/// What v1 cannot hold of a sync: ids that it would use for more than one record of a type: hashes first (eight bytes a record), and a second pass only
/// over what they suspect.
class Unfit {
 public:
  explicit Unfit(const Zone* zone) : zone_(zone) {}

  Status Check(const Generation& generation, RecordType type) {
    std::vector<std::uint64_t> hashes;
    hashes.reserve(generation.info().records(type));
    VELLUM_TRY(ForEachRecord(generation, type, [&](const RecordView& record) {
      hashes.push_back(HashOf(V1ExternalId(record)));
      if (!ReadsBack(record, *zone_) && ++altered_ <= kNamedCollisions) {
        altered_named_.push_back(TableName(type) + " " + Printable(V1ExternalId(record)));
      }
      return Status();
    }));
    std::sort(hashes.begin(), hashes.end());
    std::vector<std::uint64_t> suspects;
    for (std::size_t i = 1; i < hashes.size(); ++i) {
      if (hashes[i] == hashes[i - 1] && (suspects.empty() || suspects.back() != hashes[i])) suspects.push_back(hashes[i]);
    }
    if (suspects.empty()) return {};
    std::map<std::string, std::uint64_t> seen;
    VELLUM_TRY(ForEachRecord(generation, type, [&](const RecordView& record) {
      const std::string id = V1ExternalId(record);
      if (std::binary_search(suspects.begin(), suspects.end(), HashOf(id))) ++seen[id];
      return Status();
    }));
    for (const auto& [id, records] : seen) {
      if (records < 2) continue;
      count_ += records;
      if (named_.size() < kNamedCollisions) {
        named_.push_back(TableName(type) + " " + Printable(id) + " (" + std::to_string(records) + " times)");
      }
    }
    return {};
  }

  Status Verdict(std::string_view sync_id) const {
    const std::string cannot = "sync " + Printable(sync_id) + " cannot be written as v1";
    if (count_ > 0) {
      return FailedPrecondition(cannot + ", which keeps records by id alone: " + std::to_string(count_) +
                                " records share an id with another. " + Joined(named_));
    }
    if (altered_ == 0) return {};
    return FailedPrecondition(cannot + ": " + std::to_string(altered_) +
                              " records would be read back as others (a message that is not protobuf, names another "
                              "resource or holds the expansion, or a stamp in the hour that " + zone_->name() +
                              " has twice). " + Joined(altered_named_));
  }

 private:
  static std::string TableName(RecordType type) {
    return std::string(sync::FindBucket(static_cast<std::uint8_t>(sync::RecordBucket(type)))->name);
  }
  static std::string Joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  const Zone* const zone_;
  std::uint64_t count_ = 0;
  std::vector<std::string> named_;
  std::uint64_t altered_ = 0;
  std::vector<std::string> altered_named_;
};

struct Exported {
  sync::SyncEntry entry;
  std::shared_ptr<const Generation> generation;
};

}  // namespace

Result<ExportReport> ExportFile(const sync::Store& store, const std::vector<std::string>& sync_ids, const std::string& path,
                                const WriteOptions& options, const sync::Work& work) {
  std::vector<Exported> exports;
  for (const std::string& id : sync_ids) {
    const auto named_before = [&id](const Exported& each) { return each.entry.run.id == id; };
    if (std::any_of(exports.begin(), exports.end(), named_before)) continue;
    VELLUM_ASSIGN_OR_RETURN(sync::SyncEntry entry, store.Get(id));
    VELLUM_ASSIGN_OR_RETURN(auto generation, store.OpenSync(id));
    Unfit unfit(&options.zone);
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      VELLUM_TRY(unfit.Check(*generation, static_cast<RecordType>(type)));
    }
    VELLUM_TRY(unfit.Verdict(id));
    exports.push_back({std::move(entry), std::move(generation)});
  }
  VELLUM_ASSIGN_OR_RETURN(const auto writer, V1Writer::Create(path, options));
  ExportReport report;
  for (const Exported& each : exports) {
    VELLUM_TRY(writer->BeginSync(each.entry.run));
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      VELLUM_TRY(ForEachRecord(*each.generation, static_cast<RecordType>(type), [&](const RecordView& record) -> Status {
        VELLUM_TRY(writer->Put(record));
        if (++report.records % 4096 != 0) return {};
        if (work.progress) work.progress(report.records);
        if (work.cancel != nullptr && work.cancel->load()) return Cancelled("the export was cancelled");
        return {};
      }));
    }
    VELLUM_TRY(store.ReadSessions(each.entry.run.id, [&writer](std::string_view key, std::string_view value) {
      return writer->PutSession({std::string(key), std::string(value)});
    }));
  }
  VELLUM_TRY(writer->Finish());
  report.bytes = writer->bytes();
  store.metrics().Exported(report.records);
  return report;
}

}  // namespace vellum::c1z
