#include "c1z/envelope.h"

#include <fcntl.h>
#include <zstd.h>
#include <zstd_errors.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "c1z/file.h"
#include "c1z/write_behind.h"

namespace vellum::c1z {
namespace {

constexpr std::string_view kMagicV1("C1ZF\0", 5);
constexpr std::string_view kMagicV3("C1Z3\0", 5);
constexpr std::string_view kSqliteMagic("SQLite format 3\0", 16);

Result<Format> ReadMagic(const File& file) {
  std::array<char, 5> magic{};
  std::size_t got = 0;
  while (got < magic.size()) {
    VELLUM_ASSIGN_OR_RETURN(const std::size_t more, file.Read(magic.data() + got, magic.size() - got));
    if (more == 0) break;
    got += more;
  }
  const std::string_view read(magic.data(), got);
  if (read.empty()) return InvalidArgument(file.path() + " is empty: not a .c1z file");
  if (read == kMagicV1) return Format::kV1;
  if (read == kMagicV3) return Format::kV3;
  if (read.size() < magic.size()) {
    return InvalidArgument(file.path() + " has only " + std::to_string(got) + " bytes: not a .c1z file");
  }
  return InvalidArgument(file.path() + " is not a .c1z file: it begins with " + Printable(read));
}

/// Takes the database, and checks its size as it grows, and its first bytes.
class DatabaseSink {
 public:
  DatabaseSink(const File* out, std::string name, std::uint64_t compressed, const ReadLimits& limits)
      : name_(std::move(name)), limits_(limits), out_(out) {
    const std::uint64_t by_ratio = std::max(limits.decoded_bytes_free, compressed * limits.ratio_max);
    cap_ = std::min(limits.decoded_bytes_max, by_ratio);
  }

  Status CheckDeclared(std::uint64_t declared) const {
    return declared > cap_ ? TooLarge("declares " + std::to_string(declared) + " decompressed bytes") : Status();
  }

  /// Where it goes on.
  char* room() { return out_.room(); }
  std::size_t room_bytes() const { return out_.room_bytes(); }
  /// That many bytes are there now.
  Status Commit(std::size_t size) {
    if (written_ + size > cap_) return TooLarge("decompresses to more than that");
    if (written_ < kSqliteMagic.size()) {
      const std::size_t n = std::min(size, kSqliteMagic.size() - static_cast<std::size_t>(written_));
      if (std::string_view(out_.room(), n) != kSqliteMagic.substr(static_cast<std::size_t>(written_), n)) {
        return InvalidArgument(name_ + " does not hold a SQLite database");
      }
    }
    written_ += size;
    return out_.Commit(size);
  }
  Status Finish() { return out_.Finish(); }
  std::uint64_t written() const { return written_; }

 private:
  Status TooLarge(const std::string& what) const {
    return ResourceExhausted(name_ + " " + what + ": the limit for it is " + std::to_string(cap_) + " bytes (at most " +
                             std::to_string(limits_.decoded_bytes_max) + ", and " + std::to_string(limits_.ratio_max) +
                             " times its size)");
  }
  const std::string name_;
  const ReadLimits& limits_;
  WriteBehind out_;
  std::uint64_t cap_ = 0;
  std::uint64_t written_ = 0;
};

struct DecoderFree {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
struct EncoderFree {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

/// Feeds a decoder with a file; frames that follow each other are one stream.
class FrameReader {
 public:
  FrameReader(const File* in, DatabaseSink* sink, int window_log_max)
      : in_(in), sink_(sink), decoder_(ZSTD_createDCtx()), input_(ZSTD_DStreamInSize()) {
    ZSTD_DCtx_setParameter(decoder_.get(), ZSTD_d_windowLogMax, window_log_max);
  }

  Status ReadAll() {
    std::size_t hint = 1;  // 0: between frames
    bool any = false;
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const std::size_t got, in_->Read(input_.data(), input_.size()));
      if (got == 0) break;
      if (!any) VELLUM_TRY(CheckHeader(got));
      any = true;
      ZSTD_inBuffer in{input_.data(), got, 0};
      while (in.pos < in.size) VELLUM_TRY(Decode(&in, &hint));
    }
    if (!any) return InvalidArgument(in_->path() + " ends behind its magic: it holds no database");
    if (hint != 0) return InvalidArgument(in_->path() + " is truncated: its zstd frame does not end");
    return {};
  }

