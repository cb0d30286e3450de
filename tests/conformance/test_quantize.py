"""quantize and dequantize: qstream's bytes, what the other rules promise, and what compressed-tensors reads."""
import glob
import json
import os
import shutil

import numpy as np
import qstream
import safetensors_io as st
from program import FIXTURES, ROOT, SHARED, evaluate, fresh, run

from check import check, done, skip

DEMO = os.path.join(ROOT, "data", "demo")
GOLDENS = os.path.join(SHARED, "goldens", "quantizer", "mxfp4.safetensors")
SHARD = "model.safetensors"


def load(folder):
    """-> {name: array} of all shards; F32, BF16 bits, U8"""
    tensors = {}
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        tensors.update(st.read(path))
    return tensors


def config(folder):
    with open(os.path.join(folder, "config.json")) as f:
        return json.load(f)


def quantize(folder, *options):
    """-> folder, result"""
    out = fresh("quantized")
    result = json.loads(run("quantize", folder, out, "--threads", 1, "--quiet", "--json", *options).stdout)
    return out, result


def f32(a):
    return st.from_bf16(a) if a.dtype == np.uint16 else a.astype(np.float32)


def with_tensors(tensors):
    """A checkpoint that has these too, as linears that no model uses: "extra.NAME.weight"."""
    folder = fresh("checkpoint")
    shutil.copytree(os.path.join(FIXTURES, "mini"), folder)
    path = os.path.join(folder, SHARD)
    st.write(path, {**st.read(path), **{f"extra.{name}.weight": a for name, a in tensors.items()}})
    return folder


def differing(got, expected, names):
    """names of tensors whose bytes differ, or that are missing"""
    return [n for n in names if n not in got or got[n].shape != expected[n].shape or got[n].tobytes() != expected[n].tobytes()]


# ---- qstream's bytes --------------------------------------------------------------

def golden_cases(goldens):
    """-> (matrix, percentile, uses gamma, name of the expected packed tensor)"""
    for key in goldens:
        if key.endswith(".weight_packed"):
            name, dtype, case = key[:-len(".weight_packed")].split(".", 2)
            gamma = case == "gamma"
            yield f"{name}.{dtype}", 99.5 if gamma else float(case[1:]), gamma, key


def test_goldens():
    if not os.path.exists(GOLDENS):
        return skip("quantizer goldens", f"no {GOLDENS}")
    goldens = st.read(GOLDENS)
    folder = with_tensors({n[:-len(".weight")]: a for n, a in goldens.items() if n.endswith(".weight")})
    gammas = fresh("gamma")
    st.write(gammas, {f"extra.{n[:-len('.gamma')]}.f32": a for n, a in goldens.items() if n.endswith(".gamma")})
    cases = list(golden_cases(goldens))
    for percentile, gamma in sorted({(p, g) for _, p, g, _ in cases}):
        out, _ = quantize(folder, "--include", "extra.*", "--scale-percentile", percentile,
                          *(["--gamma", gammas] if gamma else []))
        got = load(out)
        bad = [key for matrix, p, g, key in cases if (p, g) == (percentile, gamma)
               and any(got[f"extra.{matrix}.{part}"].tobytes() != goldens[key.replace("weight_packed", part)].tobytes()
                       for part in ("weight_packed", "weight_scale"))]
        check(not bad, f"goldens: percentile {percentile:g}{', gamma' if gamma else ''}", bad)


def test_demo():
    source, golden = os.path.join(DEMO, "bf16"), load(os.path.join(DEMO, "mxfp4"))
    out, result = quantize(source)
    got = load(out)
    check(sorted(got) == sorted(golden), "demo: the tensors of the published layout", sorted(set(got) ^ set(golden))[:5])
    check(not differing(got, golden, golden), "demo: every byte is qstream's", differing(got, golden, golden)[:5])
    check(result["blocks"] == sum(a.size for n, a in golden.items() if n.endswith("_scale")), "demo: blocks counted", result)
    c, g = config(out), config(os.path.join(DEMO, "mxfp4"))
    q = c.pop("quantization_config")
    check(set(q["ignore"]) == set(g.pop("quantization_config")["ignore"]) and c == g, "demo: config, ignore list as qstream's", q)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        with open(os.path.join(source, name), "rb") as a, open(os.path.join(out, name), "rb") as b:
            check(a.read() == b.read(), f"demo: {name} is copied")
    with open(os.path.join(out, "model.safetensors.index.json")) as f:
        index = json.load(f)
    check(sorted(index["weight_map"]) == sorted(golden) and index["metadata"]["total_size"] == sum(a.nbytes for a in golden.values()),
          "demo: the index names every tensor and counts the bytes", index["metadata"])
    return out


