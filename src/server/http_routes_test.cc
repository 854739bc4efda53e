#include "server/http_routes.h"

#include <gtest/gtest.h>

#include <future>

namespace vellum::server {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

class FakeHealth final : public HealthSource {
 public:
  std::vector<kv::AlarmType> Alarms() override { return alarms; }
  Status CheckRead(bool serializable) override { return serializable ? local : current; }

  std::vector<kv::AlarmType> alarms;
  Status local;
  Status current;
};

class HttpRoutesTest : public ::testing::Test {
 protected:
  wire::HttpResponse Ask(std::string path, std::string query = "", std::string method = "GET") {
    std::promise<wire::HttpResponse> answer;
    std::future<wire::HttpResponse> future = answer.get_future();
    wire::HttpRequest request;
    request.method = std::move(method);
    request.path = std::move(path);
    request.query = std::move(query);
    routes_.Handle(std::move(request),
                   [&answer](wire::HttpResponse response) { answer.set_value(std::move(response)); });
    if (future.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      return {};
    }
    return future.get();
  }

  FakeHealth health_;
  Metrics metrics_;
  WorkerPool pool_{{.name = "http", .threads = 1, .queue_max = 16}};
  HttpRoutes routes_{{.health = &health_, .metrics = &metrics_, .pool = &pool_}};

