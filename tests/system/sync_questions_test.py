"""What is asked of syncs and of files, through the program: listings, single records, access and differences.

The fixtures' dumps, which the reference implementation wrote, say what the answers are.
"""
import csv
import io
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

from support import runner  # noqa: E402
from support.server import PATIENCE, PROGRAM, SOURCE, ServerTest  # noqa: E402

FIXTURES = SOURCE / "tests" / "fixtures" / "c1z"
SEED = int(os.environ.get("VELLUM_TEST_SEED", random.SystemRandom().randrange(2**32)))


def dump(name):
    """The records of a fixture's first sync by bucket: lists of (id parts, fields)."""
    text = subprocess.run(["zstd", "-dcq", FIXTURES / f"{name}.dump.jsonl.zst"], check=True, capture_output=True).stdout
    records = {}
    for line in text.decode().split("\n")[:-1]:
        row = json.loads(line)
        records.setdefault(row["bucket"], []).append((tuple(row["id"]), row["rec"]))
    return records


def identity(kind, record):
    """The parts of a printed record, as the dump has them."""
    if kind in ("resource_type", "asset"):
        return (record["id"],)
    if kind == "resource":
        return record["type"], record["id"]
    resource = record["resource"]["type"], record["resource"]["id"]
    if kind == "entitlement":
        return *resource, record["id"]
    return *resource, record["entitlement"], record["principal"]["type"], record["principal"]["id"]