def variant(dtype, split):
    """The demo checkpoint's values in another dtype, experts split or not, and the folder of a golden for them."""
    folder = fresh("variant")
    shutil.copytree(os.path.join(DEMO, "bf16"), folder)
    tensors = {}
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        tensors.update(st.read(path))
        os.remove(path)
    os.remove(os.path.join(folder, "model.safetensors.index.json"))
    out = {}
    for name, a in tensors.items():
        a = f32(a).astype(dtype) if a.dtype == np.uint16 and dtype else a
        if split and ".experts." in name:
            stem, kind = name.rsplit(".", 1)
            for e in range(a.shape[0]):
                half = a.shape[1] // 2
                parts = {"down_proj": a[e]} if kind == "down_proj" else {"gate_proj": a[e, :half], "up_proj": a[e, half:]}
                out.update({f"{stem}.{e}.{p}.weight": x for p, x in parts.items()})
        else:
            out[name] = a
    st.write(os.path.join(folder, SHARD), out)
    return folder


def test_sources():
    golden = load(os.path.join(DEMO, "mxfp4"))
    packed = [n for n in golden if n.endswith(("_packed", "_scale"))]
    for label, dtype, split in (("F32", np.float32, False), ("BF16, experts split", None, True), ("F32, split", np.float32, True)):
        got = load(quantize(variant(dtype, split))[0])
        check(not differing(got, golden, packed), f"from {label}: the same packed bytes", differing(got, golden, packed)[:5])
    rng = np.random.default_rng(3)
    half = rng.standard_normal((64, 96)).astype(np.float16)
    got = load(quantize(with_tensors({"half": half}), "--include", "extra.*")[0])
    expected = qstream.quantize(half.astype(np.float32))
    check(np.array_equal(got["extra.half.weight_packed"], expected[0]) and np.array_equal(got["extra.half.weight_scale"], expected[1]),
          "from F16: the reference's bytes")


# ---- other rules -------------------------------------------------------------------

def random_matrices(rng):
    """Shapes of no particular size, tails of several kinds."""
    normal = rng.standard_normal((37, 160)).astype(np.float32)
    return {"normal": normal * np.float32(0.02), "heavy": normal ** 5, "range": normal * np.exp2(rng.integers(-30, 30, (37, 160))).astype(np.float32),
            "grid": (rng.integers(-64, 64, (37, 160)) / 8).astype(np.float32), "zeros": np.zeros((3, 64), np.float32)}


def brute_force(w, factors):
    """least error of each block over all exponents"""
    blocks, least = w.reshape(w.shape[0], -1, 32).astype(np.float64), None
    for k in range(-60, 61):
        exponents = np.full(blocks.shape[:-1], k)
        d = qstream.VALUES[qstream.encode(blocks.astype(np.float32), exponents)].astype(np.float64) * 2.0 ** k - blocks
        error = (d * d * factors.reshape(-1, 32)).sum(-1)
        least = error if least is None else np.minimum(least, error)
    return least


def test_rules():
    rng = np.random.default_rng(5)
    matrices = random_matrices(rng)
    folder = with_tensors(matrices)
    statistics, factors = fresh("statistics"), {n: (rng.standard_normal(w.shape[1]) ** 2).astype(np.float32) for n, w in matrices.items()}
    factors["heavy"][32:64] = 0                         # channels that no text reached: all alike
    st.write(statistics, {f"extra.{n}.input_mean_square": x for n, x in factors.items()})
    factors["heavy"][32:64] = 1
    parts = lambda got, n: (got[f"extra.{n}.weight_packed"], got[f"extra.{n}.weight_scale"])
    got = {rule: load(quantize(folder, "--include", "extra.*", *options)[0]) for rule, options in {
        "qstream": [], "exact": ["--scale", "exact"], "ocp": ["--scale", "ocp"], "scalar": ["--isa", "scalar"],
        "weighted": ["--activations", statistics], "weighted exact": ["--scale", "exact", "--activations", statistics]}.items()}
    for name, w in matrices.items():
        ones = np.ones(w.shape[1])
        for rule, expected in (("qstream", qstream.quantize(w)), ("ocp", qstream.ocp(w)), ("scalar", qstream.quantize(w)),
                               ("weighted", qstream.quantize(w, factors=factors[name]))):
            same = all(np.array_equal(a, b) for a, b in zip(parts(got[rule], name), expected))
            check(same, f"{rule}: {name} as the reference has it", "different bytes")
        for rule, f in (("exact", ones), ("weighted exact", factors[name].astype(np.float64))):
            found, least = qstream.errors(w, *parts(got[rule], name), f), brute_force(w, f)
            check(np.all(found <= least * (1 + 1e-12)), f"{rule}: {name} has the least error of all exponents", (found - least).max())


