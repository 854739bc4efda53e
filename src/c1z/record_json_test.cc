#include "c1z/record_json.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/message_check.h"
#include "c1z/reader.h"

/// The printer against the document that it stands for: the same text for every record, or an error from both.
namespace vellum::c1z {
namespace {

using nlohmann::json;
using sync::RecordType;
using sync::RecordView;

void ExpectPrintedAsDocument(RecordPrinter* printer, const RecordView& record) {
  std::string text = "before";
  const Status printed = printer->Append(record, &text);
  const auto document = RecordObject(record);
  ASSERT_EQ(printed.ok(), document.ok()) << printed.ToString();
  ASSERT_EQ(MessageCheck().Passes(record), printed.ok()) << "what comes in must come out";
  if (printed.ok()) {
    ASSERT_EQ(text, "before" + document->dump(-1, ' ', false, json::error_handler_t::replace));
  } else {
    ASSERT_EQ(text, "before");
    ASSERT_EQ(printed.message(), document.error().message());
  }
}

class RecordJson : public testing::Test {
 protected:
  /// Every record of a fixture.
  void ForEach(const std::string& name, const std::function<void(const RecordView&)>& visit) {
    OpenOptions options;
    options.scratch_dir = directory_.path();
    const auto reader = OpenReader(std::string(VELLUM_FIXTURES) + "/c1z/" + name, options);
    ASSERT_TRUE(reader.ok()) << reader.error().ToString();
    ReadReport report;
    for (const FileSync& sync : (*reader)->syncs()) {
      for (int type = 0; type < sync::kRecordTypes; ++type) {
        const Status read = (*reader)->ReadRecords(sync, static_cast<RecordType>(type), Reader::Invalid::kFail,
                                                   [&visit](const RecordView& record) {
                                                     visit(record);
                                                     return Status();
                                                   },
                                                   &report);
        ASSERT_TRUE(read.ok()) << read.ToString();
      }
    }
    ASSERT_GT(report.rows, 0u);
  }

  TestDir directory_;
  RecordPrinter printer_;
};

TEST_F(RecordJson, FixturesArePrintedAsTheirDocuments) {
  for (const char* name : {"tiny.v1.c1z", "tiny-slim.v1.c1z", "tiny-partial.v1.c1z", "multi.v1.c1z", "dir-newer.v1.c1z"}) {
    SCOPED_TRACE(name);
    ForEach(name, [this](const RecordView& record) { ExpectPrintedAsDocument(&printer_, record); });
  }
}

TEST_F(RecordJson, DamagedMessagesArePrintedAsTheirDocumentsOrRefusedByBoth) {
  auto random = SeededRandom();
  int refused = 0;
  ForEach("tiny.v1.c1z", [&](const RecordView& original) {
    for (int round = 0; round < 100; ++round) {
      RecordView record = original;
      std::string data(record.data);
      std::string expansion(record.expansion);
      std::string id(record.id);
      for (int i = 0; i < 3; ++i) {
        std::string* const part = round % 3 == 0 && !expansion.empty() ? &expansion : round % 7 == 0 ? &id : &data;
        if (!part->empty()) (*part)[random() % part->size()] = static_cast<char>(random());
      }
      if (round % 5 == 0) data.resize(random() % (data.size() + 1));
      record.data = data;
      record.expansion = expansion;
      record.id = id;
      ExpectPrintedAsDocument(&printer_, record);
      refused += RecordObject(record).ok() ? 0 : 1;
    }
  });
  EXPECT_GT(refused, 100);
}

TEST_F(RecordJson, EveryFieldAndEveryKindOfText) {
  namespace v2 = c1::connector::v2;
  std::string odd = "quote\" slash\\ / tab\t newline\n bell\a del\x7F u\xC3\xBC \xE2\x80\xA8 \xF0\x9F\x98\x80";
  odd.push_back('\0');
  v2::Resource message;
  message.mutable_id()->set_baton_resource(true);
  message.set_baton_resource(true);
  message.set_creation_source(-3);
  message.set_description(odd);
  message.mutable_external_id()->set_link(odd);
  message.mutable_icon()->set_id("icon");
  message.mutable_parent_resource_id()->set_resource("parent");
  message.mutable_status();
  auto& fields = *message.mutable_profile()->mutable_fields();
  fields["z"].set_number_value(-0.5);
  fields["whole"].set_number_value(1e15);
  fields["large"].set_number_value(1e300);
  fields["nothing"].set_number_value(std::numeric_limits<double>::quiet_NaN());
  fields[odd].set_string_value(odd);
  fields["a"].mutable_list_value()->add_values()->mutable_struct_value();
  fields["null"].set_null_value({});
  fields["unset"];
  for (const std::int64_t seconds : {std::int64_t{0}, std::int64_t{1772352000}, INT64_MAX, INT64_MIN, std::int64_t{9223372036}}) {
    message.mutable_created_at()->set_seconds(seconds);
    message.mutable_created_at()->set_nanos(999'999'999);
    const std::string data = message.SerializeAsString();
    RecordView record;
    record.type = RecordType::kResource;
    record.id = odd;
    record.type_id = "not utf-8 \xFF\xC3(";
    record.discovered_at = 1;
    record.data = data;
    ExpectPrintedAsDocument(&printer_, record);
  }

  v2::Grant grant;
  for (const std::string& id : {std::string("b"), odd, std::string("a")}) (*grant.mutable_sources()->mutable_sources())[id].set_is_direct(id == odd);
  const std::string data = grant.SerializeAsString();
  RecordView record;
  record.type = RecordType::kGrant;
  record.data = data;
  record.needs_expansion = true;
  record.expansion = std::string_view("\x10\x01", 2);
  ExpectPrintedAsDocument(&printer_, record);
}

}  // namespace
}  // namespace vellum::c1z
