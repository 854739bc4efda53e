#include "sync/generation.h"

#include <openssl/evp.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "storage/files.h"
#include "sync/codec.h"
#include "vellum/sync/v1/generation.pb.h"

namespace vellum::sync {
namespace {

constexpr std::size_t kStampBytes = 8;
/// Longest GENERATION that is read: far above what 10,000 files need.
constexpr std::uint64_t kGenerationBytesMax = 64u << 20;

struct StateFree {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

/// What stands before a record's key where it is hashed.
constexpr std::size_t kHeadBytes = 5;
void FillHead(char* head, std::uint8_t bucket, std::size_t key_size) {
  head[0] = static_cast<char>(bucket);
  for (int i = 0; i < 4; ++i) head[1 + i] = static_cast<char>(static_cast<std::uint32_t>(key_size) >> (24 - 8 * i));
}

Sum128 HashLarge(std::string_view head, std::string_view key, std::string_view value) {
  const std::unique_ptr<XXH3_state_t, StateFree> state(XXH3_createState());
  XXH3_128bits_reset(state.get());
  for (const std::string_view part : {head, key, value}) XXH3_128bits_update(state.get(), part.data(), part.size());
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return {hash.high64, hash.low64};
}

struct RecordHashes {
  Sum128 stamped;
  Sum128 unstamped;
};

RecordHashes HashRecord(std::uint8_t bucket, std::string_view key, std::string_view value) {
  // One buffer for what is usual; the streaming form for large records.
  char buffer[2048];
  const std::size_t stamp = std::min(kStampBytes, value.size());
  const std::size_t front = kHeadBytes + key.size();
  if (front + value.size() > sizeof buffer) {
    FillHead(buffer, bucket, key.size());
    const std::string_view head(buffer, kHeadBytes);
    return {HashLarge(head, key, value), HashLarge(head, key, value.substr(stamp))};
  }
  FillHead(buffer, bucket, key.size());
  std::memcpy(buffer + kHeadBytes, key.data(), key.size());
  if (!value.empty()) std::memcpy(buffer + front, value.data(), value.size());
  const XXH128_hash_t stamped = XXH3_128bits(buffer, front + value.size());
  // The same without the stamp: head and key move over it.
  std::memmove(buffer + stamp, buffer, front);
  const XXH128_hash_t unstamped = XXH3_128bits(buffer + stamp, front + value.size() - stamp);
  return {{stamped.high64, stamped.low64}, {unstamped.high64, unstamped.low64}};
}

v1::Sum128 ToProto(const Sum128& sum) {
  v1::Sum128 proto;
  proto.set_high(sum.high);
  proto.set_low(sum.low);
  return proto;
}

Sum128 FromProto(const v1::Sum128& proto) { return {proto.high(), proto.low()}; }

}  // namespace

std::string Sum128::ToHex() const {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(high),
                static_cast<unsigned long long>(low));
  return text;
}

void Totals::Add(const BucketInfo& bucket, std::string_view key, std::string_view value) {
  ++records;
  bytes += key.size() + value.size();
  if (bucket.index) return;
  const RecordHashes hashes = HashRecord(static_cast<std::uint8_t>(bucket.bucket), key, value);
  digest.Add(hashes.stamped);
  digest_unstamped.Add(hashes.unstamped);
  const std::uint64_t stamp = ValueStamp(value);
  if (stamp == 0) return;
  stamp_min = stamp_min == 0 ? stamp : std::min(stamp_min, stamp);
  stamp_max = std::max(stamp_max, stamp);
}

void Totals::Subtract(const BucketInfo& bucket, std::string_view key, std::string_view value) {
  --records;
  bytes -= key.size() + value.size();
  if (bucket.index) return;
  const RecordHashes hashes = HashRecord(static_cast<std::uint8_t>(bucket.bucket), key, value);
  digest.Subtract(hashes.stamped);
  digest_unstamped.Subtract(hashes.unstamped);
}

void Totals::Merge(const Totals& other) {
  records += other.records;
  bytes += other.bytes;
  digest.Add(other.digest);
  digest_unstamped.Add(other.digest_unstamped);
  if (other.stamp_min != 0) stamp_min = stamp_min == 0 ? other.stamp_min : std::min(stamp_min, other.stamp_min);
  stamp_max = std::max(stamp_max, other.stamp_max);
}

Sum128 GenerationInfo::Digest() const {
  Sum128 sum;
  for (const auto& [bucket, each] : totals) sum.Add(each.digest);
  return sum;
}

Sum128 GenerationInfo::DigestUnstamped() const {
  Sum128 sum;
  for (const auto& [bucket, each] : totals) sum.Add(each.digest_unstamped);
  return sum;
}

std::uint64_t GenerationInfo::records(RecordType type) const {
  const auto found = totals.find(RecordBucket(type));
  return found == totals.end() ? 0 : found->second.records;
}

std::uint64_t GenerationInfo::records() const {
  std::uint64_t sum = 0;
  for (int type = 0; type < kRecordTypes; ++type) sum += records(static_cast<RecordType>(type));
  return sum;
}

std::uint64_t GenerationInfo::bytes() const {
  std::uint64_t sum = 0;
  for (const GenerationFile& file : files) sum += file.bytes;
  return sum;
}

std::string GenerationInfo::Encode() const {
  v1::Generation proto;
  proto.set_format(kFormat);
  proto.set_index_version(index_version);
  proto.set_id(id);
  proto.set_operation(operation);
  for (const GenerationId& parent : parents) proto.add_parents(parent);
  for (const GenerationFile& file : files) {
    v1::TableFile* const each = proto.add_files();
    each->set_name(file.name);
    each->set_bucket(static_cast<std::uint32_t>(file.bucket));
    each->set_layer(file.layer);
    each->set_bytes(file.bytes);
    each->set_sha256(file.sha256);
    each->set_entries(file.entries);
    each->set_deletions(file.deletions);
  }
  for (const auto& [bucket, sums] : totals) {
    v1::BucketTotals* const each = proto.add_totals();
    each->set_bucket(static_cast<std::uint32_t>(bucket));
    each->set_records(sums.records);
    each->set_bytes(sums.bytes);
    each->set_stamp_min(sums.stamp_min);
    each->set_stamp_max(sums.stamp_max);
    *each->mutable_digest() = ToProto(sums.digest);
    *each->mutable_digest_unstamped() = ToProto(sums.digest_unstamped);
  }
  proto.set_layers(layers);
  proto.set_dead_bytes(dead_bytes);
  return proto.SerializeAsString();
}

Result<GenerationInfo> GenerationInfo::Decode(std::string_view bytes) {
  v1::Generation proto;
  if (!proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return DataLoss("GENERATION is damaged");
  if (proto.format() != kFormat) {
    return FailedPrecondition("GENERATION has format " + std::to_string(proto.format()) + ", this program reads " +
                              std::to_string(kFormat));
  }
  GenerationInfo info;
  info.index_version = proto.index_version();
  info.id = proto.id();
  info.operation = proto.operation();
  info.parents.assign(proto.parents().begin(), proto.parents().end());
  info.layers = proto.layers();
  info.dead_bytes = proto.dead_bytes();
  for (const v1::TableFile& each : proto.files()) {
    const BucketInfo* const bucket = each.bucket() > 0xFF ? nullptr : FindBucket(static_cast<std::uint8_t>(each.bucket()));
    const bool plain_name = !each.name().empty() && each.name().find('/') == std::string::npos && each.name()[0] != '.';
    if (bucket == nullptr || !plain_name || each.sha256().size() != 32 || each.layer() >= info.layers) {
      return DataLoss("GENERATION names a file that cannot be: " + Printable(each.name()));
    }
    info.files.push_back({each.name(), bucket->bucket, each.layer(), each.bytes(), each.sha256(), each.entries(),
                          each.deletions()});
  }
  for (const v1::BucketTotals& each : proto.totals()) {
    const BucketInfo* const bucket = each.bucket() > 0xFF ? nullptr : FindBucket(static_cast<std::uint8_t>(each.bucket()));
    if (bucket == nullptr) return DataLoss("GENERATION counts an unknown bucket " + std::to_string(each.bucket()));
    info.totals[bucket->bucket] = {each.records(),   each.bytes(), each.stamp_min(), each.stamp_max(),
                                   FromProto(each.digest()), FromProto(each.digest_unstamped())};
  }
  return info;
}

Result<std::string> FileSha256(const std::string& path, const FileSystemPtr& files) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return Internal("SHA-256 is not to be had");
  Status read = storage::ReadFile(files.get(), path, [&](std::string_view piece) {
    const bool taken = EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
    return taken ? Status() : Internal("SHA-256 is not to be had");
  });
  if (!read.ok()) return DataLoss("cannot read " + read.message());
  std::string digest(32, '\0');
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), reinterpret_cast<unsigned char*>(digest.data()), &size);
  return digest;
}

