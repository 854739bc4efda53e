// The MANIFEST of .c1z v3 files. The first byte says whether the rest is a record log or version edits, each behind two bytes of
// length. Whatever was refused must have left a version whose tables are in order.
#include "c1z/v3/record_log.h"
#include "c1z/v3/test_writer.h"
#include "c1z/v3/version.h"
#include "target.h"

namespace {

using namespace vellum;           // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::c1z::v3;  // NOLINT(google-build-using-namespace)

void Check(bool promise) {
  if (!promise) std::abort();
}

void CheckTables(const Version& version) {
  for (const auto& [number, table] : version.tables()) {
    Check(table.number == number);
    Check(table.level >= 0 && table.level <= 6);
    Check(table.smallest.user <= table.largest.user);
    Check(table.smallest_sequence <= table.largest_sequence && table.largest_sequence <= kSequenceMax);
  }
}

std::string Framed(const std::vector<std::string>& edits) {
  std::string bytes(1, '\1');
  for (const std::string& edit : edits) {
    bytes += {static_cast<char>(edit.size() >> 8), static_cast<char>(edit.size())};
    bytes += edit;
  }
  return bytes;
}

}  // namespace

std::vector<std::string> Seeds() {
  TableMeta meta;
  meta.number = 5;
  meta.smallest = {"a", 7 << 8 | 1};
  meta.largest = {"k", 3 << 8 | 1};
  meta.smallest_sequence = 3;
  meta.largest_sequence = 7;
  TableMeta window = meta;
  window.number = 9;
  window.backing = 5;
  const std::string first = EditWriter().Comparer().LogNumber(3).Number(3, 12).Number(4, 9).Table(meta).bytes();
  const std::string second = EditWriter().Deleted(0, 5).Backing(5, 1000).Table(window).bytes();
  const std::string third = EditWriter().Deleted(0, 9).RemovedBacking(5).bytes();
  return {std::string(1, '\0') + WriteRecordLog({first, second, std::string(40'000, '\x02'), third}), Framed({first, second, third})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Version version;
  if (data[0] % 2 == 0) {
    RecordLog log(bytes);
    std::string_view record;
    std::size_t taken = 0;
    for (auto any = log.Next(&record); any.ok() && *any; any = log.Next(&record)) {
      taken += record.size();
      Check(taken <= bytes.size());
      version.Apply(record).IgnoreError("what it does to the version is what is looked at");
    }
  } else {
    while (bytes.size() >= 2) {
      const std::size_t wanted = static_cast<std::size_t>(static_cast<std::uint8_t>(bytes[0])) << 8 | static_cast<std::uint8_t>(bytes[1]);
      bytes.remove_prefix(2);
      version.Apply(bytes.substr(0, wanted)).IgnoreError("what it does to the version is what is looked at");
      bytes.remove_prefix(std::min(wanted, bytes.size()));
    }
  }
  CheckTables(version);
  return 0;
}
