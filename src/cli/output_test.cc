#include "cli/output.h"

#include <gtest/gtest.h>

#include "cli/printing.h"

namespace vellum::cli {
namespace {

TEST(Output, Base64OfAllLengths) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(Base64(std::string_view("\0\xFF\xFE", 3)), "AP/+");
}

TEST(Output, ColumnsAreAligned) {
  EXPECT_EQ(Columns({{"ENDPOINT", "OK"}, {"a", "yes"}, {"a-long-name", "no"}}),
            "ENDPOINT     OK\n"
            "a            yes\n"
            "a-long-name  no\n");
  EXPECT_EQ(Columns({}), "");
}

TEST(Output, RowsHaveAllOfTheirCells) {
  // Ids may hold any byte.
  const std::string odd("x\0y\x1b\n", 5);
  const auto printed = [&odd](Format format) {
    testing::internal::CaptureStdout();
    {
      RowPrinter rows(format, {{"id"}, {"next"}});
      rows.Row({odd, "1"});
      rows.Row({"z", "2"});
    }
    return testing::internal::GetCapturedStdout();
  };
  EXPECT_EQ(printed(Format::kCsv), "id,next\n\"" + odd + "\",1\nz,2\n");
  EXPECT_EQ(printed(Format::kTable),
            "id              next\n"
            "x\\x00y\\x1b\\x0a  1\n"
            "z               2\n");
  EXPECT_EQ(printed(Format::kJsonl),
            "{\"id\":\"x\\u0000y\\u001b\\n\",\"next\":\"1\"}\n"
            "{\"id\":\"z\",\"next\":\"2\"}\n");
}

TEST(Output, BytesHaveThreeDigitsAtMost) {
  EXPECT_EQ(Bytes(0), "0 B");
  EXPECT_EQ(Bytes(999), "999 B");
  EXPECT_EQ(Bytes(1000), "1.0 kB");
  EXPECT_EQ(Bytes(20'480), "20 kB");
  EXPECT_EQ(Bytes(999'600), "1.0 MB");
  EXPECT_EQ(Bytes(2'147'483'648), "2.1 GB");
}

TEST(Output, JsonHasEtcdctlsShape) {
  RangeResponse response;
  response.revision = 7;
  response.count = 2;
  response.more = true;
  KeyValue kv;
  kv.key = "a";
  kv.value = std::string("\0\xFF", 2);
  kv.create_revision = 2;
  kv.mod_revision = 7;
  kv.version = 3;
  response.kvs.push_back(kv);
  EXPECT_EQ(RangeJson(response),
            "{\"header\":{\"revision\":7},\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":7,"
            "\"version\":3,\"value\":\"AP8=\"}],\"more\":true,\"count\":2}");
  Event event;
  event.type = EventType::kDelete;
  event.kv.key = "a";
  event.kv.mod_revision = 8;
  event.prev_kv = kv;
  EXPECT_EQ(EventJson(event),
            "{\"type\":\"DELETE\",\"kv\":{\"key\":\"YQ==\",\"mod_revision\":8},\"prev_kv\":{\"key\":\"YQ==\","
            "\"create_revision\":2,\"mod_revision\":7,\"version\":3,\"value\":\"AP8=\"}}");
}

TEST(Output, PrefixesEndWhereTheyShould) {
  EXPECT_EQ(PrefixEnd("ab"), "ac");
  EXPECT_EQ(PrefixEnd("a\xFF"), "b");
  EXPECT_EQ(PrefixEnd("\xFF\xFF"), std::string(1, '\0'));
  EXPECT_EQ(PrefixEnd(""), std::string(1, '\0'));
}

}  // namespace
}  // namespace vellum::cli