Result<std::shared_ptr<const Generation>> Generation::Open(const std::string& path, const storage::TableCache& cache,
                                                           Check check, const FileSystemPtr& files) {
  const auto bytes = storage::ReadSmallFile(files.get(), path + "/GENERATION", kGenerationBytesMax);
  if (!bytes.ok()) return DataLoss("generation " + path + " is missing or unreadable: " + bytes.error().message());
  auto info = GenerationInfo::Decode(*bytes);
  if (!info.ok()) return std::move(info).error().WithContext(path);
  std::shared_ptr<Generation> generation(new Generation());
  generation->path_ = path;
  generation->files_ = files;
  generation->info_ = *std::move(info);
  if (const std::uint32_t version = generation->info_.index_version; version != GenerationInfo::kIndexVersion) {
    return FailedPrecondition(path + ": its indexes are of version " + std::to_string(version) + ", this program reads " +
                              std::to_string(GenerationInfo::kIndexVersion) + "; 'vellum sync repair' makes them anew");
  }
  for (const GenerationFile& file : generation->info_.files) {
    const std::string name = generation->FilePath(file);
    const auto size = storage::FileSize(files.get(), name);
    if (!size.ok()) return DataLoss("generation lacks " + size.error().message());
    if (*size != file.bytes) {
      return DataLoss(name + " has " + std::to_string(*size) + " bytes, GENERATION says " + std::to_string(file.bytes));
    }
    if (check == Check::kTrust) continue;
    VELLUM_ASSIGN_OR_RETURN(const std::string sha256, FileSha256(name, files));
    if (sha256 != file.sha256) return DataLoss(name + " is damaged: its SHA-256 is not the one in GENERATION");
  }
  VELLUM_ASSIGN_OR_RETURN(generation->tables_, storage::TableDirectory::Open(path, cache, files));
  return std::shared_ptr<const Generation>(std::move(generation));
}

