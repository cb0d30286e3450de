"""The command line: usage, refusals, what is printed where, what is left behind."""
import hashlib
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import check, done, interrupted, skip

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
MINI = os.path.join(ROOT, "tests", "fixtures", "mini")          # vocabulary of 32, no tokenizer
DEMO = os.path.join(ROOT, "data", "demo", "bf16")
TEXT = os.path.join(ROOT, "data", "demo", "text.txt")
TEMP = tempfile.mkdtemp(prefix="surprisal-cli-")
# Dozens of tiny runs: on a busy machine OpenMP's spinning would cost more than their work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def path(name, content=None):
    p = os.path.join(TEMP, name)
    if content is not None:
        with open(p, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
    return p


def run(*args, **kw):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, timeout=300, **kw)


def one_line(stderr):
    return stderr.count(b"\n") == 1 and stderr.endswith(b"\n") and stderr.startswith(b"surprisal")


def refused(name, status, says, *args, **kw):
    """Exit status, one line on stderr that says it, nothing on stdout."""
    r = run(*args, **kw)
    missing = [s for s in ([says] if isinstance(says, str) else says) if s.encode() not in r.stderr]
    check(r.returncode == status and one_line(r.stderr) and not missing and not r.stdout, name,
          f"status {r.returncode}, stderr {r.stderr!r}, stdout {r.stdout[:80]!r}")


def header(file):
    """safetensors header of a file"""
    with open(file, "rb") as f:
        return json.loads(f.read(int.from_bytes(f.read(8), "little")))


def column(folder, name):
    file = os.path.join(folder, "tokens.safetensors")
    h = header(file)[name]
    with open(file, "rb") as f:
        start = 8 + int.from_bytes(f.read(8), "little")
        f.seek(start + h["data_offsets"][0])
        raw = f.read(h["data_offsets"][1] - h["data_offsets"][0])
    return np.frombuffer(raw, {"I32": "<i4", "F64": "<f8", "F32": "<f4", "BF16": "<u2"}[h["dtype"]])


IDS = path("ids", " ".join(str(i * 7 % 32) for i in range(40)))
SHORT = path("short", "1 2 3\n")

# ---- usage: exit status 2 ------------------------------------------------------

