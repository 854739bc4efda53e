"""`vellum sync` is killed at random moments, again and again, while it imports, replaces, merges, rolls back and sweeps.

After each kill every sync is wholly what it was or wholly what it was to become, over all buckets (the digest of its records, and
`vellum sync verify` for the indexes), and the next opening leaves nothing behind: no staging, no trash, no generation that nothing
refers to. VELLUM_SYNC_CRASH_ROUNDS says how often (30).
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

from support import runner  # noqa: E402
from support.server import PATIENCE, PROGRAM, SOURCE  # noqa: E402

ROUNDS = int(float(os.environ.get("VELLUM_SYNC_CRASH_ROUNDS", "30")) * float(os.environ.get("VELLUM_TEST_SCALE", "1")))
SEED = int(os.environ.get("VELLUM_TEST_SEED", random.SystemRandom().randrange(2**32)))
FIXTURES = SOURCE / "tests" / "fixtures" / "c1z"
# Two contents of one sync, and a partial that is merged into a third.
CONTENTS = (FIXTURES / "multi-full-2.v1.c1z", FIXTURES / "multi-replacement.v1.c1z")
PARTIAL = FIXTURES / "tiny-partial.v1.c1z"


class SyncCrash(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="vellum-sync-crash-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.data_dir = os.path.join(self.directory, "data")
        self.random = random.Random(SEED)
        print(f"VELLUM_TEST_SEED={SEED}", flush=True)

    def start(self, *arguments):
        return subprocess.Popen([PROGRAM, "sync", arguments[0], "--data-dir", self.data_dir, *arguments[1:]],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_to_end(self, *arguments):
        process = self.start(*arguments)
        out, error = process.communicate(timeout=120 * PATIENCE)
        self.assertEqual(process.returncode, 0, f"{arguments}: {out}{error}")
        return out

    def killed(self, *arguments):
        """Starts the command and kills it after a random part of what it takes. True if it came to its end before."""
        process = self.start(*arguments)
        try:
            process.wait(timeout=self.random.uniform(0.0, self.span))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=60)
        self.assertIn(process.returncode, (0, -9), f"{arguments}")
        return process.returncode == 0

    def digests(self):
        """What each sync is now, after an opening that sweeps."""
        syncs = {}
        for entry in json.loads(self.run_to_end("list", "-o", "json")):
            fields = json.loads(self.run_to_end("show", entry["id"], "-o", "json"))
            syncs[entry["id"]] = {field["field"]: field["value"] for field in fields}["digest"]
        return syncs

    def check_nothing_left(self):
        data = pathlib.Path(self.data_dir)
        for name in ("staging", "trash"):
            self.assertEqual(os.listdir(data / name), [], name)
        self.assertFalse((data / "unregistered").exists())
        self.assertEqual([name for name in os.listdir(data) if name.startswith(".")], [])
        referred = set()
        for entry in json.loads(self.run_to_end("list", "-o", "json")):
            for generation in json.loads(self.run_to_end("history", entry["id"], "-o", "json")):
                referred.add(generation["generation"])
        self.assertEqual(set(os.listdir(data / "generations")), referred)

    def test_each_sync_is_wholly_old_or_new(self):
        self.run_to_end("import", str(CONTENTS[0]), str(PARTIAL))
        (replaced, first), = [item for item in self.digests().items() if item[0].startswith("3ANgNK7c")]
        partial = next(sync for sync in self.digests() if sync != replaced)
        began = time.monotonic()
        self.run_to_end("import", "--replace", str(CONTENTS[1]))
        self.span = (time.monotonic() - began) * 1.2  # what a command takes here, and a little more
        second = self.digests()[replaced]
        self.assertNotEqual(first, second)
        self.run_to_end("merge", "--into", "united", replaced, partial)
        # Merging the other content into it again may replace records; each such state is one that a whole merge made.
        united = {self.digests()["united"]}
        ended = 0
        for round_number in range(ROUNDS):
            with self.subTest(round=round_number, seed=SEED):
                kind = self.random.choice(("import", "merge", "rollback", "compact", "sweep"))
                if kind == "import":
                    ended += self.killed("import", "--replace", str(self.random.choice(CONTENTS)))
                elif kind == "merge":
                    ended += self.killed("merge", "--into", f"made-{round_number}", replaced, partial)
                elif kind == "rollback":
                    ended += self.killed("rollback", replaced)
                elif kind == "compact":
                    ended += self.killed("compact", "--from", str(self.random.choice(CONTENTS)), replaced)
                else:
                    ended += self.killed("sweep")
                now = self.digests()
                self.assertIn(now[replaced], (first, second))
                self.assertIn(now["united"], united)
                self.check_nothing_left()
                self.run_to_end("verify")
                for name in [sync for sync in now if sync.startswith("made-")]:
                    self.run_to_end("delete", name)
        print(f"{ended} of {ROUNDS} commands came to their end", flush=True)
        self.assertGreater(ROUNDS, ended, "no command was ever killed: the moments are too late")


if __name__ == "__main__":
    runner.main()
