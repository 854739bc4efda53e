#include <gtest/gtest.h>

#include <random>

#include "base/bytes.h"
#include "base/log.h"
#include "base/manual_clock.h"
#include "base/metrics.h"
#include "base/utf8.h"
#include "vellum/status.h"

namespace vellum {
namespace {

TEST(Utf8, ShortestFormsOnly) {
  for (const char* good :
       {"", "plain ascii of some length", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x94\x91", "aaaaaaaa\xC3\xA9" "bbbbbbbb"}) {
    EXPECT_TRUE(IsUtf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "aaaaaaaaaaa\xFF"}) {
    EXPECT_FALSE(IsUtf8(bad)) << Printable(bad);
  }
  EXPECT_EQ(Utf8Length("a\xC3\xA9"), 1u);
  EXPECT_EQ(Utf8Length("\xE2\x82\xAC" "b"), 3u);
  EXPECT_EQ(Utf8Length("\xE2\x82"), 0u);
}

TEST(Status, CarriesCodeReasonAndMark) {
  const Status ok;
  EXPECT_TRUE(ok.ok());
  EXPECT_EQ(ok.ToString(), "ok");
  Status failed = OutOfRange("required revision has been compacted", Reason::kCompacted);
  failed = std::move(failed).WithContext("range").WithMaybeApplied();
  const Status copy = failed;
  EXPECT_EQ(copy.code(), Code::kOutOfRange);
  EXPECT_EQ(copy.reason(), Reason::kCompacted);
  EXPECT_TRUE(copy.maybe_applied());
  EXPECT_EQ(copy.ToString(), "kOutOfRange: range: required revision has been compacted (may have taken effect)");
}

Result<int> Half(int value) {
  if (value % 2 != 0) return InvalidArgument("odd");
  return value / 2;
}

Status Quarter(int value, int* quarter) {
  VELLUM_ASSIGN_OR_RETURN(const int half, Half(value));
  VELLUM_ASSIGN_OR_RETURN(*quarter, Half(half));
  return {};
}

TEST(Result, PassesErrorsUp) {
  int quarter = 0;
  EXPECT_TRUE(Quarter(8, &quarter).ok());
  EXPECT_EQ(quarter, 2);
  EXPECT_EQ(Quarter(6, &quarter).message(), "odd");
  EXPECT_EQ(Half(3).value_or(7), 7);
}

TEST(Bytes, VarintsAndZigzagsRoundTrip) {
  for (const std::int64_t value : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{127}, std::int64_t{128},
                                   INT64_MAX, INT64_MIN}) {
    std::string bytes;
    AppendZigzag(&bytes, value);
    AppendVarint(&bytes, static_cast<std::uint64_t>(value));
    ByteReader reader(bytes);
    EXPECT_EQ(reader.ReadZigzag(), value);
    EXPECT_EQ(reader.ReadVarint(), static_cast<std::uint64_t>(value));
    EXPECT_TRUE(reader.empty());
  }
}

TEST(Bytes, HostileInputIsRefusedAndLeftAlone) {
  ByteReader endless("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
  EXPECT_FALSE(endless.ReadVarint());
  EXPECT_EQ(endless.rest().size(), 11u);
  ByteReader long_claim("\x7F" "abc");
  EXPECT_FALSE(long_claim.ReadLengthPrefixed());
  EXPECT_EQ(long_claim.rest().size(), 4u);
  EXPECT_FALSE(ByteReader(std::string_view("ab\0", 3)).ReadEscaped());
  EXPECT_FALSE(ByteReader(std::string_view("a\0\x02", 3)).ReadEscaped());
  EXPECT_FALSE(ByteReader("123").ReadBe32());
}

TEST(Bytes, EscapeKeepsOrderAndRoundTrips) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto draw = [&random] {
    static constexpr char kBytes[] = {'\x00', '\x01', '\x02', 'a', '\xFE', '\xFF'};
    std::string bytes(random() % 5, '\0');
    for (char& c : bytes) c = kBytes[random() % sizeof(kBytes)];
    return bytes;
  };
  for (int i = 0; i < 20000; ++i) {
    const std::string a = draw();
    const std::string b = draw();
    std::string escaped_a;
    std::string escaped_b;
    AppendEscaped(&escaped_a, a);
    AppendEscaped(&escaped_b, b);
    EXPECT_EQ(a < b, escaped_a < escaped_b) << Printable(a) << " " << Printable(b);
    escaped_a += "rest";
    ByteReader reader(escaped_a);
    EXPECT_EQ(reader.ReadEscaped(), a);
    EXPECT_EQ(reader.rest(), "rest");
  }
}

TEST(Bytes, PrefixSuccessor) {
  EXPECT_EQ(PrefixSuccessor("ab"), "ac");
  EXPECT_EQ(PrefixSuccessor("a\xFF"), "b");
  EXPECT_EQ(PrefixSuccessor("\xFF\xFF"), std::nullopt);
  EXPECT_EQ(PrefixSuccessor(""), std::nullopt);
}

TEST(Bytes, Printable) {
  EXPECT_EQ(Printable(std::string_view("a\0b\\", 4)), "a\\x00b\\x5c");
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
}

class OneLine final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    line = std::string(record.caller) + " " + std::string(record.message);
    for (const auto& field : record.fields) line += " " + std::string(field.name) + "=" + field.value;
  }
  std::string line;
};

TEST(Log, NamesItsPlaceAndDropsWhatIsBelowTheLevel) {
  OneLine sink;
  const Logger logger(&sink, LogLevel::kWarn);
  VELLUM_LOG(logger, kInfo, "unseen");
  EXPECT_EQ(sink.line, "");
  VELLUM_LOG(logger, kWarn, "seen", {{"count", 3}, {"name", "x"}});
  EXPECT_EQ(sink.line.substr(0, 17), "base/base_test.cc");
  EXPECT_NE(sink.line.find(" seen count=3 name=x"), std::string::npos) << sink.line;
}

TEST(Metrics, ExposesRegisteredAndComputedValues) {
  Metrics metrics;
  metrics.AddCounter("a_total", "help a").Increment(2);
  EXPECT_EQ(&metrics.AddCounter("a_total", "help a"), &metrics.AddCounter("a_total", "help a"));
  Gauge& last = metrics.AddGauge("last", "help", {{"revision", "5"}});
  auto handle = metrics.AddCallback(Metrics::Kind::kGauge, "computed", "help", [] { return 7.0; });
  EXPECT_NE(metrics.Expose().find("a_total 2\n"), std::string::npos) << metrics.Expose();
  EXPECT_NE(metrics.Expose().find("last{revision=\"5\"} 0\n"), std::string::npos) << metrics.Expose();
  EXPECT_NE(metrics.Expose().find("computed 7\n"), std::string::npos) << metrics.Expose();
  metrics.RemoveGauge("last", &last);
  handle.reset();
  EXPECT_EQ(metrics.Expose().find("revision=\"5\""), std::string::npos);
  EXPECT_EQ(metrics.Expose().find("computed"), std::string::npos);
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock;
  const auto before = clock.Now();
  clock.Advance(std::chrono::seconds(3));
  EXPECT_EQ(clock.Now() - before, std::chrono::seconds(3));
}

}  // namespace
}  // namespace vellum
