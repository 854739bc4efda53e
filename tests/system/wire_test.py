"""The port from outside: HTTP in both versions, garbage, half requests, slow and rude clients."""
import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import raw, runner, wait  # noqa: E402
from support.client import ClientTest, grpc, pb  # noqa: E402
from support.server import PATIENCE, STAND_IN  # noqa: E402


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20 * PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def resident_bytes(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024


class Http(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def curl(self, *words):
        done = subprocess.run(["curl", "-sS", "--max-time", "20", *words], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_health(self):
        self.assertEqual(get(self.server, "/health"), (200, '{"health":"true","reason":""}'))
        for path in ("/health?serializable=true", "/health?exclude=NOSPACE"):
            self.assertEqual(get(self.server, path)[0], 200, path)
        self.assertEqual(get(self.server, "/health", "POST")[0], 405)

    def test_checks(self):
        self.assertEqual(get(self.server, "/livez"), (200, "ok\n"))
        self.assertEqual(get(self.server, "/readyz")[0], 200)
        status, text = get(self.server, "/readyz?verbose")
        self.assertEqual(status, 200)
        for name in ("data_corruption", "serializable_read", "linearizable_read"):
            self.assertIn(f"[+]{name} ok", text)
            self.assertEqual(get(self.server, f"/readyz/{name}")[0], 200)
        self.assertEqual(get(self.server, "/livez/serializable_read")[0], 200)
        self.assertNotIn("linearizable_read", get(self.server, "/readyz?verbose&exclude=linearizable_read")[1])
        self.assertEqual(get(self.server, "/livez/nothing_of_that_name")[0], 404)

    def test_alarms_show(self):
        member = self.client.maintenance.Status(pb.StatusRequest()).header.member_id
        for alarm, name in ((pb.NOSPACE, "NOSPACE"), (pb.CORRUPT, "CORRUPT")):
            request = {"memberID": member, "alarm": alarm}
            self.client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, **request))
            status, text = get(self.server, "/health")
            self.assertEqual((status, json.loads(text)), (503, {"health": "false", "reason": f"ALARM {name}"}))
            status, text = get(self.server, "/readyz?verbose")
            self.assertEqual(status, 200 if name == "NOSPACE" else 503)
            if name == "CORRUPT":
                self.assertIn("[-]data_corruption failed: alarm activated: CORRUPT", text)
            self.client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, **request))
            self.assertEqual(get(self.server, "/health")[0], 200)

    def test_version_and_the_rest(self):
        version = json.loads(get(self.server, "/version")[1])
        self.assertEqual(version["storage"], "3.6.0")
        self.assertEqual(version["etcdcluster"], "3.6.0")
        self.assertEqual(version["etcdserver"], "3.6.16")
        self.assertEqual(get(self.server, "/nothing"), (404, "404 page not found\n"))

    def test_curl_in_both_versions(self):
        for words in ((), ("--http2-prior-knowledge",), ("--http2",), ("--http1.0",)):
            self.assertEqual(json.loads(self.curl(*words, self.server.url + "/health"))["health"], "true", words)
            self.assertIn("etcd_server_has_leader 1", self.curl(*words, self.server.url + "/metrics"))

    def test_many_requests_on_one_connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        for _ in range(50):
            connection.request("GET", "/version")
            self.assertIn("etcdserver", connection.getresponse().read().decode())
        connection.close()


