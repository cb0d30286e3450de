#!/usr/bin/env python3
"""The estimate before a run beside what the run took.

    estimate.py [CHECKPOINT ...] [--contexts 128,2048,16384] [--tokens 16384] [--compute f32,bf16] [--threads N] [--rounds 3]

Without CHECKPOINT: both demo checkpoints.  A folder of tests/bench/make-checkpoint has the shapes of the 35B.  The text is random
ids.  The estimate is that of the same run.

wall: the estimate by the seconds of the run.  processor: the estimate times the threads by the processor time of the process: where
the machine has other work, wall means little.  Each is the median of the rounds.
"""
import argparse
import json
import os
import re
import resource
import statistics

import numpy as np
import setting
from program import ROOT, ids_file, run


def seconds_of(text):
    """"3.2 s", "2:03" or "1:02:03", as the plan has it"""
    total = 0
    for part in text.removesuffix(" s").split(":"):
        total = 60 * total + float(part)
    return total


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(threads, *args):
    """-> the estimate, the seconds of the run, its processor seconds for each thread"""
    before = processor_seconds()
    done = run("eval", *args, "--threads", threads, "--progress", "--json")
    shown = re.search(r"estimated time ([\d.:]+(?: s)?)", done.stderr)
    return seconds_of(shown[1]), json.loads(done.stdout)["seconds"], (processor_seconds() - before) / threads


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoints", nargs="*", default=[os.path.join(ROOT, "data", "demo", kind) for kind in ("bf16", "mxfp4")])
    a.add_argument("--contexts", default="128,2048,16384")
    a.add_argument("--tokens", type=int, default=16384)
    a.add_argument("--compute", default="f32,bf16")
    a.add_argument("--threads", type=int, default=setting.PROCESSORS)
    a.add_argument("--rounds", type=int, default=3)
    a = a.parse_args()
    print(f"{'':40} {'estimate':>9} {'seconds':>9} {'wall':>6} {'processor':>10}")
    for checkpoint in a.checkpoints:
        vocabulary = json.loads(run("inspect", checkpoint, "--json").stdout)["architecture"]["vocab_size"]
        for compute in a.compute.split(","):
            for context in map(int, a.contexts.split(",")):
                ids = ids_file(np.random.default_rng(1).integers(0, vocabulary, max(context, a.tokens // context * context)))
                rows = [measure(a.threads, checkpoint, "--ids", ids, "--context", context, "--compute", compute)
                        for _ in range(a.rounds)]
                columns = zip(*[(e, s, e / s, e / p) for e, s, p in rows])
                estimate, seconds, wall, processor = map(statistics.median, columns)
                name = f"{os.path.basename(os.path.normpath(checkpoint))} {compute} {context}"
                print(f"{name:40} {estimate:9.2f} {seconds:9.2f} {wall:6.2f} {processor:10.2f}", flush=True)


if __name__ == "__main__":
    main()
