"""Ranks of mpirun that share an evaluation: the bytes of the run in one process for each number of ranks of each MPI, after kills and
with another number too; what cannot be shared is refused once, by the rank's name."""
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
sys.path[:0] = [os.path.join(ROOT, "tests")]
from check import QUICK, check, done, skip

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
BF16, MXFP4 = (os.path.join(ROOT, "data", "demo", x) for x in ("bf16", "mxfp4"))
TEMP = tempfile.mkdtemp(prefix="surprisal-mpi-")
# How the run went, and the digest that covers it.
OF_RUN = ("seconds", "tokens_per_second", "threads", "peak_rss_bytes", "bytes_read", "passes", "sha256")
ENV = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_WAIT_POLICY="passive", GOMP_SPINCOUNT="0",
           TMPDIR="/tmp")
if "ASAN_OPTIONS" in ENV:               # MPI frees nothing at its end
    ENV["ASAN_OPTIONS"] += ":detect_leaks=0"
LAUNCHERS = {"openmpi": ["mpirun.openmpi", "--oversubscribe"], "mpich": ["mpirun.mpich"]}


def path(name):
    return os.path.join(TEMP, name)


def launch(mpi, *parts, env=None, **how):
    """parts: (number of ranks, program and its arguments)"""
    command = list(LAUNCHERS[mpi])
    for i, (n, *args) in enumerate(parts):
        command += [":"] * (i > 0) + ["-n", str(n), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**ENV, **(env or {})},
                            start_new_session=True, **how)


def end(process, seconds=60):
    """-> (status, stdout, stderr, the lines that are ours)"""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        err += f"\nsurprisal: no end within {seconds} s"
    return process.returncode, out, err, [line for line in err.splitlines() if line.startswith("surprisal:")]


def arguments(*options, out, checkpoint=BF16, text="text"):
    return [PROGRAM, "eval", checkpoint, "--text", path(text), "--quiet", *options, "--out", path(out)]


def content(folder, name="tokens.safetensors"):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def same(label, folder, whole):
    a, b = (json.loads(content(f, "summary.json")) for f in (folder, whole))
    unequal = {k: (a.get(k), b.get(k)) for k in {**a, **b} if k not in OF_RUN and a.get(k) != b.get(k)}
    check(content(folder) == content(whole), f"{label}: tokens.safetensors has the bytes of one process")
    check(list(a) == list(b) and not unequal, f"{label}: the summary is that of one process, but for its work", unequal)
    check(sorted(os.listdir(folder)) == ["summary.json", "tokens.safetensors"], f"{label}: nothing else is there", os.listdir(folder))


CASES = {
    "disjoint": (3, dict(options=["--context", "32", "--hidden"])),
    "llama of mxfp4": (2, dict(options=["--protocol", "llama", "--context", "64", "--hidden=bf16", "--compute", "bf16"], checkpoint=MXFP4)),
    "strided": (5, dict(options=["--protocol", "strided", "--context", "100", "--stride", "30"])),
    "rolling": (2, dict(options=["--protocol", "rolling", "--context", "50"])),
    "lines": (3, dict(options=["--task", "lines", "--context", "40", "--max-documents", "9"])),
    "plans": (5, dict(options=["--plan", "llama:64", "--plan", "strided:32:20", "--plan", "lines:48"])),
    "more ranks than windows": (5, dict(options=["--context", "64", "--max-windows", "3"])),
    "one rank": (1, dict(options=["--context", "64"])),
}


def test_same(mpi):
    for label, (n, how) in CASES.items():
        options = how["options"]
        more = {k: v for k, v in how.items() if k != "options"}
        name = label.replace(" ", "-")
        whole = path(f"{name}-whole")
        if not os.path.exists(whole):
            subprocess.run(arguments(*options, out=f"{name}-whole", **more), check=True, capture_output=True, env=ENV)
        out = f"{name}-{mpi}"
        status, text, err, _ = end(launch(mpi, (n, *arguments(*options, out=out, **more))))
        if not check(status == 0, f"{mpi}, {label}: {n} ranks", (status, err[-500:])):
            continue
        check(text.count("\nmean NLL") <= 1 and text.strip(), f"{mpi}, {label}: one rank reports", text)
        if label == "plans":
            check(sorted(os.listdir(path(out))) == sorted(os.listdir(whole)), f"{mpi}, plans: a folder a plan", os.listdir(path(out)))
            for plan in os.listdir(whole):
                same(f"{mpi}, {plan}", os.path.join(path(out), plan), os.path.join(whole, plan))
        else:
            same(f"{mpi}, {label}", path(out), whole)
        shutil.rmtree(path(out))


