#!/usr/bin/env python3
"""GGUF files: the demo checkpoint as llama.cpp's converter writes it scores as its safetensors do; a model of all types
scores as its twin in F32, whose values are ggml's own (ggml_rows.npz), bit for bit on each set of kernels."""
import json
import os
import random
import shutil
import struct
import subprocess
import time

import numpy as np
import gguf_files as gguf
import safetensors_io as st
from program import ROOT, SURPRISAL, evaluate, fresh, run

from check import QUICK, attempt, check, done, skip

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
ISAS = ["scalar"] if QUICK else ["scalar", "openblas", "avx2", "avx512", "neon"]


def demo_tensors():
    tensors = {}
    for name in sorted(os.listdir(DEMO)):
        if name.endswith(".safetensors"):
            tensors |= st.read(os.path.join(DEMO, name))
    return tensors


def make_demo(metadata={}, change=lambda tensors: None):
    c = gguf.read_config(DEMO)
    tensors = gguf.of_safetensors(demo_tensors(), c)
    change(tensors)
    path = fresh("demo") + ".gguf"
    gguf.write(path, gguf.settings(c) | metadata, {n: gguf.tensor(*t) for n, t in tensors.items()})
    return path


def fuse(tensors):
    """The converter's other layouts: q, k and v of full attention in one, gate and up of experts too."""
    for layer in (3, 7):
        parts = [tensors.pop(f"blk.{layer}.attn_{p}.weight")[1] for p in "qkv"]
        tensors[f"blk.{layer}.attn_qkv.weight"] = ("BF16", np.concatenate(parts))
    for layer in range(8):
        parts = [tensors.pop(f"blk.{layer}.ffn_{p}_exps.weight")[1] for p in ("gate", "up")]
        tensors[f"blk.{layer}.ffn_gate_up_exps.weight"] = ("BF16", np.concatenate(parts, 1))


def test_demo():
    ids = np.random.default_rng(1).integers(0, 4000, 300)
    _, ours = evaluate(DEMO, ids, "--context", "64")
    plain = make_demo()
    _, theirs = evaluate(plain, ids, "--context", "64")
    away = np.abs(ours["nll"] - theirs["nll"]).max()
    check(away < 2e-5, "the demo as GGUF scores within f32 rounding", f"differs by {away}")
    _, fused = evaluate(make_demo(change=fuse), ids, "--context", "64")
    check((fused["nll"] == theirs["nll"]).all(), "fused q, k, v and experts are the same", "they differ")


# A mixture of experts whose inputs are all multiples of 256.
CONFIG = dict(hidden_size=256, num_hidden_layers=4, full_attention_interval=2, num_attention_heads=4, num_key_value_heads=4,
              head_dim=64, linear_conv_kernel_dim=4, linear_key_head_dim=64, linear_num_key_heads=2, linear_num_value_heads=4,
              linear_value_head_dim=64, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=256,
              shared_expert_intermediate_size=256, vocab_size=4160, max_position_embeddings=4096, rms_norm_eps=1e-6,
              rope_parameters=dict(rope_theta=1e7, partial_rotary_factor=0.25), eos_token_id=4063)


def shapes(c):
    D, values = c["hidden_size"], c["linear_num_value_heads"] * c["linear_value_head_dim"]
    channels = 2 * c["linear_num_key_heads"] * c["linear_key_head_dim"] + values
    attention, kv = c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    I, E = c["moe_intermediate_size"], c["num_experts"]
    linear = {"token_embd.weight": (c["vocab_size"], D), "output.weight": (c["vocab_size"], D)}
    plain = {"output_norm.weight": (D,)}
    for layer in range(c["num_hidden_layers"]):
        p = f"blk.{layer}."
        plain |= {p + "attn_norm.weight": (D,), p + "post_attention_norm.weight": (D,), p + "ffn_gate_inp.weight": (E, D),
                  p + "ffn_gate_inp_shexp.weight": (D,)}
        if (layer + 1) % c["full_attention_interval"] == 0:
            linear |= {p + "attn_q.weight": (2 * attention, D), p + "attn_k.weight": (kv, D), p + "attn_v.weight": (kv, D),
                       p + "attn_output.weight": (D, attention)}
            plain |= {p + "attn_q_norm.weight": (c["head_dim"],), p + "attn_k_norm.weight": (c["head_dim"],)}
        else:
            linear |= {p + "attn_qkv.weight": (channels, D), p + "attn_gate.weight": (values, D),
                       p + "ssm_alpha.weight": (c["linear_num_value_heads"], D),
                       p + "ssm_beta.weight": (c["linear_num_value_heads"], D), p + "ssm_out.weight": (D, values)}
            plain |= {p + "ssm_conv1d.weight": (channels, 4), p + "ssm_a": (c["linear_num_value_heads"],),
                      p + "ssm_dt.bias": (c["linear_num_value_heads"],), p + "ssm_norm.weight": (c["linear_value_head_dim"],)}
        linear |= {p + "ffn_gate_exps.weight": (E, I, D), p + "ffn_up_exps.weight": (E, I, D),
                   p + "ffn_down_exps.weight": (E, D, I), p + "ffn_gate_shexp.weight": (I, D),
                   p + "ffn_up_shexp.weight": (I, D), p + "ffn_down_shexp.weight": (D, I)}
    return linear, plain


