"""Faults of output folders, resuming and inputs that change: one test an entry (L1 to L6, W1, W2, O10, and M5's folder that
a killed comparison leaves), by the number that the attack gave it."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done, skip
from faults.long_run import Checkpoint

# strace and LeakSanitizer both trace: where one is, the other cannot be.
TRACED = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
BF16, MXFP4, TEXT = (os.path.join(DEMO, name) for name in ("bf16", "mxfp4", "text.txt"))
TEMP = tempfile.mkdtemp(prefix="surprisal-folders-")
STRACE = shutil.which("strace")


def path(name):
    return os.path.join(TEMP, name)


def run(*args, **more):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=900, **more)


def ev(checkpoint, out, *options, **more):
    return run("eval", checkpoint, "--text", path("text"), "--context", "64", "--quiet", "--out", out, *options, **more)


def injected(what, *args):
    """Runs the program while strace injects something into its system calls."""
    calls = what.split(":")[0]
    return subprocess.run([STRACE, "-f", "-q", "-o", "/dev/null", "-e", "trace=" + calls, "-e", "inject=" + what, PROGRAM, *args],
                          capture_output=True, text=True, timeout=900, env=TRACED)


def content(folder):
    """{name: bytes} of all below a folder."""
    found = {}
    for at, folders, files in os.walk(folder):
        for name in files:
            full = os.path.join(at, name)
            with open(full, "rb") as f:
                found[os.path.relpath(full, folder)] = f.read()
    return found


def tokens(folder):
    with open(os.path.join(folder, "tokens.safetensors"), "rb") as f:
        return f.read()


def left_over(folder):
    return sorted(n for n in os.listdir(folder) if n.startswith(".surprisal-") or n.endswith(".tmp"))


def place(name):
    os.mkdir(path(name))
    return path(name)


def test_l1():
    """OUT comes into being during the run: the results stay."""
    here = place("l1")
    out = os.path.join(here, "a")
    p = subprocess.Popen([PROGRAM, "eval", BF16, "--text", TEXT, "--context", "64", "--progress", "--out", out], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    p.stderr.readline()                                 # it is at work
    os.mkdir(out)
    err = p.communicate(timeout=900)[1]
    check(p.returncode == 1 and out + ".partial" in err and os.path.exists(out + ".partial/summary.json"),
          "L1: a folder that appears during the run: its results stay, and the error says where", err)
    os.rmdir(out)
    p = run("eval", BF16, "--text", TEXT, "--context", "64", "--quiet", "--resume", "--out", out)
    check(p.returncode == 0 and sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"] and os.listdir(here) == ["a"],
          "L1: --resume gives them their name", (p.stderr, os.listdir(here)))


def test_l2():
    """OUT.partial is the source itself, lies in it, or holds an input."""
    here = place("l2")
    source = os.path.join(here, "m.partial")
    for name, args in (("quantize", ["quantize", source, os.path.join(here, "m")]), ("eval", ["eval", source, "--ids", path("ids"), "--out", os.path.join(here, "m")]),
                       ("compare", ["compare", source, BF16, "--ids", path("ids"), "--context", "8", "--out", os.path.join(here, "m")])):
        shutil.copytree(BF16, source)
        before = content(source)
        p = run(*args)
        check(p.returncode == 1 and "m.partial" in p.stderr and content(source) == before and os.listdir(here) == ["m.partial"],
              f"L2: {name} whose OUT.partial is the checkpoint", p.stderr)
        with open(os.path.join(source, "surprisal-state.json"), "w") as f:      # not even when our mark is in it
            f.write('{"folder": "1", "unfinished": "%s"}' % {"quantize": "checkpoint", "eval": "run", "compare": "comparison"}[name])
        before = content(source)
        p = run(*args, *(["--resume"] if name != "compare" else []))
        check(p.returncode == 1 and "m.partial" in p.stderr and content(source) == before, f"L2: {name}: the same with our mark in it", p.stderr)
        shutil.rmtree(source)
    shutil.copytree(MXFP4, source)
    before = content(source)
    p = run("dequantize", source, os.path.join(here, "m"))
    check(p.returncode == 1 and content(source) == before, "L2: dequantize whose OUT.partial is the checkpoint", p.stderr)
    shutil.rmtree(source)
    shutil.copytree(BF16, os.path.join(here, "ck"))
    os.symlink("ck", os.path.join(here, "link"))
    for name, out in (("in the checkpoint", "ck/run"), ("in it through a link", "link/run"), ("below a folder in it", "ck/below/run")):
        os.makedirs(os.path.join(here, "ck/below"), exist_ok=True)
        before = content(os.path.join(here, "ck"))
        p = ev(os.path.join(here, "ck"), os.path.join(here, out))
        check(p.returncode == 1 and "from which it is made" in p.stderr and content(os.path.join(here, "ck")) == before, f"L2: an output folder {name}", p.stderr)
    os.makedirs(os.path.join(here, "o.partial/inner"))
    shutil.copy(path("text"), os.path.join(here, "o.partial/inner/text"))
    with open(os.path.join(here, "o.partial/surprisal-state.json"), "w") as f:
        f.write('{"folder": "1", "unfinished": "run"}')
    before = content(os.path.join(here, "o.partial"))
    p = run("eval", BF16, "--text", os.path.join(here, "o.partial/inner/text"), "--out", os.path.join(here, "o"))
    check(p.returncode == 1 and "holds" in p.stderr and content(os.path.join(here, "o.partial")) == before, "L2: an OUT.partial that holds the text", p.stderr)


def test_l3():
    """Killed at the rename: complete, and only renamed."""
    if not STRACE:
        return skip("L3: killed at the rename", "no strace")
    here = place("l3")
    whole = os.path.join(here, "whole")
    ev(BF16, whole, "--hidden")
    for number in range(2, 8):                          # the n-th rename: mark, summary, mark moved, folder
        out = os.path.join(here, f"b{number}")
        p = injected(f"renameat2:signal=SIGKILL:when={number}", "eval", BF16, "--text", path("text"), "--context", "64", "--quiet", "--hidden", "--out", out)
        if os.path.exists(out):
            break
        complete = os.path.exists(out + ".partial/summary.json")
        inode = os.stat(out + ".partial/tokens.safetensors").st_ino if complete else None
        plain = ev(BF16, out, "--hidden")
        if complete:
            check(plain.returncode == 1 and "--resume" in plain.stderr, f"L3: eval killed at rename {number}: not overwritten without --resume", plain.stderr)
            p = ev(BF16, out, "--hidden", "--resume", "--progress")
            check(p.returncode == 0 and os.stat(out + "/tokens.safetensors").st_ino == inode and "layer" not in p.stderr,
                  f"L3: eval killed at rename {number}: complete, and only renamed", p.stderr)
        check(os.path.exists(out) and tokens(out) == tokens(whole) and sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"],
              f"L3: eval killed at rename {number}: the same bytes", plain.stderr)
    check(sorted(n for n in os.listdir(here) if n[0] == "." or n.endswith(".partial")) == [], "L3: nothing is left beside the folders", os.listdir(here))
    options = ["--shard-size", "1M"]
    run("quantize", BF16, os.path.join(here, "q"), *options)
    shards = len([n for n in os.listdir(os.path.join(here, "q")) if n.endswith(".safetensors")])
    for number in range(1, 4):
        out = os.path.join(here, f"q{number}")
        probe = injected(f"renameat2:signal=SIGKILL:when={number}", "quantize", BF16, out, *options)
        p = run("quantize", BF16, out, *options, "--resume", "--json")
        if number == 1:                                 # the first one gives OUT.partial its name
            check(p.returncode == 0, "L3: quantize killed at its beginning", (probe.stderr, p.stderr))
            continue
        check(p.returncode == 0 and json.loads(p.stdout)["shards_kept"] == shards, f"L3: quantize killed at rename {number}: all shards are kept",
              (p.stdout[-400:], p.stderr))
        check(content(out) == content(os.path.join(here, "q")), f"L3: quantize killed at rename {number}: the same bytes")
    check(sorted(n for n in os.listdir(here) if n[0] == "." or n.endswith(".partial")) == [], "L3: quantize leaves nothing beside the folders", os.listdir(here))
    damaged = os.path.join(here, "d")
    injected("renameat2:signal=SIGKILL:when=3", "eval", BF16, "--text", path("text"), "--context", "64", "--quiet", "--out", damaged)
    if check(os.path.exists(damaged + ".partial/tokens.safetensors"), "L3: a complete folder to damage", os.listdir(here)):
        with open(damaged + ".partial/tokens.safetensors", "r+b") as f:
            f.seek(-5, os.SEEK_END)
            byte = f.read(1)[0]
            f.seek(-5, os.SEEK_END)
            f.write(bytes([byte ^ 1]))
        p = ev(BF16, damaged, "--resume")
        check(p.returncode == 1 and "tokens.safetensors" in p.stderr, "L3: a complete folder that was edited is refused", p.stderr)
    shutil.rmtree(damaged + ".partial", ignore_errors=True)
    injected("renameat2:signal=SIGKILL:when=3", "eval", BF16, "--text", path("text"), "--context", "64", "--quiet", "--out", damaged)
    p = ev(BF16, damaged, "--resume", "--context", "32")
    check(p.returncode == 1 and "context: 64" in p.stderr, "L3: a complete folder of another run is refused", p.stderr)


def test_l4():
    """A folder of the user's that is called OUT.partial."""
    here = place("l4")
    out = os.path.join(here, "r")
    os.mkdir(out + ".partial")
    for name in ("first", "second"):
        ev(BF16, os.path.join(out + ".partial", name))
    before = content(out + ".partial")
    for options in ([], ["--resume"]):
        p = ev(BF16, out, *options)
        check(p.returncode == 1 and "r.partial" in p.stderr and content(out + ".partial") == before and len(before) == 4,
              f"L4: a user's folder called OUT.partial is not touched {' '.join(options)}", p.stderr)
    p = run("quantize", BF16, out)
    check(p.returncode == 1 and content(out + ".partial") == before, "L4: quantize does not touch it", p.stderr)
    p = run("compare", BF16, MXFP4, "--text", path("text"), "--context", "64", "--quiet", "--out", out)
    check(p.returncode == 1 and content(out + ".partial") == before, "L4: compare does not touch it", p.stderr)
    empty = os.path.join(here, "e")
    os.mkdir(empty + ".partial")
    p = ev(BF16, empty)
    check(p.returncode == 1 and os.path.isdir(empty + ".partial"), "L4: nor an empty one", p.stderr)