USAGE = [                                   # name, what the line says, arguments
    ("no command", "a command is missing", []),
    ("unknown command", "unknown command 'evil'", ["evil"]),
    ("unknown option of the program", "unknown command '--nonsense'", ["--nonsense"]),
    ("unknown option", "unknown option '--foo'", ["eval", MINI, "--foo", "1"]),
    ("unknown option with a value", "unknown option '--foo'", ["eval", MINI, "--foo=1"]),
    ("unknown short option", "unknown option '-x'", ["eval", MINI, "-x"]),
    ("an option's beginning is no option", "unknown option '--cont'", ["eval", MINI, "--cont", "8"]),
    ("a newline in an option", "unknown option '--a?b'", ["eval", "--a\nb"]),
    ("missing value", "--context needs a value (N)", ["eval", MINI, "--ids", IDS, "--context"]),
    ("an option in place of a value", "--text needs a value", ["eval", MINI, "--text", "--json"]),
    ("a value for a switch", "--json takes no value", ["eval", MINI, "--ids", IDS, "--json=1"]),
    ("checkpoint missing", "CHECKPOINT is missing", ["eval", "--ids", IDS]),
    ("checkpoint empty", "CHECKPOINT is empty", ["eval", "", "--ids", IDS]),
    ("two checkpoints", "unexpected argument", ["eval", MINI, MINI, "--ids", IDS]),
    ("neither text nor ids", "neither text nor ids", ["eval", MINI]),
    ("both text and ids", "both a text and ids", ["eval", MINI, "--text", TEXT, "--ids", IDS]),
    ("unknown protocol", "--protocol: 'x' is not strided", ["eval", MINI, "--ids", IDS, "--protocol", "x"]),
    ("context 0", "--context: '0' is not", ["eval", MINI, "--ids", IDS, "--context", "0"]),
    ("context 1", "--context: '1' is not", ["eval", MINI, "--ids", IDS, "--context=1"]),
    ("context negative", "--context: '-5' is not", ["eval", MINI, "--ids", IDS, "--context", "-5"]),
    ("context with junk", "--context: '8x' is not", ["eval", MINI, "--ids", IDS, "--context", "8x"]),
    ("context with space", "--context: ' 8' is not", ["eval", MINI, "--ids", IDS, "--context", " 8"]),
    ("context empty", "--context: '' is not", ["eval", MINI, "--ids", IDS, "--context="]),
    ("context overflows", "--context: '99999999999999999999'", ["eval", MINI, "--ids", IDS, "--context", "9" * 20]),
    ("stride 0", "--stride: '0' is not", ["eval", MINI, "--ids", IDS, "--protocol", "strided", "--stride", "0"]),
    ("stride above context", "stride 9 is larger than context 8",
     ["eval", MINI, "--ids", IDS, "--protocol", "strided", "--context", "8", "--stride", "9"]),
    ("stride of another protocol", "a stride belongs to the protocol strided",
     ["eval", MINI, "--ids", IDS, "--context", "8", "--stride", "4"]),
    ("prefix of another protocol", "a prefix id belongs to the protocol rolling",
     ["eval", MINI, "--ids", IDS, "--prefix-id", "4"]),
    ("rows of ids", "rows to join need a text", ["eval", MINI, "--ids", IDS, "--join", "hf"]),
    ("unknown join", "--join: 'x' is not raw or hf", ["eval", MINI, "--ids", IDS, "--join", "x"]),
    ("hidden states without a folder", "hidden states are kept in a run folder",
     ["eval", MINI, "--ids", IDS, "--hidden"]),
    ("unknown kind of hidden states", "--hidden: 'f16' is not bf16 or f32", ["eval", MINI, "--ids", IDS, "--hidden=f16"]),
    ("a task with another protocol", "scored by the protocol rolling, not llama",
     ["eval", MINI, "--text", TEXT, "--task", "wikitext", "--protocol", "llama"]),
    ("an unknown task", "--task: 'x' is not wikitext or lines", ["eval", MINI, "--text", TEXT, "--task", "x"]),
    ("a task of ids", "the task wikitext needs a text", ["eval", MINI, "--ids", IDS, "--task", "wikitext"]),
    ("a task of joined rows", "not in joined rows", ["eval", MINI, "--text", TEXT, "--task", "wikitext", "--join", "hf"]),
    ("documents counted but not asked for", "a number of documents needs the task wikitext",
     ["eval", MINI, "--text", TEXT, "--max-documents", "3"]),
    ("threads 0", "--threads: '0' is not", ["eval", MINI, "--ids", IDS, "--threads", "0"]),
    ("threads beyond reason", "--threads: '100000' is not", ["eval", MINI, "--ids", IDS, "--threads", "100000"]),
    ("memory with an unknown unit", "--memory: '5X' is not", ["eval", MINI, "--ids", IDS, "--memory", "5X"]),
    ("memory 0", "--memory: '0K' is not", ["eval", MINI, "--ids", IDS, "--memory", "0K"]),
    ("memory overflows", "--memory: '99999999999999G'", ["eval", MINI, "--ids", IDS, "--memory", "99999999999999G"]),
    ("unknown arithmetic", "--compute: 'f64' is not f32", ["eval", MINI, "--ids", IDS, "--compute", "f64"]),
    ("max-windows 0", "--max-windows: '0' is not", ["eval", MINI, "--ids", IDS, "--max-windows", "0"]),
    ("tokenize without a tokenizer", "--tokenizer is missing", ["tokenize", TEXT]),
    ("detokenize without a tokenizer", "--tokenizer is missing", ["detokenize", IDS]),
    ("rows of JSON lines", "--join hf is for a text file", ["tokenize", "--tokenizer", DEMO, "--jsonl", "--join", "hf"]),
    ("trace without ids", "--ids is missing", ["trace", MINI, "--out", path("t")]),
    ("trace without out", "--out is missing", ["trace", MINI, "--ids", IDS]),
    ("calibrate without out", "--out is missing", ["calibrate", MINI, "--ids", IDS]),
    ("calibrate without a text", "neither text nor ids", ["calibrate", MINI, "--out", path("t")]),
    ("calibrate for no token", "--min-tokens: '0' is not", ["calibrate", MINI, "--ids", IDS, "--out", path("t"), "--min-tokens", "0"]),
    ("inspect without a checkpoint", "CHECKPOINT is missing", ["inspect"]),
    ("an argument for bench", "unexpected argument", ["bench", MINI]),
    ("bench in no time", "--seconds: '0' is not", ["bench", "--seconds", "0"]),
    ("bench in negative time", "--seconds: '-1' is not", ["bench", "--seconds", "-1"]),
    ("bench in no number", "--seconds: 'nan' is not", ["bench", "--seconds=nan"]),
    ("bench in hexadecimal", "--seconds: '0x1' is not", ["bench", "--seconds=0x1"]),
    ("bench in too long a time", "--seconds: '61' is not", ["bench", "--seconds", "61"]),
]