def has_open(process, folder):
    try:
        return any(os.readlink(f"/proc/{process}/fd/{fd}") == folder for fd in os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return False


def rank_processes(launcher, n, out):
    """The ranks of a launcher that runs, waited for until rank 0 has begun the run -> process ids, rank 0 first"""
    until = time.time() + 20
    while time.time() < until and launcher.poll() is None:
        found, grown = [], {launcher.pid}
        tree = []
        for p in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{p}/stat") as f:
                    tree.append((int(p), int(f.read().rsplit(")", 1)[1].split()[1])))
            except OSError:
                pass
        for _ in range(4):
            grown |= {p for p, parent in tree if parent in grown}
        for p in grown:
            try:
                if os.path.samefile(f"/proc/{p}/exe", PROGRAM):
                    found.append(p)
            except OSError:
                pass
        first = [p for p in found if has_open(p, path(f"{out}.partial"))]
        if len(found) >= n and first:
            return first + sorted(set(found) - set(first))
        time.sleep(0.02)
    return []


def test_kills(mpi, n_kills, seed):
    """One rank is killed at a random moment; another number of ranks goes on, and so on; one process ends it"""
    draw, options, out = random.Random(seed), ["--context", "64", "--threads", "1"], f"kill-{mpi}"
    whole, cut = path("kill-whole"), 0
    if not os.path.exists(whole):
        subprocess.run(arguments(*options, out="kill-whole", text="long"), check=True, capture_output=True, env=ENV)
    for i in range(n_kills):
        n = draw.choice([x for x in (2, 3, 5) if i == 0 or x != n])
        p = launch(mpi, (n, *arguments(*options, "--resume", out=out, text="long")))
        victims = rank_processes(p, n, out)
        time.sleep(draw.random() * (1 if i % 2 else 0.3))
        if victims and p.poll() is None:
            try:
                os.kill(draw.choice(victims), signal.SIGKILL)
                cut += 1
            except ProcessLookupError:
                pass
        err = end(p)[2]
        if os.path.exists(path(out)):   # it was killed when all was done, or not at all
            same(f"{mpi}, {n} ranks after {i} kills", path(out), whole)
            shutil.rmtree(path(out))
        elif not check("no end within" not in err, f"{mpi}: kill {i} of {n} ranks ends the job", err[-500:]):
            return
    check(cut >= min(2, n_kills), f"{mpi}: ranks were killed", cut)
    p = subprocess.run(arguments(*options, "--resume", out=out, text="long"), capture_output=True, text=True, env=ENV)
    if check(p.returncode == 0, f"{mpi}: one process ends what ranks left", p.stderr):
        same(f"{mpi}, after {cut} kills", path(out), whole)
        shutil.rmtree(path(out))


def test_stop(mpi):
    """SIGTERM to a rank stops all, who save what they have; a rank that hangs is named"""
    options, out = ["--context", "64", "--threads", "1"], f"stop-{mpi}"
    p = launch(mpi, (3, *arguments(*options, out=out, text="long")))
    ranks = rank_processes(p, 3, out)
    while p.poll() is None and not os.path.exists(path(f"{out}.partial/part-1.partial/state.safetensors")):
        time.sleep(0.02)
    if ranks:
        os.kill(ranks[1], signal.SIGTERM)
    status, _, err, ours = end(p)
    check(status != 0 and ours[-1:] and "interrupted" in ours[-1] and len(ours) == 1, f"{mpi}: SIGTERM to one rank stops all", (status, err))
    p = launch(mpi, (2, *arguments(*options, out=out, text="long")))
    ours = end(p)[3]
    check(len(ours) == 1 and "--resume goes on" in ours[0], f"{mpi}: without --resume what is left is refused", ours)
    p = launch(mpi, (2, *arguments(*options, "--resume", "--context", "65", out=out, text="long")))
    ours = end(p)[3]
    check(len(ours) == 1 and "context: 6" in ours[0], f"{mpi}: other settings do not go on with it", ours)
    p = launch(mpi, (2, *arguments(*options, "--resume", out=out, text="long")), env={"SURPRISAL_RANK_TIMEOUT": "2"})
    ranks = rank_processes(p, 2, out)
    if ranks:
        os.kill(ranks[1], signal.SIGSTOP)
    status, _, err, ours = end(p, 60)
    for rank in ranks:
        try:
            os.kill(rank, signal.SIGKILL)
        except ProcessLookupError:
            pass
    check(status != 0 and any("has not answered for 2 s" in line and "rank " in line for line in ours), f"{mpi}: a rank that hangs is named", err)
    p = launch(mpi, (3, *arguments(*options, "--resume", out=out, text="long")))
    status, _, err, _ = end(p)
    if check(status == 0, f"{mpi}: a stopped run goes on", err):
        same(f"{mpi}, stopped", path(out), path("kill-whole"))


def refused(mpi, label, parts, *words, status=1):
    got, _, err, ours = end(launch(mpi, *parts))
    check(got == status and len(ours) == 1 and all(w in ours[0] for w in words), f"{mpi}, refused: {label}", (got, err[-600:]))
    left = [x for x in os.listdir(TEMP) if x.startswith("refused")]
    check(not left, f"{mpi}, refused: {label}: nothing is left", left)


def test_refusals(mpi):
    plain = arguments("--context", "32", out="refused")
    no_out = plain[:-2]
    refused(mpi, "no folder", [(2, *no_out)], "folder", "rank 0")
    refused(mpi, "a text that is not there", [(2, *arguments(out="refused", text="none"))], path("none"), "rank 0")
    refused(mpi, "standard input", [(2, *no_out[:4], "-", *plain[5:])], "standard input")
    refused(mpi, "drafts", [(2, *plain, "--mtp", "1")], "MTP")
    refused(mpi, "another context", [(1, *plain), (1, *arguments("--context", "33", out="refused"))], "rank 1", "context: 33", "context: 32")
    refused(mpi, "too little memory for all", [(3, *plain, "--memory", "30M")], "memory budget of 10M", "rank ")
    refused(mpi, "another command", [(3, PROGRAM, "compare", BF16, MXFP4, "--text", path("text"))], "compare", "3 ranks", status=2)
    # The disk of one rank is full.
    limited = ["sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "sh"]
    if mpi == "openmpi":                # MPICH needs such files itself, for shared memory
        status, _, err, ours = end(launch(mpi, (1, *plain), (1, *limited, *plain)))
        check(status == 1 and len(ours) == 1 and "rank 1" in ours[0] and "part-" in ours[0], f"{mpi}: a rank that cannot write is named", err[-600:])
    shutil.rmtree(path("refused.partial"), ignore_errors=True)
    if subprocess.run([*plain[:-1], path("isa"), "--json"], capture_output=True, text=True, env=ENV).stdout.count('"scalar"'):
        skip(f"{mpi}: other instruction sets", "this machine has plain C alone")
        return
    shutil.rmtree(path("isa"))
    mixed = [(1, *plain), (1, *plain, "--isa", "scalar")]
    refused(mpi, "another instruction set", mixed, "rank 1", "scalar", "--mixed")
    status, text, err, _ = end(launch(mpi, *[(n, *args, "--mixed", "--json") for n, *args in mixed]))
    check(status == 0 and json.loads(text)["isa"].endswith("+scalar"), f"{mpi}: --mixed takes it, and the summary says so", (err, text[:200]))
    shutil.rmtree(path("refused"), ignore_errors=True)


def test_shares(mpi):
    """The plan; ranks that are bound to fewer processors than --threads say so"""
    if len(os.sched_getaffinity(0)) < 2:
        skip(f"{mpi}: bound ranks", "this machine has one processor")
        return
    bind = ["--bind-to" if mpi == "openmpi" else "-bind-to", "core"]
    args = [a for a in arguments("--context", "64", "--threads", "2", "--progress", out=f"shares-{mpi}") if a != "--quiet"]
    p = subprocess.run([*LAUNCHERS[mpi], *bind, "-n", "2", *args], capture_output=True, text=True, env=ENV, timeout=60)
    check(p.returncode == 0 and "2 ranks on 1 machine; 2 parts" in p.stderr and "tokens to score" in p.stderr, f"{mpi}: the plan tells ranks, machines and parts", p.stderr)
    check("rank 0" in p.stderr and "has 1 processor for the 2 threads" in p.stderr, f"{mpi}: a rank with fewer processors than threads says so", p.stderr)


def test_without_library():
    """What launchers say in the environment is enough to refuse"""
    args = arguments("--context", "32", out="refused")
    for label, env, words in (
            ("srun without MPI", {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"}, ["3 ranks", "--mpi=pmix"]),
            ("a launcher of another MPI", {"PMI_SIZE": "2", "PMI_RANK": "0"}, ["MPICH", "2 ranks"])):
        p = subprocess.run(args, capture_output=True, text=True, env={**ENV, **env})
        check(p.returncode in (1, 2) and len(p.stderr.splitlines()) == 1 and all(w in p.stderr for w in words), f"refused: {label}", p.stderr)
    p = subprocess.run(args, capture_output=True, text=True, env={**ENV, "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1"})
    check(p.returncode == 2 and not p.stderr, "the other ranks do not repeat it", p.stderr)
    p = subprocess.run([*args, "--part", "2/3"], capture_output=True, text=True, env={**ENV, "SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "1"})
    check(p.returncode == 0, "a part is scored by each process for itself", p.stderr)
    shutil.rmtree(path("refused"), ignore_errors=True)
    p = subprocess.run([*args, "--mixed"], capture_output=True, text=True, env=ENV)
    check(p.returncode == 2 and "--mixed is for several ranks" in p.stderr, "refused: --mixed of one process", p.stderr)


def is_built_for(mpi):
    with open(os.path.join(os.path.dirname(PROGRAM), "mpis")) as f:
        return mpi in f.read().split()


def main():
    with open(os.path.join(ROOT, "data", "demo", "text.txt")) as f:
        text = f.read()
    for name, n in (("text", 3000 if QUICK else 6000), ("long", 6000 if QUICK else 20000)):
        with open(path(name), "w") as f:
            f.write(text[:n])
    test_without_library()
    for mpi, command in LAUNCHERS.items():
        if not shutil.which(command[0]):
            skip(f"ranks of {mpi}", f"there is no {command[0]}")
        elif not is_built_for(mpi):
            skip(f"ranks of {mpi}", "the program was built without it")
        else:
            test_same(mpi)
            test_kills(mpi, 2 if QUICK else 10, mpi)
            test_stop(mpi)
            test_shares(mpi)
            test_refusals(mpi)


try:
    main()
finally:
    shutil.rmtree(TEMP)
done()
