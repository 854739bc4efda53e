// The envelope of .c1z v3 files: the parts of it that are pure functions of bytes, and whole files. The first byte says which.
#include <sys/mman.h>
#include <unistd.h>

#include "c1z/reader.h"
#include "c1z/v3/frames.h"
#include "c1z/v3/header.h"
#include "c1z/v3/keys.h"
#include "c1z/v3/table.h"
#include "c1z/v3/test_writer.h"
#include "target.h"

namespace {

using namespace vellum;           // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::c1z::v3;  // NOLINT(google-build-using-namespace)

constexpr char kDecoders = 8;
constexpr std::uint64_t kFileBytes = 1u << 20;

void Check(bool promise) {
  if (!promise) std::abort();
}

/// Reads all records of a file that has no name.
void ReadFile(std::string_view bytes) {
  const int fd = ::memfd_create("file.c1z", MFD_CLOEXEC);
  Check(fd >= 0 && ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  c1z::OpenOptions options;
  options.limits.decoded_bytes_max = 16u << 20;
  options.limits.memory_bytes_max = 32u << 20;
  const auto reader = c1z::OpenReader("/proc/self/fd/" + std::to_string(fd), options);
  if (reader.ok()) {
    c1z::ReadReport report;
    for (const c1z::FileSync& sync : (*reader)->syncs()) {
      for (int type = 0; type < sync::kRecordTypes; ++type) {
        (*reader)
            ->ReadRecords(sync, static_cast<sync::RecordType>(type), c1z::Reader::Invalid::kSkip,
                          [](const sync::RecordView&) { return Status(); }, &report)
            .IgnoreError("that it ends is enough");
      }
    }
    (*reader)->CheckRest().IgnoreError("that it ends is enough");
  }
  ::close(fd);
}

WrapOptions Wrap(int encoding) {
  WrapOptions options;
  options.encoding = encoding;
  options.run.id = "3AKrFg2DodbmMYsERIlv6FSibdb";
  options.run.type = "full";
  options.run.ended_at = 1'000'000'000;
  return options;
}

std::string Tagged(char decoder, const std::string& bytes) { return decoder + bytes; }

}  // namespace

std::vector<std::string> Seeds() {
  std::vector<WriterRow> rows = StampRows(Wrap(5).run, 3);
  sync::RecordView type;
  type.id = "user";
  rows.push_back(RecordRow(type, 3));
  SortRows(&rows);
  TableFormat format;
  const Files files = WriteCheckpoint({WriteTable(rows, {{"\x03\x0A", "\x03\x0B", 3}})});
  const std::string indexed = WrapFiles(files, Wrap(5));
  const std::string footer = indexed.substr(indexed.size() - kFrameFooterBytes);
  const auto at = ParseFrameFooter(footer, 9, indexed.size());
  return {
      Tagged(0, ManifestBytes(Wrap(5))),
      Tagged(1, footer),
      Tagged(2, indexed.substr(at->index_offset, at->index_size)),
      Tagged(3, TarEntryBytes("000010.sst", "x").substr(0, kTarBlockBytes)),
      Tagged(4, "28 path=./a/very/long/name\n"),
      Tagged(5, MakeFrame("x", std::string(3000, 'y')).compressed),
      Tagged(6, FooterBytes(format, 128, {100, 50}, {10, 20})),
      Tagged(7, indexed),
      Tagged(7, WrapFiles(files, Wrap(2))),
      Tagged(7, WrapFiles(files, Wrap(1))),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % kDecoders) {
    case 0: ParseManifest(bytes).error().IgnoreError("that it ends is enough"); break;
    case 1:
      if (const auto footer = ParseFrameFooter(bytes, 9, kFileBytes); footer.ok()) {
        Check(footer->index_offset >= 9 && footer->index_size <= kFileBytes - footer->index_offset);
      }
      break;
    case 2:
      if (const auto frames = ParseFrameIndex(bytes, 9, kFileBytes, kFileBytes, 0); frames.ok()) {
        std::uint64_t raw = 0;
        for (const Frame& frame : *frames) {
          Check(frame.offset >= 9 && frame.offset <= kFileBytes && frame.compressed_size <= kFileBytes - frame.offset);
          Check(CheckFileName(frame.name).ok());
          raw += frame.raw_size;
        }
        Check(raw <= kFileBytes);
      }
      break;
    case 3:
      if (bytes.size() >= kTarBlockBytes) {
        ParseTarHeader(bytes.substr(0, kTarBlockBytes)).error().IgnoreError("that it ends is enough");
      }
      break;
    case 4:
      if (const auto path = ParsePaxPath(bytes); path.ok()) Check(path->size() <= bytes.size());
      break;
    case 5:
      if (const auto cost = ReadFrameCost(bytes, 27); cost.ok()) Check(cost->window_bytes <= 1u << 27);
      break;
    case 6:
      if (const auto footer = ParseFooter(bytes, kFileBytes); footer.ok()) {
        Check(footer->index.size <= footer->offset && footer->index.offset <= footer->offset - footer->index.size);
      }
      break;
    default: ReadFile(bytes); break;
  }
  return 0;
}
