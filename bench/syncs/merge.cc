#include <filesystem>

#include "syncs/workload.h"

namespace vellum::bench {
namespace {

/// Source number `i` of a merge: a fifth is shared with all others, and newer there.
Shape SourceShape(std::uint64_t grants, std::uint32_t i) {
  Shape shape = OrganisationOf(grants);
  if (grants <= 10'000) {
    // Many small ones: 250 resources, 500 entitlements, 2,500 grants each.
    shape.users = 200;
    shape.groups = 50;
    shape.entitlements_per_group = 10;
  }
  shape.source = i;
  shape.shared = 0.2;
  shape.discovered_at += kDay * i;
  return shape;
}

std::string SourceId(std::uint32_t i) { return "source-" + std::to_string(i); }
std::string SourcePath(const Place& place, std::uint32_t i) { return place.Path("source-" + std::to_string(i) + ".db"); }

Workload Merge(std::string_view name, std::string_view what, std::string_view goal, std::uint32_t sources,
               std::uint64_t grants) {
  Workload workload;
  workload.name = name;
  workload.what = what;
  workload.goal = goal;
  const auto rows = [sources, grants](const Place& place) {
    return sources * SourceShape(place.Scaled(grants), 0).records();
  };
  workload.prepare = [sources, grants](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    for (std::uint32_t i = 0; i < sources; ++i) {
      VELLUM_TRY(WriteSync(data->store(), SourceId(i), SourceShape(place.Scaled(grants), i), "partial"));
    }
    return {};
  };
  workload.vellum = [sources, rows](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    const std::string into = "into-" + std::to_string(place.round);
    VELLUM_TRY(WriteEmpty(data->store(), into));
    std::vector<sync::MergeSourceSync> inputs;
    for (std::uint32_t i = 0; i < sources; ++i) inputs.push_back({data->store(), SourceId(i)});
    measure->set_rows(rows(place));
    measure->Start();
    VELLUM_TRY(sync::MergeSyncs(data->store(), std::move(inputs), into).error());
    measure->Stop();
    return data->store()->Delete(into);
  };
  workload.prepare_yardstick = [sources, grants](const Place& place) -> Status {
    for (std::uint32_t i = 0; i < sources; ++i) {
      VELLUM_ASSIGN_OR_RETURN(Yardstick source, Yardstick::Create(SourcePath(place, i), Yardstick::Indexes::kLater));
      VELLUM_TRY(source.Write(SourceId(i), SourceShape(place.Scaled(grants), i)));
      VELLUM_TRY(source.MakeIndexes());
      VELLUM_TRY(source.Close());
    }
    return {};
  };
  workload.yardstick = [sources, rows](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick into, Yardstick::Create(place.Path("into-" + std::to_string(place.round) + ".db")));
    measure->set_rows(rows(place));
    measure->Start();
    for (std::uint32_t i = sources; i-- > 0;) VELLUM_TRY(into.Unite(SourcePath(place, i), SourceId(i), "into"));
    VELLUM_TRY(into.Close());
    measure->Stop();
    return {};
  };
  return workload;
}

constexpr std::uint32_t kPartials = 50;
constexpr std::uint64_t kFoldBase = 1'000'000;

Status WritePartial(sync::Store* store, std::uint64_t base_grants, std::uint32_t i) {
  SyncRun run;
  run.id = SourceId(i);
  run.type = "partial";
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, std::move(run), "bench"));
  for (const Shape& shape : PartialShapes(base_grants, i)) {
    VELLUM_TRY(ForEachRecord(shape, [&writer](const RecordView& record) { return writer->Put(record); }));
  }
  return writer->Seal(1, "seal").error();
}

Workload Fold() {
  Workload workload;
  workload.name = "fold-50x1k";
  workload.what = "fold 50 x 1,000 into 1M, store to store";
  workload.goal = "0.3 s";
  workload.prepare = [](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    VELLUM_TRY(WriteSync(data->store(), "base", OrganisationOf(place.Scaled(kFoldBase))));
    for (std::uint32_t i = 0; i < kPartials; ++i) {
      VELLUM_TRY(WritePartial(data->store(), place.Scaled(kFoldBase), i));
    }
    return {};
  };
  workload.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    // Back to what was there before the last round.
    VELLUM_ASSIGN_OR_RETURN(const sync::SyncEntry entry, data->store()->Get("base"));
    if (entry.history.size() > 1) VELLUM_TRY(data->store()->Rollback("base", std::nullopt).error());
    std::vector<sync::MergeSourceSync> inputs;
    for (std::uint32_t i = 0; i < kPartials; ++i) inputs.push_back({data->store(), SourceId(i)});
    measure->set_rows(kPartials * 1'000);
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(const auto merged, sync::MergeSyncs(data->store(), std::move(inputs), "base"));
    measure->Stop();
    if (merged.strategy != sync::Strategy::kFold && place.scale >= 1) return Internal("it did not fold: " + merged.why);
    return {};
  };
  workload.prepare_yardstick = [](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick base, Yardstick::Create(place.Path("base.db"), Yardstick::Indexes::kLater));
    VELLUM_TRY(base.Write("base", OrganisationOf(place.Scaled(kFoldBase))));
    VELLUM_TRY(base.MakeIndexes());
    VELLUM_TRY(base.Close());
    for (std::uint32_t i = 0; i < kPartials; ++i) {
      VELLUM_ASSIGN_OR_RETURN(Yardstick source, Yardstick::Create(SourcePath(place, i)));
      const auto shapes = PartialShapes(place.Scaled(kFoldBase), i);
      for (std::size_t part = 0; part < shapes.size(); ++part) {
        VELLUM_TRY(source.Write(SourceId(i) + "-" + std::to_string(part), shapes[part]));
      }
      VELLUM_TRY(source.Close());
    }
    return {};
  };
  workload.yardstick = [](const Place& place, Measure* measure) -> Status {
    const std::string path = place.Path("fold-" + std::to_string(place.round) + ".db");
    std::error_code error;
    std::filesystem::copy_file(place.Path("base.db"), path, error);
    if (error) return Internal("cannot copy the base: " + error.message());
    VELLUM_ASSIGN_OR_RETURN(Yardstick into, Yardstick::Open(path));
    measure->set_rows(kPartials * 1'000);
    measure->Start();
    for (std::uint32_t i = kPartials; i-- > 0;) {
      VELLUM_TRY(into.Unite(SourcePath(place, i), SourceId(i) + "-0", "base"));
      VELLUM_TRY(into.Unite(SourcePath(place, i), SourceId(i) + "-1", "base"));
    }
    VELLUM_TRY(into.Close());
    measure->Stop();
    return {};
  };
  return workload;
}

}  // namespace

std::vector<Workload> MergeWorkloads() {
  return {Merge("merge-10x100k", "MergeInto, 10 x 100k", "1.2M/s, 256 MB", 10, 100'000),
          Merge("merge-2x1m", "MergeInto, 2 x 1M", "1.2M/s, 256 MB", 2, 1'000'000),
          Merge("merge-500x2500", "MergeInto, 500 x 2,500", "0.7M/s, 256 MB", 500, 2'500), Fold()};
}

}  // namespace vellum::bench
