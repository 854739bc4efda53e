#include <algorithm>
#include <filesystem>

#include "base/bytes.h"
#include "c1z/file_view.h"
#include "c1z/record_json.h"
#include "service/local_sync_service.h"
#include "sync/access.h"
#include "sync/diff.h"
#include "sync/list.h"
#include "sync/page_token.h"

namespace vellum::service {
namespace {

using sync::Listing;
using sync::ReadView;

using View = std::shared_ptr<const ReadView>;

/// What a later page is read from: the very thing that the earlier one was.
Result<View> ReopenView(const sync::Store& store, const ListRequest& request, const sync::PageToken& token) {
  const Status gone = FailedPrecondition("what the earlier pages of sync " + Printable(request.sync_id) +
                                         " were read from is gone: start again without the page token");
  VELLUM_TRY(store.Get(request.sync_id).error());
  if (token.view.starts_with("open:")) {
    VELLUM_ASSIGN_OR_RETURN(View view, sync::OpenView(store, request.sync_id, request.generation));
    if (view->id() != token.view) return gone;
    return view;
  }
  // The name is a path's last part: a token that was not made here must not lead elsewhere.
  if (token.view.empty() || token.view.find('/') != std::string::npos || token.view.front() == '.') return gone;
  auto generation = store.OpenGeneration(token.view);
  if (generation.ok()) return sync::ViewOf(*std::move(generation));
  if (generation.error().code() == Code::kNotFound || !std::filesystem::exists(store.GenerationPath(token.view))) return gone;
  return std::move(generation).error();
}

Result<ListOutcome> ListPage(const sync::Store& store, const ListRequest& request, Listing listing,
                             const RecordVisitor& visit) {
  const std::uint64_t hash =
      sync::HashQuestion(request.sync_id, request.generation.value_or(std::string()), listing, request.query);
  sync::PageToken token;
  View view;
  if (request.page_token.empty()) {
    VELLUM_ASSIGN_OR_RETURN(view, sync::OpenView(store, request.sync_id, request.generation));
  } else {
    VELLUM_ASSIGN_OR_RETURN(token, sync::DecodePageToken(request.page_token));
    if (token.query_hash != hash) {
      return InvalidArgument("the page token belongs to another question: it goes on only with the same sync and filters");
    }
    VELLUM_ASSIGN_OR_RETURN(view, ReopenView(store, request, token));
  }
  const std::uint64_t limit = std::min<std::uint64_t>(request.page_records, store.options().page_records_max);
  const auto list = listing == Listing::kRecords ? sync::ListRecords : sync::ListPrincipals;
  VELLUM_ASSIGN_OR_RETURN(const sync::ListedPage page,
                          list(*view, request.query, limit, token.last_key, visit));
  ListOutcome outcome;
  outcome.records = page.records;
  if (!page.last_key.empty()) outcome.next_page_token = sync::EncodePageToken({view->id(), hash, page.last_key});
  // Of an open sync that takes a pass over its grants: once, not with every page.
  if (view->generation() || request.page_token.empty()) {
    VELLUM_ASSIGN_OR_RETURN(outcome.pending_expansions, view->CountPendingExpansions());
  }
  return outcome;
}

Result<View> OpenSide(sync::Store* store, const DiffSide& side, const c1z::ImportOptions& file_options,
                      const sync::Work& work) {
  if (side.file.empty()) return sync::OpenView(*store, side.sync_id, side.generation);
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, store->MakeScratch());
  c1z::ImportOptions options = file_options;
  options.only.clear();
  if (!side.sync_id.empty()) options.only.push_back(side.sync_id);
  VELLUM_ASSIGN_OR_RETURN(c1z::FileView file, c1z::ReadSync(side.file, options, scratch->path(), work));
  return std::move(file.view);
}

}  // namespace

Result<ListOutcome> LocalSyncService::ListRecords(const ListRequest& request, const RecordVisitor& visit) {
  return ListPage(*store_, request, Listing::kRecords, visit);
}

Result<ListOutcome> LocalSyncService::ListPrincipals(const ListRequest& request, const RecordVisitor& visit) {
  return ListPage(*store_, request, Listing::kPrincipals, visit);
}

Status LocalSyncService::FindRecords(const FindRequest& request, const RecordVisitor& visit) {
  VELLUM_ASSIGN_OR_RETURN(const View view, sync::OpenView(*store_, request.sync_id, request.generation));
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t found, sync::FindRecords(*view, request.type, request.id, visit));
  if (found > 0) return {};
  return NotFound("sync " + Printable(request.sync_id) + " has no " + std::string(c1z::RecordTypeName(request.type)) + " " +
                  Printable(request.id, 256));
}

Result<sync::AccessSummary> LocalSyncService::Access(const AccessRequest& request, const AccessVisitor& visit) {
  VELLUM_ASSIGN_OR_RETURN(const View view, sync::OpenView(*store_, request.sync_id, request.generation));
  return sync::AnswerAccess(*view, request.question, visit);
}

Result<sync::DiffSummary> LocalSyncService::Diff(const DiffRequest& request, const DiffVisitor& visit,
                                                 const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const View from, OpenSide(store_, request.from, request.file_options, work));
  VELLUM_ASSIGN_OR_RETURN(const View to, OpenSide(store_, request.to, request.file_options, work));
  sync::DiffOptions options;
  options.stamps = request.stamps;
  return sync::DiffViews(*from, *to, options, request.summary_only ? DiffVisitor() : visit, work);
}

}  // namespace vellum::service
