"""A model in each published format gives, bit for bit, what its twin in F32 gives; formats may differ from linear to linear.

The twin's values are quantized.values(), which is compared here with what the writers' own packages make of the same bytes
(format_goldens.npz, by make_format_goldens.py; mlx_goldens.npz, by make_mlx_goldens.py).
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
from program import ROOT, SURPRISAL, evaluate, fresh, run

from check import QUICK, attempt, check, done

GOLDENS = [os.path.join(os.path.dirname(os.path.abspath(__file__)), name) for name in ("format_goldens.npz", "mlx_goldens.npz")]
SIZES = (96, 120, 2, 1, 32, 1, 2, 16, 24, 3, 72, 40)     # hidden 96; o_proj 64, out_proj 48, experts 72, shared 40 columns
MLX_SIZES = (128, 120, 2, 1, 32, 1, 2, 32, 32, 3, 64, 64)
TOKENS = 120
LAYER = "model.language_model.layers.%d."
Q_PROJ = LAYER % 1 + "self_attn.q_proj"
DEMO_FORMATS = os.path.join(ROOT, "data", "demo", "formats")


def test_goldens():
    """Every case of the formats against the package that its row names."""
    goldens = {key: a for path in GOLDENS for key, a in np.load(path).items()}
    names = sorted({key.split("|")[0] for key in goldens})
    check(names == sorted(quantized.FORMATS), "there is a golden of every format", set(quantized.FORMATS) ^ set(names))
    for name in names:
        parts = {key.split("|")[1]: (key.split("|")[2], goldens[key]) for key in goldens if key.split("|")[0] == name}
        dtype, expected = parts.pop("value")
        got = quantized.values(quantized.FORMATS[name], parts, *expected.shape)
        check(quantized.same(got, expected), f"{name}: the values of {dtype}", np.flatnonzero(got != expected)[:5])


def is_linear(name, a):
    return name.endswith(".weight") and a.ndim == 2 and "embed_tokens" not in name


def write_model(folder, config, quantization, tensors):
    """tensors: {name: (dtype, array)}"""
    fp8.write(folder, config | (dict(quantization_config=quantization) if quantization else {}),
              {name: a for name, (_, a) in tensors.items()}, {name: dtype for name, (dtype, _) in tensors.items()})


def ignoring(quantization, modules):
    """The config, which says of these modules in its own language that they are plain."""
    method = quantization.get("quant_method")
    if not method:                          # MLX
        return quantization | {m: False for m in modules}
    if method == "gptq":
        return quantization | dict(dynamic={"-:" + re.escape(m) + "$": {} for m in modules})
    if method == "auto-round":
        return quantization | dict(extra_config={m: dict(bits=16) for m in modules})
    key = {"quark": "exclude", "awq": "modules_to_not_convert", "modelopt": "exclude_modules"}.get(method, "ignore")
    return quantization | {key: modules}


def make(formats, quantization, seed=3):
    """Each linear in the next of the formats that has its shape -> both folders, tensors, how many are packed"""
    rng = np.random.default_rng(seed)
    config, tensors = fp8.random_checkpoint(seed, MLX_SIZES if formats[0]["kind"].startswith("mlx") else SIZES)
    packed, twin, plain, n = {}, {}, [], 0
    for name, a in fp8.split_experts(tensors).items():
        f = formats[n % len(formats)]
        t = quantized.draw(f, *a.shape, rng) if is_linear(name, a) else None
        if t is None:
            packed[name] = twin[name] = ("BF16", a)
            plain += [name[:-len(".weight")]] if is_linear(name, a) else []
            continue
        packed |= {name[:-len(".weight")] + suffix: part for suffix, part in t.items()}
        twin[name] = "F32", quantized.values(f, t, *a.shape)
        n += 1
    folders = fresh("packed"), fresh("twin")
    write_model(folders[0], config, ignoring(quantization, plain), packed)
    write_model(folders[1], config, None, twin)
    return *folders, packed, n


def same_bits(name, packed, twin):
    """On every set of kernels of this machine, in F32 and BF16, in passes of many tokens and of one."""
    ids = np.random.default_rng(1).integers(0, 120, TOKENS)
    sets = [["--isa", "scalar"], []] + ([] if QUICK else [["--isa", "openblas"], ["--compute", "bf16"]])
    for options in sets:
        got, expected = (evaluate(folder, ids, "--protocol", "disjoint", "--context", "60", *options)[1] for folder in (packed, twin))
        wrong = [key for key in expected if got[key].tobytes() != expected[key].tobytes()]
        check(not wrong and np.isfinite(got["nll"]).all(), f"{name}: the bits of its twin, {' '.join(options) or 'the best set'}",
              wrong)


def verify(packed, *options):
    """Whatever it finds."""
    done = subprocess.run([SURPRISAL, "verify", packed, *options, "--json"], capture_output=True, text=True)
    return json.loads(done.stdout)


def test_format(name):
    f = quantized.FORMATS[name]
    packed, twin, _, n = make([f], f["config"])
    same_bits(name, packed, twin)
    report = verify(packed, "--against", twin)
    found = [finding for finding in report["findings"] if finding["code"] != "merged"]
    check(found == [], f"{name}: verify has no findings, but that engines want experts of one format", found[:3])
    if name == "NVFP4" or "act order" in name:      # bytes against bytes, each once
        broken = fresh("other")
        shutil.copytree(packed, broken)
        path = os.path.join(broken, "model.safetensors")
        header, data = st.split(path)
        begin, _ = header[Q_PROJ + (".weight_global_scale" if name == "NVFP4" else ".scales")]["data_offsets"]
        st.join(path, header, data[:begin + 1] + bytes([data[begin + 1] ^ 1]) + data[begin + 2:])
        differs = [f["text"] for f in verify(packed, "--against", broken)["findings"] if f["code"] == "differs"]
        check(differs == ["1 bytes of codes and scales are not the original's"], f"{name}: verify counts the bytes that differ", differs)
    lost = [t["sqnr_db"] for t in report["quantized_tensors"] if t["sqnr_db"] is not None]
    check(len(report["quantized_tensors"]) == n > 5 and not lost, f"{name}: verify finds each of {n} weights, and nothing lost",
          (len(report["quantized_tensors"]), lost))


MIXED = ["FP8, a scale each row", "FP8 in blocks", "MXFP8", "NVFP4", "NVFP4 of modelopt", "INT4, groups of 32", "INT4, asymmetric, F32",
         "INT8 of W8A8", "INT8 in words, a scale each row", "GPTQ, 4 bits, zeros 7", "AWQ", "MXFP6"]


def test_mixed():
    """All in one layer, with a config that says next to nothing."""
    packed, twin, _, _ = make([quantized.FORMATS[name] for name in MIXED], quantized.TENSORS | dict(format="mixed-precision"))
    same_bits("formats mixed", packed, twin)
    inspected = json.loads(run("inspect", packed, "--json").stdout)
    summary, _ = evaluate(packed, np.arange(20), "--protocol", "disjoint", "--context", "20", "--compute", "bf16")
    rounded = {"FP8", "NVFP4", "INT4", "INT8", "GPTQ4", "AWQ4"}
    check(set(summary["checkpoint"]["rounded_to_bf16"]) == rounded, "the report names what BF16 compute has rounded",
          summary["checkpoint"])
    found = {d["dtype"] for m in inspected["modules"] for d in m["dtypes"]}
    check(found >= {"FP8", "MXFP8", "NVFP4", "INT4", "INT8", "GPTQ4", "AWQ4", "MXFP6_E2M3", "BF16"}, "inspect names them", found)


def test_dequantize():
    """To F32: the twin's values.  To BF16: these rounded, and as many counted as that changed."""
    packed, twin, _, _ = make([quantized.FORMATS[name] for name in MIXED], quantized.TENSORS | dict(format="mixed-precision"))
    expected = fp8.split_experts(st.read(os.path.join(twin, "model.safetensors")))
    for dtype in ("f32", "bf16"):
        out = fresh("out")
        result = json.loads(run("dequantize", packed, out, "--dtype", dtype, "--json", "--quiet").stdout)
        got, wrong, rounded = {}, [], 0
        for file in os.listdir(out):
            if file.endswith(".safetensors"):
                got |= fp8.split_experts(st.read(os.path.join(out, file)))
        for name, a in expected.items():
            if a.dtype == np.float32 and dtype == "bf16":
                rounded += int((st.from_bf16(st.bf16(a)) != a).sum())
                a = st.bf16(a)
            if name in got and got[name].dtype > a.dtype:       # experts beside packed ones become one tensor with them
                a = st.from_bf16(a)
            wrong += [name] * (name not in got or got[name].tobytes() != a.tobytes())
        check(not wrong and len(got) == len(expected), f"dequantize to {dtype}: the values of the twin", wrong[:5])
        check(result["rounded"] == rounded, f"dequantize to {dtype}: {rounded} weights rounded", result["rounded"])


