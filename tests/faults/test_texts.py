"""Faults of texts and tokenizers: one test a row of the list that practice gave (12 to 16), by its number."""
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from check import attempt, check, done, skip
from program import SURPRISAL, fresh

DEMO = os.path.join(ROOT, "data", "demo")
BF16, MXFP4, TEXT = (os.path.join(DEMO, name) for name in ("bf16", "mxfp4", "text.txt"))
MARK = b"\xef\xbb\xbf"


def run(*args):
    return subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=900)


def put(content, name="file"):
    path = fresh(name)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def copy(source=BF16, **settings):
    """A copy of a checkpoint; settings replace members of its files, those of None are removed: config={...}."""
    folder = fresh("checkpoint")
    shutil.copytree(source, folder)
    for name, members in settings.items():
        path = os.path.join(folder, name + ".json")
        with open(path) as f:
            data = json.load(f)
        data |= members
        with open(path, "w") as f:
            json.dump({k: v for k, v in data.items() if v is not None}, f, ensure_ascii=False)
    return folder


def excerpt(n=1500):
    with open(TEXT, "rb") as f:
        return f.read(n)


def evaluate(checkpoint, *args):
    """-> CompletedProcess, summary, run folder"""
    out = fresh("run")
    p = run("eval", checkpoint, *args, "--context", 64, "--quiet", "--out", out)
    if p.returncode:
        return p, {}, out
    with open(os.path.join(out, "summary.json")) as f:
        return p, json.load(f), out


# ---- 14: byte order marks ----------------------------------------------------------------


def test_mark_of_texts():
    text = excerpt()
    plain, marked = put(text), put(MARK + text)
    p, s, _ = evaluate(BF16, "--text", marked)
    q, t, _ = evaluate(BF16, "--text", plain)
    check(p.stderr.count("warning: ") == 1 and "byte order mark" in p.stderr and "byte order mark" in str(s["warnings"]),
          "16.14: a text with a byte order mark is warned about, in summary.json too", p.stderr)
    check(s["tokens"] > t["tokens"] and q.stderr == "" and t["warnings"] == [], "16.14: the mark is tokens; without one, no warning",
          (s["tokens"], t["tokens"], q.stderr))
    p = run("calibrate", BF16, "--text", marked, "--context", 64, "--out", fresh())
    check(p.returncode == 0 and "byte order mark" in p.stderr, "16.14: calibrate warns too", p.stderr)
    p = run("compare", BF16, MXFP4, "--text", marked, "--context", 64, "--layers", "none", "--quiet")
    check(p.returncode == 0 and "byte order mark" in p.stderr, "16.14: compare warns too", p.stderr)
    p = run("eval", BF16, "--text", put(text.decode().encode("utf-16")), "--quiet")
    check(p.returncode == 1 and "is UTF-16" in p.stderr and "iconv" in p.stderr, "16.14: UTF-16 is refused in words", p.stderr)


def test_mark_of_wikitext():
    articles = b" \n = Title = \n \n Some words of the first article . \n = Second = \n \n Others . \n"
    p, s, _ = evaluate(BF16, "--text", put(MARK + articles), "--task", "wikitext")
    q, t, _ = evaluate(BF16, "--text", put(articles), "--task", "wikitext")
    check("byte order mark" in p.stderr and q.stderr == "", "16.14: wikitext warns", p.stderr)
    same = ("documents", "mean_nll", "word_perplexity", "byte_perplexity", "tokens")
    check(all(s[k] == t[k] for k in same) and t["documents"]["count"] == 2,
          "16.14: wikitext finds the same articles behind a byte order mark", [(s[k], t[k]) for k in same])


def test_mark_of_ids_and_json():
    ids = b" ".join(b"%d" % (i * 7 % 4000) for i in range(200))
    p, s, _ = evaluate(BF16, "--ids", put(MARK + ids))
    _, t, _ = evaluate(BF16, "--ids", put(ids))
    check(p.returncode == 0 and s["mean_nll"] == t["mean_nll"] and s["tokens"] == 200, "16.14: ids behind a byte order mark are read", p.stderr)
    p = run("eval", BF16, "--ids", put("1 2 3".encode("utf-16")), "--quiet")
    check(p.returncode == 1 and "is UTF-16" in p.stderr, "16.14: ids in UTF-16 are refused in words", p.stderr)
    folder, text = copy(), put(excerpt())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            content = f.read()
        with open(path, "wb") as f:
            f.write(MARK + content)
    p, s, _ = evaluate(folder, "--text", text)
    _, t, _ = evaluate(BF16, "--text", text)
    check(p.returncode == 0 and s["mean_nll"] == t["mean_nll"], "16.14: a checkpoint whose JSON files have a mark is read", p.stderr)
    p = run("tokenize", put(MARK + b'"a b"\n'), "--tokenizer", BF16, "--jsonl")
    q = run("tokenize", put(b'"a b"\n'), "--tokenizer", BF16, "--jsonl")
    check(p.returncode == 0 and p.stdout == q.stdout, "16.14: lines of JSON behind a mark are read", p.stderr)


# ---- 15: a context beyond the model's positions ------------------------------------------


def short_of(source, positions):
    with open(os.path.join(source, "config.json")) as f:
        text = json.load(f)["text_config"]
    return copy(source, config={"text_config": text | {"max_position_embeddings": positions}})


def test_context():
    text, line = put(excerpt()), "context 64 is longer than max_position_embeddings 63"
    a, b = short_of(BF16, 63), short_of(MXFP4, 63)
    runs = [evaluate(c, "--text", text) for c in (a, b)]
    check(all(line in p.stderr and any(line in w for w in s["warnings"]) for p, s, _ in runs), "16.15: eval warns", runs[0])
    p = run("calibrate", a, "--text", text, "--context", 64, "--out", fresh(), "--json")
    check(line in p.stderr and line in str(json.loads(p.stdout)["warnings"]), "16.15: calibrate warns, in its report too", p.stderr)
    ids = put(" ".join("5" for _ in range(64)))
    p = run("trace", a, "--ids", ids, "--out", fresh())
    check(p.returncode == 0 and line in p.stderr, "16.15: trace warns", p.stderr)
    exact = run("trace", short_of(BF16, 64), "--ids", ids, "--out", fresh())
    check(exact.returncode == 0 and exact.stderr == "", "16.15: no warning at the limit itself", exact.stderr)
    for name, args in (("checkpoints", (a, b, "--text", text, "--context", 64, "--layers", "none")),
                       ("run folders", [out for _, _, out in runs])):
        html, markdown = fresh("page"), fresh("card")
        p = run("compare", *args, "--quiet", "--json", "--html", html, "--markdown", markdown)
        check(p.returncode == 0 and p.stderr.count(line) == 2 and str(json.loads(p.stdout)["warnings"]).count(line) == 2,
              f"16.15: compare of two {name} warns for both, in its document too", p.stderr)
        pages = [open(f).read().replace("\\", "") for f in (html, markdown)]
        check(all(page.count(line) >= 2 for page in pages), f"16.15: and in the pages of two {name}", [len(p) for p in pages])
        p = run("compare", *args, "--quiet")
        check(p.stdout.count("warning          ") == 2, f"16.15: and in the table of two {name}", p.stdout[:900])


TESTS = [test_mark_of_texts, test_mark_of_wikitext, test_mark_of_ids_and_json, test_context]

if __name__ == "__main__":
    for test in TESTS:
        attempt(test.__name__, test)
    done()
