#!/usr/bin/env python3
"""How long `surprisal compare` takes for two made-up records of 300,000 tokens (147 windows of 2048), without KL divergence.

    compare.py [--windows 147] [--context 2048] [--bootstrap 2000]
"""
import argparse
import json
import time

import numpy as np
import setting  # noqa: F401  (paths)
import records
from program import run


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
    folders = [records.write(nll, a.windows, top1=rng.integers(0, 3, n)) for nll in (first, second)]
    start = time.monotonic()
    done = run("compare", *folders, "--json", "--bootstrap", a.bootstrap)
    seconds = time.monotonic() - start
    d = json.loads(done.stdout)
    print(f"{d['scored']} tokens in {d['units']} windows, {a.bootstrap} bootstrap samples: {seconds:.2f} s; "
          f"delta {d['delta_nll']:+.6f} +- {d['delta_nll_stderr']:.6f}")


if __name__ == "__main__":
    main()
