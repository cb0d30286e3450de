"""Issue 16, rows 17, 18, 20, 24, 25: what comparisons and reports must say, by row number."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "conformance"))
import numpy as np
import safetensors_io as st
from make_fixtures import config_of, stored, write_checkpoint
from program import ROOT, fresh, ids_file, run

from check import attempt, check, done, skip

BF16, MXFP4 = (os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4"))
TEXT = os.path.join(ROOT, "data", "demo", "text.txt")
SHORT = ("--context", "128", "--max-windows", "4")


def evaluate(checkpoint, *options, text=TEXT):
    """-> a run folder"""
    out = fresh()
    run("eval", checkpoint, "--text", text, *SHORT, "--out", out, "--quiet", *options)
    return out


def compare(*args):
    """-> document, stderr, text, Markdown, HTML"""
    markdown, html = fresh("report") + ".md", fresh("report") + ".html"
    shown = run("compare", *args, "--bootstrap", "2", "--markdown", markdown, "--html", html)
    document = json.loads(run("compare", *args, "--bootstrap", "2", "--json").stdout)
    return document, shown.stderr, shown.stdout, read(markdown), read(html)


def read(path):
    with open(path) as f:
        return f.read()


def test_swapped():
    a, b = evaluate(MXFP4), evaluate(BF16)
    document, *shown = compare(a, b)
    said = "A is quantized and B is not: swapped?"
    check([line for line in document["warnings"] if said in line], "16.17 runs swapped: in the document", document["warnings"])
    for where, what in zip(("stderr", "the table", "Markdown", "HTML"), shown):
        check(said in what, f"16.17 runs swapped: in {where}", what[-300:])
    document, *shown = compare(b, a)
    check(document["warnings"] == [] and not any("swapped" in what for what in shown), "16.17 the right way round: nothing",
          document["warnings"])
    document, stderr, *_ = compare(MXFP4, BF16, "--text", TEXT, *SHORT, "--layers", "none")
    check([line for line in document["warnings"] if said in line] and stderr.count(said) == 1,
          "16.17 checkpoints swapped: in the document, and once on stderr", stderr)
    document, stderr, *_ = compare(MXFP4, MXFP4, "--text", TEXT, *SHORT, "--layers", "none")
    check(document["warnings"] == [] and said not in stderr, "16.17 two quantized checkpoints: nothing", stderr)


def test_swapped_plans():
    folders = []
    for checkpoint in (MXFP4, BF16):
        folders.append(fresh())
        run("eval", checkpoint, "--text", TEXT, "--plan", "disjoint:64", "--plan", "disjoint:128", "--max-windows", "3", "--out",
            folders[-1], "--quiet")
    shown = run("compare", *folders, "--bootstrap", "2")
    check("swapped?" in shown.stdout, "16.17 plans swapped: below the table", shown.stdout)


def test_warnings():
    """A run's warnings are in every report, each once, with the name of its side."""
    text = fresh("text")
    with open(TEXT, newline="") as f, open(text, "w", newline="") as g:
        g.write(f.read().replace("\n", "\r\n"))
    a, b = evaluate(BF16, text=text), evaluate(MXFP4, text=text)
    with open(os.path.join(a, "summary.json")) as f:
        line = json.load(f)["warnings"][0]
    document, _, table, markdown, html = compare(a, b)
    check(document["a"]["warnings"] == document["b"]["warnings"] == [line] and document["warnings"] == [],
          "16 warnings: each run's are in its summary in the document", document["warnings"])
    check(f"  A: {line}\n  B: {line}\n" in table, "16 warnings: in the table", table[-600:])
    check("### Warnings\n\n- A: " in markdown and "\n- B: " in markdown, "16 warnings: in Markdown", markdown)
    check(html.count('class="warning"') == 2, "16 warnings: in HTML", html.count('class="warning"'))
    document, *_ = compare(BF16, MXFP4, "--text", text, *SHORT, "--floor", "--layers", "1")
    check(document["a"]["warnings"] and document["warnings"] == [],
          "16 warnings: what an evaluation warned about is not told again by its comparison", document["warnings"])


