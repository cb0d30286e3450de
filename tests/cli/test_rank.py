"""surprisal compare ORIGINAL B1 B2 ...: a ranking's rows are those of the pairs, and nothing of it depends on the order of the
arguments; who cannot be compared, gates, reports, an interruption; the original is evaluated once."""
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done, skip

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
TEMP = tempfile.mkdtemp(prefix="surprisal-rank-test-")
TEXT = os.path.join(DEMO, "text.txt")
SCORED = ["--text", TEXT, "--context", "96", "--max-windows", "4" if QUICK else "9"]
HOSTILE = '<b>"x" & y,\n\x1b[31m|é</b>'
# Of a row and of the pair's document: the same digits.
SAME = ("units", "scored", "mean_kld", "kld_stderr", "kld", "same_top1", "delta_nll", "delta_nll_stderr", "delta_nll_ci95", "p_value")


def path(name):
    return os.path.join(TEMP, name)


def run(*args, **kw):
    return subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=600, cwd=TEMP, **kw)


def evaluate(name, checkpoint, *options):
    r = run("eval", checkpoint, *(options or (*SCORED, "--hidden")), "--out", name, "--quiet")
    check(r.returncode == 0, f"run {name}", r.stderr)
    return name


def ranking(*args, status=0):
    """-> the only ranking, without what the time or the order of arguments decide"""
    r = run("compare", *args, "--json")
    check(r.returncode == status, f"ranking {' '.join(map(str, args[:4]))[:60]}: status {status}", (r.returncode, r.stderr))
    found = json.loads(r.stdout)["rankings"]
    check(len(found) == 1, "one ranking", len(found))
    return found[0]


def pair(a, b):
    return json.loads(run("compare", a, b, "--json").stdout)


def rows(r):
    return {row["candidate"]: row for row in r["candidates"]}


def make_candidates():
    quantize = {"ocp": ["--scale", "ocp"], "down": ["--include", "*down_proj*"], "linears": ["--recipe", "linears"]}
    for name, options in quantize.items():
        r = run("quantize", os.path.join(DEMO, "bf16"), name, *options, "--quiet")
        check(r.returncode == 0, f"quantize {name}", r.stderr)
    evaluate("run-original", os.path.join(DEMO, "bf16"))
    for name in (*quantize, "mxfp4"):
        evaluate(f"run-{name}", name if name in quantize else os.path.join(DEMO, name))
    shutil.copytree(path("run-ocp"), path("run-twin"))


RUNS = ["run-original", "run-ocp", "run-down", "run-twin", "run-linears", "run-mxfp4"]


def test_rows():
    r = ranking(*RUNS)
    candidates = r["candidates"]
    check([c["number"] for c in candidates] == [1, 2, 3, 4, 5], "numbers", candidates)
    check(sorted(c["mean_kld"] for c in candidates) == [c["mean_kld"] for c in candidates], "by rising mean KL")
    for c, document in zip(candidates, r["comparisons"]):
        alone = pair(RUNS[0], c["candidate"])
        unequal = [k for k in SAME if c[k] != alone[k]]
        check(not unequal, f"{c['candidate']}: the row has the pair's figures", [(k, c[k], alone[k]) for k in unequal])
        same = {k: v for k, v in document.items() if k not in ("candidate", "repeat")}
        check(same == {k: v for k, v in alone.items() if k != "repeat"}, f"{c['candidate']}: the document is the pair's")
        size = alone["b"]["checkpoint"]
        check(c["bytes"] == size["bytes"] and abs(c["bits_per_weight"] - 8 * size["bytes"] / size["parameters"]) < 1e-12,
              f"{c['candidate']}: size", c["bits_per_weight"])
        check(c["perplexity"] == alone["b"]["perplexity"] and c["left_out"] == 0, f"{c['candidate']}: perplexity")
    with open(path("run-original/summary.json")) as f:
        check(r["original"] == json.load(f), "the original's summary")
    return r


