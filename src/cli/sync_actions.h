#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/printing.h"
#include "service/sync_service.h"

/// What `vellum sync …` and `vellum c1z …` do, apart from reading the command line. Each returns the exit code and prints
/// what it has to say; errors go to standard error.
namespace vellum::cli {

/// What the verbs that ask are given.
struct QuestionArguments {
  std::string resource;       ///< TYPE:ID, as the two after it.
  std::string parent;
  std::string principal;
  std::string entitlement;
  std::string resource_type;
  std::string principal_type;
  bool needs_expansion = false;
  std::uint64_t limit = 0;
  std::string page_token;
  std::string record_type;
  std::string id;
  bool why = false;
  std::uint32_t depth = 32;
  bool stamps = false;
  bool summary = false;
};

struct SyncArguments {
  std::string data_dir = "default.vellum";
  std::vector<std::string> endpoints;  ///< Empty: the data directory is opened here.
  std::vector<std::string> files;
  std::vector<std::string> syncs;
  std::string sync;
  std::string into;
  std::string from;
  std::string out;
  std::string to_generation;
  std::string connector;
  std::string zone = "UTC";
  std::string ties = "first";
  std::string strategy = "auto";
  Format format = Format::kTable;
  bool replace = false;
  bool skip_invalid = false;
  bool allow_empty = false;
  bool force = false;
  bool dry_run = false;
  std::uint32_t keep = service::RetainRequest{}.keep;
  QuestionArguments question;
};

int ImportSyncs(const SyncArguments& arguments);
int ListSyncs(const SyncArguments& arguments);
int ShowSync(const SyncArguments& arguments);
int SyncStats(const SyncArguments& arguments);
int SyncHistory(const SyncArguments& arguments);
int MergeSyncsVerb(const SyncArguments& arguments);
int CompactSync(const SyncArguments& arguments);
int RollbackSync(const SyncArguments& arguments);
int DeleteSync(const SyncArguments& arguments);
int VerifySyncs(const SyncArguments& arguments);
int SweepSyncs(const SyncArguments& arguments);
int ExportSyncs(const SyncArguments& arguments);

int SyncResourceTypes(const SyncArguments& arguments);
int SyncResources(const SyncArguments& arguments);
int SyncEntitlements(const SyncArguments& arguments);
int SyncGrants(const SyncArguments& arguments);
int SyncPrincipals(const SyncArguments& arguments);
int SyncAssets(const SyncArguments& arguments);
int SyncGet(const SyncArguments& arguments);
int SyncAccess(const SyncArguments& arguments);
int SyncDiff(const SyncArguments& arguments);

int C1zInfo(const SyncArguments& arguments);
int C1zVerify(const SyncArguments& arguments);
int C1zStats(const SyncArguments& arguments);
int C1zGrants(const SyncArguments& arguments);
int C1zMerge(const SyncArguments& arguments);
int C1zAccess(const SyncArguments& arguments);
int C1zDiff(const SyncArguments& arguments);

/// The grants that the arguments select. kInvalidArgument for names that are none.
Result<sync::RecordQuery> GrantQueryOf(const SyncArguments& arguments);

/// Runs `ask` on the service that the arguments name. Its result is the exit code; a failure is printed.
int AskService(const SyncArguments& arguments, const std::function<Result<int>(service::SyncService*)>& ask);

/// Runs `action` on the service that the arguments name, and returns the exit code.
int OnService(const SyncArguments& arguments, const std::function<Status(service::SyncService*)>& action);
/// What a merge did, for people.
void PrintMerge(const service::MergeReport& outcome, double seconds);
/// Prints a failure and returns exit code 2.
int FailWith(const Status& status);

}  // namespace vellum::cli