def test_usage():
    for name, says, args in USAGE:
        refused(f"usage: {name}", 2, says, *args)


def test_help():
    for args in (["--help"], ["--version"], *([c, "--help"] for c in ("eval", "inspect", "tokenize", "detokenize", "trace", "calibrate", "bench", "generate", "chat"))):
        r = run(*args)
        check(r.returncode == 0 and r.stdout and not r.stderr, f"{' '.join(args)} on stdout", r)
    listed = run("eval", "--help").stdout
    for option in ("text", "ids", "protocol", "context", "stride", "join", "max-windows", "compute", "threads", "memory",
                   "isa", "out", "hidden", "json", "tokenizer", "prefix-id", "quiet", "progress"):
        check(f"  --{option} ".encode() in listed, f"eval --help lists --{option}", "it does not")
    check(run("eval", "--nothing", "--help").returncode == 2, "an unknown option before --help", "accepted")


# ---- bad input: exit status 1 --------------------------------------------------

def test_bad_input():
    def ev(name, says, *args):
        refused(name, 1, says, "eval", *args)

    ev("a checkpoint that does not exist", ["none", "No such file"], path("none"), "--ids", IDS)
    ev("a checkpoint that is a file", [IDS, "not a folder"], IDS, "--ids", IDS)
    ev("a checkpoint folder without a config", TEMP, TEMP, "--ids", IDS)
    ev("an ids file that does not exist", ["none", "No such file"], MINI, "--ids", path("none"))
    ev("a folder in place of ids", [TEMP, "is a directory"], MINI, "--ids", TEMP)
    ev("a folder in place of a text", [TEMP, "is a directory"], DEMO, "--text", TEMP)
    ev("an empty ids file", ["empty", "no tokens"], MINI, "--ids", path("empty", ""))
    ev("an empty text", ["empty", "is empty"], DEMO, "--text", path("empty", ""))
    ev("ids that are no numbers", ["junk", "line 2", "'two'"], MINI, "--ids", path("junk", "1\ntwo 3"))
    ev("a negative id", "'-1'", MINI, "--ids", path("junk", "1 -1"))
    ev("an id that does not fit", "'2147483648'", MINI, "--ids", path("junk", "2147483648"))
    ev("an id outside the vocabulary", ["outside", "token 1 has id 32", "has 32"], MINI, "--ids", path("outside", "31 32"))
    ev("ids shorter than a window", ["short", "3 tokens, fewer than one window of 4"], MINI, "--ids", SHORT, "--context", 4)
    ev("the same for llama", "fewer than one window", MINI, "--ids", SHORT, "--context", 4, "--protocol", "llama")
    ev("one token cannot be scored", "nothing to score", MINI, "--ids", path("one", "5"), "--protocol", "strided")
    ev("a text that is not UTF-8", ["latin", "invalid UTF-8 at byte 3"], DEMO, "--text", path("latin", b"caf\xe9 au lait"))
    ev("a text for a folder without a tokenizer", MINI, MINI, "--text", TEXT)
    ev("a tokenizer that does not exist", "none", DEMO, "--text", TEXT, "--tokenizer", path("none"))
    ev("a tokenizer of another model", [TEXT, "the vocabulary of"], MINI, "--text", TEXT, "--tokenizer", DEMO)
    ev("a prefix outside the vocabulary", "prefix token has id 32", MINI, "--ids", IDS, "--protocol", "rolling",
       "--prefix-id", 32)
    ev("unknown kernels", "nonsense", MINI, "--ids", IDS, "--context", 8, "--isa", "nonsense")
    ev("memory too small", "too small", MINI, "--ids", IDS, "--context", 8, "--memory", 16)

    def tr(name, says, *args):
        refused(f"trace: {name}", 1, says, "trace", MINI, *args)

    tr("no ids", "no tokens", "--ids", path("empty", ""), "--out", path("t"))
    tr("an id outside the vocabulary", "token 1 has id 32", "--ids", path("outside", "31 32"), "--out", path("t"))
    tr("a folder in place of the file", "is a directory", "--ids", SHORT, "--out", TEMP)
    tr("no such folder", "No such file", "--ids", SHORT, "--out", path("none/t"))
    check(not os.path.exists(path("t")), "trace leaves nothing after a failure", os.listdir(TEMP))