def test_front(r):
    """Against plain definitions."""
    points = [(c["bytes"], c["mean_kld"]) for c in r["candidates"]]
    for i, c in enumerate(r["candidates"]):
        better = [j for j, q in enumerate(points) if q != points[i] and q[0] <= points[i][0] and q[1] <= points[i][1]]
        check(c["on_front"] == (not better), f"{c['candidate']}: on the front", better)
        expected = min(better, key=lambda j: (points[j][1], points[j][0], j)) + 1 if better else None
        check(c["dominated_by"] == expected, f"{c['candidate']}: who dominates it", (c["dominated_by"], expected))
        known = c["front_bytes"] is not None
        check((c["bytes_over_front"] is not None) == known
              and (not known or c["bytes_over_front"] == c["bytes"] - c["front_bytes"]), f"{c['candidate']}: bytes over the front")


def test_ties(r):
    of = rows(r)
    twins = (of["run-ocp"], of["run-twin"])
    check(all(t["tied_with"] == [u["number"]] for t, u in (twins, twins[::-1])), "twins are tied with each other alone",
          [t["tied_with"] for t in twins])
    ties = r["ties"]
    check((ties["method"], ties["level"], ties["tests"], len(ties["pairs"])) == ("Holm", 0.05, 10, 10), "ten tests", ties)
    check(any(p["delta_kld"] == 0 and p["p_value"] == 1 for p in ties["pairs"]), "twins differ by exactly 0")
    ordered = sorted((p["p_value"], p["p_holm"]) for p in ties["pairs"])
    least = 0
    for i, (p, holm) in enumerate(ordered):
        least = max(least, min(1, (len(ordered) - i) * p))
        check(abs(holm - least) <= 1e-12 * least, f"Holm's value {i}", (holm, least))
    for p in ties["pairs"]:         # paired by window: the mean of the differences is the difference of the means
        first, second = (r["candidates"][p[k] - 1] for k in ("first", "second"))
        check(abs(p["delta_kld"] - (second["mean_kld"] - first["mean_kld"])) < 1e-12, f"difference of {p['first']} and {p['second']}")
        check((p["second"] in first["tied_with"]) == (not p["p_holm"] < 0.05), f"tie of {p['first']} and {p['second']}", p)
    one = ranking("run-original", "one-a", "one-b") if make_single() else None
    check(one and [c["tied_with"] for c in one["candidates"]] == [[2], [1]] and one["ties"]["tests"] == 0
          and one["ties"]["pairs"][0]["p_value"] is None, "with one window nothing can be told apart", one and one["ties"])


def make_single():
    options = ["--text", TEXT, "--context", "96", "--max-windows", "1", "--hidden"]
    os.rename(path("run-original"), path("kept"))
    evaluate("run-original", os.path.join(DEMO, "bf16"), *options)
    evaluate("one-a", "ocp", *options)
    evaluate("one-b", "down", *options)
    return True


def test_order(r):
    again = ranking("run-original", "run-mxfp4", "run-twin", "run-linears", "run-down", "run-ocp")
    for found in (r, again):
        found["comparisons"] = [{k: v for k, v in d.items() if k != "repeat"} for d in found["comparisons"]]
    check({k: v for k, v in r.items() if k != "repeat"} == {k: v for k, v in again.items() if k != "repeat"},
          "the order of the arguments changes nothing")


