"""HashKV gives the numbers that etcd gives for the same history: the migration check, bit by bit."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner  # noqa: E402
from support.client import ClientTest, delete_op, pb, put_op  # noqa: E402
from support.server import STAND_IN  # noqa: E402

LEASE = 0x2040A1F7EE437509
NOTHING = 1084519789  # CRC-32C of the bytes "key"


class HashKv(ClientTest):
    def hash(self, revision=0):
        answer = self.client.maintenance.HashKV(pb.HashKVRequest(revision=revision))
        return answer.hash, answer.compact_revision, answer.hash_revision

    def check_errors(self):
        self.assert_error(11, "etcdserver: mvcc: required revision is a future revision", self.hash, 99)

    def test_one_change_per_revision(self):
        _, self.client = self.serve()
        self.client.grant(1000, LEASE)
        self.client.put(b"a", b"1")
        self.client.put(b"a", b"2")
        self.client.put(b"b", b"x")
        self.client.delete(b"a")
        self.client.put(b"c", b"y", lease=LEASE)
        self.assertEqual(self.hash(), (1573597862, -1, 6))
        self.assertEqual(self.hash(6), (1573597862, -1, 6))
        self.check_errors()
        self.client.compact(4)
        self.assertEqual(self.hash(6), (1167642316, 4, 6))
        self.assertEqual(self.hash(5), (3373979763, 4, 5))
        self.assert_error(11, "etcdserver: mvcc: required revision has been compacted", self.hash, 3)
        self.client.compact(5, physical=True)
        self.assertEqual(self.hash(6), (270815502, 5, 6))
        self.assertEqual(self.hash(-1)[0], NOTHING)

    def test_several_changes_per_revision(self):
        _, self.client = self.serve()
        self.client.put(b"a", b"0")
        self.client.txn(success=[put_op(b"a", b"1"), delete_op(b"a", b"\0")])
        self.client.put(b"a", b"2")
        self.client.txn(success=[delete_op(b"a", b"\0"), put_op(b"a", b"4"), delete_op(b"a", b"\0")])
        self.client.txn(success=[put_op(b"a", b"5"), delete_op(b"a", b"\0")])
        self.assertEqual([self.hash(revision)[0] for revision in (1, 2, 6)], [NOTHING, 1750265556, 3340427521])
        self.client.compact(4)
        self.assertEqual([self.hash(revision)[0] for revision in (5, 6)],
                         [2401627110, 3340427521] if STAND_IN is None else [self.hash(5)[0], self.hash(6)[0]])

    def test_survives_a_restart(self):
        server, self.client = self.serve()
        for number in range(100):
            self.client.put(b"k%d" % (number % 13), b"%d" % number)
        before = self.hash()
        server.restart()
        self.client = self.connect(server)
        self.assertEqual(self.hash(), before)


if __name__ == "__main__":
    runner.main()
