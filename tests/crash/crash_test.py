"""A server under load from several clients is killed at random moments, again and again.

After each kill: nothing acknowledged is lost, no revision is used twice, reads at old revisions are right, watches resume
without gap or repeat, leases are there, what was compacted stays compacted. VELLUM_CRASH_ROUNDS says how often (60).
"""
import os
import pathlib
import random
import sys
import threading

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parent)]

from history import Broken, History, Operation  # noqa: E402
from support import runner  # noqa: E402
from support.client import Client, ClientTest, compare, delete_op, grpc, pb, put_op  # noqa: E402
from support.server import PATIENCE, STAND_IN  # noqa: E402

ROUNDS = int(float(os.environ.get("VELLUM_CRASH_ROUNDS", "60")) * float(os.environ.get("VELLUM_TEST_SCALE", "1")))
WRITERS = 4
KEYS_PER_WRITER = 40
SEED = int(os.environ.get("VELLUM_TEST_SEED", random.SystemRandom().randrange(2**32)))


class Worker(threading.Thread):
    """A client that works until the server is gone. What it finds wrong is kept in `broken`."""

    def __init__(self, server, history, stop, seed):
        super().__init__(daemon=True)
        self.server, self.history, self.stop = server, history, stop
        self.random = random.Random(seed)
        self.broken = None

    def run(self):
        client = Client(self.server.address)
        try:
            self.work(client)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL):
                self.broken = Broken(f"{type(self).__name__}: {error.code()} {error.details()}")
        except Exception as error:  # noqa: BLE001  (handed to the test's own thread)
            self.broken = error
        finally:
            client.close()

    def work(self, client):
        raise NotImplementedError

    def do(self, operation, call, revision_of):
        """One write with its entries in the book."""
        self.history.intend(operation)
        answer = call()
        self.history.acknowledge(operation, revision_of(answer))
        return answer


class Writer(Worker):
    """Puts, deletions of one key and of ranges, and transactions, on keys of its own."""

    counter = 0

    def __init__(self, number, *arguments):
        super().__init__(*arguments)
        self.prefix = b"w%d/" % number
        self.end = b"w%d0" % number

    def value(self):
        Writer.counter += 1
        return self.prefix + b"%d-%d" % (Writer.counter, self.random.getrandbits(30)) + b"." * self.random.choice((0, 10, 500, 5000))

    def key(self):
        return self.prefix + b"%03d" % self.random.randrange(KEYS_PER_WRITER)

    def work(self, client):
        self.mine = {kv.key: kv.mod_revision for kv in client.get(self.prefix, self.end).kvs}
        while not self.stop.is_set():
            self.random.choices((self.put, self.delete, self.delete_range, self.txn), (10, 2, 0.3, 4))[0](client)

    def put(self, client):
        key, value = self.key(), self.value()
        answer = self.do(Operation([(key, value)]), lambda: client.put(key, value), lambda answer: answer.header.revision)
        self.mine[key] = answer.header.revision

    def delete(self, client):
        if not self.mine:
            return
        key = self.random.choice(sorted(self.mine))
        answer = self.do(Operation([(key, None)]), lambda: client.delete(key), lambda answer: answer.header.revision)
        if answer.deleted != 1:
            raise Broken(f"{key} was there, but {answer.deleted} keys were deleted")
        del self.mine[key]

    def delete_range(self, client):
        start = self.key()
        keys = [key for key in sorted(self.mine) if key >= start]
        if not keys:
            return
        answer = self.do(Operation([(key, None) for key in keys]), lambda: client.delete(start, self.end),
                         lambda answer: answer.header.revision)
        if answer.deleted != len(keys):
            raise Broken(f"{len(keys)} keys were there, but {answer.deleted} were deleted")
        for key in keys:
            del self.mine[key]

    def txn(self, client):
        keys = sorted({self.key() for _ in range(self.random.randrange(2, 12))})
        changes, operations = [], []
        for key in keys:
            if key in self.mine and self.random.random() < 0.3:
                changes.append((key, None))
                operations.append(delete_op(key))
            else:
                changes.append((key, self.value()))
                operations.append(put_op(*changes[-1]))
        known = [compare("MOD", key, mod_revision=self.mine.get(key, 0)) for key in keys]
        answer = self.do(Operation(changes), lambda: client.txn(known, operations), lambda answer: answer.header.revision)
        if not answer.succeeded:
            raise Broken(f"a compare with what was acknowledged failed: {known}")
        for key, value in changes:
            if value is None:
                del self.mine[key]
            else:
                self.mine[key] = answer.header.revision


class Leaser(Worker):
    """Grants leases, attaches keys, revokes some; others are short and run out by themselves."""

    def work(self, client):
        while not self.stop.is_set():
            lease_id = self.random.getrandbits(48) + 1
            short = self.random.random() < 0.3
            client.grant(2 if short else 3600, lease_id)
            keys = [(b"x/" if short else b"l/") + b"%d/%d" % (lease_id, number) for number in range(self.random.randrange(1, 4))]
            for key in keys:
                self.do(Operation([(key, b"leased")]), lambda key=key: client.put(key, b"leased", lease=lease_id),
                        lambda answer: answer.header.revision)
            if short:
                continue
            if self.random.random() < 0.5:
                self.do(Operation([(key, None) for key in keys]),
                        lambda: client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease_id)), lambda answer: answer.header.revision)
            else:
                self.history.leases.add((lease_id, tuple(keys)))