def test_not_comparable():
    with open(TEXT, encoding="utf-8") as f, open(path("other.txt"), "w", encoding="utf-8") as out:
        out.write(f.read()[5000:20000])
    evaluate("other-text", "ocp", "--text", "other.txt", *SCORED[2:], "--hidden")
    evaluate("other-prefix", "ocp", *SCORED, "--protocol", "rolling", "--prefix-id", "3", "--hidden")
    evaluate("no-hidden", "ocp", *SCORED)
    shutil.copytree(path("run-ocp"), path("cut"))
    with open(path("cut/tokens.safetensors"), "r+b") as f:
        f.truncate(4000)
    os.mkdir(path("empty"))
    r = ranking("run-original", "other-text", "run-ocp", "missing", "cut", "other-prefix", "no-hidden", "empty", status=1)
    reasons = {x["candidate"]: x["reason"] for x in r["not_comparable"]}
    for name, says in {"other-text": "text sha256", "other-prefix": "prefix id", "missing": "neither a run folder",
                       "empty": "neither a run folder", "cut": "tokens.safetensors"}.items():
        check(says in reasons.get(name, ""), f"{name}: the reason", reasons)
    check(sorted(reasons) == ["cut", "empty", "missing", "other-prefix", "other-text"], "the others are compared", sorted(reasons))
    check([c["candidate"] for c in r["candidates"]] == ["run-ocp", "no-hidden"] and r["candidates"][1]["mean_kld"] is None
          and not r["candidates"][1]["on_front"], "without hidden states: last, and not on the front", r["candidates"])
    p = run("compare", "cut", "run-ocp", "run-down")
    check(p.returncode == 1 and "cut/tokens.safetensors" in p.stderr and not p.stdout, "a damaged original ends the job", p.stderr)
    r = ranking("run-original", "missing", "empty", "--html", "none.html", status=1)
    check(r["candidates"] == [] and len(r["not_comparable"]) == 2, "none is comparable", r["candidates"])


def retokenized():
    """A checkpoint whose tokenizer gives other ids."""
    shutil.copytree("ocp" if os.path.isdir("ocp") else path("ocp"), path("retokenized"))
    file = path("retokenized/tokenizer.json")
    with open(file, encoding="utf-8") as f:
        tokenizer = json.load(f)
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:50]
    with open(file, "w", encoding="utf-8") as f:
        json.dump(tokenizer, f)


def test_checkpoints(of_runs):
    """Evaluated, and mixed with runs: the same figures; nothing stays behind; one evaluation each."""
    retokenized()
    temporary = path("tmp")
    os.mkdir(temporary)
    bf16 = os.path.join(DEMO, "bf16")
    traced = shutil.which("strace")
    command = [PROGRAM, "compare", bf16, "ocp", "run-down", "retokenized", "linears", *SCORED, "--json"]
    if traced:
        command = ["strace", "-f", "-qq", "-e", "trace=rename,renameat2", "-o", path("trace"), *command]
    p = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=TEMP, env={**os.environ, "TMPDIR": temporary})
    check(p.returncode == 1 and p.stderr.count("not comparable") == 1, "checkpoints beside a run: status 1, as one is not comparable",
          (p.returncode, p.stderr))
    r = json.loads(p.stdout)["rankings"][0]
    check([(x["candidate"], "different tokenizers" in x["reason"]) for x in r["not_comparable"]] == [("retokenized", True)],
          "another tokenizer", r["not_comparable"])
    for name, own in (("ocp", "run-ocp"), ("run-down", "run-down"), ("linears", "run-linears")):
        unequal = [k for k in (*SAME, "bytes") if rows(r)[name][k] != of_runs[own][k]]
        check(not unequal, f"{name}: evaluated or not, the same figures", unequal)
    check(os.listdir(temporary) == [], "the temporary folder is removed", os.listdir(temporary))
    if traced:
        with open(path("trace")) as f:
            lines = [line for line in f if ".partial" in line]
        made = {name: sum(re.search(rf'/{name}\.partial", AT_FDCWD, "[^"]*/{name}"', line) is not None for line in lines)
                for name in ("original", "b1", "b2", "b3", "b4")}
        check(made == {"original": 1, "b1": 1, "b2": 0, "b3": 0, "b4": 1}, "each checkpoint is evaluated once", (made, lines))
    else:
        skip("each checkpoint is evaluated once", "there is no strace")
    r = ranking("run-original", "linears", "run-ocp", *SCORED)
    unequal = [k for k in SAME if rows(r)["linears"][k] != of_runs["run-linears"][k]]
    check(not unequal, "a checkpoint against a run folder", unequal)
    r = ranking("run-original", "linears", "run-ocp", *SCORED[:2], "--context", "64", status=1)
    check([x["candidate"] for x in r["not_comparable"]] == ["linears"] and "expected" in r["not_comparable"][0]["reason"],
          "a checkpoint by other options than the run folder's is not evaluated", r["not_comparable"])


