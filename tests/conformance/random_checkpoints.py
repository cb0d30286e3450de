"""Random architectures against the truth: python random_checkpoints.py [--seed N] [--count N]

By hand, and by CI where torch is: draws a checkpoint of random sizes, layer types, experts and storage, has the oracle
compute it, and compares as test_fixtures.py does (which keeps a few such checkpoints with their results).
Tokens whose routing is a near-tie may route otherwise and fail: the gap is printed with the case.
"""
import argparse
import os
import shutil

import numpy as np
from make_fixtures import EVERY_LINEAR, A, L, build, oracle
from program import fresh
from test_fixtures import compare

from check import done, skip


def draw(seed):
    """A case as in make_fixtures.CASES"""
    rng = np.random.default_rng(seed)

    def pick(*options):
        return options[rng.integers(len(options))]

    def between(low, high):
        return int(rng.integers(low, high + 1))

    moe, packed, layers, kv, hk = rng.random() < 0.6, rng.random() < 0.3, between(1, 4), between(1, 4), between(1, 4)
    block = 32 if packed else 1                         # MXFP4 wants a multiple of 32 inputs everywhere
    heads, hv = kv * between(1, 4), hk * between(1, 4)
    head_dim, dv = 2 * between(4, 24), between(3, 40)
    if packed:
        head_dim, dv = 32, 32
    D = pick(32, 64, 96) if packed else between(17, 80)
    case = dict(type=("qwen3_5_moe" if moe else "qwen3_5") + pick("", "_text"), hidden_size=D, num_hidden_layers=layers,
                vocab_size=between(5, 600), layer_types=[pick(L, A) for _ in range(layers)],
                tie_word_embeddings=bool(rng.random() < 0.3), num_attention_heads=heads, num_key_value_heads=kv,
                head_dim=head_dim, linear_num_key_heads=hk, linear_num_value_heads=hv, linear_key_head_dim=between(2, 40),
                linear_value_head_dim=dv, linear_conv_kernel_dim=between(1, 6), rms_norm_eps=pick(1e-6, 1e-5),
                dtype=pick("BF16", "BF16", "F16", "F32"), vectors=pick("F32", None), shards=pick(1, 1, 2, 5),
                index=bool(rng.random() < 0.5), stale=bool(rng.random() < 0.5), T=pick(2, 17, 63, 64, 65, 100, 129, 200))
    case["W"] = max(2, 400 // case["T"])
    case["rotary"] = min(1, (2 * between(1, head_dim // 2) + 1e-6) / head_dim)      # rounded down to an even number
    if moe:
        E = between(1, 40)
        case |= dict(num_experts=E, num_experts_per_tok=between(1, min(E, 10)), fused=bool(not packed and rng.random() < 0.5),
                     moe_intermediate_size=block * between(1, 40 // block),
                     shared_expert_intermediate_size=block * between(1, 40 // block))
    else:
        case["intermediate_size"] = block * between(1, 90 // block)
    if packed:
        case["pack"] = pick(EVERY_LINEAR, r"experts\.\d+\.\w+$", r"(down_proj|o_proj|in_proj_qkv|gate)$")
    case["stale"] &= case["index"] and case["shards"] > 1
    return case


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=20)
    options = options.parse_args()
    try:
        oracle()
    except ImportError as e:
        skip("random checkpoints", e)
        done()
    for seed in range(options.seed, options.seed + options.count):
        folder, case = fresh("random"), draw(seed)
        expected, gap = build(folder, case, seed, margin=0)
        f32 = np.abs(expected["nll_f32"] - expected["nll_truth"])
        print(f"seed {seed}: {case}\n  |transformers - truth| max {f32.max():.1e}, routing gap {gap:.1e}", flush=True)
        compare(f"seed {seed}", folder, expected)
        shutil.rmtree(folder)
    done()


if __name__ == "__main__":
    main()
