#include "c1z/v3/version.h"

#include <algorithm>

#include "base/bytes.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/record_log.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::string_view kComparer = "leveldb.BytewiseComparator";
constexpr std::uint64_t kLevelMax = 6;
constexpr std::size_t kEditFieldsMax = 4 * kTablesMax;
constexpr std::uint64_t kManifestFileBytesMax = 48u << 20;

enum Tag : std::uint64_t {
  kTagComparer = 1,
  kTagLogNumber = 2,
  kTagNextFile = 3,
  kTagLastSequence = 4,
  kTagCompactPointer = 5,
  kTagDeletedTable = 6,
  kTagNewTable = 7,
  kTagPreviousLog = 9,
  kTagNewTable2 = 100,
  kTagNewTable3 = 102,
  kTagNewTable4 = 103,
  kTagNewTable5 = 104,
  kTagCreatedBacking = 105,
  kTagRemovedBacking = 106,
  kTagNewBlob = 107,
  kTagDeletedBlob = 108,
};
constexpr std::uint64_t kColumnFamilyTagMin = 200;
constexpr std::uint64_t kColumnFamilyTagMax = 203;

enum Custom : std::uint64_t {
  kCustomEnd = 1,
  kCustomVirtual = 66,
  kCustomPrefix = 67,
  kCustomSuffix = 68,
  kCustomBlobs = 69,
  kCustomMustKnow = 1 << 6,  ///< A bit: whoever does not know the tag cannot read the table.
};

std::string TableName(std::uint64_t number) { return "table " + std::to_string(number); }

/// Takes the fields of an edit off its bytes; the first that is missing stays noted.
class EditReader {
 public:
  explicit EditReader(std::string_view bytes) : reader_(bytes) {}
  bool empty() const { return reader_.empty(); }
  Status Varint(std::uint64_t* value, const char* what) {
    const auto read = reader_.ReadVarint();
    if (!read) return Damaged(std::string("a version edit ends in, or has no number for, ") + what);
    *value = *read;
    return {};
  }
  Status String(std::string_view* value, const char* what) {
    const auto read = reader_.ReadLengthPrefixed();
    if (!read) return Damaged(std::string("a version edit ends in, or has no bytes for, ") + what);
    *value = *read;
    return {};
  }
  Status Level(int* level) {
    std::uint64_t read = 0;
    VELLUM_TRY(Varint(&read, "a level"));
    if (read > kLevelMax) return Damaged("a version edit names the level " + std::to_string(read) + ": the highest is 6");
    *level = static_cast<int>(read);
    return {};
  }
  Status Key(InternalKey* key, const char* what) {
    std::string_view bytes;
    VELLUM_TRY(String(&bytes, what));
    if (bytes.size() < 8) {
      return Damaged(std::string("a version edit gives ") + std::to_string(bytes.size()) + " bytes for " + what +
                     ": an internal key has at least 8");
    }
    key->user = bytes.substr(0, bytes.size() - 8);
    key->trailer = LoadLe<std::uint64_t>(bytes.data() + bytes.size() - 8);
    return {};
  }
  std::uint64_t left() const { return reader_.rest().size(); }

 private:
  ByteReader reader_;
};

Status ReadCustomFields(EditReader* reader, TableMeta* table) {
  for (;;) {
    std::uint64_t tag = 0;
    std::string_view ignored;
    VELLUM_TRY(reader->Varint(&tag, "a custom field"));
    switch (tag) {
      case kCustomEnd: return {};
      case kCustomVirtual: {
        std::uint64_t number = 0;
        VELLUM_TRY(reader->Varint(&number, "a backing file"));
        table->backing = number;
        break;
      }
      case kCustomPrefix: return Refused(TableName(table->number) + " has a synthetic prefix, which is not read");
      case kCustomSuffix: return Refused(TableName(table->number) + " has a synthetic suffix, which is not read");
      case kCustomBlobs: {
        std::uint64_t depth = 0;
        std::uint64_t count = 0;
        VELLUM_TRY(reader->Varint(&depth, "a depth of blob references"));
        VELLUM_TRY(reader->Varint(&count, "a count of blob references"));
        if (count > reader->left()) {
          return Damaged(TableName(table->number) + " claims " + std::to_string(count) + " blob references in " +
                         std::to_string(reader->left()) + " bytes");
        }
        if (count > 0) {
          return Refused(TableName(table->number) + " keeps values in " + std::to_string(count) + " blob files, which are not read");
        }
        break;
      }
      default:
        if ((tag & kCustomMustKnow) != 0) {
          return Refused(TableName(table->number) + " has the custom field " + std::to_string(tag) +
                         ", which this reader does not know and must not skip");
        }
        VELLUM_TRY(reader->String(&ignored, "a custom field's value"));
    }
  }
}

