#include <gtest/gtest.h>
#include <zstd.h>

#include <fstream>
#include <functional>

#include "base/bytes.h"
#include "base/test_dir.h"
#include "c1z/reader.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/columns.h"
#include "c1z/v3/frames.h"
#include "c1z/v3/keys.h"
#include "c1z/v3/reader.h"
#include "c1z/v3/record_log.h"
#include "c1z/v3/row_block.h"
#include "c1z/v3/test_writer.h"

/// Files that are damaged below their checksums, one for each thing that is checked. None may crash the reader or make it work
/// for long, and each must be refused for its own reason.
namespace vellum::c1z::v3 {
namespace {

using sync::RecordType;
using sync::RecordView;

sync::SyncRun TheRun() {
  sync::SyncRun run;
  run.id = "3AKrFg2DodbmMYsERIlv6FSibdb";
  run.type = "full";
  run.started_at = 1'772'352'000'000'000'000;
  run.ended_at = run.started_at + 1'000'000'000;
  return run;
}

RecordView SomeGrant(std::string_view principal) {
  RecordView grant;
  grant.type = RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = "g";
  grant.entitlement_id = "group:g:member";
  grant.principal_type_id = "user";
  grant.principal_id = principal;
  grant.discovered_at = 1;
  return grant;
}

std::vector<WriterRow> SomeRows(int grants = 40) {
  std::vector<WriterRow> rows = StampRows(TheRun(), 5);
  static std::vector<std::string> names;
  while (names.size() < static_cast<std::size_t>(grants)) names.push_back("user" + std::to_string(1000 + names.size()));
  for (int i = 0; i < grants; ++i) rows.push_back(RecordRow(SomeGrant(names[static_cast<std::size_t>(i)]), 5));
  SortRows(&rows);
  return rows;
}

WrapOptions Wrap() {
  WrapOptions options;
  options.run = TheRun();
  options.counts = {0, 0, 0, 40, 0};
  return options;
}

/// A file whose one table is written in some form.
std::string WithTable(const TableFormat& format, std::vector<WriterDeletion> deletions = {}) {
  return WrapFiles(WriteCheckpoint({WriteTable(SomeRows(), std::move(deletions), format)}), Wrap());
}
/// A file whose blocks of one kind are changed.
std::string WithBlocks(const char* kind, std::function<void(std::string*)> change, std::vector<WriterDeletion> deletions = {}) {
  TableFormat format;
  format.change_block = [kind, change = std::move(change)](std::string_view what, std::string* block) {
    if (what == kind) change(block);
  };
  return WithTable(format, std::move(deletions));
}
std::string WithRows(std::vector<WriterRow> rows, TableFormat format = {}) {
  return WrapFiles(WriteCheckpoint({WriteTable(std::move(rows), {}, format)}), Wrap());
}
/// A file with one more grant, of these bytes.
std::string WithValue(const std::string& value) {
  std::vector<WriterRow> rows = SomeRows(2);
  WriterRow row = RecordRow(SomeGrant("zed"), 5);
  row.value = value.empty() ? row.value : value;
  rows.push_back(std::move(row));
  SortRows(&rows);
  return WithRows(std::move(rows));
}
std::string WithEdit(const EditWriter& edit) {
  WrittenTable table = WriteTable(SomeRows());
  table.meta.number = 10;
  EditWriter first;
  first.Comparer().LogNumber(2).Table(table.meta);
  return WrapFiles(WriteCheckpoint({{"000010.sst", table.bytes}}, {first.bytes(), edit.bytes()}), Wrap());
}
std::string WithEditBytes(const std::string& bytes) {
  return WrapFiles(WriteCheckpoint({}, {EditWriter().Comparer().bytes(), bytes}), Wrap());
}
std::string WithManifestFile(const std::string& bytes) {
  Files files = WriteCheckpoint(Files{}, {EditWriter().Comparer().bytes()});
  for (auto& [name, content] : files) {
    if (name.starts_with("MANIFEST")) content = bytes;
  }
  return WrapFiles(files, Wrap());
}
std::string WithFrames(const std::function<void(std::vector<FrameParts>*)>& change) {
  std::vector<FrameParts> frames;
  for (const auto& [name, bytes] : WriteCheckpoint({WriteTable(SomeRows())})) frames.push_back(MakeFrame(name, bytes));
  change(&frames);
  return JoinFrames(ManifestBytes(Wrap()), frames);
}
std::string WithName(const std::string& name) {
  return WithFrames([&name](auto* frames) { frames->push_back(MakeFrame(name, "x")); });
}
/// A tar archive of the right files and one more entry.
std::string WithTarEntry(const std::string& entry) {
  WrapOptions options = Wrap();
  options.encoding = 2;
  std::string file = WrapFiles(WriteCheckpoint({WriteTable(SomeRows())}), options);
  return file.substr(0, file.size() - 1024) + entry + std::string(1024, '\0');
}
std::string ChangedTail(std::string file, std::size_t from_end, const std::string& bytes) {
  return file.replace(file.size() - from_end, bytes.size(), bytes);
}
TableMeta SomeMeta(std::uint64_t number) {
  TableMeta meta;
  meta.number = number;
  meta.size = 1;
  meta.smallest = {"a", 1 << 8 | 1};
  meta.largest = {"b", 1 << 8 | 1};
  meta.smallest_sequence = meta.largest_sequence = 1;
  return meta;
}
std::string Le32(std::uint32_t value) { return {reinterpret_cast<const char*>(&value), 4}; }
std::string Field(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  AppendLengthPrefixed(&field, bytes);
  return field;
}

struct Damage {
  const char* name;
  std::function<std::string()> make;
  const char* says;
  Code code = Code::kInvalidArgument;
};

/// Reads all that there is.
Status ReadEverything(const std::string& path, const OpenOptions& options, std::uint64_t* records) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(path, options));
  ReadReport report;
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    for (const FileSync& sync : reader->syncs()) {
      VELLUM_TRY(reader->ReadRecords(sync, static_cast<RecordType>(type), Reader::Invalid::kFail,
                                     [&records](const RecordView&) {
                                       ++*records;
                                       return Status();
                                     },
                                     &report));
    }
  }
  return reader->CheckRest();
}

