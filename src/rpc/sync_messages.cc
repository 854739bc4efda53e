#include "rpc/sync_messages.h"

#include <algorithm>

#include "sync/codec.h"

namespace vellum::rpc {
namespace {

/// What a record costs in a message beside its data, generously.
std::size_t RoughBytes(const sync::RecordView& record) {
  return 64 + record.id.size() + record.type_id.size() + record.resource_id.size() + record.entitlement_id.size() +
         record.principal_type_id.size() + record.principal_id.size() + record.parent_type_id.size() +
         record.parent_id.size() + record.expansion.size() + record.content_type.size() + record.data.size();
}

void Set(std::string* field, std::string_view value) { field->assign(value.data(), value.size()); }

Status TooLarge(std::size_t bytes, std::size_t bytes_max) {
  return InvalidArgument("a record of " + std::to_string(bytes) + " bytes or more is above the limit of " +
                         std::to_string(bytes_max) + " (max-sync-record-bytes)");
}

void FillTotals(sync::Bucket bucket, const sync::Totals& totals, v1::SyncDescription::Totals* message) {
  message->set_bucket(static_cast<std::uint32_t>(bucket));
  message->set_records(totals.records);
  message->set_bytes(totals.bytes);
  message->set_stamp_min(totals.stamp_min);
  message->set_stamp_max(totals.stamp_max);
  message->set_digest_high(totals.digest.high);
  message->set_digest_low(totals.digest.low);
  message->set_digest_unstamped_high(totals.digest_unstamped.high);
  message->set_digest_unstamped_low(totals.digest_unstamped.low);
}

sync::Totals TakeTotals(const v1::SyncDescription::Totals& message) {
  sync::Totals totals;
  totals.records = message.records();
  totals.bytes = message.bytes();
  totals.stamp_min = message.stamp_min();
  totals.stamp_max = message.stamp_max();
  totals.digest = {message.digest_high(), message.digest_low()};
  totals.digest_unstamped = {message.digest_unstamped_high(), message.digest_unstamped_low()};
  return totals;
}

void FillGeneration(const service::GenerationFacts& facts, v1::SyncDescription::Generation* message) {
  message->set_id(facts.id);
  message->set_made_by(facts.made_by);
  message->set_records(facts.records);
  message->set_bytes_own(facts.bytes_own);
  message->set_bytes_shared(facts.bytes_shared);
  message->set_bytes_dead(facts.bytes_dead);
  message->set_overlays(facts.overlays);
  message->set_digest(facts.digest);
  message->set_digest_unstamped(facts.digest_unstamped);
  for (const auto& [bucket, totals] : facts.totals) FillTotals(bucket, totals, message->add_totals());
}

Result<service::GenerationFacts> TakeGeneration(const v1::SyncDescription::Generation& message) {
  service::GenerationFacts facts;
  facts.id = message.id();
  facts.made_by = message.made_by();
  facts.records = message.records();
  facts.bytes_own = message.bytes_own();
  facts.bytes_shared = message.bytes_shared();
  facts.bytes_dead = message.bytes_dead();
  facts.overlays = message.overlays();
  facts.digest = message.digest();
  facts.digest_unstamped = message.digest_unstamped();
  for (const auto& totals : message.totals()) {
    const auto* const bucket =
        totals.bucket() > 0xFF ? nullptr : sync::FindBucket(static_cast<std::uint8_t>(totals.bucket()));
    if (bucket == nullptr) {
      return Internal("the server has a bucket " + std::to_string(totals.bucket()) + ", which this program does not know");
    }
    facts.totals[bucket->bucket] = TakeTotals(totals);
  }
  return facts;
}

}  // namespace

void FillRecord(const sync::RecordView& record, v1::Record* message) {
  message->set_type(static_cast<v1::Record::Type>(record.type));
  message->set_discovered_at(record.discovered_at);
  if (!record.id.empty()) Set(message->mutable_id(), record.id);
  if (!record.type_id.empty()) Set(message->mutable_resource_type(), record.type_id);
  if (!record.resource_id.empty()) Set(message->mutable_resource(), record.resource_id);
  if (!record.entitlement_id.empty()) Set(message->mutable_entitlement(), record.entitlement_id);
  if (!record.principal_type_id.empty()) Set(message->mutable_principal_type(), record.principal_type_id);
  if (!record.principal_id.empty()) Set(message->mutable_principal(), record.principal_id);
  if (!record.parent_type_id.empty()) Set(message->mutable_parent_type(), record.parent_type_id);
  if (!record.parent_id.empty()) Set(message->mutable_parent(), record.parent_id);
  if (!record.expansion.empty()) Set(message->mutable_expansion(), record.expansion);
  message->set_needs_expansion(record.needs_expansion);
  message->set_slim(record.slim);
  if (!record.content_type.empty()) Set(message->mutable_content_type(), record.content_type);
  if (!record.data.empty()) Set(message->mutable_data(), record.data);
}

Result<sync::RecordView> ViewRecord(const v1::Record& message) {
  if (message.type() < 0 || message.type() >= sync::kRecordTypes) {
    return InvalidArgument("there is no record type " + std::to_string(message.type()));
  }
  sync::RecordView record;
  record.type = static_cast<sync::RecordType>(message.type());
  record.discovered_at = message.discovered_at();
  record.id = message.id();
  record.type_id = message.resource_type();
  record.resource_id = message.resource();
  record.entitlement_id = message.entitlement();
  record.principal_type_id = message.principal_type();
  record.principal_id = message.principal();
  record.parent_type_id = message.parent_type();
  record.parent_id = message.parent();
  record.expansion = message.expansion();
  record.needs_expansion = message.needs_expansion();
  record.slim = message.slim();
  record.content_type = message.content_type();
  record.data = message.data();
  return record;
}

void FillRun(const sync::SyncRun& run, v1::SyncRun* message) {
  message->set_id(run.id);
  message->set_type(run.type);
  message->set_parent_id(run.parent_id);
  message->set_linked_id(run.linked_id);
  message->set_token(run.token);
  message->set_started_at(run.started_at);
  message->set_ended_at(run.ended_at);
  message->set_supports_diff(run.supports_diff);
}

sync::SyncRun TakeRun(const v1::SyncRun& message) {
  sync::SyncRun run;
  run.id = message.id();
  run.type = message.type();
  run.parent_id = message.parent_id();
  run.linked_id = message.linked_id();
  run.token = message.token();
  run.started_at = message.started_at();
  run.ended_at = message.ended_at();
  run.supports_diff = message.supports_diff();
  return run;
}

void FillDescription(const service::SyncDescription& sync, v1::SyncDescription* message) {
  const sync::SyncEntry& entry = sync.entry;
  FillRun(entry.run, message->mutable_run());
  message->set_connector(entry.connector);
  message->set_state(entry.state == sync::SyncState::kOpen ? v1::SyncDescription::OPEN : v1::SyncDescription::SEALED);
  for (std::size_t i = 0; i < entry.history.size(); ++i) {
    auto* const history = message->add_history();
    history->set_generation(entry.history[i].generation);
    history->set_digest(entry.history[i].digest);
    history->set_switched_at(entry.history[i].switched_at);
    history->set_operation(entry.history[i].operation);
    if (i < sync.history_records.size() && sync.history_records[i]) history->set_records(*sync.history_records[i]);
  }
  message->set_with_history_records(!sync.history_records.empty());
  message->set_staging(entry.staging);
  message->set_mod_revision(entry.mod_revision);
  if (sync.generation) FillGeneration(*sync.generation, message->mutable_generation());
  message->set_problem(sync.problem);
}

Result<service::SyncDescription> TakeDescription(const v1::SyncDescription& message) {
  service::SyncDescription sync;
  sync.entry.run = TakeRun(message.run());
  sync.entry.connector = message.connector();
  sync.entry.state = message.state() == v1::SyncDescription::OPEN ? sync::SyncState::kOpen : sync::SyncState::kSealed;
  for (const auto& history : message.history()) {
    sync.entry.history.push_back(
        {history.generation(), history.digest(), history.switched_at(), history.operation()});
    if (!message.with_history_records()) continue;
    sync.history_records.push_back(history.has_records() ? std::optional<std::uint64_t>(history.records()) : std::nullopt);
  }
  sync.entry.staging = message.staging();
  sync.entry.mod_revision = message.mod_revision();
  if (message.has_generation()) {
    VELLUM_ASSIGN_OR_RETURN(sync.generation, TakeGeneration(message.generation()));
  }
  sync.problem = message.problem();
  return sync;
}

void FillFileOptions(const c1z::ImportOptions& options, v1::FileOptions* message) {
  message->set_zone(options.open.zone.name());
  message->set_connector(options.connector);
  message->set_replace(options.replace);
  message->set_skip_invalid(options.skip_invalid);
  for (const std::string& id : options.only) message->add_only(id);
}

Result<c1z::ImportOptions> TakeFileOptions(const v1::FileOptions& message) {
  c1z::ImportOptions options;
  if (!message.zone().empty()) {
    VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(message.zone()));
  }
  options.connector = message.connector();
  options.replace = message.replace();
  options.skip_invalid = message.skip_invalid();
  options.only.assign(message.only().begin(), message.only().end());
  return options;
}

