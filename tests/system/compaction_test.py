"""Compaction on real files: nobody is paused, a newer one takes over, it goes on after a restart, and the space comes back."""
import http.client
import pathlib
import random
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner, wait  # noqa: E402
from support.client import Client, ClientTest, pb, put_op  # noqa: E402
from support.server import PATIENCE  # noqa: E402

MIB = 1 << 20
# Small files, so that a pass has many slices.
SMALL_FILES = "--rocksdb-options=write_buffer_size=1048576;target_file_size_base=1048576;max_bytes_for_level_base=4194304"
PUTS_PER_SECOND = 500


class Writer(threading.Thread):
    """Puts at a fixed rate, and how long each took."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client, self.stop, self.seconds, self.error = Client(server.address), threading.Event(), [], None

    def run(self):
        start, number = time.monotonic(), 0
        try:
            while not self.stop.wait(max(0.0, start + number / PUTS_PER_SECOND - time.monotonic())):
                began = time.monotonic()
                self.client.put(b"writer/%04d" % (number % 1000), b"v" * 100)
                self.seconds.append(time.monotonic() - began)
                number += 1
        except Exception as error:  # noqa: BLE001  (handed to the test's own thread)
            self.error = error

    def finish(self):
        self.stop.set()
        self.join()
        self.client.close()
        if self.error is not None:
            raise self.error
        return sorted(self.seconds)


class Compaction(ClientTest):
    def metric(self, server, name):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20 * PATIENCE)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return float(re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE).group(1))

    def bytes_on_disk(self, server):
        total = 0
        for path in (server.data_dir / "kv").glob("*.sst"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                pass  # a compaction was faster
        return total

    def fill(self, client, rounds, keys=600, size=1000):
        """Overwrites `keys` keys `rounds` times with bytes that do not compress."""
        chance = random.Random(1)
        for _ in range(rounds):
            for first in range(0, keys, 60):
                client.txn(success=[put_op(b"key/%06d" % number, chance.randbytes(size)) for number in range(first, first + 60)])

    def test_a_writer_is_not_paused_while_a_second_compaction_takes_over(self):
        # Slowly, so that the first reclaim is not over before the second compaction, however slow the machine.
        server, client = self.serve(SMALL_FILES, f"--reclaim-bytes-per-second={3 * MIB}", "--reclaim-delay=0s")
        self.fill(client, 60)  # about 36 MB of history
        before = self.bytes_on_disk(server)
        writer = Writer(server)
        writer.start()
        wait.until(lambda: len(writer.seconds) >= 100, "the writer writes")
        revision = client.revision()
        client.compact(revision - 200)
        wait.until(lambda: self.metric(server, "vellum_compaction_running") == 1, "reclaiming runs")
        wait.until(lambda: self.metric(server, "vellum_compaction_slices_planned") >= 3, "it goes by slices")
        client.compact(revision)
        wait.until(lambda: self.metric(server, "vellum_compaction_reclaimed_revision") >= revision, "the newer one ended", 120)
        latencies = writer.finish()
        self.assertGreaterEqual(self.metric(server, "vellum_compaction_superseded_total"), 1)
        self.assertGreaterEqual(self.metric(server, "vellum_compaction_slices_rewritten_total"), 3)
        self.assertLess(self.metric(server, "vellum_compaction_bytes_after"), self.metric(server, "vellum_compaction_bytes_before"))
        self.assertLess(self.bytes_on_disk(server), before / 3)
        self.assertRegex(server.log(), r'"msg":"reclaimed the space of compacted history"[^\n]*"slices":\d+,"bytes_before":\d+')
        print(f"{len(latencies)} puts: median {latencies[len(latencies) // 2] * 1000:.1f} ms, "
              f"p99 {latencies[int(len(latencies) * 0.99)] * 1000:.1f} ms, longest {latencies[-1] * 1000:.1f} ms")
        self.assertLess(latencies[-1], 2.0 * PATIENCE, "a put waited for the compaction")

    def test_reads_at_and_above_do_not_change(self):
        server, client = self.serve(SMALL_FILES, "--reclaim-delay=0s")
        self.fill(client, 20, keys=300, size=500)
        current = client.revision()
        target = current - 60
        expected = {revision: client.get(b"key/", b"key0", revision=revision).kvs for revision in range(target, current + 1, 7)}
        client.compact(target)
        reads = 0
        while reads < 5 or self.metric(server, "vellum_compaction_reclaimed_revision") < target:
            for revision, kvs in expected.items():
                self.assertEqual(client.get(b"key/", b"key0", revision=revision).kvs, kvs, revision)
            self.assert_error(11, "etcdserver: mvcc: required revision has been compacted", client.get, b"key/", revision=target - 1)
            reads += 1
        stream = self.open_watch(client)
        stream.created(b"key/", b"key0", start_revision=target)
        self.assertEqual(len(stream.events((current - target + 1) * 60)), (current - target + 1) * 60)

    def test_it_goes_on_after_a_restart(self):
        server, client = self.serve(SMALL_FILES, "--reclaim-delay=0s", f"--reclaim-bytes-per-second={1 * MIB}")
        self.fill(client, 30)
        before = self.bytes_on_disk(server)
        revision = client.revision()
        client.compact(revision)
        wait.until(lambda: self.metric(server, "vellum_compaction_running") == 1, "reclaiming runs")
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 5.0 * PATIENCE, "a stop does not wait for reclaiming")
        server.flags[-1] = f"--reclaim-bytes-per-second={256 * MIB}"
        server.start()
        wait.until(lambda: self.metric(server, "vellum_compaction_reclaimed_revision") >= revision, "the rest was reclaimed", 120)
        self.assertLess(self.bytes_on_disk(server), before / 3)
        client = self.connect(server)
        self.assertEqual(client.get(b"key/", b"key0", count_only=True).count, 600)

    def test_physical_waits_and_the_space_returns(self):
        server, client = self.serve(SMALL_FILES)
        self.fill(client, 20)
        for first in range(0, 600, 2):
            client.delete(b"key/%06d" % first)
        before = client.maintenance.Status(pb.StatusRequest())
        client.compact(client.revision(), physical=True)
        client.maintenance.Defragment(pb.DefragmentRequest())
        after = client.maintenance.Status(pb.StatusRequest())
        self.assertLess(after.dbSize, before.dbSize / 3)
        self.assertLessEqual(after.dbSizeInUse, after.dbSize)
        self.assertEqual(client.get(b"key/", b"key0", count_only=True).count, 300)
        client.put(b"key/000000", b"again")
        self.assertEqual(client.get(b"key/000000").kvs[0].version, 1)

    def test_defragment_is_online(self):
        server, client = self.serve(SMALL_FILES)
        self.fill(client, 10)
        writer = Writer(server)
        writer.start()
        wait.until(lambda: len(writer.seconds) >= 50, "the writer writes")
        for _ in range(3):
            client.maintenance.Defragment(pb.DefragmentRequest())
        latencies = writer.finish()
        self.assertLess(latencies[-1], 2.0 * PATIENCE, "a put waited for the defragmentation")


if __name__ == "__main__":
    runner.main()