class V3Damage : public testing::Test {
 protected:
  Status Read(const std::string& bytes, OpenOptions options = {}) {
    const std::string path = directory_.path() + "/file.c1z";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    options.scratch_dir = directory_.path();
    records_ = 0;
    return ReadEverything(path, options, &records_);
  }
  void ExpectAll(const std::vector<Damage>& damages) {
    for (const Damage& damage : damages) {
      SCOPED_TRACE(damage.name);
      const Status read = Read(damage.make());
      EXPECT_EQ(read.code(), damage.code) << read.ToString();
      EXPECT_NE(read.message().find(damage.says), std::string::npos) << read.ToString();
      EXPECT_NE(read.message().find("file.c1z"), std::string::npos) << read.ToString();
    }
  }

  TestDir directory_;
  std::uint64_t records_ = 0;
};

TEST_F(V3Damage, TheFileItselfIsRead) {
  for (const int encoding : {1, 2, 5}) {
    WrapOptions options = Wrap();
    options.encoding = encoding;
    const Status read = Read(WrapFiles(WriteCheckpoint({WriteTable(SomeRows())}), options));
    EXPECT_TRUE(read.ok()) << encoding << ": " << read.ToString();
    EXPECT_EQ(records_, 40u);
  }
}

TEST_F(V3Damage, Envelope) {
  const std::string good = WithTable({});
  const auto many_frames = [] {
    const FrameParts empty = MakeFrame("", "");
    std::vector<FrameParts> frames(kFramesMax + 1, empty);
    for (std::size_t i = 0; i < frames.size(); ++i) frames[i].name = "f" + std::to_string(i);
    return JoinFrames(ManifestBytes(Wrap()), frames);
  };
  ExpectAll({
      {"manifest too long", [&] { return std::string(good).replace(5, 4, "\x01\0\0\1", 4); }, "the limit is 16777216"},
      {"manifest outside", [&] { return std::string(good).replace(5, 4, std::string("\0\x10\0\0", 4)); }, "is truncated"},
      {"index too long", [&] { return ChangedTail(good, 20, std::string("\x05\0\0\0", 4)); }, "the limit is 67108864"},
      {"index not at the footer", [&] { return ChangedTail(good, 20, std::string("\0\0\0\x08", 4)); }, "does not end at the footer"},
      {"index before the payload", [&] { return ChangedTail(good, 28, std::string(8, '\0')); }, "does not end at the footer"},
      {"index damaged", [&] { return ChangedTail(good, 40, "\x55"); }, "does not match its xxh64"},
      {"footer's mark", [&] { return ChangedTail(good, 3, "x"); }, "not the mark of a frame index"},
      {"too many files", many_frames, "more than 100000 entries"},
      {"unknown engine", [] { auto options = Wrap(); options.engine = "pebble9"; return WrapFiles({}, options); },
       "engine not available", Code::kUnimplemented},
      {"old engine", [] { auto options = Wrap(); options.engine = "pebble"; return WrapFiles({}, options); },
       "engine not available", Code::kUnimplemented},
      {"reserved encoding", [] { auto options = Wrap(); options.encoding = 3; return WrapFiles({}, options); },
       "payload encoding 3", Code::kUnimplemented},
  });
}

TEST_F(V3Damage, Names) {
  ExpectAll({
      {"slash", [] { return WithName("a/b"); }, "no plain file name"},
      {"backslash", [] { return WithName("a\\b"); }, "no plain file name"},
      {"nul", [] { return WithName(std::string("a\0b", 3)); }, "no plain file name"},
      {"parent", [] { return WithName(".."); }, "no plain file name"},
      {"drive", [] { return WithName("c:x"); }, "no plain file name"},
      {"empty", [] { return WithName(""); }, "empty name"},
      {"twice", [] { return WithName("MANIFEST-000001"); }, "twice"},
  });
}

