"""Answers under a schema beside what others say: jsonschema validates what random walks through the mask write; the JSON-Schema
test suite's instances are accepted or not; llguidance allows the same tokens.  The job is done by
build/tests/unit/grammar/test_answers, called with a tokenizer.

    SURPRISAL_JSON_SCHEMA_SUITE=FOLDER python3 tests/conformance/test_grammar.py

FOLDER is tests/ of github.com/json-schema-org/JSON-Schema-Test-Suite, json/tests in jsonschema's source package.  Without it the
package is asked of pip."""
import collections
import glob
import itertools
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done, skip
from random_schemas import whole_schema

PROGRAM = os.path.join(os.path.dirname(os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))),
                       "tests", "unit", "grammar", "test_answers")
DEMO = os.path.join(ROOT, "data", "demo", "bf16")
LARGE = os.path.join(ROOT, "..", "shared", "data", "tokenizers", "qwen3.5")


class Host:
    def __init__(self, tokenizer):
        self.process = subprocess.Popen([PROGRAM, tokenizer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, schema=None, strict=False, **job):
        """The job's result; a schema is a response_format."""
        if schema is not None:
            job["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "strict": strict, "schema": schema}}
        return self.raw(json.dumps(job))

    def raw(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("test_answers ended: " + line[:200])
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def written(value):
    """The three ways to write a value."""
    yield json.dumps(value, ensure_ascii=False)
    yield json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    yield json.dumps(value, ensure_ascii=False, indent=2)


# ---- walks -----------------------------------------------------------------------------------------------------------------

def test_walks(host):
    try:
        import jsonschema
    except ImportError:
        skip("walks through the mask write valid instances", "no jsonschema for this python")
        return
    r, wrong, n_valid, n_open, n_empty = random.Random(1), [], 0, 0, 0
    checker = jsonschema.FormatChecker(["date", "uuid", "email"])
    for number in range(40 if QUICK else 400):
        schema = whole_schema(r)
        strict = r.random() < 0.3
        answer = host(schema, strict, walks=4, tokens=150, seed=number)
        if "error" in answer:
            n_empty += "no value has this form" in answer["error"]
            if "no value has this form" not in answer["error"]:
                wrong.append((answer["error"], schema))
            continue
        validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
        for text in answer["walks"]:
            n_open += text is None
            try:
                if text is not None:
                    validator.validate(json.loads(text))
                    n_valid += 1
            except (ValueError, jsonschema.ValidationError) as e:
                wrong.append((str(e)[:200], text, schema))
        ended = [t for t in answer["walks"] if t is not None]
        wrong += [("not accepted again", t, schema) for t, a in zip(ended, host(schema, strict, texts=ended)["accepts"]) if not a]
    for w in wrong[:5]:
        print("#", w)
    check(not wrong and n_valid > n_open, "walks through the mask write valid instances", f"{len(wrong)} wrong, {n_valid} valid, {n_open} did not end")
    print(f"# {n_valid} instances, {n_open} walks cut off, {n_empty} schemas without instance")


# ---- regular expressions beside Python's ---------------------------------------------------------------------------------------

def random_regex(r, depth=0):
    kind = r.choice(["char", "class", "dot", "seq", "seq", "or", "repeat", "repeat", "group", "anchor"] if depth < 4 else ["char", "class"])
    if kind == "char":
        return r.choice(["a", "b", "c", "é", "\\.", "\\d", "\\W", "\\s", "\\n"])
    if kind == "class":
        return r.choice(["[ab]", "[^a]", "[a-c.]", "[^\\d\\n]", "[\\w-]"])
    if kind == "dot":
        return "."
    if kind == "anchor":
        return r.choice(["^", r"\A"])
    if kind == "seq":
        return random_regex(r, depth + 1) + random_regex(r, depth + 1)
    if kind == "or":
        return "(?:" + random_regex(r, depth + 1) + "|" + random_regex(r, depth + 1) + ")"
    if kind == "group":
        return "(" + random_regex(r, depth + 1) + ")"
    return "(?:" + random_regex(r, depth + 1) + ")" + r.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}?", "*?", "{2,}"])


def test_regexes(host):
    r, wrong, n, yes = random.Random(3), [], 0, 0
    for _ in range(50 if QUICK else 1000):
        regex = random_regex(r)
        texts = ["".join(r.choice("aabbccé.1 \n") for _ in range(r.randint(0, 6))) for _ in range(12)]
        whole, part = re.compile(regex, re.A).fullmatch, re.compile(regex, re.A).search
        for answer, match, written_as in ((host(structured_outputs={"regex": regex}, texts=texts), whole, str),
                                          (host({"type": "string", "pattern": regex}, texts=[json.dumps(t, ensure_ascii=False) for t in texts]), part, json.dumps)):
            if "error" in answer:
                # an anchor behind a character: no text at all
                wrong += [(regex, answer["error"])] if "no value has this form" not in answer["error"] or any(map(match, texts)) else []
                continue
            for text, accepts in zip(texts, answer["accepts"]):
                n, yes = n + 1, yes + accepts
                if accepts != bool(match(text)):
                    wrong.append((regex, text, accepts, written_as.__name__))
    for w in wrong[:5]:
        print("#", w)
    check(not wrong and n / 20 < yes, "regular expressions match what Python's do", f"{len(wrong)} of {n} differ")
    print(f"# {n} texts, {yes} match")


# ---- the JSON-Schema test suite ----------------------------------------------------------------------------------------------

FILES = """type enum const properties required additionalProperties items prefixItems minItems maxItems anyOf oneOf allOf ref defs
 minLength maxLength pattern minimum maximum exclusiveMinimum exclusiveMaximum boolean_schema infinite-loop-detection default
 optional/format/date optional/format/time optional/format/date-time optional/format/uuid optional/format/email""".split()
DIFFERENCES = {     # file: (text, accepted by us) -> is this it?, why
    "oneOf": (lambda text, accepts: accepts, "oneOf is taken as anyOf"),
    "optional/format/time": (lambda text, accepts: ":60" in text and not accepts, "leap seconds are left out"),
    "optional/format/date-time": (lambda text, accepts: ":60" in text and not accepts, "leap seconds are left out"),
    "optional/format/email": (lambda text, accepts: "IPv6" in text and not accepts, "an IPv6 literal is left out"),
}


def suite_folder(scratch):
    folder = os.environ.get("SURPRISAL_JSON_SCHEMA_SUITE")
    if folder or QUICK:
        return folder
    try:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "jsonschema",
                        "-d", scratch], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    for path in glob.glob(scratch + "/*.tar.gz"):
        with tarfile.open(path) as t:
            t.extractall(scratch, [m for m in t.getmembers() if "/json/tests/draft2020-12" in m.name and m.isreg()])
    return next(iter(glob.glob(scratch + "/*/json/tests")), None)


def parts(root, schema, depth=0):
    """The schemas that hold for a value, in the order in which their keys come."""
    if not isinstance(schema, dict) or depth > 8:
        return
    yield schema
    for other in [*schema.get("allOf", []), *([resolve(root, schema["$ref"])] if "$ref" in schema else []), *schema.get("anyOf", []), *schema.get("oneOf", [])]:
        yield from parts(root, other, depth + 1)


def resolve(root, ref):
    from urllib.parse import unquote
    at = root
    for part in ref.lstrip("#").split("/")[1:]:
        part = unquote(part).replace("~1", "/").replace("~0", "~")
        at = at[int(part)] if isinstance(at, list) else at.get(part, {})
    return at


def in_order(root, schema, value):
    """The value with its keys in the schema's order."""
    found = list(parts(root, schema))
    if isinstance(value, list):
        first = next((p["prefixItems"] for p in found if "prefixItems" in p), [])
        rest = next((p["items"] for p in found if "items" in p), {})
        return [in_order(root, first[i] if i < len(first) else rest, v) for i, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    names = list(dict.fromkeys(itertools.chain(*(p.get("properties", {}) for p in found), *(p.get("required", []) for p in found))))
    listed = [v for p in found for v in [*p.get("enum", []), p.get("const")] if isinstance(v, dict)]
    names += [k for v in listed for k in v]
    other = next((p["additionalProperties"] for p in found if "additionalProperties" in p), {})
    def of(name):
        return next((p["properties"][name] for p in found if name in p.get("properties", {})), other)
    return {k: in_order(root, of(k), value[k]) for k in sorted(value, key=lambda k: names.index(k) if k in names else len(names))}


def test_suite(host, folder):
    if not folder or not os.path.isdir(folder):
        skip("the JSON-Schema test suite", "it cannot be had (SURPRISAL_JSON_SCHEMA_SUITE names its folder)")
        return
    refused, differ, n = collections.Counter(), [], 0
    for name in FILES:
        with open(os.path.join(folder, "draft2020-12", name + ".json")) as f:
            groups = json.load(f)
        for group in groups:
            schema = group["schema"]
            tests = [(t, text) for t in group["tests"] for text in written(in_order(schema, schema, t["data"]))]
            texts = [text for _, text in tests]
            if name.startswith("optional/format"):
                schema = {"type": ["string", "null", "integer", "number", "object", "array", "boolean"], **schema}
            answer = host(schema, texts=texts)
            if "no value has this form" in answer.get("error", ""):
                answer = {"accepts": [False] * len(texts)}
            if "error" in answer:
                refused[f"{name}: {group['description']}: {answer['error'].split(': ', 1)[-1]}"] += 1
                continue
            for (test, text), accepts in zip(tests, answer["accepts"]):
                n += 1
                if accepts != test["valid"]:
                    differ.append((name, group["description"], test["description"], text, accepts))
    unexplained = [d for d in differ if d[0] not in DIFFERENCES or not DIFFERENCES[d[0]][0](d[3], d[4])]
    for d in differ:
        print("#", "differs" if d in unexplained else "differs, " + DIFFERENCES[d[0]][1], d)
    for text in refused:
        print("# refused", text)
    check(not unexplained and n > 900, "the JSON-Schema test suite's instances are accepted, the invalid ones are not",
          f"{len(unexplained)} of {n} differ: {unexplained[:3]}")
    print(f"# {n} texts, {len(differ)} differ, {sum(refused.values())} schemas refused")


# ---- llguidance ------------------------------------------------------------------------------------------------------------------

def why_more(text, before, forced, schema):
    """Why our mask may have a token that theirs, told to write no white space, has not."""
    if re.search(r"[ \n]", text):
        return "white space"
    if re.search(r"\d$", before + text[:-2]) and text.endswith(".0") or text.startswith((".", "0")) and re.search(r"\d(\.0?)?$", before):
        return "a whole number may end in .0"
    if forced and (forced.startswith(text) or text.startswith(forced)):
        return "they name one token where the text is forced"
    if "email" in schema and before.endswith('"'):
        return "a quoted name of an email address"
    if '"const": 1e-07' in schema:
        return "0.0000001 is written 1e-07"
    if before.endswith("-") and text == "0":
        return "-0"
    return "DEL in a string" if "\x7f" in text else None


def why_less(text, before, _, schema):
    if re.search(r"\d{4}-\d\d-\d?$", before):
        return "dates that do not exist"
    if re.search(r"\d{21}$|[Ee][+-]?\d{4}$", before + text):
        return "more digits"
    if re.search(r"\d\d:\d\d:$", before) and text == "6":
        return "leap seconds"
    if '"const": 1e-07' in schema:
        return "0.0000001 is written 1e-07"
    if before.endswith("\\") and text.startswith("u") or text.startswith("\\u"):
        return "\\u where a shorter escape will do"
    return None


def test_llguidance(host):
    try:
        import llguidance
    except ImportError:
        skip("the allowed tokens are llguidance's", "no llguidance for this python")
        return
    tokenizer = llguidance.LLTokenizer(os.path.join(DEMO, "tokenizer.json"), eos_token=end_id())
    texts = [tokenizer.decode_bytes([i]).decode("utf-8", "replace") for i in range(tokenizer.vocab_size)]
    r, wrong, explained, n_schemas, n_steps, refused = random.Random(2), [], collections.Counter(), 0, 0, 0
    for number in itertools.count():
        if n_schemas == (20 if QUICK else 200) or number == 2000:
            break
        schema = whole_schema(r)
        theirs = {**schema, "x-guidance": {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}}
        matcher = llguidance.LLMatcher(tokenizer, llguidance.LLMatcher.grammar_from_json_schema(json.dumps(theirs)), log_level=0)
        walks = host(schema, walks=6, tokens=80, seed=number)
        if matcher.is_error() or "error" in walks or not any(walks["walks"]):
            refused += 1
            continue
        text = json.dumps(json.loads(next(t for t in walks["walks"] if t)), ensure_ascii=False, separators=(",", ":"))
        ids = tokenizer.tokenize_str(text)
        ours = host(schema, ids=ids)
        n_schemas += 1
        for step, mask in enumerate(ours["masks"]):
            other = matcher.compute_bitmask()
            a, b = int.from_bytes(bytes.fromhex(mask), "little"), int.from_bytes(other, "little")
            n_steps += 1
            forced = texts[b.bit_length() - 1] if b and not b & (b - 1) else ""
            for more in (True, False):
                for i in bits((a & ~b) if more else (b & ~a)):
                    why = (why_more if more else why_less)(texts[i], tokenizer.decode_str(ids[:step]), forced, json.dumps(schema))
                    explained[("ours alone: " if more else "theirs alone: ") + str(why)] += 1
                    if not why:
                        wrong.append(("ours alone" if more else "theirs alone", texts[i], tokenizer.decode_str(ids[:step]), schema))
            if step < len(ids) and not matcher.consume_token(ids[step]):
                break
    for w in wrong[:8]:
        print("#", w)
    check(not wrong and n_steps > n_schemas, "the allowed tokens are llguidance's", f"{len(wrong)} differ in {n_steps} steps of {n_schemas} schemas")
    print(f"# {n_steps} steps of {n_schemas} schemas, {refused} left out; differences: {dict(explained)}")


# ---- time ------------------------------------------------------------------------------------------------------------------------

def print_times():
    """Of masks over the vocabulary of the large model: printed, not judged."""
    if not os.path.isdir(LARGE):
        skip("times of masks", "no ../shared/data/tokenizers")
        return
    host = Host(LARGE)
    item = {"type": "object", "properties": {"id": {"type": "integer"}, "text": {"type": "string", "maxLength": 500}, "any": {}},
            "required": ["id", "text", "any"], "additionalProperties": False}
    value = [{"id": i, "text": "some words " * 20, "any": {"a": {"b": [1, 2, {"c": "x"}]}}} for i in range(15)]
    words, pattern = "word and more " * 20, {"type": "string", "pattern": "^[\\p{L} ]{1,1000}$"}
    for name, schema, text in (("objects in a list", {"type": "array", "items": item}, json.dumps(value, indent=2)), ("any value", {}, json.dumps(value, indent=2)),
                               ("a long string", {"type": "string", "maxLength": 1000}, json.dumps(words)),
                               ("dots", {"type": "string", "pattern": "^.{0,1000}$"}, json.dumps(words)), ("letters", pattern, json.dumps(words)),
                               ("a near limit", {"type": "string", "maxLength": 300}, json.dumps(words))):
        a = host(schema, time=text)
        check("error" not in a, "times: " + name, a.get("error"))
        if "error" not in a:
            print(f"# {name}: compiled in {1e3 * a['open_seconds']:.1f} ms; {a['steps']} steps of {1e3 * a['mean']:.3f} ms, worst {1e3 * a['worst']:.1f} ms; "
                  f"{a['walks']} walks, {a['held_bytes'] / 1e6:.1f} MB")
    check(host.close() == 0, "the program with the large vocabulary ends well")


def bits(mask):
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def end_id():
    with open(os.path.join(DEMO, "tokenizer.json")) as f:
        return next(t["id"] for t in json.load(f)["added_tokens"] if t["content"] == "<|im_end|>")


if __name__ == "__main__":
    host = Host(DEMO)
    attempt("walks", test_walks, host)
    attempt("regexes", test_regexes, host)
    attempt("llguidance", test_llguidance, host)
    with tempfile.TemporaryDirectory() as scratch:
        attempt("suite", test_suite, host, suite_folder(scratch))
    check(host.close() == 0, "the program that does the jobs ends well")
    if not QUICK:
        attempt("times", print_times)
    done()
