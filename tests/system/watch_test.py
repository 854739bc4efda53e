"""Watches: the shapes of their answers, history and live events, fragments, filters, progress, many on one stream."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner  # noqa: E402
from support.client import ClientTest, delete_op, grpc, mvcc, pb, put_op, txn_op  # noqa: E402

PUT, DELETE = mvcc.Event.PUT, mvcc.Event.DELETE


def brief(event):
    return ("DELETE" if event.type == DELETE else "PUT", event.kv.key, event.kv.value, event.kv.mod_revision)


class Events(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def test_history_then_live_without_gap(self):
        for number in range(50):
            self.client.put(b"k%d" % (number % 7), b"%d" % number)
        stream = self.open_watch(self.client)
        stream.created(b"k", b"l", start_revision=1)
        for number in range(50, 60):
            self.client.put(b"k%d" % (number % 7), b"%d" % number)
        events = stream.events(60)
        self.assertEqual([event.kv.value for event in events], [b"%d" % number for number in range(60)])
        self.assertEqual([event.kv.mod_revision for event in events], list(range(2, 62)))

    def test_previous_values(self):
        stream = self.open_watch(self.client)
        stream.created(b"k", prev_kv=True)
        self.client.put(b"k", b"1")
        self.client.put(b"k", b"2")
        self.client.delete(b"k")
        self.client.put(b"k", b"3")
        events = stream.events(4)
        self.assertEqual([event.prev_kv.value if event.HasField("prev_kv") else None for event in events], [None, b"1", b"2", None])
        deletion = events[2]
        self.assertEqual(deletion.kv, mvcc.KeyValue(key=b"k", mod_revision=4))
        self.assertEqual((deletion.prev_kv.create_revision, deletion.prev_kv.version), (2, 2))
        self.assertEqual((events[3].kv.create_revision, events[3].kv.version), (5, 1))

    def test_previous_value_below_the_compacted_revision_is_left_out(self):
        self.client.put(b"k", b"1")
        self.client.put(b"k", b"2")
        self.client.put(b"k", b"3")
        self.client.compact(3)
        stream = self.open_watch(self.client)
        stream.created(b"k", prev_kv=True, start_revision=3)
        events = stream.events(2)
        self.assertEqual([event.prev_kv.value if event.HasField("prev_kv") else None for event in events], [None, b"2"])

    def test_several_changes_of_a_key_in_one_revision(self):
        self.client.put(b"a", b"old")
        live = self.open_watch(self.client)
        live.created(b"a", prev_kv=True)
        self.client.txn(success=[put_op(b"a", b"1"), delete_op(b"a", b"\0")])
        self.client.put(b"a", b"2")
        self.client.txn(success=[delete_op(b"a", b"\0"), put_op(b"a", b"4"), delete_op(b"a", b"\0")])
        expected = [("PUT", b"a", b"1", 3), ("DELETE", b"a", b"", 3), ("PUT", b"a", b"2", 4), ("DELETE", b"a", b"", 5),
                    ("PUT", b"a", b"4", 5), ("DELETE", b"a", b"", 5)]
        replay = self.open_watch(self.client)
        replay.created(b"a", prev_kv=True, start_revision=3)
        for stream in (live, replay):
            events = stream.events(6)
            self.assertEqual([brief(event) for event in events], expected)
            self.assertEqual([event.prev_kv.value for event in events], [b"old", b"old", b"", b"2", b"", b"2"])
            self.assertEqual((events[4].kv.version, events[4].kv.create_revision), (1, 5))

    def test_a_revision_arrives_whole(self):
        stream = self.open_watch(self.client)
        stream.created(b"", b"\0")
        self.client.txn(success=[put_op(b"k%03d" % number, b"v") for number in range(128)])
        answer = stream.next()
        self.assertEqual([event.kv.key for event in answer.events], [b"k%03d" % number for number in range(128)])
        self.assertEqual(answer.header.revision, 2)

    def test_filters(self):
        for number in range(3):
            self.client.put(b"k", b"%d" % number)
            self.client.delete(b"k")
        stream = self.open_watch(self.client)
        puts = stream.created(b"k", start_revision=1, filters=[pb.WatchCreateRequest.NODELETE])
        self.assertEqual([event.type for event in stream.events(3)], [PUT] * 3)
        stream.cancel(puts)
        self.assertTrue(stream.next().canceled)
        stream.created(b"k", start_revision=1, filters=[pb.WatchCreateRequest.NOPUT])
        self.assertEqual([event.type for event in stream.events(3)], [DELETE] * 3)
        silent = self.open_watch(self.client)
        silent.created(b"k", filters=[pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE])
        self.client.put(b"k")
        self.client.delete(b"k")
        answer = silent.progress_answer()
        self.assertEqual((answer.watch_id, answer.header.revision, len(answer.events)), (-1, 9, 0))

    def test_history_comes_in_large_answers(self):
        """Ten megabytes of ten revisions are one answer, or the fragments of one: etcd's own suite counts on it."""
        for number in range(10):
            self.client.put(b"big/%d" % number, bytes([number]) * (1 << 20))
        stream = self.open_watch(self.client)
        stream.created(b"big/", b"big0", start_revision=1)
        self.assertEqual(len(stream.next().events), 10)
        stream = self.open_watch(self.client)
        stream.created(b"big/", b"big0", start_revision=1, fragment=True)
        parts = [stream.next()]
        while parts[-1].fragment:
            parts.append(stream.next())
        self.assertGreater(len(parts), 4)
        self.assertEqual([event.kv.key for part in parts for event in part.events], [b"big/%d" % number for number in range(10)])

    def test_fragments(self):
        value = b"v" * 400_000
        for number in range(20):
            self.client.put(b"k%02d" % number, value)
        self.client.delete(b"k", b"l")
        stream = self.open_watch(self.client)
        stream.created(b"k", b"l", start_revision=22, prev_kv=True, fragment=True)
        parts = [stream.next()]
        while parts[-1].fragment:
            parts.append(stream.next())
        self.assertGreater(len(parts), 2)
        self.assertEqual(sum(len(part.events) for part in parts), 20)
        self.assertEqual(len({(part.header.revision, part.watch_id) for part in parts}), 1)
        self.assertLess(max(part.ByteSize() for part in parts), 1_572_864 + 512 * 1024 + 400_000)
        whole = self.open_watch(self.client)
        whole.created(b"k", b"l", start_revision=22, prev_kv=True)
        answer = whole.next()
        self.assertEqual((len(answer.events), answer.fragment), (20, False))

    def test_a_delete_exactly_at_the_compacted_revision_is_still_seen(self):
        self.client.put(b"k", b"1")
        self.client.delete(b"k")
        self.client.put(b"other")
        self.client.compact(3, physical=True)
        stream = self.open_watch(self.client)
        stream.created(b"k", start_revision=3)
        self.assertEqual([brief(event) for event in stream.events(1)], [("DELETE", b"k", b"", 3)])

    def test_a_lease_ends_in_one_revision(self):
        lease = self.client.grant(60).ID
        for key in (b"l3", b"l1", b"l2"):
            self.client.put(key, lease=lease)
        stream = self.open_watch(self.client)
        stream.created(b"l", b"m")
        self.client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease))
        answer = stream.next()
        self.assertEqual([brief(event) for event in answer.events], [("DELETE", key, b"", 5) for key in (b"l1", b"l2", b"l3")])


