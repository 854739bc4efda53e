"""What kube-apiserver asks of its store, call by call."""
import pathlib
import queue
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner, wait  # noqa: E402
from support.client import ClientTest, compare, delete_op, get_op, grpc, mvcc, pb, put_op  # noqa: E402
from support.server import STAND_IN  # noqa: E402

PODS, PODS_END = b"/registry/pods/", b"/registry/pods0"


def pod(number):
    return PODS + b"default/pod-%05d" % number


class Apiserver(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def create(self, key, value, lease=0):
        return self.client.txn([compare("MOD", key, mod_revision=0)], [put_op(key, value, lease=lease)])

    def update(self, key, value, revision):
        return self.client.txn([compare("MOD", key, mod_revision=revision)], [put_op(key, value)], [get_op(key)])

    def remove(self, key, revision):
        return self.client.txn([compare("MOD", key, mod_revision=revision)], [delete_op(key)], [get_op(key)])

    def test_create_update_delete(self):
        key = pod(1)
        created = self.create(key, b"v1")
        self.assertTrue(created.succeeded)
        self.assertFalse(self.create(key, b"other").succeeded)
        got = self.client.get(key, limit=1)
        self.assertEqual((got.kvs[0].value, got.kvs[0].mod_revision), (b"v1", created.header.revision))
        updated = self.update(key, b"v2", created.header.revision)
        self.assertTrue(updated.succeeded)
        lost = self.update(key, b"v3", created.header.revision)
        self.assertFalse(lost.succeeded)
        seen = lost.responses[0].response_range.kvs[0]
        self.assertEqual((seen.value, seen.mod_revision), (b"v2", updated.header.revision))
        self.assertFalse(self.remove(key, created.header.revision).succeeded)
        removed = self.remove(key, updated.header.revision)
        self.assertTrue(removed.succeeded)
        self.assertEqual(removed.header.revision, updated.header.revision + 1)
        self.assertEqual(removed.responses[0].response_delete_range.deleted, 1)

    def stream(self, **fields):
        """The parts of a RangeStream over the pods."""
        return self.client.kv.RangeStream(pb.RangeRequest(**({"key": PODS, "range_end": PODS_END} | fields)))

    def merged(self, **fields):
        """Its parts, and what they are together."""
        parts = [part.range_response for part in self.stream(**fields)]
        whole = pb.RangeResponse()
        for part in parts:
            whole.MergeFrom(part)
        return parts, whole

    @unittest.skipIf(STAND_IN is not None, "etcd has RangeStream since 3.7")
    def test_list_in_parts(self):
        for number in range(400):
            self.create(pod(number), b"%09d " % number * 1000)
        parts, whole = self.merged()
        self.assertEqual(whole, self.client.get(PODS, PODS_END))
        self.assertGreater(len(parts), 4)
        self.assertEqual(len(parts[0].kvs), 10)
        for part in parts[:-1]:
            self.assertFalse(part.HasField("header") or part.more or part.count)
        for fields in ({"limit": 1}, {"limit": 10}, {"limit": 25}, {"limit": 400}, {"limit": 1000}, {"limit": -1}, {"keys_only": True},
                       {"count_only": True}, {"revision": 100}, {"key": pod(7), "range_end": b""}, {"key": b"none"},
                       {"sort_order": pb.RangeRequest.ASCEND}):
            _, whole = self.merged(**fields)
            self.assertEqual(whole, self.client.get(**({"key": PODS, "range_end": PODS_END} | fields)), fields)
        for fields, code, text in (
                ({"key": b""}, "INVALID_ARGUMENT", "etcdserver: key is not provided"),
                ({"revision": 1000}, "OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"),
                ({"sort_order": pb.RangeRequest.DESCEND}, "UNIMPLEMENTED", "RangeStream does not support custom sort orders"),
                ({"min_mod_revision": 3}, "UNIMPLEMENTED", "RangeStream does not support revision filters")):
            with self.assertRaises(grpc.RpcError) as failed:
                list(self.stream(**fields))
            self.assertEqual((failed.exception.code().name, failed.exception.details()), (code, text))

    @unittest.skipIf(STAND_IN is not None, "etcd has RangeStream since 3.7")
    def test_list_in_parts_stays_at_its_revision(self):
        for number in range(400):
            self.create(pod(number), b"x" * 100_000)
        whole = self.client.get(PODS, PODS_END)
        # Two that are not read while the store changes; the second one's revision is compacted before it goes on.
        kept, lost = self.stream(), self.stream()
        begun = [next(kept).range_response.kvs, next(lost).range_response.kvs]
        self.assertEqual([len(kvs) for kvs in begun], [10, 10])
        self.client.delete(pod(200), PODS_END)
        self.create(pod(1000), b"new")
        seen = list(begun[0])
        for part in kept:
            seen += part.range_response.kvs
            last = part.range_response
        self.assertEqual(seen, list(whole.kvs))
        self.assertEqual((last.header.revision, last.count, last.more), (whole.header.revision, 400, False))
        self.client.compact(whole.header.revision + 1)
        with self.assertRaises(grpc.RpcError) as failed:
            list(lost)
        self.assertEqual(failed.exception.details(), "etcdserver: mvcc: required revision has been compacted")

    def test_list_pages(self):
        for number in range(1000):
            self.create(pod(number), b"spec of %d" % number)
        self.create(b"/registry/podtemplates/x", b"")
        start, revision, limit, names = PODS, 0, 7, []
        while True:
            page = self.client.get(start, PODS_END, limit=limit, revision=revision)
            revision = revision or page.header.revision
            names += [kv.key for kv in page.kvs]
            self.assertEqual(page.count, 1000 - len(names) + len(page.kvs))
            self.assertEqual(page.more, page.count > len(page.kvs))
            if page.count <= len(page.kvs):
                break
            start = page.kvs[-1].key + b"\0"
            limit = min(limit * 2, 10_000)
            # Changes behind the reader's back do not show: it is pinned.
            self.client.delete(pod(999))
            self.create(pod(len(names) + 5000), b"new")
        self.assertEqual(names, [pod(number) for number in range(1000)])
        count = self.client.get(PODS, PODS_END, count_only=True)
        self.assertEqual((count.count, len(count.kvs)), (self.client.get(PODS, PODS_END).count, 0))
        keys = self.client.get(PODS, PODS_END, keys_only=True)
        self.assertTrue(all(kv.value == b"" for kv in keys.kvs))
        # The current revision is asked for by a read that usually misses.
        self.assertGreater(self.client.get(PODS, limit=1).header.revision, 1000)

    def test_watch_with_progress_requests(self):
        self.create(pod(0), b"v0")
        listed = self.client.get(PODS, PODS_END)
        stream = self.open_watch(self.client, metadata=(("hasleader", "true"),))
        stream.created(PODS, PODS_END, start_revision=listed.header.revision + 1, prev_kv=True, progress_notify=True)
        done = threading.Event()

        def write():
            revision = listed.kvs[0].mod_revision
            for number in range(200):
                revision = self.update(pod(0), b"v%d" % (number + 1), revision).header.revision
                self.client.put(b"/registry/leases/node", b"beat")
            done.set()

        def ask():
            while not done.wait(0.1):
                stream.progress()

        threads = [threading.Thread(target=write), threading.Thread(target=ask)]
        for thread in threads:
            thread.start()
        delivered, values, previous, told = 0, [], b"v0", 0
        while len(values) < 200:
            answer = stream.next()
            if not answer.events:
                self.assertEqual(answer.watch_id, -1)
                told = answer.header.revision
            for event in answer.events:
                self.assertGreater(event.kv.mod_revision, max(told, delivered), "an event at or below a reported progress")
                self.assertEqual(event.prev_kv.value, previous, "every change carries what it replaced")
                delivered, previous = event.kv.mod_revision, event.kv.value
                values.append(event.kv.value)
        for thread in threads:
            thread.join()
        self.assertEqual(values, [b"v%d" % (number + 1) for number in range(200)])
        current = self.client.revision()
        wait.until(lambda: stream.progress_answer().header.revision >= current, "progress reaches the current revision")

    def test_deletion_carries_the_old_object(self):
        created = self.create(pod(1), b"old")
        stream = self.open_watch(self.client)
        stream.created(PODS, PODS_END, prev_kv=True)
        removed = self.remove(pod(1), created.header.revision)
        event = stream.events(1)[0]
        self.assertEqual((event.type, event.kv.mod_revision, event.prev_kv.value),
                         (mvcc.Event.DELETE, removed.header.revision, b"old"))

    def test_one_lease_for_many_events(self):
        lease = self.client.grant(3600)
        for number in range(100):
            self.create(b"/registry/events/default/e%d" % number, b"event", lease.ID)
        answer = self.client.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease.ID, keys=True))
        self.assertEqual((answer.grantedTTL, len(answer.keys)), (3600, 100))

    def test_compaction_by_the_winner_of_a_compare(self):
        for number in range(20):
            self.client.put(pod(number))

        def turn(version, revision):
            return self.client.txn([compare("VERSION", b"compact_rev_key", version=version)],
                                   [put_op(b"compact_rev_key", b"%d" % revision)], [get_op(b"compact_rev_key")])

        self.assertTrue(turn(0, 10).succeeded)
        loser = turn(0, 10)
        self.assertFalse(loser.succeeded)
        self.assertEqual(loser.responses[0].response_range.kvs[0].value, b"10")
        self.client.compact(10)
        self.assertTrue(turn(1, 15).succeeded)
        self.client.compact(15)
        self.assert_error(11, "etcdserver: mvcc: required revision has been compacted", self.client.get, PODS, PODS_END, revision=14)
        self.assertEqual(self.client.get(PODS, PODS_END, revision=15).count, 14)
        self.assert_error(11, "etcdserver: mvcc: required revision is a future revision", self.client.get, PODS, revision=10**6)

    def test_status_is_what_feature_probing_wants(self):
        status = self.client.maintenance.Status(pb.StatusRequest())
        self.assertGreaterEqual(tuple(int(part) for part in status.version.split(".")), (3, 5, 13))
        self.assertGreater(status.dbSize, 0)
        self.assertEqual(list(status.errors), [])

    def test_health_key(self):
        answer = self.client.get(b"/registry/health")
        self.assertEqual((answer.count, len(answer.kvs)), (0, 0))

    def test_many_apiservers_share_one_connection(self):
        """Hundreds of watches, one per resource type, each of them told of its own only."""
        stream = self.open_watch(self.client)
        for number in range(300):
            stream.create(b"/registry/type-%03d/" % number, b"/registry/type-%03d0" % number, prev_kv=True, progress_notify=True)
        ids = []
        while len(ids) < 300:
            answer = stream.next()
            self.assertTrue(answer.created)
            ids.append(answer.watch_id)
        self.client.txn(success=[put_op(b"/registry/type-%03d/x" % number) for number in range(0, 300, 3)])
        told = queue.Queue()
        while told.qsize() < 100:
            answer = stream.next()
            for event in answer.events:
                told.put(event.kv.key)
                self.assertEqual(event.kv.key, b"/registry/type-%03d/x" % answer.watch_id)


if __name__ == "__main__":
    runner.main()