std::unique_ptr<storage::TableCursor> Generation::Scan(Bucket bucket) const {
  const std::string lower = BucketPrefix(bucket);
  auto cursor = tables_->NewCursor(lower, *PrefixSuccessor(lower), /*scan=*/true);
  cursor->Seek(lower);
  return cursor;
}

std::unique_ptr<storage::TableCursor> Generation::ScanPrefix(std::string_view prefix) const {
  auto cursor = tables_->NewCursor(prefix, PrefixSuccessor(prefix).value_or(std::string()), /*scan=*/false);
  cursor->Seek(prefix);
  return cursor;
}

BucketWriter::BucketWriter(std::string directory, Bucket bucket, std::uint32_t layer, std::uint64_t file_bytes,
                           FileSystemPtr files)
    : directory_(std::move(directory)),
      bucket_(*FindBucket(static_cast<std::uint8_t>(bucket))),
      layer_(layer),
      file_bytes_(file_bytes),
      file_system_(std::move(files)) {}

BucketWriter::~BucketWriter() = default;

Status BucketWriter::EnsureOpen() {
  if (writer_) return {};
  path_ = directory_ + "/" + std::string(bucket_.name) + "-" + std::to_string(layer_) + "-" +
          std::to_string(part_) + "-" + std::to_string(files_.size()) + ".sst";
  VELLUM_ASSIGN_OR_RETURN(writer_, storage::TableWriter::Create(path_, {}, file_system_));
  return {};
}

Status BucketWriter::Roll() {
  if (!writer_) return {};
  VELLUM_ASSIGN_OR_RETURN(const storage::TableInfo table, writer_->Finish());
  writer_.reset();
  VELLUM_ASSIGN_OR_RETURN(std::string sha256, FileSha256(path_, file_system_));
  files_.push_back({path_, {"", bucket_.bucket, layer_, table.bytes, std::move(sha256), table.entries, table.deletions}});
  return {};
}

Status BucketWriter::Put(std::string_view key, std::string_view value) {
  VELLUM_TRY(EnsureOpen());
  VELLUM_TRY(writer_->Put(key, value));
  totals_.Add(bucket_, key, value);
  return writer_->bytes() >= file_bytes_ ? Roll() : Status();
}

Status BucketWriter::Delete(std::string_view key) {
  VELLUM_TRY(EnsureOpen());
  VELLUM_TRY(writer_->Delete(key));
  return writer_->bytes() >= file_bytes_ ? Roll() : Status();
}

Status BucketWriter::Finish() { return Roll(); }

Status Assemble(const std::string& path, std::vector<NewFile> files, GenerationInfo* info,
                const FileSystemPtr& file_system) {
  std::vector<std::vector<std::string>> layers(info->layers);
  std::vector<std::vector<NewFile*>> owners(info->layers);
  for (NewFile& file : files) {
    layers[file.file.layer].push_back(file.path);
    owners[file.file.layer].push_back(&file);
  }
  VELLUM_ASSIGN_OR_RETURN(const auto names, storage::TableDirectory::Build(path, layers, file_system));
  info->files.clear();
  for (std::size_t layer = 0; layer < names.size(); ++layer) {
    for (std::size_t i = 0; i < names[layer].size(); ++i) {
      GenerationFile& file = owners[layer][i]->file;
      file.name = names[layer][i];
      // Sealed bytes never change; the mode says so to whoever comes by.
      VELLUM_TRY(storage::MakeReadOnly(path + "/" + file.name));
      info->files.push_back(file);
    }
  }
  // Which also makes the names of all other files durable: it ends with a sync of their directory.
  return storage::WriteFileDurably(file_system.get(), path + "/GENERATION", info->Encode());
}

}  // namespace vellum::sync
