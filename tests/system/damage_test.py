"""Damaged files and a full disk: an error that names the file, never a server that goes on as if nothing had happened."""
import errno
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import runner, wait  # noqa: E402
from support.client import ClientTest, grpc, pb  # noqa: E402
from support.server import PROGRAM  # noqa: E402

NO_SPACE = "etcdserver: mvcc: database space exceeded"


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x55]))


class Damage(ClientTest):
    def filled(self, count=200, size=2000):
        server, client = self.serve()
        for number in range(count):
            client.put(b"key/%05d" % number, os.urandom(size))
        client.close()
        return server

    def assert_refuses(self, server, path):
        server.launch()
        self.assertNotEqual(server.exit_code(60), 0)
        self.assertIn(path.name, server.log())
        self.assertNotIn("ready to serve client requests", server.log())

    def test_a_flipped_byte_in_the_middle_of_the_log(self):
        server = self.filled()
        server.kill()  # a clean stop would flush, and leave an empty log
        log = max((server.data_dir / "kv").glob("*.log"), key=lambda path: path.stat().st_size)
        self.assertGreater(log.stat().st_size, 200_000)
        flip(log, log.stat().st_size // 2)
        self.assert_refuses(server, log)
        flip(log, log.stat().st_size // 2)
        server.start()
        self.assertEqual(self.connect(server).get(b"key/", b"key0", count_only=True).count, 200)

    def test_a_torn_end_of_the_log_is_what_a_crash_leaves(self):
        server = self.filled()
        server.kill()
        log = max((server.data_dir / "kv").glob("*.log"), key=lambda path: path.stat().st_size)
        # Behind what was written the log has space for more, which reads as zeros.
        with open(log, "r+b") as file:
            file.truncate(len(log.read_bytes().rstrip(b"\0")) - 5)
        server.start()
        self.assertEqual(self.connect(server).get(b"key/", b"key0", count_only=True).count, 199)

    def test_a_flipped_byte_in_a_table_file(self):
        server = self.filled()
        self.assertEqual(server.stop(), 0)
        table = max((server.data_dir / "kv").glob("*.sst"), key=lambda path: path.stat().st_size)
        for at in (table.stat().st_size // 3, table.stat().st_size // 2):
            flip(table, at)
        server.launch()

        def outcome():
            if server.process.poll() is not None:
                return "ended"
            return "serves" if "ready to serve client requests" in server.log() else None

        if wait.until(outcome, "it serves or refuses", 60) == "serves":
            client = self.connect(server)
            answer = None
            try:
                answer = client.get(b"key/", b"key0")
            except grpc.RpcError as error:
                self.assertIn(error.code(), (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE), error.details())
                print(error.details())
            self.assertIsNone(answer, "a damaged table was read as if it were whole")
        else:
            self.assertNotEqual(server.process.returncode, 0)
        wait.until(lambda: table.name in server.log(), "the log names the file", 20)

    def test_a_missing_table_file(self):
        server = self.filled()
        server.stop()
        table = max((server.data_dir / "kv").glob("*.sst"), key=lambda path: path.stat().st_size)
        table.rename(server.directory / "taken-away")
        self.assert_refuses(server, table)

    def test_a_damaged_current_file(self):
        server = self.filled(10)
        server.stop()
        (server.data_dir / "kv" / "CURRENT").write_bytes(b"nonsense")
        server.launch()
        self.assertNotEqual(server.exit_code(60), 0)

    def test_format_that_is_no_number(self):
        server = self.filled(10)
        server.stop()
        (server.data_dir / "FORMAT").write_bytes(b"\xff\xfe")
        server.launch()
        self.assertNotEqual(server.exit_code(60), 0)
        self.assertIn("FORMAT", server.log())


class FullDisk(ClientTest):
    """A small file system of its own fills up."""

    def mount(self, mebibytes):
        directory = self.temporary_directory() / "disk"
        directory.mkdir()
        if os.geteuid() != 0:
            self.skipTest("mounting a small file system takes root")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(directory)],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"no mounting here: {done.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", str(directory)], check=False)
        return directory

    def fill(self, client):
        """The number of puts that went well, and the error that ended it."""
        for number in range(100_000):
            try:
                client.put(b"fill/%06d" % number, os.urandom(100_000))
            except grpc.RpcError as error:
                return number, error
        self.fail("the disk never filled up")

    def test_the_floor_keeps_the_server_alive(self):
        disk = self.mount(200)
        server = self.make_server(f"--free-space-floor-bytes={64 << 20}")
        server.data_dir = disk / "data"
        server.start()
        client = self.connect(server)
        count, error = self.fill(client)
        self.assertGreater(count, 100)
        self.assertEqual((error.code(), error.details()), (grpc.StatusCode.RESOURCE_EXHAUSTED, NO_SPACE))
        self.assertEqual(client.get(b"fill/", b"fill0", count_only=True).count, count)
        alarms = wait.until(lambda: client.maintenance.Alarm(pb.AlarmRequest()).alarms, "the alarm is on")
        self.assertEqual([alarm.alarm for alarm in alarms], [pb.NOSPACE])
        # What is deleted is history first and needs room until it is compacted: so a part at a time.
        deleted = 0
        for first in range(0, count, 100):
            deleted += client.delete(b"fill/%06d" % first, b"fill/%06d" % (first + 100)).deleted
            client.compact(client.revision(), physical=True)
        self.assertEqual(deleted, count)
        client.maintenance.Defragment(pb.DefragmentRequest())

        def writes_again():
            client.maintenance.Alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=alarms[0].memberID,
                                                     alarm=pb.NOSPACE))
            try:
                return client.put(b"after")
            except grpc.RpcError:
                return None

        wait.until(writes_again, "space came back", 60)

    def serve_from(self, disk):
        server = self.make_server()
        server.data_dir = disk / "data"
        server.start()
        client = self.connect(server)
        for number in range(20):
            client.put(b"key/%02d" % number, os.urandom(50_000))
        client.close()
        return server

    def fill_up(self, disk):
        """Somebody else takes what is left, to the last byte."""
        with open(disk / "ballast", "ab", buffering=0) as ballast:
            try:
                while ballast.write(b"\0" * (1 << 20)):
                    pass
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOSPC)
        self.assertEqual(os.statvfs(disk).f_bavail, 0)

    def serves_what_there_is(self, server):
        client = self.connect(server)
        found = client.get(b"key/", b"key0")
        self.assertEqual([len(pair.value) for pair in found.kvs], [50_000] * 20)
        with self.assertRaises(grpc.RpcError) as raised:
            client.put(b"more", b"x" * 100_000)
        self.assertEqual(raised.exception.details(), NO_SPACE)
        client.compact(client.revision(), physical=True)
        client.close()

    def test_it_starts_on_a_disk_that_filled_up_while_it_was_stopped(self):
        disk = self.mount(96)
        server = self.serve_from(disk)
        server.stop()
        self.fill_up(disk)
        server.start()
        self.serves_what_there_is(server)

    def test_it_starts_again_on_a_disk_that_filled_up_while_it_ran(self):
        disk = self.mount(96)
        server = self.serve_from(disk)
        self.fill_up(disk)
        # It notices by its next look, and gives up half of the reserve. Until then small puts fit into what the log has ahead.
        client = self.connect(server)
        reserve = disk / "data" / "RESERVE"
        whole = reserve.stat().st_size

        def refused():
            try:
                client.put(b"more")
            except grpc.RpcError as error:
                return error
            return None

        self.assertEqual(wait.until(refused, "puts are refused").details(), NO_SPACE)
        self.assertEqual(reserve.stat().st_size, whole // 2)
        # That goes, too. The other half is for the next start.
        self.fill_up(disk)
        server.kill()
        server.start()
        self.assertFalse(reserve.exists())
        self.serves_what_there_is(server)

    def test_a_sync_can_be_deleted_on_a_full_disk(self):
        disk = self.mount(96)

        def sync(*words):
            done = subprocess.run([str(PROGRAM), "sync", *words, "--data-dir", str(disk / "data")], capture_output=True, text=True,
                                  check=False)
            return done.returncode, done.stdout + done.stderr

        fixtures = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "c1z"
        code, out = sync("import", str(fixtures / "dir.v1.c1z"), str(fixtures / "tiny.v1.c1z"))
        self.assertEqual(code, 0, out)
        self.fill_up(disk)
        code, out = sync("list", "-o", "csv")
        self.assertEqual((code, out.count("sealed")), (0, 2), out)
        code, out = sync("import", str(fixtures / "dir-newer.v1.c1z"))
        self.assertEqual((code, "space" in out), (2, True), out)
        free = os.statvfs(disk).f_bavail
        code, out = sync("delete", "3AKrFfy3kUrti6RckrYBwUorilJ")
        self.assertEqual(code, 0, out)
        self.assertGreater(os.statvfs(disk).f_bavail, free)
        code, out = sync("list", "-o", "csv")
        self.assertEqual((code, out.count("sealed")), (0, 1), out)

    def test_without_a_floor_nothing_acknowledged_is_lost(self):
        disk = self.mount(96)
        server = self.make_server("--free-space-floor-bytes=0")
        server.data_dir = disk / "data"
        ballast = disk / "ballast"
        server.start()
        client = self.connect(server)
        ballast.write_bytes(b"\0" * (24 << 20))
        count, _ = self.fill(client)
        if server.process.poll() is None:
            server.stop()
        ballast.unlink()
        server.kill()
        server.start()
        client = self.connect(server)
        found = client.get(b"fill/", b"fill0", count_only=True).count
        self.assertIn(found, (count, count + 1))
        self.assertGreaterEqual(client.put(b"after").header.revision, found + 2)


class Rescue(ClientTest):
    def test_the_loss_can_be_accepted_on_purpose(self):
        server = self.start_server()
        client = self.connect(server)
        for number in range(200):
            client.put(b"key/%05d" % number, os.urandom(2000))
        server.kill()
        log = max((server.data_dir / "kv").glob("*.log"), key=lambda path: path.stat().st_size)
        flip(log, log.stat().st_size // 2)
        done = subprocess.run([str(PROGRAM), "help"], capture_output=True, text=True, check=False)
        if not re.search(r"\brescue\b", done.stdout + done.stderr):
            self.skipTest("the program has no rescue command")
        done = subprocess.run([str(PROGRAM), "rescue", f"--data-dir={server.data_dir}", "--accept-loss"], capture_output=True,
                              text=True, check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        server.start()
        found = self.connect(server).get(b"key/", b"key0", count_only=True).count
        self.assertTrue(0 < found < 200, found)


if __name__ == "__main__":
    runner.main()
