"""Reports of comparisons: gates, JUnit, baseline, Markdown and HTML from made-up documents (by the program
build/tests/unit/report/test_report, which does what `compare` does with its comparison)."""
import copy
import html.parser
import json
import os
import random
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import comparison_document as made
from check import check, done, skip
from program import SURPRISAL, fresh

# With a runner $SURPRISAL is a script in the folder of the tests.
RUNNER = os.environ.get("SURPRISAL_RUNNER", "").split()
PROGRAM = [*RUNNER, os.path.join(os.path.dirname(SURPRISAL), *([] if RUNNER else ["tests"]), "unit", "report", "test_report")]
GNUPLOT = shutil.which("gnuplot")
DOCUMENTS = {"realistic": made.realistic(), "hostile": made.hostile(), "bare": made.bare()}


def store(document):
    path = fresh("comparison") + ".json"
    with open(path, "w") as f:
        json.dump(document, f)
    return path


def report(document, *args, **env):
    """-> exit status, stdout, stderr"""
    ran = subprocess.run([*PROGRAM, document if isinstance(document, str) else store(document), *args],
                         capture_output=True, text=True, timeout=120, env={**os.environ, **env})
    return ran.returncode, ran.stdout, ran.stderr


def read(path):
    with open(path, encoding="utf-8", newline="") as f:
        return f.read()


# ---- gates -----------------------------------------------------------------------------

