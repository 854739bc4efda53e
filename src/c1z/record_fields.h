#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// What both ways of turning records into JSON share. Included inside this room only.
namespace vellum::c1z {

/// kInvalidArgument that shows the beginning of the bytes.
Status NotProtobuf(std::string_view bytes);

/// Since 1970; what 64 bits cannot hold becomes the nearest that they can.
std::int64_t NanosecondsOf(const google::protobuf::Timestamp& time);

/// Whether a number of a Struct is printed as an integer.
bool IsWholeNumber(double number);

}  // namespace vellum::c1z