TEST_F(V3Damage, Frames) {
  const auto change = [](const std::function<void(FrameParts*)>& with) {
    return [with] { return WithFrames([&with](auto* frames) { with(&(*frames)[1]); }); };  // the table
  };
  ExpectAll({
      {"outside", change([](auto* frame) { frame->offset_added = 1u << 20; }), "outside the payload"},
      {"overlap", change([](auto* frame) { frame->offset_added = 1; }), "overlap"},
      {"huge", change([](auto* frame) { frame->raw_size = 11ull << 30; }), "the limit for all is", Code::kResourceExhausted},
      {"more than it holds", change([](auto* frame) { ++frame->raw_size; }), "and the index"},
      {"less than it holds", change([](auto* frame) { --frame->raw_size; }), "and the index"},
      {"no frame", change([](auto* frame) { frame->compressed[0] = 'x'; }), "no zstd frame"},
      {"frame cut", change([](auto* frame) { frame->compressed.pop_back(); }), "does not end within"},
      {"frame followed by something", change([](auto* frame) { frame->compressed += "xx"; }), "ends before"},
      {"xxh64", change([](auto* frame) { ++frame->xxh64; }), "do not match their xxh64"},
      {"sha-256", change([](auto* frame) { ++frame->sha256[0]; }), "do not match their SHA-256"},
      {"no sha-256", change([](auto* frame) { frame->sha256.clear(); }), "gives no SHA-256"},
      {"short sha-256", change([](auto* frame) { frame->sha256.pop_back(); }), "instead of 32"},
      {"window", change([](auto* frame) {
         // No single segment, a window of 2 GiB, no content size: the frame's header of an encoder with a long window.
         frame->compressed = std::string("\x28\xB5\x2F\xFD\x00\xA8", 6) + std::string("\x01\0\0", 3);
       }), "zstd window", Code::kResourceExhausted},
  });
  // Nothing declared, and more than the index says.
  const Status read = Read(WithFrames([](auto* frames) {
    const std::string content(100'000, 'x');
    std::string frame(ZSTD_compressBound(content.size()), '\0');
    ZSTD_CCtx* const context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), content.data(), content.size()));
    ZSTD_freeCCtx(context);
    frames->front().compressed = frame;
    frames->front().raw_size = 10;
  }));
  EXPECT_NE(read.message().find("decompresses to more than the 10 bytes"), std::string::npos) << read.ToString();
}

TEST_F(V3Damage, Tar) {
  const auto changed = [](std::size_t at, const std::string& bytes) {
    return [at, bytes] {
      std::string entry = TarEntryBytes("more", "x");
      return WithTarEntry(entry.replace(at, bytes.size(), bytes));
    };
  };
  const auto resized = [](const std::string& size) {
    std::string entry = TarEntryBytes("more", "x");
    entry.replace(124, size.size(), size).replace(148, 8, "        ");
    std::uint64_t sum = 0;
    for (const char c : entry.substr(0, 512)) sum += static_cast<unsigned char>(c);
    char text[8];
    std::snprintf(text, sizeof text, "%06o", static_cast<unsigned>(sum));
    return WithTarEntry(entry.replace(148, 8, std::string(text, 6) + std::string("\0 ", 2)));
  };
  ExpectAll({
      {"checksum", changed(0, "N"), "tar header's checksum"},
      {"size no number", [&] { return resized("0000000000x"); }, "size is no number"},
      {"size huge", [&] { return resized("77777777777"); }, "exceeds the limit", Code::kResourceExhausted},
      {"size beyond the end", [&] { return resized("00000100000"); }, "ends within"},
      {"second file", [] { return WithTarEntry(TarEntryBytes("MANIFEST-000001", "x")); }, "two files MANIFEST-000001"},
      {"path", [] { return WithTarEntry(TarEntryBytes("../x", "x")); }, "no plain file name"},
  });
  // Links, devices and directories are skipped, whatever they are called.
  for (const char type : {'1', '2', '3', '4', '5', '6'}) {
    EXPECT_TRUE(Read(WithTarEntry(TarEntryBytes("../../x", "", type))).ok()) << type;
  }
}

