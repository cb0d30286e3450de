"""surprisal compare: what is refused and why, what is left behind, and what two equal runs give."""
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import check, done, skip

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
MINI = os.path.join(ROOT, "tests", "fixtures", "mini")
DEMO = os.path.join(ROOT, "data", "demo")
TEMP = tempfile.mkdtemp(prefix="surprisal-compare-test-")


def path(name, content=None):
    p = os.path.join(TEMP, name)
    if content is not None:
        with open(p, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
    return p


def run(*args, **kw):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, timeout=300, **kw)


def evaluate(name, *args, checkpoint=MINI):
    """-> the folder of a new run"""
    r = run("eval", checkpoint, *args, "--out", path(name), "--quiet")
    check(r.returncode == 0, f"run {name}", r.stderr)
    return path(name)


def document(*args):
    r = run("compare", *args, "--json")
    check(r.returncode == 0 and not r.stderr, "compare --json alone on stdout", r)
    return json.loads(r.stdout or "{}")


def refused(name, status, says, *args, **kw):
    """Exit status, one line on stderr that says it all, nothing on stdout."""
    r = run("compare", *args, **kw)
    missing = [s for s in ([says] if isinstance(says, str) else says) if s.encode() not in r.stderr]
    check(r.returncode == status and r.stderr.count(b"\n") == 1 and r.stderr.startswith(b"surprisal") and not missing and not r.stdout,
          name, f"status {r.returncode}, stderr {r.stderr!r}, stdout {r.stdout[:80]!r}, missing {missing}")


def copy(name, folder):
    shutil.copytree(folder, path(name))
    return path(name)


def edit(folder, name, old, new, sign=False):
    """Replaces bytes once; sign: the summary's own digest is made to fit."""
    file = os.path.join(folder, name)
    data = open(file, "rb").read()
    check(data.count(old) >= 1, f"{old} is in {name}")
    data = data.replace(old, new, 1)
    if sign:
        head = data[:data.rindex(b',\n\t"sha256":')]
        digest = hashlib.sha256(head + b"\n}").hexdigest().encode()
        data = head + b',\n\t"sha256":\t"' + digest + b'"\n}'
    with open(file, "wb") as f:
        f.write(data)
    return folder


IDS = path("ids", " ".join(str(i * 7 % 32) for i in range(80)))
OTHER = path("other", " ".join(str(i * 5 % 32) for i in range(80)))
BASE = ["--ids", IDS, "--context", "8"]


def test_usage(base):
    def usage(name, says, *args):
        refused(f"usage: {name}", 2, says, *args)

    usage("no operands", "A is missing")
    usage("one operand", "B is missing", base)
    usage("an empty third operand", "another B is empty", base, base, "")
    usage("a folder that does not exist", [path("none"), "neither a run folder"], base, path("none"))
    os.mkdir(path("neither"))
    usage("a folder that is neither", [path("neither"), "neither a run folder (summary.json, tokens.safetensors) nor a checkpoint"], base,
          path("neither"))
    usage("a run folder and a checkpoint", ["is a run folder and", "a checkpoint"], base, MINI, *BASE)
    usage("a checkpoint and a run folder", ["is a run folder and", "a checkpoint"], MINI, base)
    usage("checkpoints without a text", "neither text nor ids", MINI, MINI)
    usage("a text from the standard input", "read more than once", MINI, MINI, "--text", "-")
    usage("options that contradict each other", "a stride belongs to the protocol strided", MINI, MINI, *BASE, "--stride", "4")
    usage("a floor in bf16 of bf16", "asked for anyway", MINI, MINI, *BASE, "--compute", "bf16", "--floor")
    usage("a floor given for checkpoints", "evaluated, not given", MINI, MINI, *BASE, f"--floor={base}")
    usage("a floor of run folders without one", "name its folder", base, base, "--floor")
    usage("a floor that is no run folder", "is no run folder", base, base, f"--floor={MINI}")
    usage("an empty floor", "--floor: '' is not", base, base, "--floor=")
    usage("one sample", "1 bootstrap samples, expected 2", base, base, "--bootstrap", "1")
    usage("no sample", "--bootstrap: '0' is not", base, base, "--bootstrap", "0")
    usage("too many samples", "expected 2 to 1000000", base, base, "--bootstrap", "1000001")
    usage("a seed that is no number", "--seed: 'x' is not", base, base, "--seed", "x")
    for option in (["--text", IDS], ["--ids", IDS], ["--protocol", "llama"], ["--context", "9"], ["--stride", "2"], ["--join", "hf"],
                   ["--max-windows", "1"], ["--compute", "bf16"], ["--out", path("x")], ["--hidden"]):
        usage(f"run folders with {option[0]}", "are run folders", base, base, *option)
    help_text = run("compare", "--help").stdout
    check(all(f"  --{o} ".encode() in help_text for o in ("json", "bootstrap", "seed", "floor", "text", "context", "out", "hidden")),
          "compare --help lists its options", help_text)