void FillImported(const c1z::ImportedSync& imported, v1::ImportedSync* message) {
  message->set_id(imported.id);
  message->set_type(imported.type);
  message->set_unchanged(imported.unchanged);
  message->set_records(imported.records);
  message->set_rows(imported.report.rows);
  for (const auto& [reason, rows] : imported.report.invalid) {
    auto* const skipped = message->add_invalid();
    skipped->set_reason(reason);
    skipped->set_rows(rows);
  }
  message->set_unstamped(imported.report.unstamped);
  message->set_expansions_moved(imported.report.expansions_moved);
  for (const std::uint64_t joined : imported.joined) message->add_joined(joined);
  message->set_seconds(imported.seconds);
  message->set_format(imported.format == c1z::Format::kV3 ? 3 : 1);
  for (const std::string& warning : imported.warnings) message->add_warnings(warning);
  message->set_orphans(imported.orphans);
  for (const auto& [what, rows] : imported.report.disagreeing) {
    auto* const each = message->add_disagreeing();
    each->set_reason(what);
    each->set_rows(rows);
  }
  message->set_foreign(imported.report.foreign);
}

c1z::ImportedSync TakeImported(const v1::ImportedSync& message) {
  c1z::ImportedSync imported;
  imported.id = message.id();
  imported.type = message.type();
  imported.unchanged = message.unchanged();
  imported.records = message.records();
  imported.report.rows = message.rows();
  for (const auto& skipped : message.invalid()) imported.report.invalid[skipped.reason()] = skipped.rows();
  imported.report.unstamped = message.unstamped();
  imported.report.expansions_moved = message.expansions_moved();
  for (int i = 0; i < std::min(message.joined_size(), sync::kRecordTypes); ++i) {
    imported.joined[static_cast<std::size_t>(i)] = message.joined(i);
  }
  imported.seconds = message.seconds();
  imported.format = message.format() == 3 ? c1z::Format::kV3 : c1z::Format::kV1;
  imported.warnings.assign(message.warnings().begin(), message.warnings().end());
  imported.orphans = message.orphans();
  for (const auto& each : message.disagreeing()) imported.report.disagreeing[each.reason()] = each.rows();
  imported.report.foreign = message.foreign();
  return imported;
}