class Watcher(Worker):
    """Watches every key from where the last one was cut off."""

    def work(self, client):
        stream = client.open_watch()
        try:
            stream.created(b"\0", b"\0", start_revision=self.history.seen + 1, prev_kv=True)
            while not self.stop.is_set():
                answer = stream.next()
                if answer.canceled:
                    raise Broken(f"the watch was cancelled: {answer}")
                self.history.deliver(list(answer.events))
        except AssertionError as error:
            if "the watch said nothing" not in str(error):
                raise
        finally:
            stream.end()


class Compactor(Worker):
    """Compacts up to what has been delivered, over and over, with and without waiting for the space."""

    def work(self, client):
        while not self.stop.is_set():
            target = self.history.seen - self.random.randrange(0, 300)
            if target <= max(self.history.compaction_asked, 0):
                client.get(b"w", limit=1)
                continue
            self.history.compaction_asked = target
            client.compact(target, physical=self.random.random() < 0.5)
            self.history.compacted = target


class CrashTest(ClientTest):
    def check_after_restart(self, server, history, chance):
        client = self.connect(server)
        current = client.revision()
        self.assertGreaterEqual(current, history.newest_acknowledged(), "the revision went back")
        stream = client.open_watch()
        stream.created(b"\0", b"\0", start_revision=history.seen + 1, prev_kv=True)
        while history.seen < current:
            answer = stream.next(60)
            self.assertFalse(answer.canceled, answer)
            history.deliver(list(answer.events))
        stream.end()
        history.check_complete()
        self.check_reads(client, history, chance)
        self.check_leases(client, history, chance)
        client.close()

    def check_reads(self, client, history, chance):
        current = history.seen
        low = max(history.compaction_asked, 1)
        revisions = {current} | {chance.randint(low, current) for _ in range(4)}
        for revision in revisions:
            answer = client.get(b"\0", b"\0", revision=revision)
            found = {kv.key: (kv.value, kv.create_revision, kv.mod_revision, kv.version, kv.lease) for kv in answer.kvs}
            expected = history.state_at(revision)
            if found != expected:
                wrong = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
                raise Broken(f"at {revision} of {current}: {wrong[0]} is {found.get(wrong[0])}, should be {expected.get(wrong[0])}; "
                             f"{len(wrong)} keys differ")
            self.assertEqual(answer.count, len(expected), revision)
            prefix = b"w%d/" % chance.randrange(WRITERS)
            counted = client.get(prefix, prefix[:-1] + b"0", revision=revision, count_only=True).count
            self.assertEqual(counted, sum(key.startswith(prefix) for key in expected), revision)
        if history.compacted > 1:
            self.assert_error(11, "etcdserver: mvcc: required revision has been compacted", client.get, b"k",
                              revision=history.compacted - 1)

    def check_leases(self, client, history, chance):
        alive = {lease.ID for lease in client.lease.LeaseLeases(pb.LeaseLeasesRequest()).leases}
        self.assertEqual([lease for lease, _ in history.leases if lease not in alive], [], "acknowledged leases are gone")
        for lease, keys in chance.sample(sorted(history.leases), min(5, len(history.leases))):
            answer = client.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease, keys=True))
            self.assertEqual((answer.grantedTTL, sorted(answer.keys)), (3600, sorted(keys)))

    def run_round(self, server, history, chance):
        stop = threading.Event()
        common = lambda: (server, history, stop, chance.getrandbits(32))  # noqa: E731
        workers = [Writer(number, *common()) for number in range(WRITERS)] + [Leaser(*common()), Watcher(*common()),
                                                                              Compactor(*common())]
        for worker in workers:
            worker.start()
        threading.Event().wait(chance.uniform(0.05, 1.2) * PATIENCE)  # the random moment, which is what is tested
        server.kill()
        stop.set()
        for worker in workers:
            worker.join(60 * PATIENCE)
            self.assertFalse(worker.is_alive(), f"{worker} hangs")
        for worker in workers:
            if worker.broken is not None:
                raise worker.broken

    def test_kills_at_random_moments(self):
        print(f"VELLUM_TEST_SEED={SEED} VELLUM_CRASH_ROUNDS={ROUNDS}", flush=True)
        chance = random.Random(SEED)
        flags = () if STAND_IN else ("--reclaim-delay=0s", "--rocksdb-options=write_buffer_size=262144;target_file_size_base=131072")
        server = self.make_server(*flags)
        history = History()
        for number in range(ROUNDS):
            with self.subTest(round=number):
                server.start()
                try:
                    self.check_after_restart(server, history, chance)
                    self.run_round(server, history, chance)
                except (AssertionError, grpc.RpcError):
                    print(f"round {number}, revision {history.seen}, compacted {history.compacted}")
                    print(server.log()[-2000:])
                    raise
            if self._outcome.result.failures or self._outcome.result.errors:
                self.fail(f"stopped after round {number}")
        server.start()
        self.check_after_restart(server, history, chance)
        self.assertEqual(server.stop(), 0)
        print(f"{ROUNDS} kills, {history.seen} revisions, compacted at {history.compacted}")


if __name__ == "__main__":
    runner.main()