def test_differences(base):
    def differs(name, says, *args):
        refused(f"differs: {name}", 1, [base, path(name), "did not score the same tokens", *says], base, evaluate(name, *args))

    differs("text", ["text sha256", "against", "token id of scored token 0: 7 against 5"], "--ids", OTHER, "--context", "8")
    differs("context", ["context 8 against 16", "windows 10 against 5", "scored tokens 70 against 75"], "--ids", IDS, "--context", "16")
    differs("protocol", ["protocol disjoint against llama"], *BASE, "--protocol", "llama")
    differs("stride", ["protocol disjoint against strided", "stride 8 against 4"], *BASE, "--protocol", "strided", "--stride", "4")
    differs("window-limit", ["window limit none against 9", "windows 10 against 9"], *BASE, "--max-windows", "9")
    differs("prefix", ["prefix id none against 3", "protocol"], *BASE, "--protocol", "rolling", "--prefix-id", "3")
    allowed = evaluate("allowed", *BASE, "--compute", "bf16", "--isa", "scalar")
    d = document(base, allowed)
    check(d["repeat"]["compute_b"] == "bf16" and d["repeat"]["isa_b"] == "scalar" and d["repeat"]["compute_a"] == "f32",
          "compute type and kernels may differ and are named", d["repeat"])
    refused("a floor of another checkpoint", 1, "is a run of another checkpoint", base, base, "--floor=" + edit(
        copy("other-checkpoint", allowed), "summary.json", b'"digest":\t"', b'"digest":\t"f', sign=True))
    refused("a floor in the same compute type", 1, "same type", base, base, f"--floor={base}")
    d = document(base, base, f"--floor={allowed}")
    check(d["floor"]["label"] == "A against itself in bf16 compute" and d["floor"]["delta_nll"] != 0, "a floor that fits", d["floor"])


def other_tokenizer():
    """The demo's without its first merge: other ids."""
    with open(os.path.join(DEMO, "bf16", "tokenizer.json"), encoding="utf-8") as f:
        data = json.load(f)
    del data["model"]["merges"][0]
    return json.dumps(data).encode()


def test_text_differences():
    text = path("text.txt", "The river , it rises .\n \nwords here and there\n" * 12)
    tokenizer = path("tokenizer.json", other_tokenizer())
    checkpoint, args = os.path.join(DEMO, "bf16"), ["--text", text, "--context", "16"]
    a = evaluate("by-text", *args, checkpoint=checkpoint)
    b = evaluate("by-join", *args, "--join", "hf", checkpoint=checkpoint)
    refused("another join", 1, ["text sha256", "join raw against hf"], a, b)
    c = evaluate("by-tokenizer", *args, "--tokenizer", tokenizer, checkpoint=checkpoint)
    refused("another tokenizer", 1, "tokenizer sha256", a, c)
    refused("checkpoints with different tokenizers", 1, ["different tokenizers", "can be named"], checkpoint,
            checkpoint_with(checkpoint, tokenizer), *args)
    moved = copy("moved", c)
    os.remove(tokenizer)
    r = run("compare", c, evaluate("by-tokenizer-2", *args, "--compute", "bf16", "--tokenizer", path("tokenizer.json", other_tokenizer()),
                                    checkpoint=checkpoint), "--json")
    check(json.loads(r.stdout)["worst_tokens"][0]["token"] is not None, "text is shown by the tokenizer of the run", r.stderr)
    os.remove(tokenizer)
    for name, options, says in (("gone", [], b"No such file"), ("another", ["--tokenizer", checkpoint], b"is not the tokenizer of")):
        r = run("compare", moved, path("by-tokenizer-2"), "--json", *options)
        tokens = json.loads(r.stdout)["worst_tokens"]
        check(r.returncode == 0 and says in r.stderr and r.stderr.count(b"warning") == 1 and tokens[0]["token"] is None,
              f"a tokenizer that is {name}: a warning, ids only", r.stderr)


