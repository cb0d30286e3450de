"""A checkpoint that says what a test wants: the demo model's files, with layers that add nothing and one token after the other.

The embedding of token i of the script is a unit vector that the head maps to token i + 1; all other tokens, and so the end of any
prompt, lead to the first.  A piece of the script may be any text: it becomes an added token."""
import json
import os
import shutil

import numpy as np
import safetensors_io as st

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "data", "demo", "bf16")
SHARDS = [f"model.safetensors-0000{i}-of-00002.safetensors" for i in (1, 2)]
FIRST_FREE = 4096                       # id: the vocabulary has 4160 rows
SILENT = ("out_proj.weight", "o_proj.weight", "experts.down_proj", "shared_expert.down_proj.weight")


def make(folder, script, endless=False, ordinary=False):
    """script: texts, of which names of tokens are these tokens, and no two the same; endless: from its beginning again; ordinary:
    names of the vocabulary are its tokens, too"""
    os.mkdir(folder)
    for name in os.listdir(DEMO):
        if name not in (*SHARDS, "tokenizer.json"):
            shutil.copy(os.path.join(DEMO, name), folder)
    with open(os.path.join(DEMO, "tokenizer.json"), encoding="utf-8") as f:
        tokenizer = json.load(f)
    known = {**(tokenizer["model"]["vocab"] if ordinary else {}), **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    ids = []
    for piece in script:
        if piece not in known:
            known[piece] = FIRST_FREE + sum(i >= FIRST_FREE for i in known.values())
            tokenizer["added_tokens"].append({"id": known[piece], "content": piece, "single_word": False, "lstrip": False,
                                              "rstrip": False, "normalized": False, "special": False})
        ids.append(known[piece])
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(tokenizer, f, ensure_ascii=False)
    for shard in SHARDS:
        tensors = {k: v.copy() for k, v in st.read(os.path.join(DEMO, shard)).items()}
        for name, values in tensors.items():
            if name.endswith(SILENT) or name.endswith("language_model.norm.weight"):
                values[...] = 0
        if "lm_head.weight" in tensors:
            head, embedding = np.zeros((4160, 128)), np.zeros((4160, 128))
            embedding[:, 0] = 1
            for i, token in enumerate(ids):
                head[token, i] = 8
                embedding[token] = np.eye(128)[i + 1]
            if endless:
                head[ids[0], len(ids)] = 8
            tensors["lm_head.weight"] = st.bf16(head)
            tensors["model.language_model.embed_tokens.weight"] = st.bf16(embedding)
        st.write(os.path.join(folder, shard), tensors)
    return folder
