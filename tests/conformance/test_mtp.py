"""`eval --mtp N`: the drafts of the MTP layer, against ../shared/goldens/tiny-mtp and, with random weights in every storage, against
float64; how they do not depend on threads, memory and plans; what is refused."""
import json
import os
import shutil

import fp8
import numpy as np
import safetensors_io as st
from changes import in_json
from mtp_layer import acceptance, add_layer, shapes
from program import SHARED, evaluate, fresh, ids_file, run

from check import attempt, check, done, skip

CHECKPOINT, GOLDENS = os.path.join(SHARED, "checkpoints", "tiny-mtp"), os.path.join(SHARED, "goldens", "tiny-mtp")
FIGURES = ("accepted", "mean_nll")


def mtp(checkpoint, ids, n, *options):
    return json.loads(run("eval", checkpoint, "--ids", ids_file(ids), "--mtp", n, "--json", *options).stdout)


def test_goldens():
    """Best tokens exactly; what is a mean of f32 logits, within 2e-6."""
    with open(os.path.join(GOLDENS, "mtp.json")) as f:
        golden = json.load(f)
    texts = (("a text", st.read(os.path.join(GOLDENS, "mtp.safetensors"))["ids"], "acceptance"),
             ("a greedy answer", golden["greedy_prompt"] + golden["greedy_ids"], "acceptance_of_greedy"))
    for what, ids, key in texts:
        found = mtp(CHECKPOINT, ids, 3, "--context", len(ids))["mtp"]
        for a, b in zip(found, golden[key], strict=True):
            name = f"drafts along {what}, draft {b['draft']}"
            check(a["draft"] == b["draft"] and a["positions"] == b["positions"] and abs(a["same_top1"] - b["same_top1"]) < 1e-12,
                  f"{name}: counts", f"{a}, expected {b}")
            off = max(abs(a[k] - b[k]) for k in FIGURES)
            check(off < 2e-6, f"{name}: means", f"off by {off:.2g}: {a}, expected {b}")


CASES = (                                   # fixture, storage of the experts, where the names begin
    ("a dense model, tied head", "dense-tied", "fused", "mtp."),
    ("a dense model with packed linears", "packed-dense", "fused", "mtp."),
    ("fused experts", "moe-odd", "fused", "mtp."),
    ("split experts", "moe-odd", "split", "mtp."),
    ("packed experts", "packed", "packed", "mtp."),
    ("names after `model.`", "moe-top1", "split", "model.mtp."),
    ("no full attention elsewhere", "all-linear", "fused", "mtp."),
)


def windows_of(ids, context):
    return [ids[i:i + context] for i in range(0, len(ids) - context + 1, context)]


def test_random(what, fixture, storage, prefix):
    """Two windows, of which the drafts are summed; the model's own states come from the program."""
    seed = sum(map(ord, fixture + storage))
    folder, w, c = add_layer(fixture, seed, storage, prefix)
    context, drafts = 21, 4
    ids = np.random.default_rng(seed).integers(0, c["vocab_size"], 2 * context)
    _, tokens = evaluate(folder, ids, "--context", context, "--hidden")
    hidden = tokens["hidden"].astype(float).reshape(2, context - 1, -1)
    truth = [acceptance(w, c, part, h, drafts) for part, h in zip(windows_of(ids, context), hidden, strict=True)]
    for found, *parts in zip(mtp(folder, ids, drafts, "--context", context)["mtp"], *truth, strict=True):
        n = sum(p["positions"] for p in parts)
        expected = dict(same_top1=sum(p["same_top1"] for p in parts) / n, accepted=sum(p["accepted"] for p in parts) / n,
                        mean_nll=sum(p["nll"] for p in parts) / n)
        off = max(abs(found[k] - v) for k, v in expected.items())
        check(found["positions"] == n and off < 5e-6, f"{what}: draft {found['draft']}", f"off by {off:.2g}: {found}, {expected}")