Status ReadNewTable(EditReader* reader, std::uint64_t tag, TableMeta* table) {
  VELLUM_TRY(reader->Level(&table->level));
  VELLUM_TRY(reader->Varint(&table->number, "a table's number"));
  if (tag == kTagNewTable5) return Refused(TableName(table->number) + " has range keys, which are not read");
  if (tag == kTagNewTable3) {
    std::uint64_t path = 0;
    VELLUM_TRY(reader->Varint(&path, "a path"));
  }
  VELLUM_TRY(reader->Varint(&table->size, "a table's size"));
  VELLUM_TRY(reader->Key(&table->smallest, "a table's smallest key"));
  VELLUM_TRY(reader->Key(&table->largest, "a table's largest key"));
  if (std::tie(table->smallest.user, table->largest.trailer) > std::tie(table->largest.user, table->smallest.trailer)) {
    return Damaged(TableName(table->number) + "'s smallest key " + Printable(table->smallest.user) + " is above its largest " +
                   Printable(table->largest.user));
  }
  table->has_sequences = tag != kTagNewTable;
  if (table->has_sequences) {
    VELLUM_TRY(reader->Varint(&table->smallest_sequence, "a smallest sequence number"));
    VELLUM_TRY(reader->Varint(&table->largest_sequence, "a largest sequence number"));
    if (table->smallest_sequence > table->largest_sequence || table->largest_sequence > kSequenceMax) {
      return Damaged(TableName(table->number) + " has sequence numbers from " + std::to_string(table->smallest_sequence) + " to " +
                     std::to_string(table->largest_sequence) + ": the highest is " + std::to_string(kSequenceMax));
    }
  }
  return tag == kTagNewTable4 ? ReadCustomFields(reader, table) : Status();
}

}  // namespace

struct Version::Changes {
  std::optional<std::uint64_t> min_log_number;
  std::vector<std::pair<int, std::uint64_t>> deleted;
  std::vector<TableMeta> added;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> backings;
  std::vector<std::uint64_t> removed_backings;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> blobs;
  std::vector<std::uint64_t> removed_blobs;
};

Status Version::Parse(std::string_view edit, Changes* changes) {
  EditReader reader(edit);
  for (std::size_t fields = 0; !reader.empty(); ++fields) {
    // Before what they make is kept: each field is a few bytes, and a table many more.
    if (fields == kEditFieldsMax) return Damaged("a version edit has more than " + std::to_string(kEditFieldsMax) + " fields");
    std::uint64_t tag = 0;
    std::uint64_t number = 0;
    std::uint64_t ignored = 0;
    std::string_view text;
    int level = 0;
    VELLUM_TRY(reader.Varint(&tag, "a tag"));
    switch (tag) {
      case kTagComparer:
        VELLUM_TRY(reader.String(&text, "the comparer"));
        if (text != kComparer) return Refused("the database orders its keys by " + Printable(text) + ", which is not read");
        break;
      case kTagLogNumber:
        VELLUM_TRY(reader.Varint(&number, "a log number"));
        changes->min_log_number = number;
        break;
      case kTagNextFile:
      case kTagLastSequence:
      case kTagPreviousLog: VELLUM_TRY(reader.Varint(&ignored, "a number")); break;
      case kTagCompactPointer:
        VELLUM_TRY(reader.Varint(&ignored, "a compaction's level"));
        VELLUM_TRY(reader.String(&text, "a compaction's key"));
        break;
      case kTagDeletedTable:
        VELLUM_TRY(reader.Level(&level));
        VELLUM_TRY(reader.Varint(&number, "a table's number"));
        changes->deleted.emplace_back(level, number);
        break;
      case kTagNewTable:
      case kTagNewTable2:
      case kTagNewTable3:
      case kTagNewTable4:
      case kTagNewTable5: VELLUM_TRY(ReadNewTable(&reader, tag, &changes->added.emplace_back())); break;
      case kTagCreatedBacking:
        VELLUM_TRY(reader.Varint(&number, "a backing file"));
        VELLUM_TRY(reader.Varint(&ignored, "a backing file's size"));
        changes->backings.emplace_back(number, ignored);
        break;
      case kTagRemovedBacking:
        VELLUM_TRY(reader.Varint(&number, "a backing file"));
        changes->removed_backings.push_back(number);
        break;
      case kTagNewBlob:
        VELLUM_TRY(reader.Varint(&number, "a blob"));
        for (int i = 0; i < 4; ++i) VELLUM_TRY(reader.Varint(&ignored, "a blob file's fields"));
        changes->blobs.emplace_back(number, ignored);
        break;
      case kTagDeletedBlob:
        VELLUM_TRY(reader.Varint(&number, "a blob"));
        VELLUM_TRY(reader.Varint(&ignored, "a blob file"));
        changes->removed_blobs.push_back(number);
        break;
      default:
        if (tag >= kColumnFamilyTagMin && tag <= kColumnFamilyTagMax) {
          return Refused("the database has column families (tag " + std::to_string(tag) + "), which are not read");
        }
        return Refused("a version edit has the tag " + std::to_string(tag) + ", which this reader does not know");
    }
  }
  return {};
}

