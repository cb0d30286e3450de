#!/usr/bin/env python3
"""A whole evaluation beside the limit of the arithmetic, in both compute types: tokens and FLOP a second, share, ratio.

    evaluation.py CHECKPOINT [--tokens 32768] [--context 2048] [--memory SIZE]

The text is random ids.  FLOP are those of linear layers alone; what attention and delta rule multiply takes time and is not
counted.  The limit (multiply-adds or BF16 dots in registers) is measured right before and right after each evaluation; the
share is of the mean of the two.
"""
import argparse
import json

import numpy as np
import setting  # noqa: F401  (paths)
from program import evaluate, run

LIMITS = dict(f32="fma_f32_gflops", bf16="bf16_dot_gflops")


def limit(compute):
    limits = json.loads(run("bench", "--seconds", 0.02, "--json").stdout)["limits"]
    return limits[LIMITS[compute]] or limits[LIMITS["f32"]]


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoint")
    a.add_argument("--tokens", type=int, default=32768)
    a.add_argument("--context", type=int, default=2048)
    a.add_argument("--memory")
    a = a.parse_args()
    inspection = json.loads(run("inspect", a.checkpoint, "--json").stdout)
    cost, vocabulary = inspection["cost"], inspection["architecture"]["vocab_size"]
    ids = np.random.default_rng(1).integers(0, vocabulary, a.tokens // a.context * a.context)
    speed = {}
    for compute in LIMITS:
        before = limit(compute)
        s, _ = evaluate(a.checkpoint, ids, "--context", a.context, "--compute", compute,
                        *(["--memory", a.memory] if a.memory else []))
        beside = (before + limit(compute)) / 2
        flop = len(ids) * cost["flop_per_token"] + s["scored"] * cost["head_flop_per_scored_token"]
        gflops = flop / s["seconds"] / 1e9
        speed[compute] = s["tokens_per_second"]
        print(f"{compute:5} {s['isa']:11} {speed[compute]:8.1f} tokens/s  {gflops:7.1f} GFLOP/s, {100 * gflops / beside:.1f} % of "
              f"{beside:.1f}  {s['passes']} pass(es)  {s['peak_rss_bytes'] / 1e9:.2f} GB peak memory", flush=True)
    print(f"bf16 to f32: {speed['bf16'] / speed['f32']:.2f}")


if __name__ == "__main__":
    main()