  void TearDown() override { pool_.Stop(); }
};

TEST_F(HttpRoutesTest, HealthSaysTrueAndWhyNot) {
  wire::HttpResponse response = Ask("/health");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "{\"health\":\"true\",\"reason\":\"\"}");
  EXPECT_EQ(response.content_type, "text/plain; charset=utf-8");
  health_.current = Unavailable("etcdserver: server stopped");
  response = Ask("/health");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "{\"health\":\"false\",\"reason\":\"RANGE ERROR:etcdserver: server stopped\"}\n");
  EXPECT_EQ(Ask("/health", "serializable=true").status, 200);
  EXPECT_EQ(Ask("/health", "serializable=false").status, 503);
  health_.alarms = {kv::AlarmType::kNoSpace};
  EXPECT_EQ(Ask("/health", "serializable=true").body, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
  EXPECT_EQ(Ask("/health", "serializable=true&exclude=NOSPACE").status, 200);
  EXPECT_EQ(Ask("/health", "serializable=true&exclude=NO%53PACE&exclude=").status, 200);
  health_.alarms.push_back(kv::AlarmType::kCorrupt);
  EXPECT_EQ(Ask("/health", "serializable=true&exclude=NOSPACE").body,
            "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
  EXPECT_EQ(Ask("/health", "exclude=NOSPACE&exclude=CORRUPT&serializable=true").status, 200);
  const std::string text = metrics_.Expose();
  EXPECT_NE(text.find("etcd_server_health_success 5"), std::string::npos) << text;
  EXPECT_NE(text.find("etcd_server_health_failures 4"), std::string::npos) << text;
}

TEST_F(HttpRoutesTest, LivezLooksAtLocalReadsOnly) {
  health_.current = Unavailable("no");
  health_.alarms = {kv::AlarmType::kCorrupt};
  EXPECT_EQ(Ask("/livez").status, 200);
  EXPECT_EQ(Ask("/livez").body, "ok\n");
  EXPECT_EQ(Ask("/livez", "verbose").body, "[+]serializable_read ok\nok\n");
  EXPECT_EQ(Ask("/livez/serializable_read", "verbose").body, "[+]serializable_read ok\nok\n");
  EXPECT_EQ(Ask("/livez/linearizable_read").status, 404);
  health_.local = DataLoss("block 5 of 000012.sst is damaged");
  EXPECT_EQ(Ask("/livez").status, 503);
  EXPECT_EQ(Ask("/livez").body, "[-]serializable_read failed: range error: block 5 of 000012.sst is damaged\n\n");
  EXPECT_EQ(Ask("/livez", "exclude=serializable_read").status, 200);
}

TEST_F(HttpRoutesTest, ReadyzRunsEveryCheck) {
  wire::HttpResponse response = Ask("/readyz", "verbose");
  EXPECT_EQ(response.status, 200);
  for (const std::string_view line :
       {"[+]data_corruption ok\n", "[+]serializable_read ok\n", "[+]linearizable_read ok\n", "[+]non_learner ok\n"}) {
    EXPECT_NE(response.body.find(line), std::string::npos) << line;
  }
  EXPECT_TRUE(response.body.ends_with("\nok\n"));
  health_.alarms = {kv::AlarmType::kNoSpace};
  EXPECT_EQ(Ask("/readyz").body, "ok\n");
  health_.alarms = {kv::AlarmType::kCorrupt};
  response = Ask("/readyz");
  EXPECT_EQ(response.status, 503);
  EXPECT_NE(response.body.find("[-]data_corruption failed: alarm activated: CORRUPT\n"), std::string::npos);
  EXPECT_EQ(Ask("/readyz/data_corruption").status, 503);
  EXPECT_EQ(Ask("/readyz/non_learner").status, 200);
  EXPECT_EQ(Ask("/readyz", "exclude=data_corruption").status, 200);
  EXPECT_EQ(Ask("/readyz", "exclude=data_corruption&verbose").body.find("data_corruption"), std::string::npos);
  const std::string text = metrics_.Expose();
  EXPECT_NE(text.find("etcd_server_healthcheck{name=\"data_corruption\",type=\"readyz\"} 0"), std::string::npos)
      << text;
  EXPECT_NE(text.find("etcd_server_healthchecks_total{name=\"data_corruption\",status=\"error\",type=\"readyz\"} 2"),
            std::string::npos)
      << text;
}

TEST_F(HttpRoutesTest, VersionNamesTheEtcdItStandsFor) {
  const wire::HttpResponse response = Ask("/version");
  EXPECT_EQ(response.body, "{\"etcdserver\":\"3.6.16\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}");
  EXPECT_EQ(response.content_type, "application/json");
}

TEST_F(HttpRoutesTest, MetricsAreText) {
  metrics_.AddGauge("a_gauge", "One.").Set(1);
  const wire::HttpResponse response = Ask("/metrics");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(response.body.find("a_gauge 1"), std::string::npos);
}

TEST_F(HttpRoutesTest, OtherMethodsAndPaths) {
  for (const std::string path : {"/health", "/livez", "/readyz", "/version", "/metrics", "/livez/serializable_read"}) {
    const wire::HttpResponse response = Ask(path, "", "POST");
    EXPECT_EQ(response.status, 405) << path;
    const std::pair<std::string, std::string> allow{"allow", "GET"};
    EXPECT_NE(std::find(response.headers.begin(), response.headers.end(), allow), response.headers.end());
  }
  EXPECT_EQ(Ask("/version", "", "HEAD").status, 200);
  EXPECT_EQ(Ask("/health", "", "HEAD").status, 405);
  for (const std::string path :
       {"", "/", "/nothing", "/healthz", "/livez/", "/readyz/nothing", "/metrics/x", "//health"}) {
    const wire::HttpResponse response = Ask(path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_EQ(response.body, "404 page not found\n");
  }
}

TEST_F(HttpRoutesTest, TooManyWaitingIsSaid) {
  pool_.Stop();
  EXPECT_EQ(Ask("/health").status, 503);
}

TEST(Query, DecodesNamesAndValues) {
  EXPECT_EQ(QueryValues("a=1&b=2&a=%33+x&a", "a"), (std::vector<std::string>{"1", "3 x", ""}));
  EXPECT_TRUE(HasQuery("verbose", "verbose"));
  EXPECT_TRUE(HasQuery("x=1&verbose=", "verbose"));
  EXPECT_FALSE(HasQuery("verbosely", "verbose"));
  EXPECT_EQ(QueryValues("a=%", "a"), (std::vector<std::string>{"%"}));
  EXPECT_EQ(QueryValues("a=%4", "a"), (std::vector<std::string>{"%4"}));
  EXPECT_EQ(QueryValues("&&&", "a"), (std::vector<std::string>{}));
}

}  // namespace
}  // namespace vellum::server
