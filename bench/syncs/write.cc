#include "syncs/workload.h"

namespace vellum::bench {

std::vector<Workload> WriteWorkloads() {
  Workload write;
  write.name = "write-1m";
  write.what = "write and seal 1M grants";
  write.goal = "2.5 s, 256 MB";
  write.vellum = [](const Place& place, Measure* measure) -> Status {
    const Shape shape = OrganisationOf(place.Scaled(1'000'000));
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data-" + std::to_string(place.round))));
    measure->set_rows(shape.records());
    measure->Start();
    VELLUM_TRY(WriteSync(data->store(), "sync", shape));
    measure->Stop();
    return {};
  };
  write.yardstick = [](const Place& place, Measure* measure) -> Status {
    const Shape shape = OrganisationOf(place.Scaled(1'000'000));
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Create(place.Path("db-" + std::to_string(place.round))));
    measure->set_rows(shape.records());
    measure->Start();
    VELLUM_TRY(database.Write("sync", shape));
    VELLUM_TRY(database.Close());
    measure->Stop();
    return {};
  };
  std::vector<Workload> workloads{write};
  for (Workload& each : IngestWorkloads()) workloads.push_back(std::move(each));
  return workloads;
}

}  // namespace vellum::bench