TEST_F(V3Damage, RecordLog) {
  const std::string good = WriteRecordLog({EditWriter().Comparer().bytes()});
  const auto changed = [&good](std::size_t at, const std::string& bytes) {
    return [good, at, bytes] { return WithManifestFile(std::string(good).replace(at, bytes.size(), bytes)); };
  };
  const std::string big = WriteRecordLog({std::string(70'000, '\0')});
  ExpectAll({
      {"chunk beyond the file", changed(4, "\xFF"), "claims 255 bytes"},
      {"checksum", changed(0, "x"), "does not match its checksum"},
      {"type", changed(6, "\x05"), "has the type 5"},
      {"zeros", [] { return WithManifestFile(std::string(100, '\0')); }, "is all zeros"},
      {"cut header", [&] { return WithManifestFile(good + "abc"); }, "is cut off"},
      {"no last", [&] { return WithManifestFile(big.substr(0, 32768)); }, "ends within a record"},
      {"no first", [&] { return WithManifestFile(big.substr(32768)); }, "never began"},
      {"first twice", [&] { return WithManifestFile(big.substr(0, 32768) + big); }, "within another"},
      {"empty", [] { return WithManifestFile(""); }, "holds no version edit"},
  });
  // A record of more than 64 MiB, before it is put together.
  std::string log = WriteRecordLog({std::string(kLogRecordBytesMax + 1, 'x')});
  RecordLog reader(log);
  std::string_view record;
  EXPECT_NE(reader.Next(&record).error().message().find("more than 67108864 bytes"), std::string::npos);
}

TEST_F(V3Damage, Edits) {
  TableMeta backwards = SomeMeta(20);
  std::swap(backwards.smallest, backwards.largest);
  TableMeta beyond = SomeMeta(20);
  beyond.largest_sequence = kSequenceMax + 1;
  TableMeta level = SomeMeta(20);
  level.level = 7;
  TableMeta again = SomeMeta(10);
  TableMeta missing = SomeMeta(99);
  TableMeta window = SomeMeta(20);
  window.backing = 10;
  const auto custom = [](const std::string& fields) {
    return [fields] { return WithEdit(EditWriter().Table(SomeMeta(20), fields)); };
  };
  const auto too_many = [] {
    EditWriter edit;
    for (std::size_t i = 0; i <= kTablesMax; ++i) edit.Table(SomeMeta(100 + i));
    return WithEdit(edit);
  };
  ExpectAll({
      {"string outside", [] { return WithEditBytes("\x01\x7F" "abc"); }, "the comparer"},
      {"varint without an end", [] { return WithEditBytes("\x02\xFF"); }, "a log number"},
      {"level", [&] { return WithEdit(EditWriter().Table(level)); }, "the highest is 6"},
      {"short key", [] { return WithEditBytes(std::string("\x67\x00\x14\x01\x01" "a", 6)); }, "at least 8"},
      {"bounds", [&] { return WithEdit(EditWriter().Table(backwards)); }, "is above its largest"},
      {"sequence number", [&] { return WithEdit(EditWriter().Table(beyond)); }, "sequence numbers from"},
      {"blob references", custom(std::string("\x45\x01\x7F", 3)), "claims 127 blob references"},
      {"a blob reference", custom(std::string("\x45\x01\x01\x05\x05", 5)), "blob files", Code::kUnimplemented},
      {"synthetic prefix", custom("\x43\x01x"), "synthetic prefix", Code::kUnimplemented},
      {"synthetic suffix", custom("\x44\x01x"), "synthetic suffix", Code::kUnimplemented},
      {"unknown custom field", custom("\x47\x01x"), "custom field 71", Code::kUnimplemented},
      {"range keys", [] { return WithEditBytes(std::string("\x68\x00\x14", 3)); }, "range keys", Code::kUnimplemented},
      {"unknown tag", [] { return WithEditBytes("\x0B\x00"); }, "has the tag 11", Code::kUnimplemented},
      {"column families", [] { return WithEditBytes("\xC8\x01"); }, "column families", Code::kUnimplemented},
      {"comparer", [] { return WithEdit(EditWriter().Comparer("backwards")); }, "backwards", Code::kUnimplemented},
      {"live blob file", [] { return WithEditBytes(std::string("\x6B\x01\x02\x03\x04\x05")); }, "1 blob files", Code::kUnimplemented},
      {"deleted and absent", [] { return WithEdit(EditWriter().Deleted(6, 77)); }, "where it is not"},
      {"deleted from another level", [] { return WithEdit(EditWriter().Deleted(5, 10)); }, "where it is not"},
      {"added twice", [&] { return WithEdit(EditWriter().Table(again)); }, "there already"},
      {"no such file", [&] { return WithEdit(EditWriter().Table(missing)); }, "needs the file 99"},
      {"no such backing", [&] { return WithEdit(EditWriter().Table(window)); }, "as a backing file"},
      {"backing removed twice", [] { return WithEdit(EditWriter().RemovedBacking(4)); }, "removes the backing file 4"},
      {"too many tables", too_many, "more than 100000 tables"},
  });
}

TEST_F(V3Damage, Checkpoints) {
  const auto with = [](const std::function<void(Files*)>& change) {
    return [change] {
      Files files = WriteCheckpoint({WriteTable(SomeRows())});
      change(&files);
      return WrapFiles(files, Wrap());
    };
  };
  const auto format = [](int version) {
    return [version] { return WrapFiles(WriteCheckpoint({WriteTable(SomeRows())}, version), Wrap()); };
  };
  ExpectAll({
      {"too new", format(25), "format major version 25", Code::kUnimplemented},
      {"too old", format(12), "format major version 12", Code::kUnimplemented},
      {"no markers", with([](Files* files) { std::erase_if(*files, [](auto& file) { return file.first.starts_with("marker"); }); }), "no marker of its format"},
      {"no manifest", with([](Files* files) { std::erase_if(*files, [](auto& file) { return file.first.starts_with("MANIFEST"); }); }), "which is not there"},
      {"a newer marker", with([](Files* files) { files->emplace_back("marker.manifest.000002.MANIFEST-000007", ""); }), "MANIFEST-000007"},
      {"unflushed log", with([](Files* files) { files->emplace_back("000003-001.log", "x"); }), "unflushed log", Code::kUnimplemented},
      {"tables elsewhere", with([](Files* files) { files->emplace_back("REMOTE-OBJ-CATALOG-000001", "x"); }), "lie elsewhere", Code::kUnimplemented},
      {"table longer", with([](Files* files) { (*files)[1].second += "x"; }), "where the MANIFEST says"},
  });
  // A log from before the flush does not matter, nor do files of other kinds.
  EXPECT_TRUE(Read(with([](Files* files) {
                     files->emplace_back("000001.log", "old");
                     files->emplace_back("OPTIONS-000003", "[Version]");
                     files->emplace_back("CURRENT", "");
                   })()).ok());
}

TEST_F(V3Damage, Footers) {
  const auto tail = [](const std::function<void(std::string*)>& change) {
    return [change] {
      WrittenTable table = WriteTable(SomeRows());
      change(&table.bytes);
      table.meta.size = table.bytes.size();
      return WrapFiles(WriteCheckpoint({table}), Wrap());
    };
  };
  const auto refooted = [&](std::uint32_t attributes, Handle metaindex, Handle index, const TableFormat& format = {}) {
    return tail([=](std::string* bytes) { bytes->replace(bytes->size() - 61, 61, FooterBytes(format, attributes, metaindex, index)); });
  };
  TableFormat checksum;
  checksum.checksum = static_cast<Checksum>(2);
  ExpectAll({
      {"short", tail([](std::string* bytes) { bytes->resize(20); }), "fewer than its footer"},
      {"magic", tail([](std::string* bytes) { bytes->replace(bytes->size() - 8, 8, "\xF7\xCF\xF4\x85\xB7\x41\xE2\x88"); }), "not the mark of a Pebble table", Code::kUnimplemented},
      {"version", tail([](std::string* bytes) { (*bytes)[bytes->size() - 12] = 8; }), "footer version 8", Code::kUnimplemented},
      {"checksum", tail([](std::string* bytes) { (*bytes)[bytes->size() - 50] ^= 1; }), "footer does not match its checksum"},
      {"metaindex outside", refooted(128, {1u << 20, 10}, {0, 10}), "metaindex lies at 1048576"},
      {"index too long", refooted(128, {0, 10}, {0, 1u << 20}), "index lies at 0 with 1048576"},
      {"index overflows", refooted(128, {0, 10}, {100, UINT64_MAX - 50}), "index lies at 100"},
      {"range keys", refooted(2, {0, 10}, {0, 10}), "range keys", Code::kUnimplemented},
      {"blob values", refooted(64, {0, 10}, {0, 10}), "blob files", Code::kUnimplemented},
      {"checksum type", refooted(0, {0, 10}, {0, 10}, checksum), "checksum type 2", Code::kUnimplemented},
  });
}

TEST_F(V3Damage, Blocks) {
  const auto compressed = [](std::uint8_t type) {
    return [type] {
      TableFormat format;
      format.compression = type;
      return WithTable(format);
    };
  };
  const auto handles = [](const std::function<void(std::vector<Handle>*)>& change, std::size_t block_bytes = 500) {
    return [=] {
      TableFormat format;
      format.block_bytes = block_bytes;
      format.change_handles = change;
      return WithTable(format);
    };
  };
  ExpectAll({
      {"minlz", [] {
         TableFormat format;
         format.compression = 8;
         format.change_block = [](std::string_view what, std::string* block) {
           if (what == "data") (*block)[0] = '\0';
         };
         return WithTable(format);
       }, "MinLZ", Code::kUnimplemented},
      {"lz4", compressed(4), "the compression 4", Code::kUnimplemented},
      {"beyond the footer", handles([](auto* all) { all->back().size = 1u << 30; }), "do not end before the footer"},
      {"overflow", handles([](auto* all) { all->back() = {UINT64_MAX - 2, UINT64_MAX - 2}; }), "do not end before the footer"},
      {"one block twice", handles([](auto* all) { (*all)[1] = (*all)[0]; }), "behind the one at"},
      {"a separator that lies", [] {
         TableFormat format;
         format.block_bytes = 500;
         format.change_block = [](std::string_view what, std::string* block) {
           if (what != "index") return;
           const auto index = ParseIndexBlock(*block);
           std::vector<IndexEntry> entries;
           for (std::uint32_t row = 0; row < index->rows; ++row) {
             entries.push_back({std::string(index->separator[row]), {index->offset[row], index->size[row]}});
           }
           entries[2].separator = entries[1].separator;
           *block = WriteIndexBlock(entries);
         };
         return WithTable(format);
       }, "above its block's separator"},
      {"the wrong size", handles([](auto* all) { --(*all)[0].size; }), "does not match its checksum"},
  });
  Budget budget({1u << 30, 1u << 30, std::chrono::milliseconds(0)});
  Buffer room;
  const auto says = [&](std::uint8_t type, const std::string& stored, const char* text) {
    const auto decoded = Decompress(type, stored, 1u << 20, &budget, &room);
    EXPECT_NE(decoded.error().message().find(text), std::string::npos) << decoded.error().ToString();
  };
  says(1, "", "has no length");
  says(1, std::string("\x90\x03\x00", 3) + "x", "times as many");  // 400 of 4
  says(1, std::string("\xFF\xFF\xFF\x7F\x00", 5), "the limit is 1048576");
  says(1, std::string("\x05\x08" "abc", 5), "is damaged");  // three bytes and not five
  says(7, std::string("\x05"), "holds 0 bytes and claims 5");
  says(7, "\x05xxxx", "zstd block is damaged");
  says(7, std::string("\xFF\xFF\xFF\x7F\x00", 5), "the limit is 1048576");
  std::string frame(ZSTD_compressBound(3), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), "abc", 3, 1));
  says(7, "\x04" + frame, "holds 3 bytes and claims 4");
  says(7, "\x02" + frame, "zstd block is damaged");
  EXPECT_EQ(*Decompress(7, "\x03" + frame, 1u << 20, &budget, &room), "abc");
  EXPECT_EQ(*Decompress(8, std::string("\x03\x08" "abc", 5), 1u << 20, &budget, &room), "abc");  // Snappy under MinLZ's number
}

TEST_F(V3Damage, MetaindexAndProperties) {
  const auto pairs = [](const char* kind, const Pairs& written) {
    return [kind, written] { return WithBlocks(kind, [&written](std::string* block) { *block = WriteKeyValueBlock(written); }); };
  };
  const auto format = [](const std::function<void(TableFormat*)>& change) {
    return [change] {
      TableFormat with;
      change(&with);
      return WithTable(with);
    };
  };
  const std::pair<std::string, std::string> schema = {"pebble.colblk.schema", "DefaultKeySchema(leveldb.BytewiseComparator,16)"};
  ExpectAll({
      {"short property", pairs("properties", {schema, {"rocksdb.block.based.table.index.type", "abc"}}), "has 3 bytes, not 4"},
      {"index type", pairs("properties", {schema, {"rocksdb.block.based.table.index.type", Le32(1)}}), "its index has the type 1", Code::kUnimplemented},
      {"no number", pairs("properties", {schema, {"rocksdb.num.entries", "\xFF"}}), "is no number"},
      {"no schema", pairs("properties", {}), "no schema"},
      {"names that are no text", pairs("properties", {{"\xFF\xFE", "\xFF"}}), "no schema"},
      {"more deletions than entries", pairs("properties", {schema, {"rocksdb.num.range-deletions", "\x05"}}), "range deletions among 0"},
      {"no properties", pairs("metaindex", {}), "names no properties"},
      {"no handle", pairs("metaindex", {{"rocksdb.properties", ""}}), "no handle for rocksdb.properties"},
      {"properties elsewhere", pairs("metaindex", {{"rocksdb.properties", HandleBytes({1u << 20, 5})}}), "do not end before the footer"},
      {"range keys", format([](auto* with) { with->metaindex = {{"pebble.range_key", "\x01\x01"}}; }), "range keys", Code::kUnimplemented},
      {"blob references", format([](auto* with) { with->metaindex = {{"pebble.blob_ref_index", "\x01\x01"}}; }), "blob files", Code::kUnimplemented},
      {"old range deletions", format([](auto* with) { with->metaindex = {{"rocksdb.range_del", "\x01\x01"}}; }), "oldest form", Code::kUnimplemented},
      {"schema", format([](auto* with) { with->schema = "crdb1"; }), "schema crdb1", Code::kUnimplemented},
      {"comparer", format([](auto* with) { with->comparer = "backwards"; }), "ordered by backwards", Code::kUnimplemented},
      {"entries", format([](auto* with) { with->entries_too_many = 3; }), "claims 46 entries and has 43 rows"},
      {"levels", format([](auto* with) { with->attributes = 1u << 5; }), "disagree about the levels"},
  });
}

TEST_F(V3Damage, Columns) {
  // A data block's header: 4 bytes of the longest key, version, columns, rows, then 7 columns of 5 bytes.
  const auto data = [](std::size_t at, const std::string& bytes) {
    return [at, bytes] { return WithBlocks("data", [&](std::string* block) { block->replace(at, bytes.size(), bytes); }); };
  };
  const auto index = [](const std::function<void(std::string*)>& change) { return [change] { return WithBlocks("index", change); }; };
  ExpectAll({
      {"version", data(4, "\x02"), "has the version 2", Code::kUnimplemented},
      {"columns", data(5, "\x08"), "has 8 columns", Code::kUnimplemented},
      {"type", data(11, "\x03"), "has the type 3", Code::kUnimplemented},
      {"rows", data(7, Le32(0x7FFFFFFF)), "claims 2147483647 rows"},
      {"other rows", data(7, Le32(42)), "column 0 of a columnar block"},
      {"first start", data(12, Le32(47)), "begins at 47"},
      {"decreasing start", data(17, Le32(20)), "begins at 20"},
      {"start beyond", data(42, Le32(0x7FFFFFFF)), "begins at 2147483647"},
      {"moved start", [] {
         return WithBlocks("data", [](std::string* block) {
           block->replace(17, 4, Le32(LoadLe<std::uint32_t>(block->data() + 17) + 1));
         });
       }, "instead of"},
      {"shift", data(46, "\x1F"), "bundles of 2^31"},
      {"end", [] { return WithBlocks("data", [](std::string* block) { block->back() = 1; }); }, "zero byte"},
      {"longest key", data(0, Le32(3)), "where the longest of its block has 3"},
      {"zero rows", data(7, Le32(0)), "has no rows"},
      {"bitmap", [] { return WithBlocks("data", [](std::string* block) { (*block)[block->size() - 2] = 2; }); }, "bitmap encoding 2"},
      {"integer width", data(47, "\x03"), "integers of 3 bytes"},
      {"offsets with a base", data(47, "\x82"), "integer encoding 130"},
      {"empty", [] { return WithBlocks("data", [](std::string* block) { block->clear(); }); }, "has 0 bytes"},
      {"offsets decrease", index([](std::string* block) {
         *block = WriteIndexBlock({{"ab", {0, 10}}, {"cd", {20, 10}}});
         block->replace(28, 3, std::string("\x00\x05\x04", 3));
       }), "decreasing offsets"},
      {"offset beyond", index([](std::string* block) {
         *block = WriteIndexBlock({{"ab", {0, 10}}});
         (*block)[29] = 100;
       }), "has the offset 100"},
      {"first offset", index([](std::string* block) {
         *block = WriteIndexBlock({{"ab", {0, 10}}});
         (*block)[28] = 1;
       }), "begins at offset 1"},
  });
}

TEST_F(V3Damage, Keys) {
  const auto rows = [](const std::function<void(std::vector<WriterRow>*)>& change, std::size_t block_bytes = 32u << 10) {
    return [=] {
      std::vector<WriterRow> all = SomeRows();
      change(&all);
      TableFormat format;
      format.block_bytes = block_bytes;
      return WithRows(std::move(all), format);
    };
  };
  const auto bounds = [](const std::function<void(TableMeta*)>& change) {
    return [change] {
      WrittenTable table = WriteTable(SomeRows());
      change(&table.meta);
      return WrapFiles(WriteCheckpoint({table}), Wrap());
    };
  };
  const auto kind = [&](std::uint8_t number) { return rows([number](auto* all) { (*all)[3].kind = number; }); };
  ExpectAll({
      {"order", rows([](auto* all) { std::swap((*all)[3], (*all)[4]); }), "does not follow"},
      {"order across blocks", rows([](auto* all) { std::swap((*all)[3], (*all)[4]); }, 1), "does not follow"},
      {"the same row twice", rows([](auto* all) { (*all)[3] = (*all)[4]; }), "does not follow"},
      {"states upside down", rows([](auto* all) { auto row = (*all)[4]; ++row.sequence; all->insert(all->begin() + 5, row); }), "does not follow"},
      {"below the bounds", bounds([](auto* meta) { meta->smallest.user += "x"; }), "outside the table's bounds"},
      {"above the bounds", bounds([](auto* meta) { meta->largest.user.pop_back(); }), "outside the table's bounds"},
      {"sequence numbers", bounds([](auto* meta) { meta->smallest_sequence = 6; meta->largest_sequence = 7; }), "does not lie between"},
      {"merge", kind(2), "kind 2", Code::kUnimplemented},
      {"range key", kind(21), "kind 21", Code::kUnimplemented},
      {"another first byte", rows([](auto* all) { all->push_back({"\x04x", 5, 1, ""}); }), "does not begin with 03", Code::kUnimplemented},
      {"unstamped", rows([](auto* all) { std::erase_if(*all, [](auto& row) { return row.key.ends_with("keyspace_version"); }); }), "no stamp", Code::kUnimplemented},
      {"another layout", rows([](auto* all) { for (auto& row : *all) if (row.key.ends_with("keyspace_version")) row.value[3] = 3; }), "the layout 3", Code::kUnimplemented},
      {"short stamp", rows([](auto* all) { for (auto& row : *all) if (row.key.ends_with("keyspace_version")) row.value = "x"; }), "has 1 bytes, not 4"},
      {"grants keyed otherwise", rows([](auto* all) { for (auto& row : *all) if (row.key.ends_with("id_format")) row.value[3] = 1; }), "in the format 1", Code::kUnimplemented},
      {"several syncs", rows([](auto* all) { for (auto& row : *all) if (row.key == "\x03\x06") row.key += "x"; }), "several syncs", Code::kUnimplemented},
      {"another record's value", rows([](auto* all) { std::swap((*all)[3].value, (*all)[4].value); }), "another record's than the key"},
  });
}

TEST_F(V3Damage, RowBlocks) {
  const auto rows = [](const std::function<void(std::string*)>& change) {
    return [change] {
      TableFormat format;
      format.version = 4;
      format.change_block = [&change](std::string_view what, std::string* block) {
        if (what == "data") change(block);
      };
      return WithTable(format);
    };
  };
  ExpectAll({
      {"no restarts", rows([](auto* block) { block->replace(block->size() - 4, 4, Le32(0)); }), "claims 0 restarts"},
      {"too many restarts", rows([](auto* block) { block->replace(block->size() - 4, 4, Le32(0x40000000)); }), "restarts"},
      {"short", rows([](auto* block) { block->resize(7); }), "at least 8"},
      {"shared", rows([](auto* block) { (*block)[0] = 1; }), "shares 1 bytes"},
      {"key beyond", rows([](auto* block) { (*block)[1] = 0x7F; (*block)[2] = 0x7F; block->erase(40, block->size() - 60); }), "claims 127 bytes of key"},
      {"short key", rows([](auto* block) { *block = WriteRowBlock({{"short", ""}}); }), "an internal key has 5 bytes"},
      {"no prefix byte", rows([](auto* block) { *block = WriteRowBlock({{InternalKeyBytes({"\x03\x03", 5 << 8 | 1}), ""}}); }), "lacks the byte"},
      {"blob", rows([](auto* block) { *block = WriteRowBlock({{InternalKeyBytes({"\x03\x04\x01", 5 << 8 | 1}), "\x40"}}); }), "blob file", Code::kUnimplemented},
  });
}

TEST_F(V3Damage, RangeDeletions) {
  const std::vector<WriterDeletion> some = {{"\x03\x04", "\x03\x05", 4}, {"\x03\x06", "\x03\x07", 4}};
  const auto changed = [&some](const std::function<void(std::string*)>& change) {
    return [=] { return WithBlocks("deletions", change, some); };
  };
  ExpectAll({
      {"empty range", [&] { return WithTable({}, {{"\x03\x05", "\x03\x05", 4}}); }, "do not ascend"},
      {"not ascending", changed([](auto* block) { *block = WriteRangeDeletionBlock({{"b", "c", 4}, {"a", "b", 4}}); }), "do not ascend"},
      {"kind", changed([&some](auto* block) {
         *block = WriteRangeDeletionBlock(some);
         const std::size_t trailer = block->find(std::string("\x0F\x04", 2));
         ASSERT_NE(trailer, std::string::npos);
         (*block)[trailer] = 14;
       }), "kind 14", Code::kUnimplemented},
      {"fewer than claimed", changed([](auto* block) { *block = WriteRangeDeletionBlock({{"a", "b", 4}}); }), "and claims 2"},
      {"more than claimed", changed([](auto* block) { *block = WriteRangeDeletionBlock({{"a", "b", 4}, {"b", "c", 4}, {"c", "d", 4}}); }), "it claims"},
      {"boundaries", changed([](auto* block) { block->replace(0, 4, Le32(0x7FFFFFFF)); }), "boundaries of range deletions"},
      {"sequence number", changed([](auto* block) { *block = WriteRangeDeletionBlock({{"a", "b", 9}, {"b", "c", 9}}); }), "outside the table's"},
  });
}

TEST_F(V3Damage, Messages) {
  std::string nested;
  for (int i = 0; i < 120; ++i) nested = Field(1, Field(1, "k") + Field(2, Field(5, nested)));
  RecordView resource;
  resource.type = RecordType::kResource;
  resource.type_id = "user";
  resource.id = "u";
  const auto deep = [&] {
    std::vector<WriterRow> rows = SomeRows(1);
    WriterRow row = RecordRow(resource, 5);
    row.value += Field(9, nested);
    rows.push_back(std::move(row));
    SortRows(&rows);
    return WithRows(std::move(rows));
  };
  const std::string grant = EncodeStorage(SomeGrant("zed"));
  ExpectAll({
      {"length outside", [&] { return WithValue(grant + "\x42\x7F" "x"); }, "not protobuf"},
      {"length outside the part", [&] { return WithValue(grant + Field(8, "\x0A\x7F" "x")); }, "not protobuf"},
      {"group", [&] { return WithValue(grant + "\x5B\x5C"); }, "not protobuf"},
      {"field zero", [&] { return WithValue(grant + std::string("\x00\x01", 2)); }, "not protobuf"},
      {"varint too long", [&] { return WithValue(grant + "\x38" + std::string(10, '\xFF')); }, "not protobuf"},
      {"no text", [&] { return WithValue(grant + Field(2, "\xFF\xFE")); }, "not UTF-8"},
      {"no text in an annotation", [&] { return WithValue(grant + Field(8, Field(1, "\xC3"))); }, "not UTF-8"},
      {"no text in a source", [&] { return WithValue(grant + Field(9, Field(1, "\xC3"))); }, "not UTF-8"},
      {"no identity", [&] { return WithValue(Field(2, "x")); }, "another record's than the key"},
      {"too deep", deep, "nested deeper"},
  });
}

TEST_F(V3Damage, Budgets) {
  const std::string file = WithTable({});
  OpenOptions options;
  options.limits.entries_max = 1;
  std::vector<WriterRow> many = SomeRows(20'000);
  EXPECT_NE(Read(WithRows(many), options).message().find("more than 1 entries were read"), std::string::npos);
  options = {};
  options.limits.memory_bytes_max = 10'000;
  const Status memory = Read(file, options);
  EXPECT_EQ(memory.code(), Code::kResourceExhausted);
  EXPECT_NE(memory.message().find("the limit is 10000"), std::string::npos) << memory.ToString();
  options = {};
  options.limits.decoded_bytes_max = 100;
  EXPECT_NE(Read(file, options).message().find("the limit for all is 100"), std::string::npos);
  options = {};
  options.limits.block_bytes_max = 100;
  EXPECT_NE(Read(file, options).message().find("the limit is 100"), std::string::npos);
  options = {};
  options.limits.time_max = std::chrono::milliseconds(1);
  EXPECT_NE(Read(WithRows(std::move(many)), options).message().find("took longer than the limit of 1 ms"), std::string::npos);
}

TEST_F(V3Damage, UnknownTypesAreCountedAndAFileWithoutASyncIsShown) {
  std::vector<WriterRow> rows = SomeRows(3);
  rows.push_back({std::string("\x03\x0B\x00one", 6), 5, 1, "x"});
  rows.push_back({std::string("\x03\x0B\x00two", 6), 5, 1, "x"});
  std::erase_if(rows, [](const WriterRow& row) { return row.key == "\x03\x06"; });
  SortRows(&rows);
  const std::string path = directory_.path() + "/file.c1z";
  std::ofstream(path, std::ios::binary) << WithRows(std::move(rows));
  const auto reader = OpenReader(path, {});
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  EXPECT_TRUE((*reader)->syncs().empty());
  EXPECT_EQ(*(*reader)->CountOrphans(), 3u);
  ASSERT_EQ((*reader)->warnings().size(), 2u);
  EXPECT_EQ((*reader)->warnings()[1], "2 keys have the unknown type 11: they were not read");
}

TEST_F(V3Damage, EntitlementsAndGrantsUnderTheirOwnIds) {
  std::vector<WriterRow> rows = StampRows(TheRun(), 5);
  std::erase_if(rows, [](const WriterRow& row) { return row.key.ends_with("id_format"); });
  for (const char* id : {"one", "two"}) {  // one identity twice
    RecordView grant = SomeGrant("user");
    grant.id = id;
    WriterRow row = RecordRow(grant, 5);
    row.key.clear();
    AppendKey(&row.key, grant, Identity::kExternal);
    rows.push_back(std::move(row));
  }
  SortRows(&rows);
  WrapOptions options = Wrap();
  options.engine = "pebble2";
  const std::string path = directory_.path() + "/file.c1z";
  std::ofstream(path, std::ios::binary) << WrapFiles(WriteCheckpoint({WriteTable(rows)}), options);
  const auto reader = OpenReader(path, {});
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  EXPECT_FALSE((*reader)->InIdentityOrder(RecordType::kGrant));
  EXPECT_TRUE((*reader)->InIdentityOrder(RecordType::kResource));
  ReadReport report;
  std::vector<std::string> ids;
  const Status read = (*reader)->ReadRecords((*reader)->syncs().front(), RecordType::kGrant, Reader::Invalid::kFail,
                                             [&ids](const RecordView& grant) {
                                               ids.emplace_back(grant.id);
                                               return Status();
                                             },
                                             &report);
  ASSERT_TRUE(read.ok()) << read.ToString();
  EXPECT_EQ(ids, (std::vector<std::string>{"one", "two"}));
}

}  // namespace
}  // namespace vellum::c1z::v3
