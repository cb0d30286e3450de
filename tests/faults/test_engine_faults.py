"""Faults that people of this field meet, in the engine, the trace and the command line: a test for each row of the list, by
its number (16.21, 16.22, 16.27)."""
import json
import os
import subprocess
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
import safetensors_io as st
from check import attempt, check, done
from nan import with_nan
from program import FIXTURES, SURPRISAL, evaluate, fresh, ids_file, run

BF16, MXFP4 = (os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4"))
IDS = [int(i) for i in np.random.default_rng(16).integers(0, 500, 40)]


def program(*args):
    return subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=600)


def fresh_trace(tensors):
    path = fresh("theirs")
    st.write(path, tensors)
    return path


def head(folder):
    """The weights [V, D] of the head."""
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            tensors = st.read(os.path.join(folder, name))
            if "lm_head.weight" in tensors:
                return st.from_bf16(tensors["lm_head.weight"])
    raise KeyError("lm_head.weight")


# ---- 16.27: misspelt options and commands ---------------------------------------

MISSPELT = [    # what is wrong with the word, arguments, the name that is offered; None: none is
    ("a letter is missing", ["eval", "--txt", "FILE"], "--text"),
    ("a letter is missing, with a value", ["eval", "--txt=FILE"], "--text"),
    ("a letter is too many", ["eval", "--contextt", "8"], "--context"),
    ("two letters are swapped", ["eval", "--protcool", "rolling"], "--protocol"),
    ("the beginning of a name", ["eval", "--cont", "8"], "--context"),
    ("one dash", ["eval", "-text", "FILE"], "--text"),
    ("an underscore", ["eval", "--max_windows", "3"], "--max-windows"),
    ("capitals", ["eval", "--Text", "FILE"], "--text"),
    ("an option of compare", ["compare", "--htm", "FILE"], "--html"),
    ("no name is near", ["eval", "--foo"], None),
    ("a letter alone", ["eval", "-x"], None),
    ("a word of 5000 letters", ["eval", "--" + "text" * 1250], None),
    ("nothing before the value", ["eval", "--=3"], None),
    ("a command without a letter", ["evl", "FOLDER"], "eval"),
    ("a command with swapped letters", ["comapre"], "compare"),
    ("a command as an option", ["--eval"], "eval"),
    ("an option as a command", ["version"], "--version"),
    ("no command is near", ["xyz"], None),
]


def test_misspelt():
    for name, args, offered in MISSPELT:
        r = program(*args)
        lines = r.stderr.splitlines()
        says = f"did you mean {offered}?" in r.stderr if offered else "did you mean" not in r.stderr
        check(r.returncode == 2 and len(lines) == 1 and says and "unknown" in r.stderr and not r.stdout,
              f"16.27 {name}: {offered or 'nothing'} is offered", r.stderr[-300:])


# ---- 16.21: the state after the last norm, bf16, other programs' traces ----------

def config(folder):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    return c.get("text_config", c)


def norm_weight(folder):
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            for key, value in st.read(os.path.join(folder, name)).items():
                if key.endswith("model.norm.weight") or key.endswith("language_model.norm.weight"):
                    return st.from_bf16(value)
    raise KeyError("norm.weight")


def traced(*options, checkpoint=BF16, ids=None):
    out = fresh("trace")
    run("trace", checkpoint, "--ids", ids or ids_file(IDS), "--out", out, *options)
    return st.read(out)


def against(tensors, *options, checkpoint=BF16, dtypes={}):
    path = fresh("theirs")
    st.write(path, tensors, dtypes)
    return json.loads(run("trace", checkpoint, "--against", path, "--json", *options).stdout)


def steps(found):
    """{(step, layer): its row}"""
    return {(s["step"], s["layer"]): s for s in found["steps"]}


