"""Loading a tokenizer of 248k tokens (Qwen3.5's), then one of 151k (Qwen3's), and tokenizing 1.3 MB: this program and Hugging Face's `tokenizers` by turns.

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
TOKENIZERS = [os.path.join(SHARED, "data", "tokenizers", name, "tokenizer.json") for name in ("qwen3.5", "qwen3")]
TEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")

# Prints its own seconds, without the start of Python.
THEIRS = """
import sys, time, tokenizers
start = time.perf_counter()
t = tokenizers.Tokenizer.from_file(sys.argv[1])
n = len(t.encode(open(sys.argv[2], newline="").read(), add_special_tokens=False).ids)
print(time.perf_counter() - start, n)
"""


def ours(tokenizer):
    start = time.perf_counter()
    out = subprocess.run([SURPRISAL, "tokenize", TEXT, "--tokenizer", tokenizer], capture_output=True, check=True).stdout
    return time.perf_counter() - start, len(out.split())


def theirs(tokenizer):
    out = subprocess.run([sys.executable, "-c", THEIRS, tokenizer, TEXT], capture_output=True, check=True, text=True).stdout
    seconds, n = out.split()
    return float(seconds), int(n)


def measure(tokenizer, rounds):
    seconds = {ours: [], theirs: []}
    counts = set()
    for _ in range(rounds):
        for side in (ours, theirs):
            s, n = side(tokenizer)
            seconds[side].append(s)
            counts.add(n)
    a, b = statistics.median(seconds[ours]), statistics.median(seconds[theirs])
    name = os.path.basename(os.path.dirname(tokenizer))
    print(f"{name}: surprisal {a:.3f} s, tokenizers {b:.3f} s (medians of {rounds}): ratio {a / b:.3f}; ids {sorted(counts)}")


def main():
    missing = [p for p in (*TOKENIZERS, TEXT) if not os.path.exists(p)]
    if missing or not importlib.util.find_spec("tokenizers"):
        print(f"skip tokenizer.py: it needs the package tokenizers and ../shared; missing: {missing or 'tokenizers'}")
        return
    for tokenizer in TOKENIZERS:
        measure(tokenizer, int(sys.argv[1]) if len(sys.argv) > 1 else 5)


main()
