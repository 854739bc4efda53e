#include "cli/sync_verbs.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "cli/keep_actions.h"
#include "cli/sync_actions.h"

namespace vellum::cli {

struct SyncVerbs::Impl {
  struct Verb {
    CLI::App* app;
    int (*run)(const SyncArguments&);
  };
  SyncArguments arguments;
  std::string output = "table";
  std::vector<Verb> verbs;
  std::vector<const CLI::Option*> directories;  ///< --data-dir, before the verb and after it.

  CLI::App* Add(CLI::App* group, const char* name, const char* help, const char* example,
                int (*run)(const SyncArguments&)) {
    CLI::App* const verb = group->add_subcommand(name, help);
    verb->footer(std::string("Example:\n  vellum ") + group->get_name() + " " + name + " " + example);
    verbs.push_back({verb, run});
    return verb;
  }
  CLI::App* AddSync(CLI::App* group, const char* name, const char* help, const char* example,
                    int (*run)(const SyncArguments&)) {
    CLI::App* const verb = Add(group, name, help, example, run);
    AddPlace(verb);
    return verb;
  }
  /// Where the syncs are.
  void AddPlace(CLI::App* app) {
    directories.push_back(
        app->add_option("--data-dir", arguments.data_dir, "The data directory; no server may run on it (default.vellum)"));
    app->add_option("--endpoint,--endpoints", arguments.endpoints, "A running server instead of a data directory: host:port")
        ->allow_extra_args(false);
  }
  void AddOutput(CLI::App* verb) {
    verb->add_option("-o,--output", output, "table, json, jsonl or csv")
        ->check(CLI::IsMember({"table", "json", "jsonl", "csv"}));
  }
  void AddOne(CLI::App* verb) { verb->add_option("SYNC", arguments.sync, "The sync's id")->required(); }
  void AddZone(CLI::App* verb) {
    verb->add_option("--zone", arguments.zone,
                     "What the zone-less stamps of v1 files are in: UTC, +02:00, local, Europe/Paris (UTC)");
  }
  void AddSkip(CLI::App* verb) {
    verb->add_flag("--skip-invalid", arguments.skip_invalid, "Leave out rows that cannot be records, and say how many");
  }
  void AddOut(CLI::App* verb) {
    verb->add_option("-o,--out", arguments.out, "The file to write")->required();
    verb->add_flag("--force", arguments.force, "Replace the file if it exists");
  }
  void AddTies(CLI::App* verb) {
    verb->add_option("--ties", arguments.ties, "Who wins when stamps are equal: the first or the last source (first)")
        ->check(CLI::IsMember({"first", "last"}));
  }