def numbers(value, path=""):
    """Every number of a document by the name that a gate gives it; of arrays the first and second element."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield from numbers(v, f"{path}.{k}" if path else k)
    elif isinstance(value, list):
        for i, v in enumerate(value[:2]):
            yield from numbers(v, f"{path}.{i}")
    elif isinstance(value, (int, float)):
        yield path, value


def run_figures(name):
    return not re.match(r"[ab]\.(context|stride|threads|text\.|prefix_id)", name)


document = DOCUMENTS["realistic"]
stored = store(document)
leaves = [(n, v) for n, v in numbers(document) if run_figures(n)]
for start in range(0, len(leaves), 16):
    gates = [f"gate={n}=={v!r}" for n, v in leaves[start:start + 16]]
    status, _, err = report(stored, *gates)
    check(status == 0, f"gates reach {leaves[start][0]} and the figures after it", f"{status} {err}")
for args, expected, message in (
        ([], 0, ""),
        (["gate=mean_kld<=0.03"], 0, ""),
        (["gate=mean_kld<=1e-9"], 3, "gate failed: mean_kld<=1e-9: mean_kld is 0.0213\n"),
        (["gate=mean_kld<=1", "gate=a.perplexity<6", "gate=kld.max<1"], 3,
         "gate failed: a.perplexity<6: a.perplexity is 6.21"),
        (["gate=mean_kl<=1"], 2, "near it: mean_kld"),
        (["junit=" + fresh() + ".xml"], 2, "there is none"),
        (["baseline=/nowhere"], 1, "/nowhere: No such file or directory")):
    status, _, err = report(stored, *args)
    lines = max(1, len(args) - 1) if expected == 3 else 0
    check(status == expected and message in err and err.count("gate failed") == lines,
          f"exit status {expected}: {' '.join(args)[:40] or 'no gates'}", f"{status} {err}")

# ---- JUnit -------------------------------------------------------------------------------

for name, document in DOCUMENTS.items():
    path = fresh() + ".xml"
    status, _, err = report(document, f"junit={path}", "gate=delta_nll<1", "gate=mean_kld < 1e-9", "gate=abs(delta_nll)>=0")
    suite = ET.parse(path).getroot()[0]
    cases = suite.findall("testcase")
    failures = [c.find("failure") for c in cases]
    check(status == 3 and [c.get("name") for c in cases] == ["delta_nll<1", "mean_kld < 1e-9", "abs(delta_nll)>=0"]
          and [f is not None for f in failures] == [False, True, False]
          and failures[1].get("message").startswith("mean_kld is ") and suite.get("tests") == "3"
          and suite.get("failures") == "1", f"JUnit of a {name} comparison", f"{status} {err}")
    if name == "hostile":
        value = suite.find("properties/property[@name='verdict']").get("value")
        check(value == made.shown(made.HOSTILE), "hostile text passes XML whole", repr(value))

# ---- baseline ------------------------------------------------------------------------------

now = DOCUMENTS["realistic"]
then = copy.deepcopy(now)
then.update(mean_kld=0.02, same_top1=0.9)
base = "baseline=" + store(then)
status, out, err = report(now, base, "gate=mean_kld<=baseline.mean_kld*1.05", "gate=mean_kld<=baseline.mean_kld*1.1")
rows = {line[:38].strip(): line[38:].split() for line in out.splitlines()}
check(status == 3 and err == "gate failed: mean_kld<=baseline.mean_kld*1.05: mean_kld is 0.0213, "
      "baseline.mean_kld*1.05 is 0.021\n", "a gate on the baseline's figure", err)
check(rows.get("KL divergence, mean") == ["0.0213", "0.02", "+0.0013"]
      and rows.get("same most probable token") == "93.42 % 90.00 % +3.42 points".split(),
      "figures beside the baseline's", out)
for what, path, value in (("original checkpoint", "a.checkpoint.digest", "77"), ("text", "a.text.sha256", "77"),
                          ("protocol", "a.protocol", "strided"), ("context", "a.context", 77),
                          ("tokenizer", "a.tokenizer.sha256", "77"), ("scored tokens", "scored", 77),
                          ("prefix token", "a.prefix_id", 77), ("compute type of the other", "b.compute", "77")):
    other = copy.deepcopy(now)
    *parents, key = path.split(".")
    target = other
    for p in parents:
        target = target[p]
    target[key] = value
    page = fresh() + ".html"
    status, _, err = report(now, "baseline=" + store(other), f"html={page}")
    check(status == 1 and f"a baseline of another comparison: {what} is {value}, today " in err
          and not os.path.exists(page), f"a baseline with another {what} is refused", f"{status} {err}")
for name, value in (("a number", 3), ("a summary", now["a"]), ("nothing", {})):
    status, _, err = report(now, "baseline=" + store(value))
    check(status == 1 and "not a stored comparison" in err, f"a baseline that is {name} is refused", err)

# ---- Markdown -------------------------------------------------------------------------------

for name, document in DOCUMENTS.items():
    path = fresh() + ".md"
    status, _, err = report(document, f"markdown={path}", "gate=delta_nll<1")
    text = read(path)
    ragged, width = [], 0
    for line in text.split("\n"):
        if line.startswith("|"):
            cells = len(re.findall(r"(?<!\\)\|", line))
            ragged += [line] if width not in (0, cells) else []
            width = cells
        else:
            width = 0
    check(status == 0 and not ragged, f"tables of a {name} comparison are even", f"{status} {ragged[:1]}")
    check("<script" not in text.split("### Repeat it")[0] and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text),
          f"no tags and no control characters in the Markdown of a {name} comparison", text[:300])
path = fresh() + ".md"
report(stored, f"markdown={path}")
text = read(path)
for line in ("| perplexity | 6.216 ± 0.058 | 6.293 ± 0.058 |", "| size (GB) | 70.21 | 22.11 |",
             "| mean NLL, B - A (nats/token) | +0.01231 ± 0.00088 | +0.000110 ± 0.000090 |",
             "| KL divergence, mean (nats/token) | 0.02130 ± 0.00026 | 0.00088 |", "| KL, 95th percentile (nats) | 0.08733 | 0.003608 |", "| Context | 512 | 512 |",
             now["repeat"]["command"], now["verdict"]):
    check(line in text.split("\n"), f"Markdown has: {line[:60]}", text)

# ---- HTML -------------------------------------------------------------------------------------

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and keeps what the checks ask for."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.ids, self.outside, self.words = [], [], [], [], {}
        self.svgs, self.uses, self.headings, self.scripts = [], {}, 0, 0
        self.feed(text)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag, attrs, closed=False):
        attrs = dict(attrs)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        for key in ("src", "href", "xlink:href", "action", "srcset"):
            if not attrs.get(key, "#").startswith("#"):
                self.outside.append(attrs[key])
        self.outside += [v for v in attrs.values() if v and ("url(" in v or "//" in v)]
        self.wrong += [f"{tag} {k}" for k in attrs if k.startswith("on") or k == "style"]
        self.scripts += tag in ("script", "iframe", "object", "embed", "link", "base")
        self.headings += tag == "th" and "scope" not in attrs
        if tag == "svg":
            self.svgs.append(attrs)
        if tag == "use" and self.svgs:
            svg = self.svgs[-1]["aria-labelledby"].split("-")[0]
            self.uses[svg] = self.uses.get(svg, 0) + 1
        if not closed and tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, closed=True)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)


def page_of(document, **env):
    path = fresh() + ".html"
    status, _, err = report(document, f"html={path}", "gate=mean_kld<=1e-9", "gate=delta_nll<1", **env)
    text = read(path)
    return Page(text), text, status, err


SECTIONS = ["Gates", "Warnings", "The two checkpoints", "The difference", "Where they differ", "Tokens that changed most",
            "Windows that changed most", "Use of the experts", "Repeat it"]
no_gnuplot = fresh()
os.mkdir(no_gnuplot)
pages = {}
for name, document in DOCUMENTS.items():
    for drawn in (True, False):
        if drawn and not GNUPLOT:
            skip(f"plots of a {name} comparison", "no gnuplot")
            continue
        label = f"{name} comparison {'with' if drawn else 'without'} gnuplot"
        page, text, status, err = page_of(document, **({} if drawn else {"PATH": no_gnuplot}))
        pages[name, drawn] = page, text
        check(status == 3 and not page.wrong, f"{label}: tags nest", f"{status} {page.wrong[:5]} {err}")
        check(not page.outside and not page.scripts and "@import" not in text and "http:" not in text
              and "https:" not in text, f"{label}: nothing from outside, no scripts", page.outside[:3])
        check(len(page.ids) == len(set(page.ids)), f"{label}: every id stands once", page.ids[:5])
        check(page.headings == 0, f"{label}: table headings say what they head", page.headings)
        check(page.words["h2"] == [s for s in SECTIONS if name != "bare" or "experts" not in s],
              f"{label}: sections", page.words["h2"])
        if drawn:
            check(len(page.svgs) == {"realistic": 14, "hostile": 14, "bare": 0}[name]
                  and all(s.get("role") == "img" for s in page.svgs) and "gnuplot" not in err,
                  f"{label}: plots", f"{len(page.svgs)} {err}")
            check(not re.search(r"rgb\(|#1000|xmlns|gnuplot_|currentcolour", text.split("</style>")[1]),
                  f"{label}: plots have the page's colours", "")
        elif name != "bare":
            check(not page.svgs and text.count("<details open>") == 7 and "tables instead of plots: gnuplot is not "
                  "installed" in err and "Tables instead of plots: gnuplot is not installed" in text,
                  f"{label}: tables in the plots' place, which is said", err)

page, text = pages["realistic", False]
for words, tag in (([now["verdict"]], "p"), (["Qwen3.5-35B-A3B-MXFP4", "Qwen3.5-35B-A3B"], "bdi"),
                   (["mean_kld<=1e-9"], "code"), (["mean_kld is 0.0213"], "span"), ([now["repeat"]["command"]], "code"),
                   (["+0.01231 ± 0.00088", "0.02130 ± 0.00026", "93.42 %"], "td"), ([made.DIGEST], "td"),
                   (["Figures by layer are of 580 windows, 296,960 tokens."], "p"),
                   ([" Pons", "↵", "<unk>", "東京"], "mark"),
                   (["Never used: layer 1 of A: 7; layer 1 of B: 7; layer 2 of A: 7, 8; layer 2 of B: 7, 8; layer 4 of A: 7;"], "p")):
    joined = "".join(page.words[tag])
    check(all(w in joined for w in words), f"the page shows {words[0][:40]}", joined[:200])
table = text.split('<figure id="windows"')[1].split("</table>")[0]
check(table.count("<tr>") == 1 + 580, "the table of windows has all of them", table.count("<tr>"))
if GNUPLOT:
    page, text = pages["realistic", True]
    # A dot for each of 580 windows, its sample in the legend, and gnuplot's own definitions.
    check(580 < page.uses["windows_wide"] < 600 and 580 < page.uses["windows_narrow"] < 600,
          "a dot for each window", page.uses)
for script, message in (("echo 'no plot today' >&2; exit 7", "gnuplot: failed: no plot today"),
                        ("echo nonsense", "gnuplot: printed something else than a plot"),
                        ("exit 0", "gnuplot: printed no plot"), ("kill -9 $$", "gnuplot: failed: "),
                        ("exec /bin/sleep 60", "gnuplot: not done after 20 seconds")):
    if "sleep" in script and not os.environ.get("SURPRISAL_TEST_ALL"):
        skip(f"tables when gnuplot is: {script}", "takes 20 seconds; SURPRISAL_TEST_ALL=1 runs it")
        continue
    folder = fresh()
    os.mkdir(folder)
    with open(os.path.join(folder, "gnuplot"), "w") as f:
        f.write(f"#!/bin/sh\n{script}\n")
    os.chmod(f.name, 0o755)
    page, text, status, err = page_of(now, PATH=folder)
    check(status == 3 and not page.wrong and not page.svgs and message in err and message in text,
          f"tables when gnuplot is: {script}", err)
hostile = pages["hostile", False][0]
shown = made.shown(made.HOSTILE)
check(shown in "".join(hostile.words["mark"]) and shown in "".join(hostile.words["p"]),
      "hostile text is shown, not obeyed", hostile.words["mark"][:2])


# ---- documents of another shape ------------------------------------------------------------------

def mutate(value, rng):
    """Some parts replaced by values of another kind."""
    if rng.random() < 0.02:
        return rng.choice([None, -1, 1e308, "", "x" * 5000, [], {}, [[]], {"a": 1}, True, [None, "y", 2]])
    if isinstance(value, dict):
        return {k: mutate(v, rng) for k, v in value.items()}
    return [mutate(v, rng) for v in value] if isinstance(value, list) else value


bad = []
for seed in range(24):
    rng = random.Random(seed)
    mutant = {k: mutate(v, rng) for k, v in made.realistic(30, 5).items()}
    path = fresh()
    env = {} if GNUPLOT and seed % 4 == 0 else {"PATH": no_gnuplot}
    status, _, err = report(mutant, f"html={path}", f"markdown={path}.md", f"junit={path}.xml", "gate=mean_kld<1", **env)
    wrong = status not in (0, 3) or Page(read(path)).wrong or ET.parse(path + ".xml") is None
    bad += [(seed, status, err[-300:])] if wrong else []
check(not bad, "documents of another shape give pages, not crashes", bad[:2])

path = fresh() + ".html"
with open(path, "w") as f:
    f.write("old")
status, _, err = report("/nowhere.json", f"html={path}")
check(status == 1 and read(path) == "old", "a failed report leaves the file that was there", err)
done()
