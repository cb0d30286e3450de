"""`generate`: usage, refusals, budgets, the end of the context, what goes where, Ctrl-C."""
import json
import os
import pty
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
MINI = os.path.join(ROOT, "tests", "fixtures", "mini")          # vocabulary of 32, no tokenizer
DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
TEMP = tempfile.mkdtemp(prefix="surprisal-generate-")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def path(name, content):
    p = os.path.join(TEMP, name)
    with open(p, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return p


def run(*args, **kw):
    return subprocess.run([PROGRAM, "generate", *map(str, args)], capture_output=True, timeout=300, **kw)


def refused(name, status, says, *args):
    """Exit status, one line on stderr that says it, nothing on stdout."""
    r = run(*args)
    one = r.stderr.count(b"\n") == 1 and r.stderr.startswith(b"surprisal")
    check(r.returncode == status and one and says.encode() in r.stderr and not r.stdout, name,
          f"status {r.returncode}, stderr {r.stderr!r}, stdout {r.stdout[:80]!r}")


def variant(name, **files):
    """The demo checkpoint with other small files: a value is the new content, None removes it."""
    folder = os.path.join(TEMP, name)
    os.mkdir(folder)
    for entry in os.listdir(DEMO):
        os.symlink(os.path.join(DEMO, entry), os.path.join(folder, entry))
    for entry, content in files.items():
        entry = os.path.join(folder, entry.replace("__", "."))
        if os.path.lexists(entry):
            os.remove(entry)
        if content is not None:
            with open(entry, "w") as f:
                f.write(content if isinstance(content, str) else json.dumps(content))
    return folder


def config_with(**settings):
    with open(os.path.join(DEMO, "config.json")) as f:
        config = json.load(f)
    config["text_config"].update(settings)
    return config


IDS = path("ids", "1 2 3")
PROMPT = ("--prompt", "The history of")
CHAT = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
USAGE = [
    ("no prompt", "no prompt is given", [DEMO]),
    ("two prompts", "more than one prompt is given", [DEMO, *PROMPT, "--ids", IDS]),
    ("no checkpoint", "CHECKPOINT is missing", [*PROMPT]),
    ("temperature above 2", "temperature is out of range", [DEMO, *PROMPT, "--temperature", "2.5"]),
    ("temperature is a word", "'hot' is not a number", [DEMO, *PROMPT, "--temperature", "hot"]),
    ("infinity is no number", "'1e999' is not a number", [DEMO, *PROMPT, "--temperature", "1e999"]),
    ("top-p 0", "top_p is out of range", [DEMO, *PROMPT, "--top-p", "0"]),
    ("top-k -2", "--top-k: '-2' is not", [DEMO, *PROMPT, "--top-k", "-2"]),
    ("min-p above 1", "min_p is out of range", [DEMO, *PROMPT, "--min-p", "1.5"]),
    ("presence", "presence_penalty is out of range", [DEMO, *PROMPT, "--presence-penalty", "-2.1"]),
    ("repetition 0", "repetition_penalty is out of range", [DEMO, *PROMPT, "--repetition-penalty", "0"]),
    ("no tokens wanted", "--max-tokens: '0' is not", [DEMO, *PROMPT, "--max-tokens", "0"]),
    ("bias without a value", "--logit-bias: '5' is not", [DEMO, *PROMPT, "--logit-bias", "5"]),
    ("bias of 101", "-100 to 100", [DEMO, *PROMPT, "--logit-bias", "5=101"]),
    ("a cache of f16", "--kv-cache-dtype: 'f16' is not bf16 or f32", [DEMO, *PROMPT, "--kv-cache-dtype", "f16"]),
    *[(f"drafts: {x}", f"--speculative: '{x}' is not mtp:N, with N from 1 to 8", [DEMO, *PROMPT, "--speculative", x])
      for x in ("mtp", "mtp:", "mtp:0", "mtp:9", "mtp:1x", "mtp:-1", "3", "ngram:3", "MTP:3")],
    ("a long stop text", "1025 bytes", [DEMO, *PROMPT, "--stop", "x" * 1025]),
    ("65 stop texts", "65 stop texts", [DEMO, *PROMPT, *["--stop", "x"] * 65]),
]
FAILURES = [
    ("a file that is not there", "nowhere", [DEMO, "--file", os.path.join(TEMP, "nowhere")]),
    ("an empty prompt", "holds no tokens", [DEMO, "--file", path("empty", "")]),
    ("not UTF-8", "UTF-8", [DEMO, "--file", path("latin", b"caf\xe9")]),
    ("an id outside the vocabulary", "has id 32", [MINI, "--ids", path("large", "1 32")]),
    ("a bias outside the vocabulary", "logit_bias: id 4160", [DEMO, *PROMPT, "--logit-bias", "4160=1"]),
    ("drafts without an MTP layer", "has no MTP layer (no tensor 'mtp.fc.weight')", [MINI, "--ids", IDS, "--speculative", "mtp:1"]),
    ("text without a tokenizer", "tokenizer.json", [MINI, *PROMPT]),
    ("stop texts without a tokenizer", "tokenizer.json", [MINI, "--ids", IDS, "--stop", "x"]),
]


def test_refusals():
    for name, says, args in USAGE:
        refused(name, 2, says, *args)
    for name, says, args in FAILURES:
        refused(name, 1, says, *args)
    for name, content, says in (("temperature is text", {"temperature": "1"}, "temperature is not a number"),
                                ("top_k is 0.5", {"top_k": 0.5}, "top_k is not a whole number"),
                                ("top_p is 3", {"top_p": 3}, "top_p is out of range"),
                                ("an end id outside", {"eos_token_id": [1, 1 << 40]}, "eos_token_id"),
                                ("max_new_tokens -1", {"max_new_tokens": -1}, "max_new_tokens"),
                                ("no object", [1], "not an object"), ("no JSON", "{", "generation_config.json")):
        refused(f"generation_config.json: {name}", 1, says, variant(name, generation_config__json=content), *PROMPT)


def test_defaults():
    def sampling(*args):
        return json.loads(run(*args, *PROMPT, "--json", "--max-tokens", 1).stdout)["sampling"]
    got = sampling(DEMO)
    check((got["temperature"], got["top_k"], got["top_p"]) == (1, 20, 0.95), "defaults are the publisher's", got)
    got = sampling(DEMO, "--top-k", -1, "--top-p", 1, "--temperature", 0.5)
    check((got["temperature"], got["top_k"], got["top_p"]) == (0.5, 0, 1), "options come before them", got)
    got = sampling(variant("plain", generation_config__json=None))
    check((got["temperature"], got["top_k"], got["top_p"], got["repetition_penalty"]) == (1, 0, 1, 1), "without the file: off", got)
    got = json.loads(run(variant("three", generation_config__json={"max_new_tokens": 3, "min_p": None}), *PROMPT, "--json",
                         "--ignore-eos").stdout)
    check(got["completion_tokens"] == 3 and got["finish_reason"] == "length", "max_new_tokens, and null is absent", got)


def test_context():
    small = variant("small", config__json=config_with(max_position_embeddings=8))
    r = run(small, "--ids", path("five", "1 2 3 4 5"), "--max-tokens", 100, "--ignore-eos", "--json", "--seed", 1)
    got = json.loads(r.stdout)
    check(got["completion_tokens"] == 3 and got["finish_reason"] == "context" and got["context"] == 8,
          "the answer ends where the context does", got)
    r = run(small, "--ids", path("five", "1 2 3 4 5"), "--max-tokens", 100, "--ignore-eos")
    check(r.returncode == 0 and b"the model's context is full" in r.stderr, "and says so", r.stderr)
    got = json.loads(run(small, "--ids", path("five", "1 2 3 4 5"), "--max-tokens", 3, "--ignore-eos", "--json").stdout)
    check(got["finish_reason"] == "length", "exactly full by the limit is length", got)
    refused("a prompt as long as the context", 1, "8 tokens, which leave no room", small, "--ids", path("eight", "1 2 3 4 5 6 7 8"))


def test_memory():
    sums = []
    for what, drafts in (("", ()), ("with drafts: ", ("--speculative", "mtp:8"))):
        r = run(DEMO, *PROMPT, "--memory", "1M", *drafts)
        named = re.search(rb"needs (\d+)M in all", r.stderr)
        check(r.returncode == 1 and named, f"{what}a budget that is too small is refused with the sum", r.stderr)
        if named:
            sums.append(int(named[1]))
            r = run(DEMO, *PROMPT, "--memory", f"{sums[-1]}M", "--max-tokens", 4, "--json", *drafts)
            check(r.returncode == 0, f"{what}which suffices", r.stderr)
            held = json.loads(r.stdout)["peak_rss_bytes"]
            check(QUICK or held <= sums[-1] << 20, f"{what}and is kept", f"{held} of {sums[-1] << 20}")     # sanitizers have memory of their own
    check(len(sums) == 2 and sums[0] < sums[1], "drafts need more", sums)
    r = run(DEMO, *PROMPT, "--progress", "--max-tokens", 4, "--memory", "100M")
    check(re.search(rb"memory: at most [\d.]+ GB: weights [\d.]+ GB, keys and values [\d.e-]+ GB \(f32\), buffers", r.stderr),
          "the whole is said before", r.stderr)
    r = run(DEMO, "--prompt", CHAT, "--temperature", 0, "--memory", "200M", "--max-tokens", 9007199254740993)
    check(r.returncode == 0, "an endless answer is bounded by the context", r.stderr[-200:])


def test_few_weights():
    """The least budget holds a few weights at a time.  In BF16 these are less than half: a budget's margin does not hold the rest."""
    bf16 = os.path.join(ROOT, "data", "demo", "bf16")
    for what, drafts in (("", ()), ("with drafts: ", ("--speculative", "mtp:8"))):
        args = (bf16, *PROMPT, "--seed", 3, "--max-tokens", 60, "--ignore-eos", "--json", *drafts)
        named = re.search(rb"needs (\d+)M in all", run(*args, "--memory", "1M").stderr)
        if not check(named, f"{what}a budget is named"):
            continue
        few, all = (json.loads(run(*args, *memory).stdout) for memory in (("--memory", f"{int(named[1])}M"), ()))
        sizes = {key: value for key, value in few.items() if "bytes" in key}
        check(few["weight_memory_bytes"] < few["weight_bytes"] < few["weight_bytes_read"], f"{what}weights are read again", sizes)
        check(QUICK or few["peak_rss_bytes"] <= int(named[1]) << 20, f"{what}within the budget", sizes)
        check(few["ids"] == all["ids"] and all["weight_memory_bytes"] == all["weight_bytes"] and all["weight_bytes_read"] == 0,
              f"{what}which changes no token", (few["ids"], all["ids"]))


def test_long_prompts():
    """The budget that a refusal names holds 20,000 tokens of keys."""
    long = path("long", "5 6 7 8 " * 5000)
    for dtype, token_bytes in (("f32", 2048), ("bf16", 1024)):          # 2 layers, 2 heads of 64, keys and values
        args = (DEMO, "--ids", long, "--kv-cache-dtype", dtype, "--max-tokens", 4, "--ignore-eos", "--json", "--threads", 2)
        refusal = run(*args, "--memory", "20M").stderr
        least = re.search(rb"needs (\d+)M in all", refusal)[1].decode() + "M"
        got = json.loads(run(*args, "--memory", least).stdout)
        check(got["kv_cache_bytes"] // token_bytes // 128 == 157 and got["peak_rss_bytes"] <= int(least[:-1]) << 20
              and got["peak_rss_bytes"] > got["kv_cache_bytes"],
              f"20,000 tokens of {dtype} keys stay within {least}", got["peak_rss_bytes"])


def test_output():
    r = run(DEMO, *PROMPT, "--temperature", 0, "--max-tokens", 12, "--ignore-eos")
    got = json.loads(run(DEMO, *PROMPT, "--temperature", 0, "--max-tokens", 12, "--ignore-eos", "--json").stdout)
    check(r.stdout.decode() == got["text"] + "\n", "the text on stdout is the text of --json", r.stdout)
    check(re.fullmatch(rb"prompt: 3 tokens, [\d.]+ tokens/s; answer: 12 tokens, [\d.]+ tokens/s, cut off at --max-tokens\n", r.stderr),
          "the speeds on stderr", r.stderr)
    r = run(DEMO, *PROMPT, "--temperature", 0, "--max-tokens", 2, "--quiet")
    check(not r.stderr, "--quiet says nothing", r.stderr)
    r = run(DEMO, "--file", path("prompt", "The history of"), "--temperature", 0, "--max-tokens", 12, "--ignore-eos")
    check(r.stdout.decode() == got["text"] + "\n", "--file is the same", r.stdout)
    r = run(DEMO, "--file", "-", "--temperature", 0, "--max-tokens", 12, "--ignore-eos", input=b"The history of")
    check(r.stdout.decode() == got["text"] + "\n", "and standard input", r.stdout)
    r = run(MINI, "--ids", IDS, "--max-tokens", 5, "--seed", 1, "--ignore-eos")
    check(re.fullmatch(rb"\d+( \d+){4}\n", r.stdout) and b"no text" in r.stderr, "ids where there is no tokenizer", (r.stdout, r.stderr))
    bias = json.loads(run(DEMO, *PROMPT, "--logit-bias", "65=100", "--max-tokens", 3, "--json").stdout)
    check(bias["ids"] == [65] * 3, "a bias decides", bias["ids"])


def terminal(*args, watch=lambda fd, pid: None):
    """-> what the program writes to a terminal that is its stdout and stderr, exit status"""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [PROGRAM, "generate", *map(str, args)])
    seen = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
        watch(seen, pid)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return seen, status