def test_reports():
    os.symlink(path("run-ocp"), path("run-" + HOSTILE.replace("/", "_")))
    hostile = "run-" + HOSTILE.replace("/", "_")
    args = ["run-original", hostile, "run-linears", "run-down", "missing", "--gate", "mean_kld<=0.03", "--gate", "same_top1>=0",
            "--html", "page.html", "--markdown", "page.md", "--csv", "table.csv", "--junit", "gates.xml"]
    p = run("compare", *args)
    check(p.returncode == 3, "a failed gate: status 3", (p.returncode, p.stderr))
    check("gate failed: run-linears: mean_kld<=0.03" in p.stderr and p.stderr.count("gate failed: missing: ") == 2
          and p.stderr.count("gate failed") == 3, "gates of each candidate, and all of one that is not comparable", p.stderr)
    check("\x1b" not in p.stdout + p.stderr and "<b>" in p.stdout, "no control characters on the terminal")
    of = rows(json.loads(run("compare", *args, "--json").stdout)["rankings"][0])
    with open(path("table.csv"), newline="", encoding="utf-8") as f:
        table = list(csv.DictReader(f))
    check([t["candidate"] for t in table] == [*of, "missing"], "CSV: a row a candidate, names as they are", [t["candidate"] for t in table])
    for t in table[:-1]:
        c = of[t["candidate"]]
        for k in ("bytes", "mean_kld", "kld_stderr", "bits_per_weight", "delta_nll", "front_bytes"):
            check((float(t[k]) if t[k] else None) == c[k], f"CSV: {k} of {t['candidate']!r} in full", (t[k], c[k]))
        check((t["kld_p999"], t["delta_nll_high"]) == (repr(c["kld"]["p999"]), repr(c["delta_nll_ci95"][1]))
              or (float(t["kld_p999"]), float(t["delta_nll_high"])) == (c["kld"]["p999"], c["delta_nll_ci95"][1]), "CSV: inner members")
        check(t["on_front"] == str(c["on_front"]).lower() and t["tied_with"] == " ".join(map(str, c["tied_with"])), "CSV: front and ties")
    check("neither a run folder" in table[-1]["not_comparable"] and not table[-1]["bytes"], "CSV: why not")
    with open(path("page.html"), encoding="utf-8") as f:
        page = f.read()
    check("<b>&quot;" not in page and '<b>"' not in page and "\x1b" not in page and "&lt;b&gt;" in page, "HTML: the name is escaped")
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    check(len(ids) == len(set(ids)), "HTML: no id twice", [i for i in ids if ids.count(i) > 1][:5])
    links = [part.split('"')[0] for part in page.split('href="#')[1:]]
    check(len([x for x in links if "pair" in x]) >= 3 and set(links) <= set(ids), "HTML: links to the pairs lead there", links)
    check(page.count('<details class="pair">') == 3 and page.count("Not comparable") == 1 and "src=" not in page
          and 'href="http' not in page, "HTML: the pairs are inside, and nothing is loaded")
    if shutil.which("gnuplot"):
        check('id="plan_1_front"' in page and "plan_1_front_wide" in page and "plan_1_pair_3_windows_narrow" in page, "HTML: plots")
    with open(path("page.md"), encoding="utf-8") as f:
        lines = f.read().split("\n")
    table = [line for line in lines if line.startswith("| ")]
    check(sum(line.count(" | ") == 12 for line in table) == 4 and not any("<b>" in line for line in table),
          "Markdown: a table of three rows, the name escaped", table)
    suites = ET.parse(path("gates.xml")).getroot()
    check((suites.get("tests"), suites.get("failures"), len(suites)) == ("8", "3", 4), "JUnit: a suite a candidate", suites.attrib)


