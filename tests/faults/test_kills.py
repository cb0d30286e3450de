"""Commands that are killed: at random moments, and between every two system calls that change what they write.  --resume
gives the same bytes, nothing of the user's is touched, nothing that the last saved state counts is computed again; what is
not resumed gives the same bytes when it is run again, and leaves nothing behind.  Two runs of one folder race.

10 points a command; SURPRISAL_TEST_ALL=1: 300, of which at least 200 find a saved state, and 500 races."""
import collections
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
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done, skip
from faults.long_run import Checkpoint, numbers

# strace and LeakSanitizer both trace: where one is, the other cannot be.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
ALL = os.environ.get("SURPRISAL_TEST_ALL") == "1"
DEMO = os.path.join(ROOT, "data", "demo")
BF16, MXFP4 = os.path.join(DEMO, "bf16"), os.path.join(DEMO, "mxfp4")
TEMP = tempfile.mkdtemp(prefix="surprisal-kills-")
STRACE = shutil.which("strace")
POINTS = 300 if ALL else 3 if QUICK else 10
CHANGES = "rename,renameat2,unlink,unlinkat,rmdir,mkdir,fsync,fallocate,pwrite64,fchmod"
MINE = "kept by its owner"


def path(name):
    return os.path.join(TEMP, name)


def content(folder):
    """{name: bytes} of all below a folder, or of one file; times and speeds in summaries apart."""
    found = {}
    if os.path.isfile(folder):
        return {"": open(folder, "rb").read()}
    for at, _, files in os.walk(folder):
        for name in files:
            full = os.path.join(at, name)
            with open(full, "rb") as f:
                found[os.path.relpath(full, folder)] = f.read()
            if name == "summary.json":
                summary = json.loads(found[os.path.relpath(full, folder)])
                for key in ("seconds", "tokens_per_second", "peak_rss_bytes", "bytes_read", "passes", "sha256", "warnings"):
                    summary.pop(key)
                found[os.path.relpath(full, folder)] = summary
    return found


class Job:
    """A command that writes `out` into a folder of its own, in which a file of the user's stands."""

    def __init__(self, name, args, resumes=True, env=None):
        self.name, self.args, self.resumes = name, args, resumes
        self.here = path(name.replace(" ", "-"))
        self.out = os.path.join(self.here, "out")
        self.env = {**os.environ, **(env or {}), "TMPDIR": self.here}
        os.mkdir(self.here)
        with open(os.path.join(self.here, "mine"), "w") as f:
            f.write(MINE)

    def command(self, resume=False):
        return [PROGRAM, *self.args, self.out, *(["--resume"] if resume and self.resumes else [])]

    def run(self, resume=False, *before):
        return subprocess.run([*before, *self.command(resume)], capture_output=True, text=True, timeout=1800, env=self.env)

    def clear(self):
        for name in os.listdir(self.here):
            if name != "mine":
                full = os.path.join(self.here, name)
                shutil.rmtree(full) if os.path.isdir(full) else os.remove(full)

    def others(self):
        """What stands beside the output."""
        return sorted(n for n in os.listdir(self.here) if n not in ("mine", "out"))

    def whole(self):
        p = self.run()
        if p.returncode:
            raise RuntimeError(f"{self.name}: {p.stderr}")
        self.expected = content(self.out)
        self.clear()

    def end(self, what):
        """Runs it to its end after a kill; True when all is as it must be."""
        p = self.run(resume=True) if self.resumes or not os.path.exists(self.out) else None
        if p and p.returncode and "exists already" in p.stderr:         # killed behind its rename
            p = None
        same = content(self.out) == self.expected if os.path.exists(self.out) else False
        mine = open(os.path.join(self.here, "mine")).read() == MINE
        ok = (p is None or p.returncode == 0) and same and mine and (p is None or self.others() == [])
        if not ok:
            check(False, f"{self.name}: {what}", (p and p.stderr, f"the same bytes: {same}", self.others()))
        self.clear()
        return ok


def jobs():
    text = path("text")
    with open(text, "w") as f:
        f.write(open(os.path.join(DEMO, "text.txt")).read()[:3000])
    common = ["--text", text, "--context", "64", "--quiet"]
    return [Job("eval", ["eval", BF16, *common, "--hidden", "--out"]),
            Job("eval plans", ["eval", BF16, "--text", text, "--quiet", "--plan", "llama:64", "--plan", "strided:64:32", "--out"]),
            Job("quantize", ["quantize", BF16, "--quiet", "--shard-size", "2M"]),
            Job("dequantize", ["dequantize", MXFP4, "--quiet", "--shard-size", "4M"]),
            Job("calibrate", ["calibrate", BF16, *common, "--out"], resumes=False),
            Job("compare", ["compare", BF16, MXFP4, *common, "--layers", "none", "--out"], resumes=False)]


def test_between_calls(job):
    """Killed on entry to the n-th call of each kind that changes files."""
    log = path("log")
    p = job.run(False, STRACE, "-f", "-q", "-o", log, "-e", "trace=" + CHANGES)
    if not check(p.returncode == 0, f"{job.name}: runs under strace", p.stderr):
        return
    job.clear()
    calls = collections.Counter(re.findall(r"^\d+ +(\w+)\(", open(log).read(), re.M))
    points = [(call, n) for call in sorted(calls) for n in range(1, calls[call] + 1)]
    random.Random(job.name).shuffle(points)
    chosen, good, kept = points[:POINTS], 0, 0
    for call, n in chosen:
        p = job.run(False, STRACE, "-f", "-q", "-o", "/dev/null", "-e", "trace=" + call, "-e", f"inject={call}:signal=SIGKILL:when={n}")
        kept += any(name.endswith(".partial") for name in os.listdir(job.here))
        good += job.end(f"killed at {call} {n}")
    check(good == len(chosen), f"{job.name}: killed between system calls, {len(chosen)} of {len(points)} points, {kept} of them left a folder", good)


