"""The figures of `surprisal compare`, computed again with numpy and scipy from the runs' columns; and the goldens in float64."""
import itertools
import json
import os

import numpy as np
import safetensors_io as st
from program import ROOT, SHARED, fresh, ids_file, run
from test_divergence import PAIR, QUANTILES as TAIL, by_numpy, head, states, unit_error

from check import QUICK, attempt, check, done, skip

try:
    from scipy import stats
except ImportError:
    stats = None

DEMO = os.path.join(ROOT, "data", "demo")
QUANTILES = {"min": 0, "p01": .001, "p1": .01, "p5": .05, "p10": .1, "median": .5, "p90": .9, "p95": .95, "p99": .99,
             "p999": .999, "max": 1}


def close(name, found, expected, rtol=1e-9, atol=0.0):
    check(found is not None and np.allclose(found, expected, rtol=rtol, atol=atol), name, f"{found}, expected {expected}")


def ratio_error(sums, counts):
    """-> mean over tokens, its standard error over units"""
    mean, units = sums.sum() / counts.sum(), len(sums)
    if units == 1:
        return mean, None
    return mean, np.sqrt(units / (units - 1) * ((sums - mean * counts) ** 2).sum()) / counts.sum()


def by_unit(unit, x):
    return np.array([x[unit == u].sum() for u in np.unique(unit)])


def compare(a, b, *options):
    return json.loads(run("compare", a, b, "--json", *options).stdout)


def pair(*options, text=os.path.join(DEMO, "text.txt")):
    """Both demo checkpoints -> their folders"""
    outs = []
    for name in ("bf16", "mxfp4"):
        outs.append(fresh())
        run("eval", os.path.join(DEMO, name), "--text", text, "--out", outs[-1], "--threads", 1, *options)
    return outs


def columns(folder):
    return st.read(os.path.join(folder, "tokens.safetensors"))


def check_paired(name, d, a, b, unit):
    delta, ones = b["nll"] - a["nll"], np.ones(len(a["nll"]))
    n = by_unit(unit, ones)
    sums = {k: by_unit(unit, v) for k, v in (("a", a["nll"]), ("b", b["nll"]), ("d", delta))}
    mean, error = ratio_error(sums["d"], n)
    df, N = len(n) - 1, len(delta)
    close(f"{name}: delta_nll", d["delta_nll"], mean)
    close(f"{name}: delta_nll_stderr", d["delta_nll_stderr"], error)
    check(d["units"] == len(n) and d["scored"] == N, f"{name}: counts", (d["units"], d["scored"]))
    (mean_a, error_a), (mean_b, error_b) = (ratio_error(sums[k], n) for k in "ab")
    close(f"{name}: unpaired", d["unpaired"]["delta_nll_stderr"], np.hypot(error_a, error_b))
    pa, pb = np.exp(mean_a), np.exp(mean_b)
    close(f"{name}: perplexity_ratio", d["perplexity_ratio"], pb / pa)
    close(f"{name}: perplexity_ratio_stderr", d["perplexity_ratio_stderr"], pb / pa * error)
    residual = pb * (sums["b"] - mean_b * n) - pa * (sums["a"] - mean_a * n)
    spread = np.sqrt((df + 1) / df * (residual ** 2).sum()) / N
    close(f"{name}: perplexity_difference", d["perplexity_difference"], pb - pa)
    close(f"{name}: perplexity_difference_stderr", d["perplexity_difference_stderr"], spread)
    close(f"{name}: naive stderr", d["naive"]["delta_nll_stderr"], delta.std(ddof=1) / np.sqrt(N))
    if not stats:
        return skip(f"{name}: p-values and intervals", "no scipy")
    q = stats.t.ppf(.975, df)
    close(f"{name}: p_value", d["p_value"], 2 * stats.t.sf(abs(mean / error), df))
    close(f"{name}: interval", d["delta_nll_ci95"], [mean - q * error, mean + q * error])
    close(f"{name}: ratio's interval", d["perplexity_ratio_ci95"], np.exp(d["delta_nll_ci95"]))
    close(f"{name}: difference's interval", d["perplexity_difference_ci95"], [pb - pa - q * spread, pb - pa + q * spread])
    naive = stats.ttest_rel(b["nll"], a["nll"])
    close(f"{name}: naive p", d["naive"]["p_value"], naive.pvalue, 1e-8)
    close(f"{name}: naive interval", d["naive"]["delta_nll_ci95"], list(naive.confidence_interval(.95)), 1e-8)
    if np.ptp(n) == 0:                      # equal windows: the ratio estimator is scipy's paired t-test of the means
        t = stats.ttest_rel(sums["b"] / n, sums["a"] / n)
        close(f"{name}: scipy's paired t-test over windows", d["p_value"], t.pvalue, 1e-8)
    needed = ((stats.norm.ppf(.975) + stats.norm.ppf(.8)) * error * np.sqrt(df + 1) / mean) ** 2
    close(f"{name}: units_needed", d["units_needed"], max(2, np.ceil(needed)))


