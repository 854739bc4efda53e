#include "storage/log_scan.h"

#include <gtest/gtest.h>

#include <random>

#include "storage/test_log.h"

namespace vellum::storage {
namespace {

using End = LogScan::End;

LogScan Scan(const std::string& log, LogKind kind = LogKind::kWriteAhead) {
  auto scan = ScanLog(kind, log.size(), [&log](std::uint64_t block) -> Result<std::string_view> {
    return std::string_view(log).substr(block * kLogBlockBytes, kLogBlockBytes);
  });
  EXPECT_TRUE(scan.ok());
  return *scan;
}

std::string Zeroed(std::string log, std::size_t begin, std::size_t end) {
  std::fill(log.begin() + static_cast<std::ptrdiff_t>(begin), log.begin() + static_cast<std::ptrdiff_t>(end), '\0');
  return log;
}

std::string Changed(std::string log, std::size_t offset) {
  log[offset] = static_cast<char>(log[offset] ^ 0x20);
  return log;
}

TEST(LogScan, WholeLogs) {
  EXPECT_EQ(Scan("").end, End::kWhole);
  LogBuilder builder;
  for (const std::size_t bytes : {0u, 1u, 100u, 32000u, 700u, 100000u, 5u}) builder.Batch(bytes);
  const LogScan scan = Scan(builder.log());
  EXPECT_EQ(scan.end, End::kWhole);
  EXPECT_EQ(scan.good_bytes, builder.log().size());
}

TEST(LogScan, BatchesThatEndNearABlocksEnd) {
  for (std::size_t left = 0; left < 40; ++left) {
    LogBuilder builder;
    builder.Batch(kLogBlockBytes - 7 - 12 - left).Batch(50).Batch(60000).Batch(1);
    EXPECT_EQ(Scan(builder.log()).end, End::kWhole) << left;
  }
}

/// Space that a log has ahead, as far as tests take it.
constexpr std::size_t kAhead[] = {0, 1, 600, 100000};

TEST(LogScan, EveryCutIsATornEndAfterTheLastWholeBatch) {
  LogBuilder builder;
  builder.Batch(10).Batch(33000).Batch(10).Batch(2000);
  for (const std::size_t ahead : kAhead) {
    for (std::size_t size = 0; size < builder.log().size(); size += size % 32768 < 60 ? 1 : 97) {
      const std::string cut = builder.log().substr(0, size);
      const LogScan scan = Scan(cut + std::string(ahead, '\0'));
      std::size_t whole = 0;
      for (const std::size_t end : builder.ends()) whole = end <= size ? end : whole;
      EXPECT_EQ(scan.good_bytes, whole) << size;
      // Of the next record there may be nothing but zeros.
      const bool nothing = cut.find_first_not_of('\0', whole) == std::string::npos;
      EXPECT_EQ(scan.end, nothing ? End::kWhole : End::kTorn) << size;
    }
  }
}

TEST(LogScan, ABatchThatEndsInZerosIsWhole) {
  for (const std::size_t zeros : {1u, 8u, 40000u}) {
    LogBuilder builder;
    builder.Batch(10);
    const std::size_t first = builder.log().size();
    builder.Zeros(zeros);
    for (const std::size_t ahead : kAhead) {
      const LogScan scan = Scan(builder.log() + std::string(ahead, '\0'));
      EXPECT_EQ(scan.end, End::kWhole);
      EXPECT_EQ(scan.good_bytes, builder.log().size());
      EXPECT_EQ(Scan(Changed(builder.log(), first + 10) + std::string(ahead, '\0')).good_bytes, first);
    }
  }
}

TEST(LogScan, EveryChangedByteIsDamage) {
  LogBuilder builder;
  builder.Batch(10).Batch(300).Batch(10, true).Batch(33000).Batch(7);
  for (const std::size_t ahead : kAhead) {
    for (std::size_t offset = 0; offset < builder.log().size(); offset += offset % 32768 < 700 ? 1 : 131) {
      const LogScan scan = Scan(Changed(builder.log(), offset) + std::string(ahead, '\0'));
      EXPECT_EQ(scan.end, End::kDamaged) << offset << ", with space for " << ahead;
      EXPECT_LE(scan.bad_offset, offset);
      EXPECT_LE(scan.good_bytes, scan.bad_offset);
      EXPECT_FALSE(scan.reason.empty());
    }
  }
}

TEST(LogScan, ASectorThatWasNeverWrittenIsTornUnlessItHadBeenSynced) {
  LogBuilder unsynced;
  unsynced.Batch(1000).Batch(1000).Batch(1000).Batch(1000);
  LogScan scan = Scan(Zeroed(unsynced.log(), 1536, 2048));
  EXPECT_EQ(scan.end, End::kTorn);
  EXPECT_EQ(scan.good_bytes, unsynced.ends()[0]);
  // A manifest is synced after each of its records.
  EXPECT_EQ(Scan(Zeroed(unsynced.log(), 1536, 2048), LogKind::kManifest).end, End::kDamaged);

  LogBuilder synced;
  synced.Batch(1000).Batch(1000).Batch(1000, true).Batch(1000);
  EXPECT_EQ(Scan(Zeroed(synced.log(), 1024, 1536)).end, End::kDamaged);
  // Behind the mark nothing says so.
  EXPECT_EQ(Scan(Zeroed(synced.log(), 2560, 3072)).end, End::kTorn);
  // Half a sector is no sector: only damage looks like this.
  EXPECT_EQ(Scan(Zeroed(unsynced.log(), 1600, 1900)).end, End::kDamaged);
}

TEST(LogScan, ZerosAtTheEndAreSpaceForMoreInAWriteAheadLogOnly) {
  LogBuilder builder;
  builder.Batch(1000).Batch(1000);
  for (const std::size_t ahead : {7u, 5000u, 100000u}) {
    const LogScan scan = Scan(builder.log() + std::string(ahead, '\0'));
    EXPECT_EQ(scan.good_bytes, builder.log().size());
    EXPECT_EQ(scan.end, End::kWhole);
  }
  EXPECT_EQ(Scan(builder.log() + std::string(5000, '\0'), LogKind::kManifest).end, End::kTorn);
  EXPECT_EQ(Scan(std::string(4096, '\0')).end, End::kWhole);
  EXPECT_EQ(Scan(std::string(4096, '\0')).good_bytes, 0u);
}

TEST(LogScan, PiecesInTheWrongOrderAreDamage) {
  for (const std::string types : {"3", "4", "13", "14", "21", "22", "231", "243", "24"}) {
    LogBuilder builder;
    for (const char type : types) builder.Record(type - '0', std::string(40, 'x'));
    EXPECT_EQ(Scan(builder.log()).end, types == "24" ? End::kWhole : End::kDamaged) << types;
  }
  LogBuilder unknown;
  unknown.Record(9, std::string(40, 'x'));
  EXPECT_EQ(Scan(unknown.log()).end, End::kDamaged);
  LogBuilder small;
  small.Record(1, "too short");
  EXPECT_EQ(Scan(small.log()).end, End::kDamaged);
  EXPECT_EQ(Scan(small.log(), LogKind::kManifest).end, End::kWhole);
}

TEST(LogScan, RandomBytesNeverCrashOrPass) {
  const std::uint64_t seed = std::random_device()();
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    LogBuilder builder;
    while (builder.log().size() < 5000 || random() % 4 != 0) builder.Batch(random() % 3000, random() % 3 == 0);
    std::string log = builder.log();
    const std::size_t begin = random() % log.size();
    const std::size_t end = std::min(log.size(), begin + 1 + random() % 2000);
    for (std::size_t offset = begin; offset < end; ++offset) log[offset] = static_cast<char>(random());
    if (log == builder.log()) continue;
    const LogScan scan = Scan(log);
    EXPECT_NE(scan.end, End::kWhole);
    EXPECT_LE(scan.good_bytes, end);
  }
}

}  // namespace
}  // namespace vellum::storage
