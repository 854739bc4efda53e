#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// What a .c1z file is wrapped in. v1: five bytes and a zstd stream that holds a SQLite database. v3: five bytes, a
/// manifest, and a payload that v3/ reads.
namespace vellum::c1z {

/// Bounds on what a file may make us do. Each default stands here and nowhere else.
struct ReadLimits {
  std::uint64_t decoded_bytes_max = 10ull << 30;  ///< The database, decompressed.
  /// Decompressed bytes per compressed one, checked beyond decoded_bytes_free: real files stay below 50.
  std::uint64_t ratio_max = 500;
  std::uint64_t decoded_bytes_free = 64u << 20;
  int window_log_max = 27;                        ///< zstd's window: 128 MiB.
  std::uint32_t manifest_bytes_max = 16u << 20;   ///< v3.
  /// v3: everything that reading one file holds in memory at once. With what a process needs beside it: 256 MiB.
  std::uint64_t memory_bytes_max = 224u << 20;
  std::uint64_t block_bytes_max = 256u << 20;     ///< v3: one block of a table, decompressed.
  std::uint64_t entries_max = 4'000'000'000;      ///< v3: rows of tables that are looked at, records or not.
  std::chrono::milliseconds time_max{0};          ///< v3: from opening on; 0: no limit.
};

enum class Format : std::uint8_t { kV1, kV3 };

/// By the first five bytes. kNotFound: no such file. kInvalidArgument: empty, too short, or no .c1z file.
Result<Format> DetectFormat(const std::string& path);

/// Decompresses a v1 file's database into `out_path`, which must not exist, in bounded memory. kInvalidArgument for files
/// that are damaged, hold nothing, or are not a SQLite database; kResourceExhausted naming the limit, the moment
/// it is passed.
Status ExtractDatabase(const std::string& path, const std::string& out_path, const ReadLimits& limits);

/// Writes magic and one zstd frame with content size and checksum, holding the file at `database_path`, to `out_path`
/// (replaced). Synced, not renamed. `threads`: zstd workers beside the caller.
Status WrapDatabase(const std::string& database_path, const std::string& out_path, int threads);

/// Writes a v1 file while its database is being made: all of it but the first page front to back, and that one, which
/// says where everything is, at the end. It has a frame of its own, uncompressed, before the frame of the others.
class EnvelopeWriter {
 public:
  /// Into `path`, replacing what is there. `threads`: zstd workers beside the caller.
  static Result<std::unique_ptr<EnvelopeWriter>> Create(const std::string& path, std::size_t first_page_bytes,
                                                        int threads);
  ~EnvelopeWriter();

  /// The database from its second page on.
  Status Append(std::string_view pages);
  /// Ends the file. Synced, not renamed.
  Status Finish(std::string_view first_page);

 private:
  struct Impl;
  explicit EnvelopeWriter(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

/// The manifest of a v3 file, undecoded.
Result<std::string> ReadManifest(const std::string& path, const ReadLimits& limits);

}  // namespace vellum::c1z
