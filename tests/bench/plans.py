#!/usr/bin/env python3
"""Six protocols in one pass beside a run of each: seconds, model tokens, equal bytes.

    plans.py [CHECKPOINT] [--text FILE] [--max-windows N] [--rounds N] [--threads N]

The joint run has all windows of the six.  Its time is compared with the sum of their own runs', each the best of some rounds,
and its tokens a second with theirs: the ratio of costs by token, 1 where sharing the pass is free.
"""
import argparse
import filecmp
import json
import os

import setting  # noqa: F401  (paths)
from program import ROOT, fresh, run

PLANS = ["disjoint:2048", "strided:2048:512", "strided:1024:512", "llama:512", "disjoint:512", "rolling:1024"]


def best(rounds, checkpoint, text, options, folder):
    """-> summary of the fastest of some runs, its folder"""
    found = None
    for _ in range(rounds):
        out = fresh()
        run("eval", checkpoint, "--text", text, "--out", out, "--quiet", *options)
        with open(os.path.join(out, folder, "summary.json")) as f:
            s = json.load(f)
        if not found or s["seconds"] < found[0]["seconds"]:
            found = s, out
    return found


def line(name, seconds, tokens):
    print(f"{name:18} {seconds:8.2f} s  {tokens:9.0f} tokens through the layers  {tokens / seconds:8.0f} tokens/s", flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoint", nargs="?", default=os.path.join(ROOT, "data", "demo", "bf16"))
    a.add_argument("--text", default=os.path.join(ROOT, "data", "demo", "text.txt"))
    a.add_argument("--max-windows", type=int, default=8)
    a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--threads", type=int, default=1)
    a = a.parse_args()
    common = ["--max-windows", a.max_windows, "--threads", a.threads]
    joint, out = best(a.rounds, a.checkpoint, a.text, [x for p in PLANS for x in ("--plan", p)] + common,
                      PLANS[0].replace(":", "-"))
    seconds = tokens = 0
    equal = True
    for plan in PLANS:
        folder = plan.replace(":", "-")
        s, own = best(a.rounds, a.checkpoint, a.text, ["--plan", plan, *common], folder)
        n = s["seconds"] * s["tokens_per_second"]
        line(folder, s["seconds"], n)
        seconds, tokens = seconds + s["seconds"], tokens + n
        equal &= filecmp.cmp(*(os.path.join(o, folder, "tokens.safetensors") for o in (own, out)), shallow=False)
    line("sum of the six", seconds, tokens)
    line("all in one pass", joint["seconds"], joint["seconds"] * joint["tokens_per_second"])
    print(f"one pass / sum {joint['seconds'] / seconds:.3f}; bytes of tokens.safetensors {'equal' if equal else 'DIFFER'}")


if __name__ == "__main__":
    main()
