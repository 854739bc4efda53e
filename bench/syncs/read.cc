#include "c1/connector/v2/connector.pb.h"
#include "sync/codec.h"
#include "syncs/workload.h"

namespace vellum::bench {
namespace {

constexpr std::uint64_t kGrants = 1'000'000;

Status Prepare(const Place& place) {
  VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
  return WriteSync(data->store(), "sync", OrganisationOf(place.Scaled(kGrants)));
}

Status PrepareYardstick(const Place& place) {
  VELLUM_ASSIGN_OR_RETURN(Yardstick source, Yardstick::Create(place.Path("source.db"), Yardstick::Indexes::kLater));
  VELLUM_TRY(source.Write("sync", OrganisationOf(place.Scaled(kGrants))));
  VELLUM_TRY(source.MakeIndexes());
  return source.Close();
}

/// Opens the sync, and goes over its grants with `visit`.
using Visit = std::function<Status(std::string_view key, std::string_view value)>;
Status List(const Place& place, Measure* measure, const Visit& visit) {
  VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
  VELLUM_ASSIGN_OR_RETURN(const auto generation, data->store()->OpenSync("sync"));
  measure->Start();
  std::uint64_t rows = 0;
  const auto cursor = generation->Scan(sync::Bucket::kGrant);
  for (; cursor->valid(); cursor->Next(), ++rows) VELLUM_TRY(visit(cursor->key(), cursor->value()));
  VELLUM_TRY(cursor->status());
  measure->Stop();
  measure->set_rows(rows);
  return rows == place.Scaled(kGrants) ? Status() : Internal("listed " + std::to_string(rows) + " grants");
}

Workload Listing(std::string_view name, std::string_view what, std::string_view goal, std::function<Visit()> visitor,
                 const char* sql) {
  Workload list;
  list.name = name;
  list.what = what;
  list.goal = goal;
  list.prepare = Prepare;
  list.vellum = [visitor](const Place& place, Measure* measure) { return List(place, measure, visitor()); };
  if (sql == nullptr) return list;
  list.prepare_yardstick = PrepareYardstick;
  list.yardstick = [sql](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Open(place.Path("source.db")));
    measure->set_rows(place.Scaled(kGrants));
    measure->Start();
    VELLUM_TRY(database.Walk(sql).error());
    measure->Stop();
    return {};
  };
  return list;
}

Workload Open() {
  Workload open;
  open.name = "open-1m";
  open.what = "open 1M grants and read the first";
  open.goal = "5 ms";
  open.prepare = Prepare;
  open.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    measure->set_rows(1);
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(const auto generation, data->store()->OpenSync("sync"));
    const bool any = generation->ScanPrefix(sync::BucketPrefix(sync::Bucket::kGrant))->valid();
    measure->Stop();
    return any ? Status() : Internal("there is no grant");
  };
  open.prepare_yardstick = PrepareYardstick;
  open.yardstick = [](const Place& place, Measure* measure) -> Status {
    measure->set_rows(1);
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Open(place.Path("source.db")));
    VELLUM_TRY(database.Number("SELECT id FROM v1_grants WHERE sync_id = 'sync' LIMIT 1").error());
    measure->Stop();
    return {};
  };
  return open;
}

}  // namespace

std::vector<Workload> ReadWorkloads() {
  return {
      Open(),
      Listing("list-undecoded", "list 1M grants, undecoded", "2.5M/s",
              [] { return [](std::string_view key, std::string_view value) {
                     return key.empty() || value.empty() ? Internal("an empty record") : Status();
                   }; },
              "SELECT external_id, data FROM v1_grants WHERE sync_id = 'sync' ORDER BY id"),
      Listing("list-decoded", "list 1M grants, decoded into records", "1.2M/s",
              [] { return [](std::string_view key, std::string_view value) -> Status {
                     VELLUM_ASSIGN_OR_RETURN(const auto record, sync::StoredRecord::Parse(key, value));
                     return record.view().id.empty() ? Internal("a grant without id") : Status();
                   }; },
              "SELECT * FROM v1_grants WHERE sync_id = 'sync' ORDER BY id"),
      Listing("list-messages", "list 1M grants, their messages parsed too", "",
              [] { return [message = std::make_shared<c1::connector::v2::Grant>()](std::string_view key,
                                                                                 std::string_view value) -> Status {
                     VELLUM_ASSIGN_OR_RETURN(const auto record, sync::StoredRecord::Parse(key, value));
                     const std::string_view data = record.view().data;
                     return message->ParseFromArray(data.data(), static_cast<int>(data.size()))
                                ? Status()
                                : Internal("a grant that is no message");
                   }; },
              nullptr),
  };
}

}  // namespace vellum::bench
