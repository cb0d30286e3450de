#!/usr/bin/env python3
"""How time and memory grow with the text: more windows of one context, then one window that gets longer.

    scaling.py [CHECKPOINT] [--context 2048] [--windows 8,16,32,64] [--long 16384,32768,65536] [--compute f32|bf16]

Random ids.  With more windows of one context, time is to grow as the tokens do (the last column is the cost of a token beside that
in the first line).  In one window attention compares each token with all before it, so time grows faster; memory
is to grow as the tokens do at most.
"""
import argparse
import json
import os

import numpy as np
import setting  # noqa: F401  (paths)
from program import ROOT, evaluate, run


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def table(title, checkpoint, ids, sizes, compute):
    """sizes: (context, windows)"""
    print(f"\n{title}\n{'tokens':>10} {'seconds':>9} {'tokens/s':>9} {'peak memory':>12} {'a token, to the first':>22}")
    first = None
    for context, windows in sizes:
        s, _ = evaluate(checkpoint, ids[:context * windows], "--context", context, "--compute", compute)
        cost = s["seconds"] / s["tokens"]
        first = first or cost
        print(f"{s['tokens']:10,} {s['seconds']:9.2f} {s['tokens_per_second']:9.0f} {s['peak_rss_bytes'] / 1e6:9.0f} MB "
              f"{cost / first:22.2f}", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoint", nargs="?", default=os.path.join(ROOT, "data", "demo", "bf16"))
    a.add_argument("--context", type=int, default=2048)
    a.add_argument("--windows", type=numbers, default=[8, 16, 32, 64])
    a.add_argument("--long", type=numbers, default=[16384, 32768, 65536])
    a.add_argument("--compute", default="f32")
    a = a.parse_args()
    vocabulary = json.loads(run("inspect", a.checkpoint, "--json").stdout)["architecture"]["vocab_size"]
    most = max([a.context * w for w in a.windows] + a.long)
    ids = np.random.default_rng(1).integers(0, vocabulary, most)
    table(f"{a.checkpoint}, {a.compute}: windows of {a.context}", a.checkpoint, ids, [(a.context, w) for w in a.windows],
          a.compute)
    table("one window", a.checkpoint, ids, [(n, 1) for n in a.long], a.compute)


if __name__ == "__main__":
    main()