def of_blocks(rows, kind, shape, rng):
    """Blocks of ggml's in random places -> (shape, bytes), values F32"""
    blocks, values = rows[kind + ".blocks"], rows[kind + ".values"]
    pick = rng.integers(0, len(blocks), int(np.prod(shape)) // values.shape[1])
    return (shape, blocks[pick].tobytes()), values[pick].reshape(shape)


def make_mixed(shift, rate=None):
    """All types in one model, each tensor's by its place and the shift -> the file, its twin in F32"""
    rows, rng = np.load(os.path.join(os.path.dirname(__file__), "ggml_rows.npz")), np.random.default_rng(shift)
    linear, plain = shapes(CONFIG)
    mixed, twin = {}, {}
    for i, (name, shape) in enumerate(linear.items()):
        kind = list(gguf.TYPES)[(i + shift) % len(gguf.TYPES)]
        stored, values = of_blocks(rows, kind, shape, rng)
        mixed[name], twin[name] = gguf.tensor(kind, stored), gguf.tensor("F32", values)
    for name, shape in plain.items():
        a = rng.normal(0, 0.1, shape) + ("norm" in name) if name[-5:] != "ssm_a" else -rng.uniform(0.5, 2, shape)
        if rate and name.endswith("ssm_a"):
            a = np.full(shape, rate)
        mixed[name] = twin[name] = gguf.tensor("F32", a.astype(np.float32))
    metadata = gguf.settings(CONFIG) | {"tokenizer.ggml.eos_token_id": 4063}
    paths = fresh("mixed"), fresh("twin")       # without .gguf: it is known by its first bytes
    gguf.write(paths[0], metadata, mixed)
    gguf.write(paths[1], metadata, twin)
    return paths


def test_types(shift):
    mixed, twin = make_mixed(shift)
    ids = np.random.default_rng(2).integers(0, 4000, 96)
    for isa in ISAS:
        for compute in ("f32", "bf16"):
            options = ["--context", "48", "--isa", isa, "--compute", compute]
            try:
                _, ours = evaluate(mixed, ids, *options)
            except RuntimeError as e:
                if "of this CPU" in str(e):
                    continue
                raise
            _, theirs = evaluate(twin, ids, *options)
            check((ours["nll"] == theirs["nll"]).all() and np.isfinite(ours["nll"]).all(),
                  f"all types, shifted by {shift}, {isa}, {compute}: the bits of the twin in F32",
                  f"{(ours['nll'] != theirs['nll']).sum()} of {ours['nll'].size} differ")
    texts = [json.loads(run("generate", path, "--tokenizer", os.path.join(DEMO, "tokenizer.json"), "--prompt", "One day",
                            "--max-tokens", "12", "--temperature", "0", "--json").stdout) for path in (mixed, twin)]
    same = [t.get("ids") or t.get("text") for t in texts]
    check(same[0] and same[0] == same[1], f"all types, shifted by {shift}: the same text is generated", f"{same}")


# ---- dequantize ----------------------------------------------------------------------------------------------------------

def read_folder(folder):
    out = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors"):
            out |= st.read(os.path.join(folder, name))
    return out


def test_dequantize():
    """From the demo as llama.cpp's converter writes it, the demo's own bits; but of A_log, through -exp and log."""
    out = fresh("dequantized")
    run("dequantize", make_demo(), out, "--quiet")
    original, got = demo_tensors(), read_folder(out)
    original = {n: a for n, a in original.items() if not n.startswith(("mtp.", "model.visual."))}
    wrong = [n for n, a in original.items() if n not in got or got[n].shape != a.shape
             or (got[n].dtype != a.dtype if n.endswith("A_log") else got[n].tobytes() != a.tobytes())]
    check(not wrong and len(got) == len(original), "dequantize of a BF16 GGUF: the original's tensors", wrong[:5])
    away = max(np.abs(got[n] - a).max() for n, a in original.items() if n.endswith("A_log"))
    check(away < 5e-7, "dequantize of a BF16 GGUF: A_log", away)
    config = json.load(open(os.path.join(out, "config.json")))
    ours, theirs = (dict(gguf.read_config(folder)) for folder in (DEMO, out))
    differ = {k: (v, ours.get(k)) for k, v in theirs.items() if k in ours and k != "rope_parameters" and v != ours[k] and k != "rms_norm_eps"}
    check(config["model_type"] == "qwen3_5_moe" and not differ, "dequantize makes the original's config.json", differ)


def test_dequantize_types():
    """Heads in another order, all types: the NLL of the file, but for A_log, whose logarithm f32 rounds; and BF16 is F32 rounded."""
    mixed, _ = make_mixed(0)
    ids = np.random.default_rng(2).integers(0, 4000, 96)
    folders = {dtype: fresh("dequantized") for dtype in ("f32", "bf16")}
    results = {dtype: json.loads(run("dequantize", mixed, out, "--dtype", dtype, "--json", "--quiet").stdout)
               for dtype, out in folders.items()}
    runs = [evaluate(c, ids, "--context", "48")[1]["nll"] for c in (mixed, folders["f32"])]
    away = np.abs(runs[0] - runs[1]).max()
    check(away < 2e-5, "dequantize of all types to F32: the NLL of the file", away)
    one, out = make_mixed(5, -1.0)[0], fresh("dequantized")     # f32 holds the logarithm
    run("dequantize", one, out, "--dtype", "f32", "--quiet")
    for isa in ([], ["--isa", "scalar"]):
        runs = [evaluate(c, ids, "--context", "48", *isa)[1]["nll"].tobytes() for c in (one, out)]
        check(runs[0] == runs[1], f"with rates of -1 its bits, {' '.join(isa) or 'the best set'}")
    exact, half = read_folder(folders["f32"]), read_folder(folders["bf16"])
    rounded, wrong = 0, []
    for name, a in exact.items():
        if name.endswith("A_log"):
            wrong += [name] * (half[name].tobytes() != a.tobytes())
            continue
        wrong += [name] * (half[name].tobytes() != st.bf16(a).tobytes())
        rounded += int((st.from_bf16(st.bf16(a)) != a).sum())
    check(not wrong and exact.keys() == half.keys(), "dequantize to BF16: the F32 ones rounded, but A_log", wrong[:5])
    more, rates = results["bf16"]["rounded"] - rounded, sum(a.size for name, a in exact.items() if name.endswith("A_log"))
    check(0 <= more <= rates, "and what is rounded is counted, logarithms that do not give back the file's rate too", (more, rates))
    check(results["f32"]["rounded"] <= sum(a.size for a in exact.values() if a.ndim == 1), "in F32 too", results["f32"])


def test_dequantize_refuses():
    """A rate from 0 on, which has no logarithm."""
    path, out = make_mixed(0, 0.5)[0], fresh("dequantized")
    p = subprocess.run([SURPRISAL, "dequantize", path, out], capture_output=True, text=True)
    check(p.returncode == 1 and "A_log' has a weight that is not a finite number (row 0, column 0" in p.stderr and not os.path.exists(out),
          "dequantize refuses a rate that is not negative", p.stderr)


def test_dequantize_demo():
    for name in ("demo-Q8_0.gguf", "demo-Q4_0.gguf"):
        path, out = os.path.join(ROOT, "data", "demo", "formats", name), fresh("dequantized")
        run("dequantize", path, out, "--dtype", "f32", "--quiet")
        text = fresh("text")
        with open(os.path.join(ROOT, "data", "demo", "text.txt"), "rb") as f, open(text, "wb") as short:
            short.write(f.read(3000))
        runs = [evaluate(c, text, "--context", "256") for c in (path, out)]
        away = np.abs(runs[0][1]["nll"] - runs[1][1]["nll"]).max()
        check(away < 2e-5, f"dequantize of {name}, with its tokenizer: the NLL of the file", away)


# ---- refusals ------------------------------------------------------------------------------------------------------------

def tiny():
    """-> metadata, tensors as write() takes them"""
    c = CONFIG | dict(vocab_size=8, num_hidden_layers=2)
    linear, plain = shapes(c)
    rng = np.random.default_rng(3)
    tensors = {n: gguf.tensor("F32", rng.normal(0, 0.05, s).astype(np.float32)) for n, s in linear.items()}
    tensors |= {n: gguf.tensor("F32", np.full(s, -1 if n.endswith("ssm_a") else 1, np.float32)) for n, s in plain.items()}
    return gguf.settings(c), tensors


def refused(name, path, expected):
    ids = refused.ids = getattr(refused, "ids", None) or written_ids()
    done = subprocess.run([SURPRISAL, "eval", path, "--ids", ids, "--context", "8", "--quiet"], capture_output=True, text=True,
                          timeout=60)
    lines = done.stderr.strip().splitlines()
    check(done.returncode == 1 and len(lines) == 1 and expected in lines[0], f"refused: {name}",
          f"exit {done.returncode}: {done.stderr[-300:]}, expected '{expected}'")


def written_ids():
    path = fresh("ids")
    np.savetxt(path, np.arange(16).reshape(-1, 1) % 8, fmt="%d")
    return path


def of_bytes(change):
    def make(metadata, tensors):
        path = fresh("bytes") + ".gguf"
        gguf.write(path, metadata, tensors)
        with open(path, "rb") as f:
            raw = change(bytearray(f.read()))
        with open(path, "wb") as f:
            f.write(raw)
        return path
    return make


def put(at, code, *values):
    def change(raw):
        struct.pack_into(code, raw, at, *values)
        return raw
    return of_bytes(change)


def of(metadata={}, drop=(), tensors={}, **options):
    """Entries and tensors added, changed or dropped."""
    def make(m, t):
        path = fresh("changed") + ".gguf"
        keep = lambda d: {k: v for k, v in d.items() if k not in drop}
        gguf.write(path, keep(m) | metadata, keep(t) | tensors, **options)
        return path
    return make


def entry_raw(number, raw, key="a.key"):
    """An entry in front whose value is these bytes."""
    def change(data):
        n = struct.unpack_from("<Q", data, 16)[0]
        struct.pack_into("<Q", data, 16, n + 1)
        return data[:24] + gguf.text(key) + struct.pack("<I", number) + raw + data[24:]
    return of_bytes(change)


def tensor_bytes(at, code, skipped, change):
    """A number behind GATE's name: its dimensions are `at` bytes after it, `skipped` bytes of sizes, then type and offset."""
    def make(raw):
        where = raw.index(GATE.encode()) + len(GATE) + at + skipped + 4
        struct.pack_into(code, raw, where, change(struct.unpack_from(code, raw, where)[0]))
        return raw
    return of_bytes(make)


A, GATE = "qwen35moe.", "blk.0.attn_gate.weight"
F16_NAN, F16_INF = 0x7E00, 0x7C00


def one_block(kind, halves, at):
    """A GATE of this type with a scale that is no number."""
    number, columns, size = gguf.TYPES[kind]
    raw = np.zeros((256 * 256 // columns, size), np.uint8)
    raw[at, halves[0]:halves[0] + len(halves[1])] = list(halves[1])
    return of(tensors={GATE: (number, (256, 256), raw.tobytes())})


REFUSALS = [
    ("an empty file", of_bytes(lambda b: b""), "is not a folder"),
    ("the magic alone", of_bytes(lambda b: b[:4]), "truncated: the version of 4 bytes"),
    ("cut in the counts", of_bytes(lambda b: b[:20]), "truncated: the number of entries"),
    ("cut in the metadata", of_bytes(lambda b: b[:200]), "do not fit into its 200 bytes"),
    ("cut in the data", of_bytes(lambda b: b[:-999]), "ends beyond the file's"),
    ("version 1", put(4, "<I", 1), "is GGUF version 1, expected 2 or 3"),
    ("version 4", put(4, "<I", 4), "is GGUF version 4, expected 2 or 3"),
    ("big-endian", put(4, ">I", 3), "is big-endian"),
    ("2^40 tensors", put(8, "<Q", 1 << 40), "says that it has 1099511627776 tensors"),
    ("2^40 entries", put(16, "<Q", 1 << 40), "1099511627776 entries of metadata"),
    ("2^64 - 1 entries", put(16, "<Q", (1 << 64) - 1), "entries of metadata, which do not fit"),
    ("a key of 2^62 bytes", put(24, "<Q", 1 << 62), "truncated: a key of 4611686018427387904 bytes"),
    ("a type of 13", entry_raw(13, b"\0" * 8), "'a.key' has the unknown type 13"),
    ("an array of 2^61 numbers", entry_raw(9, struct.pack("<IQ", 4, 1 << 61)), "'a.key' has 2305843009213693952 elements"),
    ("an array of 2^61 texts", entry_raw(9, struct.pack("<IQ", 8, 1 << 61)), "'a.key' has 2305843009213693952 elements"),
    ("an array of arrays", entry_raw(9, struct.pack("<IQ", 9, 1) + b"\0" * 16), "is an array of arrays"),
    ("an array of no type", entry_raw(9, struct.pack("<IQ", 77, 1)), "'a.key' has the unknown type 77"),
    ("a NUL in a text", entry_raw(8, gguf.text(b"a\0b")), "a string at byte"),
    ("a NUL in a key", of({b"a\0b".decode(): 1}), "a key at byte"),
    ("a key twice", entry_raw(8, gguf.text("x"), "general.architecture"), "the key 'general.architecture' is there twice"),
    ("another architecture", of({"general.architecture": "llama"}), "general.architecture is llama, expected qwen35 or"),
    ("no architecture", of(drop=["general.architecture"]), "general.architecture is missing"),
    ("an architecture that is a number", of({"general.architecture": 3}), "general.architecture is no string"),
    ("an alignment of 0", of({"general.alignment": 0}), "general.alignment is not a u32 that is a power of 2"),
    ("an alignment of 24", of({"general.alignment": 24}), "general.alignment is not a u32 that is a power of 2"),
    ("an alignment that is a text", of({"general.alignment": "32"}), "general.alignment is not a u32"),
    ("an alignment of 2^31", of({"general.alignment": 1 << 31}), "the data of tensors begins at byte 2147483648"),
    ("2^31 layers", of({A + "block_count": 1 << 31}), "block_count is not a number of layers"),
    ("no layers", of({A + "block_count": 0}), "block_count is not a number of layers"),
    ("more layers than tensors", of({A + "block_count": 3}), "missing tensor"),
    ("a negative size", of({A + "embedding_length": np.uint16(0)}), "hidden_size is missing"),
    ("a size that is a text", of({A + "embedding_length": "256"}), "embedding_length is not a whole number from 0"),
    ("heads that differ by layer", of({A + "attention.head_count": [4, 8]}), "head_count is not the same in all layers"),
    ("an infinite base", of({A + "rope.freq_base": float("inf")}), "rope.freq_base is not a finite number"),
    ("scaled positions", of({A + "rope.scaling.type": "yarn"}), "rope.scaling.type is not 'none'"),
    ("another gate of experts", of({A + "expert_gating_func": 2}), "expert_gating_func is not 1 (softmax)"),
    ("a list of layers that is too short", of({A + "attention.recurrent_layers": [True]}),
     "recurrent_layers is not a list of a bool for each layer"),
    ("an interval of 0", of({A + "full_attention_interval": 0}), "full_attention_interval is not a number from 1"),
    ("full attention alone, and no groups of heads of the others",
     of({A + "full_attention_interval": 1}, drop=[A + "ssm.group_count"]), "attn_qkv.weight' has 512 rows"),
    ("full attention alone, and more groups than heads of the others",
     of({A + "full_attention_interval": 1, A + "ssm.group_count": 64}), "attn_qkv.weight' has 512 rows"),
    ("an expert more than there are", of({A + "expert_count": 4}), "mlp.gate.weight' has shape [3, 256], expected [4, 256]"),
    ("no embedding", of(drop=["token_embd.weight"]), "no tensor 'token_embd.weight'"),
    ("a tensor that is missing", of(drop=[GATE]), "missing tensor"),
    ("a tensor that nothing knows", of(tensors={"blk.0.attn_sinks.weight": gguf.tensor("F32", np.ones(4, np.float32))}),
     "'blk.0.attn_sinks.weight' is not part of this model"),
    ("a bias", of(tensors={"blk.0.attn_gate.bias": gguf.tensor("F32", np.ones(256, np.float32))}), "is not part of this model"),
    ("a scale beside a weight", of(tensors={"blk.0.attn_gate.scale": gguf.tensor("F32", np.ones(1, np.float32))}),
     "'blk.0.attn_gate.scale' is not part of this model"),
    ("TQ1_0", of(tensors={GATE: (34, (256, 256), b"\0" * 54 * 256)}), "has type 34, which is no type of weights"),
    ("a type that is removed", of(tensors={GATE: (4, (256, 256), b"\0" * 9999)}), "has type 4, which is no type of weights"),
    ("a type of ik_llama.cpp", of(tensors={GATE: (137, (256, 256), b"\0" * 99999)}), "has type 137"),
    ("rows that no block fits", of(tensors={GATE: (12, (128, 512), b"\0" * 144 * 256)}), "has rows of 128, Q4_K needs a multiple"),
    ("another shape", of(tensors={GATE: (0, (256, 128), b"\0" * 4 * 256 * 128)}), "has 128 rows, expected 256"),
    ("dimensions that overflow", of(tensors={GATE: (0, (1 << 40, 1 << 40), b"")}), "ends beyond the file's"),
    ("a dimension of 0", of(tensors={GATE: (0, (0, 256), b"")}), "has a dimension of 0"),
    ("five dimensions", of(tensors={GATE: (0, (1, 1, 1, 1, 1), b"\0" * 4)}), "has 5 dimensions, expected 1 to 4"),
    ("experts in two dimensions", of(tensors={"blk.0.ffn_up_exps.weight": (0, (256, 256), b"\0" * 4 * 65536)}),
     "is no stack of experts"),
    ("a name of 64 bytes", of(tensors={"b" * 64: gguf.tensor("F32", np.ones(1, np.float32))}), "has 64 bytes, expected 1 to 63"),
    ("an offset that is not aligned", tensor_bytes(4, "<Q", 16, lambda x: x + 4), "expected a multiple of 32"),
    ("an offset of 2^63", tensor_bytes(4, "<Q", 16, lambda x: 1 << 63), "ends beyond the file's"),
    ("tensors that share bytes", tensor_bytes(4, "<Q", 16, lambda x: x - 32), "overlap"),
    ("a tensor twice", of_bytes(lambda b: b.replace(b"blk.0.ffn_gate_shexp.weight", b"blk.0.ffn_down_shexp.weight")),
     "the tensor 'blk.0.ffn_down_shexp.weight' is there twice"),
    ("a scale that is NaN", one_block("Q4_0", (0, F16_NAN.to_bytes(2, "little")), 17),
     "in_proj_z.weight' has a scale that is NaN or infinite, at [2, 32]"),
    ("a minimum that is infinite", one_block("Q4_K", (2, F16_INF.to_bytes(2, "little")), 3), "NaN or infinite, at [3, 0]"),
    ("an MXFP4 scale of 255", one_block("MXFP4", (0, b"\xff"), 0), "has scale byte 255, which is NaN, at [0, 0]"),
]


def test_refusals():
    metadata, tensors = tiny()
    intact = of()(metadata, tensors)
    run("eval", intact, "--ids", written_ids(), "--context", "8", "--quiet")
    for name, make, expected in REFUSALS:
        refused(name, make(metadata, tensors), expected)


def split(metadata, tensors, numbers=((0, 3), (1, 3), (2, 3)), total=None, name="model"):
    """Three files, the first without tensors -> its path"""
    folder = fresh("split")
    os.mkdir(folder)
    half = len(tensors) // 2
    items = list(tensors.items())
    parts = [{}, dict(items[:half]), dict(items[half:])]
    for i, ((no, count), part) in enumerate(zip(numbers, parts)):
        keys = {"split.no": np.uint16(no), "split.count": np.uint16(count)}
        if i == 0:
            keys |= metadata | {"split.tensors.count": len(tensors) if total is None else total}
        gguf.write(os.path.join(folder, f"{name}-{i + 1:05}-of-00003.gguf"), keys, part)
    return os.path.join(folder, f"{name}-00001-of-00003.gguf")


def test_split():
    metadata, tensors = tiny()
    ids = np.arange(16) % 8
    _, whole = evaluate(of()(metadata, tensors), ids, "--context", "8")
    first = split(metadata, tensors)
    for name, path in (("the first file", first), ("the folder", os.path.dirname(first))):
        _, parts = evaluate(path, ids, "--context", "8")
        check((parts["nll"] == whole["nll"]).all(), f"a split by {name}", "differs")
    refused("the second file of a split", first.replace("00001-of", "00002-of"), "is part 2 of 3 of a split, expected the first")
    refused("a split whose parts disagree", split(metadata, tensors, ((0, 3), (2, 3), (1, 3))), "says that it is part 3 of 3,")
    refused("a split of other counts", split(metadata, tensors, ((0, 3), (1, 2), (2, 3))), "says that it is part 2 of 2,")
    refused("a split that lacks tensors", split(metadata, tensors, total=99), "says that the files have 99 tensors")
    refused("a split of 60000", split(metadata, tensors, ((0, 60000), (1, 3), (2, 3))), "is the first of 60000 files")
    gone = split(metadata, tensors)
    os.remove(gone.replace("00001-of", "00003-of"))
    refused("a part that is missing", gone, "-00003-of-00003.gguf: ")
    folder = os.path.dirname(first)
    gguf.write(os.path.join(folder, "mmproj-F16.gguf"), metadata, {})
    _, parts = evaluate(folder, ids, "--context", "8")
    check((parts["nll"] == whole["nll"]).all(), "an image encoder beside it is left alone", "differs")
    gguf.write(os.path.join(folder, "other-Q4_0.gguf"), metadata, tensors)
    refused("two models in a folder", folder, "has 2 models in GGUF files (model-00001-of-00003.gguf, other-Q4_0.gguf)")


def test_mutations(n=120, seed=1, seconds=20):
    """Random bytes of the header changed, dropped or doubled: any end but a signal or a hang."""
    metadata, tensors = tiny()
    path = of(gguf.token_metadata(DEMO) if not QUICK else {})(metadata, tensors)
    with open(path, "rb") as f:
        intact = f.read()
    rng, stop, ids = random.Random(seed), time.time() + seconds, written_ids()
    end = intact.index(b"blk.1.ffn_down_shexp.weight") + 100
    for i in range(n):
        raw = bytearray(intact)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.choice((rng.randrange(end), rng.randrange(min(end, 2000)), end - 1 - rng.randrange(3000)))
            kind = rng.randrange(4)
            if kind == 0:
                raw[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                raw[at] = rng.choice((0, 1, 9, 127, 255))
            elif kind == 2:
                del raw[at:at + rng.randrange(1, 9)]
            else:
                raw[at:at] = raw[at:at + rng.randrange(1, 9)]
        with open(path, "wb") as f:
            f.write(raw)
        try:
            status = subprocess.run([SURPRISAL, "eval", path, "--ids", ids, "--context", "8", "--quiet"], capture_output=True,
                                    timeout=30).returncode
        except subprocess.TimeoutExpired:
            status = "a timeout"
        if status not in (0, 1):
            kept = os.path.join(os.path.dirname(SURPRISAL), f"mutation-{i}.gguf")
            shutil.copyfile(path, kept)
            check(False, f"mutation {i}", f"ends with {status}; kept as {kept}")
        if time.time() > stop:
            skip("mutations", f"{n - i - 1} of {n} left after {seconds} s")
            break
    check(True, f"{i + 1} mutations of a GGUF")


def test_tokenizer():
    """The file's own tokens, template and end."""
    path = make_demo(gguf.token_metadata(DEMO))
    text = os.path.join(ROOT, "data", "demo", "text.txt")
    own, given = (run("tokenize", text, "--tokenizer", t).stdout for t in (path, DEMO))
    check(own == given, "the tokens of the file are those of tokenizer.json", "they differ")
    chats = [json.loads(run("generate", p, "--chat", "--prompt", "Who are you?", "--max-tokens", "8", "--temperature", "0",
                            "--json").stdout) for p in (path, DEMO)]
    check(chats[0]["prompt_ids"] == chats[1]["prompt_ids"], "the template of the file", f"{chats}")
    check(chats[0]["ids"] == chats[1]["ids"], "a chat with a GGUF", f"{chats}")
    summary, _ = evaluate(path, text, "--context", "256", "--max-windows", "2")
    check(any("without NFC" in w and "\\p{L}" in w for w in summary["warnings"]), "the report names pattern and missing NFC",
          summary["warnings"])
    for name, changes, expected in (
            ("another pre-tokenizer", {"tokenizer.ggml.pre": "llama-bpe"}, "tokenizer.ggml.pre is not 'qwen35'"),
            ("another kind of vocabulary", {"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.model is not 'gpt2'"),
            ("tokens without types", {"tokenizer.ggml.token_type": [1, 1]}, "token_type is no list of a number for each"),
            ("merges that are numbers", {"tokenizer.ggml.merges": [1, 1]}, "tokenizer.ggml.merges is no list of texts"),
            ("no tokens", {"tokenizer.ggml.tokens": 7}, "tokenizer.ggml.tokens is no list of texts")):
        done = subprocess.run([SURPRISAL, "tokenize", text, "--tokenizer", make_demo(gguf.token_metadata(DEMO) | changes)],
                              capture_output=True, text=True)
        check(done.returncode == 1 and expected in done.stderr, f"refused: {name}", done.stderr[-300:])


def test_verify():
    """Through the order of heads and 1 + w: nothing differs but rounding."""
    done = subprocess.run([SURPRISAL, "verify", make_demo(gguf.token_metadata(DEMO)), "--against", DEMO, "--all"],
                          capture_output=True, text=True)
    *notes, last = done.stdout.splitlines()
    check([n.split(" weights of ")[-1] for n in notes] == ["'visual' is here", "'mtp' is here"] and "no findings" in last,
          "verify against the original", done.stdout[:300])
    q8 = os.path.join(ROOT, "data", "demo", "formats", "demo-Q8_0.gguf")
    for name, args in (("alone", ()), ("against the original", ("--against", DEMO))):
        codes, lines = codes_of(q8, *args)
        check(not codes, f"a GGUF with a quantized embedding has no fault, {name}", lines[:300])


def test_tokens():
    """The list of tokens beside the original's tokenizer.json."""
    known = gguf.token_metadata(DEMO)
    key = "tokenizer.ggml.tokens"
    tokens = known[key]

    def kind(id, to):
        raw = bytearray(known["tokenizer.ggml.token_type"])
        struct.pack_into("<i", raw, 12 + 4 * id, to)
        return {"tokenizer.ggml.token_type": gguf.Raw(raw)}

    added, special = tokens.index("<|endoftext|>"), tokens.index("<|im_end|>")
    last = max(i for i, t in enumerate(tokens) if not t.startswith("[PAD"))
    for name, metadata, expected in (
            ("equal tokens", {}, None),
            ("two tokens that changed places", {key: tokens[:7] + [tokens[8], tokens[7]] + tokens[9:]},
             f"tokens are not the original's, the first 7: '{tokens[8]}', '{tokens[7]}' in the original"),
            ("the last token is not used", kind(last, 5),
             f"1 of {last + 1} tokens are not the original's, the first {last}: no token, added '{tokens[last]}' in the original"),
            ("an added token that is another", kind(added, 1), f"the first {added}: '{tokens[added]}', added '"),
            ("a token among others is not used", kind(300, 5), "is not in the vocabulary"),
            ("a special token that is an added one", kind(special, 4), None),
            ("another pre-tokenizer", {"tokenizer.ggml.pre": "qwen2"}, "tokenizer.ggml.pre is not 'qwen35'"),
            ("tokens that are no texts", {key: 7}, "tokenizer.ggml.tokens is no list of texts")):
        codes, lines = codes_of(make_demo(known | metadata), "--against", DEMO)
        check(codes == (["tokens"] if expected else []) and (expected or "[]") in lines, f"{name}, against the original",
              lines[:400])
    bare = fresh("bare")
    shutil.copytree(DEMO, bare, ignore=shutil.ignore_patterns("tokenizer.json"))
    codes, lines = codes_of(make_demo(known), "--against", bare)
    check(not codes, "an original without a tokenizer is passed over", lines[:300])
    shutil.rmtree(bare)


def set_one(name, at, value):
    """Of F32, or BF16 as its bits, where the file has it."""
    def change(tensors):
        kind, a = tensors[name]
        a = a.copy()
        a[at] = value(a[at])
        tensors[name] = kind, a
    return change


def cast(name, kind):
    """BF16 as F16 or F32, F32 as F16 or BF16."""
    def change(tensors):
        a = gguf.f32(tensors[name][1])
        tensors[name] = kind, st.bf16(a) if kind == "BF16" else a.astype(np.float16 if kind == "F16" else np.float32)
    return change


def test_plain():
    """Through order of heads, 1 + w and -exp(A_log): the last bit of a value is seen, the rounding of a dtype is not."""
    up = lambda x: np.nextafter(x, np.float32(9))
    far = lambda x: x * np.float32(1 + 2.0 ** -7)
    for name, change, expected in (
            ("a bit of a matrix whose heads moved", set_one("blk.0.attn_gate.weight", (70, 3), lambda x: x ^ 1), True),
            ("a bit of columns that moved", set_one("blk.1.ssm_out.weight", (3, 70), lambda x: x ^ 1), True),
            ("a norm of 1 + w", set_one("blk.2.attn_norm.weight", 5, far), True),
            ("a norm without its 1", lambda t: t.update({"blk.2.attn_norm.weight": ("F32", t["blk.2.attn_norm.weight"][1] - 1)}),
             True),
            ("a rate", set_one("blk.0.ssm_a", 1, far), True),
            ("a rate whose exp rounds otherwise", set_one("blk.0.ssm_a", 1, up), False),
            ("a matrix in F32", cast("blk.0.attn_gate.weight", "F32"), False),
            ("a matrix in F16", cast("blk.0.attn_gate.weight", "F16"), False),
            ("norms in F16", cast("blk.2.attn_norm.weight", "F16"), False),
            ("a router in BF16", cast("blk.2.ffn_gate_inp.weight", "BF16"), False)):
        codes, lines = codes_of(make_demo(gguf.token_metadata(DEMO), change), "--against", DEMO)
        check(codes == (["differs"] if expected else []), f"{name}: {'found' if expected else 'none'}", lines[:400])


def codes_of(path, *args):
    """-> the codes of verify's findings and notes, and their lines"""
    found = json.loads(subprocess.run([SURPRISAL, "verify", path, *args, "--threads", "2", "--json"], capture_output=True,
                                      text=True).stdout)["findings"]
    return sorted({f["code"] for f in found}), str(found)


def test_bad_scales():
    """verify names the block, also in the last of several tiles."""
    metadata, tensors = tiny()
    for name, make, expected in REFUSALS:
        if "at [" in expected:
            codes, lines = codes_of(make(metadata, tensors))
            check("scale-nan" in codes and expected.split("' ")[-1] in lines, f"verify finds {name}", lines[:300])
    rows, blocks = 24000, 8
    q8 = np.random.default_rng(5).integers(0, 256, (rows, blocks, 34), np.uint8)
    q8[:, :, :2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    q8[20001, 3, :2] = list(F16_INF.to_bytes(2, "little"))
    big = {"token_embd.weight": gguf.tensor("F32", np.ones((rows, 256), np.float32)),
           "output.weight": gguf.tensor("Q8_0", ((rows, 256), q8.tobytes()))}
    codes, lines = codes_of(of(tensors=big)(metadata, tensors))
    check("scale-nan" in codes and "NaN or infinite, at [20001, 96]" in lines, "verify finds a scale in a later tile", lines)


def main():
    attempt("demo", test_demo)
    attempt("tokenizer", test_tokenizer)
    attempt("verify", test_verify)
    attempt("bad scales", test_bad_scales)
    attempt("plain tensors", test_plain)
    attempt("tokens", test_tokens)
    attempt("dequantize", test_dequantize)
    attempt("dequantize types", test_dequantize_types)
    attempt("dequantize refusals", test_dequantize_refuses)
    attempt("dequantize demo", test_dequantize_demo)
    attempt("refusals", test_refusals)
    attempt("split", test_split)
    attempt("mutations", test_mutations)
    for shift in (0, 11):
        attempt("types", test_types, shift)
    done()


if __name__ == "__main__":
    main()
