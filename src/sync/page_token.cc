#include "sync/page_token.h"

#include <absl/strings/escaping.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

namespace vellum::sync {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kCheckBytes = 8;
constexpr std::uint64_t kCheckSeed = 0x76656c6c756d7067;  // "vellumpg"

std::uint64_t CheckOf(std::string_view bytes) { return XXH3_64bits_withSeed(bytes.data(), bytes.size(), kCheckSeed); }

void AppendName(std::string* out, const std::optional<ResourceName>& name) {
  out->push_back(name ? 1 : 0);
  if (!name) return;
  AppendLengthPrefixed(out, name->type);
  AppendLengthPrefixed(out, name->id);
}

}  // namespace

std::string EncodePageToken(const PageToken& token) {
  std::string bytes(1, kVersion);
  AppendLengthPrefixed(&bytes, token.view);
  AppendBe64(&bytes, token.query_hash);
  AppendLengthPrefixed(&bytes, token.last_key);
  AppendBe64(&bytes, CheckOf(bytes));
  return absl::WebSafeBase64Escape(bytes);
}

Result<PageToken> DecodePageToken(std::string_view text) {
  if (text.size() > kPageTokenBytesMax) {
    return InvalidArgument("a page token of " + std::to_string(text.size()) + " bytes is above the limit of " +
                           std::to_string(kPageTokenBytesMax));
  }
  const Status bad = InvalidArgument("page token " + Printable(text) +
                                     " is damaged, or was not made here: begin again without one");
  std::string bytes;
  // The decoder is lenient with padding and trailing bits: a token has one spelling.
  if (!absl::WebSafeBase64Unescape(std::string(text), &bytes) || absl::WebSafeBase64Escape(bytes) != text) return bad;
  if (bytes.size() < kCheckBytes) return bad;
  const std::string_view checked = std::string_view(bytes).substr(0, bytes.size() - kCheckBytes);
  if (ByteReader(std::string_view(bytes).substr(checked.size())).ReadBe64() != CheckOf(checked)) return bad;
  ByteReader reader(checked);
  const auto version = reader.ReadByte();
  const auto view = reader.ReadLengthPrefixed();
  const auto hash = reader.ReadBe64();
  const auto key = reader.ReadLengthPrefixed();
  if (version != kVersion || !view || !hash || !key || !reader.empty()) return bad;
  return PageToken{std::string(*view), *hash, std::string(*key)};
}

std::uint64_t HashQuestion(std::string_view sync_id, std::string_view generation, Listing listing, const RecordQuery& query) {
  std::string bytes;
  AppendLengthPrefixed(&bytes, sync_id);
  AppendLengthPrefixed(&bytes, generation);
  bytes.push_back(static_cast<char>(listing));
  bytes.push_back(static_cast<char>(query.type));
  AppendLengthPrefixed(&bytes, query.resource_type);
  AppendName(&bytes, query.resource);
  AppendName(&bytes, query.parent);
  AppendLengthPrefixed(&bytes, query.entitlement);
  AppendName(&bytes, query.principal);
  AppendLengthPrefixed(&bytes, query.principal_type);
  bytes.push_back(query.needs_expansion ? 1 : 0);
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace vellum::sync
