// Page tokens. What decodes was encoded by us, so it encodes to the same text, and no other text means the same.
#include "sync/page_token.h"
#include "target.h"

using vellum::sync::DecodePageToken;
using vellum::sync::EncodePageToken;

std::vector<std::string> Seeds() {
  return {EncodePageToken({"2abcABC0123456789abcABC0123", 0x0123456789abcdef, std::string("\x04group\0\x01x", 9)}),
          EncodePageToken({"", 0, ""}), EncodePageToken({"open:2abc", ~0ull, std::string(300, '\xff')}), "AQ", "=", ""};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto token = DecodePageToken(text);
  if (!token.ok()) {
    if (token.error().code() != vellum::Code::kInvalidArgument || token.error().message().empty()) std::abort();
    return 0;
  }
  if (EncodePageToken(*token) != text) std::abort();
  // A change anywhere in it is noticed.
  std::string changed = text;
  changed[size / 2] = changed[size / 2] == 'A' ? 'B' : 'A';
  if (DecodePageToken(changed).ok()) std::abort();
  return 0;
}
