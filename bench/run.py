#!/usr/bin/env python3
"""Runs the named workloads against Vellum and, where it is installed, etcd, one after the other on this machine.

    bench/run.py --build build/release [--only put-100 ...] [--scale 0.1] [--without-etcd]

The machines that this runs on are noisy, so what counts is the ratio of two servers in one run, and the processor time that the
server took for an operation. Each workload gets a fresh server.
"""
import argparse
import json
import pathlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# name: (workload, connections, clients, operations, keys, value bytes, keys to load first)
WORKLOADS = {
    "put-1": ("put", 1, 1, 3_000, 10_000, 256, 0),
    "put-100": ("put", 10, 100, 50_000, 10_000, 256, 0),
    "txn-100": ("txn", 10, 100, 5_000, 100_000, 256, 0),
    "get-1": ("get", 1, 1, 10_000, 10_000, 256, 10_000),
    "get-100": ("get", 10, 100, 100_000, 10_000, 256, 10_000),
    "page-100": ("page", 10, 100, 20_000, 100_000, 256, 100_000),
    "count-100": ("count", 10, 100, 20_000, 100_000, 256, 100_000),
    "keepalive-100": ("keepalive", 10, 100, 30_000, 1, 0, 0),
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, program, as_etcd):
        self.directory = tempfile.mkdtemp(prefix="vellum-bench-")
        self.port = free_port()
        url, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{free_port()}"
        words = [program] + ([] if as_etcd else ["serve"])
        words += [f"--data-dir={self.directory}/data", f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
        if as_etcd:
            words += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
        self.log = open(f"{self.directory}/log", "wb")
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while b"ready to serve client requests" not in pathlib.Path(self.directory, "log").read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} did not start; see {self.directory}/log")
            threading.Event().wait(0.05)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def load(program, server, workload, connections, clients, operations, keys, value_bytes):
    done = subprocess.run([program, f"--endpoint=127.0.0.1:{server.port}", f"--workload={workload}", f"--connections={connections}",
                           f"--clients={clients}", f"--operations={operations}", f"--keys={keys}", f"--value-bytes={value_bytes}"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{workload}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def measure(program, name, server, scale):
    workload, connections, clients, operations, keys, value_bytes, loaded = WORKLOADS[name]
    if loaded:
        load(program, server, "put", 10, 100, max(1, int(loaded * scale)), keys, value_bytes)
    before = server.cpu_seconds()
    result = load(program, server, workload, connections, clients, max(1, int(operations * scale)), keys, value_bytes)
    result["cpu_us"] = (server.cpu_seconds() - before) * 1e6 / result["operations"]
    result["resident_mib"] = server.resident_mib()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--without-etcd", action="store_true")
    arguments = parser.parse_args()
    build = pathlib.Path(arguments.build)
    servers = {"vellum": (str(build / "vellum"), False)}
    etcd = shutil.which("etcd")
    if etcd and not arguments.without_etcd:
        servers["etcd"] = (etcd, True)
    print(f"{'workload':14} {'server':7} {'per second':>11} {'p50 us':>8} {'p99 us':>8} {'cpu us/op':>10} {'MiB':>6}")
    for name in arguments.only:
        results = {}
        for server_name, (program, as_etcd) in servers.items():
            server = Server(program, as_etcd)
            try:
                results[server_name] = result = measure(str(build / "vellum_load"), name, server, arguments.scale)
            finally:
                server.stop()
            print(f"{name:14} {server_name:7} {result['per_second']:11.0f} {result['p50_us']:8.0f} {result['p99_us']:8.0f} "
                  f"{result['cpu_us']:10.1f} {result['resident_mib']:6.0f}", flush=True)
        if len(results) == 2:
            ours, theirs = results["vellum"], results["etcd"]
            print(f"{'':14} {'ratio':7} {ours['per_second'] / theirs['per_second']:11.2f} {ours['p50_us'] / theirs['p50_us']:8.2f} "
                  f"{ours['p99_us'] / theirs['p99_us']:8.2f} {ours['cpu_us'] / max(theirs['cpu_us'], 0.001):10.2f} "
                  f"{ours['resident_mib'] / theirs['resident_mib']:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