 private:
  Status CheckHeader(std::size_t got) const {
    const unsigned long long declared = ZSTD_getFrameContentSize(input_.data(), got);
    if (declared == ZSTD_CONTENTSIZE_UNKNOWN || declared == ZSTD_CONTENTSIZE_ERROR) return {};
    return sink_->CheckDeclared(declared);
  }

  Status Decode(ZSTD_inBuffer* in, std::size_t* hint) {
    ZSTD_outBuffer out{sink_->room(), sink_->room_bytes(), 0};
    *hint = ZSTD_decompressStream(decoder_.get(), &out, in);
    if (ZSTD_isError(*hint)) {
      const std::string why = ZSTD_getErrorName(*hint);
      return InvalidArgument(in_->path() + " is damaged: " + why +
                             (sink_->written() > 0 ? " after " + std::to_string(sink_->written()) + " bytes" : ""));
    }
    return sink_->Commit(out.pos);
  }

  const File* const in_;
  DatabaseSink* const sink_;
  const std::unique_ptr<ZSTD_DCtx, DecoderFree> decoder_;
  std::vector<char> input_;
};

/// Compresses bytes into one frame with a checksum, and with its size if that is known.
class FrameWriter {
 public:
  /// `out` must outlive this.
  FrameWriter(const File* out, int threads, std::optional<std::uint64_t> size)
      : out_(*out), size_(size), encoder_(ZSTD_createCCtx()), output_(ZSTD_CStreamOutSize()) {
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_windowLog, 22);  // 4 MiB: any decoder takes it
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_nbWorkers,
                           threads);  // refused by a library without threads: then none
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_jobSize,
                           4 << 20);                               // what a worker gets at a time, and holds in memory
    ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_overlapLog, 8);  // and half a window of what comes before it
    if (size_) ZSTD_CCtx_setPledgedSrcSize(encoder_.get(), *size_);
  }

  Status Append(std::string_view bytes) { return Feed(bytes, ZSTD_e_continue); }
  Status Finish() { return Feed({}, ZSTD_e_end); }

 private:
  Status Feed(std::string_view bytes, ZSTD_EndDirective mode) {
    ZSTD_inBuffer from{bytes.data(), bytes.size(), 0};
    for (std::size_t left = 1; from.pos < from.size || (mode == ZSTD_e_end && left != 0);) {
      ZSTD_outBuffer to{output_.data(), output_.size(), 0};
      left = ZSTD_compressStream2(encoder_.get(), &to, &from, mode);
      if (std::exchange(first_, false) && ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation) {
        // What it says where the system gives it no threads, too. They start with the first bytes.
        ZSTD_CCtx_reset(encoder_.get(), ZSTD_reset_session_only);
        ZSTD_CCtx_setParameter(encoder_.get(), ZSTD_c_nbWorkers, 0);
        if (size_) ZSTD_CCtx_setPledgedSrcSize(encoder_.get(), *size_);
        continue;
      }
      if (ZSTD_isError(left)) return Internal("cannot compress into " + out_.path() + ": " + ZSTD_getErrorName(left));
      VELLUM_TRY(out_.Write({output_.data(), to.pos}));
    }
    return {};
  }

  const File& out_;
  const std::optional<std::uint64_t> size_;
  const std::unique_ptr<ZSTD_CCtx, EncoderFree> encoder_;
  bool first_ = true;
  std::vector<char> output_;
};

/// A frame that holds bytes as they are, so that its length follows from theirs: size, one block, checksum (RFC 8878).
std::string RawFrame(std::string_view bytes) {
  constexpr std::size_t kSizeBase = 256;
  VELLUM_CHECK(bytes.size() >= kSizeBase && bytes.size() <= 65536);
  std::string frame("\x28\xB5\x2F\xFD\x64", 5);  // one segment, two bytes of size, a checksum
  const auto append = [&frame](std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i, value >>= 8) frame.push_back(static_cast<char>(value));
  };
  append(bytes.size() - kSizeBase, 2);
  append(bytes.size() << 3 | 1, 3);  // the last block, raw
  frame.append(bytes);
  append(XXH64(bytes.data(), bytes.size(), 0), 4);
  return frame;
}

}  // namespace

Result<Format> DetectFormat(const std::string& path) {
  VELLUM_ASSIGN_OR_RETURN(const File file, File::OpenForReading(path));
  return ReadMagic(file);
}