def test_repeatable():
    """The same bits with any threads and passes, alone and among plans; and what is not a draft keeps its bytes."""
    folder, _, c = add_layer("moe-odd", 3)
    ids = np.random.default_rng(1).integers(0, c["vocab_size"], 1200)
    options = ("--context", 150)
    once = mtp(folder, ids, 3, *options, "--threads", 1)
    for name, more in (("two threads", ("--threads", 2)), ("kernels in plain C", ("--isa", "scalar"))):
        other = mtp(folder, ids, 3, *options, *more)
        same = other["mtp"] == once["mtp"]
        near = max(abs(a[k] - b[k]) for a, b in zip(once["mtp"], other["mtp"]) for k in FIGURES)
        check(same if "threads" in name else near < 1e-6, f"{name} give the same drafts", f"{other['mtp']}, expected {once['mtp']}")
    for kilobytes in range(6000, 60000, 400):
        try:
            small = mtp(folder, ids, 3, *options, "--threads", 1, "--memory", f"{kilobytes}K")
            break
        except RuntimeError as e:
            if "too small" not in str(e):
                raise
    check(small["passes"] > 1 and small["mtp"] == once["mtp"], f"{small['passes']} passes give the drafts of one",
          f"{small['mtp']}, expected {once['mtp']}")
    plans = json.loads(run("eval", folder, "--ids", ids_file(ids), "--mtp", 3, "--json", "--plan", "strided:90:50", "--plan",
                           "disjoint:150").stdout)
    check(plans[1]["mtp"] == once["mtp"], "a plan among others has the drafts that it has alone", f"{plans[1]['mtp']}")
    outs = [fresh(), fresh()]
    for out, more in zip(outs, ((), ("--mtp", 2))):
        run("eval", folder, "--ids", ids_file(ids), "--protocol", "strided", "--context", 90, "--stride", 50, "--out", out, *more)
    with open(os.path.join(outs[0], "tokens.safetensors"), "rb") as a, open(os.path.join(outs[1], "tokens.safetensors"), "rb") as b:
        check(a.read() == b.read(), "scores keep their bytes beside drafts")


def test_fp8():
    """FP8 experts and linears are their values."""
    config, tensors = fp8.random_checkpoint(5)
    c, rng = config["text_config"], np.random.default_rng(5)
    for name, shape in shapes(c).items():
        tensors[f"mtp.{name}.weight"] = st.bf16(rng.normal(0, 1.5 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.2, shape))
    E, D, I = c["num_experts"], c["hidden_size"], c["moe_intermediate_size"]
    for name, shape in (("gate_up_proj", (E, 2 * I, D)), ("down_proj", (E, D, I))):
        tensors[f"mtp.layers.0.mlp.experts.{name}"] = st.bf16(rng.normal(0, shape[-1] ** -0.5, shape))
    stored, twin = fresh(), fresh()
    packed, _ = fp8.make(stored, twin, config, tensors)
    ids = rng.integers(0, c["vocab_size"], 60)
    found, expected = (mtp(f, ids, 3, "--context", 30)["mtp"] for f in (stored, twin))
    check(packed["mtp.layers.0.mlp.experts.1.up_proj.weight"].dtype == np.uint8 and found == expected,
          "FP8 weights draft as their values", f"{found}, expected {expected}")


def test_bf16():
    """BF16 compute: the same bits with any threads, and near f32."""
    folder, _, c = add_layer("moe-odd", 6)
    ids = np.random.default_rng(4).integers(0, c["vocab_size"], 400)
    f32, *bf16 = (mtp(folder, ids, 2, "--context", 100, *options)["mtp"] for options in (
        (), ("--compute", "bf16", "--threads", 1), ("--compute", "bf16", "--threads", 2)))
    check(bf16[0] == bf16[1], "bf16: two threads give the same drafts", bf16)
    off = max(abs(a[k] - b[k]) for a, b in zip(f32, bf16[0], strict=True) for k in FIGURES)
    check(1e-5 < off < 0.02, "bf16 is near f32, but not the same", off)


