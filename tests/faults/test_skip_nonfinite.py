"""eval --skip-nonfinite (16.22): a window with a NaN is left out of all figures, which is said, and nothing reaches the others.
The engine's own test has threads, passes and states: tests/unit/engine/test_engine.c."""
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
import safetensors_io as st
from check import attempt, check, done
from nan import with_nan
from program import SURPRISAL, fresh, ids_file, run

BF16 = os.path.join(ROOT, "data", "demo", "bf16")
RARE = 77
IDS = [i + (i == RARE) for i in np.random.default_rng(3).integers(0, 500, 400).tolist()]
IDS[130] = RARE                     # in window 3 of 40 tokens
SOURCE = ("--ids", ids_file(IDS), "--context", "40", "--quiet")
SPOILT = with_nan(BF16, "embed_tokens.weight", (RARE, 5))


def program(*args):
    return subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=900)


def evaluated(checkpoint, *options, source=SOURCE):
    """-> folder, summary, rows, stderr"""
    out = fresh()
    r = run("eval", checkpoint, *source, "--out", out, *options)
    return out, summary(out), st.read(os.path.join(out, "tokens.safetensors")), r.stderr


def summary(folder):
    with open(os.path.join(folder, "summary.json")) as f:
        return json.load(f)


def compared(*args):
    r = run("compare", *args, "--json")
    return json.loads(r.stdout), r.stderr


def test_eval():
    for options in ((), ("--compute", "bf16"), ("--hidden",), ("--threads", "1")):
        label = " ".join(options)
        r = program("eval", SPOILT, *SOURCE, *options[:2 * (options[:1] != ("--hidden",))])
        check(r.returncode == 1 and "window 3" in r.stderr, f"16.22 {label}: without the option the run ends", r.stderr)
        out, s, rows, err = evaluated(SPOILT, "--skip-nonfinite", *options)
        _, whole, sound, _ = evaluated(BF16, *options)
        kept = sound["window"] != 3
        check(all(np.array_equal(rows[n][kept], sound[n][kept]) for n in sound), f"16.22 {label}: the other windows have the same bytes")
        gone = rows["nll"][~kept]
        check(np.isnan(gone).all() and (rows["top1"][~kept] == -1).all() and np.array_equal(rows["id"], sound["id"])
              and ("hidden" not in rows or np.isnan(rows["hidden"][~kept]).all()), f"16.22 {label}: its own rows are NaN", gone)
        nll, n = rows["nll"][kept], np.bincount(rows["window"][kept])
        sums = np.bincount(rows["window"][kept], weights=nll)[n > 0]
        m, n = nll.mean(), n[n > 0]
        se = (len(n) / (len(n) - 1) * ((sums - m * n) ** 2).sum()) ** 0.5 / n.sum()
        check(s["scored"] == kept.sum() and s["windows"] == 10 and np.isclose(s["mean_nll"], m, rtol=1e-12)
              and np.isclose(s["nll_stderr"], se, rtol=1e-9) and np.isclose(s["perplexity"], np.exp(m)),
              f"16.22 {label}: figures are of the others", (s["mean_nll"], m, s["nll_stderr"], se))
        left = s["left_out"]
        check((left["windows"], left["tokens"], [w["window"] for w in left["list"]]) == (1, 39, [3]) and whole["left_out"] is None,
              f"16.22 {label}: the summary has its index", left)
        says = f"1 of 10 windows is left out of all figures, as a NaN or infinity shows in it: window 3 ({left['list'][0]['where']}, token"
        check(says in err and any(says in w for w in s["warnings"]), f"16.22 {label}: a warning on stderr and in the summary", err)
    r = program("eval", SPOILT, *SOURCE, "--skip-nonfinite")
    check("351 in 9 windows, of 400 tokens; 1 window of 10 left out" in r.stdout, "16.22 the report says so", r.stdout)
    _, s, rows, err = evaluated(BF16, "--skip-nonfinite")
    check(s["left_out"] is None and s["warnings"] == [] and not err, "16.22 nothing to leave out: nothing is said", (s["left_out"], err))


