#include <algorithm>
#include <fstream>

#include "c1z/transfer.h"
#include "c1z/v3/keys.h"
#include "c1z/v3/test_writer.h"
#include "syncs/workload.h"

/// Reading .c1z v3 files. SQLite has nothing to do there.
namespace vellum::bench {
namespace {

namespace v3 = c1z::v3;

constexpr std::uint64_t kTableBytes = 32u << 20;
constexpr std::uint64_t kSequence = 100;

/// Tables one after the other, as a compacted database of the connectors' has them: Snappy, blocks of 32 KiB, an index of two
/// levels.
class Tables {
 public:
  void Add(std::vector<v3::WriterRow>* rows) {
    v3::SortRows(rows);
    for (v3::WriterRow& row : *rows) {
      if (writer_ == nullptr) writer_ = std::make_unique<v3::TestTableWriter>(Format());
      writer_->Add(std::move(row));
      if (writer_->bytes() >= kTableBytes) Cut();
    }
    rows->clear();
  }
  std::vector<v3::WrittenTable> Finish() {
    if (writer_ != nullptr) Cut();
    return std::move(tables_);
  }

 private:
  static v3::TableFormat Format() {
    v3::TableFormat format;
    format.compression = 1;
    format.two_levels = true;
    return format;
  }
  void Cut() {
    tables_.push_back(writer_->Finish());
    writer_.reset();
  }
  std::unique_ptr<v3::TestTableWriter> writer_;
  std::vector<v3::WrittenTable> tables_;
};

void AppendPart(std::string* key, std::string_view part) {
  key->push_back('\0');
  key->append(part);
}

/// The two indexes of grants that the connectors' engine writes: by principal, and hashes by entitlement.
v3::WriterRow PrincipalRow(const RecordView& grant) {
  v3::WriterRow row{v3::TypePrefix(v3::KeyType::kIndex) + '\x04', kSequence, 1, ""};
  for (const std::string_view part : {grant.principal_type_id, grant.principal_id, grant.type_id, grant.resource_id,
                                      std::string_view("0"), grant.entitlement_id}) {
    AppendPart(&row.key, part);
  }
  return row;
}
v3::WriterRow HashRow(const RecordView& grant) {
  v3::WriterRow row{v3::TypePrefix(v3::KeyType::kIndex) + '\x08', kSequence, 1, "12345678"};
  for (const std::string_view part : {grant.type_id, grant.resource_id, std::string_view("0"), grant.entitlement_id,
                                      grant.principal_type_id, grant.principal_id}) {
    AppendPart(&row.key, part);
  }
  return row;
}

Status WriteV3File(const std::string& path, const Shape& shape) {
  v3::WrapOptions wrap;
  wrap.run.id = "3AKrFg2DodbmMYsERIlv6FSibdb";
  wrap.run.type = "full";
  wrap.run.started_at = shape.discovered_at;
  wrap.run.ended_at = shape.discovered_at + 1;
  Tables tables;
  std::vector<v3::WriterRow> rows;
  VELLUM_TRY(ForEachRecord(shape, [&](const RecordView& record) -> Status {
    ++wrap.counts[static_cast<std::size_t>(record.type)];
    rows.push_back(v3::RecordRow(record, kSequence));
    return {};
  }));
  tables.Add(&rows);
  std::vector<v3::WriterRow> stamps = v3::StampRows(wrap.run, kSequence);
  v3::SortRows(&stamps);
  rows.push_back(std::move(stamps.front()));  // the sync run's, which comes before the indexes
  stamps.erase(stamps.begin());
  tables.Add(&rows);
  for (const auto& index : {PrincipalRow, HashRow}) {
    VELLUM_TRY(ForEachRecord(shape, [&](const RecordView& record) -> Status {
      if (record.type == RecordType::kGrant) rows.push_back(index(record));
      return {};
    }));
    tables.Add(&rows);
  }
  tables.Add(&stamps);
  std::ofstream file(path, std::ios::binary);
  file << v3::WrapFiles(v3::WriteCheckpoint(tables.Finish()), wrap);
  file.close();
  return file.fail() ? Internal("cannot write " + path) : Status();
}

Workload ImportV3() {
  Workload import;
  import.name = "import-v3-1m";
  import.what = "import a v3 file of 1M grants, sealed and indexed";
  import.goal = "2 s";
  import.prepare = [](const Place& place) { return WriteV3File(place.Path("in.c1z"), OrganisationOf(place.Scaled(1'000'000))); };
  import.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data-" + std::to_string(place.round))));
    measure->set_rows(OrganisationOf(place.Scaled(1'000'000)).records());
    c1z::ImportOptions options;
    options.open.scratch_dir = data->store()->options().data_dir + "/staging";
    measure->Start();
    VELLUM_TRY(c1z::ImportFile(data->store(), place.Path("in.c1z"), options, {}).error());
    measure->Stop();
    return {};
  };
  return import;
}

Workload Command(std::string_view name, std::string_view what, std::string_view goal, std::vector<std::string> words) {
  Workload command;
  command.name = name;
  command.what = what;
  command.goal = goal;
  command.prepare = [](const Place& place) { return WriteV3File(place.Path("in.c1z"), OrganisationOf(place.Scaled(300'000))); };
  command.vellum = [words = std::move(words)](const Place& place, Measure* measure) {
    std::vector<std::string> all = {place.vellum_program, "c1z", words.front(), place.Path("in.c1z")};
    all.insert(all.end(), words.begin() + 1, words.end());
    measure->set_rows(place.Scaled(300'000));
    return RunCommand(all, measure);
  };
  return command;
}

}  // namespace

std::vector<Workload> V3FileWorkloads() {
  return {ImportV3(),
          Command("c1z-stats-v3", "c1z stats of a v3 file, from its head", "10 ms", {"stats"}),
          Command("c1z-grants-v3", "c1z grants of 300k grants as jsonl, from a v3 file", "1 s, 128 MB", {"grants", "-o", "jsonl"})};
}

}  // namespace vellum::bench
