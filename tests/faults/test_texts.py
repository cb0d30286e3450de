"""Faults of texts and tokenizers: one test a row of the list that practice gave (12 to 16), by its number."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
import numpy as np
import records
import safetensors_io as st
from check import attempt, check, done, interrupted, skip
from program import SHARED, SURPRISAL, fresh

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
        check(p.returncode == 0 and p.stderr.count(line) == (2 if name == "checkpoints" else 0) and str(json.loads(p.stdout)).count(line) == 2,
              f"16.15: compare of two {name} warns for both in its document, of checkpoints at once", p.stderr)
        pages = [open(f).read().replace("\\", "") for f in (html, markdown)]
        check(all(page.count(line) >= 2 for page in pages), f"16.15: and in the pages of two {name}", [len(p) for p in pages])
        p = run("compare", *args, "--quiet")
        check(p.stdout.count(line) == 2, f"16.15: and in the table of two {name}", p.stdout[:900])


# ---- 12: the prefix token of rolling -----------------------------------------------------

END_OF_TEXT, START, END = 4063, 4064, 4065              # <|endoftext|>, <|im_start|>, <|im_end|> of the demo


def rolling(checkpoint, *args):
    """-> what the summary says of the prefix token, or the error"""
    p = run("eval", checkpoint, *args, "--protocol", "rolling", "--context", 64, "--json", "--quiet")
    if p.returncode:
        return p.stderr
    s = json.loads(p.stdout)
    return s["prefix_id"], s["prefix_token"], s["prefix_source"]


def without(folder, *names):
    for name in names:
        os.remove(os.path.join(folder, name))
    return folder


def test_prefix():
    text = put(excerpt(600))
    ids = put(run("tokenize", text, "--tokenizer", BF16).stdout)
    decoder = {"4064": {"content": "<|im_start|>"}, "x": {"content": "<|im_end|>"}, "4065": {"content": "<|im_end|>", "special": True}}
    no_eos = {"text_config": json.load(open(os.path.join(BF16, "config.json")))["text_config"] | {"eos_token_id": None}}
    cases = (                                           # what, checkpoint, id, text, source
        ("eos_token, as Qwen has it", BF16, END, "<|im_end|>", "eos_token of {}/tokenizer_config.json"),
        ("bos_token comes first", copy(tokenizer_config={"bos_token": "<|im_start|>"}), START, "<|im_start|>",
         "bos_token of {}/tokenizer_config.json"),
        ("an object with its content", copy(tokenizer_config={"eos_token": {"content": "<|endoftext|>", "special": True}}), END_OF_TEXT,
         "<|endoftext|>", "eos_token of {}/tokenizer_config.json"),
        ("no tokenizer_config.json", without(copy(), "tokenizer_config.json"), END_OF_TEXT, "<|endoftext|>", "eos_token_id of {}/config.json"),
        ("one that names neither", copy(tokenizer_config={"eos_token": None}), END_OF_TEXT, "<|endoftext|>", "eos_token_id of {}/config.json"),
    )
    for what, checkpoint, token_id, token, source in cases:
        by_text, by_ids = rolling(checkpoint, "--text", text), rolling(checkpoint, "--ids", ids)
        expected = (token_id, token, source.format(checkpoint))
        check(by_text == expected, f"16.12: {what}", by_text)
        known = "token of" in source                    # ids alone read no tokenizer to show the text of an id
        check(by_ids == (expected if known else (token_id, None, expected[2])), f"16.12: {what}: --ids as --text", by_ids)
    bare = without(copy(tokenizer_config={"added_tokens_decoder": decoder}), "tokenizer.json")
    check(rolling(bare, "--ids", ids)[0] == END, "16.12: without tokenizer.json the id is in tokenizer_config.json", rolling(bare, "--ids", ids))
    given = rolling(BF16, "--text", text, "--prefix-id", END_OF_TEXT)
    check(given == (END_OF_TEXT, "<|endoftext|>", "as given"), "16.12: --prefix-id", given)
    for what, checkpoint, words in (
            ("a token that no tokenizer has", copy(tokenizer_config={"eos_token": "<none>"}), ("eos_token '<none>'", "has no such token", "prefix id")),
            ("neither text nor object", copy(tokenizer_config={"bos_token": 7}), ("bos_token is neither",)),
            ("a list of ids that is none", without(copy(tokenizer_config={"added_tokens_decoder": [1]}), "tokenizer.json"), ("has no id", "tokenizer.json")),
            ("nothing at all", without(copy(config=no_eos), "tokenizer_config.json"), ("no prefix token", "eos_token_id"))):
        error = rolling(checkpoint, "--ids", ids)
        check(isinstance(error, str) and all(w in error for w in words), f"16.12: refused: {what}", error)
    report = run("eval", BF16, "--text", text, "--task", "wikitext", "--context", 64).stdout
    check(f"<|im_end|>, id {END}, eos_token of" in report and f"lm_eval: --model_args prefix_token_id={END}" in report,
          "16.12: the report names the token, where it is from, and lm_eval's option", report)
    report = run("eval", BF16, "--text", text, "--plan", "disjoint:64", "--plan", "rolling:64").stdout
    check(f"prefix_token_id={END}" in report, "16.12: so does the one of several plans", report)
    outs = [evaluate(BF16, "--text", text, "--protocol", "rolling", *more)[2] for more in ((), ("--prefix-id", END_OF_TEXT))]
    p = run("compare", *outs)
    check(p.returncode == 1 and f"prefix id {END} against {END_OF_TEXT}" in p.stderr, "16.12: runs with different prefixes do not compare", p.stderr)
    args = ("--text", text, "--protocol", "rolling", "--context", 64, "--layers", "none", "--quiet")
    p = run("compare", BF16, cases[3][1], *args)
    check(p.returncode == 1 and f"different prefix tokens: {END} against {END_OF_TEXT}" in p.stderr, "16.12: nor do such checkpoints", p.stderr)
    p = run("compare", BF16, MXFP4, *args)
    check(p.returncode == 0 and f"prefix token <|im_end|> (id {END})" in p.stdout, "16.12: compare names the token", p.stderr + p.stdout[:600])


# ---- 13: tokenizers that differ as files -------------------------------------------------


def resaved(source=BF16, change=lambda data: None):
    """A copy whose tokenizer.json was written again: merges as pairs, other white space."""
    folder = copy(source)
    path = os.path.join(folder, "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    data["model"]["merges"] = [m.split(" ") if isinstance(m, str) else m for m in data["model"]["merges"]]
    change(data)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1, ensure_ascii=False)
    return folder


def older(folder):
    """The run folder as a version without ids_sha256 has written it."""
    with open(os.path.join(folder, "summary.json")) as f:
        summary = json.load(f)
    del summary["sha256"], summary["text"]["ids_sha256"], summary["warnings"]
    records.sign(summary, folder)
    return folder


def without_a_merge(data):
    """The first merge of letters is gone."""
    merges = data["model"]["merges"]
    del merges[next(i for i, (a, b) in enumerate(merges) if a == "t" and b == "h")]


def test_tokenizers():
    text = put(excerpt())
    same, other = resaved(), resaved(change=without_a_merge)
    _, s, a = evaluate(BF16, "--text", text)
    _, t, b = evaluate(same, "--text", text)
    _, u, c = evaluate(other, "--text", text)
    ids = np.array(run("tokenize", text, "--tokenizer", BF16).stdout.split(), "<i4")
    check(s["text"]["ids_sha256"] == t["text"]["ids_sha256"] == hashlib.sha256(ids.tobytes()).hexdigest() != u["text"]["ids_sha256"],
          "16.13: summary.json has the digest of all ids, as little-endian I32", s["text"])
    check(s["tokenizer"]["sha256"] != t["tokenizer"]["sha256"], "16.13: the files differ", s["tokenizer"])
    p = run("compare", a, b, "--json")
    check(p.returncode == 0 and "give the same ids" in p.stderr and "give the same ids" in str(json.loads(p.stdout)["warnings"]),
          "16.13: run folders whose tokenizers differ as files only compare, with a note", p.stderr)
    baseline = put(run("compare", a, a, "--json").stdout)
    p = run("compare", b, b, "--baseline", baseline)
    check(p.returncode == 0, "16.13: and such a baseline is taken", p.stderr)
    p = run("compare", c, c, "--baseline", baseline)
    check(p.returncode == 1 and "tokenizer is" in p.stderr, "16.13: one with other ids is not", p.stderr)
    first = next(i for i, (x, y) in enumerate(zip(ids, run("tokenize", text, "--tokenizer", other).stdout.split())) if x != int(y))
    p = run("compare", a, c)
    check(p.returncode == 1 and "token id of scored token" in p.stderr and f": {ids[first]} '" in p.stderr and "tokenizer sha256" in p.stderr,
          "16.13: other ids are refused, and the first token that differs is shown", p.stderr)
    p = run("compare", older(a), older(b))
    check(p.returncode == 0 and "the scored ones, are the same" in p.stderr, "16.13: older runs compare by the ids that they have", p.stderr)
    p = run("compare", a, older(c))
    check(p.returncode == 1 and "token id of scored token" in p.stderr, "16.13: and are refused by them", p.stderr)
    args = ("--text", text, "--context", 64, "--layers", "none", "--quiet")
    p = run("compare", BF16, same, *args)
    check(p.returncode == 0 and p.stderr.count("give the same ids") == 1, "16.13: checkpoints whose tokenizers differ as files compare", p.stderr)
    p = run("compare", BF16, other, *args)
    check(p.returncode == 1 and f"token {first} is {ids[first]} '" in p.stderr, "16.13: checkpoints with other ids: the first one is shown", p.stderr)


def test_resume():
    """A run goes on after its tokenizer.json was saved again, and not with one that gives other ids."""
    tokenizers = [os.path.join(d, "tokenizer.json") for d in (BF16, resaved(), resaved(change=without_a_merge))]
    own, out = fresh(), fresh("run")
    command = ["eval", BF16, "--text", TEXT, "--context", 512, "--tokenizer", own, "--out", out, "--progress"]
    shutil.copy(tokenizers[0], own)
    status, _, err = interrupted([SURPRISAL, *map(str, command)])
    if status != 130 or not os.path.exists(out + ".partial/state.safetensors"):
        return skip("16.13: resumed with a tokenizer that was saved again", "the run could not be interrupted")
    shutil.copy(tokenizers[2], own)
    p = run(*command, "--resume")
    check(p.returncode == 1 and "token ids" in p.stderr, "16.13: no run is resumed with other ids", p.stderr[-300:])
    shutil.copy(tokenizers[1], own)
    p = run(*command, "--resume")
    check(p.returncode == 0, "16.13: a run is resumed with a tokenizer that was saved again", p.stderr[-300:])


# ---- 16: the vocabulary of Qwen3.5 -------------------------------------------------------


def test_vocabulary():
    """Published runs show 580, 145 and 72 chunks of 512, 2,048 and 4,096."""
    tokenizer, text = os.path.join(SHARED, "data/tokenizers/qwen3.5"), os.path.join(SHARED, "data/wikitext-2-raw/wiki.test.raw")
    if not (os.path.exists(tokenizer) and os.path.exists(text)):
        return skip("16.16: the tokenizer of Qwen3.5", "no ../shared/data")
    for join in ("raw", "hf"):
        n = int(run("tokenize", text, "--tokenizer", tokenizer, "--join", join, "--count").stdout)
        check(n == 297193 and [n // c for c in (512, 2048, 4096)] == [580, 145, 72], f"16.16: Qwen3.5's tokens of the test text, join {join}", n)
    with open(os.path.join(ROOT, "docs", "protocols.md")) as f:
        page = f.read()
    check("297,193" in page and "580" in page, "16.16: docs/protocols.md has the counts", "it has not")


# ---- lines as documents ------------------------------------------------------------------


def test_lines():
    """Each line that is not blank gets the bits that it has as a text of its own."""
    lines = ["The river rises in the hills .", "words", "  Another line , with more of them  "]
    text = put(MARK + "\n \n".join(lines).encode() + b"\n\n")
    p, s, out = evaluate(BF16, "--text", text, "--task", "lines")
    nll, scored = [], []
    for line in lines:
        _, t, alone = evaluate(BF16, "--text", put(line), "--protocol", "rolling")
        nll.append(st.read(os.path.join(alone, "tokens.safetensors"))["nll"])
        scored.append(t["scored"])
    got = st.read(os.path.join(out, "tokens.safetensors"))["nll"]
    check(np.array_equal(got, np.concatenate(nll)) and s["scored"] == sum(scored) == s["tokens"], "16 lines: the bits of each line alone", p.stderr)
    check(s["documents"] == {"split": "lines", "count": 3, "windows": [1, 1, 1]} and s["prefix_id"] == END
          and s["text"]["bytes"] == sum(map(len, lines)), "16 lines: each line is a document, blank ones are none", s.get("documents"))
    check(p.stderr.count("warning") == 1 and "left out of the documents" in p.stderr, "16 lines: a byte order mark is left out", p.stderr)
    folder = fresh("plans")
    q = run("eval", BF16, "--text", text, "--plan", "lines:64", "--plan", "rolling:64", "--plan", "wikitext:64", "--max-documents", 3, "--quiet",
            "--out", folder)
    check(q.returncode == 0 and np.array_equal(st.read(os.path.join(folder, "lines-64", "tokens.safetensors"))["nll"], got),
          "16 lines: a plan beside others gives the same bits", q.stderr)
    q = run("compare", out, evaluate(MXFP4, "--text", text, "--task", "lines")[2], "--json")
    check(q.returncode == 0 and json.loads(q.stdout)["unit"] == "document" and json.loads(q.stdout)["units"] == 3,
          "16 lines: compare counts by line", q.stderr)
    for what, args, words in (("ids", ("--ids", put("1 2 3")), "the task lines needs a text"),
                              ("joined rows", ("--text", text, "--join", "hf"), "the task lines finds its documents"),
                              ("another protocol", ("--text", text, "--protocol", "llama"), "the task lines is scored by the protocol rolling")):
        q = run("eval", BF16, *args, "--task", "lines")
        check(q.returncode == 2 and words in q.stderr, f"16 lines: refused: {what}", q.stderr)
    q = run("eval", BF16, "--text", put("\n \n"), "--task", "lines")
    check(q.returncode == 1 and "holds no tokens" in q.stderr, "16 lines: blank lines alone are refused", q.stderr)


TESTS = [test_mark_of_texts, test_mark_of_wikitext, test_mark_of_ids_and_json, test_context, test_prefix, test_tokenizers, test_resume, test_vocabulary, test_lines]

if __name__ == "__main__":
    for test in TESTS:
        attempt(test.__name__, test)
    done()