def test_text():
    """Words and bytes: the mean of what is scored stands for all tokens, as where tokens are not scored."""
    text = fresh("text")
    with open(os.path.join(ROOT, "data", "demo", "text.txt")) as f, open(text, "w") as to:
        to.write(f.read()[:3000])
    ids = [int(i) for i in run("tokenize", text, "--tokenizer", BF16).stdout.split()]
    once = next(i for i in ids if ids.count(i) == 1)
    _, s, rows, _ = evaluated(with_nan(BF16, "embed_tokens.weight", (once, 0)), "--skip-nonfinite", source=("--text", text, "--context", "64", "--quiet"))
    mean = np.nanmean(rows["nll"])
    check(s["left_out"]["windows"] == 1 and np.isclose(s["byte_perplexity"], np.exp(mean * s["tokens"] / s["text"]["bytes"])),
          "16.22 figures per byte are without it", s["left_out"])


def test_plans():
    out = fresh()
    plans = ("--plan", "disjoint:40", "--plan", "llama:100", "--plan", "strided:64:16")
    r = run("eval", SPOILT, *SOURCE[:2], "--quiet", "--out", out, "--skip-nonfinite", *plans)
    for name, alone in (("disjoint-40", ("--context", "40")), ("llama-100", ("--protocol", "llama", "--context", "100")),
                        ("strided-64-16", ("--protocol", "strided", "--context", "64", "--stride", "16"))):
        _, s, rows, _ = evaluated(SPOILT, "--skip-nonfinite", *alone, source=(*SOURCE[:2], "--quiet"))
        together = st.read(os.path.join(out, name, "tokens.safetensors"))
        check(all(together[n].tobytes() == rows[n].tobytes() for n in rows) and summary(os.path.join(out, name))["left_out"] == s["left_out"]
              and f"{name}: {s['left_out']['windows']} of" in r.stderr, f"16.22 plan {name}: as alone", (s["left_out"], r.stderr))


def test_all():
    """A NaN of a weight reaches every window."""
    spoilt = with_nan(BF16, "layers.3.self_attn.o_proj.weight", (1, 1))
    for more in ((), ("--out", fresh())):
        r = program("eval", spoilt, *SOURCE, "--skip-nonfinite", *more)
        check(r.returncode == 1 and r.stderr.count("\n") == 1 and "nothing is left to score: 10 of 10 windows" in r.stderr
              and "layer 3, self_attn" in r.stderr and not (more and os.path.exists(more[1])), "16.22 all windows: refused, with the step", r.stderr)


