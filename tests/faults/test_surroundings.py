"""What surrounds a run: descriptors, signals, limits, names of files, terminals, the build.

A test bears the number of the fault that it was written for.  `test_surroundings.py C2 O3` runs these alone.  Device nodes
and FIFOs are made in a folder of the test's own only.  What the machine lacks is skipped by name."""
import glob
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, SURPRISAL, TEMP, fresh

from check import QUICK, attempt, check, done, skip

DEMO = os.path.join(ROOT, "data", "demo")
MINI = os.path.join(FIXTURES, "mini")
TEXT = os.path.join(DEMO, "text.txt")
# Without capabilities root is refused what the permissions of a file refuse.
WITHOUT_RIGHTS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]
NATIVE = "SURPRISAL_RUNNER" not in os.environ


def run(*args, under=(), timeout=120, **kw):
    """-> exit status, stdout, stderr (bytes)"""
    r = subprocess.run([*under, SURPRISAL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **kw)
    return r.returncode, r.stdout, r.stderr


def sanitized():
    with open(SURPRISAL, "rb") as f:
        return b"__asan_init" in f.read()


def one_line(err, *words):
    return err.count(b"\n") == 1 and all(w.encode() in err for w in words)


# ---- C2 --------------------------------------------------------------------------------

def test_c2():
    original = fresh("original")
    shutil.copytree(os.path.join(DEMO, "bf16"), original)
    os.chmod(os.path.join(original, "tokenizer.json"), 0)
    under = WITHOUT_RIGHTS if os.geteuid() == 0 else []
    if under and not shutil.which("setpriv"):
        skip("C2: verify --against with an original that may not be read", "no setpriv, and root may read everything")
    else:
        status, out, err = run("verify", os.path.join(DEMO, "mxfp4"), "--against", original, under=under)
        check(status == 1 and not out and one_line(err, "tokenizer.json: Permission denied"),
              "C2: verify --against with an original that may not be read: exit status 1, one line", (status, err))
    raw = []
    for path in glob.glob(os.path.join(ROOT, "src", "*", "*.c")) + glob.glob(os.path.join(ROOT, "eval", "*.c")):
        with open(path, encoding="utf-8") as f:
            in_struct = False
            for number, line in enumerate(f, 1):
                in_struct = bool(re.match(r"struct \w+ \{", line)) or (in_struct and not line.startswith("}"))
                if not in_struct and re.search(r"^\s+struct (surprisal_)?error \w+;", line):
                    raw.append(f"{path}:{number}")
    check(not raw, "C2: every struct error on the stack begins with zeros", raw)


# ---- M5 --------------------------------------------------------------------------------

def hang_up(scratch, *before):
    """Starts a comparison, sends SIGHUP twice when its temporary folder is there -> the process, its stderr."""
    p = subprocess.Popen(
        [*before, SURPRISAL, "compare", os.path.join(DEMO, "bf16"), os.path.join(DEMO, "mxfp4"), "--text", TEXT, "--context", "512",
         "--threads", "1", "--layers", "none"], env=dict(os.environ, TMPDIR=scratch), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not os.listdir(scratch) and p.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(2):
        p.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    _, err = p.communicate(timeout=600)
    return p.returncode, err


def test_m5():
    scratch = fresh("scratch")
    os.mkdir(scratch)
    status, err = hang_up(scratch)
    check(status == 130 and one_line(err, "interrupted"), "M5: SIGHUP, twice: exit status 130, one line", (status, err))
    check(os.listdir(scratch) == [], "M5: SIGHUP leaves no temporary folder of compare", os.listdir(scratch))
    for name in os.listdir(scratch):
        shutil.rmtree(os.path.join(scratch, name))
    if QUICK:
        return skip("M5: under nohup SIGHUP stays ignored", "slow here")
    status, err = hang_up(scratch, sys.executable, "-c",
                          "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])")
    check(status == 0, "M5: SIGHUP that was ignored at the start (nohup) stays ignored", (status, err))


# ---- O1 --------------------------------------------------------------------------------

def test_o1():
    unset = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    loaders = glob.glob("/lib64/ld-linux-x86-64.so.2") + glob.glob("/lib/ld-linux-aarch64.so.1")
    for name, under in (("valgrind", [shutil.which("valgrind"), "-q"]), ("the loader", loaders[:1])):
        name = f"O1: run by {name}: its own version and work"
        if not NATIVE or not under or not under[0]:
            skip(name, "it is not here")
        elif sanitized() and len(under) > 1:
            skip(name, "a sanitizer's program cannot run there")
        else:
            version = run("--version", under=under, env=unset)
            status, out, err = run("inspect", MINI, under=under, env=unset)
            check(version[0] == 0 and version[1].startswith(b"surprisal ") and status == 0 and b"model_type" in out and not err, name,
                  (version, status, out[:200], err[:500]))


# ---- O2 --------------------------------------------------------------------------------

def close_standard(*numbers):
    def close():
        for fd in numbers:
            os.close(fd)
    return close


def test_o2():
    # Folder and shard are the first two files that the run opens, its record the third.
    out, ids = fresh(), os.path.join(TEMP, "ids")
    with open(ids, "w", encoding="ascii") as f:
        f.write(" ".join(str(7 * i % 32) for i in range(3000)))
    r = subprocess.run([SURPRISAL, "eval", MINI, "--ids", ids, "--context", "512", "--threads", "1", "--progress", "--out", out],
                       preexec_fn=close_standard(0, 1, 2), timeout=300)
    compared = run("compare", out, out)
    # The work is done; that nobody can read the result on a closed stdout is the failure that it always was.
    check(r.returncode == 1 and compared[0] == 0, "O2: with 0, 1 and 2 closed no file becomes stderr: the record can be read",
          (r.returncode, compared[2]))
    for name, command in (("eval", ["eval", os.path.join(DEMO, "bf16"), "--text"]), ("tokenize", ["tokenize", "--tokenizer", os.path.join(DEMO, "bf16")])):
        command = [*command, "-"] if name == "eval" else command
        out = fresh()
        status, text, err = run(*command, *(["--out", out] if name == "eval" else []), preexec_fn=close_standard(0))
        check(status == 1 and not text and one_line(err, "standard input is closed"), f"O2: {name} reads no other file as a closed standard input",
              (status, text[:80], err))
        check(not os.path.exists(out + ".partial"), f"O2: {name} with 0 closed leaves nothing when it is refused", "a folder stays")
    status, _, err = run("inspect", MINI, preexec_fn=close_standard(1))
    check(status == 1 and one_line(err, "standard output", "cannot write: Bad file descriptor"), "O2: a closed standard output is an error as ever",
          (status, err))


# ---- O3, O4 ------------------------------------------------------------------------------

# Bytes that are no UTF-8, that look like it (a surrogate), and what JSON, HTML and terminals care about.
EVIL = b"\xff\xed\xa0\x80<&\"\x1b[31m\n\xc2\x9b"


def evil_folder():
    """A folder with such a name that holds the demo, and a file with one -> its path, checkpoint, original, text"""
    folder = os.fsencode(fresh("named")) + EVIL
    os.mkdir(folder)
    ck, original, text = (os.path.join(folder, x) for x in (b"mxfp4", b"bf16", b"text.txt"))
    shutil.copytree(os.fsencode(os.path.join(DEMO, "mxfp4")), ck)
    shutil.copytree(os.fsencode(os.path.join(DEMO, "bf16")), original)
    shutil.copy(os.fsencode(TEXT), text)
    with open(os.path.join(ck, b"x\xed\xa0\x80\xff.safetensors"), "wb") as f:
        f.write(b"no")
    return folder, ck, original, text


def test_o3():
    folder, ck, original, text = evil_folder()
    page, out = os.path.join(folder, b"page.html"), os.path.join(folder, b"out")
    for name, args in (
            ("inspect", ["inspect", original]),
            ("verify", ["verify", ck, "--against", original, "--html", page]),
            ("calibrate", ["calibrate", original, "--text", text, "--max-windows", "1", "--context", "64", "--out", out + b".safetensors"]),
            ("quantize", ["quantize", original, out + b"q", "--include", b"mlp", "--exclude", b"\xff\xed\xa0\x80", "--allow-unmatched"]),
            ("bench", ["bench", "--checkpoint", original, "--seconds", "0.001"]),
            ("eval", ["eval", original, "--text", text, "--max-windows", "1", "--context", "64"])):
        if name == "bench" and QUICK:
            skip("O3: bench: a name that is no UTF-8", "slow here")
            continue
        status, got, err = run(*args, "--json")
        try:
            document = json.loads(got.decode("utf-8"))
        except ValueError as e:
            document = e
        check(status == (name == "verify") and isinstance(document, dict), f"O3: {name}: names that are no UTF-8 in valid JSON", (status, document, err))
    with open(page, "rb") as f:
        html = f.read()
    try:
        html.decode("utf-8")
        ok = b"\x1b" not in html and b"\xc2\x9b" not in html and b"&lt;" in html
        check(ok, "O3: verify's page has no control characters", html[2000:3000])
    except ValueError as e:
        check(False, "O3: verify's page is valid UTF-8", e)


def is_calm(output):
    """Valid UTF-8 without control characters but the ends of lines?"""
    try:
        return not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", output.decode("utf-8"))
    except ValueError:
        return False


def test_o4():
    folder, ck, original, text = evil_folder()
    name, one = "evil.\x1b[2J\n\x9b.", ["--text", text, "--max-windows", "1", "--context", "64"]
    st.write(os.path.join(ck, b"y.safetensors"), {name + "weight_packed": np.full((2, 16), 0x21, np.uint8),
                                                  name + "weight_scale": np.full((2, 1), 127, np.uint8)})
    st.write(os.path.join(original, b"y.safetensors"), {name + "weight": np.ones((2, 32), np.float32)})
    out = os.path.join(folder, b"out")
    plans = [os.path.join(folder, x) for x in (b"plans-a", b"plans-b")]
    for checkpoint, plan in zip((original, ck), plans):
        run("eval", checkpoint, *one, "--out", os.path.join(plan, EVIL.replace(b"\xff\xed\xa0\x80", b"")), preexec_fn=lambda p=plan: os.mkdir(p))
    # Where a path is valid UTF-8 its C1 controls come through.
    c1 = [os.fsencode(fresh("c1")) + b"\xc2\x9b31m" + x for x in (b"a", b"b")]
    for path, checkpoint in zip(c1, (original, ck)):
        os.symlink(checkpoint, path)
    cases = [
        ("inspect", 0, 1, ["inspect", original]),
        ("verify", 1, 1, ["verify", ck, "--against", original]),
        ("calibrate", 0, 1, ["calibrate", original, *one, "--out", out + b".safetensors"]),
        ("quantize", 0, 1, ["quantize", original, "--dry-run", "--include", b"mlp", "--exclude", EVIL, "--allow-unmatched"]),
        ("eval", 0, 1, ["eval", original, *one]),
        ("compare, with its plan", 0, 1, ["compare", original, ck, *one, "--progress", "--layers", "none"]),
        ("compare, with C1 controls", 0, 1, ["compare", *c1, *one, "--layers", "none", "--markdown", out]),
        ("a failed gate of plans", 3, 2, ["compare", *plans, "--gate", "a.mean_nll < 1"]),
        ("an unknown option", 2, 1, ["eval", original, b"--" + EVIL]),
        ("an unknown command", 2, 1, [EVIL]),
        ("a text that is absent", 1, 1, ["eval", original, "--text", EVIL]),
        ("lines that are absent", 1, 1, ["tokenize", "--jsonl", EVIL, "--tokenizer", original]),
        ("a line that is no JSON", 1, 1, ["tokenize", "--jsonl", text, "--tokenizer", original]),
    ]
    env = dict(os.environ, TMPDIR=os.fsdecode(folder))
    for name, status, lines, args in cases:
        got, text_out, err = run(*args, env=env)
        least = {"eval": 10, "inspect": 10}.get(name, 0)
        check(got == status and is_calm(text_out) and is_calm(err) and text_out.count(b"\n") >= least, f"O4: {name}: nothing drives the terminal",
              (got, text_out[-600:], err[-600:]))
        if out in args:
            with open(out, "rb") as f:
                check(is_calm(f.read()), "O4: nor does what --markdown wrote", out)
        if status in (1, 2) and not text_out:
            check(err.count(b"\n") == lines, f"O4: {name}: one line", err)
        if status == 3:
            check(all(x.startswith((b"gate failed: ", b"surprisal: warning: ")) for x in err.splitlines()), f"O4: {name}: a line each", err)


# ---- O5 --------------------------------------------------------------------------------

def test_o5():
    absent = "/".join(["nowhere" * 20] * 20)
    deep = fresh("deep")
    for _ in range(14):                     # 14 x 240 bytes: less than PATH_MAX
        deep = os.path.join(deep, "d" * 240)
    os.makedirs(deep)
    shutil.copytree(MINI, os.path.join(deep, "ck"))
    with open(os.path.join(deep, "ck", "config.json"), "w", encoding="ascii") as f:
        f.write("{")
    ids = os.path.join(deep, "ids")
    for name, status, words, args in (
            ("a checkpoint that is absent", 1, ["nowherenowhere", "\u2026", ": No such file or directory"], ["inspect", absent]),
            ("a damaged file far below", 1, ["surprisal: " + TEMP, "/ck/config.json: not valid JSON"], ["inspect", deep + "/ck"]),
            ("an input far below", 1, ["surprisal: " + TEMP, "/ids: No such file"], ["eval", MINI, "--ids", ids]),
            ("an output far below", 1, ["surprisal: ", "/none/x", "No such file"], ["trace", MINI, "--ids", ids, "--out", deep + "/none/x"]),
            ("a value of an option", 2, ["--context: 'xxx", "is not"], ["eval", MINI, "--context", "x" * 100000]),
            ("an unknown command", 2, ["unknown command 'xxx", "(see surprisal --help)"], ["x" * 3000])):
        if "--out" in args:
            with open(ids, "w", encoding="ascii") as f:
                f.write("1 2 3 4 5")
        got, out, err = run(*args)
        check(got == status and not out and one_line(err, *words) and len(err) < 1200, f"O5: {name}: name and reason stay", (got, err))
    status, out, err = run("verify", deep + "/ck")
    check(b"config: config.json: " in out and b"not valid JSON" in out, "O5: verify: a finding far below says why", (out[:300], err))


# ---- O6 --------------------------------------------------------------------------------

def limit(what, soft, hard):
    return lambda: resource.setrlimit(what, (soft, hard))


def in_shards(n):
    """mini, in n files more, of one tensor each that no model knows: verify would list them, inspect only opens them"""
    folder = fresh("shards")
    shutil.copytree(MINI, folder)
    for i in range(n):
        st.write(os.path.join(folder, f"mtp-{i:03}.safetensors"), {f"mtp.x{i}.weight": np.ones(4, np.float32)})
    return folder


def test_o6():
    folder, files = in_shards(60), resource.RLIMIT_NOFILE
    status, out, err = run("verify", folder, preexec_fn=limit(files, 32, 32))
    check(status == 1 and not out and one_line(err, "Too many open files"), "O6: verify: too few descriptors are one line, and no finding",
          (status, out[-300:], err))
    plenty = run("verify", folder)
    raised = run("verify", folder, preexec_fn=limit(files, 32, 200))
    same = [re.sub(rb"[0-9.]+ s$", b"", r[1].strip()) for r in (plenty, raised)]
    check(raised[0] == plenty[0] and same[0] == same[1] and b"Too many" not in raised[1],
          "O6: the soft limit of descriptors is raised to the hard one", (raised, plenty))


# ---- O7 --------------------------------------------------------------------------------

def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


def test_o7():
    """What is missing with a file that cannot be read is one line, not one for each tensor."""
    def lines(folder, *args):
        status, out, err = run("verify", folder, *args, "--json")
        return status, [(f["code"], f["text"]) for f in json.loads(out)["findings"]], err

    single, shards, indexed = (fresh(name) for name in ("single", "without-index", "with-index"))
    shutil.copytree(MINI, single, ignore=shutil.ignore_patterns("expected*"))
    cut(os.path.join(single, "model.safetensors"))
    for folder in (shards, indexed):
        shutil.copytree(os.path.join(DEMO, "mxfp4"), folder)
        cut(os.path.join(folder, "model.safetensors-00002-of-00002.safetensors"))
    os.unlink(os.path.join(shards, "model.safetensors.index.json"))
    tail = " weights that the config asks for are in no file that can be read"
    for name, folder, original, n in (("the only shard", single, MINI, 50), ("one of two, without an index", shards, "bf16", 266)):
        for args in ((), ("--against", os.path.join(DEMO, original))):
            status, found, err = lines(folder, *args)
            found = [f for f in found if "in the original" not in f[1]]
            check(status == 1 and [f[0] for f in found] == ["unreadable", "missing"] and found[-1][1] == f"{n}{tail}",
                  f"O7: {name}{' against the original' if args else ''}: one line for what is missing", (status, found[:4], err))
    status, found, err = lines(indexed)
    check(status == 1 and [f[0] for f in found] == ["unreadable"], "O7: with an index it is known what was in the file", (found[:4], err))
    bare = fresh("bare")
    shutil.copytree(os.path.join(DEMO, "mxfp4"), bare, ignore=shutil.ignore_patterns("*.safetensors"))
    status, found, err = lines(bare)
    check(status == 1 and [f[0] for f in found] == ["missing-file"] * 2, "O7: nor is more said of files that are all gone", (found[:4], err))
    os.rename(os.path.join(indexed, "model.safetensors-00001-of-00002.safetensors"), os.path.join(indexed, "model.safetensors"))
    os.unlink(os.path.join(indexed, "model.safetensors.index.json"))
    status, found, err = lines(indexed)
    check(("missing", f"266{tail}") not in found and len(found) > 200,
          "O7: a file that nothing reads explains nothing", (found[:4], err))


# ---- O8 --------------------------------------------------------------------------------

# At most $LIVE_THREADS at once beside the main one.
FEW_THREADS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
static int live;
struct call { void *(*start)(void *); void *user; };
static void leave(void *none) { (void)none; __atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST); }
static void *run(void *user)
{
    struct call c = *(struct call *)user;
    void *result;
    free(user);
    pthread_cleanup_push(leave, 0);
    result = c.start(c.user);
    pthread_cleanup_pop(1);
    return result;
}
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *user)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    if (__atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST) > atoi(getenv("LIVE_THREADS"))) {
        leave(0);
        return EAGAIN;
    }
    struct call *c = malloc(sizeof *c);
    *c = (struct call){ start, user };
    return real(thread, attributes, run, c);
}
"""


def threads_cases():
    """name, arguments, threads that it needs beside the main one with --threads 2"""
    mxfp4, bf16 = os.path.join(DEMO, "mxfp4"), os.path.join(DEMO, "bf16")
    one, out = ["--text", TEXT, "--max-windows", "1", "--context", "64"], fresh()
    ids = os.path.join(TEMP, "few-ids")
    with open(ids, "w", encoding="ascii") as f:
        f.write(" ".join(map(str, range(30))))
    return out, [
        ("eval", ["eval", bf16, *one, "--out", out], 2),
        ("compare", ["compare", bf16, mxfp4, *one, "--out", out], 3),
        ("calibrate", ["calibrate", bf16, *one, "--out", out], 2),
        ("trace", ["trace", bf16, "--ids", ids, "--out", out], 2),
        ("verify", ["verify", mxfp4, "--against", bf16], 1),
        ("quantize", ["quantize", bf16, out], 1),
        ("dequantize", ["dequantize", mxfp4, out], 1),
        ("bench", ["bench", "--checkpoint", bf16, "--seconds", "0.001"], None),
    ]


def test_o8():
    out, cases = threads_cases()
    reason = "cannot start 8 threads: Resource temporarily unavailable; --threads "
    library, source = os.path.join(TEMP, "few-threads.so"), os.path.join(TEMP, "few-threads.c")
    with open(source, "w", encoding="ascii") as f:
        f.write(FEW_THREADS)
    compiler = shutil.which("cc") or shutil.which("gcc")
    preloads = NATIVE and not sanitized() and compiler \
        and subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    for name, args, needs in cases:
        if not preloads:
            skip(f"O8: {name}: threads that cannot be created", "no compiler, or a program that takes no preloaded library")
            continue
        env = dict(os.environ, LD_PRELOAD=library, OPENBLAS_NUM_THREADS="1", LIVE_THREADS="4")
        status, text, err = run(*args, "--threads", "8", env=env)
        check(status == 1 and not text and one_line(err, reason), f"O8: {name}: threads that cannot be created are an error", (status, err))
        check(not glob.glob(out + "*"), f"O8: {name}: and leave nothing", glob.glob(out + "*"))
        if needs:
            status, text, err = run(*args, "--threads", "2", env=dict(env, LIVE_THREADS=str(needs)))
            check(status == 0, f"O8: {name}: as many as it needs suffice", (status, text, err))
        for path in glob.glob(out + "*"):
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    limited("O8: eval under a limit of the user's processes", reason)


def limited(name, reason):
    """As another user, whose limit root does not pass by; the program and its files must be readable to him."""
    folder = fresh("limited")
    shutil.copytree(DEMO, os.path.join(folder, "demo"))
    os.chmod(TEMP, 0o755)
    under = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", "prlimit", "--nproc=4"]
    if os.geteuid() != 0 or not shutil.which("setpriv") or not NATIVE:
        return skip(name, "not root, or no setpriv")
    if subprocess.run([*under[:4], SURPRISAL, "--version"], capture_output=True, check=False).returncode != 0:
        return skip(name, "another user cannot run the program here")
    args = ["eval", folder + "/demo/bf16", "--text", folder + "/demo/text.txt", "--context", "64", "--max-windows", "1", "--json"]
    env = dict(os.environ, OPENBLAS_NUM_THREADS="1")
    status, text, err = run(*args, "--threads", "8", under=under, env=env)
    check(status == 1 and not text and one_line(err, reason + "3 would work"), name, (status, err))
    status, text, err = run(*args, "--threads", "3", under=under, env=env)
    check(status == 0, f"{name}: what it offers works", (status, text, err))


# ---- O9 --------------------------------------------------------------------------------

def piped(path, args, name):
    """Runs with a FIFO at `path` that gets the bytes of a file; None when nobody has opened it."""
    os.mkfifo(path)
    writer = subprocess.Popen(["sh", "-c", 'exec cat "$0" > "$1"', name, path], stderr=subprocess.DEVNULL)
    try:
        return run(*args, timeout=60)
    finally:
        writer.kill()
        writer.wait()
        os.remove(path)


def figures(output):
    document = json.loads(output)
    return document["mean_nll"], document["text"]["sha256"]


def test_o9():
    ck, fifo, ids = os.path.join(DEMO, "bf16"), fresh("fifo"), os.path.join(TEMP, "piped-ids")
    with open(ids, "w", encoding="ascii") as f:
        f.write(" ".join(map(str, range(200))))
    few = ["--context", "64", "--max-windows", "2", "--threads", "1", "--json"]
    for option, path in (("--text", TEXT), ("--ids", ids)):
        expected = run("eval", ck, option, path, *few)
        status, out, err = piped(fifo, ["eval", ck, option, fifo, *few], path)
        check(status == 0 and figures(out) == figures(expected[1]), f"O9: {option} FIFO: as the file", (status, out[:200], err))
        command = 'exec "$0" "$@" ' + option + " <(cat " + path + ")"
        r = subprocess.run(["bash", "-c", command, SURPRISAL, "eval", ck, *few], capture_output=True, timeout=60, check=False)
        check(r.returncode == 0 and figures(r.stdout) == figures(expected[1]), f"O9: {option} <(...): as the file", (r.returncode, r.stderr))
        status, out, err = run("eval", ck, option, "/dev/stdin", *few, input=open(path, "rb").read())
        check(status == 0 and figures(out) == figures(expected[1]), f"O9: {option} /dev/stdin, a pipe: as the file", (status, err))
    status, out, err = piped(fifo, ["tokenize", fifo, "--tokenizer", ck], TEXT)
    check(status == 0 and out == run("tokenize", TEXT, "--tokenizer", ck)[1], "O9: tokenize FIFO: as the file", (status, err))
    status, out, err = run("eval", ck, "--text", "/dev/null", *few)
    check(status == 1 and one_line(err, "/dev/null: is empty"), "O9: a device is read, too", (status, err))
    os.mkfifo(fifo)
    p = subprocess.Popen([SURPRISAL, "eval", ck, "--text", fifo, *few], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    check(p.returncode in (130, -signal.SIGINT) and not out, "O9: who waits for a FIFO's writer in vain can be interrupted", (p.returncode, err))
    for option in ("--text", "--ids"):
        status, out, err = run("compare", ck, ck, option, fifo, timeout=60)
        check(status == 2 and one_line(err, "read more than once", "a pipe or a device"), f"O9: compare {option} reads twice, and refuses a FIFO", (status, err))
    os.remove(fifo)
    folder = fresh("piped")
    shutil.copytree(MINI, folder)
    for name in ("config.json", "model.safetensors"):
        os.rename(os.path.join(folder, name), os.path.join(folder, "was"))
        os.mkfifo(os.path.join(folder, name))
        status, out, err = run("inspect", folder, timeout=60)
        check(status == 1 and one_line(err, name + ": is not a regular file"), f"O9: a FIFO called {name} does not hang", (status, err))
        os.rename(os.path.join(folder, "was"), os.path.join(folder, name))
    status, out, err = run("eval", MINI, "--ids", ids, "--plan", "wikitext:8", "--plan", "rolling:9")
    check(status == 2 and one_line(err, "needs a text"), "O9: the task wikitext beside other plans without a text is refused", (status, err))


# ---- O11 -------------------------------------------------------------------------------

def test_o11():
    place, runs = fresh("place"), fresh("runs")
    os.mkdir(place), os.mkdir(runs)
    args = ["--text", TEXT, "--context", "64", "--max-windows", "3"]
    pair = [os.path.join(runs, name) for name in ("a", "b")]
    for name, out in zip(("bf16", "mxfp4"), pair):
        shutil.copytree(os.path.join(DEMO, name), os.path.join(place, name))
        run("eval", os.path.join(place, name), *args, "--hidden", "--out", out)
    there = json.loads(run("compare", *pair, "--json")[1])
    del there["verdict"], there["repeat"]
    ck = os.path.join(place, "mxfp4")

    def empty():
        shutil.rmtree(ck)
        os.mkdir(ck)

    def without_weights():
        shutil.copytree(os.path.join(DEMO, "mxfp4"), ck, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)

    def other_head():
        shutil.rmtree(ck)
        shutil.copytree(MINI, ck)

    def absent():
        shutil.rmtree(ck)

    for name, change, why in (("an empty folder", empty, "is not at"), ("a folder without weights", without_weights, "is not at"),
                              ("another head", other_head, "the head has SHA-256"), ("no folder", absent, "is not at")):
        change()
        status, out, err = run("compare", *pair, "--json")
        check(status == 0 and one_line(err, "warning: no KL divergence: ", why), f"O11: {name}: a warning", (status, err))
        if status == 0:
            here = json.loads(out)
            kept = {k: v for k, v in there.items() if k in here}
            check("mean_kld" not in here and kept["delta_nll"] == here["delta_nll"] and kept["p_value"] == here["p_value"],
                  f"O11: {name}: NLL is compared as before", here)
        status, out, err = run("compare", *pair, "--gate", "mean_kld<=1")
        check(status != 0, f"O11: {name}: a gate on the divergence does not pass", (status, err))
    shutil.copytree(os.path.join(DEMO, "mxfp4"), ck)
    with open(os.path.join(ck, "config.json"), "w", encoding="ascii") as f:
        f.write("{")
    status, out, err = run("compare", *pair)
    check(status == 1 and one_line(err, "config.json: not valid JSON"), "O11: a checkpoint that is damaged is an error", (status, err))


# ---- O12 -------------------------------------------------------------------------------

def test_o12():
    full = "/dev/full"
    # More than stdio keeps, so that writes fail in the middle; the last one may have nothing to write any more.
    for name, args in (("ids", ["tokenize", TEXT, "--tokenizer", os.path.join(DEMO, "bf16")]), ("a line", ["--version"]),
                       ("JSON", ["verify", os.path.join(DEMO, "mxfp4"), "--against", os.path.join(DEMO, "bf16"), "--json"])):
        with open(full, "wb") if os.path.exists(full) else open(os.devnull, "rb") as f:
            r = subprocess.run([SURPRISAL, *args], stdout=f, stderr=subprocess.PIPE, timeout=120, check=False)
        check(r.returncode == 1 and one_line(r.stderr, "standard output: cannot write: "), f"O12: {name} on a full disk: the reason", r.stderr)
    repeated, page = fresh("repeated"), fresh("page")
    with open(repeated, "w", encoding="ascii") as f:
        f.write(" ".join(str(i % 32) for i in range(160)))
    runs = [fresh("run"), fresh("run")]
    for ck, out in zip(("bf16", "mxfp4"), runs):
        run("eval", os.path.join(DEMO, ck), "--ids", repeated, "--context", "32", "--out", out)
    status, out, err = run("compare", *runs, "--json")
    document = json.loads(out)
    check(document["p_value"] is None and document["delta_nll_ci95"] in ([None, None], None) and "differ by the same amount" in document["verdict"],
          "O12: identical windows: no p-value", (status, document.get("p_value"), document.get("delta_nll_ci95"), document.get("verdict")))
    for script, message in (("exit 3", "gnuplot: failed: exit status 3"), ("kill -9 $$", "gnuplot: failed: ended by signal 9")):
        folder = fresh("gnuplot")
        os.mkdir(folder)
        with open(os.path.join(folder, "gnuplot"), "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + script + "\n")
        os.chmod(f.name, 0o755)
        status, out, err = run("compare", *runs, "--html", page, env=dict(os.environ, PATH=folder))
        check(status == 0 and message in err.decode(), f"O12: gnuplot that ends by {script}: says so", (status, err))
    ids = fresh("ids")
    with open(ids, "wb") as f:
        f.write(b"1 2\n3 4\0 5")
    status, out, err = run("eval", MINI, "--ids", ids)
    check(status == 1 and one_line(err, "line 2: byte 7 is NUL"), "O12: ids with a NUL: its byte is named", (status, err))
    test_install()


def files_below(folder):
    return sorted(os.path.join(where, name)[len(folder):] for where, _, names in os.walk(folder) for name in names)


def test_install():
    build = os.path.basename(os.path.dirname(SURPRISAL))
    flags = {"build": [], "build-sanitize": ["SANITIZE=1"]}.get(build)
    if flags is None or not NATIVE or not shutil.which("make") or not shutil.which("pkg-config"):
        return skip("O12: make install", f"a build in {build}, or no make or pkg-config")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("PREFIX", "DESTDIR")}
    for destination, prefix in (("a b", "/usr/local"), ("", "/p&q|r's \\ \"t\" (u)"), ("'", "/x;y")):
        top = fresh("install")
        where = [f"DESTDIR={top}/{destination}" if destination else "DESTDIR=", f"PREFIX={prefix}" if destination else f"PREFIX={top}{prefix}"]
        root = f"{top}/{destination}{prefix}" if destination else top + prefix
        # -o all: what is to be installed is there, and another build may be going on.
        make = ["make", "-s", "-C", ROOT, "-o", "all", *flags, *where]
        r = subprocess.run([*make, "install"], capture_output=True, text=True, env=env, check=False)
        expected = ["/bin/surprisal", "/include/surprisal.h", "/lib/libsurprisal.a", "/lib/libsurprisal.so", "/lib/pkgconfig/surprisal.pc"]
        found = [name for name in files_below(root) if ".so." not in name]      # these names have the version
        check(r.returncode == 0 and found == expected, f"O12: make install {where[0][:8]}... {prefix}", (r.stderr, files_below(top)))
        found = subprocess.run(["pkg-config", "--cflags-only-I", "surprisal"], capture_output=True, text=True, check=False,
                               env=dict(env, PKG_CONFIG_PATH=root + "/lib/pkgconfig"))
        wanted = "-I" + (prefix if destination else top + prefix) + "/include"
        try:
            flags_found = shlex.split(found.stdout)
        except ValueError as e:
            flags_found = [e]
        check(wanted in flags_found or prefix == "/usr/local", f"O12: pkg-config gives back the folder: {prefix}", (found.stdout, found.stderr, wanted))
        r = subprocess.run([*make, "uninstall"], capture_output=True, text=True, env=env, check=False)
        check(r.returncode == 0 and files_below(top) == [], f"O12: make uninstall takes it away: {prefix}", (r.stderr, files_below(top)))


# ---- O13 -------------------------------------------------------------------------------

MODULES = "libcjson libpcre2-8 libutf8proc libcrypto openblas"


def installing(packages, modules=MODULES, without=(), **stubs):
    """Runs tools/install-packages with nothing but the tools it uses in its PATH; stubs: name=script"""
    folder = fresh("tools")
    os.mkdir(folder)
    for name in ("sh", "grep", "sed", "env", "cc", "gcc", "ld", "objcopy", "ar", "pkg-config", "python3", "dpkg-query", "cat"):
        if shutil.which(name) and name not in without and name not in stubs:
            os.symlink(shutil.which(name), os.path.join(folder, name))
    calls = os.path.join(folder, "calls")
    for name, script in stubs.items():
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\necho {name} \"$@\" >> {calls}\n{script}\n")
        os.chmod(f.name, 0o755)
    r = subprocess.run([os.path.join(ROOT, "tools", "install-packages"), *packages], capture_output=True, text=True, timeout=60, check=False,
                       env=dict(PATH=folder, CC="cc", MODULES=modules))
    called = open(calls, encoding="ascii").read() if os.path.exists(calls) else ""
    return r.returncode, r.stderr, called


def test_packages():
    if not shutil.which("dpkg-query") or installing(["no-such-package"], id="echo 1000")[0] != 0:
        return skip("O13: tools/install-packages", "not Debian, or no compiler and libraries of its own")
    user, none = "echo 1000", ["no-such-package"]
    denied = "echo 'sudo: Permission denied' >&2; exit 1"
    for name, got, status, says, apt in (
            ("without sudo", installing(none, id=user, **{"apt-get": "exit 1"}), 0, "not installed: gnuplot", False),
            ("sudo that is denied", installing(none, id=user, sudo=denied, **{"apt-get": "exit 0"}), 0, "not installed: gnuplot", False),
            ("root without a network", installing(none, id="echo 0", **{"apt-get": "exit 1"}), 0, "not installed: gnuplot", True),
            ("gnuplot from elsewhere", installing(none, id=user, gnuplot="exit 0"), 0, "", False),
            ("sudo that asks for nothing", installing(none, id=user, sudo='case $1 in -n) exit 0; esac; "$@"', **{"apt-get": "exit 0"}),
             0, "installing: no-such-package", True),
            ("no library", installing(none, "no-such-library", id=user, **{"apt-get": "exit 0"}), 1, "install these", False),
            ("no compiler", installing(none, without=("cc", "gcc"), id=user, **{"apt-get": "exit 0"}), 1, "install these", False),
            ("no library, root", installing(none, "no-such-library", id="echo 0", **{"apt-get": "exit 0"}), 0, "installing:", True),
            ("no library, sudo that is denied", installing(none, "no-such-library", id=user, sudo=denied, **{"apt-get": "exit 0"}), 1,
             "install these", True),
            ("nothing is missing", installing(["dpkg"], id=user), 0, "", False)):
        check(got[0] == status and says in got[1] and (says or "gnuplot" not in got[1]) and ("apt-get install" in got[2]) == apt,
              f"O13: installing packages: {name}", got)


def test_clang():
    name = "O13: clang compiles everything without a warning"
    flags = subprocess.run(["pkg-config", "--cflags", *MODULES.split()], capture_output=True, text=True, check=False).stdout.split()
    folders = ["-Isrc", "-Iinclude", "-I.", "-I" + os.path.dirname(SURPRISAL)]
    compile_ = ["clang", "-fsyntax-only", "-Werror", "-D_GNU_SOURCE", '-DSURPRISAL_VERSION="x"', *folders, "-std=c11", "-Wall", "-Wextra", "-Wshadow",
                "-Wconversion", "-fopenmp", "-ffp-contract=off", "-O2", *flags]
    if QUICK or not NATIVE or not shutil.which("clang"):
        return skip(name, "slow here, or no clang")
    if subprocess.run([*compile_, "-x", "c", "-"], input=b"#include <omp.h>\n", cwd=ROOT, capture_output=True, check=False).returncode != 0:
        return skip(name, "clang has no omp.h (libomp-dev)")
    kernels = "src/kernels/"
    of_sets = [kernels + x for x in ("rows.c", "scalar_rows.c", "mxfp4_blocks.c", "avx2.c", "avx2_dots.c", "avx512.c", "avx512_dots.c",
                                     "avx512bf16.c", "avx512bf16_dots.c", "neon.c", "neon_dots.c")]
    of_mpi = "src/cluster/mpi_library.c"                # compiled with the headers of each MPI
    rest = [os.path.relpath(f, ROOT) for pattern in ("src/*/*.c", "eval/*/*.c") for f in sorted(glob.glob(os.path.join(ROOT, pattern)))]
    r = subprocess.run([*compile_, *(f for f in rest if f not in (*of_sets, of_mpi))], cwd=ROOT, capture_output=True, text=True, check=False)
    said = r.stderr
    avx512 = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mfma"]
    intel = [["-mavx2", "-mfma"], avx512] if os.uname().machine == "x86_64" else []
    for isa in ([], *intel):
        for define, file in (("ROW_KERNELS=k", "rows.c"), ("ROW_KERNELS=k", "scalar_rows.c"), ("MXFP4_BLOCKS=k", "mxfp4_blocks.c")):
            said += subprocess.run([*compile_, *isa, "-D" + define, kernels + file], cwd=ROOT, capture_output=True, text=True, check=False).stderr
    for stem, isa in (("avx2", ["-mavx2", "-mfma"]), ("avx512", avx512), ("avx512bf16", [*avx512, "-mavx512bf16"])):
        if intel:
            files = [kernels + stem + ".c", kernels + stem + "_dots.c"]
            said += subprocess.run([*compile_, *isa, *files], cwd=ROOT, capture_output=True, text=True, check=False).stderr
    check(not said, name, said[:1500])


def test_o13():
    test_packages()
    test_clang()


tests = {name.split("_", 1)[1].upper(): test for name, test in list(globals().items()) if re.fullmatch(r"test_[a-z]\d+", name)}
for number, test in tests.items():
    if len(sys.argv) == 1 or number in sys.argv[1:]:
        attempt(f"{number}: its test", test)
done()