def test_trace():
    c, t = config(BF16), traced()
    T, D = len(IDS), c["hidden_size"]
    check(t["hidden"].shape == (T, D) and t["hidden"].dtype == np.float32, "16.21 a trace has hidden [T, D]", t["hidden"].shape)
    x = t["residual"][-1].astype(np.float64)
    expected = x / np.sqrt((x * x).mean(-1, keepdims=True) + c["rms_norm_eps"]) * (1 + norm_weight(BF16))
    error = np.abs(t["hidden"] - expected).max() / np.abs(expected).max()
    check(error < 1e-6, "16.21 hidden is the residual after norm, times 1 + w", error)
    _, rows = evaluate(BF16, IDS, "--hidden", "--context", str(T))
    check(np.array_equal(rows["hidden"], t["hidden"][:-1]), "16.21 hidden has the bits that eval --hidden keeps")
    b = traced("--compute", "bf16")
    _, rows = evaluate(BF16, IDS, "--hidden", "--context", str(T), "--compute", "bf16")
    check(np.array_equal(rows["hidden"], b["hidden"][:-1]), "16.21 --compute bf16: hidden has the bits that eval keeps")
    check(np.array_equal(st.from_bf16(st.bf16(b["residual"])), b["residual"]) and not np.array_equal(b["hidden"], t["hidden"]),
          "16.21 --compute bf16: the residual stream is BF16")


def test_against():
    t = dict(traced())
    L = config(BF16)["num_hidden_layers"]
    same = against(t)
    check(same["first_beyond"] is None and all(s["whole"]["largest"] == 0 == s["alone"]["largest"] for s in same["steps"]),
          "16.21 against its own trace: no difference", same["first_beyond"])
    check([(s["step"], s["layer"]) for s in same["steps"]] == [("layer", i) for i in range(L)] + [("norm", None), ("head", None)],
          "16.21 steps: layers, norm, head apart", same["steps"])
    r = run("trace", BF16, "--against", fresh_trace(t))
    check("No step differs by more than rounding." in r.stdout, "16.21 the text says that all is rounding", r.stdout)

    w = norm_weight(BF16)
    without = dict(t, hidden=(t["hidden"] * (w / (1 + w))).astype(np.float32))
    without["logits"] = (without["hidden"].astype(np.float64) @ head(BF16).T).astype(np.float32)
    found = against(without)
    rows, first = steps(found), found["first_beyond"]
    check(first and first["step"] == "norm" and first["token"] == 0, "16.21 a missing 1 + w is found in the norm", first)
    check(rows["head", None]["tokens_beyond"] == 0 and rows["head", None]["whole"]["rms"] > 0.1,
          "16.21 and not in the head, though its logits differ", rows["head", None])

    wrong = dict(t, logits=np.roll(t["logits"], 1, 1))
    first = against(wrong)["first_beyond"]
    check(first and first["step"] == "head", "16.21 a wrong head is found there", first)

    for token, size in ((7, 1e-3), (0, 1e-4)):
        x = t["residual"].copy()
        x[3, token] += size * np.abs(x[3, token]).max() * np.sign(x[3, token])
        found = against(dict(t, residual=x))
        rows, first = steps(found), found["first_beyond"]
        check(first and (first["step"], first["layer"], first["token"]) == ("layer", 3, token) and rows["layer", 3]["tokens_beyond"] == 1,
              f"16.21 a difference of {size} is found in its layer and token", first)
        expected = np.abs(x[3].astype(np.float64) - t["residual"][3])
        got = rows["layer", 3]["whole"]
        check(np.isclose(got["largest"], expected.max()) and np.isclose(got["rms"], np.sqrt((expected ** 2).mean())),
              "16.21 largest and RMS difference as numpy has them", (got, expected.max()))

    x = t["residual"].copy()
    x[2, 5, 3] = np.nan
    found = against(dict(t, residual=x))
    first = found["first_beyond"]
    check(first and (first["layer"], first["token"], first["rms"]) == (2, 5, None) and steps(found)["layer", 2]["whole"]["largest"] is None,
          "16.21 a NaN of theirs is beyond rounding", first)