def test_resume():
    """Ctrl-C until a state has the window; resumed, the same bytes."""
    text = fresh("text")
    shutil.copy(os.path.join(ROOT, "data", "demo", "text.txt"), text)
    ids = [int(i) for i in run("tokenize", text, "--tokenizer", BF16).stdout.split()]
    spoilt = with_nan(BF16, "embed_tokens.weight", (next(i for i in ids if ids.count(i) == 1), 0))
    args = ("--text", text, "--context", "256", "--hidden", "bf16", "--quiet")
    whole, s, _, _ = evaluated(spoilt, "--skip-nonfinite", source=args)
    out, found = fresh(), 0
    state = out + ".partial/state.safetensors"
    for wait in (0.4, 0.6, 0.8, 1, 1.3, 1.6, 2, 3, 4):
        p = subprocess.Popen([SURPRISAL, "eval", spoilt, *args, "--skip-nonfinite", "--out", out, "--resume"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        try:
            p.wait(wait)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGINT)
            p.wait(900)
        found = os.path.exists(state) and len(st.read(state)["left_out"])
        if found or os.path.exists(out):
            break
    if found:
        r = program("eval", spoilt, *args, "--out", out, "--resume")
        check(r.returncode == 1 and "skip-nonfinite" in r.stderr and os.path.exists(state), "16.22 resumed without the option: refused", r.stderr)
        run("eval", spoilt, *args, "--skip-nonfinite", "--out", out, "--resume")
    tokens = [open(os.path.join(d, "tokens.safetensors"), "rb").read() for d in (whole, out)]
    t = summary(out)
    check(tokens[0] == tokens[1] and (t["left_out"], t["warnings"], t["mean_nll"]) == (s["left_out"], s["warnings"], s["mean_nll"]),
          f"16.22 resumed ({'with' if found else 'without'} the window in the state): the same bytes", t["left_out"])


def test_compare():
    sound, _, rows, _ = evaluated(BF16, "--hidden")
    a, _, _, _ = evaluated(SPOILT, "--hidden", "--skip-nonfinite")
    b, sb, _, _ = evaluated(with_nan(BF16, "embed_tokens.weight", (IDS[255], 5)), "--hidden", "--skip-nonfinite")
    windows = {3} | {w["window"] for w in sb["left_out"]["list"]}
    d, err = compared(a, b)
    kept = ~np.isin(rows["window"], sorted(windows))
    check(d["left_out"]["windows"] == len(windows) and d["left_out"]["tokens"] == (~kept).sum() and d["scored"] == kept.sum()
          and (d["left_out"]["a"], d["left_out"]["b"]) == (1, len(windows) - (3 not in {w["window"] for w in sb["left_out"]["list"]})),
          "16.22 compare: over the windows that both have", d["left_out"])
    check(f"Left out are {len(windows)} of 10 windows" in d["verdict"] and "did not leave the same windows out" in err
          and any("did not leave the same" in w for w in d["warnings"]), "16.22 compare: the verdict and a warning say so", d["verdict"])
    check(np.isclose(d["a"]["mean_nll"], rows["nll"][kept].mean(), rtol=1e-12) and d["a"]["scored"] == kept.sum() and d["delta_nll"] == 0
          and d["mean_kld"] == 0 and [w["window"] for w in d["windows"]] == sorted(set(range(10)) - windows),
          "16.22 compare: all figures are of these windows", d["a"]["mean_nll"])
    d, _ = compared(sound, a)
    check(d["left_out"]["a"] == 0 and d["mean_kld"] == 0 and d["delta_nll"] == 0, "16.22 compare: hidden states of the right rows", d["mean_kld"])
    d, err = compared(a, a)
    check(d["left_out"]["windows"] == 1 and "did not leave" not in err, "16.22 compare: the same windows left out", err)
    d, _ = compared(BF16, SPOILT, *SOURCE, "--skip-nonfinite", "--floor", "--layers", "4")
    check(d["left_out"]["b"] == 1 and d["left_out"]["floor"] == 0 and d["delta_nll"] == 0 and d["mean_kld"] == 0 and d["layers_cost"]["windows"] == 4
          and all(x["residual_error"] == 0 for x in d["layers"]) and "Left out are 1 of 10" in d["verdict"],
          "16.22 compare of two checkpoints, with layers and a floor", d.get("layers_cost"))
    r = program("compare", sound, a, "--gate", "left_out.windows<=0", "--quiet")
    check(r.returncode == 3, "16.22 compare: a gate on the windows left out", r.stderr)
    r = program("compare", sound, a, "--skip-nonfinite")
    check(r.returncode == 2, "16.22 compare: run folders have made their choice", r.stderr)
    r = program("calibrate", BF16, *SOURCE, "--out", fresh(), "--skip-nonfinite")
    check(r.returncode == 2, "16.22 calibrate has no such option", r.stderr)
    none, _, _, _ = evaluated(SPOILT, "--skip-nonfinite", "--max-windows", "4")
    path = os.path.join(none, "summary.json")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace('"window":\t3', '"window":\t2'))
    r = program("compare", none, none)
    check(r.returncode == 1 and "edited" in r.stderr, "16.22 a summary that names another window is refused", r.stderr)


def test_decoding():
    """A step of one row names the expert of a NaN, too."""
    prompt = IDS[:6]
    out = fresh()
    run("trace", BF16, "--ids", ids_file(prompt), "--out", out)
    routing = st.read(out)["routing"][2]
    used = set(routing.reshape(-1).tolist())
    spare, named = [e for e in range(16) if e not in used], []      # by the prompt
    for expert in spare:
        r = program("generate", with_nan(BF16, "layers.2.mlp.experts.down_proj", (expert, 1, 1)), "--ids", ids_file(prompt), "--max-tokens", "40",
                    "--temperature", "0", "--ignore-eos")
        if r.returncode:
            named.append(f"layer 2, mlp, expert {expert}: NaN or infinity" in r.stderr)
    check(named and all(named), "16.22 decoding: the expert of a NaN is named", (len(spare), named, r.stderr[-300:]))


for test in (test_eval, test_text, test_plans, test_all, test_compare, test_decoding, test_resume):
    attempt(test.__name__, test)
done()
