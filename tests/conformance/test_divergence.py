"""KL divergence of the demo pair: by token and in sum against float64 truth (../shared/goldens/compare), against numpy on
the hidden states that the runs kept, and every figure against numpy on the tokens' values.  The driver is the unit
test build/tests/unit/compare/test_divergence, called with two checkpoints and run folders."""
import hashlib
import json
import os
import subprocess

import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, SHARED, SURPRISAL, fresh, ids_file, run
from test_goldens import routing_agrees

from check import QUICK, check, done, skip

DRIVER = os.path.join(os.path.dirname(SURPRISAL), "tests", "unit", "compare", "test_divergence")
PAIR = [os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4")]
TEXT = os.path.join(ROOT, "data", "demo", "text.txt")
QUANTILES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1}


def keep(checkpoint, *options, hidden="f32"):
    out = fresh()
    run("eval", checkpoint, "--threads", 1, "--quiet", "--out", out, "--hidden", hidden, *options)
    return out


def diverge(checkpoints, runs):
    """-> per token [n, 5]: kld, kld_reverse, top_a, overlap5, same_top1; the figures"""
    args = [x for pair in zip(checkpoints, runs) for x in pair]
    done = subprocess.run([DRIVER, *args], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-500:])
    *lines, figures = done.stdout.splitlines()
    return np.array([line.split() for line in lines], np.float64), json.loads(figures)


def head(checkpoint):
    """As bits of BF16."""
    for name in sorted(os.listdir(checkpoint)):
        if name.endswith(".safetensors"):
            tensors = st.read(os.path.join(checkpoint, name))
            if "lm_head.weight" in tensors:
                return tensors["lm_head.weight"]


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def first_choices(x):
    """The five largest of each row, best first; of equals the lower id."""
    best = np.sort(np.argpartition(-x, 4, axis=1)[:, :5], axis=1)
    order = np.argsort(-np.take_along_axis(x, best, 1), axis=1, kind="stable")
    return np.take_along_axis(best, order, 1)


def by_numpy(logits_a, logits_b):
    """The same five columns."""
    a, b = log_softmax(logits_a), log_softmax(logits_b)
    first = [first_choices(x) for x in (a, b)]
    overlap = [len(set(p) & set(q)) for p, q in zip(*first)]
    return np.stack([(np.exp(a) * (a - b)).sum(1), (np.exp(b) * (b - a)).sum(1), np.exp(a.max(1)), overlap,
                     first[0][:, 0] == first[1][:, 0]], 1)


def states(folder):
    return st.read(os.path.join(folder, "tokens.safetensors"))["hidden"]


def unit_error(values, unit):
    """Mean, and its standard error by unit: the ratio estimator."""
    units = np.unique(unit)
    mean, W = values.mean(), len(units)
    if W < 2:
        return mean, None
    residuals = [values[unit == u].sum() - mean * (unit == u).sum() for u in units]
    return mean, (W / (W - 1) * np.square(residuals).sum()) ** 0.5 / len(values)


def close(got, expected):
    return got is None if expected is None else got is not None and abs(got - expected) <= 1e-12 * abs(expected)


def test_figures(label, rows, figures, unit):
    kld, reverse, top_a, overlap, same = rows.T
    for values, name in ((kld, "kld"), (reverse, "kld_reverse")):
        mean, error = unit_error(values, unit)
        quantiles = {k: np.quantile(values, q) for k, q in QUANTILES.items()}
        check(close(figures[f"mean_{name}"], mean) and close(figures[f"{name}_stderr"], error)
              and list(figures[name]) == list(quantiles) and all(close(figures[name][k], quantiles[k]) for k in quantiles),
              f"{label}: {name} in sum", (figures[f"mean_{name}"], mean, error, figures[name], quantiles))
    check(close(figures["top5_overlap"], overlap.mean() / 5), f"{label}: top-5 overlap", figures["top5_overlap"])
    edges = [0, 0.25, 0.5, 0.75, 0.95, 1]
    for i, b in enumerate(figures["kld_by_confidence"]):
        inside = (top_a >= edges[i]) & ((top_a < edges[i + 1]) | (i == 4))
        expected = (*unit_error(kld[inside], unit[inside]), same[inside].mean()) if inside.any() else (None,) * 3
        check((b["from"], b["to"], b["scored"]) == (edges[i], edges[i + 1], inside.sum())
              and all(close(b[k], e) for k, e in zip(("mean_kld", "kld_stderr", "same_top1"), expected)),
              f"{label}: confidence from {edges[i]}", (b, expected))
    bins = np.concatenate([[0], 10 ** np.linspace(-10, 2, 49), [np.inf]])
    counts = np.histogram(kld, bins)[0]
    h = figures["kld_histogram"]
    check([b["scored"] for b in h] == list(counts) and np.allclose([b["from"] for b in h], bins[:-1], rtol=1e-14)
          and h[-1]["to"] is None and all(x["to"] == y["from"] for x, y in zip(h, h[1:])), f"{label}: histogram", h)