Status ExtractDatabase(const std::string& path, const std::string& out_path, const ReadLimits& limits) {
  VELLUM_ASSIGN_OR_RETURN(const File in, File::OpenForReading(path));
  VELLUM_ASSIGN_OR_RETURN(const Format format, ReadMagic(in));
  if (format != Format::kV1) return InvalidArgument(path + " is a v3 file");
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t compressed, in.Size());
  VELLUM_ASSIGN_OR_RETURN(const File out, File::Create(out_path, O_EXCL));
  DatabaseSink sink(&out, path, compressed, limits);
  VELLUM_TRY(FrameReader(&in, &sink, limits.window_log_max).ReadAll());
  VELLUM_TRY(sink.Finish());
  if (sink.written() == 0) return InvalidArgument(path + " holds no database: its content is empty");
  if (sink.written() < kSqliteMagic.size()) return InvalidArgument(path + " does not hold a SQLite database");
  return {};
}

Status WrapDatabase(const std::string& database_path, const std::string& out_path, int threads) {
  VELLUM_ASSIGN_OR_RETURN(const File in, File::OpenForReading(database_path));
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t size, in.Size());
  VELLUM_ASSIGN_OR_RETURN(const File out, File::Create(out_path, O_TRUNC));
  VELLUM_TRY(out.Write(kMagicV1));
  FrameWriter frame(&out, threads, size);
  std::vector<char> input(1u << 20);
  std::uint64_t read = 0;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const std::size_t got, in.Read(input.data(), input.size()));
    if (got == 0) break;
    read += got;
    VELLUM_TRY(frame.Append({input.data(), got}));
  }
  if (read != size) return Internal(database_path + " changed while it was compressed");
  VELLUM_TRY(frame.Finish());
  return out.Sync();
}

struct EnvelopeWriter::Impl {
  Impl(File file, std::size_t first, int threads)
      : out(std::move(file)), first_page_bytes(first), frame(&out, threads, std::nullopt) {}

  const File out;
  const std::size_t first_page_bytes;
  FrameWriter frame;
};

EnvelopeWriter::EnvelopeWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EnvelopeWriter::~EnvelopeWriter() = default;

Result<std::unique_ptr<EnvelopeWriter>> EnvelopeWriter::Create(const std::string& path, std::size_t first_page_bytes,
                                                               int threads) {
  VELLUM_ASSIGN_OR_RETURN(File out, File::Create(path, O_TRUNC));
  VELLUM_TRY(out.Write(kMagicV1));
  VELLUM_TRY(out.Write(RawFrame(std::string(first_page_bytes, '\0'))));
  return std::unique_ptr<EnvelopeWriter>(
      new EnvelopeWriter(std::make_unique<Impl>(std::move(out), first_page_bytes, threads)));
}

Status EnvelopeWriter::Append(std::string_view pages) { return impl_->frame.Append(pages); }

Status EnvelopeWriter::Finish(std::string_view first_page) {
  VELLUM_CHECK(first_page.size() == impl_->first_page_bytes);
  VELLUM_TRY(impl_->frame.Finish());
  VELLUM_TRY(impl_->out.WriteAt(kMagicV1.size(), RawFrame(first_page)));
  return impl_->out.Sync();
}

Result<std::string> ReadManifest(const std::string& path, const ReadLimits& limits) {
  VELLUM_ASSIGN_OR_RETURN(const File in, File::OpenForReading(path));
  VELLUM_ASSIGN_OR_RETURN(const Format format, ReadMagic(in));
  if (format != Format::kV3) return InvalidArgument(path + " is not a v3 file");
  const auto read_exactly = [&in](std::size_t size) -> Result<std::string> {
    std::string bytes(size, '\0');
    for (std::size_t at = 0; at < size;) {
      VELLUM_ASSIGN_OR_RETURN(const std::size_t got, in.Read(bytes.data() + at, size - at));
      if (got == 0) return InvalidArgument(in.path() + " is truncated: its manifest ends after " + std::to_string(at) + " bytes");
      at += got;
    }
    return bytes;
  };
  VELLUM_ASSIGN_OR_RETURN(const std::string head, read_exactly(4));
  const std::uint32_t size = *ByteReader(head).ReadBe32();
  if (size > limits.manifest_bytes_max) {
    return InvalidArgument(path + " claims a manifest of " + std::to_string(size) + " bytes: the limit is " +
                           std::to_string(limits.manifest_bytes_max));
  }
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t whole, in.Size());
  if (whole < 9 + std::uint64_t{size}) {
    return InvalidArgument(path + " is truncated: it has " + std::to_string(whole) + " bytes, its manifest alone needs " +
                           std::to_string(9 + std::uint64_t{size}));
  }
  return read_exactly(size);
}

}  // namespace vellum::c1z
