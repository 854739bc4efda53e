"""`vellum sync` on a data directory and against a server, the service by a client in another language, and the catalog by etcdctl.

Every verb runs both ways, on two stores that see the same sequence of commands, and prints the same byte for byte: but for what no two
runs have in common, which is replaced by its place in the order of appearance (ids that are drawn) or left out (durations).
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import etcdctl, runner, wait  # noqa: E402
from support.client import Client, grpc, pb  # noqa: E402
from support.server import PATIENCE, PROGRAM, SOURCE, ServerTest  # noqa: E402
from vellum.sync.v1 import service_pb2 as sync  # noqa: E402
from vellum.sync.v1 import service_pb2_grpc as sync_services  # noqa: E402

FIXTURES = SOURCE / "tests" / "fixtures" / "c1z"
FULL = FIXTURES / "dir.v1.c1z"
NEWER = FIXTURES / "dir-newer.v1.c1z"
EQUAL = FIXTURES / "dir-equal.v1.c1z"
CONTENTS = (FIXTURES / "multi-full-2.v1.c1z", FIXTURES / "multi-replacement.v1.c1z")
KSUID = re.compile(r"\b3[0-9A-Za-z]{26}\b")


def run(*words, cwd=None):
    done = subprocess.run([str(PROGRAM), *map(str, words)], capture_output=True, text=True, check=False, cwd=cwd,
                          stdin=subprocess.DEVNULL, timeout=120 * PATIENCE)
    return done.returncode, done.stdout, done.stderr


def normal(text, known):
    """What two runs must have in common."""
    text = re.sub(r"\b\d+\.\d+ s\b", "SECONDS", text)
    text = re.sub(r"20(2[6-9]|3\d)-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "NOW", text)
    text = re.sub(r'(--page-token |"next_page_token": ?)\S+', r"\1TOKEN", text)
    names = {}
    text = KSUID.sub(lambda match: match.group() if match.group() in known
                     else names.setdefault(match.group(), f"DRAWN-{len(names)}"), text)
    return re.sub(r" +", " ", text)


class SyncServiceTest(ServerTest):
    def setUp(self):
        self.server = self.start_server()

    def remote(self, *words, **options):
        return run("--endpoint", self.server.address, "sync", *words, **options)

    def remote_ok(self, *words):
        code, out, error = self.remote(*words)
        self.assertEqual(code, 0, f"{words}: {out}{error}")
        return out

    def sync_ids(self, *words):
        out = self.remote_ok("list", "-o", "csv", *words)
        return [line.split(",")[0] for line in out.splitlines()[1:]]


class BothWays(SyncServiceTest):
    """One sequence of commands, on a directory and against a server."""

    def setUp(self):
        super().setUp()
        self.folder = self.temporary_directory()
        for name in ("here", "there"):
            (self.folder / name).mkdir()
        self.known = set()

    def both(self, *words, code=0):
        """Runs the verb both ways; what it printed, as both did."""
        local = run("sync", words[0], "--data-dir", self.folder / "local", *words[1:], cwd=self.folder / "here")
        remote = run("sync", words[0], "--endpoint", self.server.address, *words[1:], cwd=self.folder / "there")
        if code is not None:
            self.assertEqual(local[0], code, f"{words}: {local}")
        known = self.known
        self.assertEqual([remote[0], normal(remote[1], known), normal(remote[2], known)],
                         [local[0], normal(local[1], known), normal(local[2], known)], words)
        return local[1] + local[2]

    def test_every_verb_prints_the_same(self):
        for file in (NEWER, EQUAL):
            self.known |= set(KSUID.findall(self.both("import", file)))
        first, second = [line.split(",")[0] for line in self.both("list", "-o", "csv").splitlines()[1:]][:2]
        self.assertIn("unchanged", self.both("import", NEWER))
        self.both("import", FIXTURES / "no-such-file.c1z", code=2)
        self.both("import", NEWER, "--sync", "nobody", code=2)
        self.both("import", NEWER, "--zone", "Mars/Olympus", code=2)
        for form in ("table", "json", "jsonl", "csv"):
            self.both("list", "-o", form)
            for verb in ("show", "stats", "history"):
                self.both(verb, first, "-o", form)
        for verb in ("show", "stats", "history", "rollback", "delete", "verify"):
            self.both(verb, "nobody", code=2)
        self.assertIn("sound", self.both("verify"))
        self.both("verify", second)
        self.both("merge", "--into", "united", first)
        self.both("rollback", "united", code=2)
        self.both("merge", "--into", "united", second)
        self.both("merge", "--into", "united", first, "--strategy", "fold", "--ties", "last")
        self.both("merge", "--into", "united", "nobody", code=2)
        self.both("merge", first, second)
        self.both("rollback", "united")
        self.both("rollback", "united", "--to", "nothing", code=2)
        self.both("history", "united")
        self.both("export", "united", first, "-o", "out.c1z")
        self.both("export", "united", "-o", "out.c1z", code=2)
        self.both("export", "united", "-o", "out.c1z", "--force")
        self.both("export", "nobody", "-o", "other.c1z", code=2)
        self.both("export", "united", "-o", "no-such-folder/other.c1z", code=2)
        self.both("sweep")
        self.both("delete", second, "nobody", code=2)
        self.both("list")

    def test_every_question_prints_the_same(self):
        for file in (FULL, NEWER):
            self.known |= set(KSUID.findall(self.both("import", file)))
        full, newer = [line.split(",")[0] for line in self.both("list", "-o", "csv").splitlines()[1:]][:2]
        grants = [json.loads(line) for line in self.both("grants", full, "-o", "jsonl", "--limit", "50").splitlines()
                  if line.startswith("{") and '"entitlement"' in line]
        grant = grants[0]
        principal = f"{grant['principal']['type']}:{grant['principal']['id']}"
        resource = f"{grant['resource']['type']}:{grant['resource']['id']}"
        for form in ("table", "json", "jsonl", "csv"):
            for verb in ("resource-types", "resources", "entitlements", "grants", "principals", "assets"):
                self.both(verb, newer, "-o", form)
            for words in (("grants", full, "--principal", principal), ("grants", full, "--resource", resource),
                          ("grants", full, "--needs-expansion"), ("grants", full, "--limit", "7"),
                          ("entitlements", full, "--resource", resource), ("principals", full, "--resource", resource),
                          ("resources", full, "--resource-type", grant["resource"]["type"]),
                          ("get", full, "grant", grant["id"]), ("get", full, "resource", resource)):
                self.both(*words, "-o", form)
            for words in (("--principal", principal), ("--resource", resource), ("--resource", resource, "--why")):
                self.both("access", full, *words, "-o", form)
            for words in ((full, newer), (newer, full), (NEWER, full), (full, NEWER), (newer, NEWER), (FULL, NEWER)):
                self.both("diff", *words, "-o", form, code=None)
        self.both("diff", full, newer, "--summary", code=1)
        self.both("diff", full, newer, "--stamps", "--summary", code=1)
        self.both("diff", newer, NEWER, code=0)
        for words in (("grants", "nobody"), ("grants", full, "--principal", "no colon"), ("grants", full, "--page-token", "nonsense"),
                      ("get", full, "grant", "nothing"), ("get", full, "nonsense", "x"), ("access", full),
                      ("access", "nobody", "--principal", principal), ("diff", full, "nobody"), ("diff", full, FIXTURES / "none.c1z")):
            self.both(*words, code=2)

    def test_pages_together_are_the_whole(self):
        self.remote_ok("import", NEWER)
        sync_id = self.sync_ids()[0]
        whole = self.remote_ok("grants", sync_id, "-o", "csv").splitlines()
        seen, token = whole[:1], None
        while token != "":
            code, out, error = self.remote("grants", sync_id, "-o", "csv", "--limit", "100", *(["--page-token", token] if token else []))
            self.assertEqual(code, 0, error)
            seen += out.splitlines()[1:]
            found = re.search(r"--page-token (\S+)", error)
            token = found.group(1) if found else ""
        self.assertEqual(seen, whole)

    def test_what_keeps_a_store_healthy(self):
        full = FIXTURES / "dir.v1.c1z"
        self.known |= set(KSUID.findall(self.both("import", "--connector", "okta", full, NEWER)))
        whole, part = KSUID.findall(run("c1z", "info", full)[1])[0], KSUID.findall(run("c1z", "info", NEWER)[1])[0]
        shown = self.both("rollup", "--connector", "okta", "--dry-run")
        self.assertRegex(shown, rf"{part} +{whole}")
        done = self.both("rollup", "--connector", "okta")
        self.assertIn("grants", done)
        self.assertIn("nothing is pending", self.both("rollup", "--connector", "okta"))
        self.assertNotIn(part, self.both("list"))
        self.known |= set(KSUID.findall(self.both("import", "--connector", "okta", CONTENTS[0])))
        for form in ("table", "json", "jsonl", "csv"):
            self.assertIn(whole, self.both("retain", "--connector", "okta", "--keep", "1", "--dry-run", "-o", form))
        self.assertIn("nothing goes", self.both("retain", "--connector", "okta", "--keep", "2"))
        self.assertIn("1 sync deleted", self.both("retain", "--connector", "okta", "--keep", "1"))
        self.assertNotIn(whole, self.both("list"))
        for verb in ("retain", "rollup"):
            self.assertIn("there are okta", self.both(verb, "--connector", "otka", code=2))
        left = [line.split(",")[0] for line in self.both("list", "-o", "csv").splitlines()[1:]]
        self.assertIn("its indexes are right", self.both("repair", *left))
        self.both("repair", "nobody", code=2)
        self.both("verify", *left)

    def test_compact_from_a_file_and_from_a_directory_of_the_callers(self):
        source = self.folder / "source"
        for content in CONTENTS:
            code, out, error = run("sync", "import", "--data-dir", source, content, "--replace")
            self.assertEqual(code, 0, out + error)
        sync_id = run("sync", "list", "--data-dir", source, "-o", "csv")[1].splitlines()[1].split(",")[0]
        self.known.add(sync_id)
        self.both("compact", "--from", CONTENTS[0], sync_id)
        before = self.both("history", sync_id)
        # A directory on the same disk is linked locally; a server gets its records. The contents are the same.
        self.both("compact", "--from", source, sync_id)
        after = self.both("history", sync_id)
        self.assertNotEqual(after.splitlines()[1].split()[-1], before.splitlines()[1].split()[-1])
        self.assertIn("sound", self.both("verify"))
        self.both("merge", "--into", "other", sync_id)
        self.both("compact", "--from", source, "other", code=2)  # would empty it
        self.both("compact", "--from", NEWER, "other", code=2)
        self.both("compact", "--from", source, "other", "--allow-empty")
        self.both("compact", "--from", source, "nobody", code=2)
        self.both("compact", "--from", self.folder / "nowhere", sync_id, code=2)

    def test_the_exported_file_is_the_same_bytes_worth_of_records(self):
        self.known |= set(KSUID.findall(self.both("import", NEWER)))
        sync_id = self.both("list", "-o", "csv").splitlines()[1].split(",")[0]
        run("sync", "export", "--data-dir", self.folder / "local", sync_id, "-o", self.folder / "local.c1z")
        self.remote_ok("export", sync_id, "-o", self.folder / "remote.c1z")
        grants = [run("c1z", "grants", self.folder / f"{name}.c1z", "-o", "jsonl")[1] for name in ("local", "remote")]
        self.assertEqual(grants[0], grants[1])
        self.assertIn('"principal"', grants[0])

    def test_the_endpoint_may_stand_before_the_verb_or_after_it(self):
        self.assertEqual(run("--endpoint", self.server.address, "sync", "list")[0], 0)
        self.assertEqual(run("sync", "list", "--endpoint", self.server.address)[0], 0)
        self.assertEqual(run("sync", "--endpoint", self.server.address, "list")[0], 0)
        for words in (("sync", "list", "--endpoint", "127.0.0.1:1", "--data-dir", "d"), ("sync", "--data-dir", "d", "list", "--endpoint", "127.0.0.1:1"),
                      ("--endpoint", "127.0.0.1:1", "sync", "--data-dir", "d", "list")):
            code, _, error = run(*words)
            self.assertEqual((code, "exclude each other" in error), (2, True), f"{words}: {error}")
        self.assertEqual(run("--endpoint", self.server.address, "status")[0], 0)
        code, _, error = run("--endpoint", "127.0.0.1:1", "sync", "list")
        self.assertEqual(code, 2)
        self.assertIn("127.0.0.1:1", error)

    def test_a_file_is_named_whatever_its_name_is(self):
        self.both("import", CONTENTS[0])
        for folder in ("here", "there"):
            for name in ("s", "exists"):
                shutil.copy(CONTENTS[1], self.folder / folder / name)
        for name in ("s", "exists"):
            self.assertIn(f"vellum: {name}: sync ", self.both("import", name, code=2))

    def test_a_held_directory_is_refused_naming_the_endpoint(self):
        code, _, error = run("sync", "list", "--data-dir", self.server.data_dir)
        self.assertEqual(code, 2)
        self.assertIn("--endpoint", error)


def start(sync_id, **fields):
    return sync.WriteRequest(start=sync.WriteRequest.Start(run=sync.SyncRun(id=sync_id, type=b"full", started_at=1), **fields))


def grants(first, count):
    batch = sync.RecordBatch()
    for number in range(first, first + count):
        batch.records.add(type=sync.Record.GRANT, discovered_at=5, id=b"grant %d" % number, resource_type=b"group", resource=b"g1",
                          entitlement=b"group:g1:member", principal_type=b"user", principal=b"user %d" % number)
    return sync.WriteRequest(records=batch)


def checkpoint(token):
    return sync.WriteRequest(checkpoint=sync.WriteRequest.Checkpoint(token=token))


SEAL = sync.WriteRequest(seal=sync.WriteRequest.Seal(ended_at=2))


class Streams(SyncServiceTest):
    """The service by Python's gRPC."""

    def setUp(self):
        super().setUp()
        self.client = Client(self.server.address)
        self.addCleanup(lambda: self.client.close())
        self.syncs = sync_services.SyncsStub(self.client.channel)

    def fails(self, call, code, text):
        with self.assertRaises(grpc.RpcError) as raised:
            list(call) if hasattr(call, "__iter__") else call()
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        self.assertIn(text, raised.exception.details())

    def records_of(self, sync_id):
        return self.syncs.DescribeSync(sync.DescribeSyncRequest(sync_id=sync_id)).generation.records

    def test_a_sync_is_streamed_in(self):
        answers = list(self.syncs.Write(iter([start(b"s1"), grants(0, 100), checkpoint(b"page 1"), grants(50, 100), SEAL])))
        self.assertEqual(answers[0].WhichOneof("message"), "opened")
        self.assertEqual((answers[1].checkpointed.token, answers[1].checkpointed.records), (b"page 1", 100))
        self.assertEqual(answers[-1].sealed.generation.records, 150)
        self.assertEqual(self.records_of(b"s1"), 150)
        self.assertIn("sound", self.remote_ok("verify", "s1"))

    def test_a_large_record_comes_in_parts(self):
        data = bytes(range(256)) * 20_000
        asset = sync.WriteRequest(records=sync.RecordBatch(records=[
            sync.Record(type=sync.Record.ASSET, id=b"logo", content_type=b"image/png", data=data[5_000_000:])]))
        parts = [sync.WriteRequest(part=data[at:at + 1_000_000]) for at in range(0, 5_000_000, 1_000_000)]
        answers = list(self.syncs.Write(iter([start(b"s1"), *parts, asset, SEAL])))
        self.assertEqual(answers[-1].sealed.generation.records, 1)
        totals = max(each.bytes for each in answers[-1].sealed.generation.totals)
        self.assertGreater(totals, len(data))

    def test_nothing_is_done_to_syncs_that_nobody_named(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        # Written without a connector's name, so that an empty one names them.
        for sync_id in (b"s1", b"s2", b"s3", b"s4"):
            list(self.syncs.Write(iter([start(sync_id), grants(0, 1), SEAL])))
        self.fails(self.syncs.Retain(sync.RetainRequest()), invalid, "connector is missing")
        self.fails(self.syncs.Retain(sync.RetainRequest(keep=1, dry_run=True)), invalid, "connector is missing")
        self.fails(self.syncs.Rollup(sync.RollupRequest()), invalid, "connector is missing")
        self.fails(self.syncs.Export(sync.ExportRequest()), invalid, "no sync is named")
        self.assertEqual(self.records_of(b"s1"), 1)
        gone = [each.gone.sync_id for each in self.syncs.Retain(sync.RetainRequest(connector=b"", keep=3))
                if each.WhichOneof("message") == "gone"]
        self.assertEqual(gone, [b"s1"])

    def test_what_is_no_message_does_not_come_in_on_any_stream(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        list(self.syncs.Write(iter([start(b"s1"), grants(0, 3), SEAL])))
        run = sync.SyncRun(id=b"s1", type=b"full", ended_at=2)
        # No protobuf, a name that is no UTF-8, an annotation that ends too early.
        for data in (b"\xff\xff", b"\x1a\x02\xc3\x28", b"\x22\x02\x0a\x7f"):
            records = sync.RecordBatch(records=[sync.Record(type=sync.Record.RESOURCE, resource_type=b"t", id=b"x", data=data)])
            self.fails(self.syncs.Write(iter([start(b"s2"), sync.WriteRequest(records=records), SEAL])), invalid, "not protobuf")
            self.fails(self.syncs.Compact(iter([sync.CompactRequest(start=sync.CompactRequest.Start(sync_id=b"s1", run=run)),
                                                sync.CompactRequest(records=records)])), invalid, "not protobuf")
        self.assertEqual(self.sync_ids(), ["s1"])
        self.assertEqual(self.records_of(b"s1"), 3)

    def test_messages_out_of_order_are_refused_and_leave_nothing(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        self.fails(self.syncs.Write(iter([grants(0, 1)])), invalid, "not its start")
        self.fails(self.syncs.Write(iter([SEAL])), invalid, "not its start")
        self.fails(self.syncs.Write(iter([])), invalid, "ended without")
        self.fails(self.syncs.Write(iter([start(b"s1"), start(b"s1")])), invalid, "second time")
        self.fails(self.syncs.Write(iter([start(b"s1"), sync.WriteRequest()])), invalid, "empty")
        self.fails(self.syncs.Write(iter([start(b"s1"), sync.WriteRequest(part=b"x"), SEAL])), invalid, "parts of a record")
        self.fails(self.syncs.Write(iter([start(b"s1"), sync.WriteRequest(records=sync.RecordBatch(
            records=[sync.Record(type=9, id=b"x")]))])), invalid, "record type 9")
        self.fails(self.syncs.Write(iter([start(b"s1"), sync.WriteRequest(records=sync.RecordBatch(
            records=[sync.Record(type=sync.Record.GRANT, id=b"x")]))])), invalid, "")
        self.fails(self.syncs.Write(iter([start(b"s1"), sync.WriteRequest(records=sync.RecordBatch(records=[
            sync.Record(type=sync.Record.RESOURCE, resource_type=b"t", id=b"x", data=b"\xff\xff")]))])), invalid, "protobuf")
        self.fails(self.syncs.Merge(sync.MergeRequest(into=b"s1")), invalid, "one sync at least")
        self.fails(self.syncs.Write(iter([start(b"")])), invalid, "sync id")
        self.fails(self.syncs.Write(iter([start(b"x" * 1025)])), invalid, "1024")
        self.fails(self.syncs.Write(iter([start(b"s1", replace=True, resume=True)])), invalid, "not both")
        self.fails(self.syncs.Write(iter([start(b"nobody", resume=True)])), grpc.StatusCode.NOT_FOUND, "nobody")
        self.fails(self.syncs.Write(iter([start(b"s1"), grants(0, 5)])), grpc.StatusCode.FAILED_PRECONDITION, "without a seal")
        self.fails(self.syncs.Import(iter([sync.ImportRequest(chunk=b"x")])), invalid, "not its start")
        for name in (b"", b"..", b"a/", b"x" * 300, b"a\0b"):
            self.fails(self.syncs.Import(iter([sync.ImportRequest(start=sync.ImportRequest.Start(name=name))])), invalid, "file's name")
        self.fails(self.syncs.Compact(iter([sync.CompactRequest(part=b"x")])), invalid, "not its start")
        self.assertEqual(self.sync_ids(), [])
        self.assertEqual(self.syncs.Sweep(sync.SweepRequest()).directories, 0)

    def test_a_broken_stream_is_resumed_from_its_checkpoint(self):
        def broken():
            yield start(b"s1")
            yield grants(0, 1000)
            yield checkpoint(b"page 1")
            yield grants(1000, 1000)
            wait.until(lambda: kept, "the checkpoint is answered")
            call.cancel()

        kept = []
        call = self.syncs.Write(broken())
        with self.assertRaises(grpc.RpcError):
            for answer in call:
                if answer.WhichOneof("message") == "checkpointed":
                    kept.append(answer)

        def resumed():
            try:
                return list(self.syncs.Write(iter([start(b"s1", resume=True), grants(5000, 10), SEAL])))
            except grpc.RpcError as error:  # the server has not noticed yet that the first one is gone
                self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION, error.details())
                return None

        answers = wait.until(resumed, "the sync can be resumed")
        self.assertEqual(answers[0].opened.token, b"page 1")
        self.assertEqual(answers[-1].sealed.generation.records, 1010)

    def test_a_server_that_is_killed_while_records_stream_in(self):
        checkpointed = []

        def endless():
            yield start(b"s1")
            for page in range(10_000):
                yield grants(page * 100, 100)
                yield checkpoint(b"%d" % page)

        call = self.syncs.Write(endless())
        with self.assertRaises(grpc.RpcError):
            for answer in call:
                if answer.WhichOneof("message") != "checkpointed":
                    continue
                checkpointed.append(int(answer.checkpointed.token))
                if len(checkpointed) == 20:
                    self.server.kill()
        self.client.close()
        self.server.start()
        self.client = Client(self.server.address)
        self.syncs = sync_services.SyncsStub(self.client.channel)
        session = self.syncs.Write(iter([start(b"s1", resume=True), SEAL]))
        answers = list(session)
        kept = int(answers[0].opened.token)
        self.assertGreaterEqual(kept, checkpointed[-1], "what was acknowledged is there")
        self.assertEqual(answers[-1].sealed.generation.records, (kept + 1) * 100)
        self.assertIn("sound", self.remote_ok("verify"))
        self.assertEqual(self.syncs.Sweep(sync.SweepRequest()).directories, 0)

    def test_a_second_writer_is_refused_and_the_first_goes_on(self):
        refused = []

        def first():
            yield start(b"s1")
            yield grants(0, 10)
            yield checkpoint(b"1")
            wait.until(lambda: [each for each in self.syncs.ListSyncs(sync.ListSyncsRequest()) if each.run.token == b"1"],
                       "the checkpoint is kept")
            with self.assertRaises(grpc.RpcError) as raised:
                list(self.syncs.Write(iter([start(b"s1", resume=True)])))
            refused.append(raised.exception.code())
            yield SEAL

        answers = list(self.syncs.Write(first()))
        self.assertEqual(refused, [grpc.StatusCode.FAILED_PRECONDITION])
        self.assertEqual(answers[-1].sealed.generation.records, 10)

    def test_calls_above_the_limit_are_refused(self):
        self.server.stop()
        self.server.flags += ["--max-sync-streams=2"]
        self.server.start()
        wait_for_end = []

        def held(name):
            yield start(name)
            wait.until(lambda: wait_for_end, "the test is over")
            yield SEAL

        calls = [self.syncs.Write(held(name)) for name in (b"a", b"b")]
        for call in calls:
            self.assertEqual(next(call).WhichOneof("message"), "opened")
        self.fails(self.syncs.Write(iter([start(b"c")])), grpc.StatusCode.RESOURCE_EXHAUSTED, "--max-sync-streams")
        wait_for_end.append(True)
        for call in calls:
            list(call)
        self.assertEqual(sorted(self.sync_ids()), ["a", "b"])

    def test_stopping_the_server_ends_calls_that_wait(self):
        def quiet():
            yield start(b"s1")
            wait.until(lambda: self.server.process.poll() is not None, "the server has stopped")

        call = self.syncs.Write(quiet())
        next(call)
        self.assertEqual(self.server.stop(), 0)
        with self.assertRaises(grpc.RpcError) as raised:
            list(call)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)


class Catalog(SyncServiceTest):
    """What etcd's clients see of the catalog, and what they cannot do to it."""

    def setUp(self):
        super().setUp()
        self.ctl = etcdctl.Etcdctl(self.server)
        self.client = Client(self.server.address)
        self.addCleanup(self.client.close)

    def denied(self, *words, stdin=None):
        error = self.ctl.fails(*words, stdin=stdin)
        self.assertIn("PermissionDenied", error)
        self.assertIn("vellum sync", error)
        return error

    def test_it_is_read_and_watched(self):
        seen = self.server.directory / "watch.txt"
        watch = self.ctl.background("watch", "--prefix", "/vellum/", output=seen)
        self.addCleanup(watch.kill)
        self.remote_ok("import", NEWER)
        keys = self.ctl.ok("get", "--prefix", "/vellum/", "--keys-only").split()
        sync_id = self.sync_ids()[0]
        self.assertIn(f"/vellum/syncs/{sync_id}", keys)
        self.assertEqual(sum(key.startswith("/vellum/generations/") for key in keys), 1)

        def switch_was_seen():
            self.remote_ok("rollback", sync_id, "--to", self.remote_ok("show", sync_id, "-o", "csv").split("generation,")[1].split()[0])
            return f"/vellum/syncs/{sync_id}" in etcdctl.text_of(seen)

        wait.until(switch_was_seen, "the watch shows the switch")

    def test_puts_and_deletes_are_refused(self):
        self.remote_ok("import", NEWER)
        before = self.ctl.ok("get", "--prefix", "/vellum/")
        key = f"/vellum/syncs/{self.sync_ids()[0]}"
        self.assertIn(key, self.denied("put", key, "{}"))
        self.assertIn("/vellum/else", self.denied("put", "/vellum/else", "x"))
        self.assertIn(key, self.denied("del", key))
        self.denied("del", "--prefix", "/vellum/")
        self.denied("del", "--prefix", "/")
        self.denied("del", "--from-key", "a"[:0] + "/")
        self.denied("del", "--prefix", "")
        self.denied("txn", stdin=f"\n\nput {key} x\n\n\n")
        self.denied("txn", stdin=f"\nget a\n\ndel {key}\n\n")
        nested = pb.RequestOp(request_txn=pb.TxnRequest(failure=[
            pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))]))
        with self.assertRaises(grpc.RpcError) as raised:
            self.client.txn(success=[nested])
        self.assertEqual(raised.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        nested = pb.RequestOp(request_txn=pb.TxnRequest(failure=[pb.RequestOp(request_put=pb.PutRequest(key=key.encode()))]))
        with self.assertRaises(grpc.RpcError) as raised:
            self.client.txn(success=[nested])
        self.assertEqual(raised.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(self.ctl.ok("get", "--prefix", "/vellum/"), before)
        self.assertIn("sound", self.remote_ok("verify"))

    def test_everything_beside_it_works_as_ever(self):
        self.ctl.ok("put", "/vellum", "not a catalog key")
        self.ctl.ok("put", "/vellum0", "neither")
        self.ctl.ok("put", "/velluma", "nor this")
        self.assertEqual(self.ctl.ok("del", "/vellum/none"), "0\n")
        self.assertEqual(self.ctl.ok("del", "--prefix", "/vellum0"), "1\n")
        # No sync is there yet, so a range over the catalog's place is like any other.
        self.assertEqual(self.ctl.ok("del", "--prefix", "", "--prev-kv").split("\n")[0], "2")
        deleted = self.client.txn(success=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))])
        self.assertTrue(deleted.succeeded)
        self.assertEqual(deleted.responses[0].response_delete_range.deleted, 0)
        self.remote_ok("import", NEWER)
        self.ctl.ok("put", "a", "1")
        self.ctl.ok("put", "z", "1")
        self.assertEqual(self.ctl.ok("del", "a"), "1\n")
        self.assertEqual(self.ctl.ok("del", "--from-key", "x"), "1\n")
        self.assertEqual(self.ctl.ok("del", "/vellum/none"), "0\n")
        self.assertEqual(self.ctl.ok("del", "--prefix", "/vellum/syncs/none"), "0\n")

    def test_a_writers_lease_cannot_be_revoked_by_clients(self):
        syncs = sync_services.SyncsStub(self.client.channel)
        found = []

        def writing():
            yield start(b"s1")
            yield grants(0, 3)
            found.extend(wait.until(lambda: [kv.lease for kv in self.client.get(b"/vellum/generations/", b"/vellum/generations0").kvs
                                             if kv.lease], "the writer is registered"))
            for lease in found:
                with self.assertRaises(grpc.RpcError) as raised:
                    self.client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease))
                self.assertEqual(raised.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
                self.assertIn("vellum sync delete", raised.exception.details())
            yield SEAL

        answers = list(syncs.Write(writing()))
        self.assertTrue(found, "a sync that is being written holds a lease")
        self.assertEqual(answers[-1].sealed.generation.records, 3)
        mine = self.client.grant(60).ID
        self.client.lease.LeaseRevoke(pb.LeaseRevokeRequest(ID=mine))


if __name__ == "__main__":
    runner.main()
