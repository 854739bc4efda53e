"""The metrics that dashboards and alerts of etcd read are there under their names, and count what they say."""
import http.client
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner, wait  # noqa: E402
from support.client import ClientTest, pb, put_op  # noqa: E402
from support.server import STAND_IN  # noqa: E402

# What Grafana's etcd dashboard and etcd's alert rules ask for, and the names that operators know by heart.
EXPECTED = """
grpc_server_handled_total grpc_server_started_total grpc_server_msg_received_total grpc_server_msg_sent_total
etcd_cluster_version etcd_server_version etcd_server_id etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner
etcd_server_leader_changes_seen_total etcd_server_heartbeat_send_failures_total
etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_proposals_pending
etcd_server_proposals_failed_total etcd_server_read_indexes_failed_total etcd_server_slow_read_indexes_total
etcd_server_slow_apply_total etcd_server_quota_backend_bytes etcd_server_apply_duration_seconds etcd_server_range_duration_seconds
etcd_server_client_requests_total etcd_server_health_success etcd_server_health_failures
etcd_mvcc_range_total etcd_mvcc_put_total etcd_mvcc_delete_total etcd_mvcc_txn_total
etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_db_open_read_transactions
etcd_mvcc_hash_duration_seconds etcd_mvcc_hash_rev_duration_seconds
etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_watcher_total
etcd_debugging_mvcc_slow_watcher_total etcd_debugging_mvcc_pending_events_total etcd_debugging_mvcc_current_revision
etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_mvcc_events_total
etcd_debugging_mvcc_db_compaction_keys_total
etcd_debugging_lease_granted_total etcd_debugging_lease_renewed_total etcd_debugging_lease_revoked_total
etcd_debugging_lease_ttl_total etcd_debugging_server_lease_expired_total
etcd_disk_wal_fsync_duration_seconds etcd_disk_wal_write_bytes_total etcd_disk_backend_commit_duration_seconds
etcd_disk_backend_defrag_duration_seconds
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
process_resident_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds
process_virtual_memory_bytes os_fd_used os_fd_limit
""".split()
OURS = """
storage_compacted_revision storage_compact_leases_cleaned_total vellum_compaction_duration_seconds
""".split()


