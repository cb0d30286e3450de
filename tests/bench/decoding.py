"""Decoding beside the limit of memory: one sequence and several at once, prefill beside an evaluation without its head.

    decoding.py CHECKPOINT [CHECKPOINT ...] [--compute f32|bf16] [--threads N] [--prefill 2048] [--seconds 5]
    LLAMA_BENCH=.../llama-bench decoding.py CHECKPOINT --gguf FILE

A checkpoint is one of make-checkpoint, or any other.  The limit: the weights of a token (all linear layers, the experts of
its own, the head) and the states of its delta nets, read and written, by the read bandwidth measured in the same process;
several sequences share all but the routed experts.  Steps are medians, and the least of all beside them: on a machine with
other work the two differ, and only the least says something about the program.  llama.cpp reads the same weights as GGUF.
"""
import argparse
import json
import os
import re
import subprocess

import setting
from program import ROOT

TOOL = os.path.join(ROOT, "build", "tests", "bench", "decoding")


def bytes_of(checkpoint, sequences):
    """-> bytes that a step of some sequences reads, at the least, and writes"""
    with open(os.path.join(checkpoint, "config.json")) as f:
        c = json.load(f)
    c = c.get("text_config", c)
    experts = shared = head = 0
    for name, size in tensors(checkpoint):
        if re.search(r"(^|\.)(visual|mtp)\.", name):
            continue
        if ".mlp.experts." in name:
            experts += size
        elif "embed_tokens" in name:
            head += size if c.get("tie_word_embeddings") else 0
        else:
            shared += size
    E, k = c.get("num_experts", 0), c.get("num_experts_per_tok", 0)
    met = 1 - (1 - k / E) ** sequences if E else 1          # share of the experts, each sequence routing its own way
    delta = sum(t == "linear_attention" for t in c["layer_types"])
    state = delta * c["linear_num_value_heads"] * c["linear_key_head_dim"] * c["linear_value_head_dim"] * 4
    return shared + head + experts * met + 2 * state * sequences


def tensors(checkpoint):
    """-> (name, bytes) of every tensor"""
    for file in sorted(os.listdir(checkpoint)):
        if not file.endswith(".safetensors"):
            continue
        with open(os.path.join(checkpoint, file), "rb") as f:
            header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        for name, t in header.items():
            if name != "__metadata__":
                yield name, t["data_offsets"][1] - t["data_offsets"][0]


def measure(a, checkpoint):
    done = subprocess.run([TOOL, checkpoint, a.compute, str(a.threads), str(a.prefill), str(a.seconds)], capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{checkpoint}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def show(a, checkpoint, r):
    rate = max(r["read_bytes_per_second"])
    print(f"{checkpoint}: {a.compute}, {r['isa']}, {r['threads']} threads, memory {rate / 1e9:.1f} GB/s, load {os.getloadavg()[0]:.1f}")
    print(f"{'sequences':>9} {'GB a step':>9} {'tokens/s':>9} {'share':>7} {'times one':>9}   of the least step: tokens/s, share, times one")
    for n, (median, least) in ((int(n), t) for n, t in r["steps"].items()):
        size, one = bytes_of(checkpoint, n), r["steps"]["1"]
        print(f"{n:9} {size / 1e9:9.2f} {n / median:9.1f} {100 * size / median / rate:6.1f} % {n * one[0] / median:9.2f} "
              f"{n / least:30.1f} {100 * size / least / rate:6.1f} % {n * one[1] / least:6.2f}")
    print(f"drawing a token (top_k 20, top_p 0.95): {1e3 * r['sampler_seconds']:.2f} ms")
    print(f"prefill of {a.prefill}: {a.prefill / r['prefill_seconds']:.1f} tokens/s; the same tokens by the evaluation, one of them scored: "
          f"{a.prefill / r['evaluation_seconds']:.1f}; prefill of {r['short_prompt']}: {r['short_prefill_seconds']:.2f} s", flush=True)


def by_llama(a):
    tool = os.environ.get("LLAMA_BENCH")
    if not tool or not a.gguf:
        print("llama.cpp: left out: it needs --gguf FILE and the variable LLAMA_BENCH")
        return
    done = subprocess.run([tool, "-m", a.gguf, "-t", str(a.threads), "-p", str(a.prefill), "-n", "32", "-o", "json"],
                          capture_output=True, text=True, check=True)
    for r in json.loads(done.stdout):
        what = f"prefill of {r['n_prompt']}" if r["n_prompt"] else "decoding, one sequence"
        print(f"llama.cpp {os.path.basename(a.gguf)}: {what}: {r['avg_ts']:.1f} tokens/s")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    a.add_argument("--compute", choices=("f32", "bf16"), default="f32")
    a.add_argument("--threads", type=int, default=setting.PROCESSORS)
    a.add_argument("--prefill", type=int, default=2048)
    a.add_argument("--seconds", type=float, default=5, help="of the steps of each number of sequences")
    a.add_argument("--gguf", help="the checkpoint for llama.cpp")
    a = a.parse_args()
    subprocess.run(["make", "-s", "-C", ROOT, os.path.relpath(TOOL, ROOT)], check=True)
    for checkpoint in a.checkpoints:
        show(a, checkpoint, measure(a, checkpoint))
    by_llama(a)


if __name__ == "__main__":
    main()