def random_checkpoint(hidden_size, **more):
    case = dict(type="qwen3_5_text", hidden_size=hidden_size, num_hidden_layers=2, vocab_size=64, layer_types=["full_attention"] * 2,
                tie_word_embeddings=False, num_attention_heads=2, num_key_value_heads=1, head_dim=32, linear_num_key_heads=1,
                linear_num_value_heads=1, linear_key_head_dim=8, linear_value_head_dim=8, linear_conv_kernel_dim=4,
                rms_norm_eps=1e-6, intermediate_size=64) | more
    folder, config = fresh("checkpoint"), config_of(case)
    write_checkpoint(folder, case, config, stored(case, config, np.random.default_rng(1)))
    return folder


def test_stages():
    """What --progress shows: the stages before all, and each with its own clock."""
    shown = run("compare", BF16, MXFP4, "--text", TEXT, *SHORT, "--floor", "--progress").stderr
    names = re.findall(r"^stage (\d) of 6: (.*), estimated time \d+:\d\d$", shown, re.M)
    check([n for _, n in names] == ["evaluation of A", "evaluation of B", "evaluation of the noise floor", "KL divergence",
                                    "KL divergence of the noise floor", "figures by layer"],
          "16.24 the stages with their estimates before the work", shown)
    at_work = [int(n) for n in re.findall(r"^stage (\d) of 6: .* %", shown, re.M)]
    check(at_work == sorted(at_work) and set(at_work) == set(range(1, 7)), "16.24 each stage says which it is", at_work)
    check(re.search(r"^stage 1 of 6: .* left in all$", shown, re.M), "16.24 the time left of the whole", shown)
    first = re.findall(r"^stage 2 of 6: .*$", shown, re.M)[1]
    check("/s" not in first, "16.24 the second evaluation does not begin with a rate of the first", first)
    shown = run("compare", BF16, MXFP4, "--text", TEXT, *SHORT, "--layers", "none", "--progress").stderr
    check("stage 3 of 3: KL divergence, est" in shown, "16.24 only stages that there are", shown)


def test_peak():
    """A is large and B small: B's peak is its own, as in an evaluation of B alone."""
    large, small = random_checkpoint(2048), random_checkpoint(32)
    ids = ids_file(np.arange(6000) % 64)
    options = ("--ids", ids, "--context", "512")
    document = json.loads(run("compare", large, small, *options, "--layers", "none", "--bootstrap", "2", "--json").stdout)
    a, b = (document[side]["peak_rss_bytes"] for side in "ab")
    alone = json.loads(run("eval", small, *options, "--json").stdout)["peak_rss_bytes"]
    check(a and (b is None or b < 0.8 * a), "16.25 B's peak memory is not A's", f"{a} {b}")
    if not can_forget():
        skip("16.25 B's peak memory is what B alone takes", "the kernel does not forget a peak")
    else:
        check(b and abs(b - alone) < 0.3 * alone, "16.25 B's peak memory is what B alone takes", f"{b} against {alone}")


def can_forget():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        return False
    return True


