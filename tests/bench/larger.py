#!/usr/bin/env python3
"""A checkpoint larger than the memory it gets, beside the same one that fits: tokens a second, peak memory, equal bytes.

    larger.py CHECKPOINT [--memory 6G] [--tokens 8192] [--context 2048] [--compute f32|bf16]

The first run starts with the checkpoint dropped from the page cache and has the given budget; the second finds in the cache
what the first left and what fits, and has the default budget.  The text is random ids.  tests/bench/make-checkpoint writes a
checkpoint of any size.
"""
import argparse
import filecmp
import json
import os

import numpy as np
import setting  # noqa: F401  (paths)
from program import fresh, ids_file, run


def drop_from_cache(folder):
    for name in os.listdir(folder):
        fd = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoint")
    a.add_argument("--memory", default="6G")
    a.add_argument("--tokens", type=int, default=8192)
    a.add_argument("--context", type=int, default=2048)
    a.add_argument("--compute", default="f32")
    a = a.parse_args()
    with open(os.path.join(a.checkpoint, "config.json")) as f:
        config = json.load(f)
    vocabulary = config.get("text_config", config)["vocab_size"]
    ids = ids_file(np.random.default_rng(1).integers(0, vocabulary, a.tokens))
    drop_from_cache(a.checkpoint)
    outs, results = [], []
    for name, budget in (("cold, " + a.memory, ["--memory", a.memory]), ("warm, default", [])):
        out = fresh()
        run("eval", a.checkpoint, "--ids", ids, "--context", a.context, "--compute", a.compute, "--out", out, *budget,
            timeout=None)
        with open(os.path.join(out, "summary.json")) as f:
            s = json.load(f)
        outs.append(os.path.join(out, "tokens.safetensors"))
        results.append(s["tokens_per_second"])
        print(f"{name:16} {s['tokens_per_second']:8.2f} tokens/s  {s['seconds']:8.1f} s  {s['passes']} passes  "
              f"{s['bytes_read'] / 1e9:6.1f} GB read  {s['peak_rss_bytes'] / 1e9:5.2f} GB peak memory", flush=True)
    print(f"ratio {results[0] / results[1]:.3f}; bytes of tokens.safetensors "
          f"{'equal' if filecmp.cmp(*outs, shallow=False) else 'DIFFER'}")


if __name__ == "__main__":
    main()
