#include <algorithm>

#include "sync/access.h"
#include "sync/codec.h"
#include "sync/diff.h"
#include "sync/list.h"
#include "syncs/workload.h"

namespace vellum::bench {
namespace {

constexpr std::uint64_t kGrants = 1'000'000;
constexpr std::uint64_t kQuestions = 10'000;
constexpr std::uint64_t kHeld = 1'000;    ///< Grants of the one principal that is asked for.
constexpr std::uint64_t kChanged = 100;   ///< Records by which derived syncs differ.

Status PrepareOne(const Place& place) {
  VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
  return WriteSync(data->store(), "sync", OrganisationOf(place.Scaled(kGrants)));
}

/// The queries that some grants, spread evenly over the sync, answer.
Result<std::vector<sync::RecordQuery>> QueriesAbout(const sync::ReadView& view, bool principal, std::uint64_t grants) {
  std::vector<sync::RecordQuery> queries;
  const std::uint64_t step = std::max<std::uint64_t>(1, grants / kQuestions);
  std::uint64_t at = 0;
  VELLUM_TRY(sync::ListRecords(view, {}, 0, {}, [&](const RecordView& grant) {
               if (at++ % step != 0) return Status();
               sync::RecordQuery query;
               if (principal) {
                 query.principal = sync::ResourceName{std::string(grant.principal_type_id), std::string(grant.principal_id)};
               } else {
                 query.entitlement = grant.entitlement_id;
               }
               queries.push_back(std::move(query));
               return Status();
             }).error());
  return queries;
}

/// All blocks of the sync, decoded, fit into a cache of this size; the usual one holds a quarter of them.
constexpr std::size_t kRoomyCache = 512u << 20;

/// Questions one after the other, all of them asked once before. `cache_bytes` 0: the usual cache, in which the blocks that they
/// need drive each other out.
Workload Lookups(std::string_view name, std::string_view what, bool principal, std::size_t cache_bytes) {
  Workload lookups;
  lookups.name = name;
  lookups.what = what;
  lookups.goal = "20k/s";
  lookups.prepare = PrepareOne;
  lookups.vellum = [principal, cache_bytes](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data"), cache_bytes));
    VELLUM_ASSIGN_OR_RETURN(const auto view, sync::OpenView(*data->store(), "sync", std::nullopt));
    VELLUM_ASSIGN_OR_RETURN(const auto queries, QueriesAbout(*view, principal, place.Scaled(kGrants)));
    std::uint64_t records = 0;
    for (int round = 0; round < 2; ++round) {
      if (round == 1) measure->Start();
      for (const sync::RecordQuery& query : queries) {
        VELLUM_ASSIGN_OR_RETURN(const auto page, sync::ListRecords(*view, query, 0, {}, [](const RecordView& record) {
                                  return record.id.empty() ? Internal("a grant without id") : Status();
                                }));
        records += page.records;
      }
    }
    measure->Stop();
    measure->set_rows(queries.size());
    return records >= 2 * queries.size() ? Status() : Internal("answers are missing");
  };
  return lookups;
}

Workload Access() {
  Workload access;
  access.name = "access-1000";
  access.what = "what a principal with 1,000 grants can reach";
  access.goal = "5 ms";
  access.prepare = [](const Place& place) -> Status {
    VELLUM_TRY(PrepareOne(place));
    // One user is given a grant of each of the first entitlements.
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    VELLUM_ASSIGN_OR_RETURN(const auto view, sync::OpenView(*data->store(), "sync", std::nullopt));
    sync::SyncRun run;
    run.id = "one";
    run.type = "partial";
    VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(data->store(), run, ""));
    sync::RecordQuery entitlements;
    entitlements.type = RecordType::kEntitlement;
    VELLUM_TRY(sync::ListRecords(*view, entitlements, kHeld, {}, [&writer](const RecordView& entitlement) {
                 RecordView grant;
                 grant.type = RecordType::kGrant;
                 grant.discovered_at = 1;
                 grant.type_id = entitlement.type_id;
                 grant.resource_id = entitlement.resource_id;
                 grant.entitlement_id = entitlement.id;
                 grant.principal_type_id = "user";
                 grant.principal_id = "holder";
                 return writer->Put(grant);
               }).error());
    VELLUM_TRY(writer->Seal(1, "seal").error());
    return sync::MergeSyncs(data->store(), {{data->store(), "one"}}, "sync").error();
  };
  access.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    VELLUM_ASSIGN_OR_RETURN(const auto view, sync::OpenView(*data->store(), "sync", std::nullopt));
    sync::AccessQuestion question;
    question.principal = sync::ResourceName{"user", "holder"};
    const auto ask = [&]() -> Result<std::uint64_t> {
      VELLUM_ASSIGN_OR_RETURN(const auto summary,
                              sync::AnswerAccess(*view, question, [](const sync::AccessRow&) { return Status(); }));
      return summary.rows;
    };
    VELLUM_TRY(ask().error());
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(const std::uint64_t rows, ask());
    measure->Stop();
    measure->set_rows(1);
    return rows == std::min<std::uint64_t>(kHeld, place.Scaled(kGrants) / 125) ? Status() : Internal("rows are missing");
  };
  return access;
}