def test_table(pair, args):
    """The table has what the document has of layers, experts and positions."""
    table = run("compare", *pair, *args, "--layers", "1").stdout.decode()
    d = json.loads(run("compare", *pair, *args, "--layers", "1", "--json").stdout)
    missing = []
    for layer, load in zip(d["layers"], d["experts"]["layers"]):
        line = [str(layer["layer"]), layer["type"].split("_")[0]]
        for key in ("residual_error", "output_error", "same_experts", "changed_experts"):
            line += [f"{100 * layer[key]:.2f}", "%"]
        for side in "ab":
            line += [str(load["least_" + side]), "-", str(load["most_" + side])]
            never = load["never_used_" + side]
            more = f" and {len(never) - 12} more" if len(never) > 12 else ""
            named = f"  layer {layer['layer']} of {side.upper()}: {', '.join(map(str, never[:12]))}{more}\n"
            missing += [named] if never and named not in table else []
        missing += [line] if line not in [x.split() for x in table.splitlines()] else []
    check(not missing and "63 tokens of 1 window\n" in table and any(e["never_used_a"] for e in d["experts"]["layers"]),
          "the table by layer, and experts that were never used", (missing, table))
    ranges, rows = d["positions"], [x.split() for x in table.split("by position")[1].split("\n\n")[0].splitlines()[2:]]
    check(len(rows) == 8 and rows[0][0] == str(ranges[0]["from"]) and rows[-1][2] == str(ranges[-1]["to"])
          and sum(int(r[3]) for r in rows) == d["scored"], "the table by position covers all", rows)
    for row in rows:
        inside = [r for r in ranges if int(row[0]) <= r["from"] and r["to"] <= int(row[2])]
        expected = [sum(r["scored"] * r[k] for r in inside) / int(row[3]) for k in ("nll_a", "nll_b", "delta_nll")]
        check(all(abs(float(x) - y) <= 0.5001e-4 for x, y in zip(row[4:], expected)), f"by position from {row[0]}", (row, expected))


def checkpoint_with(checkpoint, tokenizer):
    out = path("relinked")
    os.mkdir(out)
    for name in os.listdir(checkpoint):
        os.symlink(tokenizer if name == "tokenizer.json" else os.path.join(checkpoint, name), os.path.join(out, name))
    return out


def test_damage(base):
    def damaged(name, says, change):
        folder = copy("damaged-" + name.replace(" ", "-"), base)
        change(folder)
        refused(f"damaged: {name}", 1, [folder, *says], base, folder)
        refused(f"damaged: {name}, as A", 1, [folder, *says], folder, base)

    def cut(name, n):
        return lambda folder: os.truncate(os.path.join(folder, name), os.path.getsize(os.path.join(folder, name)) - n)

    def last_byte(folder):
        with open(os.path.join(folder, "tokens.safetensors"), "r+b") as f:
            f.seek(-1, os.SEEK_END)
            last = f.read(1)[0]
            f.seek(-1, os.SEEK_END)
            f.write(bytes([last ^ 1]))

    damaged("summary cut", ["summary.json", "cut short or edited"], cut("summary.json", 10))
    damaged("summary empty", ["summary.json"], cut("summary.json", os.path.getsize(os.path.join(base, "summary.json"))))
    damaged("summary edited", ["was edited", "expected"], lambda f: edit(f, "summary.json", b'"mean_nll":\t', b'"mean_nll":\t1'))
    damaged("summary of an old version", ["kept no digests"], lambda f: open(os.path.join(f, "summary.json"), "w").write('{\n"scored": 1\n}'))
    damaged("figure edited and signed", ["by the rows, but", "by the summary"],
            lambda f: edit(f, "summary.json", b'"mean_nll":\t', b'"mean_nll":\t1', sign=True))
    damaged("unknown protocol", ["protocol is 'tilted'"],
            lambda f: edit(f, "summary.json", b'"protocol":\t"disjoint"', b'"protocol":\t"tilted"', sign=True))
    damaged("context 0", ["'context' is not a whole number"], lambda f: edit(f, "summary.json", b'"context":\t8', b'"context":\t0', sign=True))
    damaged("another context", ["is not in window"], lambda f: edit(f, "summary.json", b'"context":\t8', b'"context":\t9', sign=True))
    damaged("a name twice", ["duplicate name"], lambda f: edit(f, "summary.json", b'"windows":', b'"context":', sign=True))
    damaged("rows cut", ["tokens.safetensors"], cut("tokens.safetensors", 4))
    damaged("rows edited", ["tokens_sha256", "expected"], last_byte)
    damaged("rows of another run", ["belongs to another summary"],
            lambda f: shutil.copy(os.path.join(path("text"), "tokens.safetensors"), os.path.join(f, "tokens.safetensors")))
    damaged("rows that are no safetensors", ["tokens.safetensors"],
            lambda f: open(os.path.join(f, "tokens.safetensors"), "w").write("nothing"))