class Questions(ServerTest):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="vellum-questions-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.data_dir = os.path.join(self.directory, "data")
        self.random = random.Random(SEED)
        print(f"VELLUM_TEST_SEED={SEED}", flush=True)

    def run_program(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=120 * PATIENCE)
        self.assertEqual(done.returncode, code, f"{arguments}: {done.stdout[-2000:]}{done.stderr}")
        return done

    def sync(self, verb, *arguments, code=0):
        return self.run_program("sync", verb, "--data-dir", self.data_dir, *arguments, code=code)

    def start_afresh(self):
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def take_in(self, *names):
        """Imports fixtures; their syncs' ids."""
        ids = []
        for name in names:
            self.sync("import", FIXTURES / f"{name}.c1z")
            known = [json.loads(line)["id"] for line in self.sync("list", "-o", "jsonl").stdout.splitlines()]
            ids += [each for each in known if each not in ids]
        return ids

    def listed(self, kind, verb, sync, *filters):
        lines = self.sync(verb, sync, "-o", "jsonl", *filters).stdout.split("\n")[:-1]  # U+2028 is part of a line
        records = [json.loads(line) for line in lines]
        return sorted(identity(kind, record) for record in records if "id" in record)

    def test_listings_by_every_filter(self):
        for name in ("tiny.v1", "dir.v3"):
            with self.subTest(name):
                self.start_afresh()
                sync, = self.take_in(name)
                records = dump(name)
                grants = sorted({parts[:5] for parts, _ in records["grant"]})
                self.assertEqual(self.listed("grant", "grants", sync), grants)
                for kind, verb in (("resource_type", "resource-types"), ("resource", "resources"),
                                   ("entitlement", "entitlements"), ("asset", "assets")):
                    self.assertEqual(self.listed(kind, verb, sync), sorted(parts for parts, _ in records[kind]))
                for _ in range(12):
                    one = self.random.choice(grants)
                    chosen = {
                        "--resource": (f"{one[0]}:{one[1]}", lambda g, one=one: g[:2] == one[:2]),
                        "--resource-type": (one[0], lambda g, one=one: g[0] == one[0]),
                        "--entitlement": (one[2], lambda g, one=one: g[2] == one[2]),
                        "--principal": (f"{one[3]}:{one[4]}", lambda g, one=one: g[3:5] == one[3:5]),
                        "--principal-type": (one[3], lambda g, one=one: g[3] == one[3]),
                    }
                    if ":" in one[0] or ":" in one[3]:  # such types are not written TYPE:ID
                        del chosen["--resource"], chosen["--principal"]
                    used = self.random.sample(sorted(chosen), self.random.randint(1, len(chosen)))
                    flags = [part for flag in used for part in (flag, chosen[flag][0])]
                    expected = [each for each in grants if all(chosen[flag][1](each) for flag in used)]
                    self.assertEqual(self.listed("grant", "grants", sync, *flags), expected, flags)
                    file_flags = self.run_program("c1z", "grants", FIXTURES / f"{name}.c1z", "-o", "jsonl", *flags).stdout
                    self.assertEqual(sorted({identity("grant", json.loads(line)) for line in file_flags.split("\n")[:-1]}), expected)
                    principals = sorted({each[3:5] for each in expected})
                    self.assertEqual(self.listed("resource", "principals", sync, *flags), principals)
                waiting = sorted({parts[:5] for parts, fields in records["grant"] if fields.get("needs_expansion")})
                self.assertEqual(self.listed("grant", "grants", sync, "--needs-expansion"), waiting)
                with_parent = [(parts, fields["parent"]) for parts, fields in records["resource"] if "parent" in fields]
                parent = self.random.choice(with_parent)[1]
                self.assertEqual(self.listed("resource", "resources", sync, "--parent", ":".join(parent)),
                                 sorted(parts for parts, at in with_parent if at == parent))

    def test_pages_and_their_tokens(self):
        sync, other = self.take_in("tiny.v1", "multi-full-2.v1")
        if "".join(self.listed("grant", "grants", sync)[0]).find("zoe") < 0:
            sync, other = other, sync
        everything = self.listed("grant", "grants", sync)
        seen = []
        token = ""
        for _ in range(len(everything)):
            page = json.loads(self.sync("grants", sync, "-o", "json", "--limit", 2, "--page-token", token).stdout)
            seen += [identity("grant", grant) for grant in page["grants"]]
            token = page["next_page_token"]
            if not token:
                break
        self.assertEqual(sorted(seen), everything)
        token = json.loads(self.sync("grants", sync, "-o", "json", "--limit", 2).stdout)["next_page_token"]
        for wrong in (token[:-1], token + "A", "B" + token[1:], token[::-1], "x" * 2_000, "%"):
            self.assertIn("page token", self.sync("grants", sync, "--page-token", wrong, code=2).stderr)
        self.assertIn("another question", self.sync("grants", other, "--page-token", token, code=2).stderr)
        self.assertIn("another question", self.sync("principals", sync, "--page-token", token, code=2).stderr)
        # The sync is switched in between: the pages go on in what they began with, as long as that is there.
        self.sync("merge", "--into", sync, other)
        rest = json.loads(self.sync("grants", sync, "-o", "json", "--page-token", token).stdout)["grants"]
        self.assertEqual(len(rest) + 2, len(everything))

    def test_formats(self):
        sync, = self.take_in("tiny.v1")
        whole = json.loads(self.sync("resources", sync, "-o", "json").stdout)
        rows = list(csv.DictReader(io.StringIO(self.sync("resources", sync, "-o", "csv").stdout)))
        self.assertEqual([(row["type"], row["id"]) for row in rows], [(each["type"], each["id"]) for each in whole["resources"]])
        table = self.sync("resources", sync).stdout.split("\n")[:-1]
        self.assertEqual(len(table), len(rows) + 1)
        self.assertEqual(whole["pending_expansions"],
                         sum(1 for _, fields in dump("tiny.v1")["grant"] if fields.get("needs_expansion")))
        self.assertIn("wait for expansion", self.sync("grants", sync).stderr)
        self.assertEqual(self.sync("grants", sync, "--resource", "nonsense", code=2).stdout, "")

    def test_get(self):
        sync, = self.take_in("tiny.v1")
        records = dump("tiny.v1")
        for kind in ("resource_type", "entitlement", "asset"):
            for parts, _ in records[kind]:
                flags = ("--resource", ":".join(parts[:2])) if parts[-1] == "member" else ()
                found = json.loads(self.sync("get", sync, kind.replace("_", "-"), parts[-1], "-o", "json", *flags).stdout)
                self.assertEqual(identity(kind, found), parts)
        for parts, _ in records["grant"]:
            if parts[2] == "member":
                continue
            found = json.loads(self.sync("get", sync, "grant", f"{parts[2]}:{parts[3]}:{parts[4]}", "-o", "json").stdout)
            self.assertEqual(identity("grant", found), parts[:5])
            by_own_id = json.loads(self.sync("get", sync, "grant", found["id"], "-o", "json").stdout)
            self.assertEqual(by_own_id, found)
        self.assertEqual(json.loads(self.sync("get", sync, "resource", "user:a:b:c", "-o", "json").stdout)["id"], "a:b:c")
        holders = [parts for parts, _ in records["entitlement"] if parts[2] == "member"]
        several = [parts for parts, _ in records["grant"] if parts[2] == "member"]
        if len(holders) > 1:
            self.assertIn("may mean", self.sync("get", sync, "entitlement", "member", code=2).stderr)
        both = self.sync("get", sync, "grant", "member:user:zoe", code=2).stderr
        self.assertIn('["group","g1","member","user","zoe","member-g1-zoe"]', both)
        self.assertIn('["group","g2","member","user","zoe","member-g2-zoe"]', both)
        self.assertGreater(len(several), 0)
        self.assertIn("has no grant", self.sync("get", sync, "grant", "nobody:has:this", code=2).stderr)
        self.assertIn("there are no records of type", self.sync("get", sync, "thing", "x", code=2).stderr)
        asset = records["asset"][0][0][0]
        out = os.path.join(self.directory, "asset")
        self.sync("get", sync, "asset", asset, "--out", out)
        described = json.loads(self.sync("get", sync, "asset", asset, "-o", "json").stdout)
        self.assertEqual(os.path.getsize(out), described["size"])
        self.assertIn("exists already", self.sync("get", sync, "asset", asset, "--out", out, code=2).stderr)

    def test_access_of_syncs_and_files(self):
        for name in ("dir.v1", "dir.v3", "tiny.v1"):
            with self.subTest(name):
                self.start_afresh()
                sync, = self.take_in(name)
                records = dump(name)
                names = {parts: fields.get("display_name", "") for parts, fields in records["resource"]}
                grants = {parts[:5]: fields for parts, fields in records["grant"]}
                one = self.random.choice(sorted(grants, key=repr))
                if ":" in one[0] or ":" in one[3]:
                    one = next(parts for parts in grants if ":" not in parts[0] + parts[3])
                for flags, part in ((("--principal", f"{one[3]}:{one[4]}"), slice(3, 5)),
                                    (("--resource", f"{one[0]}:{one[1]}"), slice(0, 2))):
                    flags = (*flags, "--why", "-o", "json")
                    answer = json.loads(self.sync("access", sync, *flags).stdout)
                    expected = sorted(parts for parts in grants if parts[part] == one[part])
                    found = sorted(identity("grant", row) for row in answer["access"])
                    self.assertEqual(found, expected)
                    for row in answer["access"]:
                        sources = grants[identity("grant", row)].get("sources", {})
                        self.assertEqual(row["direct"], not sources or row["entitlement"] in sources, row)
                        self.assertEqual({chain["steps"][0]["entitlement"] for chain in row["chains"]},
                                         set(sources) - {row["entitlement"]})
                        self.assertEqual(row.get("resource_name", ""), names.get((row["resource"]["type"], row["resource"]["id"]), ""))
                    of_file = json.loads(self.run_program("c1z", "access", FIXTURES / f"{name}.c1z", *flags).stdout)
                    self.assertEqual(of_file, answer)
        self.assertIn("one of the two", self.sync("access", sync, code=2).stderr)
        self.assertEqual(json.loads(self.sync("access", sync, "--principal", "user:nobody", "-o", "json").stdout)["access"], [])

    def test_differences(self):
        before, after = dump("tiny.v1"), dump("multi-full-2.v1")
        ids = self.take_in("tiny.v1", "multi-full-2.v1")
        counts = json.loads(self.sync("diff", *ids, "--summary", "-o", "json", code=1).stdout)
        full = json.loads(self.sync("diff", *ids, "-o", "json", code=1).stdout)
        for row in counts["summary"]:
            kind = row["record_type"][:-1]
            old = {parts[:5] for parts, _ in before.get(kind, [])}
            new = {parts[:5] for parts, _ in after.get(kind, [])}
            self.assertEqual(row["added"], len(new - old))
            self.assertEqual(row["removed"], len(old - new))
            of_kind = [each for each in full["differences"] if each["record_type"] == kind]
            for change, there in (("added", new - old), ("removed", old - new)):
                shown = {identity(kind, each["after" if change == "added" else "before"])
                         for each in of_kind if each["change"] == change}
                self.assertEqual(shown, there)
            changed = [each for each in of_kind if each["change"] == "changed"]
            self.assertEqual(len(changed), row["changed"])
            self.assertLessEqual({identity(kind, each["after"]) for each in changed}, old & new)
            self.assertEqual(full["summary"][row["record_type"]], {key: row[key] for key in ("added", "removed", "changed")})
        files = (FIXTURES / "tiny.v1.c1z", FIXTURES / "multi-full-2.v1.c1z")
        self.assertEqual(json.loads(self.run_program("c1z", "diff", *files, "-o", "json", code=1).stdout)["differences"],
                         full["differences"])
        self.assertEqual(json.loads(self.sync("diff", ids[0], files[1], "--summary", "-o", "json", code=1).stdout), counts)
        self.assertEqual(json.loads(self.sync("diff", ids[0], files[0], "-o", "json").stdout)["differences"], [])
        self.assertFalse(json.loads(self.run_program("c1z", "diff", files[0], files[0], "-o", "json").stdout)["differ"])

    def test_differences_between_generations(self):
        base, partial = self.take_in("dir.v1", "dir-newer.v1")
        self.sync("merge", "--strategy", "fold", "--into", base, partial)
        generations = [json.loads(line)["generation"] for line in self.sync("history", base, "-o", "jsonl").stdout.splitlines()]
        self.assertEqual(len(generations), 2)
        changes = json.loads(self.sync("diff", f"{base}@{generations[1]}", base, "-o", "json", code=1).stdout)
        self.assertEqual({each["change"] for each in changes["differences"]}, {"added", "changed"})
        self.assertGreater(changes["files_skipped"], 0)
        touched = {(each["record_type"], identity(each["record_type"], each["after"])) for each in changes["differences"]}
        partial_records = {(kind, parts) for kind, verb in (("resource_type", "resource-types"), ("resource", "resources"),
                                                           ("entitlement", "entitlements"), ("grant", "grants"))
                           for parts in self.listed(kind, verb, partial)}
        self.assertLessEqual(touched, partial_records)
        self.sync("diff", f"{base}@{generations[0]}", base)
        self.assertIn("not in the history", self.sync("diff", f"{base}@{'0' * 27}", base, code=2).stderr)
        old = self.listed("grant", "grants", f"{base}@{generations[1]}")
        self.assertEqual(old, sorted({parts[:5] for parts, _ in dump("dir.v1")["grant"]}))