Status Version::Apply(std::string_view edit) {
  Changes changes;
  VELLUM_TRY(Parse(edit, &changes));
  if (changes.min_log_number) min_log_number_ = *changes.min_log_number;
  for (const auto& [level, number] : changes.deleted) {
    const auto found = tables_.find(number);
    if (found == tables_.end() || found->second.level != level) {
      return Damaged("a version edit deletes " + TableName(number) + " from level " + std::to_string(level) + ", where it is not");
    }
    tables_.erase(found);
  }
  for (TableMeta& table : changes.added) {
    const std::uint64_t number = table.number;
    if (!tables_.emplace(number, std::move(table)).second) {
      return Damaged("a version edit adds " + TableName(number) + ", which is there already");
    }
  }
  if (tables_.size() > kTablesMax) return Damaged("the database has more than " + std::to_string(kTablesMax) + " tables");
  for (const auto& [number, size] : changes.backings) {
    if (!backings_.emplace(number, size).second) {
      return Damaged("a version edit makes the file " + std::to_string(number) + " a backing file, which it is already");
    }
  }
  for (const std::uint64_t number : changes.removed_backings) {
    if (backings_.erase(number) == 0) {
      return Damaged("a version edit removes the backing file " + std::to_string(number) + ", which is not there");
    }
  }
  for (const auto& [number, file] : changes.blobs) blobs_.emplace(number, file);
  for (const std::uint64_t number : changes.removed_blobs) blobs_.erase(number);
  if (std::max(backings_.size(), blobs_.size()) > kTablesMax) {
    return Damaged("the database has more than " + std::to_string(kTablesMax) + " backing or blob files");
  }
  return {};
}