void FillMerge(const service::MergeRequest& request, v1::MergeRequest* message) {
  message->set_into(request.into);
  for (const std::string& source : request.sources) message->add_sources(source);
  message->set_strategy(static_cast<v1::Strategy>(request.options.strategy));
  message->set_ties_last(request.options.ties == sync::Ties::kLast);
}

Result<service::MergeRequest> TakeMerge(const v1::MergeRequest& message) {
  if (!v1::Strategy_IsValid(message.strategy())) {
    return InvalidArgument("there is no strategy " + std::to_string(message.strategy()));
  }
  service::MergeRequest request;
  request.into = message.into();
  request.sources.assign(message.sources().begin(), message.sources().end());
  request.options.strategy = static_cast<sync::Strategy>(message.strategy());
  request.options.ties = message.ties_last() ? sync::Ties::kLast : sync::Ties::kFirst;
  return request;
}

void FillMergeReport(const service::MergeReport& report, v1::MergeResponse::Report* message) {
  message->set_sync_id(report.sync_id);
  for (const sync::MergeCounts& counts : report.stats) {
    auto* const each = message->add_counts();
    each->set_added(counts.added);
    each->set_replaced(counts.replaced);
    each->set_kept(counts.kept);
    each->set_unchanged(counts.unchanged);
  }
  message->set_strategy(static_cast<v1::Strategy>(report.strategy));
  message->set_why(report.why);
  message->set_records(report.records);
  message->set_bytes_written(report.bytes_written);
  message->set_changed(report.changed);
}

