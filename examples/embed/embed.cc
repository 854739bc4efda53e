// A store inside a program: put, read the past, transact, watch, lease, compact.
//
//   embed DIRECTORY
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "vellum/store.h"

namespace {

using namespace std::chrono_literals;

// Every call returns a Status, or a Result that holds one instead of a value. Nothing throws.
vellum::Status Run(const std::string& directory) {
  vellum::StoreOptions options;
  options.directory = directory;
  VELLUM_ASSIGN_OR_RETURN(const std::unique_ptr<vellum::Store> store, vellum::Store::Open(options));

  // A watch sees every change of its keys from now on, in order, each once.
  VELLUM_ASSIGN_OR_RETURN(const std::unique_ptr<vellum::WatchStream> watch,
                          store->Watch({.key = "user/", .range_end = "user0", .prev_kv = true}));

  // A write is durable when the call returns, and has a revision of its own.
  VELLUM_ASSIGN_OR_RETURN(const vellum::PutResponse first, store->Put({.key = "user/ada", .value = "engineer"}));
  VELLUM_ASSIGN_OR_RETURN(const vellum::PutResponse second, store->Put({.key = "user/ada", .value = "countess"}));
  std::printf("written at revisions %lld and %lld\n", static_cast<long long>(first.revision),
              static_cast<long long>(second.revision));

  // The past stays readable until it is compacted.
  VELLUM_ASSIGN_OR_RETURN(const vellum::RangeResponse past,
                          store->Range({.key = "user/ada", .revision = first.revision}));
  std::printf("then: %s\n", past.kvs.at(0).value.c_str());

  // Several operations at once, if a condition holds.
  vellum::TxnRequest txn;
  txn.compares.push_back({.target = vellum::CompareTarget::kMod, .key = "user/ada", .number = second.revision});
  txn.success.push_back({vellum::PutRequest{.key = "user/grace", .value = "admiral"}});
  txn.success.push_back({vellum::DeleteRangeRequest{.key = "user/ada"}});
  VELLUM_ASSIGN_OR_RETURN(const vellum::TxnResponse done, store->Txn(txn));
  std::printf("transaction %s\n", done.succeeded ? "done" : "refused");

  // Keys with a lease go when it ends.
  VELLUM_ASSIGN_OR_RETURN(const vellum::LeaseGrantResponse lease, store->LeaseGrant(60));
  VELLUM_TRY(store->Put({.key = "session/1", .value = "here", .lease = lease.id}).error());
  VELLUM_TRY(store->LeaseRevoke(lease.id).error());

  // Several revisions may come together, so what ends this is the last revision, not a number of deliveries.
  for (vellum::Revision seen = 0; seen < done.revision;) {
    VELLUM_ASSIGN_OR_RETURN(const std::optional<vellum::WatchEvents> batch, watch->Next(10s));
    if (!batch) return vellum::DeadlineExceeded("no event came within 10 s");
    for (const vellum::Event& event : batch->events) {
      seen = event.kv.mod_revision;
      std::printf("revision %lld: %s %s\n", static_cast<long long>(event.kv.mod_revision),
                  event.type == vellum::EventType::kPut ? "put" : "delete", event.kv.key.c_str());
    }
  }

  // Give up the past, and wait until its space is back.
  VELLUM_TRY(store->Compact(done.revision, {.physical = true}));
  const vellum::Status gone = store->Range({.key = "user/ada", .revision = first.revision}).error();
  std::printf("revision %lld: %s\n", static_cast<long long>(first.revision), gone.message().c_str());
  if (gone.reason() != vellum::Reason::kCompacted) return vellum::Internal("a compacted revision was readable");
  return store->Close();
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
