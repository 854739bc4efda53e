#pragma once

#include "vellum/records.h"

/// The data plane's records, as they pass between files, generations and callers: the public ones.
namespace vellum::sync {

using vellum::kRecordTypes;
using vellum::RecordSink;
using vellum::RecordSource;
using vellum::RecordType;
using vellum::RecordView;
using vellum::Stamp;
using vellum::SyncRun;

}  // namespace vellum::sync
