"""A folder that MLX wrote (fixtures/mlx, by make_mlx_model.py): its names, stacked experts, turned convolutions and norms as 1 + w.

It gives the results of mlx_lm within f32 rounding, and those of its twin in the published layout and F32 bit for bit.
"""
import json
import os
import re
import shutil
import subprocess

import fp8
import numpy as np
import quantized
import safetensors_io as st
from program import FIXTURES, SURPRISAL, evaluate, fresh, run

from check import QUICK, attempt, check, done

FOLDER = os.path.join(FIXTURES, "mlx")
MODEL = os.path.join(FOLDER, "model.safetensors")
ADDED = ("input_layernorm.weight", "post_attention_layernorm.weight", "q_norm.weight", "k_norm.weight", "language_model.norm.weight")


def settings(config, module):
    said = config["quantization"].get(module, {})
    return dict(mode="affine") | {k: v for k, v in config["quantization"].items() if not isinstance(v, dict)} | (said or {})


def expand(config, module, parts):
    """{suffix: array} of one matrix -> F32"""
    s, rows = settings(config, module), parts[".weight"].shape[0]
    t = {".weight": ("U32", parts[".weight"]), ".scales": ("U8" if parts[".scales"].dtype == np.uint8 else "BF16", parts[".scales"])}
    if s["mode"] != "affine":
        return quantized.values(dict(kind="mlx mode", mode=s["mode"]), t, rows, parts[".weight"].shape[1] * 32 // s["bits"])
    t[".biases"] = "BF16", parts[".biases"]
    return quantized.values(dict(kind="mlx", bits=s["bits"], group=s["group_size"]), t, rows, parts[".weight"].shape[1] * 32 // s["bits"])


def read():
    """-> config, tensors as MLX has them"""
    config = json.load(open(os.path.join(FOLDER, "config.json")))
    return config, st.read(MODEL)


def published(name):
    return re.sub(r"^language_model\.lm_head", "lm_head", name).replace("language_model.model.", "model.language_model.")


def twin(config, tensors):
    out = {}
    for name, a in tensors.items():
        module, suffix = name.rsplit(".", 1)
        if suffix in ("scales", "biases"):
            continue
        parts = {"." + s: tensors[f"{module}.{s}"] for s in ("weight", "scales", "biases") if f"{module}.{s}" in tensors}
        to = published(name)
        stack = [{s: p[e] for s, p in parts.items()} for e in range(len(a))] if ".switch_mlp." in name else [parts]
        for e, one in enumerate(stack):
            to_one = to.replace(".switch_mlp.", f".experts.{e}.")
            if ".scales" in one:
                out[to_one] = expand(config, module, one)
            elif to.endswith(ADDED):
                out[to_one] = st.bf16(st.from_bf16(a) - np.float32(1))       # exact
            else:
                out[to_one] = a.transpose(0, 2, 1) if "conv1d" in name else a
    folder = fresh("twin")
    fp8.write(folder, {k: v for k, v in config.items() if not k.startswith("quantization")}, out)
    return folder, out


def test_results():
    config, tensors = read()
    results = json.load(open(os.path.join(FOLDER, "results.json")))
    other, expected = twin(config, tensors)
    options = ["--protocol", "disjoint", "--context", str(len(results["ids"]))]
    _, got = evaluate(FOLDER, results["ids"], *options)
    worst = np.abs(got["nll"] - np.array(results["nll"])).max()
    check(worst < 2e-5, "the nll of mlx_lm in F32, token by token", worst)
    for more in [[], ["--isa", "scalar"]] + ([] if QUICK else [["--compute", "bf16"], ["--isa", "openblas"]]):
        a, b = (evaluate(folder, results["ids"], *options, *more) for folder in (FOLDER, other))
        wrong = [key for key in b[1] if a[1][key].tobytes() != b[1][key].tobytes()]
        check(not wrong, f"the bits of its twin, {' '.join(more) or 'the best set'}", wrong)
        if more == ["--compute", "bf16"]:
            rounded = set(a[0]["checkpoint"]["rounded_to_bf16"])
            check(rounded == {"MLX2", "MLX3", "MLX4", "MLX5", "MLX6", "MLX8", "NVFP4"}, "BF16 compute rounds these, and says so", rounded)


def test_reports():
    config, tensors = read()
    other, expected = twin(config, tensors)
    inspected = json.loads(run("inspect", FOLDER, "--json").stdout)
    found = {d["dtype"] for m in inspected["modules"] for d in m["dtypes"]}
    check(found == {"MLX2", "MLX3", "MLX4", "MLX5", "MLX6", "MLX8", "MXFP4", "MXFP8", "NVFP4", "BF16"}, "inspect names the formats", found)
    check(not inspected["contradictions"], "the config says what the files hold", inspected["contradictions"])
    p = subprocess.run([SURPRISAL, "verify", FOLDER, "--against", other, "--json"], capture_output=True, text=True)
    report = json.loads(p.stdout)
    found = [f for f in report["findings"] if f["code"] != "merged"]
    lost = [t["sqnr_db"] for t in report["quantized_tensors"] if t["sqnr_db"] is not None]
    check(not found and not lost, "verify finds nothing, and nothing lost against the twin", (found[:3], lost[:3]))


def test_dequantize():
    config, tensors = read()
    _, expected = twin(config, tensors)
    out = fresh("out")
    run("dequantize", FOLDER, out, "--dtype", "f32", "--quiet")
    got = {}
    for file in os.listdir(out):
        if file.endswith(".safetensors"):
            got |= fp8.split_experts(st.read(os.path.join(out, file)))
    wrong = [name for name, a in expected.items() if name not in got or got[name].shape != a.shape or got[name].tobytes() != a.tobytes()]
    check(not wrong and len(got) == len(expected), "dequantize: the values of the twin, in the published layout", wrong[:5])
    config = json.load(open(os.path.join(out, "config.json")))
    check(not any(k.startswith("quantization") for k in config), "dequantize: a config without quantization", list(config))


def changed(edit=None, settings=None):
    """A copy with other tensors {name: (dtype, array)}, or with another config."""
    folder = fresh("broken")
    shutil.copytree(FOLDER, folder)
    path = os.path.join(folder, "model.safetensors")
    header, data = st.split(path)
    dtypes = {name: t["dtype"] for name, t in header.items() if name != "__metadata__"}
    tensors = st.read(path)
    if edit:
        edit(tensors, dtypes)
        os.remove(os.path.join(folder, "model.safetensors.index.json"))
        st.write(path, tensors, dtypes)
    if settings:
        with open(os.path.join(folder, "config.json")) as f:
            config = json.load(f)
        settings(config)
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f)
    return folder


STACK = "language_model.model.layers.0.mlp.switch_mlp.gate_proj."


def test_refusals():
    def part(suffix, change):
        return lambda t, _: t.update({STACK + suffix: change(t[STACK + suffix])})

    cases = [
        ("experts less one", part("weight", lambda a: a[1:]), None, "gate_proj.weight' has shape [2, 64, 16], expected the 3 experts of"),
        ("scales of experts less one", part("scales", lambda a: a[:2]), None, "gate_proj.scales' has shape [2, 64, 2], expected the 3 experts of"),
        ("no scales of experts", lambda t, _: t.pop(STACK + "scales"), None, "experts.0.gate_proj.scales' beside it"),
        ("empty experts", part("weight", lambda a: a[:, :0]), None, "gate_proj.weight' has shape [3, 0, 16], expected the 3 experts of"),
        ("experts of another size", part("weight", lambda a: a[:, :63]), None, "experts.0.gate_proj.weight' has shape [63, 16], expected [64, 16]"),
        ("more experts by the config", None, lambda c: c["text_config"].update(num_experts=4), "expected the 4 experts of"),
        ("2^40 experts by the config", None, lambda c: c["text_config"].update(num_experts=1 << 40), "experts of"),
        ("an unknown mode", None, lambda c: [c[k].update(mode="affine2") for k in ("quantization", "quantization_config")],
         "quantization_config.mode is \"affine2\", expected"),
    ]
    config, tensors = fp8.random_checkpoint(5)
    turned = fresh("turned")
    fp8.write(turned, config, {name: a.transpose(0, 2, 1) if "conv1d" in name else a for name, a in tensors.items()})
    folders = [(name, changed(edit, config), expected) for name, edit, config, expected in cases]
    folders.append(("turned convolutions and nothing else of MLX", turned, "the layout of MLX, whose converters also add 1 to the norms"))
    for name, folder, expected in folders:
        p = subprocess.run([SURPRISAL, "eval", folder, "--ids", os.devnull, "--out", fresh()], capture_output=True, text=True)
        lines = [line for line in p.stderr.splitlines() if line.startswith("surprisal:")]
        check(p.returncode == 1 and len(lines) == 1 and expected in lines[0], f"refused: {name}", p.stderr)


def main():
    attempt("results", test_results)
    attempt("reports", test_reports)
    attempt("dequantize", test_dequantize)
    attempt("refusals", test_refusals)
    done()


if __name__ == "__main__":
    main()