def test_against_routing():
    t = dict(traced())
    E = config(BF16)["num_experts"]
    swapped = dict(t, routing=t["routing"][:, :, ::-1].astype(np.int64))
    found = against(swapped)
    check(all(s["other_experts"] in (0, None) for s in found["steps"]) and found["first_beyond"] is None,
          "16.21 the order of the experts does not count", found["first_beyond"])
    r, x = t["routing"].copy(), t["residual"].copy()
    r[4, 9, 0] = next(e for e in range(E) if e not in r[4, 9])
    x[4, 9] *= 1.5
    found = against(dict(t, routing=r, residual=x))
    check(steps(found)["layer", 4]["other_experts"] == 1 and found["first_beyond"] is None,
          "16.21 one expert of one token: counted, but rounding may do that", found["first_beyond"])
    r[4] = (r[4] + 1) % E
    x[4] *= 1.5
    first = against(dict(t, routing=r, residual=x))["first_beyond"]
    check(first and first["layer"] == 4 and first["other_experts"] is True, "16.21 other experts for all tokens: the router", first)


def test_against_subset():
    t = dict(traced())
    for names in (["hidden"], ["logits"], ["residual"], ["routing"], ["hidden", "logits"]):
        part = {name: t[name] for name in names}
        found = against(part, "--ids", ids_file(IDS))
        compared = {s["step"] for s in found["steps"] if s["whole"]}
        expected = {{"residual": "layer", "hidden": "norm", "logits": "head"}[n] for n in names if n != "routing"}
        check(compared == expected and set(found["absent"]) == {"residual", "routing", "hidden", "logits"} - set(names)
              and found["first_beyond"] is None, f"16.21 a trace that holds {' and '.join(names)} only", (compared, found["absent"]))
    found = against(dict(t, other=np.zeros(3, np.float32)))
    check(found["ignored"] == ["other"], "16.21 a name that means nothing here is named", found["ignored"])
    half = {name: t[name] if name in ("ids", "routing") else st.bf16(t[name]) for name in t}
    found = against(half, dtypes={"residual": "BF16", "hidden": "BF16", "logits": "BF16"})
    check(found["rounding"] == "BF16" and found["first_beyond"] is None, "16.21 states in BF16: compared by its rounding", found)
    single = {name: st.from_bf16(x) if x.dtype == np.uint16 else x for name, x in half.items()}
    check(against(single)["rounding"] == "BF16", "16.21 BF16 values in F32 count as BF16")
    f16 = {name: t[name] if name in ("ids", "routing") else t[name].astype(np.float16) for name in t}
    found = against(f16)
    check(found["rounding"] == "F16" and found["first_beyond"] is None, "16.21 states in F16", found["first_beyond"])
    found = against({n: x.astype(np.float64) if x.dtype == np.float32 else x for n, x in t.items()})
    check(found["rounding"] == "F32" and found["first_beyond"] is None, "16.21 states in F64", found["first_beyond"])


def test_against_rounding():
    """The floor holds for kernels that sum in another order, and for BF16."""
    for checkpoint in (BF16, MXFP4, *(os.path.join(FIXTURES, name) for name in ("all-linear", "dense-tied", "moe-top1"))):
        ids = ids_file(np.random.default_rng(0).integers(0, config(checkpoint)["vocab_size"], 64))
        for theirs, ours, rounding in (((), (), "F32"), (("--compute", "bf16"), (), "BF16"), ((), ("--compute", "bf16"), "BF16")):
            more = ("--isa", "scalar") if rounding == "F32" else ()
            found = against(traced(*theirs, *more, checkpoint=checkpoint, ids=ids), *ours, checkpoint=checkpoint)
            check(found["first_beyond"] is None and found["rounding"] == rounding,
                  f"16.21 {os.path.basename(checkpoint)}, {theirs or 'scalar'} beside {ours or 'f32'}: rounding only", found["first_beyond"])


