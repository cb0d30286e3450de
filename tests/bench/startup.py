#!/usr/bin/env python3
"""What a run costs before it works: processor time and wall time of 11 tokens, by what they go to.

    startup.py [CHECKPOINT] [--rounds N]

Each line is a command that does one thing more than the one before it; the difference is that thing's share.  The least of some
rounds counts, since other work on the machine only adds.  A program that is started by this one starts itself a second time,
with settings that libgomp reads before main; with GOMP_SPINCOUNT set it does not.
"""
import argparse
import os
import resource
import subprocess
import time

import setting  # noqa: F401  (paths)
from program import ROOT, SURPRISAL, ids_file


def seconds(args, more):
    """-> processor and wall seconds of a run"""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([SURPRISAL, *map(str, args)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env={**os.environ, **more})
    wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoint", nargs="?", default=os.path.join(ROOT, "data", "demo", "bf16"))
    a.add_argument("--rounds", type=int, default=20)
    a = a.parse_args()
    once = {"GOMP_SPINCOUNT": "10000"}
    eleven, many = ids_file(range(11)), ids_file([i % 50 for i in range(88)])
    ev = ["eval", a.checkpoint, "--context", 8]
    lines = [                       # what is new, arguments, environment
        ("the program and its libraries", ["--version"], once),
        ("its second start", ["--version"], {}),
        ("config, index, headers of the weights", ["inspect", a.checkpoint], {}),
        ("weights, their SHA-256, 11 tokens, one thread", [*ev, "--ids", eleven, "--quiet", "--threads", 1], {}),
        ("all threads", [*ev, "--ids", eleven, "--quiet"], {}),
        ("a measurement for the estimated time", [*ev, "--ids", eleven, "--progress"], {}),
        ("88 tokens, one thread", [*ev, "--ids", many, "--quiet", "--threads", 1], {}),
        ("88 tokens, all threads: they wait for each other", [*ev, "--ids", many, "--quiet"], {}),
    ]
    best = [(float("inf"), float("inf"))] * len(lines)
    for _ in range(a.rounds):       # in turn, so that a busy time hits all of them
        best = [tuple(map(min, b, seconds(args, env))) for b, (_, args, env) in zip(best, lines)]
    print(f"{'':50} {'processor':>10} {'more':>8} {'wall':>9} {'more':>8}   ms")
    before = (0, 0)
    for (name, _, _), now in zip(lines, best):
        print(f"{name:50} {1e3 * now[0]:10.1f} {1e3 * (now[0] - before[0]):+8.1f} {1e3 * now[1]:9.1f} {1e3 * (now[1] - before[1]):+8.1f}")
        before = now


if __name__ == "__main__":
    main()