Workload Diff(std::string_view name, std::string_view what, std::string_view goal, bool derived) {
  Workload diff;
  diff.name = name;
  diff.what = what;
  diff.goal = goal;
  diff.prepare = [derived](const Place& place) -> Status {
    VELLUM_TRY(PrepareOne(place));
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    Shape shape = OrganisationOf(place.Scaled(kGrants));
    shape.discovered_at += kDay;
    if (!derived) {
      // The same people and groups, half of the rest of another source's.
      shape.shared = 0.5;
      shape.source = 1;
      return WriteSync(data->store(), "other", shape);
    }
    VELLUM_ASSIGN_OR_RETURN(const auto view, sync::OpenView(*data->store(), "sync", std::nullopt));
    sync::SyncRun run;
    run.id = "changes";
    run.type = "partial";
    VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(data->store(), run, ""));
    const std::uint64_t step = std::max<std::uint64_t>(1, place.Scaled(kGrants) / kChanged);
    std::uint64_t at = 0;
    VELLUM_TRY(sync::ListRecords(*view, {}, 0, {}, [&](const RecordView& grant) -> Status {
                 if (at++ % step != 0) return {};
                 RecordView changed = grant;
                 changed.discovered_at += kDay;
                 changed.needs_expansion = true;
                 return writer->Put(changed);
               }).error());
    VELLUM_TRY(writer->Seal(1, "seal").error());
    sync::MergeOptions options;
    options.strategy = sync::Strategy::kFold;
    return sync::MergeSyncs(data->store(), {{data->store(), "changes"}}, "sync", options).error();
  };
  diff.vellum = [derived](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    VELLUM_ASSIGN_OR_RETURN(const auto entry, data->store()->Get("sync"));
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(const auto before,
                            sync::OpenView(*data->store(), "sync", entry.history.back().generation));
    VELLUM_ASSIGN_OR_RETURN(const auto after, sync::OpenView(*data->store(), derived ? "sync" : "other", std::nullopt));
    std::uint64_t shown = 0;
    VELLUM_ASSIGN_OR_RETURN(const auto summary, sync::DiffViews(*before, *after, {}, [&shown](const sync::DiffRow&) {
                              ++shown;
                              return Status();
                            }));
    measure->Stop();
    measure->set_rows(derived ? 1 : 2 * place.Scaled(kGrants));
    return summary.differ() && shown > 0 ? Status() : Internal("no differences were found");
  };
  return diff;
}

}  // namespace

std::vector<Workload> AskWorkloads() {
  return {Lookups("ask-entitlement", "grants of one entitlement (125), asked by its id", /*principal=*/false, 0),
          Lookups("ask-principal", "grants of one principal (25)", /*principal=*/true, 0),
          Lookups("cached-entitlement", "the same, all blocks in the cache", /*principal=*/false, kRoomyCache),
          Lookups("cached-principal", "grants of one principal, all blocks in the cache", /*principal=*/true, kRoomyCache),
          Access(),
          Diff("diff-derived", "differences of two 1M syncs, one derived from the other, by 100 records", "50 ms", /*derived=*/true),
          Diff("diff-unrelated", "differences of two 1M syncs with half of their grants in common", "2 s", /*derived=*/false)};
}

}  // namespace vellum::bench
