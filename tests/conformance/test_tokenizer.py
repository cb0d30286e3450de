"""Tokenizing equals Hugging Face's `tokenizers`: the goldens, the whole test text, and, where `tokenizers` can be
imported, every code point, seeded random texts and random ids, with variants of tokenizer.json.

SURPRISAL_TEST_ALL=1 tries many more texts (minutes, most of them spent by `tokenizers`).
"""
import copy
import hashlib
import json
import os
import random

import numpy as np
from program import SHARED, fresh, run

from check import check, done, skip

try:
    import tokenizers
except ImportError:
    tokenizers = None

QWEN3, QWEN35 = (os.path.join(SHARED, "data", "tokenizers", name, "tokenizer.json") for name in ("qwen3", "qwen3.5"))
TINY = os.path.join(SHARED, "checkpoints", "tiny-bf16", "tokenizer.json")
TEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")
DIGESTS = {     # of the ids as little-endian int32, ../shared/goldens/README.md
    ("qwen3", "raw"): "8557ef42be22a592e5f1704026fedbedc937b484e52f517add9f478adc0de20f",
    ("qwen3", "hf"): "b44603066a92719a20e2dc18d6c5f7f5342b1877c20c1e2bdd92deca662d3d56",
    ("qwen3.5", "raw"): "e0847dfdf2218cba0f786294f70732f1dc28e42723752e477cf640a298da9072",
    ("qwen3.5", "hf"): "e65198947ecb06833dcd69e042e406f52945dcc88073621d52c3e8e54a4d8e55",
    ("tiny", "raw"): "03a2483216155ab0acedac7b2f3a84223d22bc850f360f44bf6feb45a748d026",
    ("tiny", "hf"): "d198dc0343cd9221d7ee7bb6c16d7a22ce93579d9603d00c953b19cea1f22ac2",
}
ALL = bool(os.environ.get("SURPRISAL_TEST_ALL"))
MANY = 3000 if ALL else 150
# Planes 4 to 13 are unassigned, 15 and 16 private; `tokenizers` needs a minute for them.
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (ALL or c < 0x33000 or c >> 8 == 0xE01)]


def lines(command, tokenizer, values):
    """The command's answer to each value, through files of JSON lines."""
    path = fresh("lines")
    with open(path, "w") as f:
        f.writelines(json.dumps(v) + "\n" for v in values)
    out = run(command, path, "--tokenizer", tokenizer, "--jsonl").stdout
    return [json.loads(line) for line in out.split("\n") if line]


def encode(tokenizer, texts):
    return [x["ids"] for x in lines("tokenize", tokenizer, texts)]


def decode(tokenizer, ids):
    return [x["text"] for x in lines("detokenize", tokenizer, [{"ids": i} for i in ids])]


def encode_file(tokenizer, content):
    """The ids of bytes given as a file."""
    path = fresh("text")
    with open(path, "wb") as f:
        f.write(content)
    return np.array(run("tokenize", path, "--tokenizer", tokenizer).stdout.split(), "<i4")


def first_difference(inputs, got, expected):
    """None, or what to print."""
    if len(got) != len(expected):
        return f"{len(got)} answers instead of {len(expected)}"
    bad = [i for i in range(len(got)) if got[i] != expected[i]]
    return bad and f"{len(bad)} differ, first {inputs[bad[0]]!a:.200}: {got[bad[0]]!a:.200}, not {expected[bad[0]]!a:.200}"


def test_goldens(name, tokenizer):
    with open(os.path.join(SHARED, "goldens", "tokenizer", name + ".jsonl")) as f:
        goldens = [json.loads(line) for line in f]
    texts, ids, decoded = ([g[key] for g in goldens] for key in ("text", "ids", "decoded"))
    why = first_difference(texts, encode(tokenizer, texts), ids)
    check(not why, f"{name}: golden texts to ids", why)
    why = first_difference(ids, decode(tokenizer, ids), decoded)
    check(not why, f"{name}: golden ids to texts", why)


def test_whole_text(name, tokenizer):
    with open(TEXT, "rb") as f:
        raw = f.read()
    rows = [line if line.strip() else b"" for line in raw.splitlines(keepends=True)]
    for join, text in (("raw", raw), ("hf", b"\n\n".join(rows))):
        digest = hashlib.sha256(encode_file(tokenizer, text).tobytes()).hexdigest()
        check(digest == DIGESTS[name, join], f"{name}: whole test text, join {join}", digest)


# ---- against `tokenizers` itself ----------------------------------------------------------------

