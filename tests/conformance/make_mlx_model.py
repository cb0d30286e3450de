"""Writes fixtures/mlx: a random model as mlx_lm converts and quantizes it, and what mlx_lm computes with it in F32.

    pip install "mlx[cpu]==0.32.4" mlx-lm==0.32.2 numpy
    python3 make_mlx_model.py

Linears have 4 bits in groups of 64, but for those that EXTRA names, and the router and shared_expert_gate, which mlx_lm makes 8 bits.
For the results, weights are expanded in F32 (mx.dequantize) and the model runs in F32: mlx_lm's own mathematics, without rounding to
BF16.
"""
import json
import os
import shutil

import fp8
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import safetensors_io as st
from mlx.utils import tree_flatten, tree_map
from mlx_lm.models import qwen3_5_moe
from mlx_lm.utils import save_config, save_model

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "mlx")
SIZES = (128, 120, 2, 1, 32, 1, 2, 32, 32, 3, 64, 64)
EXTRA = {"self_attn.k_proj": dict(group_size=32, bits=3), "self_attn.v_proj": dict(group_size=128, bits=6),
         "linear_attn.out_proj": dict(group_size=32, bits=5), "linear_attn.in_proj_z": dict(group_size=32, bits=4, mode="mxfp4"),
         "linear_attn.in_proj_qkv": dict(group_size=32, bits=8, mode="mxfp8"), "self_attn.o_proj": dict(group_size=32, bits=2),
         "shared_expert.gate_proj": dict(group_size=16, bits=4, mode="nvfp4"), "self_attn.q_proj": False}


def plain(module):
    """Quantized modules -> weights in F32; and all else in F32."""
    def expand(m):
        if not hasattr(m, "scales"):
            return m
        mode = m.mode
        scales = m.scales if mode != "affine" else m.scales.astype(mx.float32)
        biases = m.biases.astype(mx.float32) if mode == "affine" else None
        w = mx.dequantize(m.weight, scales, biases, group_size=m.group_size, bits=m.bits, mode=mode, dtype=mx.float32)
        if isinstance(m, nn.QuantizedEmbedding):
            out = nn.Embedding(*w.shape)
        elif w.ndim == 3:
            from mlx_lm.models.switch_layers import SwitchLinear
            out = SwitchLinear(w.shape[2], w.shape[1], w.shape[0], bias=False)
        else:
            out = nn.Linear(w.shape[1], w.shape[0], bias=False)
        out.weight = w
        return out
    leaves = module.leaf_modules()
    module.update_modules(tree_map(expand, leaves, is_leaf=nn.Module.is_module))
    module.update(tree_map(lambda a: a.astype(mx.float32), module.parameters()))
    return module


def main():
    config, tensors = fp8.random_checkpoint(5, SIZES)
    config["text_config"]["full_attention_interval"] = 2     # what mlx_lm reads instead of layer_types
    args = qwen3_5_moe.ModelArgs.from_dict(config)
    model = qwen3_5_moe.Model(args)
    weights = {name: mx.array(st.from_bf16(a)).astype(mx.bfloat16) for name, a in tensors.items()}
    model.load_weights(list(model.sanitize(weights).items()))
    own, settings = model.quant_predicate, {}

    def predicate(path, m):
        if not hasattr(m, "to_quantized"):
            return False
        said = next((v for end, v in EXTRA.items() if path.endswith(end)), own(path, m))
        settings.update({path: said} if said is not True else {})
        return said
    nn.quantize(model, 64, 4, class_predicate=predicate)
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    save_model(FOLDER, model)
    config["quantization"] = config["quantization_config"] = dict(group_size=64, bits=4, mode="affine") | settings
    save_config(config, os.path.join(FOLDER, "config.json"))
    ids = np.random.default_rng(2).integers(0, SIZES[1], 60)
    logits = np.array(plain(model)(mx.array(ids[None])))[0].astype(np.float64)
    top = logits.max(-1, keepdims=True)
    nll = (np.log(np.exp(logits - top).sum(-1)) + top[:, 0])[:-1] - logits[np.arange(59), ids[1:]]
    with open(os.path.join(FOLDER, "results.json"), "w") as f:
        json.dump(dict(ids=ids.tolist(), nll=nll.tolist()), f)
    for name, a in tree_flatten(model.parameters()):
        assert np.isfinite(np.array(a)).all(), name


if __name__ == "__main__":
    main()