def test_states():
    """Given the hidden states, nothing is left but f32 logits to be off from numpy in float64."""
    options = ["--text", TEXT, "--context", 200, "--max-windows", 12]
    runs = [keep(c, *options) for c in PAIR]
    stored = [head(c) for c in PAIR]
    for h, r in zip(stored, runs):
        with open(os.path.join(r, "summary.json")) as f:
            named = json.load(f)["checkpoint"]["head_sha256"]
        check(named == hashlib.sha256(h.tobytes()).hexdigest(), "a run names its head by digest", named)
    heads = [st.from_bf16(h).astype(np.float64) for h in stored]
    unit = st.read(os.path.join(runs[0], "tokens.safetensors"))["window"]
    rows, figures = diverge(PAIR, runs)
    logits = [states(r).astype(np.float64) @ h.T for r, h in zip(runs, heads)]
    truth = by_numpy(*logits)
    error = np.abs(rows - truth)
    print(f"KL of {len(rows)} tokens: mean {rows[:, 0].mean():.6f}, off by {abs(rows[:, 0].mean() - truth[:, 0].mean()):.1e}, "
          f"a token by {error[:, 0].max():.1e} at most")
    check(error[:, :2].max() < 2e-6 and error[:, 2].max() < 1e-6, "f32 logits: KL as numpy's in float64", error.max(0))
    check((error[:, 3:] > 0).mean(0).max() <= 0.001, "first choices as numpy's", (error[:, 3:] > 0).sum(0))
    test_figures("demo pair", rows, figures, unit)

    halves = [keep(c, *options, hidden="bf16") for c in PAIR]
    rounded, _ = diverge(PAIR, halves)
    off = np.abs(rounded[:, 0] - rows[:, 0])
    print(f"--hidden bf16: mean KL {rounded[:, 0].mean():.6f} against {rows[:, 0].mean():.6f}; a token off by {off.mean():.1e} in "
          f"the mean, {np.quantile(off, 0.99):.1e} at p99, {off.max():.1e} at most")
    exact = by_numpy(*(st.from_bf16(states(r)).astype(np.float64) @ h.T for r, h in zip(halves, heads)))
    check(np.abs(rounded - exact)[:, :2].max() < 2e-6, "states in BF16: KL as numpy's of the rounded states")
    check(abs(rounded[:, 0].mean() / rows[:, 0].mean() - 1) < 0.01, "states in BF16 cost less than 1 % of the mean")

    compute = keep(PAIR[0], *options, "--compute", "bf16")
    floor, figures = diverge([PAIR[0]] * 2, [runs[0], compute])
    print(f"A against itself in BF16 compute: mean KL {figures['mean_kld']:.2e}, p99 {figures['kld']['p99']:.2e}")
    # its logits are rounded; some that lie near the middle between two BF16 values to the other one in float64
    rounded = st.from_bf16(st.bf16(states(compute).astype(np.float64) @ heads[0].T)).astype(np.float64)
    off = np.abs(floor[:, 0] - by_numpy(logits[0], rounded)[:, 0])
    check(off.mean() < 0.01 * floor[:, 0].mean(), "A against itself in BF16 compute as numpy's", f"{off.mean():.1e}, {off.max():.1e}")
    one = diverge(PAIR, [keep(c, "--text", TEXT, "--context", 50, "--max-windows", 1) for c in PAIR])
    test_figures("one window", *one, np.zeros(len(one[0]), int))
    same, figures = diverge([PAIR[0]] * 2, [runs[0]] * 2)
    check(not same[:, :2].any() and same[:, 4].all() and figures["mean_kld"] == figures["kld_stderr"] == 0,
          "a run from itself is exactly 0", figures)


def test_truth():
    label, golden = "goldens", os.path.join(SHARED, "goldens", "compare", "tiny")
    if not os.path.exists(golden + ".json"):
        return skip(label, "no ../shared/goldens/compare")
    if QUICK:
        return skip(label, "24 windows take minutes under sanitizers or emulation")
    windows = [st.read(os.path.join(FIXTURES, "goldens", name, "windows.safetensors")) for name in ("tiny-bf16", "tiny-mxfp4")]
    truth, total = st.read(golden + ".safetensors"), json.load(open(golden + ".json"))
    ids = ids_file(windows[0]["ids"].reshape(-1))
    rows, figures = diverge(PAIR, [keep(c, "--ids", ids, "--context", 512) for c in PAIR])
    agrees = np.logical_and(*(routing_agrees(c, x) for c, x in zip(PAIR, windows))).ravel()
    for column, name in ((0, "kld"), (1, "kld_reverse")):
        expected = truth[name].ravel()
        error = np.abs(rows[:, column] - expected)
        relative = error / expected
        bad = (error > 1e-5) & (relative > 1e-4) & agrees
        print(f"{name}: {agrees.mean():.2%} of the tokens have truth's experts; mean off by "
              f"{rows[agrees, column].mean() - expected[agrees].mean():+.1e} there, {rows[:, column].mean() - expected.mean():+.1e} in "
              f"all; a token by {error[agrees].max():.1e} at most")
        check(not bad.any(), f"{label}: {name} of each token to 1e-5 or 1e-4 of it", f"{bad.sum()} tokens: {error[bad]}")
        check(abs(rows[:, column].mean() - expected.mean()) < 1e-6, f"{label}: mean {name} to 1e-6",
              f"{rows[:, column].mean() - expected.mean():.1e}")
    check(abs(figures["mean_kld"] - total["mean_kld"]) < 1e-6
          and abs(figures["mean_kld_reverse"] - total["mean_kld_reverse"]) < 1e-6
          and all(abs(figures["kld"][k] - total[f"kld_{k}"]) < 1e-5 for k in ("median", "p99", "max")), f"{label}: figures",
          (figures, total))
    check((rows[agrees, 4] != truth["same_top1"].ravel()[agrees]).mean() < 1e-3
          and np.abs(rows[agrees, 2] - truth["top_probability_a"].ravel()[agrees]).max() < 1e-5,
          f"{label}: first choices and their probability")


if __name__ == "__main__":
    if not os.path.exists(DRIVER):
        skip("KL divergence", f"no {DRIVER}")
    else:
        test_states()
        test_truth()
    done()
