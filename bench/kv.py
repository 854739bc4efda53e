#!/usr/bin/env python3
"""Vellum's metadata plane beside etcd: the same load on both, one after the other, and the ratios.

    ./dev bench kv --quick          one round, three seconds a workload, 1M keys: about five minutes
    ./dev bench kv                  three rounds, 1M, 5M and 10M keys: three quarters of an hour
    ./dev bench kv --only put get   only workloads whose names begin so, or "compaction" or "scale"
    ./dev bench kv --without-etcd   while something is being improved

Processor time is the server's, user and system, from /proc. The machines that this runs on are noisy, so what counts are
ratios of one run; with several rounds each figure is the median, and in brackets the least and the most.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import servers

MANY = ("--connections=100", "--clients=1000")
SOME = ("--connections=10", "--clients=100")
KEYS = 100_000

# name: (arguments of `vellum bench`, to reach: ratio of processor time). The callers that are alone come first, after a
# pause, so that work that others leave behind is not counted as theirs.
WORKLOADS = {
    "put, 1 client": (("put",), 0.25),
    "get, 1 client": (("get",), 0.25),
    "serializable get, 1 client": (("get", "--serializable"), 0.25),
    "put, 2,000/s": (("put", *SOME, "--rate=2000"), None),
    "put, 1,000 clients": (("put", *MANY), 0.45),
    "get, 1,000 clients": (("get", *MANY), 0.25),
    "serializable get, 1,000 clients": (("get", *MANY, "--serializable"), 0.25),
    "page of 1,000": (("page", "--connections=4", "--clients=16"), 0.4),
    "txn, 1,000 clients": (("txn", *MANY), None),
    "compare-and-set txn, 1,000 clients": (("cas", *MANY), 0.5),
    "watch, 1,000 watchers, an event": (("watch", "--connections=100", "--clients=100", "--watchers=1000"), 0.25),
    "keep-alive, 1,000 leases": (("keepalive", *MANY), 0.25),
}


def median(values):
    return statistics.median(values)


def spread(values, digits):
    if not values:
        return ""
    text = f"{median(values):,.{digits}f}"
    return text if len(values) < 2 else f"{text} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def chosen(name, only):
    return not only or any(name.startswith(word) for word in only)


class Bench:
    def __init__(self, arguments, programs):
        self.arguments, self.programs = arguments, programs
        self.figures = {}  # (table, row, column) -> server -> one value a round

    def add(self, table, row, column, server, value):
        self.figures.setdefault((table, row, column), {}).setdefault(server, []).append(value)

    def server(self, name):
        return servers.Server(name, self.programs[name], self.programs["vellum"], self.arguments.folder)

    def each_server(self, run, *arguments):
        for name in self.programs:
            if name == "vellum" and self.arguments.without_vellum:
                continue
            server = self.server(name)
            try:
                run(server, *arguments)
            finally:
                server.remove()

    # -----------------------------------------------------------------------------------------------------------------

    def workloads(self, server):
        server.start()
        server.load("fill", f"--keys={KEYS}", "--clients=20", "--connections=4")
        server.settle()
        for name, (arguments, _) in WORKLOADS.items():
            if not chosen(name, self.arguments.only):
                continue
            phase = server.load(*arguments, f"--keys={KEYS}", f"--seconds={self.arguments.seconds}")["phases"][0]
            for column in ("server_cpu_us", "per_second", "p50_us", "p99_us"):
                self.add("load", name, column, server.name, phase[column])
            print(f"  {server.name:7} {name:35} {phase['server_cpu_us']:9.1f} us {phase['per_second']:10.0f}/s "
                  f"p50 {phase['p50_us']:8.0f} us p99 {phase['p99_us']:8.0f} us", flush=True)

    def compaction(self, server):
        revisions = self.arguments.revisions
        server.start()
        server.load("fill", f"--keys={KEYS}", "--clients=20", "--connections=4")
        server.load("put", *MANY, f"--keys={KEYS}", f"--operations={revisions}")
        before = server.data_bytes()
        report = server.load("compact", "--physical", *SOME, f"--keys={KEYS}", "--rate=500",
                             f"--seconds={self.arguments.seconds * 3}")
        after = server.data_bytes()
        defragmented = server.defragment()
        least = server.data_bytes()
        for phase in report["phases"]:
            for column in ("p50_us", "p99_us", "max_us"):
                self.add("compaction", f"put, 500/s, {phase['phase']}", column, server.name, phase[column] / 1000)
        logical = server.load("compact")["compact_seconds"]
        # What a defragmentation leaves is what is alive; the rest was dead.
        returned = 100 * (before - after) / max(1, before - min(least, after))
        for row, value in (("physical compaction, s", report["compact_seconds"]), ("Compact, not physical, ms", logical * 1000),
                           ("bytes before, MB", before / 1e6), ("bytes after, MB", after / 1e6),
                           ("bytes after a defragmentation, MB", least / 1e6), ("defragmentation, s", defragmented),
                           ("dead bytes back without it, %", returned)):
            self.add("compaction", row, "value", server.name, value)
        phases = ", ".join(f"{phase['phase']} p99 {phase['p99_us'] / 1000:.1f} max {phase['max_us'] / 1000:.1f} ms"
                           for phase in report["phases"])
        print(f"  {server.name:7} {phases}; {before / 1e6:.0f} MB, then {after / 1e6:.0f}, defragmented {least / 1e6:.0f}", flush=True)

    def scale(self, server, keys):
        def add(row, value):
            self.add("scale", f"{keys // 1_000_000}M keys: {row}", "value", server.name, value)
            print(f"  {server.name:7} {keys // 1_000_000}M keys: {row:44} {value:14,.3f}", flush=True)

        server.start()
        report = server.load("fill", f"--keys={keys}", "--clients=20", "--connections=4")
        phase = report["phases"][0]
        add("load, keys/s", phase["per_second"])
        add("load, us of processor a key", phase["server_cpu_us"])
        for row, arguments in (("count of all, ms", ("count",)), ("first page of 1,000, ms", ("page", "--from-start"))):
            phase = server.load(*arguments, f"--keys={keys}", f"--seconds={self.arguments.seconds}")["phases"][0]
            add(row, phase["p50_us"] / 1000)
        report = server.load("get", *SOME, f"--keys={keys}", f"--seconds={self.arguments.seconds}")
        add("random get, us of processor", report["phases"][0]["server_cpu_us"])
        add("resident memory, MiB", report["server_mib"])
        add("bytes on disk, MB", server.data_bytes() / 1e6)
        server.stop()
        add("start after a stop, s", server.start())
        server.load("put", *MANY, f"--keys={keys}", f"--seconds={self.arguments.seconds}")
        server.kill()
        add("start after a kill, s", server.start())

    # -----------------------------------------------------------------------------------------------------------------

    def run(self):
        for number in range(self.arguments.rounds):
            print(f"round {number + 1} of {self.arguments.rounds}", flush=True)
            if any(chosen(name, self.arguments.only) for name in WORKLOADS):
                self.each_server(self.workloads)
            if chosen("compaction", self.arguments.only):
                self.each_server(self.compaction)
            for keys in self.arguments.keys if chosen("scale", self.arguments.only) else ():
                self.each_server(self.scale, keys)

    def ratio(self, table, row, column):
        figures = self.figures.get((table, row, column), {})
        if "vellum" not in figures or "etcd" not in figures or median(figures["etcd"]) == 0:
            return ""
        return f"{median(figures['vellum']) / median(figures['etcd']):.2f}"

    def cell(self, table, row, column, server, digits):
        return spread(self.figures.get((table, row, column), {}).get(server, []), digits)

    def print_tables(self):
        print(f"\n{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} processors, {self.arguments.rounds} rounds of "
              f"{self.arguments.seconds} s, 256-byte values, 8-byte keys")
        for name, program in self.programs.items():
            print(f"{name}: {describe(name, program)}")
        if any(key[0] == "load" for key in self.figures):
            print("\n| load | CPU µs/op: Vellum | etcd | ratio | to reach | per second: Vellum | etcd | ratio "
                  "| p50 µs: Vellum | etcd | p99 µs: Vellum | etcd |\n|" + "---|" * 12)
            for name, (_, target) in WORKLOADS.items():
                if ("load", name, "server_cpu_us") not in self.figures:
                    continue
                def cells(column, digits, name=name):
                    return [self.cell("load", name, column, server, digits) for server in ("vellum", "etcd")]
                row = [name, *cells("server_cpu_us", 1), self.ratio("load", name, "server_cpu_us"),
                       "" if target is None else f"≤ {target}", *cells("per_second", 0), self.ratio("load", name, "per_second"),
                       *cells("p50_us", 0), *cells("p99_us", 0)]
                print("| " + " | ".join(row) + " |")
        if any(key[0] == "compaction" and key[2] != "value" for key in self.figures):
            print("\n| latency in ms | p50: Vellum | etcd | p99: Vellum | etcd | max: Vellum | etcd |\n|" + "---|" * 7)
            for phase in ("before", "during", "after"):
                row = f"put, 500/s, {phase}"
                cells = [self.cell("compaction", row, column, server, 2)
                         for column in ("p50_us", "p99_us", "max_us") for server in ("vellum", "etcd")]
                print(f"| {row} a physical compaction | " + " | ".join(cells) + " |")
        rows = [key for key in self.figures if key[2] == "value"]
        if rows:
            print("\n| figure | Vellum | etcd | ratio |\n|---|---|---|---|")
            for table, row, column in rows:
                values = [value for values in self.figures[(table, row, column)].values() for value in values]
                digits = 3 if min(values) < 1 else 2 if min(values) < 10 else 1 if min(values) < 1000 else 0
                cells = [self.cell(table, row, column, server, digits) for server in ("vellum", "etcd")]
                ratio = self.ratio(table, row, column)
                print(f"| {row} | " + " | ".join(cells) + f" | {ratio if ratio != '0.00' else '< 0.005'} |")

    def save(self, path):
        rows = [{"table": table, "row": row, "column": column, "servers": values}
                for (table, row, column), values in self.figures.items()]
        pathlib.Path(path).write_text(json.dumps(rows, indent=1), encoding="utf-8")


def describe(name, program):
    words = [program, "version"] if name == "vellum" else [program, "--version"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return ", ".join(line for line in text.splitlines() if line and not line.startswith("Git SHA"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True, type=pathlib.Path, help=argparse.SUPPRESS)  # ./dev fills it in
    parser.add_argument("--quick", action="store_true", help="one round, short, 1M keys")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (3; quick: 1)")
    parser.add_argument("--seconds", type=float, help="of each workload (5; quick: 3)")
    parser.add_argument("--keys", type=int, nargs="*", help="of the stores at scale, in millions (1 5 10; quick: 1)")
    parser.add_argument("--revisions", type=int, default=1_000_000, help="that are compacted away (1000000)")
    parser.add_argument("--only", nargs="*", default=[], help="beginnings of names, 'compaction', 'scale'")
    parser.add_argument("--without-etcd", action="store_true", help="measure Vellum alone")
    parser.add_argument("--without-vellum", action="store_true", help="measure etcd alone")
    parser.add_argument("--etcd", help="the etcd to measure (built from bench/go.mod)")
    parser.add_argument("--folder", help="where the data directories are made (the system's place for temporary files)")
    parser.add_argument("--json", help="write every round's figures to this file, too")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (3 if arguments.quick else 5)
    millions = arguments.keys if arguments.keys is not None else ([1] if arguments.quick else [1, 5, 10])
    arguments.keys = [keys * 1_000_000 for keys in millions]
    programs = {"vellum": str((arguments.build / "vellum").resolve())}
    if not arguments.without_etcd:
        etcd = arguments.etcd or servers.find_etcd(arguments.build)
        if etcd is None:
            print("neither Go nor Debian's etcd-server is there: Vellum alone is measured", flush=True)
        else:
            programs["etcd"] = etcd
    bench = Bench(arguments, programs)
    bench.run()
    bench.print_tables()
    if arguments.json:
        bench.save(arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
