"""Parts of a run on several machines, merged: the bytes of the run in one piece, and every set of parts that is not one run is refused."""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "conformance")]
from check import QUICK, check, done, skip
try:
    from nan import with_nan
except ImportError:
    with_nan = None                     # numpy is missing

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
BF16, MXFP4 = os.path.join(DEMO, "bf16"), os.path.join(DEMO, "mxfp4")
TEMP = tempfile.mkdtemp(prefix="surprisal-merge-")
# How the run went, and the digest that covers it.
OF_RUN = ("seconds", "tokens_per_second", "peak_rss_bytes", "bytes_read", "passes", "sha256")


def path(name):
    return os.path.join(TEMP, name)


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=900)


def evaluate(out, *options, text="text", checkpoint=BF16):
    p = run("eval", checkpoint, "--text", path(text), "--quiet", *options, "--out", path(out))
    if p.returncode:
        raise RuntimeError(p.stderr)
    return path(out)


def parts_of(name, n, *options, **more):
    return [evaluate(f"{name}-{i}-{n}", *options, "--part", f"{i}/{n}", **more) for i in range(1, n + 1)]


def merge(out, parts, *options):
    return run("merge", *parts, "--out", path(out), "--quiet", *options)


def content(folder, name="tokens.safetensors"):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def compare_runs(label, merged, whole):
    check(content(merged) == content(whole), f"{label}: tokens.safetensors has the bytes of one run")
    a, b = (json.loads(content(f, "summary.json")) for f in (merged, whole))
    unequal = {k: (a.get(k), b.get(k)) for k in {**a, **b} if k not in OF_RUN and a.get(k) != b.get(k)}
    check(list(a) == list(b) and not unequal, f"{label}: the summary is that of one run, but for its work", unequal or (list(a), list(b)))
    check(sorted(os.listdir(merged)) == ["summary.json", "tokens.safetensors"], f"{label}: nothing else is there", os.listdir(merged))
    return a, b


def test_same(label, n, *options, **more):
    """n parts in any order are the run"""
    name = label.replace(" ", "-")
    whole, parts = evaluate(name, *options, **more), parts_of(name, n, *options, **more)
    windows = [json.loads(content(p, "summary.json"))["windows"] for p in parts]
    check(min(windows) > 0, f"{label}: each part has windows", windows)
    for order in range(2):
        random.Random(f"{label}{order}").shuffle(parts)
        p = merge(f"{name}-merged", parts)
        if check(p.returncode == 0, f"{label}: {n} parts are merged", p.stderr):
            compare_runs(label, path(f"{name}-merged"), whole)
            check(run("compare", path(f"{name}-merged"), whole, "--gate", "mean_kld<=0").returncode == 0 or "--hidden" not in options,
                  f"{label}: the merged run compares")
            shutil.rmtree(path(f"{name}-merged"))
    for folder in (whole, *parts):
        shutil.rmtree(folder)


def test_balance():
    """Windows of very different lengths: parts have about the same number of tokens"""
    with open(path("lines"), "w") as f:
        f.write("\n".join(["a word"] * 40 + ["many words in one line " * 60] + ["two words"] * 40))
    parts = parts_of("balance", 4, "--task", "lines", "--context", "64", text="lines")
    scored = [json.loads(content(p, "summary.json"))["scored"] for p in parts]
    check(max(scored) < 2 * sum(scored) / 4, "parts of lines have about as many tokens each", scored)
    for p in parts:
        shutil.rmtree(p)


def test_plans():
    plans = ["--plan", "llama:64", "--plan", "strided:32:20", "--plan", "lines:48"]
    whole, parts = evaluate("plans", *plans), parts_of("plans", 3, *plans)
    p = merge("plans-merged", parts[::-1], "--json")
    if check(p.returncode == 0, "plans: parts are merged", p.stderr):
        check(sorted(os.listdir(path("plans-merged"))) == sorted(os.listdir(whole)), "plans: a folder a plan")
        for plan in os.listdir(whole):
            compare_runs(plan, os.path.join(path("plans-merged"), plan), os.path.join(whole, plan))
        check(len(json.loads(p.stdout)) == 3, "plans: --json is a list of summaries", p.stdout[:200])
    p = merge("none", [parts[0], parts[2]])
    named = all(f"--plan {x}" in p.stderr for x in ("llama:64", "strided:32:20", "lines:48"))
    check(p.returncode == 1 and named, "plans: a missing part's command has all plans", p.stderr)
    p = merge("none", [parts[0], evaluate("single", "--context", "64", "--part", "2/3"), parts[2]])
    check(p.returncode == 1 and "single" in p.stderr and "folder of plans" in p.stderr, "plans: a single run among them", p.stderr)


def refused(label, parts, *words, options=(), status=1):
    p = merge("refused", parts, *options)
    check(p.returncode == status and all(w in p.stderr for w in words) and len(p.stderr.splitlines()) == 1, f"refused: {label}", (p.returncode, p.stderr))
    check(not os.path.exists(path("refused")) and not os.path.exists(path("refused.partial")), f"refused: {label}: nothing is left")