  void AddFilter(CLI::App* verb, const char* flag, std::string* value, const char* help) {
    verb->add_option(flag, *value, help);
  }
  void AddPaging(CLI::App* verb) {
    verb->add_option("--limit", arguments.question.limit, "At most so many; a token for the rest is printed (all)");
    verb->add_option("--page-token", arguments.question.page_token, "Goes on where an earlier answer ended");
  }
  CLI::App* AddListing(CLI::App* group, const char* name, const char* help, const char* example,
                       int (*run)(const SyncArguments&)) {
    CLI::App* const verb = AddSync(group, name, help, example, run);
    verb->add_option("SYNC", arguments.sync, "The sync's id, or SYNC@GENERATION for one of its history")->required();
    AddOutput(verb);
    AddPaging(verb);
    return verb;
  }
  void AddGrantFilters(CLI::App* verb);
  void AddAccessFlags(CLI::App* verb);
  void AddDiffFlags(CLI::App* verb);
  void AddQuestions(CLI::App* group);
  void AddSyncGroup(CLI::App* app);
  void AddKeepVerbs(CLI::App* group);
  void AddC1zGroup(CLI::App* app);
};

void SyncVerbs::Impl::AddGrantFilters(CLI::App* verb) {
  QuestionArguments& question = arguments.question;
  AddFilter(verb, "--resource", &question.resource, "Of this resource: TYPE:ID");
  AddFilter(verb, "--resource-type", &question.resource_type, "Of resources of this type");
  AddFilter(verb, "--entitlement", &question.entitlement, "Of this entitlement, by its id");
  AddFilter(verb, "--principal", &question.principal, "To this principal: TYPE:ID");
  AddFilter(verb, "--principal-type", &question.principal_type, "To principals of this type");
  verb->add_flag("--needs-expansion", question.needs_expansion, "Only grants that wait for expansion");
}

void SyncVerbs::Impl::AddAccessFlags(CLI::App* verb) {
  QuestionArguments& question = arguments.question;
  AddFilter(verb, "--principal", &question.principal, "What can it reach? TYPE:ID");
  AddFilter(verb, "--resource", &question.resource, "Who can reach it? TYPE:ID");
  verb->add_flag("--why", question.why, "Also through which other entitlements, as far as the grants' sources lead");
  verb->add_option("--depth", question.depth, "The longest chain that --why follows (32)");
  AddOutput(verb);
}

void SyncVerbs::Impl::AddDiffFlags(CLI::App* verb) {
  verb->add_flag("--stamps", arguments.question.stamps, "Also records of which the stamp alone differs");
  verb->add_flag("--summary", arguments.question.summary, "Only how many, by record type");
  AddOutput(verb);
  AddZone(verb);
  AddSkip(verb);
}

void SyncVerbs::Impl::AddQuestions(CLI::App* group) {
  QuestionArguments& question = arguments.question;
  AddListing(group, "resource-types", "The resource types of a sync", "2abc", SyncResourceTypes);
  CLI::App* verb = AddListing(group, "resources", "The resources of a sync", "2abc --resource-type group", SyncResources);
  AddFilter(verb, "--resource-type", &question.resource_type, "Of this type");
  AddFilter(verb, "--resource", &question.resource, "This one: TYPE:ID");
  AddFilter(verb, "--parent", &question.parent, "Those under this one: TYPE:ID");
  verb = AddListing(group, "entitlements", "The entitlements of a sync", "2abc --resource repo:x", SyncEntitlements);
  AddFilter(verb, "--resource", &question.resource, "Of this resource: TYPE:ID");
  AddFilter(verb, "--resource-type", &question.resource_type, "Of resources of this type");
  AddFilter(verb, "--entitlement", &question.entitlement, "Those with this id");
  AddGrantFilters(AddListing(group, "grants", "The grants of a sync", "2abc --principal user:alice -o jsonl", SyncGrants));
  AddGrantFilters(AddListing(group, "principals", "Who has grants; each once", "2abc --resource repo:x", SyncPrincipals));
  AddListing(group, "assets", "The assets of a sync", "2abc", SyncAssets);

  verb = AddSync(group, "get", "One record, by its identity or by the connector's id", "2abc grant group:eng:member:user:alice",
                 SyncGet);
  AddOne(verb);
  verb->add_option("TYPE", question.record_type, "resource-type, resource, entitlement, grant or asset")->required();
  verb->add_option("ID", question.id, "The connector's own id, or the parts of the identity with colons between them")->required();
  AddFilter(verb, "--resource", &question.resource, "Of the entitlements or grants with that id, the one of this resource: TYPE:ID");
  verb->add_option("--out", arguments.out, "Write an asset's bytes to this file");
  verb->add_flag("--force", arguments.force, "Replace the file if it exists");
  AddOutput(verb);

  verb = AddSync(group, "access", "What a principal can reach, or who can reach a resource", "2abc --resource repo:x --why",
                 SyncAccess);
  AddOne(verb);
  AddAccessFlags(verb);
  verb = AddSync(group, "diff", "What differs between two syncs, generations or files; exit code 1 if anything does",
                 "2abc 2def --summary", SyncDiff);
  verb->add_option("SYNC", arguments.syncs, "Before and after: SYNC, SYNC@GENERATION, FILE or FILE#SYNC")
      ->required()
      ->expected(2);
  AddDiffFlags(verb);
}

void SyncVerbs::Impl::AddSyncGroup(CLI::App* app) {
  CLI::App* const group = app->add_subcommand(
      "sync", "Access snapshots, in a data directory or on a server (--endpoint): import, merge, replace, export");
  group->require_subcommand(1);
  AddPlace(group);
  CLI::App* verb = AddSync(group, "import", "Take in all syncs of .c1z files", "base.c1z partial1.c1z", ImportSyncs);
  verb->add_option("FILE", arguments.files, ".c1z files (v1)")->required();
  verb->add_option("--sync", arguments.syncs, "Only syncs with these ids")->allow_extra_args(false);
  verb->add_option("--connector", arguments.connector, "The connector's name (the file's stem)");
  verb->add_flag("--replace", arguments.replace, "Switch syncs that exist with other contents; their history stays");
  AddZone(verb);
  AddSkip(verb);

  AddOutput(AddSync(group, "list", "All syncs", "-o json", ListSyncs));
  verb = AddSync(group, "show", "Everything about one sync", "2abc", ShowSync);
  AddOne(verb);
  AddOutput(verb);
  verb = AddSync(group, "stats", "Records and bytes by bucket", "2abc", SyncStats);
  AddOne(verb);
  AddOutput(verb);
  verb = AddSync(group, "history", "The generations that a sync can be rolled back to", "2abc", SyncHistory);
  AddOne(verb);
  AddOutput(verb);

  AddQuestions(group);

  verb = AddSync(group, "merge", "Unite syncs: per record the newest stamp wins, absence never deletes",
                 "--into NEW 2abc 2def", MergeSyncsVerb);
  verb->add_option("--into", arguments.into, "The sync to merge into; made if it does not exist (a new id)");
  verb->add_option("SYNC", arguments.syncs, "The sources, in order")->required();
  AddTies(verb);
  verb->add_option("--strategy", arguments.strategy, "auto, merge or fold; the result is the same (auto)")
      ->check(CLI::IsMember({"auto", "merge", "fold"}));

  verb = AddSync(group, "compact", "Make a sync exactly what it is in another store or file", "--from other.vellum 2abc",
                 CompactSync);
  verb->add_option("--from", arguments.from, "A data directory or a .c1z file")->required();
  AddOne(verb);
  verb->add_flag("--allow-empty", arguments.allow_empty, "Also if that leaves the sync without records");
  AddZone(verb);
  AddSkip(verb);

  verb = AddSync(group, "rollback", "Point a sync at an earlier generation", "2abc", RollbackSync);
  AddOne(verb);
  verb->add_option("--to", arguments.to_generation, "Which, of its history (the one before the present)");
  verb = AddSync(group, "delete", "Forget syncs and return their space", "2abc", DeleteSync);
  verb->add_option("SYNC", arguments.syncs, "Their ids")->required();
  verb = AddSync(group, "verify", "Read everything and compare it with counts, digests and rebuilt indexes", "", VerifySyncs);
  verb->add_option("SYNC", arguments.syncs, "Their ids (all)");
  AddSync(group, "sweep", "Delete generations that nothing refers to", "", SweepSyncs);
  AddKeepVerbs(group);

  verb = AddSync(group, "export", "Write syncs into one .c1z v1 file", "2abc -o out.c1z", ExportSyncs);
  verb->add_option("SYNC", arguments.syncs, "Their ids")->required();
  AddOut(verb);
  AddZone(verb);
}

void SyncVerbs::Impl::AddKeepVerbs(CLI::App* group) {
  CLI::App* verb = AddSync(group, "repair", "Build indexes anew where they are wrong, damaged or of an older version", "2abc",
                           RepairSyncs);
  verb->add_option("SYNC", arguments.syncs, "Their ids")->required();
  verb = AddSync(group, "retain", "Delete what is beyond the newest full syncs of a connector; shows first what goes",
                 "--connector okta --keep 7 --dry-run", RetainSyncs);
  verb->add_option("--connector", arguments.connector, "The connector's name")->required();
  verb->add_option("--keep", arguments.keep, "Finished full syncs that stay; the newest always does (2)");
  verb->add_flag("--dry-run", arguments.dry_run, "Only show it");
  AddOutput(verb);
  verb = AddSync(group, "rollup", "Merge a connector's pending partial syncs into its latest full one, and delete them",
                 "--connector okta --dry-run", RollupSyncs);
  verb->add_option("--connector", arguments.connector, "The connector's name")->required();
  verb->add_flag("--dry-run", arguments.dry_run, "Only show which");
  AddOutput(verb);
}

void SyncVerbs::Impl::AddC1zGroup(CLI::App* app) {
  CLI::App* const group = app->add_subcommand("c1z", "Access snapshots in .c1z files, without a store");
  group->require_subcommand(1);
  const auto add_files = [this](CLI::App* verb) {
    verb->add_option("FILE", arguments.files, ".c1z files")->required();
    AddZone(verb);
  };
  CLI::App* verb = Add(group, "info", "Which syncs files hold", "base.c1z", C1zInfo);
  add_files(verb);
  AddOutput(verb);
  verb = Add(group, "verify", "Read every row of files", "base.c1z", C1zVerify);
  add_files(verb);
  verb = Add(group, "stats", "Count the records of files", "base.c1z", C1zStats);
  add_files(verb);
  AddOutput(verb);
  AddSkip(verb);
  verb->add_option("--sync", arguments.sync, "Only this sync");
  verb = Add(group, "grants", "Print the grants of files", "base.c1z -o jsonl", C1zGrants);
  add_files(verb);
  AddOutput(verb);
  AddSkip(verb);
  verb->add_option("--sync", arguments.sync, "This sync (the newest finished one)");
  AddGrantFilters(verb);
  verb = Add(group, "access", "What a principal can reach, or who can reach a resource", "base.c1z --principal user:alice",
             C1zAccess);
  add_files(verb);
  AddSkip(verb);
  verb->add_option("--sync", arguments.sync, "This sync (the newest finished one)");
  AddAccessFlags(verb);
  verb = Add(group, "diff", "What differs between two files; exit code 1 if anything does", "old.c1z new.c1z", C1zDiff);
  verb->add_option("FILE", arguments.files, "Before and after; FILE#SYNC picks a sync")->required()->expected(2);
  AddDiffFlags(verb);
  verb = Add(group, "merge", "Unite files into one: per record the newest stamp wins, absence never deletes",
             "-o out.c1z base.c1z partial1.c1z", C1zMerge);
  verb->add_option("FILE", arguments.files, "The base, then the partials; FILE#SYNC picks a sync")->required();
  AddOut(verb);
  AddTies(verb);
  AddZone(verb);
  AddSkip(verb);
}

SyncVerbs::SyncVerbs(CLI::App* app) : impl_(std::make_unique<Impl>()) {
  impl_->AddSyncGroup(app);
  impl_->AddC1zGroup(app);
}

SyncVerbs::~SyncVerbs() = default;

std::optional<int> SyncVerbs::Run(const std::vector<std::string>& endpoints) {
  if (impl_->arguments.endpoints.empty()) impl_->arguments.endpoints = endpoints;
  impl_->arguments.format = impl_->output == "json"    ? Format::kJson
                            : impl_->output == "jsonl" ? Format::kJsonl
                            : impl_->output == "csv"   ? Format::kCsv
                                                       : Format::kTable;
  const bool in_directory = std::any_of(impl_->directories.begin(), impl_->directories.end(),
                                        [](const CLI::Option* directory) { return directory->count() > 0; });
  if (in_directory && !impl_->arguments.endpoints.empty()) {
    return FailWith(InvalidArgument("--endpoint and --data-dir exclude each other"));
  }
  for (const Impl::Verb& verb : impl_->verbs) {
    if (verb.app->parsed()) return verb.run(impl_->arguments);
  }
  return std::nullopt;
}

}  // namespace vellum::cli
