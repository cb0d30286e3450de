#!/usr/bin/env python3
"""How long `surprisal compare` takes for two made-up records of 300,000 tokens (147 windows of 2048), without KL divergence.

    compare.py [--windows 147] [--context 2048] [--bootstrap 2000]
"""
import argparse
import hashlib
import json
import os
import time

import numpy as np
import setting  # noqa: F401  (paths)
from program import fresh, run
import safetensors_io as st

COLUMNS = ("position", "window", "id", "nll", "top1", "logsumexp")


def figures(nll, windows):
    sums = nll.reshape(windows, -1).sum(1)
    mean, n = nll.mean(), nll.size
    return mean, np.sqrt(windows / (windows - 1) * ((sums - mean * n / windows) ** 2).sum()) / n


def write(nll, top1, windows, context):
    """A run folder as eval leaves one -> its path"""
    out = fresh("record")
    os.mkdir(out)
    row = np.arange(nll.size)
    window = row // (context - 1)
    position = (window * context + row % (context - 1) + 1).astype(np.int32)
    columns = dict(position=position, window=window.astype(np.int32), id=(row % 50000).astype(np.int32), nll=nll,
                   top1=top1.astype(np.int32), logsumexp=np.zeros(nll.size, np.float32))
    st.write(os.path.join(out, "tokens.safetensors"), columns)
    mean, error = figures(nll, windows)
    summary = dict(surprisal="0.1.0", checkpoint=dict(path="made-up", digest="0", bytes=0), text=dict(path="ids", sha256="0", join=None),
                   tokenizer=None, protocol="disjoint", context=context, stride=context, windows=windows, tokens=windows * context,
                   scored=nll.size, compute="f32", isa="none", mean_nll=mean, perplexity=np.exp(mean), nll_stderr=error,
                   prefix_id=None, max_windows=None, documents=None,
                   tokens_sha256=hashlib.sha256(b"".join(columns[c].tobytes() for c in COLUMNS)).hexdigest())
    text = json.dumps(summary, indent="\t", separators=(",", ":\t"))
    own = hashlib.sha256(text.encode()).hexdigest()
    with open(os.path.join(out, "summary.json"), "w") as f:
        f.write(text[:-2] + f',\n\t"sha256":\t"{own}"\n}}')
    return out


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--windows", type=int, default=147)
    a.add_argument("--context", type=int, default=2048)
    a.add_argument("--bootstrap", type=int, default=2000)
    a = a.parse_args()
    rng = np.random.default_rng(1)
    n = a.windows * (a.context - 1)
    first = rng.exponential(2, n)
    second = np.abs(first + rng.normal(0.002, 0.1, n))
    folders = [write(nll, rng.integers(0, 3, n), a.windows, a.context) for nll in (first, second)]
    start = time.monotonic()
    done = run("compare", *folders, "--json", "--bootstrap", a.bootstrap)
    seconds = time.monotonic() - start
    d = json.loads(done.stdout)
    print(f"{d['scored']} tokens in {d['units']} windows, {a.bootstrap} bootstrap samples: {seconds:.2f} s; "
          f"delta {d['delta_nll']:+.6f} +- {d['delta_nll_stderr']:.6f}")


if __name__ == "__main__":
    main()