def test_refusals():
    """{format: [(name, what is done to the tensors of q_proj, in the message)]}"""
    def put(suffix, at, value):
        def change(t):
            dtype, a = t[suffix]
            a = a.copy()
            a[at] = value
            t[suffix] = dtype, a
        return change

    def replace(suffix, part):
        return lambda t: t.update({suffix: part(t[suffix]) if callable(part) else part})

    def drop(suffix):
        return lambda t: t.pop(suffix)
    F32 = lambda x: ("F32", np.array(x, np.float32))
    cases = {
        "FP8, a scale each row": [
            ("a scale that is NaN", put(".weight_scale", (5, 0), 0x7FC0), "weight_scale' has a scale that is NaN or infinite, at [5, 0]"),
            ("a code that is NaN", put(".weight", (7, 3), 0x7F), "q_proj.weight' has code 127, which is NaN, at [7, 3]"),
            ("scales of half the rows, and a row", replace(".weight_scale", lambda s: (s[0], s[1][:65, :0])),
             "weight_scale' has shape [65, 0], expected [128, 1] or blocks"),
            ("scales in I32", replace(".weight_scale", ("I32", np.zeros((128, 1), np.int32))), "has dtype I32, expected"),
            ("no scales", drop(".weight_scale"), "' has no '"),
            ("a smoothed input", lambda t: t.update({".pre_quant_scale": F32(np.ones(96))}), "pre_quant_scale' is not part of this model"),
            ("nothing in its rows", lambda t: t.update({".weight": (t[".weight"][0], t[".weight"][1][:, :0])}), "weight' has shape [128, 0], expected [128, 96]"),
            ("a bias", lambda t: t.update({".bias": F32(np.ones(128))}), "bias' is not part of this model"),
            ("zero points of AutoRound's FP8", lambda t: t.update({".weight_zp": F32(0)}), "weight_zp' is not part of this model"),
            ("a second scale", lambda t: t.update({".weight_scale_inv": F32(np.ones((1, 1)))}), "' is beside '")],
        "NVFP4": [
            ("a global scale of zero", replace(".weight_global_scale", F32([0])), "has a scale that is not a number above 0"),
            ("a global scale that is infinite", replace(".weight_global_scale", F32([np.inf])), "a scale that is not a number above 0"),
            ("a negative block scale", put(".weight_scale", (2, 1), 0xB8), "weight_scale' has a scale that is negative, at [2, 1]"),
            ("a NaN block scale", put(".weight_scale", (2, 1), 0x7F), "weight_scale' has a scale that is NaN or infinite, at [2, 1]"),
            ("two global scales", replace(".weight_global_scale", F32([1, 1])), "weight_global_scale' has shape [2], expected []"),
            ("no global scale", drop(".weight_global_scale"), "weight_global_scale' beside it")],
        "INT4, groups by column": [
            ("a group out of range", put(".weight_g_idx", 17, 6), "weight_g_idx' has group 6 at [17], expected one of 6"),
            ("a negative group", put(".weight_g_idx", 17, -1), "weight_g_idx' has group -1 at [17], expected one of 6"),
            ("groups of fewer columns", replace(".weight_g_idx", lambda s: (s[0], s[1][:-1])), "has shape [95], expected [96]"),
            ("another shape by name", put(".weight_shape", 1, 95), "weight_shape' says [128, 95], expected [128, 96]"),
            ("a negative shape", put(".weight_shape", 0, -1), "weight_shape' says [-1, 96], expected [128, 96]")],
        "INT8 of W8A8, asymmetric, groups": [
            ("zero points without scales", drop(".weight_scale"), "weight_scale' beside it")],
        "INT4, asymmetric, F32": [
            ("zero points of other groups", replace(".weight_zero_point", lambda s: (s[0], s[1][:, :1])),
             "weight_zero_point' has shape [16, 1], expected [16, 2]"),
            ("a scale that is infinite", put(".weight_scale", (1, 1), np.inf), "a scale that is NaN or infinite, at [1, 1]")],
        "MLX, 4 bits, groups of 32": [
            ("biases of other groups", replace(".biases", lambda s: (s[0], s[1][:, :1])), "biases' has shape [128, 1], expected [128, 4]"),
            ("biases of another type", replace(".biases", lambda s: ("F16", s[1].view(np.float16))),
             "biases' has dtype F16, expected BF16 as the scales have"),
            ("a bias that is NaN", put(".biases", (3, 1), 0x7FC0), "biases' has a bias that is NaN or infinite, at [3, 1]"),
            ("a scale that is infinite", put(".scales", (3, 1), 0x7F80), "scales' has a scale that is NaN or infinite, at [3, 1]"),
            ("groups of 16", replace(".scales", lambda s: (s[0], np.repeat(s[1], 2, 1))), "scales' has shape [128, 8], expected [128, 2]"),
            ("no groups", replace(".scales", lambda s: (s[0], s[1][:, :0])), "scales' has shape [128, 0], expected [128, 2]"),
            ("no biases", drop(".biases"), "biases' beside it"),
            ("neither", lambda t: (t.pop(".biases"), t.pop(".scales")), "weight' has dtype U32, expected"),
            ("a row less", replace(".weight", lambda s: (s[0], s[1][1:])), "weight' has shape [127, 16], expected [128, 16]"),
            ("a word more in each row", replace(".weight", lambda s: (s[0], np.pad(s[1], ((0, 0), (0, 1))))),
             "weight' has shape [128, 17], expected [128, 16]")],
        "MLX, nvfp4": [
            ("a negative scale", put(".scales", (2, 1), 0xB8), "scales' has a scale that is negative, at [2, 1]"),
            ("a NaN scale", put(".scales", (2, 1), 0x7F), "scales' has a scale that is NaN or infinite, at [2, 1]")],
        "GPTQ, 4 bits, act order": [
            ("a group out of range", put(".g_idx", 3, 1000), "g_idx' has group 1000 at [3], expected one of 6"),
            ("a zero point that is not the middle", put(".qzeros", (2, 0), 0x77777797), "qzeros' has a zero point that is not the middle"),
            ("codes of 7 columns more", replace(".qweight", lambda s: (s[0], np.concatenate([s[1], s[1][:1]]))),
             "qweight' has shape [13, 128], expected [12, 128]"),
            ("no scales", drop(".scales"), "' has no '")],
    }
    ids = np.arange(40)
    for format, changes in cases.items():
        f = quantized.FORMATS[format]
        folder, _, tensors, _ = make([f], f["config"])
        config = json.load(open(os.path.join(folder, "config.json")))
        for name, change, expected in changes:
            broken = fresh("broken")
            own = {key[len(Q_PROJ):]: part for key, part in tensors.items() if key.startswith(Q_PROJ + ".")}
            change(own)
            rest = {key: part for key, part in tensors.items() if not key.startswith(Q_PROJ + ".")}
            write_model(broken, config, None, rest | {Q_PROJ + suffix: part for suffix, part in own.items()})
            try:
                evaluate(broken, ids, "--protocol", "disjoint", "--context", "20")
                check(False, f"{format}: {name}", "it ran")
            except RuntimeError as e:
                lines = [line for line in str(e).splitlines() if "surprisal:" in line]
                check(expected in str(e) and len(lines) == 1, f"{format}: {name}", e)
            fault = re.search(r"a (scale|bias|zero point) that is [\w ]+", expected)
            if fault:
                found = [f["text"] for f in verify(broken)["findings"] if f["code"] == "scale-nan"]
                check(len(found) == 1 and fault[0] in found[0], f"{format}: {name}: verify says so", found)