def test_out():
    before = sorted(os.listdir(TEMP))

    def ev(name, says, out, *args, **kw):
        refused(name, 1, says, "eval", MINI, "--ids", IDS, "--context", 8, "--out", out, *args, **kw)

    os.mkdir(path("taken"))
    ev("an output folder that exists", ["taken", "exists already"], path("taken"))
    os.rmdir(path("taken"))
    ev("an output folder that is a file", ["ids", "exists already"], IDS)
    ev("an output folder in no folder", ["none/run", "cannot create: No such file"], path("none/run"))
    ev("an output folder in a file", ["ids/run", "Not a directory"], os.path.join(IDS, "run"))
    ev("an output folder where none can be", ["/proc/run", "cannot create"], "/proc/run")
    if os.geteuid():
        os.mkdir(path("locked"), 0o555)
        ev("an output folder that may not be written", "Permission denied", path("locked/run"))
        os.rmdir(path("locked"))
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    ev("no room for the tokens", ["full", "tokens.safetensors", "File too large"], path("full"), preexec_fn=limit)
    refused("no room for a trace", 1, ["full", "File too large"], "trace", MINI, "--ids", IDS, "--out", path("full"),
            preexec_fn=limit)
    check(sorted(os.listdir(TEMP)) == before, "a run that failed leaves nothing", os.listdir(TEMP))
    with open("/dev/full", "w") as full:
        for name, args in (("eval", ["eval", MINI, "--ids", IDS, "--context", 8, "--json"]), ("help", ["--help"])):
            r = subprocess.run([PROGRAM, *map(str, args)], stdout=full, stderr=subprocess.PIPE)
            check(r.returncode == 1 and one_line(r.stderr) and b"No space left" in r.stderr, f"{name}: stdout is full", r)
    reader, writer = os.pipe()
    os.close(reader)
    r = subprocess.run([PROGRAM, "--help"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    check(r.returncode == 1 and b"Broken pipe" in r.stderr, "stdout is closed: status 1 and not a signal", r)


# ---- results --------------------------------------------------------------------

FIELDS = ["surprisal", "checkpoint", "text", "tokenizer", "protocol", "context", "stride", "windows", "tokens", "scored",
          "compute", "isa", "threads", "mean_nll", "perplexity", "nll_stderr", "perplexity_stderr", "word_perplexity",
          "byte_perplexity", "bits_per_byte", "seconds", "tokens_per_second", "peak_rss_bytes", "bytes_read", "passes"]


def summary(*args):
    r = run("eval", *args, "--json")
    try:
        return json.loads(r.stdout)
    except ValueError:
        check(False, f"summary of {args}", r)
        return {}


def test_summary():
    out = path("run")
    r = run("eval", "--out", out, "--hidden", "bf16", "--json", "--ids", IDS, "--context=8", MINI)
    s = json.loads(r.stdout)
    check(list(s)[:len(FIELDS)] == FIELDS and not r.stderr, "--json prints the summary alone, fields in their order", r)
    with open(os.path.join(out, "summary.json")) as f:
        check(json.load(f) == s, "summary.json is what --json prints", "it differs")
    check(sorted(os.listdir(out)) == ["summary.json", "tokens.safetensors"], "a run folder holds two files", os.listdir(out))
    check(list(s["checkpoint"]) == ["path", "digest", "head_sha256", "model_type", "parameters", "bytes", "quantized_bytes",
                                      "revision"]
          and list(s["text"]) == ["path", "sha256", "bytes", "words", "join", "ids_sha256"], "inner fields of the summary", s)
    check(s["tokenizer"] is None and s["text"]["words"] is None and s["text"]["join"] is None
          and s["word_perplexity"] is None and s["bits_per_byte"] is None, "ids have no words and no tokenizer", s)
    check((s["windows"], s["tokens"], s["scored"]) == (5, 40, 35), "windows, tokens, scored", s)
    h = header(os.path.join(out, "tokens.safetensors"))
    check({k: v["dtype"] for k, v in h.items() if k != "__metadata__"} ==
          dict(position="I32", window="I32", id="I32", nll="F64", top1="I32", logsumexp="F32", hidden="BF16"),
          "token records and their types", h)
    nll = column(out, "nll")
    check(abs(nll.mean() - s["mean_nll"]) < 1e-12 and abs(np.exp(nll.mean()) - s["perplexity"]) < 1e-9, "the mean is the records'")
    sums = nll.reshape(5, 7).sum(1)
    error = np.sqrt(5 / 4 * ((sums - nll.mean() * 7) ** 2).sum()) / 35
    check(abs(error - s["nll_stderr"]) < 1e-12 and abs(s["perplexity_stderr"] - error * s["perplexity"]) < 1e-9,
          "standard error over windows", s["nll_stderr"])
    one = summary(MINI, "--ids", IDS, "--context", 8, "--max-windows", 1)
    check(one["windows"] == 1 and one["nll_stderr"] is None and one["perplexity_stderr"] is None, "one window has no error", one)
    for args in (["--hidden"], ["--hidden=f32"]):
        other = path("run-f32" + args[0][-3:])
        run("eval", MINI, "--ids", IDS, "--context", 8, *args, "--out", other)
        f32 = column(other, "hidden").view(np.uint32)
        rounded = ((f32 + 0x7FFF + ((f32 >> 16) & 1)) >> 16).astype(np.uint16)
        check(np.array_equal(rounded, column(out, "hidden")), f"{args[0]} keeps f32, of which bf16 is the rounding", "it differs")


def test_protocols():
    ids = np.array(open(IDS).read().split(), np.int32)
    for name, args, windows, positions in (
            ("strided", ["--context", 8, "--stride", 3], 12, range(1, 40)),
            ("disjoint", ["--context", 9], 4, [p for p in range(36) if p % 9]),
            ("llama", ["--context", 8], 5, [p for p in range(40) if p % 8 > 4]),
            ("rolling", ["--context", 8], 5, range(40))):
        out = path("protocol-" + name)
        s = summary(MINI, "--ids", IDS, "--protocol", name, *args, "--out", out)
        check(s["windows"] == windows and s["scored"] == len(positions) and s["protocol"] == name, f"{name}: counts", s)
        check(np.array_equal(column(out, "position"), positions) and np.array_equal(column(out, "id"), ids[positions]),
              f"{name}: positions and ids are the text's own", column(out, "position"))
    check(s["prefix_id"] == 0, "rolling: with ids the prefix is the config's eos_token_id", s["prefix_id"])
    other = summary(MINI, "--ids", IDS, "--protocol", "rolling", "--context", 8, "--prefix-id", 5)
    check(other["prefix_id"] == 5 and other["mean_nll"] != s["mean_nll"], "--prefix-id decides", other["prefix_id"])


def test_text():
    if not os.path.exists(DEMO):
        return skip("text", "no demo checkpoint")
    text = path("text.txt", "The river , it rises .\n \n = Two = \n\nwords\u00a0here\n" * 9)
    s = summary(DEMO, "--text", text, "--context", 16)
    raw = open(text, "rb").read()
    check(s["text"]["sha256"] == hashlib.sha256(raw).hexdigest() and s["text"]["bytes"] == len(raw)
          and s["text"]["words"] == len(re.split(r"\s+", raw.decode())) and s["text"]["join"] == "raw",
          "digest, bytes and words of a text", s["text"])
    joined = "\n\n".join("" if not line.strip() else line for line in raw.decode().splitlines(keepends=True)).encode()
    j = summary(DEMO, "--text", text, "--context", 16, "--join", "hf")
    check(j["text"]["sha256"] == hashlib.sha256(joined).hexdigest() and j["text"]["bytes"] == len(joined)
          and j["text"]["join"] == "hf", "digest and bytes are those of the joined text", j["text"])
    total = s["mean_nll"] * s["tokens"]
    check(np.isclose(s["word_perplexity"], np.exp(total / s["text"]["words"]))
          and np.isclose(s["byte_perplexity"], np.exp(total / len(raw)))
          and np.isclose(s["bits_per_byte"], total / len(raw) / np.log(2)), "word and byte figures", s)
    r = summary(DEMO, "--text", text, "--protocol", "rolling", "--context", 16)
    check(r["scored"] == r["tokens"] and r["prefix_id"] == 4065, "rolling scores all, after <|im_end|>", r.get("prefix_id"))
    ids = run("tokenize", "--tokenizer", DEMO, text).stdout
    by_ids = summary(DEMO, "--ids", path("text.ids", ids), "--context", 16)
    check(by_ids["mean_nll"] == s["mean_nll"], "ids of a text score as the text", by_ids["mean_nll"])
    crlf = run("eval", DEMO, "--text", path("crlf.txt", "a b\r\n" * 40), "--context", 8, "--quiet")
    check(crlf.returncode == 0 and crlf.stderr.count(b"warning: ") == 1 and b"CR LF" in crlf.stderr, "CR LF is warned about", crlf)


def test_task():
    if not os.path.exists(DEMO):
        return skip("task", "no demo checkpoint")
    one, two = " = One = \n \n It is ( so ) , 1 @,@ 000 . \n ", " = Two = \n \n = = Part = = \n words \n"
    both = path("wiki", " \n" + one + "\n" + two)
    s = summary(DEMO, "--text", both, "--context", 16, "--task", "wikitext")
    words = sum(len(" ".join(d.replace("\n", " ").split()).split(" ")) + 2 for d in (one, two))
    check(s["documents"] == {"split": "wikitext", "count": 2, "windows": [2, 1]} and s["text"]["bytes"] == len(one + two)
          and s["text"]["words"] == words, "two articles, counted as they are", (s["text"], words))
    check(s["protocol"] == "rolling" and s["prefix_id"] == 4065, "the task's protocol and prefix", s)
    first = summary(DEMO, "--text", both, "--context", 16, "--task", "wikitext", "--protocol", "rolling", "--max-documents", 1)
    # what lm_eval's preprocess_wikitext makes of the first article
    plain = summary(DEMO, "--text", path("plain", " = One =\n\nIt is (so), 1,000.\n"), "--context", 16, "--protocol", "rolling")
    check(abs(first["mean_nll"] - plain["mean_nll"]) < 1e-12 and first["scored"] == plain["scored"],
          "an article is undone of its tokenization", (first["mean_nll"], plain["mean_nll"]))
    lines = run("eval", DEMO, "--text", both, "--context", 16, "--task", "wikitext").stdout.decode().split("\n\n")[1].splitlines()
    check([line[:16].strip() for line in lines] == ["word perplexity", "byte perplexity", "bits per byte", "mean NLL", "perplexity"],
          "the task's figures come first", lines)


def test_report():
    r = run("eval", MINI, "--ids", IDS, "--context", 8)
    for word in ("checkpoint", "digest", "sha256", "disjoint", "context 8", "stride 8", "35 in 5 windows", "f32", "thread",
                 "mean NLL", "perplexity", "±", "tokens/s", run("--version").stdout.decode().split()[1]):
        check(word in r.stdout.decode(), f"the report says '{word}'", r.stdout)
    check(r.returncode == 0 and not r.stderr, "quiet on stderr in a pipe", r.stderr)
    swapped = run("eval", "--context=8", "--ids", IDS, "--", MINI)
    check(swapped.returncode == 0 and swapped.stdout.splitlines()[-2:] == r.stdout.splitlines()[-2:], "options in any order, --", swapped)
    long = path("many", "1 " * 5000)
    r = run("eval", MINI, "--ids", long, "--context", 5000, "--quiet")
    check(r.returncode == 0 and r.stderr.count(b"surprisal: warning: ") == 1 and b"max_position_embeddings 4096" in r.stderr,
          "a context beyond max_position_embeddings is warned about", r)


# ---- progress and Ctrl-C ----------------------------------------------------------

def on_terminal(*args):
    """-> exit status, what the terminal got on stderr"""
    primary, secondary = pty.openpty()
    p = subprocess.Popen([PROGRAM, *map(str, args)], stdout=subprocess.DEVNULL, stderr=secondary)
    os.close(secondary)
    got = b""
    try:
        while chunk := os.read(primary, 4096):
            got += chunk
    except OSError:                         # the end of a terminal
        pass
    os.close(primary)
    return p.wait(), got


def test_progress():
    args = ["eval", MINI, "--ids", IDS, "--context", 8]
    r = run(*args, "--progress", "--json")
    check(b"layer" in r.stderr and b"\x1b" not in r.stderr and json.loads(r.stdout), "--progress in a pipe: lines", r.stderr)
    try:
        status, got = on_terminal(*args)
    except OSError as e:                    # a bare chroot
        return skip("on a terminal", e)
    check(status == 0 and b"5 windows" in got and b"\r\x1b[K" in got and got.endswith(b"\r\x1b[K") and b"%" in got,
          "on a terminal: the plan, a line redrawn, cleared at the end", got)
    check(on_terminal(*args, "--quiet") == (0, b""), "--quiet on a terminal", "something is shown")


def test_interrupt():
    rng = np.random.default_rng(1)
    many = path("long", " ".join(map(str, rng.integers(0, 32, 100000))))
    before = sorted(os.listdir(TEMP))
    for name, number in (("SIGINT", signal.SIGINT), ("SIGTERM", signal.SIGTERM)):
        during = []
        status, out, err = interrupted(
            [PROGRAM, "eval", MINI, "--ids", many, "--protocol", "strided", "--context", "512", "--stride", "32", "--progress", "--out",
             path("stopped")], number, lambda: during.append(sorted(os.listdir(TEMP))))
        check(status == 130 and err.splitlines()[-1].startswith("surprisal: ") and "interrupted" in err and not out,
              f"{name}: exit status 130", (status, err[-300:]))
        check(len(during[-1]) == len(before) + 1 and sorted(os.listdir(TEMP)) == sorted([*before, "stopped.partial"])
              and "state.safetensors" in os.listdir(path("stopped.partial")), f"{name}: only a state to resume from is left",
              (during[-1], os.listdir(TEMP), err[-300:]))
        shutil.rmtree(path("stopped.partial"), ignore_errors=True)


# ---- tokenize, detokenize, trace -----------------------------------------------------

def test_jsonl():
    if not os.path.exists(DEMO):
        return skip("tokenize", "no demo checkpoint")

    def tok(command, data, *args):
        return run(command, "--tokenizer", DEMO, *args, input=data if isinstance(data, bytes) else data.encode())

    texts = ["The river", "", "a\0b", "\U0001F600 \u00e9\n\t\"\\/", " \x7f x", "\u2028"]
    lines = "\n".join(f(t) for t in texts for f in (json.dumps, lambda t: json.dumps({"id": [1, {"a": None}], "text": t},
                                                                                   ensure_ascii=False))) + "\n\n"
    r = tok("tokenize", lines, "--jsonl")
    ids = [json.loads(x)["ids"] for x in r.stdout.splitlines()]
    check(len(ids) == 12 and ids[::2] == ids[1::2] and ids[2] == [], "strings and {text} give the same ids", r)
    back = tok("detokenize", r.stdout, "--jsonl")
    check([json.loads(x) for x in back.stdout.splitlines()] == [{"text": t} for t in texts for _ in "ab"],
          "detokenize gives the texts back, NUL and pairs of surrogates too", back)
    bare = tok("detokenize", "\n".join(map(json.dumps, ids)), "--jsonl")
    check(bare.stdout == back.stdout, "detokenize takes bare arrays", bare)
    counts = tok("tokenize", lines, "--jsonl", "--count")
    check([int(x) for x in counts.stdout.split()] == [len(i) for i in ids], "--count with --jsonl: one a line", counts)
    whole = tok("tokenize", "The river", "-")
    check(whole.stdout.decode() == " ".join(map(str, ids[0])) + "\n", "a whole text: ids on one line", whole)
    check(tok("tokenize", "The river", "--count").stdout == b"%d\n" % len(ids[0]), "--count", "another")
    check(tok("detokenize", whole.stdout).stdout == b"The river", "detokenize adds no newline", "it does")
    check(tok("tokenize", "").stdout == b"\n" and tok("detokenize", "").stdout == b"", "nothing in, nothing out", "something")
    for name, line, says in (
            ("a lone high surrogate", r'"\ud800"', "lone surrogate"), ("a lone low surrogate", r'"\udc00"', "lone surrogate"),
            ("half a pair", r'"\ud800\u0041"', "lone surrogate"), ("no end", '"abc', "no end"),
            ("a raw tab", '"a\tb"', "control character"), ("an unknown escape", r'"\x41"', "unknown escape"),
            ("a short escape", r'"\u12"', "four hexadecimal digits"), ("two values", '"a" "b"', "follows"),
            ("a number", "5", "a string was expected"), ("no text", '{"a": 1}', 'no "text"'),
            ("text twice", '{"text": "a", "text": "b"}', "twice"), ("a broken member", '{"a": tru, "text": ""}', "JSON"),
            ("an object without end", '{"text": "a"', "JSON"), ("deep nesting", '{"a": ' + "[" * 100000, "nested too deeply"),
            ("broken UTF-8", b'"\xff"', "UTF-8")):
        data = b'"fine"\n' + (line if isinstance(line, bytes) else line.encode()) + b"\n"
        r = tok("tokenize", data, "--jsonl")
        check(r.returncode == 1 and one_line(r.stderr) and b"line 2: " in r.stderr and says.encode() in r.stderr,
              f"jsonl: {name}", r.stderr)
    for name, line, says in (("a fraction", "[1.5]", "not a whole number"), ("a negative id", "[-1]", "not a whole number"),
                             ("a large id", "[2147483648]", "not a whole number"), ("an unknown id", "[999999]", "999999"),
                             ("no ids", '{"text": ""}', 'no "ids"'), ("a string", '"1"', "an array"),
                             ("a comma too many", "[1,]", "not a whole number"), ("no end", "[1", "no end")):
        r = tok("detokenize", line, "--jsonl")
        check(r.returncode == 1 and one_line(r.stderr) and b"line 1: " in r.stderr and says.encode() in r.stderr,
              f"jsonl ids: {name}", r.stderr)
    refused("tokenize a folder", 1, [TEMP, "is a directory"], "tokenize", TEMP, "--tokenizer", DEMO)
    refused("tokenize a folder of lines", 1, [TEMP, "Is a directory"], "tokenize", TEMP, "--tokenizer", DEMO, "--jsonl")
    refused("detokenize junk", 1, "'x'", "detokenize", "--tokenizer", DEMO, input=b"1 x")


def test_trace():
    out = path("trace", "old")
    ids = np.array(open(IDS).read().split(), np.int32)
    r = run("trace", MINI, "--ids", IDS, "--out", out, "--threads", 1)
    h = header(out)
    T, L, V = len(ids), 2, 32
    shapes = {k: (v["dtype"], v["shape"]) for k, v in h.items() if k != "__metadata__"}
    D = shapes["residual"][1][2]
    check(r.returncode == 0 and not r.stdout and not r.stderr and shapes["ids"] == ("I32", [T])
          and shapes["residual"] == ("F32", [L, T, D]) and shapes["logits"] == ("F32", [T, V]),
          "trace replaces its file and writes the tensors", (r, shapes))


def positive(x):
    return isinstance(x, (int, float)) and x > 0


def test_bench():
    refused("bench: unknown kernels", 1, "nonsense", "bench", "--isa", "nonsense")
    refused("bench: a checkpoint that does not exist", 1, ["none", "No such file"], "bench", "--checkpoint", path("none"))
    r = run("bench", "--checkpoint", MINI, "--seconds", "0.001", "--json", "--threads", 2, "--progress")
    try:
        b = json.loads(r.stdout)
    except ValueError:
        return check(False, "bench gives JSON", r)
    limits, kernels = b["limits"], b["kernels"]
    check(r.returncode == 0 and b"figures: about" in r.stderr and b["waited_share"] >= 0 and b["threads"] == 2 and b["checkpoint"] == MINI and b["isa"], "bench: what was run", r)
    check(all(positive(v) for k, v in limits.items() if not k.startswith("bf16"))
          and (limits["bf16_dot_gflops"] is None) == (limits["bf16_dot_gflops_1_thread"] is None),
          "bench: limits are positive", limits)
    rates = {"product": "gflops", "few rows": "gb_per_second", "mixer": "gflops", "rows": "gb_per_second"}
    check(all(positive(k["share"]) and positive(k[rates[k["kind"]]]) and k["name"] and k["shape"] for k in kernels),
          "bench: figures and shares are positive", kernels)
    check(all(abs(k["share"] * k["limit_gflops"] / k["gflops"] - 1) < 1e-2 for k in kernels if k["kind"] != "rows"),
          "bench: shares are of the limit beside them", kernels)
    names = {(k["name"], k["shape"], k.get("compute"), k.get("weights")) for k in kernels}
    shapes = [("in_proj_qkv, q_proj", "2016 x 32 x 16"), ("experts gate and up", "2016 x 8 x 16"), ("head", "2016 x 32 x 16")]
    check(len(names) == len(kernels)
          and all((*s, compute, "BF16") in names for s in shapes for compute in ("f32", "bf16")),
          "bench: the checkpoint's shapes, each once", sorted(map(str, names)))
    check({k["kind"] for k in kernels} == set(rates) and b["layer_type"] == "linear_attention" and positive(b["layer_gflop"])
          and all(positive(b["layer_" + k][c]) for k in ("products_share", "products_seconds", "mxfp4_time_ratio") for c in ("f32", "bf16")),
          "bench: the layer's sum", b["layer_products_share"])
    check({k["compute"] for k in kernels if k["name"] == "KL divergence, two heads"} == set(b["kld_share_of_head"]) == {"f32", "bf16"}
          and all(map(positive, b["kld_share_of_head"].values())), "bench: KL divergence beside the head", b["kld_share_of_head"])


def main():
    try:
        for test in (test_usage, test_help, test_bad_input, test_out, test_summary, test_protocols, test_text, test_task,
                     test_report, test_progress, test_interrupt, test_jsonl, test_trace, test_bench):
            try:
                test()
            except (OSError, KeyError, ValueError, IndexError, TypeError, subprocess.SubprocessError) as e:
                check(False, test.__name__, repr(e))
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()


if __name__ == "__main__":
    main()