def test_identical(base):
    d = document(base, base)
    check(d["delta_nll"] == 0 and d["delta_nll_stderr"] == 0 and d["p_value"] == 1 and d["delta_nll_ci95"] == [0, 0]
          and d["naive"]["p_value"] == 1 and d["bootstrap"]["stderr"] == 0 and d["perplexity_ratio"] == 1
          and d["perplexity_ratio_ci95"] == [1, 1] and d["perplexity_difference"] == 0 and d["same_top1"] == 1
          and d["rms_delta_p"] == 0 and abs(d["p_correlation"] - 1) < 1e-12 and d["units_needed"] is None
          and d["worst_tokens"] == [] and d["worst_windows"] == [] and "no difference" in d["verdict"],
          "a run against itself: zeros, p 1, no NaN", d)
    check(list(d)[:7] == ["surprisal", "a", "b", "unit", "units", "scored", "delta_nll"], "members in their order", list(d))
    with open(os.path.join(base, "summary.json")) as f:
        check(d["a"] == json.load(f), "a is the summary of A", d["a"])
    one = evaluate("one-window", *BASE, "--max-windows", "1")
    other = evaluate("one-window-bf16", *BASE, "--max-windows", "1", "--compute", "bf16")
    d = document(one, other)
    check(d["delta_nll"] != 0 and d["delta_nll_stderr"] is None and d["p_value"] is None and d["delta_nll_ci95"] is None
          and d["bootstrap"] is None and d["units_needed"] is None and d["naive"]["p_value"] is not None
          and "cannot be said" in d["verdict"], "one window: no error, no p-value", d)
    text = run("compare", one, other).stdout.decode()
    check("nan" not in text and "inf" not in text and d["verdict"] in text, "nor in the table", text)
    check(document(base, path("allowed"), "--seed", "5") == document(base, path("allowed"), "--seed", "5") | {"repeat": document(
        base, path("allowed"), "--seed", "5")["repeat"]}, "a seed gives the same figures")
    r = json.loads(run("compare", base, path("allowed"), "--json", "--seed", "6", "--bootstrap", "50").stdout)
    check(r["bootstrap"]["samples"] == 50 and r["bootstrap"]["seed"] == 6, "samples and seed are those asked for", r["bootstrap"])


def test_reports(base):
    """Gates, baseline and files; what they hold is tests/cli/test_report.py's."""
    refused("a gate with wrong syntax comes first", 2, ["character 10", "see surprisal compare --help"],
            path("none"), path("none"), "--gate", "delta_nll=0")
    refused("a gate on an unknown figure", 2, "near it: delta_nll", base, base, "--gate", "delta_nl<=0")
    refused("a gate on a baseline that is not given", 2, "there is no baseline", base, base, "--gate", "p_value<baseline.p_value")
    refused("JUnit without a gate", 2, "there is none", base, base, "--junit", path("x.xml"))
    refused("a page in a folder that is not there", 1, "cannot be written", base, base, "--html", path("none/x.html"))
    refused("a baseline that is none", 1, "not a stored comparison", base, base, "--baseline", os.path.join(base, "summary.json"))
    stored = run("compare", base, base, "--json", "--gate", "delta_nll<0", "--gate", "p_value>=1", "--gate", "abs(delta_nll)>0")
    check(stored.returncode == 3 and json.loads(stored.stdout) and stored.stderr ==
          b"gate failed: delta_nll<0: delta_nll is 0\ngate failed: abs(delta_nll)>0: abs(delta_nll) is 0\n",
          "a line for each gate that fails, and the document alone on stdout", stored)
    baseline = path("baseline.json", stored.stdout)
    names = {o: path(f"report.{o}") for o in ("html", "markdown", "junit")}
    r = run("compare", base, base, "--baseline", baseline, "--gate", "delta_nll<=baseline.delta_nll",
            *[word for o, name in names.items() for word in (f"--{o}", name)])
    check(r.returncode == 0 and b"beside the baseline" in r.stdout and all(map(os.path.isfile, names.values())),
          "gates that are met, a baseline and three files", r)
    other = evaluate("other-baseline", "--ids", OTHER, "--context", "8")
    r = run("compare", other, other, "--baseline", baseline)
    check(r.returncode == 1 and b"a baseline of another comparison: text is" in r.stderr and r.stdout,
          "another text's baseline is refused, and the comparison still printed", r)


