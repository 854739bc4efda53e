#pragma once

#include "rpc/sync_messages.h"

/// Questions to syncs and their answers, between the messages of vellum.sync.v1 and the structs of service::SyncService.
namespace vellum::rpc {

void FillList(const service::ListRequest& request, v1::ListRecordsRequest* message);
/// kInvalidArgument for an unknown record type.
Result<service::ListRequest> TakeList(const v1::ListRecordsRequest& message);
Result<service::FindRequest> TakeFind(const v1::FindRecordsRequest& message);

void FillFind(const service::FindRequest& request, v1::FindRecordsRequest* message);
void FillAccess(const service::AccessRequest& request, v1::AccessRequest* message);
service::AccessRequest TakeAccess(const v1::AccessRequest& message);
void FillAccessRow(const sync::AccessRow& row, v1::AccessRow* message);
sync::AccessRow TakeAccessRow(const v1::AccessRow& message);

/// The names of files stand for their contents, which follow.
void FillDiff(const service::DiffRequest& request, v1::DiffRequest::Start* message);
Result<service::DiffRequest> TakeDiff(const v1::DiffRequest::Start& message);
void FillDiffRow(const sync::DiffRow& row, v1::DiffRow* message);
/// Hands the row to `visit`; its views point into `message`. kInternal for a row that cannot be.
Status VisitDiffRow(const v1::DiffRow& message, const service::DiffVisitor& visit);
void FillDiffSummary(const sync::DiffSummary& summary, v1::DiffResponse::Summary* message);
sync::DiffSummary TakeDiffSummary(const v1::DiffResponse::Summary& message);

}  // namespace vellum::rpc
