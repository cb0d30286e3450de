#!/usr/bin/env python3
"""An evaluation by many ranks (docs/clusters.md): what two cores can show, and a simulation of 1 to 1,024 ranks.

    cluster.py [--rounds 3] [--tokens 300000] [--rank-speed 1536] [--bytes 72e9] [--shared 10e9] [--disk 2e9] [--only-simulate]

Measured: two ranks of one thread against one process of two threads, in turn; how much of the checkpoint they read from the disk when
it is in no cache; the start of ranks; the merging of parts.  Simulated with these: parts as eval/score/division.c makes them, given to
whoever is free.  A part takes the longest of computing, hashing and, the first time on a node, reading (all nodes share the file
system), which overlap.
"""
import argparse
import heapq
import os
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time

import setting
from program import ROOT, SURPRISAL

TOKENS_OF_PART, MOST_OF_PROCESS = 262144, 4     # eval/score/division.c
HASH_RATE = 0.7e9                               # docs/speed.md: bytes a second of SHA-256
ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def seconds_of(command):
    begin = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=ENV)
    return time.monotonic() - begin


def drop_from_cache(folder):
    for name in os.listdir(folder):
        fd = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read_bytes(command):
    """Bytes that a command and its children read from disks"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock
    subprocess.run(command, check=True, capture_output=True, env=ENV)
    return 512 * (resource.getrusage(resource.RUSAGE_CHILDREN).ru_inblock - before)


def measure(mpirun, rounds, temp):
    """-> (seconds that starting ranks takes, seconds that merging a token takes)"""
    checkpoint = shutil.copytree(os.path.join(ROOT, "data", "demo", "bf16"), os.path.join(temp, "checkpoint"))
    text = os.path.join(ROOT, "data", "demo", "text.txt")
    out = os.path.join(temp, "out")
    base = [SURPRISAL, "eval", checkpoint, "--text", text, "--context", "512", "--quiet", "--out", out]
    ways = {"1 process, 2 threads": [*base, "--threads", "2"],
            "2 ranks, 1 thread": [*mpirun, "-n", "2", *base, "--threads", "1"]}
    best, inside = {}, {}
    for _ in range(rounds):
        for label, command in ways.items():
            best[label] = min(best.get(label, 1e9), seconds_of(command))
            shutil.rmtree(out)
    for label, command in ways.items():
        drop_from_cache(checkpoint)
        inside[label] = read_bytes(command)
        shutil.rmtree(out)
    size = sum(os.path.getsize(os.path.join(checkpoint, f)) for f in os.listdir(checkpoint))
    for label in ways:
        print(f"{label:24} {best[label]:6.2f} s (best of {rounds}), {inside[label] / 1e6:.1f} MB read from disk; the checkpoint has {size / 1e6:.1f} MB")
    one, two = best.values()
    tiny = [*base[:-2], "--max-windows", "2", "--out", out]
    start = seconds_of([*mpirun, "-n", "2", *tiny])
    shutil.rmtree(out)
    start -= seconds_of(tiny)
    shutil.rmtree(out)
    start = max(start, 0.01)
    print(f"speed of 2 ranks against 1 process: {one / two:.3f}; without the {start:.2f} s that starting ranks takes: {one / max(two - start, 0.01):.3f}")
    parts = []
    for i in (1, 2):
        parts.append(os.path.join(temp, f"part-{i}"))
        subprocess.run([*base[:-1], parts[-1], "--part", f"{i}/2"], check=True, capture_output=True)
    p = subprocess.run([SURPRISAL, "merge", *parts, "--out", out], check=True, capture_output=True, text=True)
    scored = int(re.search(r"scored +(\d+)", p.stdout).group(1))
    shutil.rmtree(out)
    took = []
    for _ in range(rounds):
        took.append(seconds_of([SURPRISAL, "merge", *parts, "--out", out]))
        shutil.rmtree(out)
    merge = min(took) / scored
    print(f"merging: {merge * 1e6:.2f} us a token, starting the program included")
    return start, merge


def simulate(ranks, a, start, merge, spread, seed=1):
    """Efficiency against one rank that computes without reading, hashing, starting or merging"""
    draw = random.Random(seed)
    each = int(a.tokens / ranks / TOKENS_OF_PART)
    parts = min(ranks * max(1, min(each, MOST_OF_PROCESS)), int(a.tokens / a.context))
    windows = int(a.tokens / a.context)
    sizes = [((i + 1) * windows // parts - i * windows // parts) * a.context for i in range(parts)]
    nodes = min(ranks, parts)
    read = a.bytes / min(a.disk, a.shared / nodes)
    speeds = [max(0.5, draw.gauss(1, spread)) for _ in range(ranks)]
    free = [(start, rank) for rank in range(ranks)]
    begun, seconds = set(), 0
    for size in sizes:
        at, rank = heapq.heappop(free)
        at += max(size / (a.rank_speed * speeds[rank]), 0 if rank in begun else read, a.bytes / HASH_RATE)
        begun.add(rank)                 # its page cache has the weights now
        seconds = max(seconds, at)
        heapq.heappush(free, (at, rank))
    seconds += merge * a.tokens
    return parts, seconds, a.tokens / a.rank_speed / sum(speeds) / seconds


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--context", type=int, default=2048)
    p.add_argument("--tokens", type=float, nargs="+", default=[3e5, 1.6e7, 2.56e8], help="of the texts")
    p.add_argument("--rank-speed", type=float, default=1536, help="tokens a second; default: 32 cores of the 48 in docs/speed.md")
    p.add_argument("--bytes", type=float, default=72e9, help="of the checkpoint")
    p.add_argument("--shared", type=float, default=10e9, help="bytes a second of the shared file system, for all nodes")
    p.add_argument("--only-simulate", action="store_true", help="with a start of 2 s and 1.5 us for merging a token")
    p.add_argument("--disk", type=float, default=2e9, help="bytes a second that one node reads")
    a = p.parse_args()
    mpirun = [shutil.which("mpirun.openmpi") or shutil.which("mpirun"), "--oversubscribe", "--bind-to", "none"]
    if not a.only_simulate and not mpirun[0]:
        setting.skip("no mpirun of Open MPI")
    temp = tempfile.mkdtemp(prefix="surprisal-cluster-")
    try:
        start, merge = (2, 1.5e-6) if a.only_simulate else measure(mpirun, a.rounds, temp)
    finally:
        shutil.rmtree(temp)
    for tokens in a.tokens:
        a.tokens = tokens
        print(f"\n{tokens:.3g} tokens, a checkpoint of {a.bytes / 1e9:.0f} GB; one rank a node, speeds that differ by 0 or 5 %\n"
              f"{'ranks':>6} {'parts':>6} {'seconds':>9} {'efficiency':>11} {'with 5 %':>9}")
        for k in range(11):
            parts, seconds, efficiency = simulate(2 ** k, a, start, merge, 0)
            print(f"{2 ** k:6} {parts:6} {seconds:9.0f} {100 * efficiency:9.1f} % {100 * simulate(2 ** k, a, start, merge, 0.05)[2]:7.1f} %")


if __name__ == "__main__":
    main()
