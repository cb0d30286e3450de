"""FP8 with block scales gives, bit for bit, what its dequantized twin in F32 gives; what is broken is refused."""
import json
import os
import shutil

import fp8
import numpy as np
import safetensors_io as st
from program import ROOT, evaluate, fresh, run

from check import QUICK, attempt, check, done

DEMO = os.path.join(ROOT, "data", "demo")
Q_PROJ = "model.language_model.layers.1.self_attn.q_proj.weight"


def same_bits(name, packed, twin, source, *options):
    got, expected = (evaluate(folder, source, *options)[1] for folder in (packed, twin))
    wrong = [key for key in expected if got[key].tobytes() != expected[key].tobytes()]
    check(not wrong and np.isfinite(got["nll"]).all(), f"{name}: the bits of its twin in F32", wrong)


def random_twins(block, scale_dtype):
    packed, twin = fresh("fp8"), fresh("twin")
    config, tensors = fp8.random_checkpoint(7)
    written, dtypes = fp8.make(packed, twin, config, tensors, block, scale_dtype)
    return packed, twin, written, dtypes


def test_random(block, scale_dtype):
    packed, twin, _, _ = random_twins(block, scale_dtype)
    ids = np.random.default_rng(1).integers(0, 300, 600)
    for options in (["--isa", "scalar"], [], ["--compute", "bf16"], ["--threads", "1", "--memory", "64M"]):
        same_bits(f"hidden 320, experts of 200, blocks {block}, {scale_dtype} scales, {' '.join(options) or 'f32'}", packed, twin,
                  ids, "--protocol", "disjoint", "--context", "150", *options)


def demo_twins():
    """A copy of the demo checkpoint, with its tokenizer."""
    folder = os.path.join(DEMO, "bf16")
    packed, twin = fresh("fp8"), fresh("twin")
    config = json.load(open(os.path.join(folder, "config.json")))
    tensors = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            tensors |= st.read(os.path.join(folder, file))
    text = {name: a for name, a in tensors.items() if name.startswith(("model.language_model.", "lm_head."))}
    fp8.make(packed, twin, config, text)
    for file in os.listdir(folder):
        if "token" in file:
            for to in (packed, twin):
                shutil.copy(os.path.join(folder, file), to)
    return packed, twin


def test_demo():
    packed, twin = demo_twins()
    text = os.path.join(DEMO, "text.txt")
    for options in (["--protocol", "strided", "--stride", "200"], ["--protocol", "rolling", "--compute", "bf16"]):
        same_bits(f"demo, {' '.join(options)}", packed, twin, text, "--context", "512", *options)
    found = json.loads(run("inspect", packed, "--json").stdout)
    experts = next(m for m in found["modules"] if m["module"] == "routed experts")["dtypes"]
    check([d["dtype"] for d in experts] == ["FP8"] and found["contradictions"] == [],
          "inspect names the format, and finds no contradiction", (experts, found["contradictions"]))
    report = json.loads(run("verify", packed, "--json").stdout)
    check(report["findings"] == [], "verify has no findings", report["findings"])
    report = json.loads(run("verify", packed, "--against", twin, "--json").stdout)
    worst = min((t["sqnr_db"] for t in report["quantized_tensors"] if t["sqnr_db"] is not None), default=None)
    check(len(report["quantized_tensors"]) > 100 and worst is None, "against its twin nothing is lost", worst)
    try:
        run("quantize", packed, fresh("out"))
        check(False, "quantize refuses it", "it ran")
    except RuntimeError as e:
        check("FP8" in str(e) or "quantization_config" in str(e), "quantize refuses it", e)


def refused(name, packed, written, dtypes, change, expected, settings={}):
    """change(tensors, dtypes) breaks one thing."""
    broken, tensors, types = fresh("broken"), dict(written), dict(dtypes)
    change(tensors, types)
    config = json.load(open(os.path.join(packed, "config.json")))
    config["quantization_config"] |= settings
    fp8.write(broken, config, tensors, types)
    try:
        evaluate(broken, np.arange(100), "--protocol", "disjoint", "--context", "50")
        check(False, name, "it ran")
    except RuntimeError as e:
        check(expected in str(e), name, e)


def test_refusals():
    packed, _, written, dtypes = random_twins((128, 128), "BF16")
    scale = Q_PROJ + "_scale_inv"

    def put(name, value, at=(0, 0)):
        def change(tensors, _):
            tensors[name] = tensors[name].copy()
            tensors[name][at] = value
        return change

    def replace(name, make, dtype=None):
        def change(tensors, types):
            tensors[name] = make(tensors[name])
            types[name] = dtype
        return change
    cases = [
        ("a code that is NaN", put(Q_PROJ, 0x7F, (3, 17)), "q_proj.weight' has code 127, which is NaN, at [3, 17]"),
        ("a negative code that is NaN", put(Q_PROJ, 0xFF, (639, 319)), "has code 255, which is NaN, at [639, 319]"),
        ("a scale that is NaN", put(scale, 0x7FC0, (4, 2)), "weight_scale_inv' has a scale that is NaN or infinite, at [4, 2]"),
        ("a scale that is infinite", put(scale, 0x7F80), "has a scale that is NaN or infinite, at [0, 0]"),
        ("no scales", lambda t, _: t.pop(scale), f"'{Q_PROJ}' has no '{scale}' beside it"),
        ("scales of whole blocks alone", replace(scale, lambda a: a[:, :2]), f"'{scale}' has shape [5, 2], expected [5, 3]"),
        ("scales in I32", replace(scale, lambda a: a.astype(np.int32)), "has dtype I32, expected BF16, F32 or F8_E8M0"),
        ("scales beside a plain weight", replace(Q_PROJ, lambda a: np.zeros(a.shape, np.uint16)),
         f"'{scale}' is beside '{Q_PROJ}'"),
        ("codes of another shape", replace(Q_PROJ, lambda a: a[:, :-1], "F8_E4M3"), "has shape [640, 319], expected [640, 320]"),
        ("E5M2", replace(Q_PROJ, lambda a: a, "F8_E5M2"), "has dtype F8_E5M2, expected BF16, F16, F32, I8, U32, U8 or F8_E4M3"),
    ]
    for name, change, expected in cases:
        refused(name, packed, written, dtypes, change, expected)
    keep = lambda *_: None
    for name, settings, expected in (
            ("another block size", dict(weight_block_size=[64, 128]), "_scale_inv' has shape"),
            ("a block size of zero", dict(weight_block_size=[0, 128]), "weight_block_size is not a list of two numbers from 1"),
            ("a block size of one number", dict(weight_block_size=128), "weight_block_size is not a list of two numbers"),
            ("static activations", dict(activation_scheme="static"), "activation_scheme is \"static\", expected \"dynamic\""),
            ("E5M2 by the config", dict(fmt="e5m2"), "fmt is \"e5m2\", expected \"e4m3\"")):
        refused(name, packed, written, dtypes, keep, expected, settings)


def main():
    combinations = [((128, 128), "BF16"), ((128, 128), "F32"), ((32, 32), "F8_E8M0"), ((1, 128), "BF16"), ((100, 7), "F32")]
    for block, scale_dtype in combinations[:2] if QUICK else combinations:
        attempt(f"random, {block}, {scale_dtype}", test_random, block, scale_dtype)
    attempt("demo", test_demo)
    attempt("refusals", test_refusals)
    done()


if __name__ == "__main__":
    main()