def check_bootstrap(name, d, a, b, unit):
    """Another generator: equal within the Monte-Carlo error of both, 1 / sqrt(2 samples) each."""
    rng, n = np.random.default_rng(5), by_unit(unit, np.ones(len(unit)))
    sums = by_unit(unit, b["nll"] - a["nll"])
    drawn = rng.integers(0, len(n), (20000, len(n)))
    means = sums[drawn].sum(1) / n[drawn].sum(1)
    error = means.std(ddof=1)
    found = d["bootstrap"]
    close(f"{name}: bootstrap stderr", found["stderr"], error, 4 * (1 / (2 * found["samples"]) + 1 / 40000) ** .5)
    close(f"{name}: bootstrap interval", found["ci95"], np.quantile(means, (.025, .975)), 0, 0.15 * error)


def is_class(b, inside, near, side, kld, same, unit):
    """Are b's figures those of the tokens inside, with the ones near an edge as `side` says?"""
    inside = inside.copy()
    inside[near] = side
    mean, error = unit_error(kld[inside], unit[inside])
    return (b["scored"] == inside.sum() and abs(b["mean_kld"] / mean - 1) < 1e-5 and abs(b["kld_stderr"] / error - 1) < 1e-4
            and abs(b["same_top1"] - same[inside].mean()) < 1e-3)


def check_divergence(name, d, folders, unit):
    """Every figure of KL from numpy's logits in float64 of the hidden states that both runs of the demo pair kept."""
    heads = [st.from_bf16(head(c)).astype(np.float64) for c in PAIR]
    kept = [states(f) for f in folders]
    rows = np.concatenate([by_numpy(*(h[i:i + 2048].astype(np.float64) @ w.T for h, w in zip(kept, heads)))
                           for i in range(0, len(kept[0]), 2048)])
    kld, reverse, top_a, overlap, same = rows.T
    for key, values in (("kld", kld), ("kld_reverse", reverse)):
        mean, error = unit_error(values, unit)
        close(f"{name}: mean_{key}", d[f"mean_{key}"], mean, 0, 1e-8)
        close(f"{name}: {key}_stderr", d[f"{key}_stderr"], error, 1e-5)
        close(f"{name}: {key} percentiles", [d[key][k] for k in TAIL], [np.quantile(values, q) for q in TAIL.values()], 1e-5, 1e-6)
    # In f32 the second of two logits that are all but equal may be the first.
    close(f"{name}: same_top1 and top5_overlap", [d["same_top1"], d["top5_overlap"]], [same.mean(), overlap.mean() / 5], 0, 5e-4)
    edges = [0, 0.25, 0.5, 0.75, 0.95, 1]
    for i, b in enumerate(d["kld_by_confidence"]):
        inside = (top_a >= edges[i]) & ((top_a < edges[i + 1]) | (i == 4))
        # f32 may put a token whose probability is all but an inner edge on the other side of it.
        near = np.flatnonzero(np.any([abs(top_a - e) < 2e-6 for e in edges[i:i + 2] if 0 < e < 1], axis=0))
        check(any(is_class(b, inside, near, side, kld, same, unit) for side in itertools.product((False, True), repeat=len(near))),
              f"{name}: KL by confidence from {edges[i]}", (b, inside.sum(), unit_error(kld[inside], unit[inside]), len(near)))
    windows = [(w["mean_kld"], kld[unit == w["window"]].mean()) for w in d["windows"]]
    close(f"{name}: KL by window", *zip(*windows), 1e-5)
    worst = {p: k for p, k in zip(columns(folders[0])["position"].tolist(), kld)}
    close(f"{name}: KL of the worst tokens", [t["kld"] for t in d["worst_tokens"]], [worst[t["position"]] for t in d["worst_tokens"]],
          1e-4, 1e-5)


def check_agreement(name, d, a, b):
    pa, pb = np.exp(-a["nll"]), np.exp(-b["nll"])
    close(f"{name}: same_top1", d["same_top1"], (a["top1"] == b["top1"]).mean())
    close(f"{name}: mean_delta_p", d["mean_delta_p"], (pb - pa).mean(), atol=1e-15)
    close(f"{name}: rms_delta_p", d["rms_delta_p"], np.sqrt(((pb - pa) ** 2).mean()))
    close(f"{name}: p_correlation", d["p_correlation"], np.corrcoef(pa, pb)[0, 1])
    for key, q in QUANTILES.items():
        close(f"{name}: delta_p {key}", d["delta_p"][key], np.quantile(pb - pa, q), atol=1e-15)


