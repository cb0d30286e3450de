"""Runs that are interrupted or killed, and resumed: the same bytes; states that do not belong are refused."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, check, done

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
TEMP = tempfile.mkdtemp(prefix="surprisal-resume-")
TEXT = 12000 if QUICK else 40000          # characters of the demo text


def path(name):
    return os.path.join(TEMP, name)


def command(checkpoint, out, *options):
    return [PROGRAM, "eval", checkpoint, "--text", path("text"), "--context", "512", "--hidden", "bf16", "--out", out, "--quiet",
            *options]


def run(*args):
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=900)


def content(out):
    with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
        return f.read()


def stop(checkpoint, out, number, after, *options):
    """Starts a run and sends it a signal after so many seconds -> exit status, stderr"""
    p = subprocess.Popen(command(checkpoint, out, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        p.wait(after)
    except subprocess.TimeoutExpired:
        p.send_signal(number)
    return p.wait(900), p.stderr.read()


def test_kills(kills, name, *options):
    checkpoint, rng = os.path.join(DEMO, name), random.Random(name + "".join(options))
    label = " ".join((name, *options))
    start = time.monotonic()
    whole = run(checkpoint, path("whole"), *options)
    seconds = time.monotonic() - start
    if not check(whole.returncode == 0, f"{label}: a run in one piece", whole.stderr):
        return
    out, resumed, killed = path("killed"), 0, 0
    for _ in range(kills):
        resumed += os.path.exists(out + ".partial/state.safetensors")
        status, err = stop(checkpoint, out, signal.SIGKILL, rng.uniform(0.1, 1.2) * seconds, "--resume", *options)
        killed += status == -signal.SIGKILL
        if os.path.exists(out):                         # complete, also when the kill came after that: once more
            check(content(out) == content(path("whole")), f"{label}: resumed until the end, the same bytes")
            shutil.rmtree(out)
        elif not check(status == -signal.SIGKILL, f"{label}: nothing at the folder's name, but after a kill", err):
            break
    last = run(checkpoint, out, "--resume", *options)
    if check(last.returncode == 0, f"{label}: resumed after {killed} kills", last.stderr):
        check(content(out) == content(path("whole")), f"{label}: the same bytes after {killed} kills, {resumed} resumed")
        a, b = (json.load(open(os.path.join(d, "summary.json"))) for d in (out, path("whole")))
        # what --memory leaves for passes depends on the pages that the process has at its start
        for key in ("mean_nll", "nll_stderr", "checkpoint", "scored", *(["passes"] if "--memory" not in options else [])):
            check(a[key] == b[key], f"{label}: {key} after kills", f"{a[key]}, expected {b[key]}")
        check(sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"], f"{label}: no state is left", os.listdir(out))
        check(not os.path.exists(out + ".partial"), f"{label}: nor a partial folder")
    if kills >= 20 and seconds > 1.5:                   # shorter runs save none: it would cost too large a share
        check(resumed > 0, f"{label}: some runs found a state", "none")
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(out + ".partial", ignore_errors=True)
    shutil.rmtree(path("whole"))
    return seconds


def test_interrupt(seconds):
    """Ctrl-C saves: what comes after goes on from there."""
    checkpoint, out = os.path.join(DEMO, "bf16"), path("stopped")
    state = out + ".partial/state.safetensors"
    for share in (0.6, 0.4, 0.9, 1.5):                  # the machine may be faster or slower than it was
        status, err = stop(checkpoint, out, signal.SIGINT, share * seconds)
        if os.path.exists(state):
            break
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(out + ".partial", ignore_errors=True)
    check(status == 130 and "interrupted" in err and err.count("\n") == 1, "Ctrl-C: exit status 130, one line", (status, err))
    if not check(os.path.exists(state) and not os.path.exists(out), "Ctrl-C saves a state", os.listdir(TEMP)):
        return
    plain = run(checkpoint, out)
    check(plain.returncode == 1 and "--resume" in plain.stderr, "without --resume it is not overwritten", plain.stderr)

    def refused(what, words, *args):
        p = run(*args, "--resume")
        check(p.returncode == 1 and p.stderr.count("\n") == 1 and all(w in p.stderr for w in words) and os.path.exists(state),
              f"refused: {what}", p.stderr)

    refused("another compute type", ("compute: 0", "compute: 1"), checkpoint, out, "--compute", "bf16")
    refused("another context", ("context: 512", "context: 256"), checkpoint, out, "--context", "256")
    refused("another kind of checkpoint", ("config.json",), os.path.join(DEMO, "mxfp4"), out)
    other = path("other")
    shutil.copytree(checkpoint, other)
    model = next(os.path.join(other, f) for f in sorted(os.listdir(other)) if f.endswith(".safetensors"))
    with open(model, "r+b") as f:                       # one bit of the embedding, which all runs have read
        size = int.from_bytes(f.read(8), "little")
        header = json.loads(f.read(size))
        begin = next(v["data_offsets"][0] for k, v in header.items() if k.endswith("embed_tokens.weight"))
        f.seek(8 + size + begin)
        byte = f.read(1)[0]
        f.seek(8 + size + begin)
        f.write(bytes([byte ^ 1]))
    refused("another checkpoint of the same shape", ("embed_tokens",), other, out)
    with open(path("text"), "a") as f:
        f.write(" more")
    refused("another text", ("text:",), checkpoint, out)
    with open(path("text"), "w") as f:
        f.write(open(os.path.join(DEMO, "text.txt")).read()[:TEXT])
    with open(state, "rb") as f:
        good = f.read()
    for what, damage in (("cut short", good[:len(good) // 2]), ("emptied", b""), ("other bytes", b"x" * len(good))):
        with open(state, "wb") as f:
            f.write(damage)
        refused(f"a state {what}", ("state.safetensors",), checkpoint, out)
    with open(state, "wb") as f:
        f.write(good)
    busy = subprocess.Popen(command(checkpoint, out, "--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(0.3 * seconds)
    second = run(checkpoint, out, "--resume")
    ends = [(busy.wait(900), busy.stderr.read()), (second.returncode, second.stderr)]
    winner, refusal = sorted(ends)                      # either may be the one that begins
    check(winner[0] == 0 and refusal[0] == 1 and ("another run" in refusal[1] or "exists already" in refusal[1]),
          "two runs do not write one folder", ends)
    whole = run(checkpoint, path("once"))
    check(whole.returncode == 0 and content(out) == content(path("once")), "after Ctrl-C and refusals the same bytes")
    nowhere = subprocess.run([PROGRAM, "eval", checkpoint, "--text", path("text"), "--resume"], capture_output=True, text=True)
    check(nowhere.returncode == 2 and "folder" in nowhere.stderr, "--resume needs --out", nowhere.stderr)


if __name__ == "__main__":
    try:
        with open(path("text"), "w") as f:
            f.write(open(os.path.join(DEMO, "text.txt")).read()[:TEXT])
        seconds = test_kills(4 if QUICK else 20, "bf16")
        test_kills(2 if QUICK else 6, "mxfp4", "--memory", "64M", "--compute", "bf16")
        if seconds:
            test_interrupt(seconds)
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()
