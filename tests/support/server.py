"""A server under test: a real process with a data directory and ports of its own."""
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from . import wait

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VELLUM_BUILD_DIR", SOURCE / "build" / "dev")).resolve()
PROGRAM = BUILD / "vellum"
# Another program to run the tests against, started as etcd is: how the tests themselves are checked against etcd.
STAND_IN = os.environ.get("VELLUM_TEST_SERVER")
READY = "ready to serve client requests"
# Runs under a sanitizer take several times as long.
PATIENCE = float(os.environ.get("VELLUM_TEST_PATIENCE", "1"))


def free_port():
    """A port that nobody listens on, from below the range that the kernel hands to clients."""
    for _ in range(200):
        port = random.SystemRandom().randrange(10240, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port found")


class Server:
    """One server process. `flags` are given to every start; the data directory stays over restarts."""

    def __init__(self, directory, flags=(), as_etcd=False, env=None, listen=True):
        self.directory = pathlib.Path(directory)
        self.data_dir = self.directory / "data"
        self.log_path = self.directory / "server.log"
        self.flags = list(flags)
        self.as_etcd = as_etcd or STAND_IN is not None
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("ETCD_", "ETCDCTL_"))} | (env or {})
        self.listen = listen
        self.port = free_port()
        self.peer_port = free_port()
        self.process = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def command(self):
        if STAND_IN is not None:
            program = [STAND_IN]
        elif self.as_etcd:
            link = self.directory / "etcd"
            if not link.is_symlink():
                link.symlink_to(PROGRAM)
            program = [str(link)]
        else:
            program = [str(PROGRAM), "serve"]
        words = program + [f"--data-dir={self.data_dir}"]
        if self.listen:
            words += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        if self.as_etcd:
            peer = f"http://127.0.0.1:{self.peer_port}"
            words += ["--name=default", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                      f"--initial-cluster=default={peer}", "--initial-cluster-state=new"]
        return words + self.flags

    def launch(self):
        """Starts the process without waiting for anything."""
        assert self.process is None or self.process.poll() is not None
        with open(self.log_path, "ab") as log:
            self.log_start = log.tell()
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                            cwd=self.directory)
        return self

    def start(self, seconds=60):
        """Starts, and returns once it serves."""
        self.launch()

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            return READY in self.log()

        wait.until(ready, "the server is ready", seconds * PATIENCE)
        return self

    def log(self):
        """What it has logged since its last start."""
        with open(self.log_path, "rb") as log:
            log.seek(self.log_start)
            return log.read().decode("utf-8", "replace")

    def exit_code(self, seconds=30):
        """Waits for its end."""
        return self.process.wait(seconds * PATIENCE)

    def stop(self):
        """SIGTERM, and the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.stop()
        return self.start()


class ServerTest(unittest.TestCase):
    """A test with servers. Each test has its own temporary directory; whatever it started is gone afterwards."""

    maxDiff = 4000

    def temporary_directory(self):
        directory = tempfile.mkdtemp(prefix="vellum-test-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return pathlib.Path(directory)

    def make_server(self, *flags, **options):
        server = Server(self.temporary_directory(), flags, **options)
        self.addCleanup(self._finish, server)
        return server

    def start_server(self, *flags, **options):
        return self.make_server(*flags, **options).start()

    def _finish(self, server):
        if server.process is None:
            return
        died = server.process.poll() is not None and server.process.returncode not in (0, 1, -signal.SIGKILL, -signal.SIGTERM)
        server.kill()
        outcome = getattr(self, "_outcome", None)
        if died or (outcome and not outcome.success):
            print(f"--- the end of {server.log_path} (exit code {server.process.returncode}):")
            print(server.log()[-3000:], flush=True)
        if died:
            raise AssertionError(f"the server died with {server.process.returncode}")