def test_hessian():
    rng = np.random.default_rng(6)
    w, by_hessian = rng.standard_normal((140, 96)).astype(np.float32), fresh("hessian")
    lower = np.tril(rng.standard_normal((3, 32, 32))).astype(np.float32)
    folder = with_tensors({"m": w})
    for name, hessian in (("any", rng.standard_normal((3, 32, 32)).astype(np.float32)), ("symmetric, positive", lower @ lower.transpose(0, 2, 1)),
                          ("a diagonal", np.stack([np.diag(x) for x in np.exp2(rng.integers(-6, 7, (3, 32)))]).astype(np.float32))):
        st.write(by_hessian, {"extra.m.hessian": hessian})
        out, result = quantize(folder, "--include", "extra.*", "--gamma", by_hessian)
        got, expected = load(out), qstream.quantize(w, hessian=hessian)
        differ = int((got["extra.m.weight_scale"] != expected[1]).sum())
        check(differ <= result["undecided"] < 5 and (differ or np.array_equal(got["extra.m.weight_packed"], expected[0])),
              f"Hessian: {name}: as the reference has it", (differ, result["undecided"]))


# ---- as vLLM resolves the config ----------------------------------------------------------

MERGED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj"),
          "in_proj_qkvz": ("in_proj_qkv", "in_proj_z"), "in_proj_ba": ("in_proj_b", "in_proj_a")}
PREFIXES = {"model.language_model.": "language_model.model.", "model.visual.": "visual.", "lm_head": "language_model.lm_head"}


def vllm_name(module):
    return next((new + module[len(old):] for old, new in PREFIXES.items() if module.startswith(old)), module)


def vllm_packs(quantization, modules):
    """-> {vLLM's name of a linear: packed for it?}, None where it refuses; for names without patterns, and the class Linear.
    (vllm: layers/quantization/compressed_tensors/utils.py; models/qwen3_5.py)"""
    ignored, result = {vllm_name(m) for m in quantization["ignore"]}, {}
    for module in modules:
        parent, _, leaf = module.rpartition(".")
        parts = next((p for p in MERGED.values() if leaf in p and ".experts." not in module), (leaf,))
        said = {f"{parent}.{p}" in ignored for p in parts}
        result[module] = None if len(said) > 1 else said == {False} and "Linear" in quantization["config_groups"]["group_0"]["targets"]
    return result


def test_vllm():
    for options in ((), ("--exclude", "lm_head", "--exclude", "visual", "--exclude", "mlp.gate.weight", "--exclude", "mtp"),
                    ("--include", "self_attn", "--include", "in_proj_", "--include", ".mlp.experts.", "--exclude", "mtp"), ("--recipe", "linears")):
        out, _ = quantize(os.path.join(DEMO, "bf16"), *options)
        tensors = load(out)
        packed = {vllm_name(n[:-len(".weight_packed")]): True for n in tensors if n.endswith(".weight_packed")}
        plain = {vllm_name(n[:-len(".weight")]): False for n in tensors if n.endswith(".weight") and tensors[n].ndim == 2 and "embed" not in n}
        got = vllm_packs(config(out)["quantization_config"], packed | plain)
        bad = {m: (got[m], p) for m, p in (packed | plain).items() if got[m] is not p}
        check(len(packed) >= 384 and not bad, f"vLLM's rules: {' '.join(options) or 'the default'}: what is packed is targeted, what is not ignored", list(bad.items())[:5])


# ---- what others read ------------------------------------------------------------------

def test_files(out):
    bad = []
    for path in glob.glob(os.path.join(out, "*.safetensors")):
        header, _ = st.split(path)
        size = {"F32": 4, "BF16": 2, "U8": 1}
        with open(path, "rb") as f:
            begin = 8 + int.from_bytes(f.read(8), "little")
        bad += [n for n, t in header.items() if n != "__metadata__" and (begin + t["data_offsets"][0]) % size[t["dtype"]]]
        check(header.get("__metadata__") == {"format": "pt"}, "files: the metadata that transformers wants", header.get("__metadata__"))
    check(not bad, "files: every tensor is aligned to its elements", bad[:5])
    try:
        from safetensors import safe_open
    except ImportError:
        return skip("files: upstream's reader", "no safetensors")
    names = []
    for path in glob.glob(os.path.join(out, "*.safetensors")):
        with safe_open(path, "np") as f:
            names += list(f.keys())
    check(len(names) == len(load(out)), "files: upstream's reader takes them", len(names))


