"""Small checkpoints unlike the demo (make_fixtures.py) give the truth's numbers."""
import os

import numpy as np
import safetensors_io as st
from program import FIXTURES, evaluate, fresh, trace

from check import check, done

# Nobody who computes in float32 beats its rounding: logits of about 8 have neighbours 9.5e-7 apart, so one
# rounding of the target's logit and of the log-sum-exp alone costs 2e-7 on average.  Where transformers is
# lucky in a few hundred tokens, these are enough.
MEAN_FLOOR, MAX_FLOOR = 2e-7, 2e-6
# The largest of a few hundred errors is that of one ill-conditioned token, in which transformers may be lucky too: any
# other order of the same sums moves it by a factor of ten.  So this many times what a rounding of the weights costs
# the token is granted (make_fixtures.rounding); activations are rounded too: all kernel sets stay below 7.
ROUNDINGS = 10


def compare_nll(name, got, truth, f32, rounding=0.0):
    """Mean and largest error not above those of transformers in float32."""
    ours, theirs = np.abs(got - truth), np.abs(f32 - truth)
    mean = max(theirs.mean(), MEAN_FLOOR)
    largest = np.maximum(ROUNDINGS * rounding, max(theirs.max(), MAX_FLOOR))
    check(ours.mean() <= mean, f"{name}: mean error of the NLL not above transformers'",
          f"{ours.mean():.3g}, transformers {theirs.mean():.3g}")
    check((ours <= largest).all(), f"{name}: largest error of the NLL not above transformers'",
          f"{ours.max():.3g} at {np.unravel_index(ours.argmax(), ours.shape)}, transformers {theirs.max():.3g}")


def compare_trace(name, checkpoint, x):
    """Residual by layer, routing, logits of the first window; x: what is expected (see make_fixtures.py)."""
    ids = x["ids"].reshape(-1, x["ids"].shape[-1])[0]
    got = trace(checkpoint, ids)
    check(np.array_equal(got["ids"], ids), f"{name}: trace repeats the ids")
    residual = got["residual"]
    if check(residual.shape[:2] == (len(x["residual"]), len(ids)), f"{name}: residual is [L, T, D]", residual.shape):
        error = np.abs(residual[:, x["rows"]] - x["residual"]).max((1, 2))
        size = np.abs(x["residual"]).max((1, 2))
        check((error <= 1e-5 * size).all(), f"{name}: residual after each layer within 1e-5 of its largest magnitude",
              ", ".join(f"layer {i}: {e / s:.2g}" for i, (e, s) in enumerate(zip(error, size))))
    if "routing" in x:
        wrong = np.argwhere((got["routing"] != x["routing"]).any(-1)) if "routing" in got else "none written"
        check(len(wrong) == 0, f"{name}: routing, by falling weight", f"differs at [layer, token] {wrong[:3]}")
    else:
        check("routing" not in got, f"{name}: no routing in a dense model")
    error = np.abs(got["logits"][x["rows"]] - x["logits"]).max()
    check(error <= 1e-5 * np.abs(x["logits"]).max(), f"{name}: logits", f"error {error:.2g}")


def compare_columns(name, summary, got, ids, x):
    W, T = ids.shape
    column = np.tile(np.arange(1, T), W)
    window = np.repeat(np.arange(W), T - 1)
    for key, expected in (("position", window * T + column), ("window", window), ("id", ids[:, 1:].ravel())):
        check(np.array_equal(got[key], expected), f"{name}: column {key}", got[key][:8])
    rows = x["rows"][x["rows"] < T - 1]
    logits = x["logits"][:len(rows)].astype(np.float64)
    logsumexp = np.log(np.exp(logits).sum(-1))
    check(np.array_equal(got["top1"][rows], logits.argmax(-1)), f"{name}: column top1", got["top1"][rows])
    check(np.allclose(got["logsumexp"][rows], logsumexp, rtol=2e-6, atol=2e-6), f"{name}: column logsumexp",
          np.abs(got["logsumexp"][rows] - logsumexp).max())
    sums = got["nll"].reshape(W, -1).sum(1)
    mean = sums.sum() / got["nll"].size
    error = np.sqrt(W / (W - 1) * ((sums - mean * (T - 1)) ** 2).sum()) / got["nll"].size
    expected = dict(windows=W, tokens=W * T, scored=W * (T - 1), mean_nll=mean, perplexity=np.exp(mean), nll_stderr=error)
    wrong = {k: summary.get(k) for k, v in expected.items() if not np.isclose(summary.get(k) or 0, v, rtol=1e-9)}
    check(not wrong, f"{name}: summary adds up", f"{wrong}, expected {expected}")


def compare(name, checkpoint, x):
    """x: what expected.safetensors holds"""
    ids = x["ids"]
    try:
        summary, got = evaluate(checkpoint, ids, "--protocol", "disjoint", "--context", ids.shape[1])
        if check(got["nll"].size == x["nll_truth"].size, f"{name}: scored tokens", got["nll"].size):
            compare_nll(name, got["nll"].reshape(x["nll_truth"].shape), x["nll_truth"], x["nll_f32"],
                        x["rounding"])
            compare_columns(name, summary, got, ids, x)
        compare_trace(name, checkpoint, x)
        return got
    except (RuntimeError, KeyError, OSError) as e:
        check(False, f"{name}: runs", repr(e))


def main():
    for name in sorted(os.listdir(FIXTURES)):
        folder = os.path.join(FIXTURES, name)
        if os.path.exists(os.path.join(folder, "expected.safetensors")):
            got = compare(name, folder, st.read(os.path.join(folder, "expected.safetensors")))
        if name == "shards-stale" and got:              # the same checkpoint, made of links
            linked = fresh("linked")
            os.mkdir(linked)
            for file in os.listdir(folder):
                os.symlink(os.path.join(folder, file), os.path.join(linked, file))
            again = evaluate(linked, st.read(os.path.join(folder, "expected.safetensors"))["ids"],
                             "--protocol", "disjoint", "--context", 50)[1]
            check(np.array_equal(again["nll"], got["nll"]), "a folder of links gives the same")
    done()


if __name__ == "__main__":
    main()