class Metrics(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def scrape(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.getheader("Content-Type").startswith("text/plain"), answer.getheader("Content-Type"))
        text = answer.read().decode()
        connection.close()
        return text

    def value(self, name, labels=""):
        found = re.search(rf"^{name}{re.escape(labels)} (\S+)$", self.scrape(), re.MULTILINE)
        self.assertIsNotNone(found, name + labels)
        return float(found.group(1))

    def test_names(self):
        self.client.put(b"k")
        families = set(re.findall(r"^# TYPE (\S+) ", self.scrape(), re.MULTILINE))
        wanted = EXPECTED + (OURS if STAND_IN is None else [])
        self.assertEqual([name for name in wanted if name not in families], [])

    def test_format(self):
        text = self.scrape()
        for kind in ("HELP", "TYPE"):
            names = re.findall(rf"^# {kind} (\S+) ", text, re.MULTILINE)
            self.assertEqual(sorted(set(names)), sorted(names), "a family of metrics is there once")
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* .*|"
                                   r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*(\{.*\})?[^{}]*\})? [-+0-9.eInfNa]+)$")

    def test_types_are_etcds(self):
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", self.scrape(), re.MULTILINE))
        for name, kind in (("etcd_server_has_leader", "gauge"), ("etcd_server_proposals_committed_total", "gauge"),
                           ("etcd_server_proposals_failed_total", "counter"), ("etcd_mvcc_put_total", "counter"),
                           ("etcd_mvcc_db_total_size_in_bytes", "gauge"), ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
                           ("grpc_server_handled_total", "counter"), ("etcd_debugging_mvcc_keys_total", "gauge")):
            self.assertEqual(kinds.get(name), kind, name)

    def test_counts(self):
        puts, ranges = self.value("etcd_mvcc_put_total"), self.value("etcd_mvcc_range_total")
        for number in range(10):
            self.client.put(b"k%d" % number, b"v")
        self.client.txn(success=[put_op(b"a"), put_op(b"b")])
        self.client.get(b"k", b"l")
        self.client.delete(b"k1")
        self.assertEqual(self.value("etcd_mvcc_put_total") - puts, 12)
        self.assertGreaterEqual(self.value("etcd_mvcc_range_total") - ranges, 1)
        self.assertEqual(self.value("etcd_mvcc_delete_total"), 1)
        self.assertGreaterEqual(self.value("etcd_mvcc_txn_total"), 1)
        self.assertEqual(self.value("etcd_debugging_mvcc_current_revision"), 13)
        if STAND_IN is None:
            self.assertEqual(self.value("etcd_debugging_mvcc_keys_total"), 11)
        self.assertGreaterEqual(self.value("etcd_disk_wal_fsync_duration_seconds_count"), 10)
        label = '{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"}'
        self.assertEqual(self.value("grpc_server_handled_total", label), 10)
        self.client.grant(100)
        self.assertEqual(self.value("etcd_debugging_lease_granted_total"), 1)
        self.assertGreater(self.value("process_resident_memory_bytes"), 1 << 20)
        self.assertGreater(self.value("etcd_mvcc_db_total_size_in_bytes"), 0)

    def test_sizes(self):
        """What is not in tables yet counts as in use; what compaction lets go of does not any more."""
        def sizes():
            return self.value("etcd_mvcc_db_total_size_in_bytes"), self.value("etcd_mvcc_db_total_size_in_use_in_bytes")

        for _ in range(25):
            self.client.put(b"k", bytes(4096))
        wait.until(lambda: sizes()[1] >= 25 * 4096, "what was written is in use")  # etcd counts with a delay
        total, used = sizes()
        self.assertGreaterEqual(total, used)
        if STAND_IN is None:
            status = self.client.maintenance.Status(pb.StatusRequest())
            self.assertEqual((status.dbSize, status.dbSizeInUse), (total, used))
        self.client.compact(25, physical=True)
        self.client.put(b"k")
        wait.until(lambda: sizes()[1] < used, "less is in use")

    def test_the_quota_is_never_zero(self):
        """etcd's alerts divide by it."""
        quota = self.client.maintenance.Status(pb.StatusRequest()).dbSizeQuota
        self.assertEqual((quota, self.value("etcd_server_quota_backend_bytes")), (2 << 30, 2 << 30))

    def test_watchers(self):
        stream = self.open_watch(self.client)
        stream.created(b"a")
        stream.created(b"b")
        self.assertEqual(self.value("etcd_debugging_mvcc_watcher_total"), 2)
        self.assertEqual(self.value("etcd_debugging_mvcc_watch_stream_total"), 1)
        stream.end()
        wait.until(lambda: self.value("etcd_debugging_mvcc_watcher_total") == 0, "the watchers are gone")

    def test_compaction(self):
        for number in range(20):
            self.client.put(b"k", b"%d" % number)
        self.client.compact(10, physical=True)
        self.assertEqual(self.value("etcd_debugging_mvcc_compact_revision"), 10)
        if STAND_IN is None:
            text = self.scrape()
            self.assertEqual(re.findall(r'^storage_compact_duration_seconds\{revision="(\d+)"\}', text, re.MULTILINE), ["10"])
            self.assertRegex(text, r'(?m)^storage_compacted_revision\{node="[^"]+"\} 10$')
            self.client.compact(15)
            text = self.scrape()
            self.assertEqual(re.findall(r'^storage_compact_duration_seconds\{revision="(\d+)"\}', text, re.MULTILINE), ["15"])
            self.assertEqual(self.value("vellum_compaction_duration_seconds_count"), 2)

    def test_alarms(self):
        member = self.client.maintenance.Status(pb.StatusRequest()).header.member_id
        self.client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=member, alarm=pb.NOSPACE))
        self.assertRegex(self.scrape(), r'(?m)^etcd_debugging_server_alarms\{alarm_type="NOSPACE",server_id="[0-9a-f]+"\} 1$')

    def test_extensive(self):
        server, client = self.serve("--metrics=extensive")
        client.put(b"k")
        self.server = server
        self.assertIn("grpc_server_handling_seconds_bucket", self.scrape())


if __name__ == "__main__":
    runner.main()
