#include "syncs/workload.h"

namespace vellum::bench {
namespace {

Workload Compact(std::string_view name, std::string_view what, std::uint64_t grants) {
  Workload workload;
  workload.name = name;
  workload.what = what;
  workload.goal = "20 ms";
  workload.prepare = [grants](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto source, DataDir::Open(place.Path("source")));
    return WriteSync(source->store(), "sync", OrganisationOf(place.Scaled(grants)));
  };
  workload.vellum = [grants](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto source, DataDir::Open(place.Path("source")));
    VELLUM_ASSIGN_OR_RETURN(const auto base, DataDir::Open(place.Path("base-" + std::to_string(place.round))));
    // As in a process that compacts one sync after another: its lease exists, another sync is there.
    VELLUM_TRY(WriteEmpty(base->store(), "other"));
    measure->set_rows(OrganisationOf(place.Scaled(grants)).records());
    measure->Start();
    VELLUM_TRY(sync::ReplaceSync(base->store(), source->store(), "sync").error());
    measure->Stop();
    return {};
  };
  workload.prepare_yardstick = [grants](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick source, Yardstick::Create(place.Path("source.db"), Yardstick::Indexes::kLater));
    VELLUM_TRY(source.Write("sync", OrganisationOf(place.Scaled(grants))));
    VELLUM_TRY(source.MakeIndexes());
    return source.Close();
  };
  workload.yardstick = [grants](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick base, Yardstick::Create(place.Path("base-" + std::to_string(place.round) + ".db")));
    measure->set_rows(OrganisationOf(place.Scaled(grants)).records());
    measure->Start();
    VELLUM_TRY(base.Replace(place.Path("source.db"), "sync"));
    VELLUM_TRY(base.Close());
    measure->Stop();
    return {};
  };
  return workload;
}

}  // namespace

std::vector<Workload> CompactWorkloads() {
  return {Compact("compact-100k", "Compactor.Compact of 100k grants from another store", 100'000),
          Compact("compact-1m", "the same, 1M", 1'000'000), Compact("compact-5m", "the same, 5M", 5'000'000)};
}

}  // namespace vellum::bench
