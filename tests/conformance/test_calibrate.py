"""surprisal calibrate: its statistics against the float64 truth of make_layers.py, against numpy on what `trace` says,
for any threads and memory; what stands in the file; and the refusals.
"""
import json
import os
import re
import subprocess

import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, SURPRISAL, fresh, ids_file, run, trace

from check import attempt, check, done

BF16, MXFP4 = (os.path.join(ROOT, "data", "demo", n) for n in ("bf16", "mxfp4"))
PREFIX = "model.language_model.layers."
MEAN, TOKENS = ".input_mean_square", ".tokens"
E, K, LAYERS = 16, 4, 8


def calibrate(checkpoint, ids, *options):
    """-> the report, the file's path"""
    out = fresh("calibration")
    report = run("calibrate", checkpoint, "--ids", ids_file(ids), "--out", out, "--json", "--quiet", *options)
    return json.loads(report.stdout), out


def off(x, y):
    """The largest error, as a share of the largest value of the channel's module"""
    return np.abs(x.astype(np.float64) - y).max() / max(np.abs(y).max(), 1e-300)


def test_truth():
    ids = st.read(os.path.join(FIXTURES, "goldens", "tiny-mxfp4", "prompt.safetensors"))["ids"]
    truth = st.read(os.path.join(FIXTURES, "goldens", "tiny-mxfp4", "inputs.safetensors"))
    _, out = calibrate(MXFP4, ids, "--context", len(ids), "--threads", 1)
    got = st.read(out)
    modules = [n.removesuffix(TOKENS) for n in truth if n.endswith(TOKENS)]
    wrong = [m for m in modules if got[m + TOKENS][0] != truth[m + TOKENS][0]]
    check(not wrong and len(modules) > 150, "tokens of each linear", wrong[:3])
    worst = max((off(got[m + MEAN], truth[m + MEAN]), m) for m in modules)
    check(worst[0] < 5e-6, "mean squares are the truth's", worst)       # inputs are f32, and so are the means
    seen = {m.rsplit(".", 1)[1] for m in modules}
    check({"q_proj", "o_proj", "in_proj_qkv", "out_proj", "gate", "shared_expert_gate", "gate_proj", "up_proj",
           "down_proj"} <= seen, "all kinds of linears", seen)
    unused = [m for m in got if m.endswith(TOKENS) and got[m][0] == 0]
    check(unused and all(not got[m.removesuffix(TOKENS) + MEAN].any() for m in unused),
          "what saw no token has zeros", unused[:3])


def numpy_norm(x, weight):
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * (1 + weight)


def test_trace(ids):
    """From what `trace` says of each window: inputs of mixers, and how many tokens each expert got"""
    C = 200
    report, out = calibrate(BF16, ids[:2 * C], "--context", C, "--threads", 1)
    got = st.read(out)
    traces = [trace(BF16, ids[b:b + C - 1]) for b in (0, C)]            # a window's last token is a target only
    x = np.concatenate([t["residual"] for t in traces], axis=1)
    routing = np.concatenate([t["routing"] for t in traces], axis=1)
    stored = {}
    for f in os.listdir(BF16):
        if f.endswith(".safetensors"):
            stored |= st.read(os.path.join(BF16, f))
    for i in range(1, LAYERS):
        h = numpy_norm(x[i - 1], st.from_bf16(stored[f"{PREFIX}{i}.input_layernorm.weight"]))
        names = [n for n in got if n.startswith(f"{PREFIX}{i}.") and n.endswith(MEAN)
                 and ("attn.in_proj" in n or "attn.q_p" in n or "attn.k_p" in n or "attn.v_p" in n)]
        check(len(names) in (3, 4) and all(off(got[n], (h * h).mean(0)) < 2e-6 for n in names),
              f"layer {i}: the mixer's inputs", names)
    loads = np.array([np.bincount(r.ravel(), minlength=E) for r in routing])
    found = np.array([[got[f"{PREFIX}{i}.mlp.experts.{e}.down_proj{TOKENS}"][0] for e in range(E)] for i in range(LAYERS)])
    check(np.array_equal(loads, found), "tokens of each expert are the routing's", (loads - found).tolist())
    rare = [dict(layer=i, expert=e, tokens=int(loads[i, e])) for i in range(LAYERS) for e in range(E) if loads[i, e] < 32]
    x = report["experts"]
    check(x["rare"] == rare and x["min_tokens"] == 32 and x["count"] == LAYERS * E
          and x["unused"] == int((loads == 0).sum()), "rarely used experts are named", x)
    check(report["tokens"] == 2 * (C - 1) and report["windows"] == 2 and report["passes"] == 1, "the report", report)