class Surroundings(unittest.TestCase):
    """What the system refuses to the program."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="vellum-questions-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def test_full_output_is_a_failure(self):
        for format in ("table", "json", "jsonl", "csv"):
            with open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, "c1z", "grants", FIXTURES / "tiny.v1.c1z", "-o", format], stdout=full,
                                      stderr=subprocess.PIPE, text=True, timeout=120 * PATIENCE)
            self.assertEqual(done.returncode, 2, format)
            self.assertIn("standard output", done.stderr)

    def test_one_thread_is_enough_for_files(self):
        for file in ("tiny.v1.c1z", "dir.v1.c1z", "dir.v3.c1z", "dir-newer.v1.c1z"):
            shutil.copy(FIXTURES / file, self.directory)
        os.chmod(self.directory, 0o777)
        nobody = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}

        def alone(*arguments):
            return subprocess.run(arguments, capture_output=True, text=True, timeout=120 * PATIENCE, cwd=self.directory,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)), **nobody)

        def starts_threads():
            code = "import threading; threading.Thread(target=print).start()"
            return alone(sys.executable, "-c", code).returncode == 0

        if alone(PROGRAM, "version").returncode != 0 or starts_threads():
            self.skipTest("this system's processes start threads beyond RLIMIT_NPROC, or cannot be another user's")
        for words in (("verify", "dir.v1.c1z"), ("verify", "dir.v3.c1z"), ("diff", "tiny.v1.c1z", "tiny.v1.c1z"),
                      ("merge", "-o", "out.c1z", "dir.v1.c1z", "dir-newer.v1.c1z")):
            done = alone(PROGRAM, "c1z", *words)
            self.assertEqual(done.returncode, 0, f"{words}: {done.stdout}{done.stderr}")
        self.assertIn("the first file edited", done.stdout)
        refused = alone(PROGRAM, "sync", "import", "--data-dir", "data", "tiny.v1.c1z")
        self.assertEqual((refused.returncode, "refuses the threads" in refused.stderr), (2, True), refused.stderr)
        done = subprocess.run([PROGRAM, "c1z", "verify", os.path.join(self.directory, "out.c1z")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class QuestionsToServer(Questions):
    """The same questions to a running server, with the same answers."""

    def setUp(self):
        super().setUp()
        self.server = self.start_server()

    def sync(self, verb, *arguments, code=0):
        return self.run_program("--endpoint", self.server.address, "sync", verb, *arguments, code=code)

    def start_afresh(self):
        for line in self.sync("list", "-o", "jsonl").stdout.splitlines():
            self.sync("delete", json.loads(line)["id"])


if __name__ == "__main__":
    runner.main()
