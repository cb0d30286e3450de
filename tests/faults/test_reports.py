"""Issue 16, rows 17, 18, 20, 24, 25: what comparisons and reports must say, by row number."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "conformance"))
from program import ROOT, SURPRISAL, fresh, run

from check import attempt, check, done

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


for name, test in (("17 swapped", test_swapped), ("17 plans", test_swapped_plans), ("warnings", test_warnings)):
    attempt(f"16.{name}", test)
done()