def test_against_refusals():
    t = dict(traced())
    first = t["residual"][:1]
    cases = [
        ("another number of layers", dict(t, residual=t["residual"][1:]), [], ["'residual' is [", "expected ["]),
        ("the embedding as a layer", dict(t, residual=np.concatenate([first, t["residual"]])), [], ["without the embedding"]),
        ("states of integers", dict(t, hidden=t["hidden"].astype(np.int32)), [], ["'hidden' is I32"]),
        ("another length", dict(t, logits=t["logits"][1:]), [], ["'logits' is ["]),
        ("other ids", t, ["--ids", ids_file(IDS[:-1] + [1])], [f"id {len(IDS) - 1} is"]),
        ("fewer ids", t, ["--ids", ids_file(IDS[:-1])], [f"holds {len(IDS)} ids"]),
        ("no ids", {"hidden": t["hidden"]}, [], ["--ids"]),
        ("nothing to compare", {"ids": t["ids"]}, [], ["none of residual, routing, hidden and logits"]),
        ("an id beyond the vocabulary", {"ids": np.array([10 ** 9], np.int32), "hidden": t["hidden"][:1]}, [], ["1000000000"]),
        ("an id that does not fit", {"ids": np.array([2 ** 40]), "hidden": t["hidden"][:1]}, [], ["id 0 is 1099511627776"]),
    ]
    for name, tensors, options, says in cases:
        path = fresh_trace(tensors)
        r = program("trace", BF16, "--against", path, *options)
        check(r.returncode == 1 and all(s in r.stderr for s in [path, *says][name.startswith("an id beyond"):])
              and r.stderr.count("\n") == 1, f"16.21 refused: {name}", r.stderr)
    own = fresh_trace(t)
    r = program("trace", BF16, "--against", own, "--out", own)
    check(r.returncode == 1 and "input" in r.stderr, "16.21 the other trace is not written over", r.stderr)
    for name, args in (("neither out nor against", ["--ids", own]), ("json without against", ["--ids", own, "--out", fresh(), "--json"])):
        r = program("trace", BF16, *args)
        check(r.returncode == 2, f"16.21 refused: {name}", r.stderr)
    out = fresh("out")
    run("trace", BF16, "--against", own, "--out", out)
    check(all(np.array_equal(x, t[n]) for n, x in st.read(out).items()), "16.21 --out beside --against: our own trace is written")



# ---- 16.22: a NaN names what it is from -------------------------------------------

def test_nan():
    """The token that is named is the first that the expert gets, by the trace of the sound checkpoint."""
    routing = traced()["routing"][2]
    for expert in (int(routing[0, 0]), int(routing[21, 1])):
        token = int(np.argwhere((routing == expert).any(1))[0, 0])
        for compute in ("f32", "bf16"):
            if compute == "bf16":
                bf16 = traced("--compute", "bf16")["routing"][2]
                token = int(np.argwhere((bf16 == expert).any(1))[0, 0])
            r = program("eval", with_nan(BF16, "layers.2.mlp.experts.down_proj", (expert, 1, 1)), "--ids", ids_file(IDS), "--context", "40",
                        "--compute", compute, "--quiet")
            says = f"layer 2, mlp, expert {expert}: NaN or infinity at token {token} of window 0"
            check(r.returncode == 1 and says in r.stderr, f"16.22 {compute}: a NaN of expert {expert} is named as its", (says, r.stderr))
    for pattern, where, says in (("layers.3.mlp.shared_expert.down_proj.weight", (1, 1), "layer 3, mlp, shared expert: NaN or infinity at token 0"),
                                 ("layers.3.mlp.gate.weight", (1, 1), "layer 3, mlp, router: NaN or infinity at token 0"),
                                 ("layers.3.self_attn.o_proj.weight", (1, 1), "layer 3, self_attn: NaN or infinity at token 0")):
        r = program("eval", with_nan(BF16, pattern, where), "--ids", ids_file(IDS), "--context", "20", "--quiet")
        check(r.returncode == 1 and f"{says} of window 0" in r.stderr, f"16.22 {says}", r.stderr)


attempt("16.27", test_misspelt)
for test in (test_trace, test_against, test_against_routing, test_against_subset, test_against_rounding, test_against_refusals,
             test_nan):
    attempt(test.__name__, test)
done()