def test_l5():
    """Two runs of one OUT: the second opens OUT.partial, and has its lock only when the first has renamed it."""
    if not STRACE:
        return skip("L5: two runs of one folder", "no strace")
    here = place("l5")
    out = os.path.join(here, "a")
    args = ["eval", BF16, "--ids", path("ids"), "--context", "8", "--quiet", "--out", out]
    for calls, wait in (("flock", 0.02), ("open,openat", 0.01), ("renameat2", 0.02), ("flock", 0.1)):
        first = subprocess.Popen([PROGRAM, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(wait)
        second = injected(f"{calls}:delay_enter=300000", *args) if calls != "open,openat" else injected("flock:delay_enter=200000", *args)
        err = first.communicate(timeout=900)[1]
        ends = sorted([first.returncode, second.returncode])
        check(ends == [0, 1] and sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"] and len(tokens(out)) > 100,
              f"L5: a second run delayed at {calls} leaves the first one's folder", (ends, err, second.stderr, os.listdir(here)))
        shutil.rmtree(out, ignore_errors=True)
        check(os.listdir(here) == [], "L5: and nothing else", os.listdir(here))


def test_l6():
    """Outputs that are devices, FIFOs and links."""
    here = place("l6")
    target, link, fifo, null = (os.path.join(here, name) for name in ("target", "link", "fifo", "null"))
    with open(target, "w") as f:
        f.write("old")
    os.symlink("target", link)
    p = run("verify", BF16, "--html", link)
    with open(target) as f:
        page = f.read()
    check(p.returncode == 0 and os.path.islink(link) and page.startswith("<!doctype html>"), "L6: a link is followed, what it names is replaced", p.stderr)
    os.symlink("new", os.path.join(here, "dangling"))
    p = run("verify", BF16, "--html", os.path.join(here, "dangling"))
    check(p.returncode == 0 and os.path.islink(os.path.join(here, "dangling")) and os.path.isfile(os.path.join(here, "new")),
          "L6: a link to nothing: what it names is made", p.stderr)
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(open(fifo, "rb").read()), daemon=True)
    reader.start()
    p = run("verify", BF16, "--html", fifo)
    reader.join(10)
    check(p.returncode == 0 and stat.S_ISFIFO(os.stat(fifo).st_mode) and got and got[0].decode().startswith("<!doctype html>"),
          "L6: a FIFO's reader gets the page, and the FIFO stays", (p.stderr, got[:1] and got[0][:40]))
    os.symlink("/proc/self/fd/1", os.path.join(here, "stdout"))         # as /dev/stdout is
    p = run("verify", BF16, "--html", os.path.join(here, "stdout"))
    check(p.returncode == 0 and "<!doctype html>" in p.stdout, "L6: standard output by its link, a pipe", p.stderr)
    with open(os.path.join(here, "redirected"), "w") as f:
        p = subprocess.run([PROGRAM, "verify", BF16, "--html", os.path.join(here, "stdout")], stdout=f, stderr=subprocess.PIPE, text=True, timeout=900)
    with open(os.path.join(here, "redirected")) as f:
        text = f.read()
    check(p.returncode == 0 and "<!doctype html>" in text and "no findings" in text, "L6: standard output by its link, a file: page and text", p.stderr)
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        with open(null, "wb") as f:
            f.write(b"x")
    except OSError as e:
        skip("L6: a device", f"cannot make one: {e.strerror}")
    else:
        for name, args in (("verify --html", ["verify", BF16, "--html", null]),
                           ("calibrate --out", ["calibrate", BF16, "--ids", path("ids"), "--context", "8", "--out", null]),
                           ("trace --out", ["trace", BF16, "--ids", path("ids"), "--out", null])):
            p = run(*args)
            check(p.returncode == 0 and stat.S_ISCHR(os.stat(null).st_mode), f"L6: a device is written to, not replaced: {name}", p.stderr)
    check(left_over(here) == [], "L6: no temporary is left", os.listdir(here))


def test_outputs_that_are_inputs():
    """An output file that is one of the inputs."""
    here = place("inputs")
    ck = os.path.join(here, "ck")
    shutil.copytree(BF16, ck)
    os.link(os.path.join(ck, "config.json"), os.path.join(here, "hard"))
    os.symlink("ck/config.json", os.path.join(here, "soft"))
    shutil.copy(path("ids"), os.path.join(here, "ids"))
    before = content(here)
    ids = os.path.join(here, "ids")
    for name, args in (("trace over its ids", ["trace", ck, "--ids", ids, "--out", ids]),
                       ("trace over the config", ["trace", ck, "--ids", ids, "--out", os.path.join(ck, "config.json")]),
                       ("calibrate over a hard link of the config", ["calibrate", ck, "--ids", ids, "--context", "8", "--out", os.path.join(here, "hard")]),
                       ("verify over a link to the config", ["verify", ck, "--html", os.path.join(here, "soft")]),
                       ("compare over a weights file", ["compare", ck, BF16, "--ids", ids, "--context", "8", "--html", os.path.join(ck, sorted(os.listdir(ck))[2])])):
        p = run(*args)
        check(p.returncode == 1 and "input" in p.stderr and content(here) == before, f"L2: {name} is refused", p.stderr)


def damage(name, change):
    with open(name, "r+b") as f:
        change(f)


def flip(f, at):
    f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
    byte = f.read(1)[0]
    f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
    f.write(bytes([byte ^ 0x40]))


def test_w1(long_run):
    """Partial records that are missing, short or edited are refused by name."""
    out = path("w1")
    good = long_run.interrupted(out, rows=True)
    if good is None:
        return check(False, "W1: an interrupted run of several passes", "no state with rows was saved")
    partial = out + ".partial"
    kept = path("w1-kept")
    shutil.copytree(partial, kept)
    record, state = os.path.join(partial, "tokens.safetensors"), os.path.join(partial, "state.safetensors")
    size = os.path.getsize(record)
    header = 8 + int.from_bytes(open(record, "rb").read(8), "little")
    state_header = 8 + int.from_bytes(open(state, "rb").read(8), "little")
    cases = [("a record that is missing", "tokens.safetensors", lambda: os.remove(record)),
             ("a record cut to 4096 bytes", "tokens.safetensors", lambda: os.truncate(record, 4096)),
             ("a record cut behind its small columns", "tokens.safetensors", lambda: os.truncate(record, size - 1000)),
             ("a record that is longer", "tokens.safetensors", lambda: os.truncate(record, size + 1)),
             ("an empty record", "tokens.safetensors", lambda: os.truncate(record, 0)),
             ("a record whose header was edited", "tokens.safetensors", lambda: damage(record, lambda f: flip(f, header - 30))),
             ("a row that was edited", "tokens.safetensors", lambda: damage(record, lambda f: flip(f, header + 2))),
             ("an edited x", "state.safetensors", lambda: damage(state, lambda f: flip(f, state_header + 5))),
             ("an edited number", "state.safetensors", lambda: damage(state, lambda f: flip(f, -200))),
             ("a state cut short", "state.safetensors", lambda: os.truncate(state, os.path.getsize(state) - 8)),
             ("a folder in place of the record", "tokens.safetensors", lambda: (os.remove(record), os.mkdir(record)))]
    for name, file, change in cases:
        shutil.rmtree(partial)
        shutil.copytree(kept, partial)
        change()
        p = long_run.resume(out)
        check(p.returncode == 1 and file in p.stderr and p.stderr.count("\n") == 1 and not os.path.exists(out), f"W1: {name} is refused by name", p.stderr)
    other = path("w1-other")
    if long_run.interrupted(other, rows=True, text="other text") is not None:
        shutil.rmtree(partial)
        shutil.copytree(kept, partial)
        shutil.copy(other + ".partial/tokens.safetensors", record)
        p = long_run.resume(out)
        check(p.returncode == 1 and "tokens.safetensors" in p.stderr, "W1: the record of another run is refused", p.stderr)
    shutil.rmtree(partial)
    shutil.copytree(kept, partial)
    p = long_run.resume(out)
    check(p.returncode == 0 and tokens(out) == long_run.whole(), "W1: what was not damaged is resumed to the same bytes", p.stderr)


def during(args, act, wait="embedding", then=0.3, before=()):
    """Runs a command with --progress and acts a while after a line with the word has come -> exit status, stderr"""
    p = subprocess.Popen([*before, PROGRAM, *args, "--progress"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=TRACED)
    for line in p.stderr:
        if wait in line:
            break
    time.sleep(then)
    act()
    err = p.stderr.read()
    return p.wait(900), err


def test_w2(long_run):
    """Inputs that change during a run."""
    here = place("w2")
    ck = os.path.join(here, "ck")

    def fresh():
        shutil.rmtree(ck, ignore_errors=True)
        shutil.copytree(long_run.checkpoint, ck)
        return next(os.path.join(ck, n) for n in sorted(os.listdir(ck)) if n.endswith(".safetensors"))

    def in_place(name, keep_time=False):
        before = os.stat(name)                          # of the embedding, which every run reads first
        with open(name, "rb") as f:
            size = int.from_bytes(f.read(8), "little")
            offsets = {k: v["data_offsets"][0] for k, v in json.loads(f.read(size)).items() if k != "__metadata__"}
        at = 8 + size + next(v for k, v in offsets.items() if k.endswith("embed_tokens.weight"))
        damage(name, lambda f: flip(f, at))
        if keep_time:
            os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))

    def replaced(name):
        shutil.copy2(name, name + ".new")
        os.rename(name + ".new", name)

    shutil.copy(long_run.text, os.path.join(here, "text"))
    cases = [("weights written in place", 1, lambda n: in_place(n)), ("weights written, their time set back", 1, lambda n: in_place(n, True)),
             ("another file of the same size and time in place of the weights", 1, lambda n: replaced(n)), ("new rights alone", 0, lambda n: os.chmod(n, 0o600)),
             ("an edited config.json", 1, lambda n: damage(os.path.join(ck, "config.json"), lambda f: (f.seek(0, 2), f.write(b" ")))),
             ("an edited text", 1, lambda n: damage(os.path.join(here, "text"), lambda f: (f.seek(0, 2), f.write(b" "))))]
    for i, (name, status, change) in enumerate(cases):
        weights, out = fresh(), os.path.join(here, f"out{i}")
        ended, err = during(long_run.args(ck, out, text=os.path.join(here, "text")), lambda: change(weights))
        if status:
            check(ended == 1 and "was changed while it was in use" in err and not os.path.exists(out) and os.path.exists(out + ".partial"),
                  f"W2: eval: {name} is an error, and OUT.partial stays", (ended, err[-300:]))
        else:
            check(ended == 0 and "warning" in err and tokens(out) == long_run.whole(), f"W2: eval: {name}: a warning, the same bytes", (ended, err[-300:]))
        shutil.copy(long_run.text, os.path.join(here, "text"))
    weights = fresh()
    calibrate = ["calibrate", ck, "--text", long_run.text, "--context", "256", "--memory", "400M", "--out", os.path.join(here, "importance")]
    ended, err = during(calibrate, lambda: in_place(weights))
    check(ended == 1 and "was changed" in err and not os.path.exists(os.path.join(here, "importance")), "W2: calibrate: weights written in place", err[-300:])
    weights = fresh()
    ended, err = during(["compare", long_run.checkpoint, ck, "--text", long_run.text, "--context", "256", "--memory", "400M", "--out", os.path.join(here, "cmp")], lambda: in_place(weights))
    check(ended == 1 and "was changed" in err and not os.path.exists(os.path.join(here, "cmp")), "W2: compare: weights written in place", err[-300:])
    if not STRACE:
        return skip("W2: quantize", "no strace to slow it down")
    slow = [STRACE, "-f", "-q", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=10000"]
    run("quantize", long_run.checkpoint, os.path.join(here, "q"))
    for i, (name, status, change) in enumerate((("weights written in place", 1, lambda n: in_place(n)), ("weights written, their time set back", 1, lambda n: in_place(n, True)),
                                                ("new rights alone", 0, lambda n: os.chmod(n, 0o600)))):
        weights, out = fresh(), os.path.join(here, f"q{i}")
        ended, err = during(["quantize", ck, out, "--threads", "1"], lambda: change(weights), "quantize", 0.2, slow)
        if status:
            check(ended == 1 and "was changed while it was in use" in err and not os.path.exists(out), f"W2: quantize: {name} is an error", (ended, err[-300:]))
        else:
            check(ended == 0 and "hashed again" in err and content(out) == content(os.path.join(here, "q")), f"W2: quantize: {name}: a warning, the same bytes",
                  (ended, err[-300:]))


def test_o10():
    """Temporary names."""
    here = place("o10")
    name = os.path.join(here, "n" * 255)
    p = run("verify", BF16, "--html", name)
    check(p.returncode == 0 and os.path.isfile(name), "O10: a name of 255 bytes", p.stderr)
    p = run("verify", BF16, "--html", os.path.join(here, "n" * 256))
    check(p.returncode == 1 and "too long" in p.stderr, "O10: of 256: an error", p.stderr)
    if STRACE:
        for call in ("rename", "fsync"):
            injected(f"{call}:signal=SIGKILL", "verify", BF16, "--html", os.path.join(here, "page"))
            killed = left_over(here)
            p = run("verify", BF16, "--html", os.path.join(here, "page"))
            check(len(killed) == 1 and p.returncode == 0 and left_over(here) == [], f"O10: killed at {call}: the next run removes what was left", (killed, os.listdir(here)))
        injected("fsync:signal=SIGKILL", "verify", BF16, "--html", os.path.join(here, "page"))
        p = injected("flock:error=ENOLCK", "verify", BF16, "--html", os.path.join(here, "page"))
        check(p.returncode == 0 and len(left_over(here)) == 1 and left_over(here)[0] in p.stderr, "O10: without locks it is left and named", p.stderr)
        p = injected("flock:error=ENOLCK", "eval", BF16, "--ids", path("ids"), "--context", "8", "--quiet", "--out", os.path.join(here, "run"))
        check(p.returncode == 0 and os.path.exists(os.path.join(here, "run/summary.json")), "O10: a run on a file system without locks", p.stderr)
        for leftover in left_over(here):
            os.remove(os.path.join(here, leftover))
    else:
        skip("O10: killed while it writes", "no strace")
    alive = subprocess.Popen([PROGRAM, "compare", BF16, MXFP4, "--text", TEXT, "--context", "64", "--progress"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True, env={**os.environ, "TMPDIR": here})
    alive.stderr.readline()
    scratch = left_over(here)
    p = run("compare", BF16, BF16, "--ids", path("ids"), "--context", "8", "--quiet", env={**os.environ, "TMPDIR": here})
    check(p.returncode == 0 and len(scratch) == 1 and left_over(here) == scratch, "O10: a temporary of a living process stays", (scratch, p.stderr))
    alive.send_signal(signal.SIGKILL)
    alive.communicate()
    check(left_over(here) == scratch, "M5: SIGKILL leaves the comparison's folder", os.listdir(here))
    p = run("compare", BF16, BF16, "--ids", path("ids"), "--context", "8", "--quiet", env={**os.environ, "TMPDIR": here})
    check(p.returncode == 0 and left_over(here) == [], "M5: the next comparison removes it", os.listdir(here))


def test_full_disk():
    """Room on disk is looked for before the work."""
    disk = place("disk")
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        return skip("M4: a full disk shows before the work", "cannot mount a small file system")
    try:
        for command in (["trace", BF16, "--ids", path("ids"), "--out"], ["calibrate", BF16, "--ids", path("ids"), "--context", "8", "--out"],
                        ["eval", BF16, "--text", TEXT, "--context", "64", "--progress", "--out"], ["quantize", BF16]):
            p = run(*command, os.path.join(disk, "out"))
            check(p.returncode == 1 and ("No space left" in p.stderr or "are free" in p.stderr) and "layer" not in p.stderr and os.listdir(disk) == [],
                  f"M4: {command[0]}: a disk without room shows before the work, and nothing is left", (p.stderr, os.listdir(disk)))
    finally:
        subprocess.run(["umount", disk])


def test_one_module():
    """Nothing but base/output_* and base/temporary creates, renames or removes files; serve appends to its log."""
    calls = re.compile(r"\b(rename|renameat|renameat2|unlink|unlinkat|remove|rmdir|mkdir|mkdtemp|mkstemp|link|symlink|truncate|ftruncate|fallocate|creat|tmpfile|"
                       r"freopen)\(|O_CREAT|O_TRUNC|fopen\([^)]*\"[wa]")
    found = []
    for top in ("src", "eval"):
        for at, _, files in os.walk(os.path.join(ROOT, top)):
            for name in files:
                if name.endswith(".c") and name not in ("output_file.c", "output_folder.c", "temporary.c", "cmd_serve.c"):
                    with open(os.path.join(at, name)) as f:
                        found += [f"{name}:{n}" for n, line in enumerate(f, 1) if calls.search(line)]
    check(found == [], "L1 to L6: one module writes: no other creates, renames or removes", found)
    check(calls.search("    if (rename(a, b) != 0)") and calls.search('f = fopen(path, "w");'), "L1 to L6: the search finds such a call")


if __name__ == "__main__":
    try:
        with open(path("text"), "w") as f:
            f.write(open(TEXT).read()[:4000])
        with open(path("ids"), "w") as f:
            f.write(" ".join(str(i) for i in range(1, 25)))
        long_run = Checkpoint(PROGRAM, TEMP, quick=QUICK)
        for test in (test_one_module, test_l1, test_l2, test_l3, test_l4, test_l5, test_l6, test_outputs_that_are_inputs, test_full_disk, test_o10):
            attempt(test.__name__, test)
        for test in (test_w1, test_w2):
            attempt(test.__name__, test, long_run)
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()