def check_places(name, d, a, b, unit, index):
    """windows, positions, worst windows and tokens"""
    delta = b["nll"] - a["nll"]
    units = np.unique(unit)
    check([w["window"] for w in d["windows"]] == units.tolist(), f"{name}: every unit is listed")
    close(f"{name}: their means", [[w["scored"], w["nll_a"], w["nll_b"], w["delta_nll"]] for w in d["windows"]],
          [[(unit == u).sum(), *(x[unit == u].mean() for x in (a["nll"], b["nll"], delta))] for u in units])
    ranges = d["positions"]
    check(0 < len(ranges) <= 32 and sum(r["scored"] for r in ranges) == len(delta) and ranges[0]["from"] == index.min()
          and ranges[-1]["to"] == index.max() and all(x["to"] < y["from"] for x, y in zip(ranges, ranges[1:])),
          f"{name}: ranges of positions cover all", ranges)
    for r in ranges:
        inside = (index >= r["from"]) & (index <= r["to"])
        mean, error = ratio_error(by_unit(unit[inside], delta[inside]), by_unit(unit[inside], np.ones(inside.sum())))
        close(f"{name}: NLL at {r['from']} to {r['to']}", [r["scored"], r["nll_a"], r["nll_b"], r["delta_nll"]],
              [inside.sum(), a["nll"][inside].mean(), b["nll"][inside].mean(), mean])
        if error is None:
            check(r["delta_nll_stderr"] is None, f"{name}: no error from one window", r)
        else:
            close(f"{name}: its error", r["delta_nll_stderr"], error)
    worst = np.argsort(-np.abs(delta), kind="stable")[:20]
    check([t["position"] for t in d["worst_tokens"]] == a["position"][worst].tolist(), f"{name}: the worst tokens", d["worst_tokens"][:2])
    close(f"{name}: their NLL", [[t["nll_a"], t["nll_b"], t["delta_nll"]] for t in d["worst_tokens"]],
          np.stack([a["nll"], b["nll"], delta], 1)[worst])
    means = np.array([delta[unit == u].mean() for u in units])
    check([w["window"] for w in d["worst_windows"]] == units[np.argsort(-np.abs(means), kind="stable")[:10]].tolist(),
          f"{name}: the worst windows", d["worst_windows"][:2])


def check_text(name, d, text):
    """before + token + after stands in the text, and windows begin where they say."""
    for t in d["worst_tokens"]:
        around = t["before"] + t["token"] + t["after"]
        if not check("�" in around or around in text, f"{name}: token {t['position']} with its text", t):
            return
    check(all(w["text"] in text for w in d["worst_windows"] if "�" not in w["text"]), f"{name}: windows with their text")
    check(all(len(t["before"]) <= 60 and len(t["after"]) <= 60 for t in d["worst_tokens"]), f"{name}: 60 characters around")


def test_demo():
    text = open(os.path.join(DEMO, "text.txt"), encoding="utf-8").read()
    stride, context = 96, 160
    for name, options, index_of in (
            ("disjoint", ["--context", 128, "--max-windows", 40, "--hidden"], lambda x: x["position"] - 128 * x["window"]),
            ("llama", ["--context", 128, "--protocol", "llama", "--max-windows", 40], lambda x: x["position"] - 128 * x["window"]),
            ("strided", ["--context", context, "--stride", stride, "--protocol", "strided", "--max-windows", 40],
             lambda x: x["position"] - stride * x["window"])):
        folders = pair(*options)
        a, b = map(columns, folders)
        d = compare(*folders)
        check_paired(name, d, a, b, a["window"])
        check_bootstrap(name, d, a, b, a["window"])
        check_agreement(name, d, a, b)
        check_places(name, d, a, b, a["window"], index_of(a))
        check_text(name, d, text)
        if name == "disjoint":
            check_divergence(name, d, folders, a["window"])
        check(d["unit"] == "window" and d["repeat"]["command"].startswith("surprisal compare "), f"{name}: unit and command", d["repeat"])


def test_documents():
    """Articles of a WikiText file are the units."""
    text, rng = fresh("articles"), np.random.default_rng(1)
    words = open(os.path.join(DEMO, "text.txt"), encoding="utf-8").read().split()
    with open(text, "w", encoding="utf-8") as f:
        for i in range(9):
            begin = rng.integers(0, len(words) - 200)
            f.write(f" = Article {i} = \n \n {' '.join(words[begin:begin + rng.integers(20, 200)])} \n ")
    folders = pair("--context", 64, "--task", "wikitext", text=text)
    a, b = map(columns, folders)
    with open(os.path.join(folders[0], "summary.json")) as f:
        windows = json.load(f)["documents"]["windows"]
    document = np.repeat(np.arange(len(windows)), windows)[a["window"]]
    d = compare(*folders)
    check(d["unit"] == "document" and d["units"] == 9 and max(windows) > 1, "documents: they are the units", (d["units"], windows))
    check_paired("documents", d, a, b, document)
    check_bootstrap("documents", d, a, b, document)
    first = np.array([np.flatnonzero(a["window"] == w)[0] for w in range(sum(windows))])
    last = np.array([np.flatnonzero(a["window"] == w)[-1] for w in range(sum(windows))])
    starts = np.isin(np.arange(sum(windows)), np.cumsum([0] + windows[:-1]))
    rows = np.arange(len(document))
    index = np.where(starts[a["window"]], rows - first[a["window"]] + 1, 64 - (last[a["window"]] - rows))
    check_places("documents", d, a, b, document, index)


