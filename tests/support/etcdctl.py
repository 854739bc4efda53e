"""etcdctl, unmodified: Debian's 3.4, and a 3.6 where the environment names one."""
import json
import os
import pathlib
import shutil
import subprocess

from .server import PATIENCE

DEBIAN = shutil.which("etcdctl") or "etcdctl"
NEWER = os.environ.get("VELLUM_ETCDCTL36")
NO_NEWER = "VELLUM_ETCDCTL36 does not name an etcdctl 3.6"


class Etcdctl:
    """Calls one etcdctl against one server."""

    def __init__(self, server, program=DEBIAN):
        self.server = server
        self.program = program

    def _environment(self):
        return {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}

    def words(self, *arguments):
        return [self.program, "--endpoints", self.server.address, f"--dial-timeout={max(5, int(5 * PATIENCE))}s",
                f"--command-timeout={max(20, int(20 * PATIENCE))}s", *arguments]

    def run(self, *arguments, stdin=None, seconds=60):
        """(exit code, standard output, standard error)."""
        done = subprocess.run(self.words(*arguments), input=stdin, capture_output=True, encoding="utf-8", errors="replace", check=False,
                              env=self._environment(), timeout=seconds * PATIENCE,
                              **({} if stdin is not None else {"stdin": subprocess.DEVNULL}))
        return done.returncode, done.stdout, done.stderr

    def ok(self, *arguments, stdin=None, seconds=60):
        """Standard output of a call that must succeed."""
        code, out, err = self.run(*arguments, stdin=stdin, seconds=seconds)
        if code != 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)} ended with {code}: {out}{err}")
        return out

    def json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, "-w", "json", **options))

    def fails(self, *arguments, stdin=None):
        """Standard error of a call that must fail."""
        code, out, err = self.run(*arguments, stdin=stdin)
        if code == 0:
            raise AssertionError(f"etcdctl {' '.join(arguments)} did not fail: {out}")
        return err + out

    def background(self, *arguments, output):
        """A running etcdctl that writes to the file `output`; the caller ends it."""
        with open(output, "wb") as sink:
            return subprocess.Popen(self.words(*arguments), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                                    env=self._environment())


def text_of(path):
    return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