def test_plans():
    plans = ["--plan", "llama:64", "--plan", "disjoint:96"]
    for name, checkpoint in (("plans-original", os.path.join(DEMO, "bf16")), ("plans-ocp", "ocp"), ("plans-down", "down")):
        evaluate(name, checkpoint, "--text", TEXT, "--max-windows", "4", *plans, "--hidden")
    evaluate("plans-part", "ocp", "--text", TEXT, "--max-windows", "4", "--plan", "llama:64", "--plan", "llama:32", "--hidden")
    p = run("compare", "plans-original", "plans-ocp", "plans-part", "plans-down", "run-ocp", "--json", "--csv", "plans.csv",
            "--gate", "same_top1>=0")
    found = json.loads(p.stdout)["rankings"]
    check(p.returncode == 3 and [r["plan"] for r in found] == ["disjoint-96", "llama-64"], "a ranking a plan", (p.returncode, p.stderr))
    check([len(r["candidates"]) for r in found] == [2, 3], "a candidate without a plan is left out of that one alone")
    reasons = {x["candidate"]: x["reason"] for x in found[0]["not_comparable"]}
    check("has no run of the plan disjoint-96" in reasons["plans-part"] and "a folder of plans" in reasons["run-ocp"], "the reasons", reasons)
    for r in found:
        for c in r["candidates"]:
            alone = pair(f"plans-original/{r['plan']}", f"{c['candidate']}/{r['plan']}")
            unequal = [k for k in SAME if c[k] != alone[k]]
            check(not unequal, f"{r['plan']}, {c['candidate']}: the pair's figures", unequal)
    with open(path("plans.csv"), newline="") as f:
        check([t["plan"] for t in csv.DictReader(f)] == ["disjoint-96"] * 4 + ["llama-64"] * 4, "CSV: the plan of each row")
    check("gate failed: plans-part: disjoint-96: same_top1>=0" in p.stderr, "a gate names candidate and plan", p.stderr)


def stamp(folder):
    st = os.stat(path(os.path.join(folder, "summary.json")))
    return st.st_ino, st.st_mtime_ns


def test_interrupted():
    """SIGINT while a candidate is evaluated; then the same with --resume."""
    args = ["compare", os.path.join(DEMO, "bf16"), "ocp", "linears", "down", "--text", TEXT, "--context", "256",
            "--max-windows", "16" if QUICK else "30", "--out", "kept-runs", "--json"]
    p = subprocess.Popen([PROGRAM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=TEMP)
    while p.poll() is None and not os.path.exists(path("kept-runs.partial/b1/summary.json")):
        time.sleep(0.01)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=600)
    if not check(p.returncode == 130 and "kept-runs.partial" in err and not out, "interrupted", (p.returncode, err)):
        return
    before = [stamp("kept-runs.partial/original"), stamp("kept-runs.partial/b1")]
    r = run(*args)
    check(r.returncode == 1 and "--resume" in r.stderr and os.path.isdir(path("kept-runs.partial/b1")), "without --resume nothing is lost",
          r.stderr)
    other = run("compare", os.path.join(DEMO, "mxfp4"), *args[2:], "--resume")
    check(other.returncode == 1 and "is a run of other weights" in other.stderr and stamp("kept-runs.partial/original") == before[0],
          "another original is refused", other.stderr)
    r = run(*args, "--resume")
    check(r.returncode == 0 and not r.stderr, "resumed", (r.returncode, r.stderr))
    check([stamp("kept-runs/original"), stamp("kept-runs/b1")] == before, "what was complete was not evaluated again")
    check(sorted(os.listdir(path("kept-runs"))) == ["b1", "b2", "b3", "original"], "the runs are kept", os.listdir(path("kept-runs")))
    own = run("compare", *(f"kept-runs/{x}" for x in ("original", "b1", "b2", "b3")), "--json")
    a, b = (json.loads(x.stdout)["rankings"][0]["candidates"] for x in (r, own))
    check([{k: v for k, v in c.items() if k not in ("candidate",)} for c in a]
          == [{k: v for k, v in c.items() if k not in ("candidate",)} for c in b], "and give the same ranking")


