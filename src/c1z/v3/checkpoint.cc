#include "c1z/v3/checkpoint.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "base/aside.h"
#include "base/bytes.h"
#include "base/check.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/frames.h"

namespace vellum::c1z::v3 {
namespace {

/// Files up to this size stay in memory, as long as all of them together keep below the second number.
constexpr std::uint64_t kFileInMemoryMax = 8u << 20;
constexpr std::uint64_t kFilesInMemoryMax = 32u << 20;
constexpr std::size_t kChunkBytes = 256u << 10;
/// Frames whose window is larger are decoded one at a time.
constexpr std::uint64_t kSharedWindowMax = 16u << 20;
constexpr std::size_t kThreadsMax = 4;

Status IoError(const std::string& what, int number) {
  const std::string text = what + ": " + std::strerror(number);
  return number == ENOSPC ? ResourceExhausted(text, Reason::kNoSpace) : Internal(text);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Status ReadExactly(int fd, std::uint64_t offset, char* to, std::uint64_t size) {
  while (size > 0) {
    const ssize_t got = ::pread(fd, to, static_cast<std::size_t>(size), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return IoError("cannot read", errno);
    if (got == 0) return Damaged("the file ends at " + std::to_string(offset) + ", " + std::to_string(size) + " bytes early");
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::uint64_t>(got);
  }
  return {};
}

/// A file that nobody else can see and that goes with its descriptor.
Result<Descriptor> OpenScratch(const std::string& directory) {
  const std::string where = directory.empty() ? std::filesystem::temp_directory_path().string() : directory;
  int fd = ::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) return Descriptor(fd);
  std::string path = where + "/vellum-c1z-XXXXXX";
  fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return IoError("cannot make a scratch file in " + where, errno);
  ::unlink(path.c_str());
  return Descriptor(fd);
}

struct DigestFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
struct XxhFree {
  void operator()(XXH64_state_t* state) const { XXH64_freeState(state); }
};
struct DecoderFree {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

/// Where one unpacked file lies.
struct Place {
  std::string name;
  std::uint64_t size = 0;
  Buffer memory;               ///< If in memory.
  bool in_memory = false;
  std::uint64_t offset = 0;    ///< Else in the scratch file.
};

}  // namespace

struct Checkpoint::Impl {
  explicit Impl(Budget* with) : budget(with) {}

  Budget* const budget;
  std::vector<Place> places;
  std::map<std::string, std::size_t, std::less<>> by_name;
  Descriptor scratch{-1};
  std::uint64_t scratch_bytes = 0;
  std::uint64_t memory_bytes = 0;

  Status Add(std::string name);
  /// Decides where a file of known size will lie.
  Status MakeRoom(Place* place, const std::string& scratch_dir);
  Status Write(Place* place, std::uint64_t at, std::string_view bytes);

  Status UnpackIndexed(int fd, const std::string& path, const Header& header, std::uint64_t file_size, const OpenOptions& options);
  Status UnpackFrame(int fd, const Frame& frame, Place* place, int window_log_max, std::mutex* large);
  Status UnpackTar(int fd, const Header& header, std::uint64_t file_size, const OpenOptions& options);
};

Status Checkpoint::Impl::Add(std::string name) {
  VELLUM_TRY(CheckFileName(name));
  if (places.size() == kFramesMax) return Damaged("the payload has more than " + std::to_string(kFramesMax) + " files");
  if (!by_name.emplace(name, places.size()).second) return Damaged("the payload has two files " + Printable(name));
  places.emplace_back().name = std::move(name);
  return {};
}

Status Checkpoint::Impl::MakeRoom(Place* place, const std::string& scratch_dir) {
  place->in_memory = place->size <= kFileInMemoryMax && memory_bytes + place->size <= kFilesInMemoryMax;
  if (place->in_memory) {
    memory_bytes += place->size;
    return place->memory.Reset(budget, place->size, "a file of the checkpoint");
  }
  if (scratch.get() < 0) {
    VELLUM_ASSIGN_OR_RETURN(scratch, OpenScratch(scratch_dir));
  }
  place->offset = scratch_bytes;
  scratch_bytes += place->size;
  return {};
}

Status Checkpoint::Impl::Write(Place* place, std::uint64_t at, std::string_view bytes) {
  if (place->in_memory) {
    if (!bytes.empty()) std::memcpy(place->memory.data() + at, bytes.data(), bytes.size());
    return {};
  }
  std::uint64_t offset = place->offset + at;
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(scratch.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return IoError("cannot write a scratch file", errno);
    offset += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

namespace {

/// Both checksums of a file as it comes.
class FileHasher {
 public:
  FileHasher() : digest_(EVP_MD_CTX_new()), xxh_(XXH64_createState()) {
    EVP_DigestInit_ex(digest_.get(), EVP_sha256(), nullptr);
    XXH64_reset(xxh_.get(), 0);
  }
  void Add(std::string_view bytes) {
    EVP_DigestUpdate(digest_.get(), bytes.data(), bytes.size());
    XXH64_update(xxh_.get(), bytes.data(), bytes.size());
  }
  Status Check(const Frame& frame) {
    const std::uint64_t xxh64 = XXH64_digest(xxh_.get());
    if (xxh64 != frame.xxh64) return Damaged("its bytes do not match their xxh64");
    std::array<unsigned char, 32> sha256{};
    EVP_DigestFinal_ex(digest_.get(), sha256.data(), nullptr);
    if (sha256 != frame.sha256) return Damaged("its bytes do not match their SHA-256");
    return {};
  }

 private:
  const std::unique_ptr<EVP_MD_CTX, DigestFree> digest_;
  const std::unique_ptr<XXH64_state_t, XxhFree> xxh_;
};

}  // namespace

Status Checkpoint::Impl::UnpackFrame(int fd, const Frame& frame, Place* place, int window_log_max, std::mutex* large) {
  VELLUM_TRY(budget->CheckTime());
  Buffer input;
  Buffer output;
  VELLUM_TRY(input.Reset(budget, std::min<std::uint64_t>(frame.compressed_size, kChunkBytes), "unpacking"));
  VELLUM_TRY(ReadExactly(fd, frame.offset, input.data(), input.size()));
  VELLUM_ASSIGN_OR_RETURN(const FrameCost cost, ReadFrameCost(input.view(), window_log_max));
  if (cost.content_bytes && *cost.content_bytes != frame.raw_size) {
    return Damaged("its zstd frame declares " + std::to_string(*cost.content_bytes) + " bytes and the index " +
                   std::to_string(frame.raw_size));
  }
  std::unique_lock<std::mutex> alone(*large, std::defer_lock);
  if (cost.window_bytes > kSharedWindowMax) alone.lock();
  Charge window(budget);
  VELLUM_TRY(window.Take(cost.window_bytes + kChunkBytes, "decoding a zstd frame"));
  VELLUM_TRY(output.Reset(budget, kChunkBytes, "unpacking"));
  const std::unique_ptr<ZSTD_DCtx, DecoderFree> decoder(ZSTD_createDCtx());
  ZSTD_DCtx_setParameter(decoder.get(), ZSTD_d_windowLogMax, window_log_max);
  FileHasher hasher;
  std::uint64_t read = input.size();
  std::uint64_t written = 0;
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  for (std::size_t left = 1; left != 0;) {
    if (in.pos == in.size) {
      const std::uint64_t more = std::min<std::uint64_t>(frame.compressed_size - read, kChunkBytes);
      if (more == 0) return Damaged("its zstd frame does not end within " + std::to_string(frame.compressed_size) + " bytes");
      VELLUM_TRY(ReadExactly(fd, frame.offset + read, input.data(), more));
      VELLUM_TRY(budget->CheckTime());
      read += more;
      in = {input.data(), static_cast<std::size_t>(more), 0};
    }
    ZSTD_outBuffer out{output.data(), output.size(), 0};
    left = ZSTD_decompressStream(decoder.get(), &out, &in);
    if (ZSTD_isError(left)) {
      return Damaged("its zstd frame is damaged: " + std::string(ZSTD_getErrorName(left)) + " after " +
                     std::to_string(written) + " bytes");
    }
    if (out.pos > frame.raw_size - written) {
      return Damaged("it decompresses to more than the " + std::to_string(frame.raw_size) + " bytes that the index declares");
    }
    hasher.Add({output.data(), out.pos});
    VELLUM_TRY(Write(place, written, {output.data(), out.pos}));
    written += out.pos;
    // All input taken and nothing flushed any more: the frame needs bytes beyond its end.
    if (left != 0 && in.pos == in.size && read == frame.compressed_size && out.pos < out.size) {
      return Damaged("its zstd frame does not end within " + std::to_string(frame.compressed_size) + " bytes");
    }
  }
  if (in.pos != in.size || read != frame.compressed_size) {
    return Damaged("its zstd frame ends before the " + std::to_string(frame.compressed_size) + " bytes that the index declares");
  }
  if (written != frame.raw_size) {
    return Damaged("it decompresses to " + std::to_string(written) + " bytes, not the " + std::to_string(frame.raw_size) +
                   " that the index declares");
  }
  return hasher.Check(frame);
}

Status Checkpoint::Impl::UnpackIndexed(int fd, const std::string& path, const Header& header, std::uint64_t file_size,
                                       const OpenOptions& options) {
  if (file_size < header.payload_offset + kFrameFooterBytes) {
    return ParseFrameFooter({}, header.payload_offset, file_size).error();
  }
  char footer[kFrameFooterBytes];
  VELLUM_TRY(ReadExactly(fd, file_size - sizeof footer, footer, sizeof footer));
  VELLUM_ASSIGN_OR_RETURN(const FrameFooter at, ParseFrameFooter({footer, sizeof footer}, header.payload_offset, file_size));
  Buffer index;
  VELLUM_TRY(index.Reset(budget, at.index_size, "the frame index"));
  VELLUM_TRY(ReadExactly(fd, at.index_offset, index.data(), index.size()));
  if (XXH64(index.data(), index.size(), 0) != at.index_xxh64) return Damaged("the frame index does not match its xxh64");
  VELLUM_ASSIGN_OR_RETURN(const std::string manifest, ReadManifest(path, options.limits));
  const std::uint64_t by_ratio = std::max(options.limits.decoded_bytes_free,
                                          file_size > UINT64_MAX / options.limits.ratio_max ? UINT64_MAX : file_size * options.limits.ratio_max);
  VELLUM_ASSIGN_OR_RETURN(const std::vector<Frame> frames,
                          ParseFrameIndex(index.view(), header.payload_offset, at.index_offset,
                                          std::min(options.limits.decoded_bytes_max, by_ratio),
                                          XXH64(manifest.data(), manifest.size(), 0)));
  index.Release();
  for (const Frame& frame : frames) {
    VELLUM_TRY(Add(frame.name));
    places.back().size = frame.raw_size;
    VELLUM_TRY(MakeRoom(&places.back(), options.scratch_dir));
  }
  // Frames are independent of each other. The error of the first in the file's order is the one that is told.
  std::vector<Status> outcomes(frames.size());
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex large;
  const auto work = [&] {
    for (std::size_t i = next++; i < frames.size() && !failed.load(); i = next++) {
      outcomes[i] = UnpackFrame(fd, frames[i], &places[i], options.limits.window_log_max, &large);
      if (!outcomes[i].ok()) failed = true;
    }
  };
  std::vector<std::future<void>> helpers;
  const std::size_t threads = std::min<std::size_t>({kThreadsMax, std::max(1u, std::thread::hardware_concurrency()), frames.size()});
  if (scratch_bytes + memory_bytes > (1u << 20)) {
    for (std::size_t i = 1; i < threads; ++i) helpers.push_back(DoAside(work));
  }
  work();
  for (const auto& helper : helpers) helper.wait();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!outcomes[i].ok()) return std::move(outcomes[i]).WithContext("file " + Printable(frames[i].name));
  }
  return {};
}

namespace {

/// The bytes of a payload in order, out of a zstd stream or as they are.
class PayloadStream {
 public:
  PayloadStream(int fd, std::uint64_t offset, std::uint64_t end, Budget* budget)
      : fd_(fd), at_(offset), end_(end), budget_(budget), window_(budget) {}

  void StartZstd(int window_log_max) {
    decoder_.reset(ZSTD_createDCtx());
    ZSTD_DCtx_setParameter(decoder_.get(), ZSTD_d_windowLogMax, window_log_max);
  }

  /// Up to `size` bytes; 0 at the end.
  Result<std::size_t> Read(char* to, std::size_t size) {
    if (!decoder_) {
      const std::size_t some = static_cast<std::size_t>(std::min<std::uint64_t>(size, end_ - at_));
      VELLUM_TRY(ReadExactly(fd_, at_, to, some));
      at_ += some;
      return some;
    }
    ZSTD_outBuffer out{to, size, 0};
    while (out.pos == 0) {
      if (taken_ == filled_) {
        VELLUM_TRY(Fill());
        if (filled_ == 0 && hint_ == 0) return std::size_t{0};
        if (filled_ == 0 && !flushing_) return Damaged("the zstd stream of the payload does not end");
      }
      ZSTD_inBuffer in{input_.data(), filled_, taken_};
      hint_ = ZSTD_decompressStream(decoder_.get(), &out, &in);
      if (ZSTD_isError(hint_)) return Damaged("the payload is damaged: " + std::string(ZSTD_getErrorName(hint_)));
      flushing_ = out.pos == out.size;
      taken_ = in.pos;
      // Each frame of a stream may ask for another window.
      const std::uint64_t allocated = ZSTD_sizeof_DCtx(decoder_.get());
      if (allocated > charged_) VELLUM_TRY(window_.Take(allocated - charged_, "decoding a zstd stream"));
      charged_ = std::max(charged_, allocated);
    }
    return out.pos;
  }

  Status ReadBlock(char* to, std::size_t size, bool* end) {
    for (std::size_t have = 0; have < size;) {
      VELLUM_ASSIGN_OR_RETURN(const std::size_t got, Read(to + have, size - have));
      if (got == 0 && have == 0) {
        *end = true;
        return {};
      }
      if (got == 0) return Damaged("the tar archive ends within a block");
      have += got;
    }
    *end = false;
    return {};
  }

 private:
  Status Fill() {
    VELLUM_TRY(budget_->CheckTime());
    filled_ = static_cast<std::size_t>(std::min<std::uint64_t>(end_ - at_, kChunkBytes));
    taken_ = 0;
    VELLUM_TRY(input_.Reset(budget_, kChunkBytes, "unpacking"));
    VELLUM_TRY(ReadExactly(fd_, at_, input_.data(), filled_));
    at_ += filled_;
    return {};
  }

  const int fd_;
  std::uint64_t at_;
  const std::uint64_t end_;
  Budget* const budget_;
  Charge window_;
  Buffer input_;
  std::size_t filled_ = 0;
  std::size_t taken_ = 0;
  std::size_t hint_ = 1;
  std::uint64_t charged_ = 0;
  bool flushing_ = false;
  std::unique_ptr<ZSTD_DCtx, DecoderFree> decoder_;
};

}  // namespace

Status Checkpoint::Impl::UnpackTar(int fd, const Header& header, std::uint64_t file_size, const OpenOptions& options) {
  constexpr std::uint64_t kNameRecordMax = 64u << 10;
  const ReadLimits& limits = options.limits;
  const std::uint64_t by_ratio = file_size > UINT64_MAX / limits.ratio_max ? UINT64_MAX : file_size * limits.ratio_max;
  const std::uint64_t bytes_max = std::min(limits.decoded_bytes_max, std::max(limits.decoded_bytes_free, by_ratio));
  PayloadStream stream(fd, header.payload_offset, file_size, budget);
  if (header.encoding == Encoding::kTarZstd) stream.StartZstd(limits.window_log_max);
  Buffer room;
  VELLUM_TRY(room.Reset(budget, kChunkBytes, "unpacking"));
  std::string long_name;
  std::uint64_t total = 0;
  for (bool ended = false;;) {
    VELLUM_TRY(stream.ReadBlock(room.data(), kTarBlockBytes, &ended));
    if (ended) break;
    VELLUM_ASSIGN_OR_RETURN(TarEntry entry, ParseTarHeader(room.view().substr(0, kTarBlockBytes)));
    total += kTarBlockBytes;
    if (entry.size > bytes_max || total > bytes_max - entry.size) {
      return ResourceExhausted("the tar archive's file " + Printable(entry.name) + " of " + std::to_string(entry.size) +
                               " bytes exceeds the limit of " + std::to_string(bytes_max) + " for all");
    }
    if (entry.end) continue;  // the archive's end, twice, and padding behind it
    total += entry.size;
    const bool names = entry.type == 'L' || entry.type == 'x';
    if (names && entry.size > kNameRecordMax) {
      return Damaged("a tar header of type " + Printable({&entry.type, 1}) + " has " + std::to_string(entry.size) + " bytes: the limit is " +
                     std::to_string(kNameRecordMax));
    }
    if (!names && !long_name.empty()) entry.name = std::exchange(long_name, {});
    const bool is_file = entry.type == '0' || entry.type == '7';
    Place* place = nullptr;
    if (is_file) {
      VELLUM_TRY(Add(entry.name));
      place = &places.back();
      place->size = entry.size;
      VELLUM_TRY(MakeRoom(place, options.scratch_dir));
    }
    std::string record;
    const std::uint64_t padded = (entry.size + kTarBlockBytes - 1) / kTarBlockBytes * kTarBlockBytes;
    for (std::uint64_t at = 0; at < padded;) {
      const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(padded - at, kChunkBytes));
      VELLUM_TRY(stream.ReadBlock(room.data(), some, &ended));
      if (ended) return Damaged("the tar archive ends within the file " + Printable(entry.name));
      const std::string_view bytes = room.view().substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(some, entry.size - std::min(at, entry.size))));
      if (place != nullptr) VELLUM_TRY(Write(place, at, bytes));
      if (names) record += bytes;
      at += some;
    }
    if (entry.type == 'L') long_name = record.substr(0, record.find('\0'));
    if (entry.type == 'x') {
      VELLUM_ASSIGN_OR_RETURN(long_name, ParsePaxPath(record));
    }
  }
  return {};
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::~Checkpoint() = default;

Result<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& path, const Header& header, const OpenOptions& options,
                                                     Budget* budget) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return IoError("cannot open " + path, errno);
  const off_t end = ::lseek(file.get(), 0, SEEK_END);
  if (end < 0) return IoError("cannot seek in " + path, errno);
  auto impl = std::make_unique<Impl>(budget);
  const auto size = static_cast<std::uint64_t>(end);
  VELLUM_TRY(header.encoding == Encoding::kIndexedZstd ? impl->UnpackIndexed(file.get(), path, header, size, options)
                                                       : impl->UnpackTar(file.get(), header, size, options));
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

