"""Loading a tokenizer of 151k tokens and tokenizing 1.3 MB: this program and Hugging Face's `tokenizers` by turns.

    python3 tests/bench/tokenizer.py [ROUNDS]

Times are from the start of a process to its end, each side once a round; medians and their ratio are printed.
"""
import importlib.util
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SURPRISAL = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
SHARED = os.path.join(ROOT, "..", "shared")
TOKENIZER = os.path.join(SHARED, "data", "tokenizers", "qwen3", "tokenizer.json")
TEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")

# Prints its own seconds, without the start of Python.
THEIRS = """
import sys, time, tokenizers
start = time.perf_counter()
t = tokenizers.Tokenizer.from_file(sys.argv[1])
n = len(t.encode(open(sys.argv[2], newline="").read(), add_special_tokens=False).ids)
print(time.perf_counter() - start, n)
"""


def ours():
    start = time.perf_counter()
    out = subprocess.run([SURPRISAL, "tokenize", TEXT, "--tokenizer", TOKENIZER], capture_output=True, check=True).stdout
    return time.perf_counter() - start, len(out.split())


def theirs():
    out = subprocess.run([sys.executable, "-c", THEIRS, TOKENIZER, TEXT], capture_output=True, check=True, text=True).stdout
    seconds, n = out.split()
    return float(seconds), int(n)


def main():
    missing = [p for p in (TOKENIZER, TEXT) if not os.path.exists(p)]
    if missing or not importlib.util.find_spec("tokenizers"):
        print(f"skip tokenizer.py: it needs the package tokenizers and ../shared; missing: {missing or 'tokenizers'}")
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = {ours: [], theirs: []}
    counts = set()
    for _ in range(rounds):
        for side in (ours, theirs):
            s, n = side()
            seconds[side].append(s)
            counts.add(n)
    a, b = statistics.median(seconds[ours]), statistics.median(seconds[theirs])
    print(f"surprisal {a:.3f} s, tokenizers {b:.3f} s (medians of {rounds}): ratio {a / b:.3f}; ids {sorted(counts)}")


main()
