"""The process: how it starts, what it listens on, how it is configured, and how it ends."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import etcdctl, runner, wait  # noqa: E402
from support.client import Client, ClientTest  # noqa: E402
from support.server import PATIENCE, PROGRAM, SOURCE, STAND_IN, free_port  # noqa: E402


def metrics(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def run(*words, cwd=None):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, timeout=60 * PATIENCE,
                          stdin=subprocess.DEVNULL, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


class Ends(ClientTest):
    def test_sigterm_ends_it_within_a_second(self):
        server = self.start_server()
        for number in (signal.SIGTERM, signal.SIGINT):
            started = time.monotonic()
            server.process.send_signal(number)
            self.assertEqual(server.exit_code(), 0)
            self.assertLess(time.monotonic() - started, 1.0 * PATIENCE)
            server.start()
        client = self.connect(server)
        client.put(b"k", b"v")  # an idle connection is told, and given a moment to see it
        started = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - started, 2.0 * PATIENCE)
        server.start()
        self.assertEqual(self.connect(server).get(b"k").kvs[0].value, b"v")

    def test_it_ends_with_watchers_and_idle_connections(self):
        server, client = self.serve()
        stream = self.open_watch(client)
        stream.created(b"k")
        idle = socket.create_connection(("127.0.0.1", server.port))
        self.addCleanup(idle.close)
        started = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - started, 5.0 * PATIENCE)

    def test_nothing_at_level_error_in_a_normal_run(self):
        server, client = self.serve("--log-level=debug")
        for number in range(50):
            client.put(b"k%d" % number)
        client.compact(20, physical=True)
        stream = self.open_watch(client)
        stream.created(b"k", start_revision=20)
        stream.end()
        server.stop()
        lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
        self.assertGreater(len(lines), 3)
        for line in lines:
            self.assertLessEqual({"level", "ts", "caller", "msg"}, set(line), line)
            self.assertNotIn(line["level"], ("error", "fatal", "panic"), line)
        text = server.log()
        self.assertRegex(text, r"Starting compact: target=20, current=51, lastCompacted=(-1|0)")
        self.assertRegex(text, r"Compact completed: revision=20, duration=\S+, cleanedLeases=0")

    def test_a_second_server_is_refused(self):
        server, _ = self.serve()
        second = self.make_server()
        second.data_dir = server.data_dir
        second.launch()
        self.assertNotEqual(second.exit_code(), 0)
        self.assertIn(str(server.data_dir), second.log())
        self.assertRegex(second.log(), r"(?i)in use|lock")
        self.assertEqual(second.process.returncode, 1)

    def test_a_port_that_is_taken(self):
        server, _ = self.serve()
        second = self.make_server()
        second.port = server.port
        second.launch()
        self.assertEqual(second.exit_code(), 1)
        self.assertIn("address already in use", second.log().lower())

    def test_a_newer_format_is_refused(self):
        server, client = self.serve()
        client.put(b"k")
        server.stop()
        marker = server.data_dir / "FORMAT"
        number = int(re.search(r"\d+", marker.read_text(encoding="ascii")).group())
        before = marker.read_text(encoding="ascii")
        marker.write_text(before.replace(str(number), str(number + 1)), encoding="ascii")
        server.launch()
        self.assertEqual(server.exit_code(), 1)
        self.assertRegex(server.log(), rf"(?i)format.*{number + 1}|{number + 1}.*format")
        marker.write_text(before, encoding="ascii")
        server.start()
        self.assertEqual(self.connect(server).get(b"k").count, 1)

    def test_a_directory_of_etcd_is_refused(self):
        if STAND_IN is not None:
            self.skipTest("etcd reads its own")
        server = self.make_server(as_etcd=True)
        (server.data_dir / "member" / "snap").mkdir(parents=True)
        server.launch()
        self.assertEqual(server.exit_code(), 1, "served an empty store where somebody's keys were")
        self.assertIn(str(server.data_dir), server.log())
        self.assertIn("make-mirror", server.log())
        self.assertEqual(os.listdir(server.data_dir), ["member"])


class Listens(ClientTest):
    def test_several_urls_and_metrics_urls(self):
        server = self.make_server(listen=False)
        ports, metrics_port = [free_port(), free_port()], free_port()
        urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
        server.flags = [f"--listen-client-urls={urls}", f"--advertise-client-urls={urls}",
                        f"--listen-metrics-urls=http://127.0.0.1:{metrics_port}"]
        server.start()
        for port in ports:
            client = Client(f"127.0.0.1:{port}")
            self.assertEqual(client.get(b"k").count, 0)
            client.close()
        self.assertIn("etcd_server_has_leader 1", metrics(metrics_port))
        only_metrics = Client(f"127.0.0.1:{metrics_port}")
        self.assertIn(self.assert_code_of(only_metrics), (12, 14))
        only_metrics.close()

    def assert_code_of(self, client):
        try:
            client.kv.Range(client_range(), timeout=5)
            return 0
        except Exception as error:  # noqa: BLE001
            return error.code().value[0]

    def test_a_unix_socket(self):
        server = self.make_server(listen=False)
        path = server.directory / "s.sock"
        server.flags = [f"--listen-client-urls=unix://{path}", f"--advertise-client-urls=unix://{path}"]
        server.start()
        client = Client(f"unix:{path}")
        self.assertEqual(client.put(b"k", b"v").header.revision, 2)
        client.close()
        done = subprocess.run(["curl", "-sS", "--unix-socket", str(path), "http://x/health"], capture_output=True, text=True, check=True)
        self.assertIn('"health":"true"', done.stdout)
        server.kill()
        server.start()  # the socket that a kill left behind is no obstacle
        client = Client(f"unix:{path}")
        self.assertEqual(client.get(b"k").kvs[0].value, b"v")
        client.close()
        server.stop()
        self.assertFalse(path.exists())


def client_range():
    from support.client import pb
    return pb.RangeRequest(key=b"k")


class Configuration(ClientTest):
    def txn_limit(self, client):
        from support.client import grpc, put_op
        try:
            client.txn(success=[put_op(b"%d" % number) for number in range(4)])
        except grpc.RpcError:
            return "small"
        return "large"

    def test_the_environment(self):
        server, client = self.serve(env={"ETCD_MAX_TXN_OPS": "3"})
        self.assertEqual(self.txn_limit(client), "small")
        server.stop()
        server.flags.append("--max-txn-ops=100")  # a flag beats the environment
        server.start()
        self.assertEqual(self.txn_limit(self.connect(server)), "large")

    def test_a_file(self):
        server = self.make_server()
        path = server.directory / "conf.yml"
        path.write_text(f"name: from-file\ndata-dir: {server.data_dir}\nlisten-client-urls: {server.url}\n"
                        f"advertise-client-urls: {server.url}\nmax-txn-ops: 3\nauto-compaction-mode: revision\n"
                        "auto-compaction-retention: \"1000\"\n", encoding="utf-8")
        server.command = lambda: [str(PROGRAM), "serve", f"--config-file={path}"]
        server.start()
        client = self.connect(server)
        self.assertEqual(self.txn_limit(client), "small")
        from support.client import pb
        self.assertEqual(client.cluster.MemberList(pb.MemberListRequest()).members[0].name, "from-file")

    def test_what_is_wrong_is_named(self):
        for words, code, what in ((["--no-such-flag"], 2, "no-such-flag"), (["--max-txn-ops=x"], 2, "max-txn-ops"),
                                  (["--auto-compaction-mode=sometimes"], None, "auto-compaction-mode"),
                                  (["--listen-client-urls=ftp://x"], None, "listen-client-urls"),
                                  (["--rocksdb-options=no_such_thing=1"], None, "no_such_thing"),
                                  (["--config-file=/nonexistent"], None, "/nonexistent")):
            directory = self.temporary_directory()
            status, out, err = run(PROGRAM, "serve", f"--data-dir={directory}/d", *words)
            self.assertNotEqual(status, 0, words)
            if code is not None:
                self.assertEqual(status, code, words)
            self.assertIn(what, out + err)

    def test_data_directory_is_private(self):
        server, _ = self.serve()
        self.assertEqual(stat.S_IMODE(os.stat(server.data_dir).st_mode), 0o700)

    def test_unsafe_no_fsync_warns(self):
        server, client = self.serve("--unsafe-no-fsync")
        self.assertEqual(client.put(b"k").header.revision, 2)
        self.assertRegex(server.log(), r'"level":"warn".*(?i:fsync)')


class AsEtcd(ClientTest):
    def test_version(self):
        directory = self.temporary_directory()
        link = directory / "etcd"
        link.symlink_to(PROGRAM)
        status, out, _ = run(link, "--version", cwd=directory)
        self.assertEqual(status, 0)
        lines = out.splitlines()
        self.assertEqual(lines[0], "etcd Version: 3.6.16")
        self.assertEqual([line.split(":")[0] for line in lines], ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"])

    def test_our_own_version(self):
        status, out, _ = run(PROGRAM, "version")
        project = re.search(r"project\(vellum VERSION (\S+)", (SOURCE / "CMakeLists.txt").read_text(encoding="utf-8")).group(1)
        self.assertEqual(status, 0)
        self.assertIn(project, out)
        server, _ = self.serve()
        self.assertRegex(metrics(server.port), rf'vellum_\w+\{{[^}}]*version="{re.escape(project)}')

    def test_what_harnesses_wait_for(self):
        server = self.start_server(as_etcd=True)
        for text in ("published local member to cluster through raft", "ready to serve client requests",
                     "enabled capabilities for version"):
            self.assertIn(f'"msg":"{text}"', server.log())
        self.assertIn("is healthy", "".join(etcdctl.Etcdctl(server).run("endpoint", "health")[1:]))

    def test_flags_of_scripts_and_harnesses(self):
        server = self.start_server(
            "--initial-cluster-token=token", "--snapshot-count=100", "--strict-reconfig-check=false", "--heartbeat-interval=100",
            "--election-timeout=1000", "--experimental-initial-corrupt-check=true", "--experimental-watch-progress-notify-interval=5s",
            "--feature-gates=InitialCorruptCheck=true", "--max-wals=5", "--max-snapshots=5", "--pre-vote", "--logger=zap",
            "--enable-v2=false", "--experimental-compaction-batch-limit=1000", "--backend-batch-interval=0", "--auth-token=simple",
            "--quota-backend-bytes=8589934592", "-log-level", "info", "--cors=*", "--host-whitelist=*", as_etcd=True)
        self.assertEqual(self.connect(server).put(b"k").header.revision, 2)
        self.assertRegex(server.log(), r'"level":"warn"[^\n]*snapshot-count')

    def test_an_unknown_flag(self):
        directory = self.temporary_directory()
        link = directory / "etcd"
        link.symlink_to(PROGRAM)
        self.assertEqual(run(link, "--nonsense", cwd=directory)[0], 2)

    def test_tls_is_refused_rather_than_ignored(self):
        directory = self.temporary_directory()
        link = directory / "etcd"
        link.symlink_to(PROGRAM)
        status, out, err = run(link, f"--data-dir={directory}/d", "--listen-client-urls=https://127.0.0.1:0",
                               "--advertise-client-urls=https://127.0.0.1:0", cwd=directory)
        self.assertNotEqual(status, 0)
        self.assertRegex(out + err, r"(?i)tls|https")


class Help(ClientTest):
    def test_help_is_there(self):
        for words in (("--help",), ("help",), ("serve", "--help")):
            status, out, err = run(PROGRAM, *words)
            self.assertEqual(status, 0, words)
            self.assertIn("serve", out + err)
        self.assertIn("--data-dir", run(PROGRAM, "serve", "--help")[1])

    def test_an_unknown_command(self):
        status, out, err = run(PROGRAM, "dance")
        self.assertEqual(status, 2)
        self.assertIn("dance", out + err)


class AutomaticCompaction(ClientTest):
    def test_by_time(self):
        if STAND_IN is not None:
            self.skipTest("etcd's shortest period is longer than a test")
        server, client = self.serve("--auto-compaction-mode=periodic", "--auto-compaction-retention=2s")
        for number in range(50):
            client.put(b"k", b"%d" % number)

        def compacted():
            client.put(b"other")
            found = re.search(r"^etcd_debugging_mvcc_compact_revision (\S+)$", metrics(server.port), re.MULTILINE)
            return found and float(found.group(1)) >= 40

        wait.until(compacted, "history older than the period was compacted", 60)
        self.assert_error(11, "etcdserver: mvcc: required revision has been compacted", client.get, b"k", revision=5)
        self.assertEqual(client.get(b"k").kvs[0].value, b"49")


if __name__ == "__main__":
    runner.main()
