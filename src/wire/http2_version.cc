#include "wire/http2_version.h"

#include <nghttp2/nghttp2.h>

namespace vellum::wire {

std::string Http2Version() { return nghttp2_version(0)->version_str; }

}  // namespace vellum::wire
