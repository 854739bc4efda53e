#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sync/generation.h"
#include "sync/query.h"
#include "vellum/status.h"

/// Where a page of an answer ended, as opaque text that callers hand back. docs/formats.md describes it.
namespace vellum::sync {

/// Longest token, as text: holds the longest key.
inline constexpr std::size_t kPageTokenBytesMax = 1u << 20;

struct PageToken {
  GenerationId view;             ///< What was read: ReadView::id().
  std::uint64_t query_hash = 0;  ///< Of the question: a token is good for no other.
  std::string last_key;          ///< The last key consumed: the next page begins behind it.

  friend bool operator==(const PageToken&, const PageToken&) = default;
};

std::string EncodePageToken(const PageToken& token);
/// kInvalidArgument for text that EncodePageToken did not make, or that was changed since. The check is no secret: what a
/// token says is still compared with the question and the key ranges that it reads.
Result<PageToken> DecodePageToken(std::string_view text);

/// What is listed: the records themselves, or the principals that grants name.
enum class Listing : std::uint8_t { kRecords, kPrincipals };
/// Equal for equal questions; `generation` is the one asked for, empty for the present one.
std::uint64_t HashQuestion(std::string_view sync_id, std::string_view generation, Listing listing, const RecordQuery& query);

}  // namespace vellum::sync
