#include <openssl/evp.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>

#include "base/bytes.h"
#include "c1z/v3/keys.h"
#include "c1z/v3/test_writer.h"
#include "sync/codec.h"

/// The envelope, and what lies under the keys.
namespace vellum::c1z::v3 {
namespace {

constexpr std::size_t kTarBlock = 512;

void PutField(std::string* out, std::uint32_t number, std::string_view bytes) {
  if (bytes.empty()) return;
  AppendVarint(out, number << 3 | 2);
  AppendLengthPrefixed(out, bytes);
}
void PutNumber(std::string* out, std::uint32_t number, std::uint64_t value) {
  if (value == 0) return;
  AppendVarint(out, number << 3);
  AppendVarint(out, value);
}
std::string TimeBytes(sync::Stamp stamp) {
  std::string bytes;
  PutNumber(&bytes, 1, stamp / 1'000'000'000);
  PutNumber(&bytes, 2, stamp % 1'000'000'000);
  return bytes;
}
std::string Le64(std::uint64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

std::string Sha256(std::string_view bytes) {
  std::string digest(32, '\0');
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size, EVP_sha256(), nullptr);
  return digest;
}

std::string Zstd(std::string_view bytes) {
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), 1));
  return frame;
}

std::uint64_t TypeNumber(std::string_view type) {
  static constexpr std::array<std::string_view, 5> kTypes = {"full", "partial", "resources_only", "partial_upserts",
                                                             "partial_deletions"};
  return static_cast<std::uint64_t>(std::find(kTypes.begin(), kTypes.end(), type) - kTypes.begin()) + 1;
}

std::string EncodeRun(const sync::SyncRun& run) {
  std::string bytes;
  PutField(&bytes, 1, run.id);
  PutNumber(&bytes, 2, TypeNumber(run.type));
  PutField(&bytes, 3, run.parent_id);
  PutField(&bytes, 4, TimeBytes(run.started_at));
  PutField(&bytes, 5, TimeBytes(run.ended_at));
  PutField(&bytes, 6, run.token);
  PutNumber(&bytes, 7, run.supports_diff ? 1 : 0);
  PutField(&bytes, 8, run.linked_id);
  return bytes;
}

}  // namespace

std::string EncodeStorage(const sync::RecordView& record) {
  using sync::RecordType;
  std::string bytes;
  std::string reference;
  const std::string stamp = TimeBytes(record.discovered_at);
  switch (record.type) {
    case RecordType::kResourceType:
      PutField(&bytes, 2, record.id);
      PutField(&bytes, 6, stamp);
      break;
    case RecordType::kResource:
      PutField(&bytes, 2, record.type_id);
      PutField(&bytes, 3, record.id);
      PutField(&bytes, 8, stamp);
      break;
    case RecordType::kEntitlement:
      PutField(&bytes, 2, record.id);
      PutField(&reference, 1, record.type_id);
      PutField(&reference, 2, record.resource_id);
      PutField(&bytes, 3, reference);
      PutField(&bytes, 8, stamp);
      break;
    case RecordType::kGrant:
      PutField(&bytes, 2, record.id);
      PutField(&reference, 1, record.type_id);
      PutField(&reference, 2, record.resource_id);
      PutField(&reference, 3, record.entitlement_id);
      PutField(&bytes, 3, reference);
      reference.clear();
      PutField(&reference, 1, record.principal_type_id);
      PutField(&reference, 2, record.principal_id);
      PutField(&bytes, 4, reference);
      PutField(&bytes, 5, stamp);
      break;
    case RecordType::kAsset:
      PutField(&bytes, 2, record.id);
      PutField(&bytes, 3, record.content_type);
      PutField(&bytes, 4, record.data);
      PutField(&bytes, 5, stamp);
      break;
  }
  return bytes;
}

WriterRow RecordRow(const sync::RecordView& record, std::uint64_t sequence) {
  WriterRow row;
  AppendKey(&row.key, record, Identity::kStructural);
  row.sequence = sequence;
  row.value = EncodeStorage(record);
  return row;
}

std::vector<WriterRow> StampRows(const sync::SyncRun& run, std::uint64_t sequence) {
  const std::string two("\0\0\0\2", 4);
  const std::string meta = TypePrefix(KeyType::kMeta);
  return {{TypePrefix(KeyType::kSyncRun), sequence, 1, EncodeRun(run)},
          {meta + "grant_entitlement_id_format", sequence, 1, two},
          {meta + "keyspace_version", sequence, 1, two}};
}