PLANS = ("disjoint-8", "llama-16", "rolling-9", "strided-16-4")


def evaluate_plans(name, *args, plans=PLANS):
    return evaluate(name, "--ids", IDS, "--prefix-id", "3", *(x for p in plans for x in ("--plan", p.replace("-", ":"))), *args)


def test_plans(base):
    """Two folders that eval --plan wrote: each pair is compared as its run folders alone are."""
    a = evaluate_plans("plans-a", "--hidden")
    b = evaluate_plans("plans-b", "--hidden", "--compute", "bf16")
    alone = {p: document(os.path.join(a, p), os.path.join(b, p)) for p in PLANS}
    found = document(a, b)
    check(list(found) == ["comparisons"] and [d["plan"] for d in found["comparisons"]] == list(PLANS), "a document a plan, by name",
          list(found))
    check(all(d | {"repeat": 0} == alone[d["plan"]] | {"repeat": 0, "plan": d["plan"]} for d in found["comparisons"]),
          "each is that of its pair alone, with the plan's name")
    r = run("compare", a, b)
    table = r.stdout.decode().splitlines()
    check(r.returncode == 0 and not r.stderr and "mean KLD" in table[-5] and "perplexity A" in table[-5], "a heading above the lines", r)
    for line, (plan, d) in zip(table[-4:], alone.items()):
        figures = [plan, str(d["scored"]), f"{d['a']['perplexity']:.4f}", f"{d['b']['perplexity']:.4f}", f"{d['perplexity_ratio']:.6f}",
                   f"{d['delta_nll']:+.6f}", "±", f"{d['delta_nll_stderr']:.6f}", "p", "=", f"{d['p_value']:.2g}", f"{d['mean_kld']:.6f}",
                   f"{d['same_top1']:.4f}"]
        check(line.split() == figures, f"the line of {plan}", (line, figures))
    check(len({len(line) for line in table[-5:]}) == 1, "columns are aligned", table[-5:])

    limit = sorted(d["rms_delta_p"] for d in alone.values())[1]
    failing = [p for p in PLANS if not alone[p]["rms_delta_p"] <= limit]
    r = run("compare", a, b, "--gate", f"rms_delta_p<={limit!r}", "--gate", "p_value<=1", "--junit", path("plans.xml"))
    lines = r.stderr.decode().splitlines()
    check(r.returncode == 3 and [line.split(": ")[:2] for line in lines] == [["gate failed", p] for p in failing] and len(failing) == 2,
          "gates apply to every plan, and a line names the plan", r.stderr)
    suites = ET.parse(path("plans.xml")).getroot()
    check([s.get("name").split()[-1] for s in suites] == list(PLANS) and suites.get("tests") == "8" and suites.get("failures") == "2"
          and [s.get("failures") for s in suites] == [str(int(p in failing)) for p in PLANS]
          and len({(c.get("classname"), c.get("name")) for c in suites.iter("testcase")}) == 8, "JUnit: a suite a plan",
          [s.attrib for s in suites])

    few = evaluate_plans("plans-few", "--compute", "bf16", plans=("disjoint-8", "rolling-20"))
    r = run("compare", a, few, "--json")
    check(r.returncode == 0 and [d["plan"] for d in json.loads(r.stdout)["comparisons"]] == ["disjoint-8"]
          and [line.split(": ")[2] for line in r.stderr.decode().splitlines()] == [*PLANS[1:3], "rolling-20", PLANS[3]]
          and f"rolling-20: is in {few} alone".encode() in r.stderr, "a plan of one side alone: a warning, left out", r.stderr)
    check(run("compare", a, few).stdout.decode().splitlines()[-1].split()[-2] == "-", "no hidden states: no divergence in the table")

    floor = {d["plan"]: d.get("floor") for d in document(a, a, f"--floor={b}")["comparisons"]}
    own = {p: document(os.path.join(a, p), os.path.join(a, p), f"--floor={os.path.join(b, p)}")["floor"] for p in PLANS}
    check(floor == own, "a noise floor for each plan", floor)
    test_plans_refused(base, a, b, few)


