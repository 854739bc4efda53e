// The reader of .c1z files. The first byte says what the rest is: a file as it is, or (odd) the database inside a v1 file,
// which is wrapped first, because changes of compressed bytes rarely get past zstd's checksum. Whatever the bytes are, they
// are read within bounds or refused with an error, and reading them again gives the same.
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "c1z/reader.h"
#include "target.h"

namespace {

using namespace vellum;       // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::c1z;  // NOLINT(google-build-using-namespace)
namespace fs = std::filesystem;

void Check(bool promise) {
  if (!promise) std::abort();
}

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void Spill(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// In memory where that is possible, and gone at the end.
class Folder {
 public:
  Folder() {
    path_ = (fs::is_directory("/dev/shm") ? "/dev/shm" : fs::temp_directory_path().string()) + "/vellum-c1z-fuzz-XXXXXX";
    Check(::mkdtemp(path_.data()) != nullptr);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  std::string operator/(const char* name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Seen {
  std::uint64_t syncs = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  bool operator==(const Seen&) const = default;
};

Status ReadAll(const std::string& path, const std::string& scratch, Seen* seen) {
  OpenOptions options;
  options.scratch_dir = scratch;
  options.limits.decoded_bytes_max = 4u << 20;
  options.limits.decoded_bytes_free = 1u << 20;
  options.limits.window_log_max = 22;
  options.limits.manifest_bytes_max = 1u << 20;
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(path, options));
  seen->syncs = reader->syncs().size();
  for (const FileSync& sync : reader->syncs()) {
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      ReadReport report;
      VELLUM_TRY(reader->ReadRecords(
          sync, static_cast<sync::RecordType>(type), Reader::Invalid::kSkip,
          [&](const sync::RecordView& record) {
            Check(static_cast<int>(record.type) == type);
            ++seen->records;
            seen->bytes += record.id.size() + record.data.size() + record.expansion.size();
            return Status();
          },
          &report));
    }
    VELLUM_TRY(reader->ReadSessions(sync, [seen](const Session& session) {
      seen->bytes += session.key.size() + session.value.size();
      return Status();
    }));
  }
  return reader->CountOrphans().error();
}

}  // namespace

std::vector<std::string> Seeds() {
  std::vector<std::string> seeds;
  const std::string fixtures = std::string(VELLUM_FIXTURES) + "/c1z/";
  for (const char* name : {"tiny.v1.c1z", "tiny-slim.v1.c1z", "tiny-partial.v1.c1z", "dir-types-only.v1.c1z", "tiny.v3.c1z",
                           "tiny-partial.v3.c1z"}) {
    seeds.push_back(std::string(1, '\0') + Slurp(fixtures + name));
  }
  const Folder folder;
  for (const char* name : {"tiny.v1.c1z", "dir-empty.v1.c1z"}) {
    fs::remove(folder / "database");
    Check(ExtractDatabase(fixtures + name, folder / "database", {}).ok());
    seeds.push_back(std::string(1, '\1') + Slurp(folder / "database"));
  }
  for (const auto& file : fs::directory_iterator(fixtures + "corrupt")) {
    if (file.path().extension() == ".c1z" && file.file_size() <= 8192) {
      seeds.push_back(std::string(1, '\0') + Slurp(file.path().string()));
    }
  }
  return seeds;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static const Folder folder;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string path = folder / "file.c1z";
  if (data[0] % 2 == 0) {
    Spill(path, bytes);
  } else {
    Spill(folder / "database", bytes);
    if (!WrapDatabase(folder / "database", path, 0).ok()) return 0;
  }
  Seen once;
  Seen twice;
  const Status first = ReadAll(path, folder.path(), &once);
  const Status second = ReadAll(path, folder.path(), &twice);
  Check(first.code() == second.code() && once == twice);
  // An error says something; nothing that was unpacked stays.
  Check(first.ok() || !first.message().empty());
  std::size_t left = 0;
  for (const auto& file : fs::directory_iterator(folder.path())) {
    left += file.path().filename() != "file.c1z" && file.path().filename() != "database" ? 1 : 0;
  }
  Check(left == 0);
  return 0;
}
