#!/usr/bin/env python3
"""What a step costs as the context grows: time of a token after 1,000, 10,000 and 100,000 others, by cache and threads.

    context.py [--contexts 1000,10000,100000] [--tokens 16]

The checkpoint is made here: next to nothing but one layer of full attention with the heads of Qwen3.5-35B-A3B (16 queries, 2 keys,
256 wide), the last one, so that a long prompt takes seconds.  GB/s counts the keys and values that a step reads; threads share
them, however many heads there are.
"""
import argparse
import json
import shutil

import numpy as np
import setting
from changes import CONFIG, in_json
from make_fixtures import MOE, A, L, config_of, stored, write_checkpoint
from program import fresh, ids_file, run

HEADS, KV, HEAD_DIM, VOCABULARY = 16, 2, 256, 97
CASE = MOE | dict(hidden_size=64, num_hidden_layers=2, layer_types=[L, A], num_experts=4, num_experts_per_tok=2,
                  num_attention_heads=HEADS, num_key_value_heads=KV, head_dim=HEAD_DIM, vocab_size=VOCABULARY)


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def make():
    folder = fresh("context")
    config = config_of(CASE)
    write_checkpoint(folder, CASE, config, stored(CASE, config, np.random.default_rng(1)))
    in_json(CONFIG, lambda c: c.get("text_config", c).update(max_position_embeddings=262144))(folder)
    return folder


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--contexts", type=numbers, default=[1000, 10000, 100000])
    a.add_argument("--tokens", type=int, default=16)
    a = a.parse_args()
    folder = make()
    print(f"{'context':>8} {'cache':>6} {'threads':>8} {'ms a token':>11} {'GB/s of keys':>13} {'prompt, s':>10}")
    for n in a.contexts:
        ids = ids_file(np.random.default_rng(n).integers(0, VOCABULARY, n))
        for cache, size in (("f32", 4), ("bf16", 2)):
            for threads in sorted({1, setting.PROCESSORS}):
                got = json.loads(run("generate", folder, "--ids", ids, "--temperature", 0, "--ignore-eos", "--json", "--max-tokens",
                                     a.tokens + 1, "--kv-cache-dtype", cache, "--threads", threads).stdout)
                seconds = got["decode_seconds"] / a.tokens
                read = n * 2 * KV * HEAD_DIM * size
                print(f"{n:8,} {cache:>6} {threads:8} {1e3 * seconds:11.2f} {read / seconds / 1e9:13.1f} "
                      f"{got['prefill_seconds']:10.1f}", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
