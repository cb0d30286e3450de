"""GGUF files with numpy alone, and the demo checkpoint as llama.cpp's converter would write it."""
import json
import struct

import numpy as np
import safetensors_io as st

PLAIN = {"F32": 0, "F16": 1, "BF16": 30}
# Of ggml's types: id, columns and bytes of a block.
TYPES = {"Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22), "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34),
         "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110), "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176),
         "Q6_K": (14, 256, 210), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98),
         "IQ1_S": (19, 256, 50), "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82),
         "IQ4_XS": (23, 256, 136), "IQ1_M": (29, 256, 56), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17),
         "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}


def text(s):
    raw = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(raw)) + raw


# Of a value's Python type: GGUF's number of the type, and its bytes.
def value(x):
    if isinstance(x, bool):
        return 7, struct.pack("<?", x)
    if isinstance(x, int):
        return 4, struct.pack("<I", x)
    if isinstance(x, np.uint16):
        return 2, struct.pack("<H", x)
    if isinstance(x, float):
        return 6, struct.pack("<f", x)
    if isinstance(x, (str, bytes)):
        return 8, text(x)
    kinds = [value(e) for e in x]
    return 9, struct.pack("<IQ", kinds[0][0], len(kinds)) + b"".join(k[1] for k in kinds)


class Raw(bytes):
    """An array that is packed already: its type and count in front."""


def entry(key, x):
    number, raw = (9, bytes(x)) if isinstance(x, Raw) else value(x)
    return text(key) + struct.pack("<I", number) + raw


def tensor(kind, a):
    """-> (type's number, ne, bytes); a: an array, or (shape, bytes) of blocks"""
    if kind in PLAIN:
        return PLAIN[kind], a.shape[::-1], np.ascontiguousarray(a).tobytes()
    shape, raw = a
    return TYPES[kind][0], shape[::-1], raw


def write(path, metadata, tensors, version=3, alignment=32, magic=b"GGUF"):
    """metadata: {key: value}; tensors: {name: (type's number, ne, bytes)}"""
    head = magic + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(entry(k, v) for k, v in metadata.items())
    data = b""
    for name, (number, ne, raw) in tensors.items():
        data += b"\0" * (-len(data) % alignment)
        head += text(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, number, len(data))
        data += raw
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % alignment) + data)


def settings(c, tied=False):
    """The metadata of a text config."""
    moe = "num_experts" in c
    a = "qwen35moe." if moe else "qwen35."
    rope = c["rope_parameters"]
    out = {"general.architecture": a[:-1], a + "block_count": c["num_hidden_layers"],
           a + "embedding_length": c["hidden_size"], a + "context_length": c["max_position_embeddings"],
           a + "attention.head_count": c["num_attention_heads"], a + "attention.head_count_kv": c["num_key_value_heads"],
           a + "attention.key_length": c["head_dim"], a + "attention.value_length": c["head_dim"],
           a + "attention.layer_norm_rms_epsilon": float(c["rms_norm_eps"]), a + "rope.freq_base": float(rope["rope_theta"]),
           a + "rope.dimension_count": int(c["head_dim"] * rope["partial_rotary_factor"]),
           a + "ssm.conv_kernel": c["linear_conv_kernel_dim"], a + "ssm.state_size": c["linear_key_head_dim"],
           a + "ssm.group_count": c["linear_num_key_heads"], a + "ssm.time_step_rank": c["linear_num_value_heads"],
           a + "ssm.inner_size": c["linear_num_value_heads"] * c["linear_value_head_dim"],
           a + "full_attention_interval": c["full_attention_interval"]}
    if moe:
        out |= {a + "expert_count": c["num_experts"], a + "expert_used_count": c["num_experts_per_tok"],
                a + "expert_feed_forward_length": c["moe_intermediate_size"],
                a + "expert_shared_feed_forward_length": c["shared_expert_intermediate_size"]}
    else:
        out[a + "feed_forward_length"] = c["intermediate_size"]
    return out


NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "linear_attn.in_proj_qkv": "attn_qkv", "linear_attn.in_proj_z": "attn_gate", "linear_attn.in_proj_a": "ssm_alpha",
         "linear_attn.in_proj_b": "ssm_beta", "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm",
         "linear_attn.out_proj": "ssm_out", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
         "mlp.gate": "ffn_gate_inp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
         "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
         "mlp.shared_expert_gate": "ffn_gate_inp_shexp"}
