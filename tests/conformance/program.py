"""Runs the program under test ($SURPRISAL, else build/surprisal) and reads what it wrote."""
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import safetensors_io as st

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
SHARED = os.path.join(ROOT, "..", "shared")
SURPRISAL = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
sys.path.insert(0, os.path.join(ROOT, "tests"))

TEMP = tempfile.mkdtemp(prefix="surprisal-test-")
atexit.register(shutil.rmtree, TEMP, ignore_errors=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that a stopped test cleans up too


def fresh(name="run"):
    """A path in the temporary folder at which nothing stands yet."""
    fresh.count += 1
    return os.path.join(TEMP, f"{name}-{fresh.count}")


fresh.count = 0


def run(*args, timeout=1800, **kw):
    """-> CompletedProcess; RuntimeError on an exit status other than 0"""
    done = subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=timeout, **kw)
    if done.returncode != 0:
        raise RuntimeError(f"{args[0]}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done


def ids_file(ids):
    path = fresh("ids")
    np.savetxt(path, np.asarray(ids).reshape(-1, 1), fmt="%d")
    return path


def evaluate(checkpoint, source, *options):
    """source: token ids, or --text FILE's path -> summary, tokens.safetensors"""
    where = ("--text", source) if isinstance(source, str) else ("--ids", ids_file(source))
    out = fresh()
    run("eval", checkpoint, *where, "--out", out, "--quiet", *options)
    with open(os.path.join(out, "summary.json")) as f:
        summary = json.load(f)
    return summary, st.read(os.path.join(out, "tokens.safetensors"))


def trace(checkpoint, ids):
    out = fresh("trace")
    run("trace", checkpoint, "--ids", ids_file(ids), "--out", out)
    return st.read(out)