def test_file(ids):
    files = [calibrate(c, ids[:64], "--context", 32, "--threads", 1)[1] for c in (BF16, MXFP4)]
    headers = [st.split(f)[0] for f in files]
    notes = [h.pop("__metadata__") for h in headers]
    check(headers[0] == headers[1], "fused and split experts have the same names and shapes")
    D, I = 128, 64
    expert = f"{PREFIX}2.mlp.experts.5."
    check(headers[0][expert + "gate_proj" + MEAN]["shape"] == [D] and headers[0][expert + "down_proj" + MEAN]["shape"] == [I]
          and headers[0][expert + "up_proj" + MEAN]["dtype"] == "F32" and headers[0][expert + "up_proj" + TOKENS]["dtype"] == "I64"
          and headers[0][expert + "up_proj" + TOKENS]["shape"] == [1], "dtypes and shapes")
    check(not any("lm_head" in n or "norm" in n for n in headers[0]), "the head and norms are no linears of layers")
    check(notes[0]["checkpoint"] != notes[1]["checkpoint"] and notes[0]["text"] == notes[1]["text"]
          and notes[0]["context"] == "32" and notes[0]["tokens"] == "62" and notes[0]["protocol"] == "disjoint", "metadata", notes)
    summary = json.loads(run("eval", BF16, "--ids", ids_file(ids[:64]), "--context", 32, "--json", "--quiet").stdout)
    check(summary["checkpoint"]["digest"] == notes[0]["checkpoint"] and summary["text"]["sha256"] == notes[0]["text"],
          "digests are eval's", notes[0])


def test_repeatable(ids):
    def data(*options):
        report, out = calibrate(BF16, ids, "--context", 100, *options)
        return report["passes"], open(out, "rb").read()

    _, one = data("--threads", 1)
    for threads in (2, 3):
        check(data("--threads", threads)[1] == one, f"{threads} threads: the same bytes")
    for megabytes in range(8, 400):             # the least that suffices: how much that is depends on the build
        try:
            passes, small = data("--threads", 1, "--memory", f"{megabytes}M")
            break
        except RuntimeError as e:
            if "too small" not in str(e):
                raise
    check(small == one and passes > 1, "a small budget: the same bytes in passes", passes)


def test_cost(ids):
    """The plan's FLOP are those of every layer for every token, and of no head."""
    cost = json.loads(run("inspect", BF16, "--json").stdout)["cost"]["flop_per_token"]
    p = run("calibrate", BF16, "--ids", ids_file(ids), "--out", fresh(), "--context", 64, "--max-windows", 4, "--progress")
    said = re.search(r"([\d.e-]+) TFLOP", p.stderr)
    check(said and abs(float(said[1]) * 1e12 / (4 * 63 * cost) - 1) < 0.01, "the cost is said", (p.stderr[:300], cost))


def test_others():
    """Other architectures: sums of routing hold, dense models have no experts, and a window of one token is none."""
    for name in ("moe-odd", "moe-top1", "packed", "packed-dense", "dense-tied"):
        checkpoint = os.path.join(FIXTURES, name)
        config = json.load(open(os.path.join(checkpoint, "config.json")))
        config = config.get("text_config", config)
        report, out = calibrate(checkpoint, np.arange(41) % 20, "--context", 8, "--protocol", "strided", "--threads", 2)
        got = st.read(out)
        k = config.get("num_experts_per_tok", 0) if config.get("num_experts") else 0
        down = [int(v[0]) for n, v in got.items() if ".experts." in n and n.endswith("down_proj" + TOKENS)]
        others = {int(v[0]) for n, v in got.items() if ".experts." not in n and n.endswith(TOKENS)}
        check(report["tokens"] == 35 and others == {35} and sum(down) == 35 * k * config["num_hidden_layers"]
              and (report["experts"] is None) == (k == 0), f"{name}: every linear sees its tokens", (report, others, sum(down)))
        check(2 * report["linears"] == len(got) and all(np.isfinite(v).all() for v in got.values()), f"{name}: finite numbers")


def test_refusals():
    old = fresh("old")
    with open(old, "w") as f:
        f.write("old")
    ids = ids_file([1, 2, 3])
    for name, says, args in (
            ("too short a text", "fewer than one window", ["--ids", ids, "--out", old, "--context", 8]),
            ("no folder", "No such file", ["--ids", ids, "--out", "/no/such/folder/x", "--context", 2]),
            ("an id outside", "has id 4160", ["--ids", ids_file([4160, 1]), "--out", old, "--context", 2]),
            ("little memory", "too small", ["--ids", ids, "--out", old, "--context", 2, "--memory", "1K"])):
        r = subprocess.run([SURPRISAL, "calibrate", BF16, *map(str, args)], capture_output=True, text=True)
        check(r.returncode == 1 and says in r.stderr and open(old).read() == "old", f"refused: {name}", r)


def main():
    ids = st.read(os.path.join(FIXTURES, "goldens", "tiny-bf16", "long.safetensors"))["ids"]
    for test, *args in ((test_truth,), (test_trace, ids), (test_file, ids), (test_repeatable, ids), (test_cost, ids), (test_others,),
                        (test_refusals,)):
        attempt(test.__name__, test, *args)
    done()


if __name__ == "__main__":
    main()
