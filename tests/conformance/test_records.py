"""surprisal compare on made-up run folders: cases with known answers, in every output; damage of all kinds; and each figure again with
numpy and scipy."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import records
import safetensors_io as st
from program import ROOT, SURPRISAL, fresh, run
from test_compare import check_agreement, check_bootstrap, check_paired, check_places

from check import attempt, check, done

NO_PLOTS = {**os.environ, "PATH": os.path.dirname(records.__file__), "OMP_NUM_THREADS": "1"}
RUNNER = os.environ.get("SURPRISAL_RUNNER")


def compare(*args):
    return subprocess.run([SURPRISAL, "compare", *map(str, args)], capture_output=True, text=True, errors="replace", timeout=120,
                          env=None if RUNNER else NO_PLOTS)


rng = np.random.default_rng(11)
# Multiples of 1/64: sums are exact, so that what should be 0 is 0.
X = np.round(rng.exponential(2, 40) * 64) / 64
NOISE = np.round(rng.normal(0, 0.1, 40) * 64) / 64
Y = np.abs(X + NOISE)
ZERO = dict(delta_nll=0, perplexity_ratio=1, perplexity_difference=0, units_needed=None, mean_delta_p=0, rms_delta_p=0)
NO_ERROR = dict(delta_nll_stderr=None, delta_nll_ci95=None, p_value=None, bootstrap=None, units_needed=None, perplexity_ratio_stderr=None,
                perplexity_difference_stderr=None)
# name, NLL of A and of B, windows, members of the document, words of the verdict
KNOWN = [
    ("identical runs", X, X, 4, ZERO | dict(delta_nll_stderr=0, delta_nll_ci95=[0, 0], p_value=1, perplexity_ratio_ci95=[1, 1],
                                            perplexity_difference_ci95=[0, 0], p_correlation=1), "there is no difference"),
    ("identical runs of one window", X, X, 1, ZERO | NO_ERROR, "there is no difference"),
    ("identical runs of one token", X[:1], X[:1], 1, ZERO | NO_ERROR | dict(p_correlation=None), "there is no difference"),
    ("every NLL is 0", X * 0, X * 0, 4, ZERO | dict(p_value=1, p_correlation=None), "there is no difference"),
    ("a constant shift", X, X + 0.25, 4, dict(delta_nll=0.25, delta_nll_stderr=0, delta_nll_ci95=None, p_value=None, units_needed=None,
                                              perplexity_ratio=np.exp(0.25), perplexity_ratio_stderr=0), "higher by 28 %"),
    ("a constant shift down", X + 8, X, 4, dict(delta_nll=-8, p_value=None, perplexity_ratio=np.exp(-8)), "lower by 99.97 %"),
    ("one window", X, Y, 1, NO_ERROR | dict(delta_nll=(Y - X).mean()), "cannot be said"),
    ("one token", [1], [2], 1, NO_ERROR | dict(delta_nll=1, perplexity_ratio=np.e), "cannot be said"),
    ("changes that cancel", [1, 1, 1, 1], [2, 2, 0, 0], 2, dict(delta_nll=0, delta_nll_stderr=1, p_value=1, units_needed=None),
     "may be chance"),
    ("perplexities beyond a double", X + 800, X + 801, 4, dict(delta_nll=1, delta_nll_stderr=0, perplexity_ratio=np.e,
                                                               perplexity_difference=None), "higher by 1 nats/token"),
    ("a ratio beyond a double", X, X + 800, 4, dict(delta_nll=800, perplexity_ratio=None, perplexity_difference=None),
     "higher by 800 nats/token"),
    ("differences beyond a double", X * 1e300, X * 1.5e300, 4, dict(delta_nll_stderr=None, p_value=None, perplexity_ratio=None,
                                                                   perplexity_difference=None), "beyond the range"),
    ("large NLL keep small differences", [2.0**52] * 4, [2.0**52 + 1, 2.0**52 + 1, 2.0**52 + 3, 2.0**52 + 3], 2,
     dict(delta_nll=2, delta_nll_stderr=1), "mean NLL 4.5036e+15"),
]
NO_NUMBER = re.compile(r"[^a-z](-?nan|-?inf|infinity)[^a-z]", re.IGNORECASE)


def same(found, expected):
    if expected is None or found is None:
        return found is expected
    return np.allclose(found, expected, rtol=1e-12, atol=0)


def test_known():
    for name, a, b, windows, members, words in KNOWN:
        folders = [records.write(x, windows) for x in (a, b)]
        files = {o: fresh() + "." + o for o in ("html", "markdown", "junit")}
        r = compare(*folders, "--json", "--gate", "delta_nll<=1e9", "--gate", "p_value<=1",
                    *[x for o, path in files.items() for x in ("--" + o, path)])
        d = json.loads(r.stdout or "{}")
        wrong = {k: d.get(k, "absent") for k, v in members.items() if not same(d.get(k, "absent"), v)}
        check(not wrong, f"{name}: known figures", (wrong, r.stderr[-300:]))
        check(words in d.get("verdict", ""), f"{name}: the verdict says so", d.get("verdict"))
        failed = (d["delta_nll"] is None or d["delta_nll"] > 1e9) + (d["p_value"] is None)
        check(r.returncode == (3 if failed else 0) and r.stderr.count("gate failed") == failed, f"{name}: gates",
              (r.returncode, r.stderr))
        check(len(ET.parse(files["junit"]).getroot().findall(".//failure")) == failed, f"{name}: JUnit")
        texts = {"--json": json.dumps(d), "table": compare(*folders).stdout}
        for option, path in files.items():
            with open(path) as f:
                texts[option] = f.read().split("</style>")[-1]
        for where, text in texts.items():
            found = NO_NUMBER.search(text)
            check(len(text) > 100 and not found, f"{name}: numbers are numbers in {where}", found and text[found.start() - 60:found.end() + 60])


def test_figures():
    """Windows by number and size, not those of a model."""
    for windows, per in ((2, 20), (3, 1), (7, 33), (40, 5)):
        a = rng.exponential(2, windows * per)
        b = np.abs(a + rng.normal(0.01, 0.2, a.size) + np.repeat(rng.normal(0, 0.1, windows), per))
        folders = [records.write(x, windows, top1=rng.integers(0, 3, a.size)) for x in (a, b)]
        columns = [st.read(os.path.join(f, "tokens.safetensors")) for f in folders]
        d = json.loads(compare(*folders, "--json", "--bootstrap", 20000).stdout)
        unit, name = columns[0]["window"], f"{windows} windows of {per}"
        check_paired(name, d, *columns, unit)
        check_bootstrap(name, d, *columns, unit)
        check_agreement(name, d, *columns)
        check_places(name, d, *columns, unit, columns[0]["position"] - (per + 1) * unit)


def test_refused():
    """Digests fit, content does not: refused with file and reason, on either side, and against itself."""
    a = records.write(X, 4)
    n = np.arange(40)
    cases = [("an infinite NLL", "row 7 has NLL inf", dict(columns=dict(nll=np.where(n == 7, np.inf, Y)))),
             ("an NLL that is no number", "row 7 has NLL nan", dict(columns=dict(nll=np.where(n == 7, np.nan, Y)))),
             ("a negative NLL", "row 7 has NLL -1", dict(columns=dict(nll=np.where(n == 7, -1, Y)))),
             ("NLL in F32", "'nll' is F32 [40], expected F64 [40]", dict(columns=dict(nll=Y.astype(np.float32)))),
             ("positions in I64", "'position' is I64 [40], expected I32", dict(columns=dict(position=n.astype(np.int64)))),
             ("a matrix", "'nll' is F64 [4, 10], expected F64 [40]", dict(columns=dict(nll=Y.reshape(4, 10)))),
             ("too few rows", "'nll' is F64 [39]", dict(columns=dict(nll=Y[:-1]))),
             ("a scalar", "'top1' is I32 []", dict(columns=dict(top1=np.array(1, np.int32)))),
             ("another mean", "mean_nll is", dict(summary=dict(mean_nll=1.5))),
             ("another perplexity", "perplexity is", dict(summary=dict(perplexity=2))),
             ("no protocol", "protocol is ''", dict(summary=dict(protocol=...))),
             ("a protocol with other windows", "is not in window", dict(summary=dict(protocol="strided", stride=5))),
             ("documents that do not add up", "do not add up", dict(summary=dict(documents=dict(windows=[2, 3]))))]
    cases += [(f"no {c}", f"has no column '{c}'", dict(columns={c: None})) for c in records.COLUMNS]
    cases += [(f"{k} is {v!r}", f"'{k}' is not a whole number", dict(summary={k: v})) for k in ("scored", "windows", "tokens", "context", "stride")
              for v in (0, -1, 1.5, 2**31, 2**64, 1e300, "5", None, ...)]
    for name, says, change in cases:
        b = records.write(Y, 4, **change)
        runs = [compare(*pair, "--json") for pair in ((a, b), (b, a), (b, b))]
        check(all(r.returncode == 1 and b in r.stderr and says in r.stderr and r.stderr.count("\n") == 1 and not r.stdout for r in runs),
              f"refused: {name}", [(r.returncode, r.stderr[-300:]) for r in runs])


def hidden_runs():
    """-> folders of A and B with final hidden states; the summary and the columns of B"""
    text, folders = os.path.join(ROOT, "data", "demo", "text.txt"), []
    for name in ("bf16", "mxfp4"):
        folders.append(fresh())
        run("eval", os.path.join(ROOT, "data", "demo", name), "--text", text, "--context", 20, "--max-windows", 3, "--hidden", "--out",
            folders[-1], "--quiet")
    with open(os.path.join(folders[1], "summary.json")) as f:
        summary = json.load(f)
    del summary["sha256"]
    return *folders, summary, st.read(os.path.join(folders[1], "tokens.safetensors"))


def test_hidden():
    """Hidden states with digests that fit, which are no use: refused, whichever side they are on."""
    a, b, summary, columns = hidden_runs()
    sound = columns["hidden"]
    n, width = sound.shape

    def with_value(x):
        changed = sound.copy()
        changed[5, 3] = x
        return changed

    cases = [("NaN", "in the logits of scored token 5", with_value(np.nan), {}),
             ("infinity", "in the logits of scored token 5", with_value(np.inf), {}),
             ("other width", f"are [{n}, {2 * width}], expected [{n}, {width}]", np.concatenate([sound, sound], 1), {}),
             ("no width", f"are [{n}, 0], expected", sound[:, :0], {}),
             ("F64", f"'hidden' is F64 [{n}, {width}], expected F32 [{n}, hidden size]", sound.astype(np.float64), {}),
             ("a vector", f"'hidden' is F32 [{n}], expected F32 [{n}, hidden size]", sound[:, 0], {}),
             ("a row less", f"'hidden' is F32 [{n - 1}, {width}]", sound[:-1], {}),
             ("none", "has no column 'hidden'", None, {}),
             ("edited", "hidden_sha256 is", with_value(1), dict(hidden_sha256=summary["hidden_sha256"])),
             ("without digest", "expected none", sound, dict(hidden_sha256=None)),
             ("an unknown type", "hidden states are 'f16', expected", sound, dict(hidden="f16")),
             ("an unknown compute type", "computed in 'f8', expected", sound, dict(compute="f8")),
             ("no head", "no head_sha256", sound, dict(checkpoint=summary["checkpoint"] | dict(head_sha256=None))),
             ("another head", "the head has SHA-256", sound, dict(checkpoint=summary["checkpoint"] | dict(head_sha256="00"))),
             ("another checkpoint", "the head has SHA-256", sound, dict(checkpoint=summary["checkpoint"] | dict(
                 path=os.path.join(ROOT, "tests", "fixtures", "mini"))))]

    def lines(r):                                       # but the warning that A and B are swapped
        return [line for line in r.stderr.splitlines() if "swapped?" not in line]
    for name, says, hidden, members in cases:
        folder = fresh()
        os.mkdir(folder)
        data = {k: v for k, v in columns.items() if k != "hidden"} | ({} if hidden is None else {"hidden": hidden})
        st.write(os.path.join(folder, "tokens.safetensors"), data)
        digest = {} if hidden is None else dict(hidden_sha256=hashlib.sha256(np.ascontiguousarray(hidden).tobytes()).hexdigest())
        records.sign(summary | digest | members, folder)
        runs = [compare(*pair, "--json") for pair in ((a, folder), (folder, a))]
        left_out = name.startswith("another ")          # a warning, and the rest is compared
        check(all(r.returncode == (not left_out) and says in r.stderr and len(lines(r)) == 1
                  and left_out == ('"delta_nll"' in r.stdout) and "kld_stderr" not in r.stdout for r in runs),
              f"hidden states {'left out' if left_out else 'refused'}: {name}", [(r.returncode, r.stderr[-300:]) for r in runs])
    check(json.loads(compare(a, b, "--json").stdout)["mean_kld"] > 0, "and those of the run itself are not")


def damage(data, kind):
    at = rng.integers(min(len(data), 1200))
    if kind == 0:
        return data[:rng.integers(len(data))]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1:]
    if kind == 2:
        return data[:at] + rng.integers(0, 256, rng.integers(1, 30), np.uint8).tobytes() + data[at:]
    return data[:at] + b"9" * rng.integers(1, 25) + data[at + rng.integers(1, 20):]


def test_damaged(count=24 if RUNNER else 240):
    """Cut, flipped, filled up, overwritten with digits: refused, whatever it was."""
    a, sound = records.write(X, 4), records.write(Y, 4)
    signed = 0
    for i in range(count):
        name = ("summary.json", "tokens.safetensors")[i % 2]
        folder = fresh()
        shutil.copytree(sound, folder)
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            before = f.read()
        after = damage(before, i // 2 % 4)
        end = after.rfind(b',\n\t"sha256":')
        resign = i % 2 == 0 and end > 0 and i // 8 % 2
        if resign:                              # by someone who knows how
            after = after[:end] + b',\n\t"sha256":\t"' + hashlib.sha256(after[:end] + b"\n}").hexdigest().encode() + b'"\n}'
        with open(path, "wb") as f:
            f.write(after)
        r = compare(a, folder, "--json")
        # Of a summary signed anew, what nothing else contradicts (a version, say) is as it says.
        fine = r.returncode in (1, 2) and r.stderr.count("\n") == 1 and not r.stdout or (resign or after == before) and r.returncode == 0
        signed += bool(resign)
        if not fine:
            return check(False, f"damage {i} of {name}", (r.returncode, r.stderr[-500:], after[:1500]))
    check(signed >= count // 10, f"{count} damaged folders are refused", signed)


if __name__ == "__main__":
    for test in (test_known, test_figures, test_refused, test_hidden, test_damaged):
        attempt(test.__name__, test)
    done()
