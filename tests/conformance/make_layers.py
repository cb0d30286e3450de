"""What happens inside the layers of the demo pair, in float64, into ../fixtures/goldens/.

    python make_layers.py

Needs torch and ../../../shared.  Over the prompt's ids but the last:
  layers.json                        of the pair, by layer: residual_error, output_error, same_experts,
                                     changed_experts (eval/compare/layers.h says what they are); and the ids
  tiny-mxfp4/inputs.safetensors      of some layers, for each module X that is a linear layer:
                                     X.input_mean_square F64 [in] and X.tokens I64 [1]
"""
import json
import os
import re
import sys

import numpy as np
import safetensors_io as st
import torch
from program import FIXTURES, SHARED

sys.path.insert(0, os.path.join(SHARED, "oracle"))
import reference  # noqa: E402

GOLDENS = os.path.join(FIXTURES, "goldens")
KEPT = (0, 3, 7)                            # layers whose inputs are kept: both kinds, first and last
LINEAR = re.compile(r"(_proj|_proj_\w+|in_proj_\w+|mlp\.gate|shared_expert_gate)\.weight$")


class Linear:
    """A weight that notes what it is multiplied with: x @ w.T"""

    def __init__(self, seen, name, weight):
        self.seen, self.name, self.weight, self.T = seen, name, weight, self

    def __rmatmul__(self, x):
        self.seen.setdefault(self.name, []).append(x)
        return x @ self.weight.T


class Checkpoint(reference.Checkpoint):
    def __init__(self, folder):
        super().__init__(folder)
        self.seen = {}

    def __call__(self, name):
        weight = super().__call__(name)
        return Linear(self.seen, name.removesuffix(".weight"), weight) if LINEAR.search(name) else weight

    def expert(self, layer, e, which):
        weight = super().expert(layer, e, which)
        return weight if isinstance(weight, Linear) else Linear(self.seen, f"layers.{layer}.mlp.experts.{e}.{which}", weight)


def layer(ck, i, x, routing):
    """As hidden_states goes through layer i"""
    c = ck.config
    eps, kind = c["rms_norm_eps"], c["layer_types"][i]
    h = reference.rms_norm(x, ck(f"layers.{i}.input_layernorm.weight"), eps)
    if kind == "linear_attention":
        x = x + reference.gated_delta_net(ck, i, h)
    else:
        x = x + reference.gated_attention(ck, i, h, *reference.rope_angles(c, torch.arange(len(x)), x.dtype))
    h = reference.rms_norm(x, ck(f"layers.{i}.post_attention_layernorm.weight"), eps)
    return x + reference.sparse_moe(ck, i, h, routing)


def compare(a, b, ids):
    xa, xb = (ck("embed_tokens.weight")[torch.tensor(ids)] for ck in (a, b))
    rows = []
    for i in range(a.config["num_hidden_layers"]):
        routing_a, routing_b = [], []
        a.seen, b.seen = {}, {}
        before, xa = xa, layer(a, i, xa, routing_a)
        alone = layer(b, i, before, [])
        b.seen = {}
        xb = layer(b, i, xb, routing_b)
        if i in KEPT:
            yield b.seen
        sets = [[set(row) for row in r[0].tolist()] for r in (routing_a, routing_b)]
        rows.append(dict(residual_error=float((xb - xa).norm() / xa.norm()),
                         output_error=float((alone - xa).norm() / (xa - before).norm()),
                         same_experts=float(np.mean([p == q for p, q in zip(*sets)])),
                         changed_experts=float(np.mean([len(p - q) / len(p) for p, q in zip(*sets)]))))
    with open(os.path.join(GOLDENS, "layers.json"), "w") as f:
        json.dump(dict(ids=ids, layers=rows), f)
        f.write("\n")


def main():
    a, b = (Checkpoint(os.path.join(SHARED, "checkpoints", n)) for n in ("tiny-bf16", "tiny-mxfp4"))
    ids = st.read(os.path.join(GOLDENS, "tiny-mxfp4", "prompt.safetensors"))["ids"].tolist()[:-1]
    tensors = {}
    for seen in compare(a, b, ids):
        for name, xs in seen.items():
            x = torch.cat(xs)
            name = "model.language_model." + name
            tensors[name + ".input_mean_square"] = x.pow(2).mean(0).numpy()
            tensors[name + ".tokens"] = np.array([len(x)], np.int64)
    st.write(os.path.join(GOLDENS, "tiny-mxfp4", "inputs.safetensors"), tensors)


if __name__ == "__main__":
    main()