def test_strided():
    """Overlapping windows: each draft of a token that its window scores, once."""
    folder, w, c = add_layer("dense-tied", 8)
    ids, context, stride = np.random.default_rng(2).integers(0, c["vocab_size"], 70), 30, 20
    found = mtp(folder, ids, 2, "--protocol", "strided", "--context", context, "--stride", stride)["mtp"]
    # ids[0] is no target, nor ids[1] one of a draft, nor ids[2] of a second one
    check([d["positions"] for d in found] == [68, 67], "strided: each token has its draft once", found)
    whole = mtp(folder, ids, 2, "--context", len(ids))["mtp"]
    check([d["positions"] for d in whole] == [68, 67] and whole != found, "but from fewer tokens than in one window", whole)


def test_short():
    folder, _, c = add_layer("dense-tied", 8)
    found = mtp(folder, [1, 2, 3], 4, "--context", 3)["mtp"]
    check([d["positions"] for d in found] == [1, 0, 0, 0] and found[1]["accepted"] is None and found[3]["mean_nll"] is None,
          "windows that are too short for a draft have none", found)
    text = run("eval", folder, "--ids", ids_file([1, 2, 3]), "--context", 3, "--mtp", 2).stdout
    check("draft 1" in text and "accepted" in text and "too short" in text, "the report says so", text)


def refusal(folder, *options):
    try:
        mtp(folder, list(range(40)), 2, "--context", 20, *options)
        return None
    except RuntimeError as e:
        return str(e)


def test_refusals():
    whole, _, _ = add_layer("moe-odd", 4, "split")
    without, _, _ = add_layer("moe-odd", 4, "split", without=("mtp.",))
    changes = {
        "two layers": (in_json("config.json", lambda c: c.get("text_config", c).update(mtp_num_hidden_layers=2)), "mtp_num_hidden_layers is not 1"),
        "embeddings of its own": (in_json("config.json", lambda c: c.get("text_config", c).update(mtp_use_dedicated_embeddings=True)),
                                  "mtp_use_dedicated_embeddings is true"),
    }
    check("has no MTP layer (no tensor 'mtp.fc.weight')" in (refusal(without) or ""), "a checkpoint without the layer is refused", refusal(without))
    for part, words in (("mtp.fc", "missing tensor 'mtp.fc.weight'"), ("experts.1.up_proj", "missing tensor 'mtp.layers.0.mlp.experts.1.up_proj.weight'"),
                        ("mtp.norm", "missing tensor 'mtp.norm.weight'")):
        folder, _, _ = add_layer("moe-odd", 4, "split", without=(part,))
        check(words in (refusal(folder) or ""), f"a layer without {part} is refused by its name", refusal(folder))
        check(run("eval", folder, "--ids", ids_file(range(20)), "--context", 20, "--json").stdout, f"without drafts {part} is not missed")
    for name, (change, words) in changes.items():
        folder = fresh()
        shutil.copytree(whole, folder)
        change(folder)
        check(words in (refusal(folder) or ""), f"{name}: refused", refusal(folder))
    check("cannot be resumed" in (refusal(whole, "--out", fresh(), "--resume") or ""), "--resume is refused")
    for n in ("0", "9", "x", "-1"):
        try:
            mtp(whole, range(20), n)
            check(False, f"--mtp {n} is refused")
        except RuntimeError as e:
            check("a whole number from 1 to 8" in str(e), f"--mtp {n} is refused", e)


def main():
    if os.path.exists(CHECKPOINT) and os.path.exists(GOLDENS):
        attempt("goldens", test_goldens)
    else:
        skip("goldens", "no ../shared/goldens/tiny-mtp")
    for case in CASES:
        attempt(case[0], test_random, *case)
    for test in (test_repeatable, test_fp8, test_bf16, test_strided, test_short, test_refusals):
        attempt(test.__name__, test)
    done()


if __name__ == "__main__":
    main()