def test_usage():
    bf16 = os.path.join(DEMO, "bf16")
    for name, says, *args in [
        ("--layers", "no figures by layer", bf16, "ocp", "down", *SCORED, "--layers", "4"),
        ("--baseline", "no baseline", *RUNS[:3], "--baseline", "x.json"),
        ("--csv of one pair", "holds a ranking", *RUNS[:2], "--csv", "x.csv"),
        ("--resume of one pair", "not resumed", *RUNS[:2], "--resume"),
        ("--resume without --out", "none is given", bf16, "ocp", "down", *SCORED, "--resume"),
        ("no original", "neither a run folder", "missing", "run-ocp", "run-down"),
        ("a text for run folders", "can be chosen for checkpoints only", *RUNS[:3], "--text", TEXT),
        ("a floor of run folders", "name its folder", *RUNS[:3], "--floor"),
        ("an unknown figure", "mean_kdl", *RUNS[:3], "--gate", "mean_kdl<=1"),
    ]:
        r = run("compare", *args)
        check(r.returncode == 2 and says in r.stderr and not r.stdout, f"refused: {name}", (r.returncode, r.stderr))
    r = run("compare", *RUNS[:3], "--csv", "run-ocp/tokens.safetensors")
    check(r.returncode == 1 and os.path.getsize(path("run-ocp/tokens.safetensors")) > 4000, "an input is not written over", r.stderr)


def test_floor(of_runs):
    evaluate("run-floor", os.path.join(DEMO, "bf16"), *SCORED, "--hidden", "--compute", "bf16")
    r = ranking("run-original", "run-ocp", "run-down", "--floor=run-floor", "--gate", "mean_kld>floor.mean_kld")
    again = ranking(os.path.join(DEMO, "bf16"), "ocp", "run-down", *SCORED, "--floor")
    floors = [d["floor"] for found in (r, again) for d in found["comparisons"]]
    check(all(f == floors[0] for f in floors) and floors[0]["mean_kld"] > 0, "a noise floor in each comparison, given or evaluated", floors)


def test_warnings():
    """Each once, and none names a folder of runs that is removed."""
    ggufs = [os.path.join(DEMO, "formats", f"demo-{q}.gguf") for q in ("Q8_0", "Q4_0")]
    scored = ["--text", TEXT, "--context", "96", "--max-windows", "2", "--quiet"]
    for name, args, tokenizers, swapped in (("GGUFs", [os.path.join(DEMO, "bf16"), *ggufs], 2, 0),
                                            ("a GGUF as the original", [ggufs[0], os.path.join(DEMO, "bf16"), ggufs[1]], 1, 1)):
        r = run("compare", *args, *scored)
        lines = r.stderr.splitlines()
        check(r.returncode == 0 and len(lines) == len(set(lines)) and r.stderr.count("the tokenizers of ") == tokenizers
              and r.stderr.count("swapped?") == swapped and ".surprisal-" not in r.stderr, f"warnings of {name}", r.stderr)


try:
    make_candidates()
    ranked = test_rows()
    kept = rows(ranked)
    attempt("front", test_front, ranked)
    attempt("not comparable", test_not_comparable)
    attempt("checkpoints", test_checkpoints, kept)
    attempt("floor", test_floor, kept)
    attempt("reports", test_reports)
    attempt("plans", test_plans)
    attempt("interrupted", test_interrupted)
    attempt("usage", test_usage)
    attempt("warnings", test_warnings)
    attempt("order", test_order, ranked)
    attempt("ties", test_ties, ranked)
finally:
    shutil.rmtree(TEMP, ignore_errors=True)
done()