ALWAYS_F32 = ("attn_norm", "post_attention_norm", "attn_q_norm", "attn_k_norm", "ssm_norm", "ssm_conv1d", "ffn_gate_inp",
              "ffn_gate_inp_shexp")


def f32(a):
    return st.from_bf16(a) if a.dtype == np.uint16 else np.asarray(a, np.float32)


def tiled(a, axis, c, heads_only=False):
    """Value heads of one key head, which follow one another, become as far apart as there are key heads."""
    nk, rep = c["linear_num_key_heads"], c["linear_num_value_heads"] // c["linear_num_key_heads"]
    shape = list(a.shape)
    split = shape[:axis] + [nk, rep, shape[axis] // (nk * rep)] + shape[axis + 1:]
    return np.ascontiguousarray(np.swapaxes(a.reshape(split), axis, axis + 1)).reshape(shape)


def behind_keys(a, c):
    keys = 2 * c["linear_num_key_heads"] * c["linear_key_head_dim"]
    return np.concatenate([a[:keys], tiled(a[keys:], 0, c)])


def moved(theirs, a, c):
    """As the converter changes a tensor."""
    if theirs in ("attn_qkv", "ssm_conv1d"):
        return behind_keys(a.reshape(a.shape[0], -1), c)
    if theirs in ("attn_gate", "ssm_alpha", "ssm_beta"):
        return tiled(a, 0, c)
    return tiled(a, 1, c) if theirs == "ssm_out" else a


def of_safetensors(tensors, c, prefix="model.language_model."):
    """The text model's tensors, BF16 and F32 -> {name: (kind, array)}"""
    out = {"token_embd.weight": ("BF16", tensors[prefix + "embed_tokens.weight"]),
           "output_norm.weight": ("F32", f32(tensors[prefix + "norm.weight"]) + np.float32(1))}
    if "lm_head.weight" in tensors:
        out["output.weight"] = ("BF16", tensors["lm_head.weight"])
    for layer in range(c["num_hidden_layers"]):
        p, blk = f"{prefix}layers.{layer}.", f"blk.{layer}."
        for ours, theirs in NAMES.items():
            a = tensors.get(p + ours + ".weight")
            if a is None:
                continue
            a = moved(theirs, a, c)
            if theirs in ALWAYS_F32:
                a = f32(a) + np.float32(theirs.endswith("norm") and theirs != "ssm_norm")
            if theirs == "ffn_gate_inp_shexp":
                a = a.reshape(-1)
            out[blk + theirs + ".weight"] = ("F32" if a.dtype == np.float32 else "BF16", a)
        if p + "linear_attn.A_log" in tensors:
            out[blk + "ssm_a"] = ("F32", tiled(-np.exp(f32(tensors[p + "linear_attn.A_log"])), 0, c))
            out[blk + "ssm_dt.bias"] = ("F32", tiled(f32(tensors[p + "linear_attn.dt_bias"]), 0, c))
        fused = tensors.get(p + "mlp.experts.gate_up_proj")
        if fused is not None:
            half = fused.shape[1] // 2
            out[blk + "ffn_gate_exps.weight"] = ("BF16", fused[:, :half])
            out[blk + "ffn_up_exps.weight"] = ("BF16", fused[:, half:])
            out[blk + "ffn_down_exps.weight"] = ("BF16", tensors[p + "mlp.experts.down_proj"])
    return out


def read_config(folder):
    with open(f"{folder}/config.json") as f:
        config = json.load(f)
    return config.get("text_config", config)


def token_metadata(folder):
    """The tokenizer of a folder, as the converter has it."""
    with open(f"{folder}/tokenizer.json") as f:
        t = json.load(f)
    c = read_config(folder)
    tokens = [f"[PAD{i}]" for i in range(c["vocab_size"])]
    kinds = np.full(len(tokens), 5, np.int32)
    for content, i in t["model"]["vocab"].items():
        tokens[i], kinds[i] = content, 1
    for added in t["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], 3 if added["special"] else 4
    merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
    out = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen35", "tokenizer.ggml.tokens": tokens,
           "tokenizer.ggml.token_type": Raw(struct.pack("<IQ", 5, len(kinds)) + kinds.tobytes()),
           "tokenizer.ggml.merges": merges, "tokenizer.ggml.eos_token_id": c["eos_token_id"]}
    try:
        with open(f"{folder}/chat_template.jinja") as f:
            out["tokenizer.chat_template"] = f.read()
    except FileNotFoundError:
        pass
    return out
