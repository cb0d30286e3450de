"""M1 to M4: --memory is the budget of the whole process, in every command that takes it; a refusal names a budget that
suffices, and comes before the work.

The peak is the kernel's (ru_maxrss).  A child's begins with what its parent had, so this script imports little.
SURPRISAL_TEST_ALL=1 goes through more budgets, contexts and numbers of passes."""
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done, skip

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
BF16, MXFP4 = os.path.join(DEMO, "bf16"), os.path.join(DEMO, "mxfp4")
ALL = bool(os.environ.get("SURPRISAL_TEST_ALL"))
TEMP = tempfile.mkdtemp(prefix="surprisal-memory-")
THREADS = "2"
MEGABYTE = 1 << 20


def path(name):
    return os.path.join(TEMP, name)


def text(characters):
    """-> the path of so much of the demo text, over and over"""
    name = path(f"text-{characters}")
    if not os.path.exists(name):
        with open(os.path.join(DEMO, "text.txt")) as f:
            whole = f.read()
        with open(name, "w") as f:
            f.write((whole * (characters // len(whole) + 1))[:characters])
    return name


def run(*args, stop_after=None):
    """-> exit status, all that was printed, peak in MB.  stop_after: seconds of layers until SIGINT"""
    p = subprocess.Popen([PROGRAM, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed = ""
    if stop_after is not None:
        while "layer" not in printed:
            line = p.stdout.readline()
            if not line:
                break
            printed += line
        time.sleep(stop_after)
        os.kill(p.pid, signal.SIGINT)
    printed += p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    return p.returncode, printed, usage.ru_maxrss / 1024


def remove(out):
    shutil.rmtree(out, ignore_errors=True)
    if os.path.exists(out):
        os.remove(out)


COMMANDS = {
    "eval": lambda out: ["eval", BF16],
    "eval --out": lambda out: ["eval", BF16, "--out", out],
    "eval --hidden": lambda out: ["eval", MXFP4, "--hidden", "bf16", "--out", out],
    "calibrate": lambda out: ["calibrate", BF16, "--out", out],
    "compare": lambda out: ["compare", BF16, MXFP4, "--bootstrap", "100"],
    "compare --floor": lambda out: ["compare", BF16, MXFP4, "--floor", "--bootstrap", "100"],
}


def peaks(name, characters, context, budget, *options):
    """One run: it stays below its budget"""
    out = path("out")
    status, printed, peak = run(*COMMANDS[name](out), "--text", text(characters), "--context", context, "--memory",
                                f"{budget}M", "--threads", THREADS, *options)
    remove(out)
    case = " ".join([name, f"{characters} characters", f"context {context}", *options])
    passes = re.findall(r"(\d+) pass", printed)
    if ALL and status == 1 and "is too small" in printed:
        return check(peak <= budget or "in all" in printed, f"M2: {case}, {budget}M: refused", printed[-200:])
    return check(status == 0 and peak <= budget, f"M2: {case}: {passes[-1:]} passes below {budget}M",
                 f"{peak:.1f} MB, status {status}: {printed[-200:]}")


def test_peaks():
    cases = [("eval", 60000, 512, 40), ("eval --out", 6000, 128, 26), ("eval --hidden", 60000, 128, 48),
             ("eval --hidden", 12000, 4, 40), ("eval --hidden", 40000, 2048, 256), ("calibrate", 60000, 128, 40),
             ("compare", 8000, 128, 40), ("compare --floor", 5000, 512, 48)]
    if ALL:
        cases = itertools.product(COMMANDS, (20000, 150000), (2, 128, 512, 2048, 4096),
                                  (24, 25, 26, 28, 32, 36, 40, 48, 56, 64, 80, 100, 128, 256, 1024))
    for case in cases:
        peaks(*case)


def test_tokens_are_many():
    """Columns, windows and what is read of a text are part of the budget"""
    peaks("eval --out", 2000000 if ALL else 400000, 3, 128 if ALL else 64, "--max-windows", "5000")


# ---- M3 ----------------------------------------------------------------------------------------------------------------


def named(printed):
    """The budget that a refusal names, as it can be typed"""
    found = re.search(r"memory budget of (\S+) is too small: .* needs (\d+M) in all", printed)
    return found.groups() if found else (None, None)


def test_named(name, args, given, times):
    out = path("out")

    def once(budget):
        status, printed, peak = run(*args, *(["--out", out] if args[0] != "compare" else []), "--threads", THREADS, "--memory",
                                    budget)
        remove(out)
        return status, printed, peak

    status, printed, _ = once(given)
    repeated, enough = named(printed)
    if not check(status == 1 and repeated == given and enough, f"M3: {name}, {given}: a refusal of the whole budget", printed):
        return None
    ends = [once(enough) for _ in range(times)]
    wrong = [e for e in ends if e[0] != 0]
    check(not wrong, f"M3: {name}, {given}: {enough} was named and suffices {times} times", wrong[:1])
    over = [peak for _, _, peak in ends if peak > int(enough[:-1])]
    check(not over, f"M3: {name}, {given}: {enough} is kept", over)
    return enough


def runs():
    """Two run folders with hidden states"""
    if not os.path.exists(path("b")):
        for side, checkpoint in (("a", BF16), ("b", MXFP4)):
            run("eval", checkpoint, "--text", text(20000), "--context", 64, "--hidden", "--out", path(side))
    return path("a"), path("b")


def test_refusals():
    times = 20 if ALL else 5                            # as often as the loader may place things otherwise
    few = ["--text", text(4000), "--max-windows", 3]
    test_named("eval", ["eval", BF16, *few, "--context", 64], "6M", times)
    test_named("eval", ["eval", BF16, *few, "--context", 64], "20M", times)
    test_named("eval", ["eval", BF16, *few, "--context", 64], "20971521", times)
    test_named("eval of a long window", ["eval", MXFP4, "--text", text(16000), "--context", 4096], "26M", times)
    test_named("eval of many windows", ["eval", MXFP4, "--text", text(3000), "--context", 2], "10M", times)
    test_named("calibrate", ["calibrate", BF16, *few, "--context", 64], "1M", times)
    test_named("calibrate", ["calibrate", MXFP4, *few, "--context", 512], "24M", times)
    for given in ("1M", "24M"):
        test_named("compare of checkpoints", ["compare", BF16, MXFP4, *few, "--context", 64, "--bootstrap", 10], given, times)
    test_named("compare with a floor", ["compare", BF16, MXFP4, *few, "--context", 64, "--floor", "--bootstrap", 10], "20M", times)
    test_named("compare of runs", ["compare", *runs(), "--bootstrap", 10], "20M", times)


# ---- M4 ----------------------------------------------------------------------------------------------------------------


def test_compare_first():
    """What KL divergence needs is known before anything is evaluated, and before the bootstrap"""
    out = path("runs")
    compare = ["compare", BF16, MXFP4, "--text", text(30000), "--context", 128, "--progress"]
    _, printed, _ = run(*compare, "--memory", "1M")
    enough = int((named(printed)[1] or "36M")[:-1])
    status, printed, _ = run(*compare, "--out", out, "--memory", f"{enough - 4}M")
    check(status == 1 and "KL divergence needs" in printed, "M4: a budget that KL divergence would not fit", printed[-300:])
    check("pass" not in printed and not os.path.exists(out), "M4: it is refused before the evaluations", printed[-300:])
    remove(out)
    compare[compare.index(128)] = 2048
    status, printed, _ = run(*compare, "--memory", f"{enough}M")
    early = printed.find("no figures by layer"), printed.find("TFLOP")
    check(status == 0 and 0 <= early[0] < early[1], "M4: figures by layer that do not fit are missed at once", printed[:300])
    a, b = runs()
    began = time.monotonic()
    status, printed, _ = run("compare", a, b, "--memory", "24M", "--bootstrap", "1000000")
    check(status == 1 and "KL divergence needs" in printed and time.monotonic() - began < 5,
          "M4: runs are refused before the bootstrap", printed[-300:])


# ---- M1 ----------------------------------------------------------------------------------------------------------------


def content(out):
    with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
        return f.read()


def test_resume(checkpoint, budgets, *options):
    """Begun with much memory, gone on with little, stopped again, brought to its end"""
    whole, out = path("whole"), path("resumed")
    state = out + ".partial/state.safetensors"
    args = ["eval", checkpoint, "--text", text(100000), "--context", 256, "--hidden", "bf16", "--threads", THREADS,
            "--progress", *options]
    label = " ".join(["M1:", os.path.basename(checkpoint), *options])
    status, printed, _ = run(*args, "--out", whole, "--memory", "1G")
    if not check(status == 0, f"{label}: a run in one piece", printed[-200:]):
        return
    for delay in (0.5, 1.5, 4):
        status, printed, _ = run(*args, "--out", out, "--memory", "1G", stop_after=delay)
        if os.path.exists(state):
            break
        remove(out)
    if not check(os.path.exists(state), f"{label}: stopped", f"status {status}: {printed[-200:]}"):
        return
    for budget in budgets:
        stop = 0.2 if budget != budgets[-1] else None
        status, printed, peak = run(*args, "--out", out, "--resume", "--memory", f"{budget}M", stop_after=stop)
        check(peak <= budget, f"{label}: goes on below {budget}M", f"{peak:.1f} MB")
        told = re.search(r"(\d+) pass", printed)
        check(told and int(told.group(1)) > 1, f"{label}: the plan is that of what is left", printed[:300])
        if status == 0:                                 # before it could be stopped
            break
    check(status == 0 and content(out) == content(whole), f"{label}: the same bytes", f"status {status}: {printed[-200:]}")
    remove(out)
    remove(whole)


def main():
    if QUICK:
        for name in ("M1: peaks of resumed runs", "M2: peaks", "M3: budgets that are named", "M4: refused before the work"):
            skip(name, "sanitizers and emulators have memory of their own")
    else:
        attempt("M2: peaks", test_peaks)
        attempt("M2: many tokens", test_tokens_are_many)
        attempt("M3: refusals", test_refusals)
        attempt("M1: resumed", test_resume, BF16, (32, 36))
        attempt("M1: resumed", test_resume, MXFP4, (36,), "--compute", "bf16")
        attempt("M4: refused before the work", test_compare_first)


if __name__ == "__main__":
    try:
        main()
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()