def compare(name, path, texts):
    """Both ways on all texts; the program's ids decoded by both."""
    hf = tokenizers.Tokenizer.from_file(path)
    expected = [e.ids for e in hf.encode_batch(texts, add_special_tokens=False)]
    why = first_difference(texts, encode(path, texts), expected)
    check(not why, f"{name}: texts to ids", why)
    back = [hf.decode(ids, skip_special_tokens=False) for ids in expected]
    why = first_difference(expected, decode(path, expected), back)
    check(not why, f"{name}: ids to texts", why)


def code_point_texts():
    """Every code point by itself and where it can change a split or a composition, 200 a text."""
    def contexts(c):
        s = chr(c)
        few = [f"a{s}b {s}1", f"'{s}", f"a\u0301{s}\u0327\u0301 "]
        return "|".join(few + ALL * [s, f" {s}{s}1", f"x'{s}e", f"{s}\n", f"{s}\u0345\u0334", f" {s} {s}", f"!{s}!"])
    return ["\n.".join(map(contexts, CODE_POINTS[i:i + 200])) for i in range(0, len(CODE_POINTS), 200)]


PIECES = [*"abcdestxyz ABCKS019.,!'_\n\r\t", "  ", "   ", "\n\n", "\r\n", "’", "é", "e\u0301", "u\u0308", "Ünï", "中", "文", "かな", "가",
          "\u1100\u1161", "\u11a8", "\u11a7", "ſ", "\u212a", "ß", "ﬁ", "ﬀ", "ŉ", "²", "½", "ⓐ", "ա", "don't", "I'LL", "'ſ",
          "<a>", "<ab>", "<abc>", "<|im_start|>", "<|im_", "<think>", "token", "tok", "\u0301", "\u0345", "\u0334", "\u200d",
          "\u180e", "\u0085", "\u2028", "\u3000", "\u00a0", "\ufeff", "😀", "👩‍👧", "\U0001fae8", "\U0001ccf3", "\u0897", "\u07fd"]


def random_texts(rng, n):
    def piece():
        p = chr(rng.choice(CODE_POINTS)) if rng.random() < 0.1 else rng.choice(PIECES)
        return p * rng.randint(2, 40) if rng.random() < 0.05 else p
    return ["".join(piece() for _ in range(rng.randint(0, 50))) for _ in range(n)]


def split(*stages, prefix=True):
    """A space before each piece makes every split visible in the ids."""
    return lambda d: d.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        *({"type": "Split", "pattern": {kind: p}, "behavior": b, "invert": i} for kind, p, b, i in stages),
        {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": False, "use_regex": False}]})


def added(**tokens):
    def change(d):
        for content, flags in tokens.items():
            d["added_tokens"].append({"id": len(d["model"]["vocab"]) + len(d["added_tokens"]), "content": content,
                                      **{k: k in flags for k in ("single_word", "lstrip", "rstrip", "normalized", "special")}})
    return change


def without_bytes(**model):
    """Some bytes lose their token."""
    def change(d):
        gone = set("abÃ¤")
        m = d["model"]
        m["merges"] = [pair for pair in m["merges"] if not gone & set("".join(pair))]
        kept = [t for t in sorted(m["vocab"], key=m["vocab"].get) if not gone & set(t)] + ["<unk>"]
        m["vocab"] = {t: i for i, t in enumerate(kept)}
        for i, t in enumerate(d["added_tokens"]):
            t["id"] = len(kept) + i
        m.update(model)
    return change


CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {    # of published tokenizers, then what the syntax offers
    "Llama 3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + REST,
    "cl100k": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    "o200k": "|".join(rf"[^\r\n\p{{L}}\p{{N}}]?{CASED[0]}{a}{CASED[1]}{b}{CONTRACTIONS}?" for a, b in ("*+", "+*"))
             + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + REST,
    "word": r"\w+|\W", "word in a class": r"[\w']+|[^\w\s]", "lines": r"^ ?a|b$|.", "lookbehind": r"(?<=a)b|(?<!c)x",
    "scripts": r"[\p{Han}\p{Hangul}]+|\p{Hiragana}", "emoji": r"[\x{1F300}-\x{1FAFF}]+", "negated": r"\P{L}+|\p{^N}|[^\P{L}a]",
    "empty matches": "a*", "lazy": "a+?b|s{1,2}?", "caseless": "(?i:k|[a-t])",
}
VARIANTS = {
    "GPT-2": lambda d: d.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}),
    "DeepSeek": split(("Regex", r"\p{N}{1,3}", "Isolated", False), ("Regex", "[一-龥぀-ゟ゠-ヿ]+", "Isolated", False),
                      ("Regex", r"[!-\/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|" + REST,
                       "Isolated", False)),
    **{f"{b}{', inverted' * i}": split(("Regex", "[a-c]", b, i), prefix=True) for i in (False, True)
       for b in ("Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")},
    "string": split(("String", "a", "Isolated", False)), "empty string": split(("String", "", "Isolated", False)),
    **{form: (lambda form: lambda d: d.update(normalizer={"type": form}))(form) for form in ("NFD", "NFKC", "NFKD")},
    "two forms": lambda d: d.update(normalizer={"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFC"}]}),
    "no normalizer": lambda d: d.update(normalizer=None), "no decoder": lambda d: d.update(decoder=None),
    "merges as strings": lambda d: d["model"].update(merges=[" ".join(m) for m in d["model"]["merges"]]),
    "repeated merges": lambda d: d["model"].update(merges=d["model"]["merges"] + d["model"]["merges"][:40]),
    "ignore_merges": lambda d: d["model"].update(ignore_merges=True, merges=d["model"]["merges"][:50]),
    "bytes without token": without_bytes(), "unk_token": without_bytes(unk_token="<unk>"),
    "fused unk_token": without_bytes(unk_token="<unk>", fuse_unk=True),
    "added tokens": added(**{"<a>": (), "<ab>": ("lstrip",), "<abc>": ("rstrip",), "tok": ("single_word",), "token": ("normalized",),
                             "u\u0308": ("normalized",), "e\u0301": (), "文 ": ("special",), "12": ("lstrip", "rstrip")}),
    "more added tokens": added(**{"<a": (), "a>": ("normalized",), "ab<": ("single_word", "rstrip"), "文": ("special", "lstrip"),
                                  "don't": ("single_word", "lstrip", "normalized"), "KS": ("normalized", "special")}),
}


