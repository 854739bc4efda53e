"""Servers to be measured: started, stopped, killed, looked at from outside."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

# What a server may need to stop or to become ready with ten million keys.
PATIENCE = 600
# A server that still works at something after so long is measured as it is.
SETTLE_SECONDS = 30


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def disk_bytes(path):
    """What the files under a folder take on the disk, each counted once."""
    seen, total = set(), 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue  # it was being replaced
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total


class Server:
    """One server on a data directory of its own. `bench` is the program whose load it is put under."""

    def __init__(self, name, program, bench, folder):
        self.name, self.program, self.bench = name, program, bench
        self.directory = tempfile.mkdtemp(prefix=f"bench-{name}-", dir=folder)
        self.port, self.peer_port = free_ports(2)
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.port}"

    def words(self):
        url, peer = f"http://{self.endpoint}", f"http://127.0.0.1:{self.peer_port}"
        common = [f"--data-dir={self.directory}/data", f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
        if self.name == "vellum":
            return [self.program, "serve", *common]
        # Without a quota of its own etcd stops at 2 GiB.
        return [self.program, *common, f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}", "--quota-backend-bytes=34359738368", "--log-level=error"]

    def start(self):
        """Seconds from the start of the process to the first answer to a linearizable read."""
        started = time.monotonic()
        with open(f"{self.directory}/log", "ab") as log:
            self.process = subprocess.Popen(self.words(), stdout=log, stderr=log)
        waited = subprocess.run([self.bench, "bench", "ready", f"--endpoint={self.endpoint}", f"--seconds={PATIENCE}", "-o", "json"],
                                capture_output=True, text=True, check=False)
        if waited.returncode != 0:
            raise RuntimeError(f"{self.name} did not start: {waited.stderr}; see {self.directory}/log")
        return json.loads(waited.stdout)["ready_at_monotonic"] - started

    def load(self, *arguments):
        """The report of one `vellum bench`."""
        done = subprocess.run([self.bench, "bench", *arguments, f"--endpoint={self.endpoint}", f"--server-pid={self.process.pid}",
                               "-o", "json"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: bench {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def settle(self):
        """Waits until the server has done what it put off: a hundredth of a processor or less for half a second."""
        def ticks():
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])

        deadline = time.monotonic() + SETTLE_SECONDS
        before = ticks()
        while time.monotonic() < deadline:
            time.sleep(0.5)
            now = ticks()
            if now - before <= os.sysconf("SC_CLK_TCK") // 200 + 1:
                return
            before = now

    def defragment(self):
        started = time.monotonic()
        subprocess.run([self.bench, "defrag", f"--endpoint={self.endpoint}", f"--timeout={PATIENCE}"], capture_output=True, check=True)
        return time.monotonic() - started

    def data_bytes(self):
        """The store without etcd's log of the raft, whose files are preallocated; Vellum's log counts."""
        data = pathlib.Path(self.directory, "data")
        return disk_bytes(data if self.name == "vellum" else data / "member" / "snap")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def find_etcd(build):
    """The peer: etcd as bench/go.mod pins it, built into the build folder if there is Go, else Debian's; None without both."""
    here = pathlib.Path(__file__).resolve().parent
    built = (build / "etcd-peer").resolve()
    go = shutil.which("go")
    if go is not None:
        if not built.exists() or built.stat().st_mtime < (here / "go.mod").stat().st_mtime:
            print("building etcd", flush=True)
            done = subprocess.run([go, "build", "-trimpath", "-o", str(built), "go.etcd.io/etcd/server/v3"], cwd=here,
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"etcd cannot be built, so Debian's is measured: {done.stderr.strip()[-400:]}", flush=True)
                return shutil.which("etcd", path="/usr/bin")
        return str(built)
    return shutil.which("etcd", path="/usr/bin")
