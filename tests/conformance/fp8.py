"""FP8 checkpoints with block scales, as Qwen releases them, and their twins in F32, with numpy alone.

A weight is E4M3[code] * scale, the scale being that of its block of rows and columns; blocks at the edges are partial.
"""
import json
import os
import re

import numpy as np
import safetensors_io as st

# Sign, 4 bits of exponent with bias 7, 3 of fraction; 0x7F and 0xFF are NaN.
CODES = np.arange(256)
EXPONENT, FRACTION = CODES >> 3 & 15, CODES & 7
VALUES = np.where(EXPONENT > 0, (1 + FRACTION / 8) * 2.0 ** (EXPONENT - 7), FRACTION / 8 * 2.0 ** -6)
VALUES = np.where(CODES & 127 == 127, np.nan, np.where(CODES & 128, -VALUES, VALUES)).astype(np.float32)

NOT_CONVERTED = r"(lm_head|embed_tokens|norm|conv1d|in_proj_[ab]|mlp\.gate|shared_expert_gate)\.weight$|A_log|dt_bias"


def nearest(x):
    """The code of the nearest value; ties to either."""
    order = np.argsort(VALUES[:127])
    magnitudes = VALUES[:127][order]
    above = np.clip(np.searchsorted(magnitudes, np.abs(x)), 1, 126)
    lower = np.abs(x) - magnitudes[above - 1] < magnitudes[above] - np.abs(x)
    return (order[above - lower] | np.where(np.signbit(x), 128, 0)).astype(np.uint8)


def spread(scale, block, shape):
    """One scale for each element."""
    return np.repeat(np.repeat(scale, block[0], 0), block[1], 1)[:shape[0], :shape[1]]


