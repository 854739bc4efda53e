#!/usr/bin/env python3
"""Builds the data plane's benchmark in a release build and runs it: bench/sync.py --build build/release [its arguments].

    ./dev bench sync [--only write-1m --only compact-5m] [--scale 0.1] [--rounds 3] [--without-sqlite] [--list]
"""
import os
import pathlib
import subprocess
import sys


def main():
    words = sys.argv[1:]
    if len(words) < 2 or words[0] != "--build":
        sys.exit(__doc__)
    build = pathlib.Path(words[1]).resolve()
    for command in (["cmake", "-DVELLUM_BUILD_BENCHMARKS=ON", build],
                    ["cmake", "--build", build, "--target", "vellum_sync_bench", "vellum_program"]):
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stdout)
    program = str(build / "vellum_sync_bench")
    os.execv(program, [program, *words[2:]])


if __name__ == "__main__":
    main()