def test_refusals():
    options = ["--context", "32"]
    whole, parts = evaluate("whole", *options), parts_of("part", 5, *options)
    refused("one is missing", [parts[0], *parts[2:]], "part 2 of 5 is missing", "--context 32", "--part 2/5")
    command = merge("refused", [parts[0], *parts[2:]]).stderr.split(": ", 2)[2].split()
    command[0] = PROGRAM
    command[-1] = path("made")
    p = subprocess.run(command, capture_output=True, text=True)
    check(p.returncode == 0 and content(path("made")) == content(parts[1]), "the command that is named makes the missing part", p.stderr)
    refused("several are missing", [parts[4]], "parts 1, 2, 3, 4 of 5 are missing", "--part 1/5")
    refused("one twice", [*parts, parts[2]], "are both part 3 of 5", parts[2])
    refused("a whole run", [*parts[1:], whole], whole, "whole run")
    refused("one of another number of parts", [*parts[:4], evaluate("other-5-6", *options, "--part", "5/6")], "other-5-6", "one of 6 parts")
    other = {
        "another text": dict(text="other"), "another checkpoint": dict(checkpoint=MXFP4),
        "another context": dict(extra=["--context", "33"]), "another protocol": dict(extra=["--protocol", "llama"]),
        "bf16": dict(extra=["--compute", "bf16"]), "hidden states": dict(extra=["--hidden"]), "fewer windows": dict(extra=["--max-windows", "20"]),
    }
    expected = {"another text": "text.sha256", "another checkpoint": "checkpoint.digest", "another context": "context is 33, but 32", "another protocol": "protocol",
                "bf16": "compute", "hidden states": "hidden", "fewer windows": "max_windows"}
    for label, how in other.items():
        extra = how.pop("extra", [])
        folder = evaluate("odd", *options, *extra, "--part", "5/5", **how)
        refused(label, [*parts[:4], folder], folder, expected[label])
        shutil.rmtree(folder)
    if json.loads(content(parts[0], "summary.json"))["isa"] == "scalar":
        skip("another instruction set", "this machine has plain C alone")
    else:
        folder = evaluate("scalar", *options, "--part", "5/5", "--isa", "scalar")
        refused("another instruction set", [*parts[:4], folder], "scalar", "--mixed")
        p = merge("mixed", [*parts[:4], folder], "--mixed")
        isa = p.returncode == 0 and json.loads(content(path("mixed"), "summary.json"))["isa"]
        check(isa and isa.endswith("+scalar"), "--mixed merges them, and the summary names both", (p.stderr, isa))
    shutil.copytree(parts[1], path("edited"))
    with open(os.path.join(path("edited"), "tokens.safetensors"), "r+b") as f:
        f.seek(-3, 2)
        f.write(b"x")
    refused("an edited part", [parts[0], path("edited"), *parts[2:]], "edited", "tokens.safetensors")
    with open(os.path.join(path("edited"), "summary.json"), "r+b") as f:
        text = f.read().replace(b'"of":\t5', b'"of":\t6')
        f.seek(0)
        f.write(text)
    refused("an edited summary", [parts[0], path("edited"), *parts[2:]], "edited", "summary.json")
    refused("no such folder", [parts[0], path("nothing")], "nothing")
    p = merge(os.path.basename(whole), parts)
    check(p.returncode == 1 and "exists" in p.stderr, "an output that exists", p.stderr)
    p = run("merge", *parts, "--out", os.path.join(parts[0], "in"))
    check(p.returncode == 1 and not os.path.exists(os.path.join(parts[0], "in")), "an output inside of a part", p.stderr)
    for label, args in (("no parts", ["--out", path("x")]), ("no output", parts)):
        p = run("merge", *args)
        check(p.returncode == 2 and len(p.stderr.splitlines()) == 1, f"wrong usage: {label}", p.stderr)
    for value in ("0/3", "4/3", "3", "a/b", "1/", "/2", "1/2/3", "-1/3", "1/99999999999999999999"):
        p = run("eval", BF16, "--text", path("text"), "--part", value, "--out", path("x"))
        check(p.returncode == 2 and "--part" in p.stderr, f"wrong usage: --part {value}", p.stderr)
    p = run("eval", BF16, "--text", path("text"), "--part", "1/2")
    check(p.returncode == 2 and "folder" in p.stderr, "wrong usage: a part without a folder", p.stderr)
    p = run("eval", BF16, "--text", path("text"), "--context", "32", "--part", "1/5000", "--out", path("x"))
    check(p.returncode == 1 and "cannot be divided into 5000 parts" in p.stderr, "more parts than windows", p.stderr)
    p = run("compare", parts[0], whole)
    check(p.returncode == 1 and "part 1 of 5" in p.stderr and "merge" in p.stderr, "a part does not compare", p.stderr)
    # What an interrupted merge left is cleared; what a user put there is not.
    os.mkdir(path("refused.partial"))
    open(os.path.join(path("refused.partial"), "mine"), "w").close()
    p = merge("refused", parts)
    check(p.returncode == 1 and os.path.exists(os.path.join(path("refused.partial"), "mine")), "a user's folder in the way is kept", p.stderr)


