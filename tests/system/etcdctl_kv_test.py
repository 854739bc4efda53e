"""etcdctl's commands on keys, transactions and history, by Debian's 3.4 and, where the environment names one, by 3.6."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import etcdctl, runner, wait  # noqa: E402
from support.client import unittest  # noqa: E402
from support.server import ServerTest  # noqa: E402

COMPACTED = "etcdserver: mvcc: required revision has been compacted"


class Cases:
    """The cases, for whichever program the classes below name."""

    program = etcdctl.DEBIAN
    newer = False

    def setUp(self):
        self.server = self.start_server()
        self.ctl = etcdctl.Etcdctl(self.server, self.program)

    def fill(self, *keys):
        for key in keys:
            self.ctl.ok("put", key, f"value of {key}")

    def test_put_get_del(self):
        self.assertEqual(self.ctl.ok("put", "a", "1"), "OK\n")
        self.assertEqual(self.ctl.ok("get", "a"), "a\n1\n")
        self.assertEqual(self.ctl.ok("put", "a", "2", "--prev-kv"), "OK\na\n1\n")
        self.assertEqual(self.ctl.ok("get", "a", "--print-value-only"), "2\n")
        self.assertEqual(self.ctl.ok("del", "a", "--prev-kv"), "1\na\n2\n")
        self.assertEqual(self.ctl.ok("del", "a"), "0\n")
        self.assertEqual(self.ctl.ok("get", "a"), "")
        self.assertEqual(self.ctl.ok("put", "from-input", stdin="many\nlines"), "OK\n")
        self.assertEqual(self.ctl.ok("get", "from-input"), "from-input\nmany\nlines\n")

    def test_output_forms(self):
        self.ctl.ok("put", "a", "1")
        answer = self.ctl.json("get", "a")
        self.assertEqual(answer["header"]["revision"], 2)
        self.assertEqual(answer["kvs"], [{"key": "YQ==", "create_revision": 2, "mod_revision": 2, "version": 1, "value": "MQ=="}])
        self.assertEqual(answer["count"], 1)
        fields = self.ctl.ok("get", "a", "-w", "fields")
        for line in ('"Revision" : 2', '"Key" : "a"', '"CreateRevision" : 2', '"ModRevision" : 2', '"Version" : 1',
                     '"Value" : "1"', '"Lease" : 0', '"More" : false', '"Count" : 1'):
            self.assertIn(line, fields)
        self.assertEqual(self.ctl.ok("get", "a", "--hex"), "\\x61\n\\x31\n")
        self.assertEqual(self.ctl.json("put", "a", "2")["header"]["revision"], 3)
        self.assertEqual(self.ctl.json("del", "a")["deleted"], 1)
        self.assertNotEqual(self.ctl.ok("get", "a", "-w", "protobuf"), "")

    def test_ranges(self):
        self.fill("a", "b1", "b2", "b3", "c")
        keys = lambda *words: self.ctl.ok("get", *words, "--keys-only").split()  # noqa: E731
        self.assertEqual(keys("b", "--prefix"), ["b1", "b2", "b3"])
        self.assertEqual(keys("b2", "--from-key"), ["b2", "b3", "c"])
        self.assertEqual(keys("", "--prefix"), ["a", "b1", "b2", "b3", "c"])
        self.assertEqual(keys("a", "b2"), ["a", "b1"])
        self.assertEqual(keys("b", "--prefix", "--limit", "2"), ["b1", "b2"])
        self.assertEqual(keys("b", "--prefix", "--order", "DESCEND"), ["b3", "b2", "b1"])
        self.ctl.ok("put", "b1", "again")
        self.assertEqual(keys("b", "--prefix", "--sort-by", "MODIFY"), ["b2", "b3", "b1"])
        self.assertEqual(keys("b", "--prefix", "--sort-by", "VERSION", "--order", "DESCEND")[0], "b1")
        self.assertEqual(keys("b", "--prefix", "--sort-by", "CREATE", "--order", "DESCEND"), ["b3", "b2", "b1"])
        self.assertEqual(keys("b", "--prefix", "--sort-by", "VALUE"), ["b1", "b2", "b3"])
        answer = self.ctl.json("get", "b", "--prefix", "--limit", "1")
        self.assertEqual((answer["count"], answer["more"], len(answer["kvs"])), (3, True, 1))
        self.assertEqual(self.ctl.ok("del", "b", "--prefix"), "3\n")
        self.assertEqual(self.ctl.ok("del", "a", "--from-key"), "2\n")

    def test_count_only(self):
        if not self.newer:
            self.assertEqual(self.ctl.json("get", "x", "--prefix", "--limit", "1").get("count", 0), 0)
            return
        self.fill("k1", "k2", "k3")
        self.assertIn('"Count" : 3', self.ctl.ok("get", "k", "--prefix", "--count-only", "-w", "fields"))

    def test_old_revisions(self):
        self.ctl.ok("put", "a", "1")
        self.ctl.ok("put", "a", "2")
        self.ctl.ok("del", "a")
        self.ctl.ok("put", "a", "3")
        self.assertEqual([self.ctl.ok("get", "a", "--rev", str(rev), "--print-value-only") for rev in (2, 3, 4, 5)],
                         ["1\n", "2\n", "", "3\n"])
        self.assertIn("etcdserver: mvcc: required revision is a future revision", self.ctl.fails("get", "a", "--rev", "99"))
        self.assertEqual(self.ctl.ok("compact", "4"), "compacted revision 4\n")
        self.assertIn("Error: " + COMPACTED, self.ctl.fails("get", "a", "--rev", "3"))
        self.assertEqual(self.ctl.ok("get", "a", "--rev", "4"), "")
        self.assertEqual(self.ctl.ok("get", "a"), "a\n3\n")
        self.assertIn("Error: " + COMPACTED, self.ctl.fails("compact", "4"))
        self.assertIn("Error: etcdserver: mvcc: required revision is a future revision", self.ctl.fails("compact", "400"))
        self.assertEqual(self.ctl.ok("compact", "5", "--physical"), "compacted revision 5\n")

    def test_txn(self):
        self.ctl.ok("put", "key1", "one")
        self.ctl.ok("put", "held", "x")
        script = '\n'.join(['value("key1") = "one"', 'mod("key1") > "0"', 'create("key1") < "9"', 'version("key1") = "1"',
                            'version("none") = "0"', '', 'put key1 "two words"', 'get key1',
                            'del held', '', 'put never 1', '', ''])
        out = self.ctl.ok("txn", "-i", stdin=script)
        self.assertIn("SUCCESS\n\nOK\n\nkey1\ntwo words\n\n1\n", out)
        out = self.ctl.ok("txn", stdin='value("key1") = "one"\n\nput never 1\n\nget key1\nput second 2\n\n')
        self.assertIn("FAILURE\n\nkey1\ntwo words\n\nOK\n", out)
        self.assertEqual(self.ctl.ok("get", "never"), "")
        answer = self.ctl.json("txn", stdin='\nput both 1\nget second\n\n\n')
        self.assertTrue(answer["succeeded"])
        self.assertEqual(len(answer["responses"]), 2)
        self.assertIn("etcdserver: duplicate key given in txn request", self.ctl.fails("txn", stdin='\nput x 1\nput x 2\n\n\n'))

    def test_watch_from_history_through_a_restart(self):
        for number in range(1, 5):
            self.ctl.ok("put", f"a{number}", str(number))  # revisions 2 to 5
        self.ctl.ok("put", "a2", "changed")  # 6
        self.ctl.ok("del", "a1")  # 7
        output = self.server.directory / "watch.out"
        watcher = self.ctl.background("watch", "--prefix", "a", "--rev", "3", "--prev-kv", output=output)
        self.addCleanup(watcher.wait)
        self.addCleanup(watcher.kill)
        history = "PUT\na2\n2\nPUT\na3\n3\nPUT\na4\n4\nPUT\na2\n2\na2\nchanged\nDELETE\na1\n1\na1\n\n"
        text = lambda: etcdctl.text_of(output)  # noqa: E731
        wait.until(lambda: "a1\n1\na1\n" in text(), "the history arrived")
        self.assertEqual(text(), history)
        self.ctl.ok("put", "a5", "live")
        wait.until(lambda: text().endswith("PUT\na5\nlive\n"), "a live event arrived")
        self.server.restart()
        self.ctl.ok("put", "a5", "after")
        wait.until(lambda: text().endswith("PUT\na5\nlive\na5\nafter\n"), "an event after the restart arrived")
        self.assertIsNone(watcher.poll())
        self.assertEqual(text(), history + "PUT\na5\nlive\nPUT\na5\nlive\na5\nafter\n")

    def test_watch_below_the_compacted_revision(self):
        self.fill("a", "a", "a")
        self.ctl.ok("compact", "3")
        out = self.ctl.fails("watch", "a", "--rev", "2")
        self.assertIn("required revision has been compacted", out)

    def test_binary_and_empty_values(self):
        self.ctl.ok("put", "empty", "")
        self.assertEqual(self.ctl.json("get", "empty")["kvs"][0].get("value", ""), "")
        self.ctl.ok("put", "utf8", "grüße\n\ttab")
        self.assertEqual(self.ctl.ok("get", "utf8", "--print-value-only"), "grüße\n\ttab\n")


class WithDebians(Cases, ServerTest):
    """etcdctl 3.4 from the package etcd-client."""


@unittest.skipUnless(etcdctl.NEWER, etcdctl.NO_NEWER)
class WithNewer(Cases, ServerTest):
    """etcdctl 3.6."""

    program = etcdctl.NEWER
    newer = True


if __name__ == "__main__":
    runner.main()
