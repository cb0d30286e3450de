"""C1: what is used of the scratch space never exceeds what was measured, in no command.

Random architectures, 1 to 100 ids, 1 to 16 threads, every instruction set, every command that runs a model.  The program
ends by a signal when it uses more than it measured (also with NDEBUG), and AddressSanitizer sees what lies behind.

python test_scratch.py [--seed N] [--count N]; SURPRISAL_TEST_ALL=1 takes hundreds.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "conformance"))
import numpy as np
from make_fixtures import config_of, stored, write_checkpoint
from program import ROOT, SURPRISAL, TEMP, fresh
from random_checkpoints import draw

from check import QUICK, attempt, check, done

ALL = bool(os.environ.get("SURPRISAL_TEST_ALL"))
COUNT = 300 if ALL else 8 if QUICK == 2 else 40


def call(*args):
    p = subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=900)
    return p.returncode, p.stderr.strip()


def usable_isas(checkpoint, ids):
    """Those of tests/isas.h that this machine has"""
    with open(os.path.join(ROOT, "tests", "isas.h")) as f:
        names = re.findall(r'"(\w+)"', f.read().split("isas[]")[1])
    return [isa for isa in names if call("trace", checkpoint, "--ids", ids, "--out", fresh(), "--isa", isa)[0] == 0]


def write_ids(rng, n, vocabulary):
    path = fresh("ids")
    with open(path, "w") as f:
        f.write(" ".join(str(rng.randrange(vocabulary)) for _ in range(n)))
    return path


def commands(rng, checkpoint, ids, n):
    """One of each, with options of its own"""
    def options(*more):
        return ["--ids", ids, "--threads", rng.randint(1, 16), "--context", rng.randint(2, max(2, n)), "--compute",
                rng.choice(["f32", "bf16"]), "--quiet", *more]

    protocol = rng.choice([["--protocol", "disjoint"], ["--protocol", "strided", "--stride", "1"],
                           ["--protocol", "rolling", "--prefix-id", "0"]])
    yield ["trace", checkpoint, "--ids", ids, "--out", fresh("trace"), "--threads", rng.randint(1, 16)]
    yield ["eval", checkpoint, *options(*protocol)]
    yield ["eval", checkpoint, *options("--hidden", "--out", fresh("run"))]
    yield ["calibrate", checkpoint, *options("--out", fresh("calibration"))]
    yield ["compare", checkpoint, checkpoint, *options(*rng.choice([[], ["--floor"]])), "--bootstrap", "2"]


def is_refusal(status, err):
    """Too few ids to score anything, or a network of random numbers that leaves the finite ones: one line, nothing worse"""
    return status in (1, 2) and err.count("\n") <= 1 and "AddressSanitizer" not in err and "scratch" not in err


def test_seed(seed, isas):
    rng, case = random.Random(seed), draw(seed)
    config = config_of(case)
    vocabulary = config.get("text_config", config)["vocab_size"]
    checkpoint, ran = fresh("random"), []
    write_checkpoint(checkpoint, case, config, stored(case, config, np.random.default_rng(seed)))
    n = rng.choice([1, 2, 3, rng.randint(1, 12), rng.randint(1, 100)])
    for args in commands(rng, checkpoint, write_ids(rng, n, vocabulary), n):
        args += ["--isa", rng.choice(isas)]
        if "--floor" in args and "bf16" in args:        # A itself is computed so
            args.remove("--floor")
        status, err = call(*args)
        ran.append(status == 0 or err)
        if status != 0 and not is_refusal(status, err):
            check(False, f"C1: seed {seed}, {n} ids: {' '.join(map(str, args))}", f"status {status}, {case}: {err[-300:]}")
            return
    check(ran.count(True) >= (5 if n > 2 else 1), f"C1: seed {seed}: {n} ids through every command", ran)
    shutil.rmtree(checkpoint)


def test_few_ids():
    """What was found first: one thread, fewer ids than a block has rows."""
    ids = write_ids(random.Random(1), 3, 1000)
    for name in ("bf16", "mxfp4"):
        status, err = call("trace", os.path.join(ROOT, "data", "demo", name), "--ids", ids, "--out", fresh(), "--threads", 1)
        check(status == 0, f"C1: trace of three ids, one thread, {name}", f"status {status}: {err}")


def test_empty():
    left = [f for f in os.listdir(TEMP) if f.endswith(".tmp")]
    check(not left, "C1: nothing unfinished is left", left)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 30) if ALL else 1)
    options.add_argument("--count", type=int, default=COUNT)
    options = options.parse_args()
    test_few_ids()
    isas = usable_isas(os.path.join(ROOT, "tests", "fixtures", "mini"), write_ids(random.Random(1), 20, 5))
    print(f"seeds from {options.seed}, instruction sets {' '.join(isas)}", flush=True)
    for seed in range(options.seed, options.seed + options.count):
        attempt(f"C1: seed {seed}", test_seed, seed, isas)
    test_empty()


if __name__ == "__main__":
    main()
    done()
