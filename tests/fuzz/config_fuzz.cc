// The configuration file, and the URLs that settings hold.
#include "server/config_file.h"
#include "server/listen_url.h"
#include "target.h"

std::vector<std::string> Seeds() {
  return {"name: default\ndata-dir: d\nlisten-client-urls: http://localhost:0\nmax-txn-ops: 3\nlog-outputs: [stderr, a.log]\n",
          "{\"name\": \"x\", \"auto-compaction-retention\": \"1h\", \"socket-options\": {\"reuse-port\": true}}",
          "http://[::1]:0", "unix:///run/vellum.sock", "a: &b [*b]\n", "- 1\n- {x: ~}\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto entries = vellum::server::ParseConfigText(text);
  if (!entries && entries.error().message().empty()) std::abort();
  const auto endpoint = vellum::server::ParseListenUrl(text, /*metrics_only=*/false);
  if (!endpoint && endpoint.error().message().empty()) std::abort();
  return 0;
}
