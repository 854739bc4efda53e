"""Bad input and limits: each refusal has etcd's code and text, and changes nothing."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner, wait  # noqa: E402
from support.client import ClientTest, compare, delete_op, get_op, pb, put_op, txn_op  # noqa: E402
from support.server import STAND_IN  # noqa: E402

NO_KEY = "etcdserver: key is not provided"
TOO_MANY = "etcdserver: too many operations in txn request"
DUPLICATE = "etcdserver: duplicate key given in txn request"
NO_SPACE = "etcdserver: mvcc: database space exceeded"
COMPACTED = "etcdserver: mvcc: required revision has been compacted"
HUGE = 2**63 - 1


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


class Refusals(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def tearDown(self):
        # Whatever was refused left no trace but what the test itself wrote.
        self.assertEqual(self.client.get(b"never", b"neves").count, 0)

    def test_empty_keys(self):
        for call in (self.client.get, self.client.put, self.client.delete):
            self.assert_error(3, NO_KEY, call, b"")
        self.assert_error(3, NO_KEY, self.client.txn, [compare("VERSION", b"", version=0)])
        self.assert_error(3, NO_KEY, self.client.txn, success=[put_op(b"never"), delete_op(b"")])
        self.assert_error(3, NO_KEY, self.client.txn, success=[put_op(b"never")], failure=[get_op(b"")])
        self.assert_error(3, NO_KEY, self.client.txn, success=[txn_op(success=[put_op(b"never"), put_op(b"")])])

    def test_operations_of_a_transaction(self):
        keys = [put_op(b"k%d" % number) for number in range(129)]
        self.assertTrue(self.client.txn(success=keys[:128]).succeeded)
        self.assert_error(3, TOO_MANY, self.client.txn, success=keys)
        self.assert_error(3, TOO_MANY, self.client.txn, failure=keys)
        self.assert_error(3, TOO_MANY, self.client.txn, [compare("VERSION", b"k", version=0)] * 129)
        self.assertTrue(self.client.txn(success=keys[:126] + [txn_op(success=[put_op(b"x")])]).succeeded)
        self.assert_error(3, TOO_MANY, self.client.txn, success=keys[:127] + [txn_op(success=[put_op(b"x")])])
        self.assert_error(3, TOO_MANY, self.client.txn,
                          success=keys[:126] + [txn_op(success=[put_op(b"x"), put_op(b"y")])])

    def test_duplicates(self):
        put, end = put_op(b"k"), b"\0"
        deletion, inner = delete_op(b"k"), lambda *ops: txn_op(success=ops)
        for operations in ((put, put), (put, deletion), (deletion, put), (put, inner(put)), (inner(put), inner(put)),
                           (delete_op(b"a", b"z"), put), (inner(deletion), inner(put)), (deletion, inner(put)),
                           (inner(inner(put)), put)):
            self.assert_error(3, DUPLICATE, self.client.txn, success=operations)
        for operations in ((deletion, deletion), (put, delete_op(b"a", end)), (delete_op(b"a", end), put),
                           (inner(put), inner(deletion)), (txn_op(success=[put], failure=[put]),)):
            self.assertTrue(self.client.txn(success=operations).succeeded, operations)

    def test_a_put_after_its_delete_cannot_keep_the_value(self):
        """etcd dies of this one."""
        if STAND_IN is not None:
            self.skipTest("it would end the stand-in")
        self.client.put(b"k", b"v")
        self.assert_error(3, "etcdserver: key not found", self.client.txn,
                          success=[delete_op(b"k", b"\0"), put_op(b"k", ignore_value=True)])
        self.assert_error(3, "etcdserver: key not found", self.client.txn,
                          success=[delete_op(b"k", b"\0"), put_op(b"k", ignore_lease=True)])
        self.assertEqual(self.client.get(b"k").kvs[0].value, b"v")
        self.assertEqual(self.client.revision(), 2)

    def test_compares(self):
        lease = self.client.grant(100).ID
        self.client.put(b"k1", b"b", lease=lease)
        self.client.put(b"k2", b"c")
        holds = [compare("LEASE", b"k1", lease=lease), compare("LEASE", b"none", lease=0),
                 compare("VALUE", b"k", "GREATER", b"l", value=b"a"), compare("VALUE", b"k1", "LESS", value=b"c"),
                 compare("CREATE", b"k", "GREATER", b"\0", create_revision=1), compare("MOD", b"k2", mod_revision=3),
                 compare("VERSION", b"x", "EQUAL", b"y", version=0), compare("VERSION", b"k1", create_revision=0, result="GREATER")]
        self.assertTrue(self.client.txn(holds).succeeded)
        for broken in (compare("VALUE", b"k", "GREATER", b"l", value=b"b"), compare("VALUE", b"none", "NOT_EQUAL", value=b"x"),
                       compare("LEASE", b"k1", lease=0), compare("CREATE", b"none", "GREATER", create_revision=0),
                       compare("VALUE", b"x", "EQUAL", b"y", value=b"")):
            self.assertFalse(self.client.txn(holds + [broken]).succeeded, broken)

    def test_the_wrong_branch_is_not_checked_against_the_store(self):
        self.assertTrue(self.client.txn(failure=[put_op(b"never", lease=4242)]).succeeded)
        self.assertTrue(self.client.txn(failure=[get_op(b"never", revision=10**9)]).succeeded)

    def test_revisions_at_the_edges(self):
        self.client.put(b"k", b"v")
        for revision in (HUGE, 3):
            self.assert_error(11, "etcdserver: mvcc: required revision is a future revision", self.client.get, b"k", revision=revision)
            self.assert_error(11, "etcdserver: mvcc: required revision is a future revision", self.client.compact, revision)
        for revision in (-1, -HUGE):
            self.assertEqual(self.client.get(b"k", revision=revision).count, 1)
            self.assert_error(11, COMPACTED, self.client.compact, revision)
        for limit in (-1, -HUGE, HUGE):
            self.assertEqual(self.client.get(b"k", b"\0", limit=limit).count, 1)
        self.assertEqual(self.client.get(b"k", min_mod_revision=HUGE).count, 1)

    def test_leases(self):
        self.assert_error(11, "etcdserver: too large lease TTL", self.client.grant, HUGE)
        self.assertEqual(self.client.grant(9_000_000_000).TTL, 9_000_000_000)
        lease = self.client.grant(100)
        self.assertGreater(lease.ID, 0)
        self.assert_error(9, "etcdserver: lease already exists", self.client.grant, 5, lease.ID)
        self.assert_error(5, "etcdserver: requested lease not found", self.client.put, b"never", lease=HUGE)
        self.assertEqual([answer.TTL for answer in self.client.keep_alive(lease.ID, 1, lease.ID)], [100, 0, 100])

    def test_leases_move_with_puts(self):
        first, second = self.client.grant(100).ID, self.client.grant(100).ID

        def keys(lease):
            return list(self.client.lease.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=lease, keys=True)).keys)

        self.client.put(b"k", lease=first)
        self.client.put(b"k", lease=second)
        self.assertEqual((keys(first), keys(second)), ([], [b"k"]))
        self.client.put(b"k", b"v", ignore_lease=True)
        self.assertEqual(keys(second), [b"k"])
        self.client.put(b"k")
        self.assertEqual(keys(second), [])
        self.client.txn(success=[put_op(b"k2", lease=first), delete_op(b"k2", b"\0")])
        self.assertEqual(keys(first), [])
        self.client.put(b"k", lease=first)
        self.client.delete(b"k")
        self.client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=first))
        leases = self.client.lease.LeaseLeases(pb.LeaseLeasesRequest()).leases
        self.assertEqual([lease.ID for lease in leases], [second])

    def test_unknown_methods_and_services(self):
        for method in ("/etcdserverpb.KV/Nothing", "/etcdserverpb.Auth/AuthEnable", "/v3lockpb.Lock/Lock", "/x.Y/Z"):
            if STAND_IN is None:
                self.assert_code(12, self.client.raw, method)

    def test_bytes_that_are_no_message(self):
        self.assertIn(self.codes(b"\xff\xff\xff\xff"), (13, 3, 2))
        self.assertIn(self.codes(b"\x0a\xff\xff\xff\xff\x0f"), (13, 3, 2))
        self.assertEqual(self.client.put(b"after").header.revision, 2)

    def codes(self, message, method="/etcdserverpb.KV/Put"):
        try:
            self.client.raw(method, message)
            return 0
        except Exception as error:  # noqa: BLE001  (whatever the library throws, it has a code)
            return error.code().value[0]

    def test_deeply_nested_transactions(self):
        operation = put_op(b"deep")
        for _ in range(40):
            operation = txn_op(success=[operation])
        self.assertTrue(self.client.txn(success=[operation]).succeeded)
        self.assertEqual(self.client.get(b"deep").count, 1)
        message = b""
        for _ in range(20_000):  # TxnRequest.success in RequestOp.request_txn, deeper than any stack
            for tag in (b"\x22", b"\x12"):
                message = tag + varint(len(message)) + message
        self.assertIn(self.codes(message, "/etcdserverpb.KV/Txn"), (3, 8, 13))
        self.assertEqual(self.client.get(b"deep").count, 1)


class Sizes(ClientTest):
    def test_request_limits(self):
        _, client = self.serve()
        limit = 1_572_864
        self.assert_error(3, "etcdserver: request is too large", client.put, b"k", b"v" * limit)
        half = b"v" * (limit // 2)
        self.assert_error(3, "etcdserver: request is too large", client.txn, success=[put_op(b"a", half), put_op(b"b", half)])
        text = self.assert_code(8, client.put, b"k", b"v" * (limit + 512 * 1024 + 100))
        self.assertRegex(text, r"^grpc: received message larger than max \(\d+ vs\. 2097152\)$")
        client.put(b"k", b"v" * (limit - 200))
        self.assertEqual(len(client.get(b"k").kvs[0].value), limit - 200)

    def test_another_limit(self):
        _, client = self.serve("--max-request-bytes=10000", "--max-txn-ops=3")
        self.assert_error(3, "etcdserver: request is too large", client.put, b"k", b"v" * 10_001)
        client.put(b"k", b"v" * 9_900)
        self.assert_error(3, TOO_MANY, client.txn, success=[put_op(b"%d" % number) for number in range(4)])

    def test_a_tiny_limit(self):
        """etcd takes any number; its own suite asks for 256."""
        _, client = self.serve("--max-request-bytes=256")
        self.assert_error(3, "etcdserver: request is too large", client.put, b"k", b"v" * 256)
        client.put(b"k", b"v" * 200)

    def test_big_answers(self):
        _, client = self.serve()
        for number in range(50):
            client.put(b"big/%02d" % number, bytes([number]) * 1_000_000)
        answer = client.get(b"big/", b"big0")
        self.assertEqual((len(answer.kvs), answer.count), (50, 50))
        self.assertTrue(all(kv.value == bytes([number]) * 1_000_000 for number, kv in enumerate(answer.kvs)))
        stream = self.open_watch(client)
        stream.created(b"big/", b"big0", start_revision=1)
        self.assertEqual(sum(len(event.kv.value) for event in stream.events(50, seconds=60)), 50_000_000)
        self.assertEqual(client.delete(b"big/", b"big0", prev_kv=True).deleted, 50)


class Space(ClientTest):
    def test_quota(self):
        """Over the quota writes are refused, until an operator disarms; reads, deletes and compaction go on."""
        _, client = self.serve(f"--quota-backend-bytes={4 << 20}")

        def full():
            try:
                client.put(b"fill", bytes(range(256)) * 2000)
                return False
            except Exception as error:  # noqa: BLE001
                self.assertEqual((error.code().value[0], error.details()), (8, NO_SPACE))
                return True

        wait.until(full, "the quota is reached", 60)
        alarms = wait.until(lambda: client.maintenance.Alarm(pb.AlarmRequest()).alarms, "the alarm is on")
        self.assertEqual([alarm.alarm for alarm in alarms], [pb.NOSPACE])
        self.assert_error(8, NO_SPACE, client.put, b"k")
        self.assert_error(8, NO_SPACE, client.grant, 10)
        self.assert_error(8, NO_SPACE, client.txn, failure=[put_op(b"k")])
        if STAND_IN is None:  # etcd's order of these two depends on how full it is
            self.assert_error(3, NO_KEY, client.put, b"")
        self.assertEqual(client.get(b"fill").count, 1)
        self.assertEqual(client.delete(b"fill").deleted, 1)
        self.assertTrue(client.txn(success=[delete_op(b"x")]).succeeded)
        status = client.maintenance.Status(pb.StatusRequest())
        self.assertRegex(status.errors[0], r"^memberID:\d+ alarm:NOSPACE $")
        client.compact(client.revision(), physical=True)
        client.maintenance.Defragment(pb.DefragmentRequest())
        self.assert_error(8, NO_SPACE, client.put, b"k")
        member = alarms[0].memberID
        answer = client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=member, alarm=pb.NOSPACE))
        self.assertEqual([alarm.alarm for alarm in answer.alarms], [pb.NOSPACE])
        client.put(b"k")

    def test_alarms_by_hand(self):
        server, client = self.serve()
        member = client.maintenance.Status(pb.StatusRequest()).header.member_id
        corrupt = {"memberID": member, "alarm": pb.CORRUPT}
        client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, **corrupt))
        self.assert_error(15, "etcdserver: corrupt cluster", client.put, b"k")
        self.assertEqual(client.get(b"k").count, 0)
        client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, alarm=pb.NOSPACE))
        self.assertCountEqual(client.maintenance.Status(pb.StatusRequest()).errors,
                              ["alarm:NOSPACE ", f"memberID:{member} alarm:CORRUPT "])
        client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, alarm=pb.NOSPACE))
        server.restart()
        client = self.connect(server)
        self.assert_error(15, "etcdserver: corrupt cluster", client.put, b"k")
        client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, **corrupt))
        client.put(b"k")


if __name__ == "__main__":
    runner.main()