def test_plans_refused(base, a, b, few):
    for name, x, y, kinds in (("run folder", a, base, ["folder of plans", "a run folder"]), ("checkpoint", MINI, a, ["a checkpoint", "folder of plans"])):
        refused(f"plans: mixed with a {name}", 2, [x, y, *kinds, "two of the same kind"], x, y)
    for option, value in (("html", "x.html"), ("markdown", "x.md"), ("baseline", "x.json")):
        refused(f"plans: --{option}", 2, "name the run folders of one plan", a, b, f"--{option}", path(value))
        check(not os.path.exists(path(value)), f"plans: --{option} writes nothing")
    refused("plans: a protocol", 2, "are folders of plans: a context can be chosen for checkpoints only", a, b, "--context", "9")
    refused("plans: a floor of one run", 2, "expected one with a noise floor for each plan", a, b, f"--floor={base}")
    refused("plans: a floor without some plan", 1, [os.path.join(few, "llama-16"), "no run folder"], a, a, f"--floor={few}")
    none = evaluate_plans("plans-none", plans=("rolling-30",))
    r = run("compare", a, none)
    check(r.returncode == 1 and r.stderr.splitlines()[-1] == f"surprisal: {a} and {none} have no plan in common".encode() and not r.stdout,
          "plans: none in common", r.stderr)
    mixed = copy("plans-mixed", a)
    shutil.rmtree(os.path.join(mixed, "llama-16"))
    shutil.copytree(os.path.join(b, "llama-16"), os.path.join(mixed, "llama-16"))
    refused("plans: runs of two compute types in one folder", 1, [mixed, "disjoint-8 and llama-16", "compute: f32 against bf16"], a, mixed)
    cut = edit(copy("plans-cut", b), "llama-16/summary.json", b'"scored":\t', b'"scored":\t1')
    refused("plans: a damaged run", 1, os.path.join(cut, "llama-16"), a, cut)


BY_LAYER = {"layers", "experts", "layers_cost"}         # members that run folders cannot have


def without_layers(d):
    return {k: v for k, v in d.items() if k not in BY_LAYER}