def test_head():
    """KL divergence apart: of the head, and of what comes before it."""
    only_head, all_but = fresh("checkpoint"), fresh("checkpoint")
    run("quantize", BF16, only_head, "--include", "lm_head", "--quiet")
    run("quantize", BF16, all_but, "--include", "*experts*", "--quiet")
    both = fresh("checkpoint")
    run("quantize", BF16, both, "--include", "lm_head", "--include", "*experts*", "--quiet")
    a, runs = evaluate(BF16, "--hidden"), {c: evaluate(c, "--hidden") for c in (only_head, all_but, both)}
    document, _, table, markdown, html = compare(a, runs[only_head])
    check(document["mean_kld_same_head"] == 0 and document["kld_of_head"] == document["mean_kld"] > 0,
          "16.18 only the head is quantized: all of the divergence is its", document["mean_kld_same_head"])
    check("the head's part is" in table and "(+100.0 %)" in table and "the head's part" in markdown
          and "the head's part" in html, "16.18 every report says so", table)
    document, *_ = compare(a, runs[all_but])
    check(document["mean_kld_same_head"] == document["mean_kld"] > 0 and document["kld_of_head"] == 0,
          "16.18 the head is not quantized: none of it is its", document["kld_of_head"])
    document, *_ = compare(a, runs[both])
    x, y = (st.read(os.path.join(folder, "tokens.safetensors"))["hidden"].astype(float) for folder in (a, runs[both]))
    head = st.from_bf16(head_of(BF16)).astype(float)
    p, q = (log_softmax(h @ head.T) for h in (x, y))
    want = (np.exp(p) * (p - q)).sum(1).mean()
    check(abs(document["mean_kld_same_head"] - want) < 1e-5 * want, "16.18 A's head on B's states, as numpy has it",
          f"{document['mean_kld_same_head']} {want}")
    check(document["mean_kld"] != document["mean_kld_same_head"], "16.18 both quantized: the two differ", document["mean_kld"])
    met = run("compare", a, runs[both], "--bootstrap", "2", "--gate", "mean_kld_same_head<1", "--gate", "abs(kld_of_head)<1")
    check(met.returncode == 0, "16.18 gates know them", met.stderr)


def test_unused():
    """Experts that the text never reaches are in the verdict."""
    options = ("--text", TEXT, "--context", "64", "--max-windows", "2")
    document, _, table, markdown, html = compare(BF16, MXFP4, *options)
    e = document["experts"]
    unused = {side: sum(layer[f"unused_{side}"] for layer in e["layers"]) for side in "ab"}
    with open(os.path.join(BF16, "config.json")) as f:
        c = json.load(f)
    c = c.get("text_config", c)
    share = unused["a"] * 3 * c["hidden_size"] * c["moe_intermediate_size"] / document["a"]["checkpoint"]["parameters"]
    check(e["unused_a"] == unused["a"] > 0 and e["unused_b"] == unused["b"] and e["count"] == c["num_hidden_layers"] * c["num_experts"]
          and abs(e["unused_share_a"] - share) < 1e-12, "16.20 experts never reached, and their share of the weights", f"{e['unused_a']} {share}")
    said = f"The 126 tokens never reach {unused['a']} of A's {e['count']} experts ({100 * share:.2g} % of its weights)"
    for where, what in (("the document", document["verdict"]), ("the table", table), ("Markdown", markdown.replace("\\", "")),
                        ("HTML", html.replace("&#39;", "'").replace("&apos;", "'"))):
        check(said in what, f"16.20 the verdict says so in {where}", document["verdict"])
    document, *_ = compare(BF16, MXFP4, *options, "--layers", "1")
    check("The first 63 tokens never reach" in document["verdict"] and "the rest of the text reaches them" in document["verdict"],
          "16.20 of a part of the text, it says so", document["verdict"])
    document, *_ = compare(random_checkpoint(32), random_checkpoint(32), "--ids", ids_file(np.arange(600) % 64), "--context", "128")
    check("never reach" not in document["verdict"], "16.20 a dense model: nothing", document["verdict"])


def head_of(checkpoint):
    for name in os.listdir(checkpoint):
        if name.endswith(".safetensors"):
            tensors = st.read(os.path.join(checkpoint, name))
            if "lm_head.weight" in tensors:
                return tensors["lm_head.weight"]
    raise KeyError("lm_head.weight")


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


for name, test in (("17 swapped", test_swapped), ("17 plans", test_swapped_plans), ("warnings", test_warnings),
                   ("18", test_head), ("20", test_unused), ("24", test_stages), ("25", test_peak)):
    attempt(f"16.{name}", test)
done()