def test_terminal():
    """A vocabulary whose most probable token moves the cursor."""
    with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    escape = tokenizer["model"]["vocab"]["\u011b"]          # ESC, in the alphabet of byte-level BPE
    args = (DEMO, *PROMPT, "--logit-bias", f"{escape}=100", "--max-tokens", 3)
    piped, (seen, status) = run(*args).stdout, terminal(*args, "--quiet")
    check(piped == b"\x1b\x1b\x1b\n", "a file gets the text as it is", piped)
    check(status == 0 and seen.endswith(b"???\r\n"), "a terminal no control characters", seen)


def test_interrupt():
    args = [PROGRAM, "generate", DEMO, *PROMPT, "--max-tokens", "30000", "--ignore-eos"]
    for name, extra in (("text", []), ("JSON", ["--json"])):
        p = subprocess.Popen(args + extra, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(3)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=100)
        if extra:
            got = json.loads(out or b"{}")
            ok = got.get("finish_reason") == "interrupted" and got["completion_tokens"] == len(got["ids"]) > 0
        else:
            ok = len(out) > 5 and b"interrupted" in err
        check(p.returncode == 130 and ok, f"Ctrl-C ends the answer and keeps what there is: {name}",
              (p.returncode, out[-100:], err[-200:]))

    def stop(seen, pid):
        if len(seen) > 20 and not stop.done:
            stop.done = True
            os.kill(pid, signal.SIGINT)
    stop.done = False
    seen, status = terminal(DEMO, *PROMPT, "--max-tokens", 30000, "--ignore-eos", watch=stop)
    check(status == 130 and b"interrupted" in seen, "tokens appear on a terminal as they come", seen[-200:])


if __name__ == "__main__":
    for test in (test_refusals, test_defaults, test_context, test_memory, test_few_weights, test_output, test_terminal, test_interrupt):
        attempt(test.__name__, test)
    if QUICK:
        skip("20,000 tokens of keys stay within the budget that is named", "sanitizers and emulators have memory of their own")
    else:
        attempt("test_long_prompts", test_long_prompts)
    shutil.rmtree(TEMP, ignore_errors=True)
    done()
