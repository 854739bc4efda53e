#include "rpc/cluster_service.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

using ContextPtr = std::shared_ptr<const wire::CallContext>;

// Headers of this service have no revision: membership is not part of the store.
template <typename Response>
Response Answer(const Core& core) {
  Response response;
  core.FillHeader(0, response.mutable_header());
  return response;
}

void FillMember(const Core& core, const Member& from, pb::Member* member) {
  member->set_id(core.ids.member_id);
  member->set_name(from.name);
  for (const std::string& url : from.peer_urls) member->add_peerurls(url);
  for (const std::string& url : from.client_urls) member->add_clienturls(url);
}

bool IsHostAndPort(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size()) return false;
  // A bare IPv6 address is ambiguous.
  return host.find(':') == std::string_view::npos || (host.starts_with('[') && host.ends_with(']'));
}

bool IsPeerUrl(std::string_view url) {
  for (const std::string_view scheme : {"unix://", "unixs://"}) {
    if (url.starts_with(scheme)) return url.size() > scheme.size();
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (url.starts_with(scheme)) return IsHostAndPort(url.substr(scheme.size()));
  }
  return false;
}

void MemberAdd(const CorePtr& core, const pb::MemberAddRequest& message, const Reply& reply) {
  const auto& urls = message.peerurls();
  if (urls.empty() || !std::all_of(urls.begin(), urls.end(), IsPeerUrl)) {
    reply.Fail(EtcdError::kMemberBadUrls);
    return;
  }
  const Member self = core->context.member();
  const auto is_known = [&self](const std::string& url) {
    return std::find(self.peer_urls.begin(), self.peer_urls.end(), url) != self.peer_urls.end();
  };
  if (std::any_of(urls.begin(), urls.end(), is_known)) {
    reply.Fail(EtcdError::kPeerUrlExists);
    return;
  }
  // There is no log that a second member could follow, so both kinds are refused in the protocol's words.
  reply.Fail(message.islearner() ? EtcdError::kTooManyLearners : EtcdError::kNotEnoughStarted);
}

void MemberUpdate(const CorePtr& core, const pb::MemberUpdateRequest& message, const Reply& reply) {
  if (message.id() != core->ids.member_id) {
    reply.Fail(EtcdError::kMemberNotFound);
    return;
  }
  const Member self = core->context.member();
  const std::vector<std::string> urls(message.peerurls().begin(), message.peerurls().end());
  if (urls != self.peer_urls) {
    reply.Fail(Unimplemented("the peer URLs of this server are set at its start"));
    return;
  }
  auto response = Answer<pb::MemberUpdateResponse>(*core);
  FillMember(*core, self, response.add_members());
  reply.Finish(response);
}

}  // namespace

void RegisterCluster(const CorePtr& core, wire::ServiceTable* table) {
  const std::string service = "/etcdserverpb.Cluster/";
  AddUnary<pb::MemberListRequest>(table, core, service + "MemberList",
                                  [core](ContextPtr, pb::MemberListRequest*, std::string_view, Reply reply) {
                                    auto response = Answer<pb::MemberListResponse>(*core);
                                    FillMember(*core, core->context.member(), response.add_members());
                                    reply.Finish(response);
                                  });
  AddUnary<pb::MemberAddRequest>(table, core, service + "MemberAdd",
                                 [core](ContextPtr, pb::MemberAddRequest* message, std::string_view, Reply reply) {
                                   MemberAdd(core, *message, reply);
                                 });
  AddUnary<pb::MemberRemoveRequest>(table, core, service + "MemberRemove",
                                    [core](ContextPtr, pb::MemberRemoveRequest* message, std::string_view, Reply reply) {
                                      reply.Fail(message->id() == core->ids.member_id ? EtcdError::kNotEnoughStarted
                                                                                      : EtcdError::kMemberNotFound);
                                    });
  AddUnary<pb::MemberUpdateRequest>(table, core, service + "MemberUpdate",
                                    [core](ContextPtr, pb::MemberUpdateRequest* message, std::string_view, Reply reply) {
                                      MemberUpdate(core, *message, reply);
                                    });
  AddUnary<pb::MemberPromoteRequest>(
      table, core, service + "MemberPromote",
      [core](ContextPtr, pb::MemberPromoteRequest* message, std::string_view, Reply reply) {
        reply.Fail(message->id() == core->ids.member_id ? EtcdError::kMemberNotLearner : EtcdError::kMemberNotFound);
      });
}

}  // namespace vellum::rpc
