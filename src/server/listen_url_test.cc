#include "server/listen_url.h"

#include <gtest/gtest.h>

namespace vellum::server {
namespace {

TEST(ListenUrl, ReadsHostsAndPorts) {
  struct Case {
    std::string_view url;
    std::string_view host;
    std::uint16_t port;
  };
  for (const Case& each : {Case{"http://10.0.0.1:2379", "10.0.0.1", 2379}, Case{"http://localhost:0", "localhost", 0},
                           Case{"http://[::1]:7/", "::1", 7}, Case{"http://:65535", "", 65535},
                           Case{"http://node-1.example.org:80", "node-1.example.org", 80}}) {
    const Result<wire::Endpoint> endpoint = ParseListenUrl(each.url, false);
    ASSERT_TRUE(endpoint.ok()) << each.url << ": " << endpoint.error().ToString();
    EXPECT_EQ(endpoint->kind, wire::Endpoint::Kind::kTcp);
    EXPECT_EQ(endpoint->host, each.host);
    EXPECT_EQ(endpoint->port, each.port);
    EXPECT_FALSE(endpoint->metrics_only);
  }
}

TEST(ListenUrl, ReadsSocketPaths) {
  const Result<wire::Endpoint> absolute = ParseListenUrl("unix:///run/vellum/client.sock", true);
  ASSERT_TRUE(absolute.ok());
  EXPECT_EQ(absolute->kind, wire::Endpoint::Kind::kUnix);
  EXPECT_EQ(absolute->path, "/run/vellum/client.sock");
  EXPECT_TRUE(absolute->metrics_only);
  // etcd's own tests write a relative path that looks like an address.
  EXPECT_EQ(ParseListenUrl("unix://localhost:5", false)->path, "localhost:5");
  EXPECT_FALSE(ParseListenUrl("unix://", false).ok());
  EXPECT_FALSE(ParseListenUrl("unix:///" + std::string(107, 'a'), false).ok());
}

TEST(ListenUrl, NamesWhatIsWrong) {
  for (const std::string_view url :
       {"", "localhost:7", "ftp://localhost:7", "http://localhost", "http://node:65536", "http://localhost:-1",
        "http://localhost:", "http://::1:2379", "http://[::1]", "http://a:1/path", "http://user@a:1", "http://"}) {
    const Result<wire::Endpoint> endpoint = ParseListenUrl(url, false);
    ASSERT_FALSE(endpoint.ok()) << url;
    EXPECT_EQ(endpoint.error().code(), Code::kInvalidArgument) << url;
    EXPECT_NE(endpoint.error().message().find(url), std::string::npos) << endpoint.error().message();
  }
}

TEST(ListenUrl, DoesNotPretendToServeTls) {
  for (const std::string_view url : {"https://localhost:1", "unixs:///run/a.sock"}) {
    const Result<wire::Endpoint> endpoint = ParseListenUrl(url, false);
    ASSERT_FALSE(endpoint.ok());
    EXPECT_EQ(endpoint.error().code(), Code::kFailedPrecondition);
    EXPECT_NE(endpoint.error().message().find("TLS"), std::string::npos);
  }
}

TEST(ListenUrl, AdvertisesWhatWasBound) {
  std::vector<wire::Endpoint> endpoints;
  for (const std::string_view url : {"http://10.0.0.1:0", "http://0.0.0.0:0", "unix:///run/a.sock"}) {
    endpoints.push_back(*ParseListenUrl(url, false));
  }
  endpoints.push_back(*ParseListenUrl("http://10.0.0.1:9", true));
  EXPECT_TRUE(IsWildcard(endpoints[1]));
  EXPECT_FALSE(IsWildcard(endpoints[0]));
  const std::vector<std::string> bound{"10.0.0.1:4001",
                                       "0.0.0.0"
                                       ":4002",
                                       "/run/a.sock", "10.0.0.1:9"};
  EXPECT_EQ(DeriveAdvertised(endpoints, bound), (std::vector<std::string>{"http://10.0.0.1:4001",
                                                                          "http://localhost"
                                                                          ":4002",
                                                                          "unix:///run/a.sock"}));
}

}  // namespace
}  // namespace vellum::server