def test_files_beside():
    """quantization_config in a file of its own, as GPTQ's writers and modelopt have it: read as if it were in config.json."""
    def beside(format, write):
        """A copy of a demo model without quantization_config -> folder, what it had; write makes the file's content of that"""
        folder = fresh()
        shutil.copytree(os.path.join(DEMO_FORMATS, format), folder)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        name, content = write(config.pop("quantization_config"))
        for path, what in (("config.json", config), (name, content)):
            with open(os.path.join(folder, path), "w", encoding="utf-8") as f:
                json.dump(what, f)
        return folder

    def modelopt(said):
        return "hf_quant_config.json", {"producer": {"name": "modelopt"}, "quantization": {
            "quant_algo": said["quant_algo"], "group_size": 16, "kv_cache_quant_algo": None, "exclude_modules": said["ignore"]}}

    def gptq(said):
        return "quantize_config.json", {key: value for key, value in said.items() if key != "quant_method"}
    ids = list(range(100, 140))
    for format, write in (("gptq", gptq), ("nvfp4", modelopt)):
        folder = beside(format, write)
        (summary, got), (_, expected) = (evaluate(f, ids, "--context", 40) for f in (folder, os.path.join(DEMO_FORMATS, format)))
        check(np.array_equal(got["nll"], expected["nll"]) and not summary["warnings"], f"{format}: its config in a file of its own", summary["warnings"])
        out = fresh()
        run("dequantize", folder, out)
        check(not any("quant" in name for name in os.listdir(out)) and "quantization_config" not in open(os.path.join(out, "config.json")).read(),
              f"{format}: dequantize leaves that file behind", os.listdir(out))
        without = beside(format, lambda said: ("unread.json", {}))
        summary, got = evaluate(without, ids, "--context", 40)
        check(np.array_equal(got["nll"], expected["nll"]) and any("no quantization_config" in w for w in summary["warnings"]),
              f"{format}: without it tensors decide, with a warning", summary["warnings"])
        for what, content in (("a list", []), ("null", None)):
            bad = beside(format, lambda said, content=content: (write(said)[0], content))
            r = subprocess.run([SURPRISAL, "inspect", bad], capture_output=True, text=True, check=False)
            check(r.returncode == 1 and write(dict(quant_algo="", ignore=[]))[0] + ": " in r.stderr and "is not an object" in r.stderr
                  and r.stderr.count("\n") == 1, f"{format}: {what} in its place", r.stderr)


def main():
    attempt("goldens", test_goldens)
    for name in list(quantized.FORMATS)[::4 if QUICK else 1]:
        attempt(name, test_format, name)
    attempt("mixed", test_mixed)
    attempt("dequantize", test_dequantize)
    attempt("refusals", test_refusals)
    attempt("files beside", test_files_beside)
    done()


if __name__ == "__main__":
    main()