class Streams(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def test_many_watches_on_one_stream(self):
        stream = self.open_watch(self.client)
        ids = {stream.created(b"key/%04d" % number): number for number in range(500)}
        self.assertEqual(sorted(ids), list(range(500)))
        order = list(range(500))
        seed = random.randrange(2**32)
        print(f"seed {seed}")
        random.Random(seed).shuffle(order)
        for number in order:
            self.client.put(b"key/%04d" % number)
        seen = {}
        while len(seen) < 500:
            answer = stream.next()
            for event in answer.events:
                seen[answer.watch_id] = event.kv.key
        self.assertEqual(seen, {watch_id: b"key/%04d" % number for watch_id, number in ids.items()})

    def test_streams_and_ids_are_independent(self):
        first, second = self.open_watch(self.client), self.open_watch(self.client)
        self.assertEqual([first.created(b"a"), second.created(b"b"), first.created(b"c")], [0, 0, 1])
        self.client.put(b"b")
        self.assertEqual(second.next().events[0].kv.key, b"b")
        self.assertTrue(first.empty())

    def test_no_event_after_the_cancel(self):
        stream = self.open_watch(self.client)
        watched = stream.created(b"a")
        other = stream.created(b"b")
        stream.cancel(watched)
        self.assertTrue(stream.next().canceled)
        self.client.put(b"a")
        self.client.put(b"b")
        answer = stream.next()
        self.assertEqual((answer.watch_id, answer.events[0].kv.key), (other, b"b"))
        stream.create(b"a", watch_id=watched)
        self.assertTrue(stream.next().created)

    def test_half_close_keeps_the_stream(self):
        stream = self.open_watch(self.client)
        stream.created(b"a")
        stream.half_close()
        self.client.put(b"a", b"1")
        self.assertEqual(stream.next().events[0].kv.value, b"1")

    def test_a_request_without_content_is_ignored(self):
        stream = self.open_watch(self.client)
        stream.send()
        self.assertEqual(stream.created(b"a"), 0)

    def test_progress_reports_never_overtake_events(self):
        stream = self.open_watch(self.client)
        stream.created(b"k", b"l")
        seen = 1
        for number in range(300):
            self.client.put(b"k%d" % number)
            stream.progress()
        last = 0
        while last < 301:
            answer = stream.next()
            for event in answer.events:
                self.assertGreater(event.kv.mod_revision, seen)
                last = event.kv.mod_revision
            if not answer.events:
                self.assertEqual(answer.watch_id, -1)
                self.assertLessEqual(answer.header.revision, max(last, 1), "progress ahead of events")
                seen = answer.header.revision

    def test_a_watch_in_the_future_waits(self):
        stream = self.open_watch(self.client)
        stream.created(b"k", start_revision=5)
        for number in range(6):
            self.client.put(b"k", b"%d" % number)
        self.assertEqual([event.kv.mod_revision for event in stream.events(3)], [5, 6, 7])

    def test_the_server_stops(self):
        stream = self.open_watch(self.client)
        stream.created(b"a")
        self.server.process.terminate()
        with self.assertRaises(grpc.RpcError) as caught:
            while True:
                stream.next()
        self.assertIn(caught.exception.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED))
        self.server.exit_code()

    def test_resumes_without_gap_or_repeat_after_a_kill(self):
        for number in range(20):
            self.client.put(b"k", b"%d" % number)
        stream = self.open_watch(self.client)
        stream.created(b"k", start_revision=2)
        seen = stream.events(20)
        self.server.kill()
        self.server.start()
        again = self.connect(self.server)
        for number in range(20, 30):
            again.put(b"k", b"%d" % number)
        resumed = self.open_watch(again)
        resumed.created(b"k", start_revision=seen[-1].kv.mod_revision + 1)
        values = [event.kv.value for event in seen + resumed.events(10)]
        self.assertEqual(values, [b"%d" % number for number in range(30)])

    def test_nested_transactions_arrive_in_their_order(self):
        stream = self.open_watch(self.client)
        stream.created(b"", b"\0")
        self.client.txn(success=[put_op(b"z"), txn_op(success=[put_op(b"a"), txn_op(success=[put_op(b"m")])]), put_op(b"b")])
        self.assertEqual([event.kv.key for event in stream.next().events], [b"z", b"a", b"m", b"b"])


class PeriodicProgress(ClientTest):
    def test_a_quiet_watch_is_told_where_it_is(self):
        _, client = self.serve("--watch-progress-notify-interval=200ms")
        client.put(b"elsewhere")
        stream = self.open_watch(client)
        told = stream.created(b"k", progress_notify=True)
        answer = stream.next()
        self.assertEqual((answer.watch_id, answer.header.revision, len(answer.events)), (told, 2, 0))


if __name__ == "__main__":
    runner.main()
