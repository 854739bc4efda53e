"""etcdctl's commands on leases, maintenance and members, mirrors and its own load check."""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import etcdctl, runner, wait  # noqa: E402
from support.client import unittest  # noqa: E402
from support.server import STAND_IN, ServerTest  # noqa: E402


class Cases:
    """The cases, for whichever program the classes below name."""

    program = etcdctl.DEBIAN
    newer = False

    def setUp(self):
        self.server = self.start_server()
        self.ctl = etcdctl.Etcdctl(self.server, self.program)

    def grant(self, ttl):
        words = self.ctl.ok("lease", "grant", str(ttl)).split()
        self.assertEqual((words[0], words[2]), ("lease", "granted"))
        return words[1]

    def test_lease_life(self):
        lease = self.grant(100)
        self.ctl.ok("put", "x", "1", "--lease", lease)
        self.ctl.ok("put", "y", "1", "--lease", lease)
        out = self.ctl.ok("lease", "timetolive", lease, "--keys")
        self.assertRegex(out, rf"^lease {lease} granted with TTL\(100s\), remaining\((100|9\d)s\), attached keys\(\[x y\]\)\n$"
                         if STAND_IN is None else r"attached keys")
        self.assertRegex(self.ctl.ok("lease", "keep-alive", "--once", lease), rf"^lease {lease} keepalived with TTL\(100\)\n$")
        self.assertIn(lease, self.ctl.ok("lease", "list"))
        self.assertEqual(self.ctl.ok("lease", "revoke", lease), f"lease {lease} revoked\n")
        self.assertEqual(self.ctl.ok("get", "x"), "")
        self.assertIn("already expired", self.ctl.ok("lease", "timetolive", lease))
        self.assertIn("etcdserver: requested lease not found", self.ctl.fails("lease", "revoke", lease))
        self.assertIn("etcdserver: requested lease not found", self.ctl.fails("put", "z", "1", "--lease", lease))
        self.assertNotIn(lease, self.ctl.ok("lease", "list"))

    def test_expiry_deletes_the_keys(self):
        lease = self.grant(2)
        self.ctl.ok("put", "soon", "gone", "--lease", lease)
        self.assertEqual(self.ctl.ok("get", "soon", "--print-value-only"), "gone\n")
        before = self.ctl.json("get", "soon")["header"]["revision"]
        wait.until(lambda: self.ctl.ok("get", "soon") == "", "the lease expired", 30)
        self.assertEqual(self.ctl.json("get", "soon")["header"]["revision"], before + 1)

    def test_keep_alive_in_the_background(self):
        lease = self.grant(2)
        self.ctl.ok("put", "kept", "1", "--lease", lease)
        output = self.server.directory / "keep.out"
        keeper = self.ctl.background("lease", "keep-alive", lease, output=output)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        wait.until(lambda: etcdctl.text_of(output).count("keepalived with TTL(2)") >= 5, "five renewals, longer than the lease", 60)
        self.assertEqual(self.ctl.ok("get", "kept", "--print-value-only"), "1\n")

    def test_status(self):
        self.ctl.ok("put", "a", "1")
        table = self.ctl.ok("endpoint", "status", "-w", "table")
        self.assertIn("| ENDPOINT", table.replace("|    ENDPOINT", "| ENDPOINT").replace("|        ENDPOINT", "| ENDPOINT"))
        self.assertIn(self.server.address, table)
        self.assertIn("3.6.", table)
        status = self.ctl.json("endpoint", "status")[0]["Status"]
        self.assertRegex(status["version"], r"^3\.6\.\d+$" if STAND_IN else r"^3\.6\.16$")
        self.assertEqual(status["header"]["revision"], 2)
        self.assertGreater(status["dbSize"], 0)
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertGreater(status["raftIndex"], 0)
        if self.newer:
            self.assertEqual(status["storageVersion"], "3.6.0")

    def test_health_and_hash(self):
        code, out, err = self.ctl.run("endpoint", "health")
        self.assertEqual(code, 0)
        self.assertIn("is healthy: successfully committed proposal", out + err)
        self.ctl.ok("put", "a", "1")
        answer = self.ctl.json("endpoint", "hashkv")[0]["HashKV"]
        self.assertGreater(answer["hash"], 0)
        self.assertEqual(answer["compact_revision"], -1)

    def test_alarms_defragment_members(self):
        self.assertEqual(self.ctl.ok("alarm", "list"), "")
        self.assertEqual(self.ctl.ok("alarm", "disarm"), "")
        out = self.ctl.ok("defrag")
        self.assertIn("Finished defragmenting etcd", out)
        self.assertIn(self.server.url, self.ctl.ok("member", "list"))
        members = self.ctl.json("member", "list")["members"]
        self.assertEqual([member["clientURLs"] for member in members], [[self.server.url]])
        self.assertIn("| STATUS", re.sub(" +", " ", self.ctl.ok("member", "list", "-w", "table")))

    def test_what_is_not_there(self):
        if STAND_IN is None:
            for words in (("user", "add", "me:pw"), ("role", "add", "r"), ("auth", "enable")):
                self.assertIn("code = Unimplemented", self.ctl.fails(*words))
        self.assertIn("Error: etcdserver: bad leader transferee", self.ctl.fails("move-leader", "1234"))
        self.assertIn("etcdserver: member not found", self.ctl.fails("member", "remove", "1234"))

    def test_mirror(self):
        other = self.start_server()
        target = etcdctl.Etcdctl(other, self.program)
        self.ctl.ok("put", "m/1", "one")
        self.ctl.ok("put", "not-mirrored", "x")
        output = self.server.directory / "mirror.out"
        mirror = self.ctl.background("make-mirror", "--prefix", "m/", other.address, output=output)
        self.addCleanup(mirror.wait)
        self.addCleanup(mirror.kill)
        wait.until(lambda: target.ok("get", "m/1", "--print-value-only") == "one\n", "what was there arrived")
        self.ctl.ok("put", "m/2", "two")
        wait.until(lambda: target.ok("get", "m/2", "--print-value-only") == "two\n", "a new key arrived")
        self.ctl.ok("del", "m/1")
        wait.until(lambda: target.ok("get", "m/1") == "", "a deletion arrived")
        self.assertEqual(target.ok("get", "not-mirrored"), "")
        self.assertIsNone(mirror.poll(), etcdctl.text_of(output))

    def test_locks_and_elections_of_the_client_library(self):
        """clientv3's own lock and election need KV, Watch and Lease only."""
        self.assertEqual(self.ctl.ok("lock", "door", "echo", "inside"), "inside\n")
        output = self.server.directory / "elect.out"
        leader = self.ctl.background("elect", "throne", "first", output=output)
        self.addCleanup(leader.wait)
        self.addCleanup(leader.kill)
        wait.until(lambda: "first" in etcdctl.text_of(output), "it was elected")


class WithDebians(Cases, ServerTest):
    """etcdctl 3.4 from the package etcd-client."""

    def test_check_perf(self):
        """The machine is shared: what is judged is that the load runs through without a single error."""
        _, out, err = self.ctl.run("check", "perf", "--load", "s", seconds=180)
        self.assertIn("Throughput", out)
        self.assertNotIn("too many errors", (out + err).lower())


@unittest.skipUnless(etcdctl.NEWER, etcdctl.NO_NEWER)
class WithNewer(Cases, ServerTest):
    """etcdctl 3.6."""

    program = etcdctl.NEWER
    newer = True

    def test_json_is_what_other_programs_parse(self):
        self.ctl.ok("put", "k", "v")
        self.assertEqual(json.loads(self.ctl.ok("get", "k", "-w", "json"))["kvs"][0]["value"], "dg==")


if __name__ == "__main__":
    runner.main()
