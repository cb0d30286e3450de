#!/usr/bin/env python3
"""The estimate before a run beside what the run took, back to back, some times a case.

    estimate.py [CHECKPOINT ...] [--contexts 128,2048,8192] [--tokens N] [--threads N] [--rounds 3] [--compute f32,bf16]

Without CHECKPOINT: both demo checkpoints.  A folder of tests/bench/make-checkpoint has the shapes of the 35B; give it
--contexts 2048,32768 and --tokens 32768.  The text is random ids: --tokens of them (12,288), but at least a window.  Each
context is run plain; the last one with --hidden f32 too.

wall: the estimate by the run's own seconds.  processor: the estimate times the threads by the processor time of the process,
less that of a process that opens the same and scores a single token.  Where the machine has other work, threads wait for each
other and wall means nothing: --threads 1 and the processor column then still do.  Medians of the rounds.
"""
import argparse
import json
import os
import re
import resource
import statistics
import subprocess

import numpy as np
import setting
from program import ROOT, SURPRISAL, fresh, ids_file, run


def seconds_of(text):
    """"3.2 s", "2:03" or "1:02:03", as the plan has it"""
    if text.endswith(" s"):
        return float(text[:-2])
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def estimate_of(*args):
    """Stops the run when it has told its plan."""
    with subprocess.Popen([SURPRISAL, "eval", *map(str, args), "--progress"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as p:
        said = ""
        for line in p.stderr:
            said += line
            shown = re.search(r"estimated time ([\d.:e+-]+(?: s)?)", line)
            if shown:
                p.kill()
                return seconds_of(shown.group(1))
    raise RuntimeError(said)


def evaluate(*args):
    """-> seconds of the run, processor seconds of the process"""
    before = processor_seconds()
    summary = json.loads(run("eval", *args, "--quiet", "--json").stdout)
    return summary["seconds"], processor_seconds() - before


def measure(checkpoint, ids, context, options, rounds, threads):
    """-> medians: estimate, seconds, wall ratio, processor ratio"""
    rows, text, two = [], ids_file(ids), ids_file(ids[:2])
    for _ in range(rounds):
        args = [checkpoint, "--ids", text, "--context", context, *options]
        _, opened = evaluate(checkpoint, "--ids", two, "--context", 2, *options, *out(options))
        estimate = estimate_of(*args, *out(options))
        seconds, used = evaluate(*args, *out(options))
        rows.append((estimate, seconds, estimate / seconds, estimate * threads / max(used - opened, 1e-9)))
    return [statistics.median(column) for column in zip(*rows)]


def out(options):
    return ["--out", fresh()] if "--hidden" in options else []


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoints", nargs="*", default=[os.path.join(ROOT, "data", "demo", kind) for kind in ("bf16", "mxfp4")])
    a.add_argument("--contexts", default="128,2048,8192")
    a.add_argument("--compute", default="f32,bf16")
    a.add_argument("--tokens", type=int, default=12288)
    a.add_argument("--threads", type=int, default=setting.PROCESSORS)
    a.add_argument("--rounds", type=int, default=3)
    a = a.parse_args()
    contexts, worst = [int(c) for c in a.contexts.split(",")], []
    print(f"{'estimate to actual':52} {'estimate':>9} {'seconds':>9} {'wall':>6} {'processor':>10}")
    for checkpoint in a.checkpoints:
        vocabulary = json.loads(run("inspect", checkpoint, "--json").stdout)["architecture"]["vocab_size"]
        for compute in a.compute.split(","):
            for context, more in [(c, []) for c in contexts] + [(contexts[-1], ["--hidden", "f32"])]:
                ids = np.random.default_rng(1).integers(0, vocabulary, max(context, a.tokens // context * context))
                options = ["--compute", compute, "--threads", a.threads, *more]
                estimate, seconds, wall, processor = measure(checkpoint, ids, context, options, a.rounds, a.threads)
                name = " ".join([os.path.basename(os.path.normpath(checkpoint)), compute, str(context), *more])
                print(f"{name:52} {estimate:9.3f} {seconds:9.3f} {wall:6.2f} {processor:10.2f}", flush=True)
                worst.append((abs(wall - 1), abs(processor - 1), name))
    print(f"furthest off: wall {100 * max(worst)[0]:.0f} % ({max(worst)[2]}), "
          f"processor {100 * max(w[1] for w in worst):.0f} % ({max(worst, key=lambda w: w[1])[2]})")


if __name__ == "__main__":
    main()
