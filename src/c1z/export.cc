#include <algorithm>

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

Status ForEachRecord(const Generation& generation, RecordType type,
                     const std::function<Status(const RecordView&)>& visit) {
  const auto cursor = generation.Scan(sync::RecordBucket(type));
  for (; cursor->valid(); cursor->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(cursor->key(), cursor->value()));
    VELLUM_TRY(visit(stored.view()));
  }
  return cursor->status();
}

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

/// What v1 cannot hold of a sync: records that would be read back as others, and ids that it would use for more than
/// one record of a type.
class Unfit {
 public:
  explicit Unfit(const Zone* zone) : zone_(zone) {}

  void Check(const RecordView& record) {
    if (ReadsBack(record, *zone_) || ++altered_ > kNamed) return;
    const auto bucket = static_cast<std::uint8_t>(sync::RecordBucket(record.type));
    named_.push_back(std::string(sync::FindBucket(bucket)->name) + " " + Printable(V1ExternalId(record)));
  }

  Status Verdict(std::string_view sync_id, const SharedIds& shared) const {
    const std::string cannot = "sync " + Printable(sync_id) + " cannot be written as v1";
    if (shared.records > 0) {
      return FailedPrecondition(cannot + ", which keeps records by id alone: " + std::to_string(shared.records) +
                                " records share an id with another. " + Joined(shared.named));
    }
    if (altered_ == 0) return {};
    return FailedPrecondition(cannot + ": " + std::to_string(altered_) +
                              " records would be read back as others (a message that is not protobuf, names another "
                              "resource or holds the expansion, or a stamp in the hour that " +
                              zone_->name() + " has twice). " + Joined(named_));
  }

 private:
  static constexpr std::size_t kNamed = 10;
  static std::string Joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
  }

  const Zone* const zone_;
  std::uint64_t altered_ = 0;
  std::vector<std::string> named_;
};

/// One sync on its way into a file.
struct Exported {
  sync::SyncEntry entry;
  std::shared_ptr<const Generation> generation;
  Unfit unfit;
};

/// Puts the records and sessions of a sync.
Status PutSync(const sync::Store& store, Exported* from, V1Writer* writer, const sync::Work& work,
               std::uint64_t* records) {
  VELLUM_TRY(writer->BeginSync(from->entry.run));
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    VELLUM_TRY(ForEachRecord(*from->generation, static_cast<RecordType>(type), [&](const RecordView& record) -> Status {
      from->unfit.Check(record);
      VELLUM_TRY(writer->Put(record));
      if (++*records % 4096 != 0) return {};
      if (work.progress) work.progress(*records);
      if (work.cancel != nullptr && work.cancel->load()) return Cancelled("the export was cancelled");
      return {};
    }));
  }
  return store.ReadSessions(from->entry.run.id, [writer](std::string_view key, std::string_view value) {
    return writer->PutSession({std::string(key), std::string(value)});
  });
}

}  // namespace

Result<ExportReport> ExportFile(const sync::Store& store, const std::vector<std::string>& sync_ids, const std::string& path,
                                const WriteOptions& options, const sync::Work& work) {
  if (sync_ids.empty()) return InvalidArgument("no sync is named that could be exported");
  std::vector<Exported> exports;
  for (const std::string& id : sync_ids) {
    const auto named_before = [&id](const Exported& each) { return each.entry.run.id == id; };
    if (std::any_of(exports.begin(), exports.end(), named_before)) continue;
    VELLUM_ASSIGN_OR_RETURN(sync::SyncEntry entry, store.Get(id));
    VELLUM_ASSIGN_OR_RETURN(auto generation, store.OpenSync(id));
    exports.push_back({std::move(entry), std::move(generation), Unfit(&options.zone)});
  }
  VELLUM_ASSIGN_OR_RETURN(const auto writer, V1Writer::Create(path, options));
  ExportReport report;
  for (Exported& each : exports) VELLUM_TRY(PutSync(store, &each, writer.get(), work, &report.records));
  // Shared ids stand next to each other in an index, so they are found when it is made.
  const auto unfit = [&]() -> Status {
    for (const Exported& each : exports) {
      VELLUM_TRY(each.unfit.Verdict(each.entry.run.id, writer->shared_ids(each.entry.run.id)));
    }
    return {};
  };
  VELLUM_TRY(writer->Finish(unfit));
  report.bytes = writer->bytes();
  store.metrics().Exported(report.records);
  return report;
}

}  // namespace vellum::c1z
