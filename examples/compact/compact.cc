// Access snapshots inside a program: write one, merge a partial into it, replace it in another store, read it, roll back.
//
//   compact DIRECTORY
#include <cstdio>
#include <memory>
#include <string>

#include "vellum/compactor.h"
#include "vellum/store.h"
#include "vellum/sync_store.h"

namespace {

// A grant of a group's membership. Records are borrowed: nothing is kept of `user` after Put.
vellum::RecordView Membership(const std::string& group, const std::string& user, vellum::Stamp discovered_at) {
  vellum::RecordView grant;
  grant.type = vellum::RecordType::kGrant;
  grant.discovered_at = discovered_at;
  grant.type_id = "group";
  grant.resource_id = group;
  grant.entitlement_id = "member";
  grant.principal_type_id = "user";
  grant.principal_id = user;
  return grant;
}

// Records may come in any order. Nothing of the sync can be read before it is sealed.
vellum::Status WriteSync(vellum::SyncStore* store, const std::string& id, const std::string& type, int users,
                         vellum::Stamp discovered_at) {
  vellum::SyncRun run;
  run.id = id;
  run.type = type;
  run.started_at = discovered_at;
  VELLUM_ASSIGN_OR_RETURN(const auto writer, store->Write(run, "example"));
  for (int i = 0; i < users; ++i) {
    const std::string user = "user-" + std::to_string(i);
    VELLUM_TRY(writer->Put(Membership(i % 2 == 0 ? "staff" : "guests", user, discovered_at)));
  }
  return writer->Seal(discovered_at + 1);
}

vellum::Result<int> CountGrants(vellum::RecordSource* source) {
  int grants = 0;
  vellum::RecordView record;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool more, source->Next(&record));
    if (!more) return grants;
    ++grants;
  }
}

vellum::Status Expect(const char* what, long long actual, long long expected) {
  std::printf("%s: %lld\n", what, actual);
  return actual == expected ? vellum::Status() : vellum::Internal(std::string(what) + " is wrong");
}

vellum::Status Run(const std::string& directory) {
  // One store of snapshots has its directory for itself; the other lives in a metadata store of this program.
  VELLUM_ASSIGN_OR_RETURN(const auto collected, vellum::SyncStore::Open({.directory = directory + "/collected"}));
  vellum::StoreOptions options;
  options.directory = directory + "/served";
  VELLUM_ASSIGN_OR_RETURN(const auto metadata, vellum::Store::Open(options));
  VELLUM_ASSIGN_OR_RETURN(const auto served, vellum::SyncStore::Attach(metadata.get()));

  VELLUM_TRY(WriteSync(collected.get(), "monday", "full", 1000, 100));
  VELLUM_TRY(WriteSync(collected.get(), "tuesday", "partial", 10, 200));

  // Unite: the newest record of each identity wins, absence deletes nothing.
  VELLUM_ASSIGN_OR_RETURN(const vellum::MergeIntoOutcome merged,
                          vellum::MergeInto(collected.get(), {{collected.get(), "tuesday"}}, "monday"));
  std::printf("merged because %s\n", merged.why.c_str());
  VELLUM_TRY(Expect("replaced", static_cast<long long>(merged.stats.at(3).replaced), 10));

  // Replace: afterwards the sync is exactly what the source has. No record is copied, files are linked.
  vellum::Compactor compactor(served.get());
  VELLUM_ASSIGN_OR_RETURN(const vellum::CompactOutcome compacted, compactor.Compact(collected.get(), "monday"));
  VELLUM_TRY(Expect("records", static_cast<long long>(compacted.records), 1000));

  // A view stays what it is, whatever happens to the sync meanwhile.
  VELLUM_ASSIGN_OR_RETURN(const std::shared_ptr<const vellum::SyncView> view, served->Read("monday"));
  VELLUM_TRY(collected->Delete("monday"));
  VELLUM_TRY(WriteSync(collected.get(), "monday", "full", 50, 300));
  VELLUM_TRY(compactor.Compact(collected.get(), "monday").error());
  VELLUM_ASSIGN_OR_RETURN(const int staff, CountGrants(view->GrantsOfEntitlement("group", "staff", "member").get()));
  VELLUM_TRY(Expect("staff before", staff, 500));
  VELLUM_ASSIGN_OR_RETURN(const int user, CountGrants(view->GrantsOfPrincipal("user", "user-7").get()));
  VELLUM_TRY(Expect("grants of user-7 before", user, 1));
  VELLUM_ASSIGN_OR_RETURN(const auto now, served->Read("monday"));
  VELLUM_TRY(Expect("grants now", static_cast<long long>(now->records(vellum::RecordType::kGrant)), 50));

  // Which sync is which generation are keys of the metadata store: they can be read, and watched, like others.
  VELLUM_ASSIGN_OR_RETURN(const auto row, metadata->Get("/vellum/syncs/monday"));
  if (!row) return vellum::Internal("the catalog lacks monday");
  std::printf("catalog: %s\n", row->value.c_str());

  VELLUM_TRY(served->Rollback("monday"));
  VELLUM_ASSIGN_OR_RETURN(const auto back, served->Read("monday"));
  VELLUM_TRY(Expect("grants after going back", static_cast<long long>(back->records(vellum::RecordType::kGrant)), 1000));
  VELLUM_TRY(served->Close());
  return metadata->Close();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  if (const vellum::Status status = Run(argv[1]); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