def test_failures(job):
    """System calls that fail: an error, and nothing lost."""
    good, points = 0, 0
    for call, error in (("renameat2", "EACCES"), ("rename", "ENOSPC"), ("fsync", "EIO"), ("fallocate", "ENOSPC"), ("unlink", "EACCES"),
                        ("fsync", "ENOSPC"), ("pwrite64", "ENOSPC"), ("mkdir", "EACCES")):
        for n in range(1, 2 if QUICK else 4):
            p = job.run(False, STRACE, "-f", "-q", "-o", "/dev/null", "-e", "trace=" + call, "-e", f"inject={call}:error={error}:when={n}")
            points += 1
            if p.returncode not in (0, 1):
                check(False, f"{job.name}: {call} {n} fails with {error}", (p.returncode, p.stderr))
            good += job.end(f"{call} {n} failed with {error}")
    check(good == points, f"{job.name}: {points} failing system calls", good)


def where(state):
    return state and (state["row"], state["first_window"], state["layer"], state["mixer_done"], state["rows_done"])


def test_random_kills(long_run):
    """A chain of kills of a run with hidden states and several passes, each one resumed and killed again."""
    out, rng = path("chain"), random.Random(3)
    start = time.monotonic()
    whole = long_run.whole()
    seconds = time.monotonic() - start
    state, found, ended, back = out + ".partial/state.safetensors", 0, 0, 0
    for _ in range(POINTS):
        before = numbers(state)
        found += before is not None
        p = subprocess.Popen([PROGRAM, *long_run.args(long_run.checkpoint, out), "--quiet", "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            p.wait(rng.uniform(0.05, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            p.kill()
        p.wait()
        after = numbers(state)
        back += before is not None and after is not None and where(after) < where(before)
        if os.path.exists(out):
            ended += 1
            with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
                if not check(f.read() == whole, "eval, passes: killed and resumed until the end, the same bytes"):
                    break
            shutil.rmtree(out)
        elif p.returncode != -signal.SIGKILL:
            check(False, "eval, passes: resumed after a kill", p.stderr.read())
            break
    p = long_run.resume(out)
    with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
        check(p.returncode == 0 and f.read() == whole, f"eval, passes: {POINTS} kills, {found} found a state, {ended} runs came to their end", p.stderr)
    check(back == 0, "eval, passes: nothing that a state counts was computed again", back)
    check(sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"] and not os.path.exists(out + ".partial"), "eval, passes: nothing else is left")
    if ALL:
        check(found >= 200, "eval, passes: at least 200 kills found a saved state", found)


def test_races():
    """Two processes, the same --out, delays injected at open, flock and rename."""
    here = path("races")
    os.mkdir(here)
    with open(path("ids"), "w") as f:
        f.write(" ".join(str(i) for i in range(1, 41)))
    out, rng, seen, good = os.path.join(here, "out"), random.Random(5), collections.Counter(), 0
    args = [PROGRAM, "eval", BF16, "--ids", path("ids"), "--context", "8", "--quiet", "--threads", "1", "--out", out]
    rounds = 500 if ALL else 3 if QUICK else 10
    for _ in range(rounds):
        both = []
        for _ in range(2):
            call, delay = rng.choice((("openat", 1500), ("flock", 60000), ("renameat2", 60000), ("flock", 5000), ("renameat2", 5000), (None, 0)))
            wrapped = [STRACE, "-f", "-q", "-o", "/dev/null", "-e", "trace=" + call, "-e", f"inject={call}:delay_enter={rng.randint(1, delay)}"] if call else []
            both.append(subprocess.Popen([*wrapped, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
            time.sleep(rng.uniform(0, 0.25))
        ends = [(p.wait(900), p.stderr.read().replace(out, "OUT").strip()) for p in both]
        statuses = sorted(e[0] for e in ends)
        said = next((e[1] for e in ends if e[0]), "both wrote")
        seen[re.sub(r".*: ", "", said)[:60]] += 1
        whole = os.path.isdir(out) and sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"]
        ok = statuses == [0, 1] and whole and os.listdir(here) == ["out"]
        if not ok:
            check(False, "L5: two runs of one folder", (ends, os.listdir(here)))
        good += ok
        shutil.rmtree(here)
        os.mkdir(here)
    print(f"# L5: what the loser of {rounds} rounds said: {dict(seen)}")
    check(good == rounds, f"L5: two runs of one folder, {rounds} rounds: never an empty or mixed folder", good)


if __name__ == "__main__":
    try:
        if STRACE and QUICK != 2:
            for job in jobs():
                attempt(job.name, job.whole)
                attempt(job.name, test_between_calls, job)
                if job.name in ("eval", "quantize") and not QUICK:
                    attempt(job.name, test_failures, job)
            attempt("races", test_races)
        else:
            skip("kills between system calls, and races", "no strace" if not STRACE else "too slow on an emulated CPU")
        attempt("random kills", test_random_kills, Checkpoint(PROGRAM, TEMP, quick=QUICK))
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()