def test_killed_part():
    """A part that is killed goes on with --resume"""
    options = ["--context", "64", "--hidden", "bf16"]
    whole, parts = evaluate("kill", *options), []
    for i in range(1, 4):
        command = [PROGRAM, "eval", BF16, "--text", path("text"), "--quiet", *options, "--part", f"{i}/3", "--out", path(f"kill-{i}")]
        p = subprocess.Popen(command, stderr=subprocess.PIPE)
        time.sleep(0.1 * i)
        p.send_signal(signal.SIGKILL)
        p.wait()
        if i == 2:
            q = subprocess.run([*command[:-3], "1/3", *command[-2:], "--resume"], capture_output=True, text=True)
            left = os.path.exists(os.path.join(path("kill-2.partial"), "state.safetensors"))
            check(q.returncode == 1 and "part" in q.stderr if left else True, "another part does not resume it", q.stderr)
            shutil.rmtree(path("kill-2"), ignore_errors=True)
        q = subprocess.run([*command, "--resume"], capture_output=True, text=True)
        check(q.returncode == 0 or "exists already" in q.stderr, f"part {i} goes on after a kill", q.stderr)
        parts.append(path(f"kill-{i}"))
    p = merge("kill-merged", parts)
    if check(p.returncode == 0, "killed parts are merged", p.stderr):
        compare_runs("killed parts", path("kill-merged"), whole)


def test_unknown_peak():
    """A part whose peak memory is not known: that of the run is not known either, whichever part it is"""
    parts = parts_of("peak", 3, "--context", "64")
    path_of = os.path.join(parts[0], "summary.json")
    text = re.sub(r'("peak_rss_bytes":\t)\d+', r"\1null", content(parts[0], "summary.json").decode())
    plain = text[:text.rindex(',\n\t"sha256"')] + "\n}"
    with open(path_of, "w") as f:
        f.write(plain[:-2] + f',\n\t"sha256":\t"{hashlib.sha256(plain.encode()).hexdigest()}"\n}}')
    p = merge("peak-merged", parts, "--json")
    check(p.returncode == 0 and json.loads(p.stdout)["peak_rss_bytes"] is None, "a peak that is not known stays so", (p.stderr, p.stdout[-300:]))


def test_left_out():
    if with_nan is None:
        skip("windows that are left out of parts", "numpy is missing")
        return
    with open(path("ids"), "w") as f:
        f.write(" ".join(str(i) for i in range(100, 500)))
    spoilt = with_nan(BF16, "embed_tokens.weight", (250, 5))
    common = ["eval", spoilt, "--ids", path("ids"), "--context", "16", "--skip-nonfinite", "--quiet"]
    parts = [path(f"nan-{i}") for i in (1, 2, 3)]
    run(*common, "--out", path("nan"))
    for i, part in enumerate(parts, 1):
        p = run(*common, "--part", f"{i}/3", "--out", part)
        check(p.returncode == 0, f"part {i} with a NaN", p.stderr)
    p = merge("nan-merged", parts)
    if check(p.returncode == 0, "parts with windows left out are merged", p.stderr):
        a, _ = compare_runs("windows left out", path("nan-merged"), path("nan"))
        check(a["left_out"]["windows"] == 1, "the window with the NaN is left out", a["left_out"])


def main():
    with open(os.path.join(DEMO, "text.txt")) as f:
        text = f.read()
    for name, part in (("text", text[:3000 if QUICK else 6000]), ("other", text[1:3001 if QUICK else 6001])):
        with open(path(name), "w") as f:
            f.write(part)
    test_same("disjoint", 7, "--context", "32", "--hidden")
    test_same("llama of mxfp4", 2, "--protocol", "llama", "--context", "64", "--hidden=bf16", "--compute", "bf16", checkpoint=MXFP4)
    test_same("strided", 4, "--protocol", "strided", "--context", "100", "--stride", "30")
    test_same("rolling", 3, "--protocol", "rolling", "--context", "50")
    test_same("lines", 5, "--task", "lines", "--context", "40", "--max-documents", "9")
    test_same("as many parts as windows", 6, "--context", "64", "--max-windows", "6")
    for test in (test_balance, test_plans, test_refusals, test_killed_part, test_unknown_peak, test_left_out):
        try:
            test()
        except (RuntimeError, KeyError, ValueError, OSError, TypeError) as e:
            check(False, test.__name__, repr(e))


try:
    main()
finally:
    shutil.rmtree(TEMP)
done()
