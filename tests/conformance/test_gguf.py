#!/usr/bin/env python3
"""GGUF files: the demo checkpoint as llama.cpp's converter writes it scores as its safetensors do; a model of all types
scores as its twin in F32, whose values are ggml's own (ggml_rows.npz), bit for bit on each set of kernels."""
import json
import os
import struct

import numpy as np
import gguf_files as gguf
import safetensors_io as st
from program import ROOT, SURPRISAL, TEMP, evaluate, fresh, run

from check import QUICK, attempt, check, done

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


def make_mixed(shift):
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


def main():
    attempt("demo", test_demo)
    for shift in (0, 11):
        attempt("types", test_types, shift)
    done()


if __name__ == "__main__":
    main()
