"""The demo checkpoints give the numbers of ../shared/goldens (slimmed copies in ../fixtures/goldens).

SURPRISAL_TEST_ALL=1 runs every protocol over the whole test text; else one with each checkpoint, as
they take 30 to 60 seconds each; SURPRISAL_TEST_QUICK=1, which `make SANITIZE=1 test` sets, none, and of the
24 windows six;
SURPRISAL_TEST_QUICK=2, which `make EMULATE=1 test` and `make CROSS=... test` set, as an emulated CPU is a
hundred times slower, only the prompt and the first window.
"""
import json
import os

import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, SHARED, evaluate, fresh, ids_file, run, trace
from test_fixtures import compare_nll, compare_trace

from check import QUICK, attempt, check, done, skip

TEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")
PROTOCOLS = {                               # name in protocols.json -> options; which checkpoint runs it by default
    "disjoint-512": (["--protocol", "disjoint", "--context", 512], None),
    "disjoint-2048": (["--protocol", "disjoint", "--context", 2048], None),
    "strided-2048-2048": (["--protocol", "strided", "--context", 2048, "--stride", 2048], None),
    "strided-1024-512": (["--protocol", "strided", "--context", 1024, "--stride", 512], None),
    "llama-512": (["--protocol", "llama", "--context", 512], None),
    "llama-2048": (["--protocol", "llama", "--context", 2048], "tiny-mxfp4"),
    # after <|endoftext|>, which is not the default
    "rolling-1024-one-document": (["--protocol", "rolling", "--context", 1024, "--prefix-id", 4063], "tiny-bf16"),
}
EMULATED = QUICK == 2


def wanted(variable):
    return os.environ.get(variable, "0") not in ("", "0")


def find(*candidates):
    return next((c for c in candidates if os.path.exists(c)), None)


def first_windows(x, n):
    """What windows.safetensors would hold if it had only n windows."""
    few = {k: v[:n] for k, v in x.items()}
    few["near_ties"] = x["near_ties"][x["near_ties"][:, 0] < n]
    return few


def routing_agrees(checkpoint, x):
    """Tokens of the windows up to the first that got other experts than in truth, where truth nearly chose them."""
    agrees = np.ones(x["nll_truth"].shape, bool)
    for w in np.unique(x["near_ties"][:, 0]):
        routing = trace(checkpoint, x["ids"][w])["routing"]
        for _, layer, t, *experts in x["near_ties"][x["near_ties"][:, 0] == w]:
            if set(routing[layer, t]) != set(experts):
                agrees[w, t:] = False
    return agrees


def test_windows(name, checkpoint, x):
    _, got = evaluate(checkpoint, x["ids"], "--protocol", "disjoint", "--context", 512)
    nll, agrees = got["nll"].reshape(x["nll_truth"].shape), routing_agrees(checkpoint, x)
    print(f"{name}: routing agrees for {agrees.mean():.2%} of the tokens")
    check(agrees.mean() > 0.9, f"{name}: routing is the truth's but for near-ties", f"{agrees.mean():.2%}")
    compare_nll(f"{name} windows", nll[agrees], x["nll_truth"][agrees], x["nll_f32"][agrees])


def test_bf16(name, checkpoint):
    """BF16 compute makes errors of the size and distribution of transformers' own in bfloat16.  One rounding that falls
    the other way may change a token's experts, so tokens are not compared one by one."""
    golden = os.path.join(SHARED, "goldens", name, "windows.safetensors")
    if not os.path.exists(golden):
        return skip(f"{name}: bf16", "no ../shared/goldens")
    x = st.read(golden)
    truth = x["nll_truth"]
    windows = slice(0, 6) if QUICK else slice(None)
    truth, theirs = truth[windows], x["nll_bf16"][windows].astype(np.float64)
    _, got = evaluate(checkpoint, x["ids"][windows], "--context", 512, "--compute", "bf16")
    ours, theirs = got["nll"].reshape(truth.shape) - truth, theirs - truth
    noise = theirs.std() / theirs.size ** 0.5
    for what, a, b in (("mean error", np.abs(ours).mean(), np.abs(theirs).mean()),
                       ("99th percentile", np.quantile(np.abs(ours), 0.99), np.quantile(np.abs(theirs), 0.99))):
        check(0.8 * b < a < 1.2 * b, f"{name}: bf16 {what} is that of transformers", f"{a:.4f} against {b:.4f}")
    check(abs(ours.mean()) <= abs(theirs.mean()) + 3 * noise, f"{name}: bf16 mean NLL is as near to truth",
          f"{ours.mean():+.5f} against {theirs.mean():+.5f}, noise {noise:.5f}")
    together = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    check(together > 0.4, f"{name}: bf16 errors are largely the same ones", f"correlation {together:.2f}")