def test_golden():
    golden = os.path.join(SHARED, "goldens", "compare", "tiny")
    checkpoints = [os.path.join(SHARED, "checkpoints", "tiny-" + kind) for kind in ("bf16", "mxfp4")]
    ids = os.path.join(SHARED, "goldens", "tiny-bf16", "windows.safetensors")
    if not all(map(os.path.exists, (*checkpoints, golden + ".json", golden + ".safetensors", ids))):
        return skip("golden", "no ../shared/goldens/compare")
    if QUICK:
        return skip("golden", "24 windows take minutes under sanitizers or emulation")
    expected, truth = json.load(open(golden + ".json")), st.read(golden + ".safetensors")
    folders = [fresh(), fresh()]
    source = ids_file(st.read(ids)["ids"])
    for checkpoint, out in zip(checkpoints, folders):
        run("eval", checkpoint, "--ids", source, "--context", 512, "--out", out, "--threads", 1, "--hidden")
    d = compare(*folders, "--tokenizer", checkpoints[0])
    # Means of 12,264 errors of 1e-6: far below, but a near-tie of experts may fall the other way.
    close("golden: delta_nll", d["delta_nll"], expected["delta_nll"], 0, 2e-6)
    close("golden: delta_nll_stderr", d["delta_nll_stderr"], expected["delta_nll_stderr"], 0, 2e-6)
    close("golden: same_top1", d["same_top1"], expected["same_top1"], 0, 5e-4)
    for key in ("mean_kld", "mean_kld_reverse"):
        close(f"golden: {key}", d[key], expected[key], 0, 1e-6)
    close("golden: KL percentiles", [d["kld"]["median"], d["kld"]["p99"], d["kld"]["max"]],
          [expected["kld_" + k] for k in ("median", "p99", "max")], 1e-4, 1e-5)
    check(all(t["token"] is None and t["before"] is None for t in d["worst_tokens"]), "golden: runs of ids show no text", d["worst_tokens"][0])
    a, b = map(columns, folders)
    delta = (b["nll"] - a["nll"]).reshape(24, 511)
    error = np.abs(delta - truth["delta_nll"])
    check(np.median(error) < 5e-6 and (error < 1e-4).mean() > 0.9, "golden: differences by token", f"{np.median(error)}, {error.max()}")
    same = (a["top1"] == b["top1"]).reshape(24, 511) == truth["same_top1"]
    check(same.mean() > 0.999, "golden: agreement by token", same.mean())


def test_floor():
    folders = pair("--context", 128, "--max-windows", 12)
    floor = fresh()
    run("eval", os.path.join(DEMO, "bf16"), "--text", os.path.join(DEMO, "text.txt"), "--context", 128, "--max-windows", 12, "--out",
        floor, "--threads", 1, "--compute", "bf16")
    d, same = compare(*folders, "--floor=" + floor), compare(folders[0], floor)
    check("bf16" in d["floor"]["label"] and all(d["floor"][k] == same[k] for k in d["floor"] if k != "label")
          and d["floor"]["delta_nll"] != 0, "the noise floor is A compared with itself in bf16", d["floor"])
    check(same["repeat"]["compute_b"] == "bf16", "another compute type is allowed and named", same["repeat"])


def test_wikitext():
    """The whole of WikiText-2's test split, KL divergence too: some minutes."""
    source = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")
    if not os.environ.get("SURPRISAL_TEST_ALL") or not os.path.exists(source):
        return skip("wikitext", "set SURPRISAL_TEST_ALL=1 for the whole text" if os.path.exists(source) else "no " + source)
    folders = pair("--hidden", text=source)
    a, b = map(columns, folders)
    d = compare(*folders)
    check_paired("wikitext", d, a, b, a["window"])
    check_bootstrap("wikitext", d, a, b, a["window"])
    check_agreement("wikitext", d, a, b)
    check_places("wikitext", d, a, b, a["window"], a["position"] - 2048 * a["window"])
    check_divergence("wikitext", d, folders, a["window"])


if __name__ == "__main__":
    for test in (test_demo, test_documents, test_golden, test_floor, test_wikitext):
        attempt(test.__name__, test)
    done()