def quantize(w, block, scale_dtype):
    """-> codes U8, scales as stored, the values F32"""
    padded = np.zeros([-(-n // b) * b for n, b in zip(w.shape, block)], np.float32)
    padded[:w.shape[0], :w.shape[1]] = np.abs(w)
    largest = padded.reshape(padded.shape[0] // block[0], block[0], -1, block[1]).max((1, 3))
    scale = np.maximum(largest / 448, 1e-12).astype(np.float32)
    if scale_dtype == "BF16":
        stored = st.bf16(scale)
        scale = st.from_bf16(stored)
    elif scale_dtype == "F8_E8M0":
        stored = np.clip(np.ceil(np.log2(scale)) + 127, 0, 254).astype(np.uint8)
        scale = (2.0 ** (stored.astype(float) - 127)).astype(np.float32)
    else:
        stored = scale
    each = spread(scale, block, w.shape)
    codes = nearest(np.clip(w / each, -448, 448))
    return codes, stored, VALUES[codes] * each


def split_experts(tensors):
    """Fused experts as one tensor each."""
    out = {}
    for name, a in tensors.items():
        if not re.search(r"\.experts\.(gate_up|down)_proj$", name):
            out[name] = a
            continue
        parent = name.rsplit(".", 1)[0]
        parts = ["gate_proj", "up_proj"] if name.endswith("gate_up_proj") else ["down_proj"]
        for e, slab in enumerate(a):
            for part, rows in zip(parts, np.split(slab, len(parts))):
                out[f"{parent}.{e}.{part}.weight"] = rows
    return out


def write(folder, config, tensors, dtypes={}):
    os.makedirs(folder)
    st.write(os.path.join(folder, "model.safetensors"), tensors, dtypes)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)


def make(fp8, twin, config, tensors, block=(128, 128), scale_dtype="BF16"):
    """Writes both folders.  tensors: {name: BF16 bits or F32}"""
    packed, plain, dtypes, kept = {}, {}, {}, []
    for name, a in split_experts(tensors).items():
        if not name.endswith(".weight") or a.ndim != 2 or re.search(NOT_CONVERTED, name) or "layers." not in name:
            packed[name] = plain[name] = a
            kept += [name[:-len(".weight")]] if name.endswith(".weight") and a.ndim == 2 else []
            continue
        w = st.from_bf16(a) if a.dtype == np.uint16 else a
        packed[name], packed[name + "_scale_inv"], plain[name] = quantize(w, block, scale_dtype)
        dtypes[name] = "F8_E4M3"
        if scale_dtype == "F8_E8M0":
            dtypes[name + "_scale_inv"] = scale_dtype
    settings = dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=list(block),
                    modules_to_not_convert=kept)
    write(fp8, config | dict(quantization_config=settings), packed, dtypes)
    write(twin, config, plain)
    return packed, dtypes


def random_checkpoint(seed, sizes=(320, 300, 5, 1, 64, 2, 4, 40, 50, 5, 200, 136)):
    """Sizes that no block divides: hidden 320, experts of 200 -> config, tensors in BF16"""
    rng = np.random.default_rng(seed)
    D, V, H, KV, d, HK, HV, dk, dv, E, I, S = sizes
    text = dict(model_type="qwen3_5_moe_text", hidden_size=D, num_hidden_layers=2, vocab_size=V, rms_norm_eps=1e-6,
                hidden_act="silu", tie_word_embeddings=False, attention_bias=False, attn_output_gate=True,
                max_position_embeddings=4096, num_attention_heads=H, num_key_value_heads=KV, head_dim=d,
                linear_num_key_heads=HK, linear_num_value_heads=HV, linear_key_head_dim=dk, linear_value_head_dim=dv,
                linear_conv_kernel_dim=4, num_experts=E, num_experts_per_tok=2, moe_intermediate_size=I,
                shared_expert_intermediate_size=S, layer_types=["linear_attention", "full_attention"],
                rope_parameters=dict(rope_type="default", rope_theta=10000000, partial_rotary_factor=0.25))
    shapes = {"embed_tokens.weight": (V, D), "norm.weight": (D,)}
    for i in range(2):
        at = f"layers.{i}."
        mixer = {"linear_attn.in_proj_qkv.weight": (2 * HK * dk + HV * dv, D), "linear_attn.in_proj_z.weight": (HV * dv, D),
                 "linear_attn.in_proj_a.weight": (HV, D), "linear_attn.in_proj_b.weight": (HV, D),
                 "linear_attn.conv1d.weight": (2 * HK * dk + HV * dv, 1, 4), "linear_attn.A_log": (HV,),
                 "linear_attn.dt_bias": (HV,), "linear_attn.norm.weight": (dv,),
                 "linear_attn.out_proj.weight": (D, HV * dv)} if i == 0 else {
                     "self_attn.q_proj.weight": (2 * H * d, D), "self_attn.k_proj.weight": (KV * d, D),
                     "self_attn.v_proj.weight": (KV * d, D), "self_attn.o_proj.weight": (D, H * d),
                     "self_attn.q_norm.weight": (d,), "self_attn.k_norm.weight": (d,)}
        mlp = {"input_layernorm.weight": (D,), "post_attention_layernorm.weight": (D,), "mlp.gate.weight": (E, D),
               "mlp.shared_expert.gate_proj.weight": (S, D), "mlp.shared_expert.up_proj.weight": (S, D),
               "mlp.shared_expert.down_proj.weight": (D, S), "mlp.shared_expert_gate.weight": (1, D),
               "mlp.experts.gate_up_proj": (E, 2 * I, D), "mlp.experts.down_proj": (E, D, I)}
        shapes |= {at + name: shape for name, shape in (mixer | mlp).items()}
    tensors = {"model.language_model." + name: rng.standard_normal(shape) * (shape[-1] ** -0.5 if len(shape) > 1 else 0.1)
               for name, shape in shapes.items()}
    tensors["lm_head.weight"] = rng.standard_normal((V, D)) * 3 * D ** -0.5
    return (dict(model_type="qwen3_5_moe", tie_word_embeddings=False, text_config=text),
            {name: st.bf16(a.astype(np.float32)) for name, a in tensors.items()})