def test_long(name, checkpoint, x):
    # transformers' error on windows of 512 is 1.8e-6 in the mean and 3.8e-5 at most; longer ones are no excuse.
    _, got = evaluate(checkpoint, x["ids"], "--protocol", "disjoint", "--context", 4096)
    error = np.abs(got["nll"] - x["nll_truth"])
    check(error.mean() <= 1.8e-6 and error.max() <= 3.8e-5, f"{name}: one window of 4096",
          f"error mean {error.mean():.2g}, max {error.max():.2g}")


def test_repeatable(name, checkpoint, ids):
    """The same bytes whatever the number of threads and the passes that the memory budget asks for."""
    path, outs = ids_file(ids), []

    def once(*options):
        out = fresh()
        run("eval", checkpoint, "--ids", path, "--context", 512, "--out", out, *options)
        outs.append(out)

    once("--threads", 1)
    once("--threads", 2)
    for megabytes in range(20, 400, 4):         # the least that suffices: how much that is depends on the build
        try:
            once("--threads", 2, "--memory", f"{megabytes}M")
            break
        except RuntimeError as e:
            if "too small" not in str(e):
                raise
    tokens = [open(os.path.join(o, "tokens.safetensors"), "rb").read() for o in outs]
    passes = [json.load(open(os.path.join(o, "summary.json")))["passes"] for o in outs]
    check(tokens[0] == tokens[1], f"{name}: one thread and two give the same bytes")
    check(tokens[0] == tokens[2], f"{name}: {passes[2]} passes give the bytes of {passes[0]}")


def test_strided(name, checkpoint, ids, context=256, stride=100):
    """Overlapping windows: what each token gets in the first window that reaches it, to the last bit."""
    ids = ids[:1500]
    begins = range(0, len(ids) - context + stride, stride)
    whole = [b for b in begins if b + context <= len(ids)]
    spans = [(b, min(b + context, len(ids))) for b in begins]
    alone = evaluate(checkpoint, np.concatenate([ids[b:b + context] for b in whole]), "--context", context)[1]["nll"]
    nll = list(alone.reshape(len(whole), -1))
    nll += [evaluate(checkpoint, ids[b:e], "--context", e - b)[1]["nll"] for b, e in spans[len(whole):]]
    parts, scored = [], 1
    for (b, e), row in zip(spans, nll):
        parts.append(row[scored - b - 1:])
        scored = e
    _, got = evaluate(checkpoint, ids, "--protocol", "strided", "--context", context, "--stride", stride)
    check(np.array_equal(got["position"], np.arange(1, len(ids))), f"{name} strided: each token but the first is scored once")
    check(np.array_equal(got["nll"], np.concatenate(parts)), f"{name} strided: the bits of each window alone")


def test_protocols(name, checkpoint, results):
    for protocol, (options, default) in PROTOCOLS.items():
        label, expected = f"{name} {protocol}", results[protocol]
        if QUICK:
            skip(label, "the whole text takes minutes under sanitizers or emulation")
            continue
        if default != name and not wanted("SURPRISAL_TEST_ALL"):
            skip(label, "set SURPRISAL_TEST_ALL=1 for all protocols")
            continue
        summary, _ = evaluate(checkpoint, TEXT, *options)
        for key in ("windows", "scored"):
            check(summary[key] == expected[key], f"{label}: {key}", f"{summary[key]}, expected {expected[key]}")
        # the expected mean is transformers' in float32: 400 k errors of 2e-6, of either sign, plus a routing flip
        error = summary["mean_nll"] - expected["mean_nll"]
        check(abs(error) <= 2e-6, f"{label}: mean NLL", f"off by {error:.2g}")


def main():
    for name in ("tiny-bf16", "tiny-mxfp4"):
        checkpoint = find(os.path.join(ROOT, "data", "demo", name.removeprefix("tiny-")),
                          os.path.join(SHARED, "checkpoints", name))
        goldens = find(os.path.join(FIXTURES, "goldens", name))
        if not checkpoint or not goldens:
            skip(name, "no demo checkpoint" if not checkpoint else "no goldens")
            continue
        x = {f: st.read(os.path.join(goldens, f + ".safetensors")) for f in ("windows", "prompt", "long")}
        with open(os.path.join(goldens, "protocols.json")) as f:
            protocols = json.load(f)["results"]
        if QUICK:
            x["windows"] = first_windows(x["windows"], 1 if EMULATED else 6)
        tests = [(test_windows, x["windows"]), (test_long, x["long"]), (test_strided, x["long"]["ids"]),
                 (test_repeatable, x["windows"]["ids"]), (test_bf16,)]
        if EMULATED:
            tests = tests[:1]
        for test, *args in tests:
            attempt(f"{name}: {test.__name__}", test, name, checkpoint, *args)
        try:
            compare_trace(f"{name} prompt", checkpoint, x["prompt"])
            if os.path.exists(TEXT):
                test_protocols(name, checkpoint, protocols)
            else:
                skip(f"{name} protocols", "no test text in ../shared/data")
        except (RuntimeError, KeyError, ValueError, OSError) as e:
            check(False, f"{name}: prompt and protocols", repr(e))
    done()


if __name__ == "__main__":
    main()
