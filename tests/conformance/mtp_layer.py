"""The MTP layer in float64 with numpy: ../../../shared/oracle/mtp.py, literally, from weights in a dictionary; and checkpoints that get
such a layer with random weights."""
import json
import os
import shutil

import numpy as np
import safetensors_io as st
from program import FIXTURES, fresh

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


# ---- the layer -------------------------------------------------------------------------------------

def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (1 + weight)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def mlp(x, gate, up, down):
    a = x @ gate.T
    return (a * sigmoid(a) * (x @ up.T)) @ down.T


def rotate(x, c):
    """x [T, heads, d]: the first `rotary` channels of position t turn"""
    rope = c["rope_parameters"]
    rotary = int(c["head_dim"] * rope["partial_rotary_factor"])
    angle = np.arange(len(x))[:, None] / rope["rope_theta"] ** (np.arange(0, rotary, 2) / rotary)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b, rest = x[..., :rotary // 2], x[..., rotary // 2:rotary], x[..., rotary:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], -1)


def attention(w, c, x):
    T, H, KV, d, eps = len(x), c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"], c["rms_norm_eps"]
    q, gate = np.moveaxis((x @ w["self_attn.q_proj"].T).reshape(T, H, 2, d), 2, 0)
    k, v = ((x @ w[f"self_attn.{n}_proj"].T).reshape(T, KV, d) for n in "kv")
    q, k = (rotate(rms_norm(y, w[f"self_attn.{n}_norm"], eps), c) for y, n in ((q, "q"), (k, "k")))
    k, v = (np.repeat(y, H // KV, 1) for y in (k, v))
    score = np.einsum("thd,shd->hts", q, k) / np.sqrt(d)
    score[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf
    return (np.einsum("hts,shd->thd", softmax(score), v) * sigmoid(gate)).reshape(T, H * d) @ w["self_attn.o_proj"].T


def experts(w, c, x):
    prob, k = softmax(x @ w["mlp.gate"].T), c["num_experts_per_tok"]
    out = sigmoid(x @ w["mlp.shared_expert_gate"].T) * mlp(x, *(w[f"mlp.shared_expert.{n}_proj"] for n in ("gate", "up", "down")))
    for t in range(len(x)):
        chosen = np.argsort(-prob[t], kind="stable")[:k]
        for e in chosen:
            y = mlp(x[t], *(w[f"mlp.experts.{e}.{n}_proj"] for n in ("gate", "up", "down")))
            out[t] += prob[t, e] / prob[t, chosen].sum() * y
    return out


def slot_inputs(w, c, tokens, hidden):
    eps = c["rms_norm_eps"]
    e, h = rms_norm(w["E"][tokens], w["pre_fc_norm_embedding"], eps), rms_norm(hidden, w["pre_fc_norm_hidden"], eps)
    return np.concatenate([e, h], -1) @ w["fc"].T


def layer(w, c, x):
    eps = c["rms_norm_eps"]
    x = x + attention(w, c, rms_norm(x, w["input_layernorm"], eps))
    h = rms_norm(x, w["post_attention_layernorm"], eps)
    x = x + (experts(w, c, h) if c.get("num_experts") else mlp(h, *(w[f"mlp.{n}_proj"] for n in ("gate", "up", "down"))))
    return rms_norm(x, w["norm"], eps)


def acceptance(w, c, ids, h, drafts):
    """h [T - 1, D]: the model's final hidden states -> [{draft, positions, same_top1, accepted, mean_nll}]"""
    ids = np.asarray(ids)
    x = slot_inputs(w, c, ids[1:], h)
    out, result, main = [layer(w, c, x)], [], softmax(h @ w["head"].T)
    for k in range(1, drafts):
        rows = []
        for i in range(len(ids) - 1 - k):
            chain = x[:i + 1]
            for j in range(1, k + 1):
                chain = np.concatenate([chain, slot_inputs(w, c, ids[i + j + 1:i + j + 2], out[j - 1][i][None])])
            rows.append(layer(w, c, chain)[-1])
        out.append(np.array(rows).reshape(-1, h.shape[1]))
    for k, m in enumerate(out):
        n = len(ids) - 2 - k
        p, q, target = main[k + 1:k + 1 + n], softmax(m[:n] @ w["head"].T), ids[k + 2:]
        result.append(dict(draft=k + 1, positions=n, same_top1=(p.argmax(-1) == q.argmax(-1)).sum(),
                           accepted=np.minimum(p, q).sum(), nll=-np.log(q[np.arange(n), target]).sum()))
    return result


# ---- checkpoints -----------------------------------------------------------------------------------

def shapes(c):
    """-> {name after mtp.: shape}, all but experts"""
    D, q, kv, d = c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"], c["head_dim"]
    of = {"fc": (D, 2 * D), "pre_fc_norm_embedding": (D,), "pre_fc_norm_hidden": (D,), "norm": (D,)}
    of |= {"layers.0." + n: s for n, s in {
        "input_layernorm": (D,), "post_attention_layernorm": (D,), "self_attn.q_norm": (d,), "self_attn.k_norm": (d,),
        "self_attn.q_proj": (2 * q, D), "self_attn.k_proj": (kv, D), "self_attn.v_proj": (kv, D), "self_attn.o_proj": (D, q)}.items()}
    if not c.get("num_experts"):
        I = c["intermediate_size"]
        return of | {f"layers.0.mlp.{n}_proj": (D, I) if n == "down" else (I, D) for n in ("gate", "up", "down")}
    S = c["shared_expert_intermediate_size"]
    return of | {"layers.0.mlp.gate": (c["num_experts"], D), "layers.0.mlp.shared_expert_gate": (1, D)} | {
        f"layers.0.mlp.shared_expert.{n}_proj": (D, S) if n == "down" else (S, D) for n in ("gate", "up", "down")}


def packed(rng, rows, cols):
    """-> codes, scales, their values"""
    codes = rng.integers(0, 256, (rows, cols // 2), np.uint8)
    scales = rng.integers(121, 124, (rows, cols // 32), np.uint8)
    values = E2M1[np.stack([codes & 15, codes >> 4], -1).reshape(rows, cols)]
    return codes, scales, values * np.repeat(2.0 ** (scales.astype(int) - 127), 32, 1)


def add_layer(fixture, seed, storage="fused", prefix="mtp.", without=()):
    """A copy of a fixture with a random MTP layer; storage of its experts: fused, split or packed -> folder, weights, config"""
    folder, rng = fresh("mtp"), np.random.default_rng(seed)
    shutil.copytree(os.path.join(FIXTURES, fixture), folder, ignore=shutil.ignore_patterns("expected*"))
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    c = config.get("text_config", config)
    tensors, dtypes, w = {}, {}, {}

    def put(name, values):
        tensors[prefix + name], dtypes[prefix + name] = st.bf16(values), "BF16"
        return st.from_bf16(tensors[prefix + name]).astype(float)

    for name, shape in shapes(c).items():
        w[name.removeprefix("layers.0.")] = put(name + ".weight", rng.normal(0, 1.5 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.2, shape))
    fused = {"gate_up_proj": [], "down_proj": []}
    for e in range(c.get("num_experts", 0)):
        for n in ("gate_proj", "up_proj", "down_proj"):
            D, I, name = c["hidden_size"], c["moe_intermediate_size"], f"mlp.experts.{e}.{n}"
            shape = (D, I) if n == "down_proj" else (I, D)
            if storage == "packed":
                codes, scales, w[name] = packed(rng, *shape)
                tensors |= {f"{prefix}layers.0.{name}.weight_packed": codes, f"{prefix}layers.0.{name}.weight_scale": scales}
                continue
            values = rng.normal(0, 1.5 / np.sqrt(shape[1]), shape)
            w[name] = st.from_bf16(st.bf16(values)).astype(float)
            if storage == "split":
                put(f"layers.0.{name}.weight", values)
            else:
                fused["down_proj" if n == "down_proj" else "gate_up_proj"].append(values)
    if storage == "fused" and c.get("num_experts"):
        put("layers.0.mlp.experts.gate_up_proj", np.concatenate(fused["gate_up_proj"]).reshape(c["num_experts"], -1, c["hidden_size"]))
        put("layers.0.mlp.experts.down_proj", np.stack(fused["down_proj"]))
    tensors = {n: t for n, t in tensors.items() if not any(x in n for x in without)}
    append(os.path.join(folder, "model.safetensors"), tensors, dtypes)
    return folder, w | outer_weights(folder), c


def append(path, tensors, dtypes):
    header, data = st.split(path)
    for name, a in tensors.items():
        raw = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": dtypes.get(name) or st.NAMES[a.dtype], "shape": list(a.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    st.join(path, header, data)


def outer_weights(folder):
    """The embedding and the head"""
    header, _ = st.split(os.path.join(folder, "model.safetensors"))
    tensors = st.read(os.path.join(folder, "model.safetensors"))

    def find(end):
        for name in tensors:
            module = name.removesuffix(".weight_packed").removesuffix(".weight")
            if module.endswith(end) and name.endswith((".weight", ".weight_packed")) and not name.startswith("mtp"):
                return value(module, name)
        return None

    def value(module, name):
        a, dtype = tensors[name], header[name]["dtype"]
        if name.endswith("_packed"):
            scales = tensors[module + ".weight_scale"]
            codes = E2M1[np.stack([a & 15, a >> 4], -1).reshape(len(a), -1)]
            return codes * np.repeat(2.0 ** (scales.astype(int) - 127), 32, 1)
        return st.from_bf16(a).astype(float) if dtype == "BF16" else a.astype(float)

    E = find("embed_tokens")
    head = find("lm_head")
    return {"E": E, "head": E if head is None else head}