class Rude(ClientTest):
    """Clients that break rules lose their connection; the others notice nothing."""

    def setUp(self):
        self.server, self.client = self.serve()
        self.client.put(b"here", b"v")

    def tearDown(self):
        self.assertIsNone(self.server.process.poll(), "the server died")
        self.assertEqual(self.client.get(b"here").kvs[0].value, b"v")
        fresh = self.connect(self.server)
        self.assertEqual(fresh.get(b"here").count, 1)

    def test_garbage(self):
        for garbage in (b"\0" * 1000, b"\xff" * 1000, b"GET /\r\n\r\n", b"HELO there\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"z" * 500,
                        b"PRI * HTTP/2.0\r\n\r\nNO\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, b"\x16\x03\x01\x02\x00" + b"q" * 512,
                        raw.opening() + raw.frame(raw.HEADERS, raw.END_HEADERS, 1, b"\xff" * 200),
                        raw.opening() + raw.frame(raw.DATA, 0, 0, b"x"), raw.opening() + raw.frame(99, 0, 0, b"x" * 20) +
                        raw.frame(raw.WINDOW_UPDATE, 0, 0, b"\0\0\0\0"), raw.opening() + raw.frame(raw.SETTINGS, 0, 0, b"abc")):
            with raw.connect(self.server) as connection:
                try:
                    connection.sendall(garbage)
                    connection.shutdown(socket.SHUT_WR)
                    raw.read_all(connection)
                except ConnectionError:
                    pass

    def test_half_requests(self):
        whole = raw.opening() + raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.headers(b"/etcdserverpb.KV/Put")) + \
            raw.frame(raw.DATA, raw.END_STREAM, 1, raw.message(pb.PutRequest(key=b"half").SerializeToString()))
        for end in range(1, len(whole), 7):
            with raw.connect(self.server) as connection:
                connection.sendall(whole[:end])
        self.assertEqual(self.client.get(b"half").count, 0)
        idle = [raw.connect(self.server) for _ in range(20)]
        for connection in idle:
            connection.sendall(whole[:30])
        self.assertEqual(self.client.get(b"here").count, 1)
        for connection in idle:
            connection.close()

    def test_a_length_that_lies(self):
        connection = raw.Http2(self.server)
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.headers(b"/etcdserverpb.KV/Put")),
                        raw.frame(raw.DATA, 0, 1, b"\0\xff\xff\xff\xff" + b"x" * 100))
        kind, _, _, payload = connection.next(raw.HEADERS, raw.RST_STREAM)
        self.assertIn(kind, (raw.HEADERS, raw.RST_STREAM))
        self.assertTrue(payload)
        connection.close()
        self.assertLess(resident_bytes(self.server), 1 << 30)

    def test_resets(self):
        """Clients whose deadlines pass reset their streams, by the hundred."""
        connection = raw.Http2(self.server)
        try:
            for number in range(2000):
                stream = 2 * number + 1
                connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, stream, raw.headers(b"/etcdserverpb.Watch/Watch")),
                                raw.frame(raw.RST_STREAM, 0, stream, b"\0\0\0\x08"))
            connection.send(raw.frame(raw.PING, 0, 0, b"12345678"))
            self.assertEqual(connection.next(raw.PING, raw.GOAWAY)[0], raw.PING)
        except ConnectionError:
            self.fail("an honest storm of deadlines must not end the connection")
        finally:
            connection.close()

    def test_a_client_that_never_reads(self):
        for number in range(20):
            self.client.put(b"big/%02d" % number, b"v" * 1_000_000)
        before = resident_bytes(self.server)
        slow = []
        request = raw.message(pb.RangeRequest(key=b"big/", range_end=b"big0").SerializeToString())
        for _ in range(5):
            connection = raw.Http2(self.server)
            for stream in (1, 3, 5, 7):
                connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, stream, raw.headers(b"/etcdserverpb.KV/Range")),
                                raw.frame(raw.DATA, raw.END_STREAM, stream, request))
            slow.append(connection)
        for _ in range(200):
            self.client.put(b"here", b"v")
        self.assertLess(resident_bytes(self.server) - before, 1 << 30)
        for connection in slow:
            connection.close()

    def test_a_watcher_that_never_reads(self):
        connection = raw.Http2(self.server)
        create = pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"w", range_end=b"x"))
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.headers(b"/etcdserverpb.Watch/Watch")),
                        raw.frame(raw.DATA, 0, 1, raw.message(create.SerializeToString())))
        connection.next(raw.DATA)
        other = self.open_watch(self.client)
        other.created(b"w", b"x")
        before = resident_bytes(self.server)
        for number in range(300):
            self.client.put(b"w%d" % number, b"v" * 100_000)
        self.assertEqual(len(other.events(300, seconds=60)), 300)
        self.assertLess(resident_bytes(self.server) - before, 400 << 20)
        connection.close()

    def test_pings_as_etcd_clients_send_them(self):
        """One every few seconds with a stream open is what clientv3 does; it must not be told to calm down."""
        connection = raw.Http2(self.server)
        connection.send(raw.frame(raw.HEADERS, raw.END_HEADERS, 1, raw.headers(b"/etcdserverpb.Watch/Watch")))
        connection.send(raw.frame(raw.PING, 0, 0, b"12345678"))
        kind, flags, _, payload = connection.next(raw.PING, raw.GOAWAY)
        self.assertEqual((kind, flags, payload), (raw.PING, raw.ACK, b"12345678"))
        connection.close()


class Grpc(ClientTest):
    def setUp(self):
        self.server, self.client = self.serve()

    def test_deadlines(self):
        stream = self.client.watch.Watch(iter([pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k"))]), timeout=0.3 * PATIENCE)
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in stream:
                pass
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_hundreds_of_streams_on_one_connection(self):
        streams = [self.open_watch(self.client) for _ in range(300)]
        for number, stream in enumerate(streams):
            stream.create(b"k%d" % number)
        for stream in streams:
            self.assertTrue(stream.next().created)
        self.client.put(b"k77")
        self.assertEqual(streams[77].next().events[0].kv.key, b"k77")
        for stream in streams:
            stream.end()
        metric = "etcd_debugging_mvcc_watch_stream_total"
        wait.until(lambda: re.search(rf"^{metric} 0$", get(self.server, "/metrics")[1], re.MULTILINE), "cancelled streams are gone")

    def test_compressed_requests(self):
        put = self.client.channel.unary_unary("/etcdserverpb.KV/Put", request_serializer=pb.PutRequest.SerializeToString,
                                              response_deserializer=pb.PutResponse.FromString)
        put(pb.PutRequest(key=b"zipped", value=b"a" * 10_000), compression=grpc.Compression.Gzip)
        self.assertEqual(self.client.get(b"zipped").kvs[0].value, b"a" * 10_000)

    def test_health_service(self):
        answer = self.client.raw("/grpc.health.v1.Health/Check")
        self.assertEqual(answer, b"\x08\x01")  # status: SERVING
        self.assert_code(5, self.client.raw, "/grpc.health.v1.Health/Check", b"\x0a\x04none")

    def test_wrong_content_type(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request("POST", "/etcdserverpb.KV/Put", body=b"x", headers={"Content-Type": "text/plain"})
        self.assertIn(connection.getresponse().status, (404, 405, 415))
        connection.close()

    def test_writers_in_parallel(self):
        errors = []

        def write(writer):
            client = self.connect(self.server)
            try:
                for number in range(100):
                    client.put(b"w%d/%d" % (writer, number))
            except grpc.RpcError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual(self.client.revision(), 1001)
        self.assertEqual(self.client.get(b"w", b"x", count_only=True).count, 1000)


if __name__ == "__main__":
    runner.main()