namespace {

constexpr std::string_view kMarker = "marker.";

/// The value of a marker: of the files "marker.NAME.ITERATION.VALUE" the one with the highest iteration.
std::optional<std::string> FindMarker(const Checkpoint& checkpoint, std::string_view name) {
  const std::string prefix = std::string(kMarker) + std::string(name) + ".";
  std::optional<std::string> value;
  std::string highest;
  for (std::size_t file = 0; file < checkpoint.files(); ++file) {
    const std::string& candidate = checkpoint.name(file);
    if (!candidate.starts_with(prefix)) continue;
    const std::size_t dot = candidate.find('.', prefix.size());
    if (dot == std::string::npos || dot == prefix.size()) continue;
    std::string iteration = candidate.substr(prefix.size(), dot - prefix.size());
    if (iteration.find_first_not_of("0123456789") != std::string::npos) continue;
    // Compared as numbers of any length.
    iteration.erase(0, std::min(iteration.find_first_not_of('0'), iteration.size()));
    if (value && std::make_pair(iteration.size(), iteration) < std::make_pair(highest.size(), highest)) continue;
    highest = iteration;
    value = candidate.substr(dot + 1);
  }
  return value;
}

/// A file's number from a name such as "000012.sst"; names of another kind: nullopt.
std::optional<std::uint64_t> FileNumber(std::string_view name, std::string_view extension) {
  if (!name.ends_with(extension)) return std::nullopt;
  name.remove_suffix(extension.size());
  if (name.size() < 6 || name.size() > 19 || name.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  for (const char digit : name) number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  return number;
}

/// A log's number from "NNNNNN.log" or "NNNNNN-SSS.log".
std::optional<std::uint64_t> LogNumber(std::string_view name) {
  const std::size_t dash = name.find('-');
  if (dash == std::string_view::npos || !name.ends_with(".log")) return FileNumber(name, ".log");
  return FileNumber(std::string(name.substr(0, dash)) + ".log", ".log");
}

Result<int> FindFormat(const Checkpoint& checkpoint) {
  const auto value = FindMarker(checkpoint, "format-version");
  if (!value) return Damaged("the checkpoint has no marker of its format version");
  if (value->empty() || value->size() > 9 || value->find_first_not_of("0123456789") != std::string::npos) {
    return Damaged("the marker of the format version says " + Printable(*value) + ", which is no number");
  }
  const int format = std::stoi(*value);
  if (format < kFormatMin || format > kFormatMax) {
    return Refused("the database has the format major version " + std::to_string(format) + ": " + std::to_string(kFormatMin) + " to " +
                   std::to_string(kFormatMax) + " can be read");
  }
  return format;
}

Status CheckNothingIsLeft(const Checkpoint& checkpoint, const Version& version) {
  if (version.live_blobs() > 0) {
    return Refused("the database keeps values in " + std::to_string(version.live_blobs()) + " blob files, which are not read");
  }
  for (std::size_t file = 0; file < checkpoint.files(); ++file) {
    const std::string& name = checkpoint.name(file);
    if (name.starts_with("marker.remote-obj-catalog.") || name.starts_with("REMOTE-OBJ-CATALOG-")) {
      return Refused("the database has tables that lie elsewhere (" + Printable(name) + "), which are not read");
    }
    const auto log = LogNumber(name);
    if (log && *log >= version.min_log_number() && checkpoint.size(file) > 0) {
      return Refused("unflushed log: " + Printable(name) + " holds " + std::to_string(checkpoint.size(file)) +
                     " bytes that are not in tables yet, and logs are not read");
    }
  }
  return {};
}

}  // namespace

Result<Database> OpenDatabase(const Checkpoint& checkpoint, Budget* budget) {
  Database database;
  VELLUM_ASSIGN_OR_RETURN(database.format, FindFormat(checkpoint));
  const auto name = FindMarker(checkpoint, "manifest");
  if (!name) return Damaged("the checkpoint has no marker of its MANIFEST");
  const auto manifest = checkpoint.Find(*name);
  if (!name->starts_with("MANIFEST-") || !manifest) {
    return Damaged("the marker names the MANIFEST " + Printable(*name) + ", which is not there");
  }
  if (checkpoint.size(*manifest) > kManifestFileBytesMax) {
    return ResourceExhausted("the MANIFEST has " + std::to_string(checkpoint.size(*manifest)) + " bytes: the limit is " +
                             std::to_string(kManifestFileBytesMax));
  }
  {
    Buffer room;
    VELLUM_ASSIGN_OR_RETURN(const std::string_view bytes, checkpoint.Read(*manifest, 0, checkpoint.size(*manifest), &room));
    RecordLog log(bytes);
    std::size_t edits = 0;
    for (std::string_view edit;; ++edits) {
      auto any = log.Next(&edit);
      if (!any.ok()) return std::move(any).error().WithContext(Printable(*name));
      if (!*any) break;
      VELLUM_TRY(budget->CheckTime());
      if (Status applied = database.version.Apply(edit); !applied.ok()) {
        return std::move(applied).WithContext(Printable(*name) + ", edit " + std::to_string(edits));
      }
    }
    if (edits == 0) return Damaged(Printable(*name) + " holds no version edit");
  }
  VELLUM_TRY(CheckNothingIsLeft(checkpoint, database.version));
  std::map<std::uint64_t, std::size_t> by_number;
  for (std::size_t file = 0; file < checkpoint.files(); ++file) {
    if (const auto number = FileNumber(checkpoint.name(file), ".sst")) by_number.emplace(*number, file);
  }
  for (const auto& [number, table] : database.version.tables()) {
    const auto found = by_number.find(table.file_number());
    if (found == by_number.end()) {
      return Damaged(TableName(number) + " needs the file " + std::to_string(table.file_number()) + ".sst, which is not there");
    }
    const auto backing = database.version.backings().find(table.file_number());
    if (table.is_virtual() && backing == database.version.backings().end()) {
      return Damaged(TableName(number) + " is a window on the file " + std::to_string(table.file_number()) +
                     ", which the MANIFEST does not have as a backing file");
    }
    const std::uint64_t expected = table.is_virtual() ? backing->second : table.size;
    if (checkpoint.size(found->second) != expected) {
      return Damaged(Printable(checkpoint.name(found->second)) + " has " + std::to_string(checkpoint.size(found->second)) +
                     " bytes where the MANIFEST says " + std::to_string(expected));
    }
    database.files.emplace(number, found->second);
  }
  return database;
}

}  // namespace vellum::c1z::v3
