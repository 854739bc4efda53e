#include "services/service_test.h"

namespace vellum {
namespace {

using MaintenanceService = ServiceTest;

TEST_F(MaintenanceService, StatusTellsTheTruth) {
  Put("a", std::string(100'000, 'v'));
  const auto status = Call<pb::StatusResponse>("Maintenance/Status", pb::StatusRequest());
  ExpectIds(status.header());
  EXPECT_EQ(status.header().revision(), 2);
  EXPECT_EQ(status.version(), "3.6.16");
  EXPECT_EQ(status.storageversion(), "3.6.0");
  EXPECT_EQ(status.leader(), status.header().member_id());
  EXPECT_EQ(status.raftterm(), status.header().raft_term());
  EXPECT_EQ(status.raftindex(), status.raftappliedindex());
  EXPECT_GT(status.raftindex(), 0u);
  EXPECT_GE(status.dbsize(), 100'000);
  EXPECT_GT(status.dbsizeinuse(), 0);
  EXPECT_LE(status.dbsizeinuse(), status.dbsize());
  EXPECT_EQ(status.dbsizequota(), 2'147'483'648);
  EXPECT_FALSE(status.islearner());
  EXPECT_TRUE(status.has_downgradeinfo());
  EXPECT_FALSE(status.downgradeinfo().enabled());
  EXPECT_EQ(status.errors_size(), 0);
}

TEST_F(MaintenanceService, AlarmsAreSwitchedListedAndObeyed) {
  pb::AlarmRequest request;
  request.set_action(pb::AlarmRequest::ACTIVATE);
  request.set_memberid(1);
  request.set_alarm(pb::NOSPACE);
  for (int i = 0; i < 2; ++i) {
    const auto activated = Call<pb::AlarmResponse>("Maintenance/Alarm", request);
    ASSERT_EQ(activated.alarms_size(), 1);
    EXPECT_EQ(activated.alarms(0).memberid(), 1u);
    EXPECT_EQ(activated.alarms(0).alarm(), pb::NOSPACE);
  }
  const auto status = Call<pb::StatusResponse>("Maintenance/Status", pb::StatusRequest());
  ASSERT_EQ(status.errors_size(), 1);
  EXPECT_EQ(status.errors(0), "memberID:1 alarm:NOSPACE ");

  ExpectError("KV/Put", PutOf("", "x"), Code::kInvalidArgument, "etcdserver: key is not provided");
  ExpectError("KV/Put", PutOf("a", "x"), Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded");
  pb::TxnRequest txn;
  *txn.add_failure()->mutable_request_put() = PutOf("a", "x");
  ExpectError("KV/Txn", txn, Code::kResourceExhausted, "etcdserver: mvcc: database space exceeded");
  Call<pb::DeleteRangeResponse>("KV/DeleteRange", DeleteOf("a"));

  pb::AlarmRequest list;
  list.set_alarm(pb::CORRUPT);
  EXPECT_EQ(Call<pb::AlarmResponse>("Maintenance/Alarm", list).alarms_size(), 0);
  list.set_alarm(pb::NONE);
  list.set_memberid(77);  // not looked at
  EXPECT_EQ(Call<pb::AlarmResponse>("Maintenance/Alarm", list).alarms_size(), 1);

  request.set_action(pb::AlarmRequest::DEACTIVATE);
  EXPECT_EQ(Call<pb::AlarmResponse>("Maintenance/Alarm", request).alarms_size(), 1);
  EXPECT_EQ(Call<pb::AlarmResponse>("Maintenance/Alarm", request).alarms_size(), 0);
  EXPECT_EQ(Put("a", "x"), 2);

  request.set_action(pb::AlarmRequest::ACTIVATE);
  request.set_alarm(pb::NONE);
  EXPECT_EQ(Call<pb::AlarmResponse>("Maintenance/Alarm", request).alarms_size(), 0);
}

class SmallQuota : public ServiceTest {
 protected:
  void SetUp() override {
    engine_options.quota_backend_bytes = 200'000;
    ServiceTest::SetUp();
  }
};

TEST_F(SmallQuota, WhoIsRefusedFindsTheAlarm) {
  PutRequest request;
  request.key = "k";
  request.value = std::string(4096, 'v');
  auto put = client().Put(request);
  for (int i = 0; put.ok() && i < 1000; ++i) put = client().Put(request);
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().reason(), Reason::kNoSpace);
  const auto alarms = client().Alarms();
  ASSERT_TRUE(alarms.ok());
  ASSERT_EQ(alarms->size(), 1u);
  EXPECT_EQ(alarms->front().alarm, client::Alarm::kNoSpace);
  EXPECT_EQ(alarms->front().member_id, engine().GetInfo().member_id);
}

TEST_F(MaintenanceService, CorruptStopsWritesButNotReads) {
  Put("a", "1");
  pb::AlarmRequest request;
  request.set_action(pb::AlarmRequest::ACTIVATE);
  request.set_alarm(pb::CORRUPT);
  Call<pb::AlarmResponse>("Maintenance/Alarm", request);
  ExpectError("KV/Put", PutOf("a", "x"), Code::kDataLoss, "etcdserver: corrupt cluster");
  ExpectError("KV/DeleteRange", DeleteOf("a"), Code::kDataLoss, "etcdserver: corrupt cluster");
  EXPECT_EQ(Call<pb::RangeResponse>("KV/Range", RangeOf("a")).count(), 1);
  const auto disarmed = client().Disarm();
  ASSERT_TRUE(disarmed.ok());
  EXPECT_EQ(disarmed->size(), 1u);
  EXPECT_EQ(Put("a", "x"), 3);
}

TEST_F(MaintenanceService, HashKvEqualsEtcds) {
  Put("a", "1");
  Put("a", "2");
  Put("b", "x");
  Call<pb::DeleteRangeResponse>("KV/DeleteRange", DeleteOf("a"));
  ASSERT_TRUE(client().LeaseGrant(1000, 0x2040a1f7ee437509).ok());
  ASSERT_EQ(Put("c", "y", 0x2040a1f7ee437509), 6);
  const auto before = client().HashKv();
  ASSERT_TRUE(before.ok()) << before.error().ToString();
  EXPECT_EQ(before->hash, 1573597862u);
  EXPECT_EQ(before->compact_revision, -1);
  EXPECT_EQ(before->hash_revision, 6);
  EXPECT_EQ(before->revision, 6);
  ASSERT_TRUE(client().Compact(4, true).ok());
  EXPECT_EQ(client().HashKv(6)->hash, 1167642316u);
  EXPECT_EQ(client().HashKv(5)->hash, 3373979763u);
  EXPECT_EQ(client().HashKv(5)->compact_revision, 4);
  EXPECT_EQ(client().HashKv(-1)->hash, 1084519789u);
  EXPECT_EQ(client().HashKv(3).error().reason(), Reason::kCompacted);
  EXPECT_EQ(client().HashKv(7).error().reason(), Reason::kFutureRevision);
  const auto hash = Call<pb::HashResponse>("Maintenance/Hash", pb::HashRequest());
  EXPECT_EQ(hash.hash(), 1167642316u);
  EXPECT_EQ(hash.header().revision(), 6);
}

TEST_F(MaintenanceService, TheLeadStaysWhereItIs) {
  pb::MoveLeaderRequest request;
  request.set_targetid(engine().GetInfo().member_id);
  EXPECT_EQ(Call<pb::MoveLeaderResponse>("Maintenance/MoveLeader", request).ByteSizeLong(), 0u);
  request.set_targetid(request.targetid() + 1);
  ExpectError("Maintenance/MoveLeader", request, Code::kFailedPrecondition, "etcdserver: bad leader transferee");
}

TEST_F(MaintenanceService, DowngradesAreValidatedOnly) {
  pb::DowngradeRequest request;
  request.set_version("3.5.0");
  EXPECT_EQ(Call<pb::DowngradeResponse>("Maintenance/Downgrade", request).version(), "3.6");
  request.set_version("3.5");
  EXPECT_EQ(Call<pb::DowngradeResponse>("Maintenance/Downgrade", request).version(), "3.6");
  for (const char* version : {"x", "", "3", "3.", "3.5.", "3.5.x", "v3.5.0", "-3.5.0", "3.5.0.1", "3.99999999999999"}) {
    request.set_version(version);
    ExpectError("Maintenance/Downgrade", request, Code::kInvalidArgument,
                "etcdserver: wrong downgrade target version format");
  }
  for (const char* version : {"3.1.0", "3.6.0", "2.5.0", "3.7.0"}) {
    request.set_version(version);
    ExpectError("Maintenance/Downgrade", request, Code::kInvalidArgument,
                "etcdserver: invalid downgrade target version");
  }
  request.set_version("3.5.0");
  request.set_action(pb::DowngradeRequest::ENABLE);
  ExpectError("Maintenance/Downgrade", request, Code::kUnimplemented,
              "etcdserver: a data directory of this server cannot be opened by an older etcd");
  request.set_action(pb::DowngradeRequest::CANCEL);
  EXPECT_EQ(Call<pb::DowngradeResponse>("Maintenance/Downgrade", request).version(), "3.6");
}

TEST_F(MaintenanceService, TheClusterIsOneMember) {
  const auto list = Call<pb::MemberListResponse>("Cluster/MemberList", pb::MemberListRequest());
  ASSERT_EQ(list.members_size(), 1);
  EXPECT_EQ(list.members(0).name(), "default");
  EXPECT_EQ(list.members(0).id(), engine().GetInfo().member_id);
  EXPECT_EQ(list.members(0).clienturls(0), "http://" + address());
  EXPECT_EQ(list.members(0).peerurls(0), "http://peer.example:2380");
  EXPECT_EQ(client().Members()->at(0).name, "default");

  pb::MemberAddRequest add;
  ExpectError("Cluster/MemberAdd", add, Code::kInvalidArgument, "etcdserver: given member URLs are invalid");
  for (const char* url : {"nonsense", "http://", "http://host", "http://host:x", "http://host:1/path", "ftp://host:1",
                          "http://::1:80", "http://host:99999"}) {
    add.Clear();
    add.add_peerurls(url);
    ExpectError("Cluster/MemberAdd", add, Code::kInvalidArgument, "etcdserver: given member URLs are invalid");
  }
  add.Clear();
  add.add_peerurls("http://peer.example:2380");
  ExpectError("Cluster/MemberAdd", add, Code::kFailedPrecondition, "etcdserver: Peer URLs already exists");
  add.set_peerurls(0, "http://[fe80::1]:7000");
  ExpectError("Cluster/MemberAdd", add, Code::kFailedPrecondition,
              "etcdserver: re-configuration failed due to not enough started members");
  add.set_islearner(true);
  ExpectError("Cluster/MemberAdd", add, Code::kFailedPrecondition,
              "etcdserver: too many learner members in cluster");

  pb::MemberRemoveRequest remove;
  remove.set_id(5);
  ExpectError("Cluster/MemberRemove", remove, Code::kNotFound, "etcdserver: member not found");
  pb::MemberPromoteRequest promote;
  promote.set_id(5);
  ExpectError("Cluster/MemberPromote", promote, Code::kNotFound, "etcdserver: member not found");
  promote.set_id(engine().GetInfo().member_id);
  ExpectError("Cluster/MemberPromote", promote, Code::kFailedPrecondition,
              "etcdserver: can only promote a learner member");
  pb::MemberUpdateRequest update;
  update.set_id(5);
  ExpectError("Cluster/MemberUpdate", update, Code::kNotFound, "etcdserver: member not found");
  update.set_id(engine().GetInfo().member_id);
  update.add_peerurls("http://peer.example:2380");
  EXPECT_EQ(Call<pb::MemberUpdateResponse>("Cluster/MemberUpdate", update).members_size(), 1);
}

TEST_F(MaintenanceService, HealthFollowsTheServer) {
  EXPECT_TRUE(*client().Healthy());
  services().SetServing(false);
  EXPECT_FALSE(*client().Healthy());
  services().SetServing(true);
  EXPECT_TRUE(*client().Healthy());
  EXPECT_EQ(client().Healthy("unknown").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace vellum