def test_variants(rng):
    with open(TINY) as f:
        base = json.load(f)
    variants = {**{f"pattern {k}": split(("Regex", p, "Isolated", False)) for k, p in PATTERNS.items()}, **VARIANTS}
    for name, change in variants.items():
        d = copy.deepcopy(base)
        change(d)
        path = fresh("tokenizer") + ".json"
        with open(path, "w") as f:
            json.dump(d, f)
        texts = random_texts(rng, MANY)
        if name == "added tokens":      # what is a word character, and what white space, next to a token
            texts += ["".join(f"{chr(c)}tok 12{chr(c)}12 " for c in CODE_POINTS[i:i + 200]) for i in range(0, len(CODE_POINTS), 200)]
        compare(name, path, texts)


def test_ids(name, tokenizer, rng):
    """Every id by itself, and ids at random: halves of characters included."""
    hf = tokenizers.Tokenizer.from_file(tokenizer)
    ids = [i for i in range(hf.get_vocab_size()) if hf.id_to_token(i) is not None]
    lists = [[i] for i in ids] + [rng.choices(ids, k=40) for _ in range(MANY)] + [rng.choices(range(256), k=40) for _ in range(MANY)]
    why = first_difference(lists, decode(tokenizer, lists), hf.decode_batch(lists, skip_special_tokens=False))
    check(not why, f"{name}: every id and random ids to texts", why)


def test_long(name, tokenizer):
    """Long texts without a place to cut, as files."""
    hf = tokenizers.Tokenizer.from_file(tokenizer)
    n = 1 << (18 if ALL else 15)     # `tokenizers` takes seconds a megabyte
    for kind, text in (("letters", "ab" * (n // 2)), ("spaces", " " * n + "x"), ("newlines", "\n" * n), ("NUL", "a\0" * (n // 2))):
        expected = hf.encode(text, add_special_tokens=False).ids
        check(encode_file(tokenizer, text.encode()).tolist() == expected, f"{name}: long text of {kind}")


def main():
    rng = random.Random(20260728)
    for name, tokenizer in (("qwen3", QWEN3), ("qwen3.5", QWEN35), ("tiny", TINY)):
        if not os.path.exists(tokenizer):
            skip(f"{name}: goldens", f"no {tokenizer}")
            continue
        test_goldens(name, tokenizer)
        if os.path.exists(TEXT):
            test_whole_text(name, tokenizer)
        else:
            skip(f"{name}: whole test text", f"no {TEXT}")
        if tokenizers:
            compare(f"{name}: random texts", tokenizer, random_texts(rng, 4 * MANY))
            test_ids(name, tokenizer, rng)
            test_long(name, tokenizer)
            compare(f"{name}: every code point", tokenizer, code_point_texts())
        else:
            skip(f"{name}: against tokenizers", "no Python module tokenizers")
    if tokenizers and os.path.exists(TINY):
        test_variants(rng)
    else:
        skip("variants of tokenizer.json", "no Python module tokenizers, or no ../shared")
    done()


main()