def test_checkpoints():
    """Two checkpoints are the same as their two runs; what was temporary is gone, whatever happens."""
    scratch = path("scratch")
    os.mkdir(scratch)
    env = dict(os.environ, TMPDIR=scratch)
    args = ["--text", os.path.join(DEMO, "text.txt"), "--context", "64", "--max-windows", "9"]
    pair = [os.path.join(DEMO, "bf16"), os.path.join(DEMO, "mxfp4")]
    folders = [evaluate("pair-" + str(i), *args, "--hidden", checkpoint=c) for i, c in enumerate(pair)]
    expected = document(*folders)
    r = run("compare", *pair, *args, "--json", "--progress", "--layers", "2", env=env)
    found = json.loads(r.stdout or "{}")
    check(len(found.get("layers", [])) == 8 and found.get("layers_cost", {}).get("windows") == 2 and found.get("experts"),
          "with figures by layer", found.keys())
    timed = {"seconds", "tokens_per_second", "peak_rss_bytes", "sha256", "hidden", "hidden_sha256"}
    for side in "ab":
        for d in (found, expected):
            d[side] = {k: v for k, v in d[side].items() if k not in timed}
    found["repeat"] = expected["repeat"]
    check(found["mean_kld"] > 0 and found["kld_stderr"] > 0 and "mean KL divergence" in found["verdict"], "with KL divergence",
          found.get("mean_kld"))
    by_layer = set(found) - set(expected)
    check(by_layer == BY_LAYER, "checkpoints alone have figures by layer", by_layer)
    found["verdict"] = found["verdict"].removesuffix(" " + found["experts"].get("verdict", ""))
    found = without_layers(found)
    check(found == expected, "two checkpoints compare as their runs do", {k for k in expected if found.get(k) != expected[k]})
    check(b"2 evaluations; their runs take 0.000" in r.stderr and scratch.encode() in r.stderr and os.listdir(scratch) == [],
          "the disk need is stated, and nothing is left", (r.stderr, os.listdir(scratch)))

    test_table(pair, args)
    lost = edit(copy("lost", folders[1]), "summary.json", b"demo/mxfp4", b"demo/gone", sign=True)
    r = run("compare", folders[0], lost, "--json")
    check(r.returncode == 0 and r.stderr.count(b"\n") == 1 and b"no KL divergence: the checkpoint of" in r.stderr
          and "mean_kld" not in json.loads(r.stdout), "a checkpoint that is gone: a warning, no KL divergence", r.stderr)
    other = edit(copy("other-head", folders[1]), "summary.json", b'"head_sha256":\t"', b'"head_sha256":\t"0', sign=True)
    r = run("compare", folders[0], other, "--json")
    check(r.returncode == 0 and r.stderr.count(b"\n") == 1 and b"no KL divergence" in r.stderr and b"the head has SHA-256" in r.stderr
          and "mean_kld" not in json.loads(r.stdout), "a checkpoint with another head: a warning, no KL divergence", r.stderr)
    cut = copy("cut-hidden", folders[1])
    with open(os.path.join(cut, "tokens.safetensors"), "r+b") as f:
        f.seek(-2, os.SEEK_END)
        f.write(b"\x11")
    refused("hidden states that were edited", 1, [cut, "hidden_sha256"], folders[0], cut)

    kept = path("kept")
    r = run("compare", *pair, *args, "--out", kept, "--floor", "--hidden", "bf16", "--layers", "none", "--json", "--progress")
    sizes = [os.path.getsize(os.path.join(kept, name, "tokens.safetensors")) for name in ("a", "b", "floor")]
    stated = [float(x) * 1e9 for x in re.findall(r"(\S+) GB of disk", r.stderr.decode())]
    check(len(stated) == 4 and all(abs(x / y - 1) < 0.01 for x, y in zip(stated, [sum(sizes), *sizes])),
          "the disk need is that of the files, of all runs and of each", (stated, sizes))
    check(sorted(os.listdir(kept)) == ["a", "b", "floor"], "--out keeps the runs", os.listdir(kept))
    d, again = json.loads(r.stdout), document(kept + "/a", kept + "/b", f"--floor={kept}/floor")
    check(d["a"]["hidden"] == "bf16" and without_layers(d) | {"repeat": 0} == again | {"repeat": 0} and "floor" in d, "which compare again to the same")
    refused("a folder that exists", 1, [kept, "exists already"], *pair, *args, "--out", kept)

    def leaves_nothing(name, status, says, *more, **kw):
        refused(name, status, says, *more, env=env, **kw)
        check(os.listdir(scratch) == [], f"{name}: nothing is left", os.listdir(scratch))

    broken = checkpoint_with(pair[0], os.path.join(pair[0], "tokenizer.json")) if not os.path.exists(path("relinked")) else path("relinked")
    for name in os.listdir(broken):
        if name.startswith("model.safetensors-00002"):
            os.remove(os.path.join(broken, name))
    leaves_nothing("a second checkpoint that does not open", 1, "relinked", pair[0], broken, *args, "--tokenizer", pair[0])
    leaves_nothing("no room for the runs", 1, "File too large", *pair, *args,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY)))
    refused("no such place for temporary folders", 1, ["nowhere", "cannot create a temporary folder"], *pair, *args,
            env=dict(os.environ, TMPDIR=path("nowhere")))
    p = subprocess.Popen([PROGRAM, "compare", *pair, "--text", os.path.join(DEMO, "text.txt"), "--context", "512", "--threads", "1"],
                         env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not os.listdir(scratch) and p.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=300)
    if p.returncode == 0:
        skip("Ctrl-C", "the comparison was done before")
    else:
        check(p.returncode == 130 and b"interrupted" in err and err.count(b"\n") == 1, "Ctrl-C: exit status 130, one line", (p.returncode, err))
    check(os.listdir(scratch) == [], "Ctrl-C leaves nothing", os.listdir(scratch))


try:
    base = evaluate("base", *BASE)
    test_usage(base)
    test_differences(base)
    test_damage(base)
    test_identical(base)
    test_reports(base)
    test_plans(base)
    if os.path.exists(DEMO):
        test_text_differences()
        test_checkpoints()
    else:
        skip("compare", "no demo checkpoints")
finally:
    shutil.rmtree(TEMP, ignore_errors=True)
done()
