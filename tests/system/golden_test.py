"""The golden pairs: requests in this order on a fresh store, with the answers that etcd gives."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner  # noqa: E402
from support.client import ClientTest, compare, delete_op, get_op, pb, put_op, txn_op  # noqa: E402
from support.server import STAND_IN  # noqa: E402

NO_KEY = "etcdserver: key is not provided"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE = "etcdserver: mvcc: required revision is a future revision"
DUPLICATE = "etcdserver: duplicate key given in txn request"
LIMIT_BYTES = 1_572_864


class GoldenPairs(ClientTest):
    """One store, in the order of the table; each step is a method that ends by checking the revision."""

    def test_in_order(self):
        _, self.client = self.serve()
        for step in (self.reads_and_compactions, self.puts, self.bad_puts, self.odd_ranges, self.small_txns,
                     self.two_changes_in_one_revision, self.duplicates, self.compares, self.txn_sees_itself, self.sorting,
                     self.leases, self.lease_keys, self.two_keys_instead_of_locks, self.services, self.watch_shapes,
                     self.watch_starts, self.watch_after_compaction, self.old_reads_in_txns, self.branches,
                     self.nested_compares, self.sizes):
            with self.subTest(step=step.__name__):
                step()

    def reads_and_compactions(self):
        answer = self.client.get(b"x")
        self.assertEqual((answer.header.revision, answer.count, list(answer.kvs), answer.more), (1, 0, [], False))
        self.assertNotEqual((answer.header.cluster_id, answer.header.member_id, answer.header.raft_term), (0, 0, 0))
        self.assertEqual(self.client.compact(0).header.revision, 1)
        self.assert_error(11, COMPACTED, self.client.compact, 0)
        self.assert_error(11, FUTURE, self.client.compact, 5)
        self.assert_error(11, COMPACTED, self.client.compact, -3)
        answer = self.client.delete(b"nope")
        self.assertEqual((answer.header.revision, answer.deleted), (1, 0))

    def puts(self):
        answer = self.client.put(b"a", b"1", prev_kv=True)
        self.assertEqual((answer.header.revision, answer.HasField("prev_kv")), (2, False))
        answer = self.client.put(b"a", b"2", prev_kv=True)
        self.assertEqual(answer.header.revision, 3)
        previous = answer.prev_kv
        self.assertEqual((previous.key, previous.create_revision, previous.mod_revision, previous.version, previous.value),
                         (b"a", 2, 2, 1, b"1"))

    def bad_puts(self):
        self.assert_error(3, "etcdserver: key not found", self.client.put, b"zz", ignore_value=True)
        self.assert_error(3, "etcdserver: value is provided", self.client.put, b"a", b"q", ignore_value=True)
        self.assert_error(5, "etcdserver: requested lease not found", self.client.put, b"a", lease=77)
        self.assert_error(3, "etcdserver: lease is provided", self.client.put, b"a", lease=77, ignore_lease=True)
        self.assert_error(3, NO_KEY, self.client.put, b"")

    def odd_ranges(self):
        answer = self.client.get(b"z", b"a")
        self.assertEqual((answer.header.revision, answer.count, list(answer.kvs)), (3, 0, []))
        self.assert_error(11, FUTURE, self.client.get, b"a", revision=99)
        self.assertEqual(self.client.get(b"a", revision=-5).kvs[0].value, b"2")
        self.assertEqual(self.client.get(b"a", b"\0", limit=-1).count, 1)
        self.assert_error(3, NO_KEY, self.client.get, b"")
        self.assert_error(3, "etcdserver: invalid sort option", self.client.get, b"a", sort_order=9)
        self.assert_error(3, "etcdserver: invalid sort option", self.client.get, b"a", sort_target=9)

    def small_txns(self):
        answer = self.client.txn()
        self.assertEqual((answer.header.revision, answer.succeeded), (3, True))
        self.assert_error(3, "etcdserver: key not found", self.client.txn, success=[pb.RequestOp()])

    def two_changes_in_one_revision(self):
        answer = self.client.txn(success=[put_op(b"a", b"3"), delete_op(b"a", b"\0")])
        self.assertEqual(answer.header.revision, 4)
        put, deleted = answer.responses[0].response_put, answer.responses[1].response_delete_range
        self.assertEqual((put.header.revision, deleted.header.revision, deleted.deleted), (4, 4, 1))
        self.assertEqual((put.header.cluster_id, put.header.member_id, put.header.raft_term), (0, 0, 0))

    def duplicates(self):
        self.assert_error(3, DUPLICATE, self.client.txn, success=[put_op(b"a"), delete_op(b"a", b"z")])
        self.assert_error(3, DUPLICATE, self.client.txn, success=[put_op(b"a"), put_op(b"a")])
        put, deletion = txn_op(success=[put_op(b"s")]), txn_op(success=[delete_op(b"s")])
        answer = self.client.txn(success=[put, deletion])
        self.assertEqual(answer.header.revision, 5)
        inner = answer.responses[0].response_txn
        self.assertTrue(inner.HasField("header"))
        self.assertEqual(inner.header, pb.ResponseHeader())
        self.assert_error(3, DUPLICATE, self.client.txn, success=[deletion, put])

    def compares(self):
        answer = self.client.txn([compare("VERSION", b"a", version=99)], [put_op(b"a", b"no")])
        self.assertEqual((answer.header.revision, answer.succeeded), (5, False))
        self.assertFalse(self.client.txn([compare("VALUE", b"missing", "NOT_EQUAL", value=b"x")]).succeeded)
        self.assertTrue(self.client.txn([compare("VERSION", b"missing", version=0)]).succeeded)
        unknown = pb.Compare(target=pb.Compare.VERSION, result=9, key=b"missing", version=7)
        self.assertTrue(self.client.txn([unknown]).succeeded)

    def txn_sees_itself(self):
        answer = self.client.txn(success=[put_op(b"o", b"1"), get_op(b"o")])
        self.assertEqual(answer.header.revision, 6)
        inner = answer.responses[1].response_range
        self.assertEqual((inner.header.revision, inner.count, inner.kvs[0].value, inner.kvs[0].mod_revision), (6, 1, b"1", 6))

    def sorting(self):
        for key, times in ((b"v1", 3), (b"v2", 2), (b"v3", 1)):
            for number in range(times):
                self.client.put(key, b"%d" % number)
        version = {"sort_target": pb.RangeRequest.VERSION}
        for fields, keys in (({"limit": 2} | version, [b"v3", b"v2"]), ({"limit": 1} | version, [b"v2"]),
                             ({"limit": 1, "sort_order": pb.RangeRequest.ASCEND} | version, [b"v3"]),
                             ({"limit": 1, "sort_order": pb.RangeRequest.DESCEND} | version, [b"v1"])):
            answer = self.client.get(b"v", b"w", **fields)
            self.assertEqual(answer.header.revision, 12)
            self.assertEqual(([kv.key for kv in answer.kvs], answer.more, answer.count), (keys, True, 3), fields)
        answer = self.client.get(b"v", b"w", count_only=True, limit=1)
        self.assertEqual((answer.count, list(answer.kvs), answer.more), (3, [], False))
        answer = self.client.get(b"v", b"w", min_create_revision=9999)
        self.assertEqual((answer.count, list(answer.kvs)), (3, []))
        answer = self.client.get(b"v", b"w", min_mod_revision=-1, limit=1, keys_only=True)
        self.assertEqual(([(kv.key, kv.value) for kv in answer.kvs], answer.more, answer.count), ([(b"v1", b"")], True, 3))

    def leases(self):
        self.assertEqual(self.client.grant(1).TTL, 2)
        self.assertEqual(self.client.grant(0).TTL, 2)
        answer = self.client.grant(-5, -13)
        self.assertEqual((answer.TTL, answer.ID), (2, -13))
        self.assert_error(9, "etcdserver: lease already exists", self.client.grant, 5, -13)
        self.assert_error(11, "etcdserver: too large lease TTL", self.client.grant, 9_000_000_001)
        answer = self.client.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=999))
        self.assertEqual((answer.TTL, answer.grantedTTL), (-1, 0))
        self.assert_error(5, "etcdserver: requested lease not found", self.client.lease.LeaseRevoke,
                          pb.LeaseRevokeRequest(ID=999))
        answers = self.client.keep_alive(999)
        self.assertEqual([(answer.ID, answer.TTL) for answer in answers], [(999, 0)])

    def lease_keys(self):
        self.assertEqual(self.client.grant(30, 30).TTL, 30)
        self.assertEqual(self.client.put(b"l2", lease=30).header.revision, 13)
        self.assertEqual(self.client.put(b"l1", lease=30).header.revision, 14)
        answer = self.client.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=30, keys=True))
        keys = sorted(answer.keys) if STAND_IN else list(answer.keys)  # etcd's order is chance; ours is promised
        self.assertEqual((keys, answer.grantedTTL), ([b"l1", b"l2"], 30))
        self.assertIn(answer.TTL, (29, 30))
        self.assertEqual(self.client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=30)).header.revision, 15)

    def two_keys_instead_of_locks(self):
        self.assertEqual(self.client.put(b"lk/1").header.revision, 16)
        self.assertEqual(self.client.put(b"el/1").header.revision, 17)

    def services(self):
        members = self.client.cluster.MemberList(pb.MemberListRequest())
        self.assertEqual((members.header.revision, len(members.members)), (0, 1))
        self.assertNotEqual(members.members[0].clientURLs[0], "")
        self.assertFalse(self.client.maintenance.Defragment(pb.DefragmentRequest()).HasField("header"))
        self.assertEqual(self.client.maintenance.Alarm(pb.AlarmRequest()).header.revision, 17)
        self.assert_error(9, "etcdserver: bad leader transferee", self.client.maintenance.MoveLeader,
                          pb.MoveLeaderRequest(targetID=5))

    def watch_shapes(self):
        stream = self.open_watch(self.client)
        stream.create(b"z", b"a")
        refused = stream.next()
        self.assertEqual((refused.watch_id, refused.created, refused.canceled, refused.cancel_reason),
                         (-1, True, True, "mvcc: watcher range is empty"))
        self.assertEqual([stream.created(b"q"), stream.created(b"q"), stream.created(b"q", watch_id=7)], [0, 1, 7])
        stream.create(b"q", watch_id=7)
        refused = stream.next()
        self.assertEqual((refused.watch_id, refused.created, refused.canceled, refused.cancel_reason),
                         (-1, True, True, "mvcc: duplicate watch ID provided on the WatchStream"))
        self.assertEqual(stream.created(b"q", watch_id=-4), -4)
        stream.cancel(99)
        stream.cancel(1)
        ended = stream.next()
        self.assertEqual((ended.watch_id, ended.created, ended.canceled, ended.cancel_reason), (1, False, True, ""))
        stream.progress()
        progress = stream.next()
        self.assertEqual((progress.watch_id, progress.header.revision, len(progress.events)), (-1, 17, 0))
        self.assertTrue(stream.empty())

    def watch_starts(self):
        stream = self.open_watch(self.client)
        stream.create(b"q", start_revision=-1)
        refused = stream.next()
        self.assertEqual((refused.watch_id, refused.created, refused.canceled, refused.cancel_reason), (-1, True, True, COMPACTED))
        future = self.open_watch(self.client)
        future.created(b"q", start_revision=5000)
        future.progress()
        future.create(b"q")  # its answer comes after the silence about the progress
        self.assertTrue(future.next().created)
        lonely = self.open_watch(self.client)
        lonely.progress()
        lonely.create(b"q")
        self.assertTrue(lonely.next().created)

    def watch_after_compaction(self):
        self.client.compact(10)
        stream = self.open_watch(self.client)
        stream.create(b"a", start_revision=5)
        self.assertTrue(stream.next().created)
        ended = stream.next()
        self.assertEqual((ended.canceled, ended.compact_revision, ended.header.revision, ended.cancel_reason), (True, 10, 0, ""))
        stream.created(b"a", b"z", start_revision=10, filters=[pb.WatchCreateRequest.NOPUT])
        answer = stream.next()
        self.assertEqual([(event.type, event.kv.key, event.kv.mod_revision) for event in answer.events],
                         [(1, b"l1", 15), (1, b"l2", 15)])

    def old_reads_in_txns(self):
        self.assertEqual(self.client.put(b"a", b"0").header.revision, 18)
        self.assert_error(11, COMPACTED, self.client.txn, success=[get_op(b"a", revision=-1)])
        self.assert_error(11, COMPACTED, self.client.txn, success=[get_op(b"a", revision=5)])
        self.assert_error(11, FUTURE, self.client.txn, success=[get_op(b"a", revision=500)])

    def branches(self):
        answer = self.client.txn(failure=[put_op(b"x", lease=99)])
        self.assertEqual((answer.header.revision, answer.succeeded), (18, True))
        self.assert_error(5, "etcdserver: requested lease not found", self.client.txn, success=[put_op(b"x", lease=99)])

    def nested_compares(self):
        child = txn_op([compare("VERSION", b"n1", version=0)], [get_op(b"n1")])
        answer = self.client.txn(success=[put_op(b"n1", b"1"), child])
        self.assertEqual(answer.header.revision, 19)
        inner = answer.responses[1].response_txn
        self.assertTrue(inner.succeeded)
        self.assertEqual(inner.responses[0].response_range.kvs[0].version, 1)

    def sizes(self):
        self.assert_error(3, "etcdserver: request is too large", self.client.put, b"big", b"v" * LIMIT_BYTES)
        self.client.put(b"big", b"v" * (LIMIT_BYTES - 200))
        text = self.assert_code(8, self.client.put, b"big", b"v" * 2_200_000)
        self.assertRegex(text, r"^grpc: received message larger than max \(2200\d\d\d vs\. 2097152\)$")


if __name__ == "__main__":
    runner.main()