Result<std::unique_ptr<Checkpoint>> Checkpoint::FromFiles(const std::vector<std::pair<std::string, std::string>>& files,
                                                          Budget* budget) {
  auto impl = std::make_unique<Impl>(budget);
  for (const auto& [name, bytes] : files) {
    VELLUM_TRY(impl->Add(name));
    Place* const place = &impl->places.back();
    place->size = bytes.size();
    VELLUM_TRY(impl->MakeRoom(place, ""));
    VELLUM_TRY(impl->Write(place, 0, bytes));
  }
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

std::size_t Checkpoint::files() const { return impl_->places.size(); }
const std::string& Checkpoint::name(std::size_t file) const { return impl_->places[file].name; }
std::uint64_t Checkpoint::size(std::size_t file) const { return impl_->places[file].size; }

std::optional<std::size_t> Checkpoint::Find(std::string_view name) const {
  const auto found = impl_->by_name.find(name);
  return found == impl_->by_name.end() ? std::nullopt : std::optional(found->second);
}

Result<std::string_view> Checkpoint::Read(std::size_t file, std::uint64_t offset, std::uint64_t size, Buffer* room) const {
  const Place& place = impl_->places[file];
  VELLUM_CHECK(offset <= place.size && size <= place.size - offset);
  if (place.in_memory) return place.memory.view().substr(static_cast<std::size_t>(offset), static_cast<std::size_t>(size));
  VELLUM_TRY(room->Reset(impl_->budget, size, "a block"));
  VELLUM_TRY(ReadExactly(impl_->scratch.get(), place.offset + offset, room->data(), size));
  return room->view();
}

}  // namespace vellum::c1z::v3