def test_dequantize(out):
    back = fresh("back")
    run("dequantize", out, back, "--threads", 1, "--quiet")
    got, source, packed = load(back), load(os.path.join(DEMO, "bf16")), load(out)
    check({n: a.shape for n, a in got.items()} == {n: a.shape for n, a in source.items()}, "dequantize: names and shapes of the original")
    bad = []
    for name, a in got.items():
        if name.startswith("model.language_model") and ".experts." in name:
            stem, kind = name.rsplit(".", 1)
            for e in range(a.shape[0]):
                x = np.concatenate([qstream.dequantize(packed[f"{stem}.{e}.{p}.weight_packed"], packed[f"{stem}.{e}.{p}.weight_scale"])
                                    for p in (["down_proj"] if kind == "down_proj" else ["gate_proj", "up_proj"])])
                bad += [name] * (not np.array_equal(f32(a[e]), x))
        else:
            bad += [name] * (a.tobytes() != source[name].tobytes())
    check(not bad, "dequantize: the values of the codes, everything else untouched", bad[:5])
    check("quantization_config" not in config(back) and config(back) == config(os.path.join(DEMO, "bf16")), "dequantize: the original config")
    nll = [evaluate(folder, os.path.join(DEMO, "text.txt"), "--context", 512, "--max-windows", 2)[1]["nll"] for folder in (out, back)]
    check(len(nll[0]) > 1000 and nll[0].tobytes() == nll[1].tobytes(), "dequantize: evaluates to the same bits", np.abs(nll[0] - nll[1]).max())
    again, _ = quantize(back, "--scale", "exact")
    twice = fresh("twice")
    run("dequantize", again, twice, "--threads", 1, "--quiet")
    bad = [n for n, a in load(twice).items() if not np.array_equal(f32(a), f32(got[n]))]        # but for the sign of zeros
    check(not bad, "dequantize: values that MXFP4 has survive another round", bad[:5])
    return back


def test_compressed_tensors(out, back):
    try:
        import torch
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationConfig
    except ImportError as e:
        return skip("compressed-tensors reads it", str(e))
    q = QuantizationConfig.model_validate(config(out)["quantization_config"])
    scheme = q.config_groups["group_0"]
    check(q.format == "mxfp4-pack-quantized" and scheme.weights.num_bits == 4 and scheme.weights.group_size == 32 and scheme.input_activations is None,
          "compressed-tensors: the config is a weight-only MXFP4 scheme", scheme)
    compressor = BaseCompressor.get_value_from_registry(q.format)
    tensors, plain, bad = load(out), load(back), []
    for name in [n[:-len("_packed")] for n in tensors if n.endswith(".weight_packed")]:
        state = {"weight_" + p: torch.from_numpy(tensors[f"{name}_{p}"].copy()) for p in ("packed", "scale")}
        theirs = compressor.decompress(state, scheme)["weight"].to(torch.float32).numpy()
        stem, e, part = name[:-len(".weight")].rsplit(".", 2)
        fused = f32(plain[f"{stem}.{'down_proj' if part == 'down_proj' else 'gate_up_proj'}"][int(e)])
        ours = fused if part == "down_proj" else np.split(fused, 2)[part == "up_proj"]
        bad += [name] * (not np.array_equal(theirs, ours))
    check(not bad, "compressed-tensors: decompresses every tensor to our values", bad[:5])


def unpacked_by_transformers(folder):
    """-> {name in the file's layout: f32}, names that its loader missed or did not expect"""
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, output_loading_info=True,
        quantization_config=transformers.CompressedTensorsConfig(dequantize=True))
    prefix = "model.language_model." if "text_config" in config(folder) else "model."
    tensors = {prefix + n[len("model."):] if n.startswith("model.") else n: t.to(torch.float32).numpy() for n, t in model.state_dict().items()}
    return tensors, sorted(map(str, set(info["missing_keys"]) | set(info["unexpected_keys"]) | set(info["mismatched_keys"])))


def test_transformers(out, back):
    """Its loader resolves the config that was written, finds every tensor, and unpacks to our values."""
    try:
        import compressed_tensors  # noqa: F401, which the loader needs
        import transformers  # noqa: F401
    except ImportError as e:
        return skip("transformers reads it", str(e))
    plain, again = fresh("plain"), fresh("plain")
    run("dequantize", os.path.join(FIXTURES, "packed-dense"), plain, "--quiet")
    linears, _ = quantize(plain, "--exclude", "lm_head")
    run("dequantize", linears, again, "--quiet")
    for label, folder, expanded in (("experts", out, back), ("linears", linears, again)):
        (theirs, faults), ours = unpacked_by_transformers(folder), load(expanded)
        names = [n for n in theirs if n.endswith(("_proj", "_proj.weight", "in_proj_qkv.weight"))]
        bad = [n for n in names if n not in ours or not np.array_equal(theirs[n], f32(ours[n]))]
        check(not faults and len(names) > 10 and not bad, f"transformers: loads packed {label}, every one with our values", (faults[:5], len(names), bad[:5]))


def main():
    test_goldens()
    out = test_demo()
    test_sources()
    test_rules()
    test_hessian()
    test_files(out)
    test_vllm()
    back = test_dequantize(out)
    test_compressed_tensors(out, back)
    test_transformers(out, back)
    done()


if __name__ == "__main__":
    main()