void SortRows(std::vector<WriterRow>* rows) {
  std::sort(rows->begin(), rows->end(), [](const WriterRow& a, const WriterRow& b) {
    return a.key != b.key ? a.key < b.key : a.trailer() > b.trailer();
  });
}

FrameParts MakeFrame(const std::string& name, const std::string& bytes) {
  return {name, Zstd(bytes), bytes.size(), XXH64(bytes.data(), bytes.size(), 0), Sha256(bytes)};
}

std::string ManifestBytes(const WrapOptions& options) {
  std::string bytes;
  PutField(&bytes, 1, options.engine);
  PutNumber(&bytes, 2, 24);
  PutNumber(&bytes, 4, static_cast<std::uint64_t>(options.encoding));
  if (!options.list_run) return bytes;
  std::string stats;
  for (std::size_t i = 0; i < options.counts.size(); ++i) PutNumber(&stats, static_cast<std::uint32_t>(i + 2), options.counts[i]);
  std::string run;
  PutField(&run, 1, options.run.id);
  PutNumber(&run, 2, TypeNumber(options.run.type));
  PutField(&run, 3, TimeBytes(options.run.started_at));
  PutField(&run, 4, TimeBytes(options.run.ended_at));
  PutField(&run, 5, options.run.parent_id);
  PutField(&run, 6, stats);
  PutField(&bytes, 40, run);
  return bytes;
}

namespace {

std::string BeginFile(const std::string& manifest) {
  std::string out("C1Z3\0", 5);
  AppendBe32(&out, static_cast<std::uint32_t>(manifest.size()));
  return out + manifest;
}

}  // namespace

std::string JoinFrames(const std::string& manifest, const std::vector<FrameParts>& frames) {
  std::string out = BeginFile(manifest);
  std::string index;
  for (const FrameParts& frame : frames) {
    std::string entry;
    PutField(&entry, 1, frame.name);
    PutNumber(&entry, 2, out.size() + frame.offset_added);
    PutNumber(&entry, 3, frame.compressed.size());
    PutNumber(&entry, 4, frame.raw_size);
    entry += "\x29" + Le64(frame.xxh64);
    PutField(&entry, 6, frame.sha256);
    PutField(&index, 1, entry);
    out += frame.compressed;
  }
  index += "\x21" + Le64(XXH64(manifest.data(), manifest.size(), 0));
  const std::uint64_t at = out.size();
  out += index;
  AppendBe64(&out, at);
  AppendBe32(&out, static_cast<std::uint32_t>(index.size()));
  AppendBe64(&out, XXH64(index.data(), index.size(), 0));
  return out + std::string("C1ZIDX1\0", 8);
}

std::string TarEntryBytes(const std::string& name, const std::string& bytes, char type) {
  std::string header(kTarBlock, '\0');
  const auto octal = [](std::uint64_t value, int digits) {
    std::string text;
    for (int i = digits; i-- > 0;) text.push_back(static_cast<char>('0' + (value >> (3 * i) & 7)));
    return text;
  };
  header.replace(0, name.size(), name);
  header.replace(100, 7, octal(0644, 7));
  header.replace(124, 11, octal(bytes.size(), 11));
  header[156] = type;
  header.replace(257, 8, std::string("ustar\00000", 8));
  header.replace(148, 8, "        ");
  std::uint64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 8, octal(sum, 6) + std::string("\0 ", 2));
  std::string out = header + bytes;
  out.resize((out.size() + kTarBlock - 1) / kTarBlock * kTarBlock);
  return out;
}

std::string WrapFiles(const Files& files, const WrapOptions& options) {
  const std::string manifest = ManifestBytes(options);
  if (options.encoding == 5) {
    std::vector<FrameParts> frames;
    for (const auto& [name, bytes] : files) frames.push_back(MakeFrame(name, bytes));
    return JoinFrames(manifest, frames);
  }
  std::string tar;
  for (const auto& [name, bytes] : files) tar += TarEntryBytes(name, bytes);
  tar.append(2 * kTarBlock, '\0');
  return BeginFile(manifest) + (options.encoding == 1 ? Zstd(tar) : tar);
}

}  // namespace vellum::c1z::v3