service::MergeReport TakeMergeReport(const v1::MergeResponse::Report& message) {
  service::MergeReport report;
  report.sync_id = message.sync_id();
  for (std::size_t i = 0; i < report.stats.size() && i < static_cast<std::size_t>(message.counts_size()); ++i) {
    const auto& each = message.counts(static_cast<int>(i));
    report.stats[i].added = each.added();
    report.stats[i].replaced = each.replaced();
    report.stats[i].kept = each.kept();
    report.stats[i].unchanged = each.unchanged();
  }
  report.strategy = static_cast<sync::Strategy>(message.strategy());
  report.why = message.why();
  report.records = message.records();
  report.bytes_written = message.bytes_written();
  report.changed = message.changed();
  return report;
}

void FillVerifyReport(const sync::VerifyReport& report, v1::VerifyResponse::Report* message) {
  message->set_records(report.records);
  message->set_files(report.files);
  for (const std::string& problem : report.problems) message->add_problems(problem);
  message->set_record_problems(report.record_problems);
  message->set_index_problems(report.index_problems);
  message->set_index_entries_wrong(report.index_entries_wrong);
  for (const sync::Finding& finding : report.findings) {
    auto* const each = message->add_findings();
    each->set_rule(finding.rule);
    each->set_count(finding.count);
    for (const std::string& name : finding.first) each->add_first(name);
  }
}

sync::VerifyReport TakeVerifyReport(const v1::VerifyResponse::Report& message) {
  sync::VerifyReport report;
  report.records = message.records();
  report.files = message.files();
  report.problems.assign(message.problems().begin(), message.problems().end());
  report.record_problems = message.record_problems();
  report.index_problems = message.index_problems();
  report.index_entries_wrong = message.index_entries_wrong();
  for (const auto& finding : message.findings()) {
    report.findings.push_back({finding.rule(), finding.count(), {finding.first().begin(), finding.first().end()}});
  }
  return report;
}

Status RecordBatcher::Add(const sync::RecordView& record) {
  const std::size_t bytes = RoughBytes(record);
  if (bytes_ + bytes > kBatchBytes) VELLUM_TRY(Flush());
  if (bytes <= kBatchBytes) {
    FillRecord(record, batch_.add_records());
    bytes_ += bytes;
    return batch_.records_size() >= kBatchRecords ? Flush() : Status();
  }
  // Too much for one message: its data goes ahead, the rest of it follows alone.
  sync::RecordView rest = record;
  while (rest.data.size() > kPartBytes) {
    VELLUM_TRY(send_part_(rest.data.substr(0, kPartBytes)));
    rest.data.remove_prefix(kPartBytes);
  }
  FillRecord(rest, batch_.add_records());
  return Flush();
}

Status RecordBatcher::Flush() {
  if (batch_.records_size() == 0) return {};
  VELLUM_TRY(send_batch_(&batch_));
  batch_.Clear();
  bytes_ = 0;
  return {};
}

Status RecordTaker::TakePart(std::string_view part) {
  if (parts_.size() + part.size() > record_bytes_max_) return TooLarge(parts_.size() + part.size(), record_bytes_max_);
  parts_.append(part);
  return {};
}

Status RecordTaker::TakeBatch(const v1::RecordBatch& batch, sync::RecordSink* sink) {
  if (batch.records().empty()) return CheckNothingWaits("an empty batch");
  for (const v1::Record& message : batch.records()) {
    VELLUM_ASSIGN_OR_RETURN(sync::RecordView record, ViewRecord(message));
    if (!parts_.empty()) {
      parts_.append(record.data);
      record.data = parts_;
    }
    VELLUM_TRY(sink->Put(record));
    ++records_;
    if (!parts_.empty()) parts_ = {};
  }
  return {};
}

Status RecordTaker::CheckNothingWaits(std::string_view before) const {
  if (parts_.empty()) return {};
  return InvalidArgument("parts of a record were followed by " + std::string(before) + " instead of the record");
}

}  // namespace vellum::rpc
