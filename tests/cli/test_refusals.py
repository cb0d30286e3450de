"""Broken checkpoints, inputs and outputs: refused with one line that names file and cause, nothing left behind."""
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, SHARED, SURPRISAL, fresh

from check import check, done, skip

SHARD, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
PREFIX = "model.language_model."
GATE = PREFIX + "layers.0.mlp.gate.weight"
MINI_IDS = " ".join(str(7 * i % 32) for i in range(36))
DEFAULTS = ["--context", "9", "--threads", "1"]
TIMEOUT = 30


# ---- ways to corrupt a checkpoint: each gives a function of the folder -----------

def bytes_of(change, file=SHARD):
    """change: bytes -> bytes"""
    def corrupt(folder):
        path = os.path.join(folder, file)
        with open(path, "rb") as f:
            raw = f.read()
        with open(path, "wb") as f:
            f.write(change(raw))
    return corrupt


def header(change, file=SHARD):
    """change: edits the header, or gives another one as bytes"""
    def corrupt(folder):
        path = os.path.join(folder, file)
        h, data = st.split(path)
        st.join(path, change(h) or h, data)
    return corrupt


def tensor(name, **fields):
    return header(lambda h: h[name].update(fields))


def values(change, file=SHARD):
    """change: edits {name: array}"""
    def corrupt(folder):
        path = os.path.join(folder, file)
        tensors = {name: a.copy() for name, a in st.read(path).items()}
        change(tensors)
        st.write(path, tensors)
    return corrupt


def offsets(change):
    return header(lambda h: h[GATE].update(data_offsets=change(*h[GATE]["data_offsets"])))


def config(change):
    """change: edits the config; or another one as text"""
    def corrupt(folder):
        path = os.path.join(folder, CONFIG)
        with open(path) as f:
            c = json.load(f)
        if not isinstance(change, str):
            change(c)
        with open(path, "w") as f:
            f.write(change if isinstance(change, str) else json.dumps(c))
    return corrupt


def setting(key, value=None, absent=False):
    """A setting of the text model"""
    def change(c):
        text = c.get("text_config", c)
        text[key] = value
        if absent:
            del text[key]
    return config(change)


def quantization(**fields):
    weights = fields.pop("weights", {})
    def change(c):
        c["quantization_config"].update(fields)
        c["quantization_config"]["config_groups"]["group_0"]["weights"].update(weights)
    return config(change)


def shards(change):
    """Two shards and an index; change: edits the index (given the folder), or gives another text"""
    def corrupt(folder):
        tensors = st.read(os.path.join(folder, SHARD))
        os.remove(os.path.join(folder, SHARD))
        half = len(tensors) // 2
        parts = {"a.safetensors": list(tensors)[:half], "b.safetensors": list(tensors)[half:]}
        for file, names in parts.items():
            st.write(os.path.join(folder, file), {n: tensors[n] for n in names})
        index = dict(metadata={}, weight_map={n: file for file, names in parts.items() for n in names})
        index = change(index, folder) or index
        with open(os.path.join(folder, INDEX), "w") as f:
            f.write(index if isinstance(index, str) else json.dumps(index))
    return corrupt


def weight_map(name, file):
    return shards(lambda index, folder: index["weight_map"].update({name: file}))


def same_name_in_two_shards(folder):
    shards(lambda index, folder: None)(folder)
    os.remove(os.path.join(folder, INDEX))
    st.write(os.path.join(folder, "c.safetensors"), {GATE: np.zeros((3, 16), np.uint16)})


def replaced(file, make):
    """make(path): puts something else where the file stood"""
    def corrupt(folder):
        os.remove(os.path.join(folder, file))
        make(os.path.join(folder, file))
    return corrupt


def poke(name, bits, where=0):
    return values(lambda t: t[PREFIX + name].reshape(-1).__setitem__(where, bits))


def rename(old, new, make=lambda a: a):
    return values(lambda t: t.__setitem__(new, make(t.pop(old))))


def nothing(folder):
    pass


# ---- cases: name, corruption, what the message says (a regular expression) -------

HEADER_END = 8 + int.from_bytes(open(os.path.join(FIXTURES, "mini", SHARD), "rb").read(8), "little")
NAN, INF = 0x7FC0, 0x7F80

CASES = [
    ("empty file", bytes_of(lambda b: b""), rf"{SHARD}: .*(empty|0 bytes|trunc|short|too small)"),
    ("cut in the header length", bytes_of(lambda b: b[:5]), rf"{SHARD}: "),
    ("cut after the header length", bytes_of(lambda b: b[:8]), rf"{SHARD}: .*header"),
    ("cut in the header", bytes_of(lambda b: b[:HEADER_END // 2]), rf"{SHARD}: .*header"),
    ("cut after the header", bytes_of(lambda b: b[:HEADER_END]), rf"{SHARD}: "),
    ("cut in the data", bytes_of(lambda b: b[:HEADER_END + 999]), rf"{SHARD}: "),
    ("last byte missing", bytes_of(lambda b: b[:-1]), rf"{SHARD}: "),
    ("header length 0", bytes_of(lambda b: bytes(8) + b[8:]), rf"{SHARD}: "),
    ("header length past the end", bytes_of(lambda b: len(b).to_bytes(8, "little") + b[8:]), rf"{SHARD}: .*header"),
    ("header length 2^63", bytes_of(lambda b: (1 << 63).to_bytes(8, "little") + b[8:]), rf"{SHARD}: .*header"),
    ("header length 2^64 - 1", bytes_of(lambda b: b"\xff" * 8 + b[8:]), rf"{SHARD}: .*header"),
    ("header is no JSON", bytes_of(lambda b: b[:8] + b"?" + b[9:]), rf"{SHARD}: "),
    ("header is a JSON array", header(lambda h: b"[]"), rf"{SHARD}: .*object"),
    ("header of nested arrays", header(lambda h: b"[" * 100_000), rf"{SHARD}: "),
    ("a name twice in a header", header(lambda h: json.dumps(h)[:-1].encode() + b', "%s": %s}' % (
        GATE.encode(), json.dumps(h[GATE]).encode())), rf"{SHARD}: .*{GATE}"),
    ("offsets overlap", offsets(lambda b, e: [b - 2, e - 2]), rf"{SHARD}: .*overlap"),
    ("offsets past the data", offsets(lambda b, e: [b + 10**7, e + 10**7]), rf"{SHARD}: .*{GATE}"),
    ("begin after end", offsets(lambda b, e: [e, b]), rf"{SHARD}: .*{GATE}"),
    ("negative offset", offsets(lambda b, e: [b - e, 0]), rf"{SHARD}: .*{GATE}"),
    ("fractional offset", offsets(lambda b, e: [b + 0.5, e + 0.5]), rf"{SHARD}: .*{GATE}"),
    ("offset 2^60", offsets(lambda b, e: [b, 1 << 60]), rf"{SHARD}: .*{GATE}"),
    ("offset 2^64 wraps", offsets(lambda b, e: [b + (1 << 64), e + (1 << 64)]), rf"{SHARD}: .*{GATE}"),
    ("one offset", offsets(lambda b, e: [b]), rf"{SHARD}: .*{GATE}"),
    ("offsets are strings", offsets(lambda b, e: [str(b), str(e)]), rf"{SHARD}: .*{GATE}"),
    ("tensor is no object", header(lambda h: h.update({GATE: 7})), rf"{SHARD}: .*{GATE}"),
    ("tensor without offsets", header(lambda h: h[GATE].pop("data_offsets") and None), rf"{SHARD}: .*{GATE}"),
    ("unknown dtype", tensor(GATE, dtype="F7_E9"), rf"{SHARD}: .*{GATE}.*F7_E9"),
    ("dtype is a number", tensor(GATE, dtype=16), rf"{SHARD}: .*{GATE}"),
    ("integers where weights are expected", tensor(GATE, dtype="I32", shape=[3, 8]), rf"{SHARD}: .*{GATE}.*I32"),
    ("codes where weights are expected", tensor(GATE, dtype="U8", shape=[3, 32]), rf"{SHARD}: .*{GATE}.*U8"),
    ("transposed", tensor(GATE, shape=[16, 3]), rf"{SHARD}: .*{GATE}.*\[16, 3\]"),
    ("one dimension too many", tensor(GATE, shape=[3, 16, 1]), rf"{SHARD}: .*{GATE}"),
    ("twenty dimensions", tensor(GATE, shape=[1] * 18 + [3, 16]), rf"{SHARD}: .*{GATE}"),
    ("a dimension of zero", tensor(GATE, shape=[0, 16]), rf"{SHARD}: .*{GATE}"),
    ("negative dimensions", tensor(GATE, shape=[-3, -16]), rf"{SHARD}: .*{GATE}"),
    ("shape overflows", tensor(GATE, shape=[1 << 33, 1 << 33]), rf"{SHARD}: .*{GATE}"),
    ("shape overflows to the right size", tensor(GATE, shape=[(1 << 59) + 3, 16]), rf"{SHARD}: .*{GATE}"),
    ("shape is no array", tensor(GATE, shape="3, 16"), rf"{SHARD}: .*{GATE}"),
    ("missing tensor", header(lambda h: h.pop(GATE) and None), rf"{GATE}|mlp\.gate"),
    ("missing expert", values(lambda t: t.pop(PREFIX + "layers.1.mlp.experts.down_proj") is None), r"layers\.1\.mlp\.experts"),
    ("missing embedding", header(lambda h: h.pop(PREFIX + "embed_tokens.weight") and None), "embed_tokens"),
    ("missing head", header(lambda h: h.pop("lm_head.weight") and None), "lm_head"),
    ("NUL and escapes in a name", header(lambda h: h.update({"a\x1b[31m\x00": h.pop(GATE)})), rf"{SHARD}: "),
    ("no shard", lambda f: os.remove(os.path.join(f, SHARD)), "safetensors"),
    ("shard is a directory", replaced(SHARD, os.mkdir), rf"{SHARD}: .*directory"),
    ("shard is a FIFO", replaced(SHARD, os.mkfifo), rf"{SHARD}: .*regular"),
    ("shard is a dangling link", replaced(SHARD, lambda p: os.symlink("nowhere", p)), "safetensors"),
    ("shard is a link to itself", replaced(SHARD, lambda p: os.symlink(SHARD, p)), "safetensors"),

    ("a name in two shards without an index", same_name_in_two_shards, rf"{GATE}.*[abc]\.safetensors"),
    ("index names an absent file", weight_map(GATE, "gone.safetensors"), r"gone\.safetensors"),
    ("index names the wrong file", weight_map(GATE, "b.safetensors"), rf"b\.safetensors.*{GATE}|{GATE}.*b\.safetensors"),
    ("index names an absent tensor", weight_map("nobody.weight", "a.safetensors"), r"nobody\.weight"),
    ("index leaves the folder", weight_map(GATE, "../x.safetensors"), rf"{INDEX}: .*\.\./x"),
    ("index has an absolute path", weight_map(GATE, "/etc/passwd"), rf"{INDEX}: .*/etc/passwd"),
    ("index names no file", weight_map(GATE, ""), rf"{INDEX}: "),
    ("index names a folder", weight_map(GATE, "."), r"\.: |index"),
    ("index maps to a number", weight_map(GATE, 7), rf"{INDEX}: .*{GATE}"),
    ("index without a tensor of the model", shards(lambda i, f: i["weight_map"].pop(GATE) and None), rf"{GATE}|mlp\.gate"),
    ("index is no object", shards(lambda i, f: "[1, 2]"), rf"{INDEX}: .*(object|weight_map)"),
    ("index without weight_map", shards(lambda i, f: "{}"), rf"{INDEX}: .*weight_map"),
    ("weight_map is no object", shards(lambda i, f: '{"weight_map": []}'), rf"{INDEX}: .*weight_map"),
    ("weight_map is empty", shards(lambda i, f: '{"weight_map": {}}'), r"weight_map|embed_tokens|tensor"),
    ("index is no JSON", shards(lambda i, f: "{"), rf"{INDEX}: "),
    ("index of nested arrays", shards(lambda i, f: "[" * 100_000), rf"{INDEX}: .*(nest|deep|JSON)"),
    ("a shard of the index is gone", shards(lambda i, f: os.remove(f + "/a.safetensors")), r"a\.safetensors"),
    ("index is a directory", lambda f: os.mkdir(os.path.join(f, INDEX)), rf"{INDEX}: .*directory"),

    ("config missing", lambda f: os.remove(os.path.join(f, CONFIG)), rf"{CONFIG}: "),
    ("config is empty", config(""), rf"{CONFIG}: "),
    ("config is cut", config('{"model_type": "qwen3_5_moe", '), rf"{CONFIG}: "),
    ("config is an array", config("[]"), rf"{CONFIG}: .*object"),
    ("config of nested arrays", config("[" * 100_000), rf"{CONFIG}: .*(nest|deep|JSON)"),
    ("config of nested objects", config('{"a":' * 100_000), rf"{CONFIG}: .*(nest|deep|JSON)"),
    ("config with a NUL", config("{}\0"), rf"{CONFIG}: "),
    ("config with junk after it", bytes_of(lambda b: b + b"x", CONFIG), rf"{CONFIG}: "),
    ("config is a directory", replaced(CONFIG, os.mkdir), rf"{CONFIG}: .*directory"),
    ("config is a FIFO", replaced(CONFIG, os.mkfifo), rf"{CONFIG}: .*regular"),
    ("config is a device", replaced(CONFIG, lambda p: os.symlink("/dev/zero", p)), rf"{CONFIG}: .*regular"),
    ("text_config is no object", config(lambda c: c.update(text_config=[])), rf"{CONFIG}: .*text_config"),
    ("no text_config", config(lambda c: c.pop("text_config") and None), rf"{CONFIG}: "),
    ("unknown model_type", config(lambda c: c.update(model_type="llama")), rf"{CONFIG}: .*model_type.*llama"),
    ("no model_type", config(lambda c: c.pop("model_type") and None), rf"{CONFIG}: .*model_type"),
    ("model_type is a number", config(lambda c: c.update(model_type=3)), rf"{CONFIG}: .*model_type"),
    ("hidden_act gelu", setting("hidden_act", "gelu"), rf"{CONFIG}: .*hidden_act.*gelu"),
    ("attention_bias", setting("attention_bias", True), rf"{CONFIG}: .*attention_bias"),
    ("rope_type yarn", config(lambda c: c["text_config"]["rope_parameters"].update(rope_type="yarn")),
     rf"{CONFIG}: .*rope_type.*yarn"),
    ("rope_type yarn, in the old place", config(lambda c: c["text_config"].update(rope_scaling=dict(type="yarn", factor=4))
                                         or c["text_config"].pop("rope_parameters") and None), rf"{CONFIG}: .*yarn"),
    ("no gate on the attention", setting("attn_output_gate", False), rf"{CONFIG}: .*attn_output_gate"),
    ("weights of experts not renormalised", setting("norm_topk_prob", False), rf"{CONFIG}: .*norm_topk_prob"),
    ("a dense layer among the experts", setting("mlp_only_layers", [0]), rf"{CONFIG}: .*mlp_only_layers"),
    ("rope_theta zero", config(lambda c: c["text_config"]["rope_parameters"].update(rope_theta=0)), rf"{CONFIG}: .*rope_theta"),
    ("rope_theta a string", config(lambda c: c["text_config"]["rope_parameters"].update(rope_theta="1e7")),
     rf"{CONFIG}: .*rope_theta"),
    ("more rotary than channels", config(lambda c: c["text_config"]["rope_parameters"].update(partial_rotary_factor=1.5)),
     rf"{CONFIG}: .*partial_rotary_factor"),
    ("negative rotary part", config(lambda c: c["text_config"]["rope_parameters"].update(partial_rotary_factor=-0.25)),
     rf"{CONFIG}: .*partial_rotary_factor"),
    ("odd rotary part", config(lambda c: c["text_config"]["rope_parameters"].update(partial_rotary_factor=0.375)),
     rf"{CONFIG}: .*(partial_rotary_factor|rotary)"),
    ("rms_norm_eps negative", setting("rms_norm_eps", -1e-6), rf"{CONFIG}: .*rms_norm_eps"),
    ("rms_norm_eps a string", setting("rms_norm_eps", "1e-6"), rf"{CONFIG}: .*rms_norm_eps"),
    ("rms_norm_eps infinite", config(lambda c: c["text_config"].update(rms_norm_eps=float("inf"))), rf"{CONFIG}: "),
    ("heads not divisible", setting("num_key_value_heads", 3), rf"{CONFIG}: .*num_(attention|key_value)_heads"),
    ("linear heads not divisible", setting("linear_num_key_heads", 3), rf"{CONFIG}: .*linear_num_(key|value)_heads"),
    ("more experts a token than there are", setting("num_experts_per_tok", 4), rf"{CONFIG}: .*num_experts_per_tok"),
    ("layer_types too short", setting("layer_types", ["linear_attention"]), rf"{CONFIG}: .*layer_types"),
    ("layer_types too long", setting("layer_types", ["linear_attention"] * 3), rf"{CONFIG}: .*layer_types"),
    ("layer_types unknown", setting("layer_types", ["linear_attention", "sliding_attention"]),
     rf"{CONFIG}: .*(layer_types.*)?sliding_attention"),
    ("layer_types of numbers", setting("layer_types", [1, 2]), rf"{CONFIG}: .*layer_types"),
    ("layer_types a string", setting("layer_types", "linear_attention"), rf"{CONFIG}: .*layer_types"),
    ("layer_types contradict the tensors", setting("layer_types", ["full_attention"] * 2), r"layers\.0\.self_attn"),
    ("2^40 layers and no list of them", config(lambda c: c["text_config"].update(layer_types=None, num_hidden_layers=1 << 40)),
     rf"{CONFIG}: .*num_hidden_layers|layers\.|memory"),
    ("interval zero", config(lambda c: c["text_config"].update(layer_types=None, full_attention_interval=0)),
     rf"{CONFIG}: .*full_attention_interval"),

    # a NaN or infinity stops the run where it first shows
    ("NaN in a delta net", poke("layers.0.linear_attn.out_proj.weight", NAN), "layer 0.*token"),
    ("infinity in an attention", poke("layers.1.self_attn.o_proj.weight", INF), "layer 1.*token"),
    ("NaN in a shared expert", poke("layers.1.mlp.shared_expert.down_proj.weight", NAN), "layer 1.*token"),
    ("NaN in every expert", values(lambda t: t[PREFIX + "layers.0.mlp.experts.down_proj"].fill(NAN)), "layer 0.*token"),
    ("NaN in the router", poke("layers.1.mlp.gate.weight", NAN), "layer 1"),
    ("NaN in A_log", poke("layers.0.linear_attn.A_log", NAN), "layer 0"),
    ("NaN in a norm", poke("layers.1.post_attention_layernorm.weight", NAN), "layer 1"),
    ("infinity in the embedding", poke("embed_tokens.weight", INF, 7 * 16 + 3), "embed|token|layer 0"),
    ("NaN in the last norm", poke("norm.weight", NAN), "norm|hidden|logit|head"),
    ("NaN in the head", values(lambda t: t["lm_head.weight"][3].fill(NAN)), "logit|head|nan|finite"),
    ("every activation overflows", values(lambda t: t[PREFIX + "layers.0.mlp.shared_expert.down_proj.weight"].fill(0x7F7F)),
     "layer 0.*token"),
]

CASES += [(f"{key} {value!r}"[:60], setting(key, value, absent=value == "absent"),
           rf"{CONFIG}: .*{key}" if value not in (1 << 40, "absent") else rf"{CONFIG}: |{SHARD}: .*(\[|missing)|{key}|memory")
          for key in ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim",
                      "linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim",
                      "linear_conv_kernel_dim", "num_experts", "num_experts_per_tok", "moe_intermediate_size",
                      "shared_expert_intermediate_size")
          for value in (0, -2, 1.5, "16", True, [16], 1e300, 1 << 40, 1 << 63, "absent")]

Q = "model.layers.1.mlp.up_proj"                        # of the fixture packed-dense
PACKED = [
    ("packed without its scale", values(lambda t: t.pop(Q + ".weight_scale") is None), rf"{Q}.weight_scale"),
    ("scale without its codes", values(lambda t: t.pop(Q + ".weight_packed") is None), rf"{Q}"),
    ("weight and weight_packed", values(lambda t: t.update({Q + ".weight": np.zeros((96, 32), np.uint16)})), rf"{Q}"),
    ("scale byte 255", values(lambda t: t[Q + ".weight_scale"].__setitem__((5, 0), 255)), rf"{SHARD}: .*{Q}.*(255|NaN)"),
    ("codes of the wrong shape", tensor(Q + ".weight_packed", shape=[48, 32]), rf"{SHARD}: .*{Q}"),
    ("codes as one row", tensor(Q + ".weight_packed", shape=[96 * 16]), rf"{SHARD}: .*{Q}"),
    ("scales of the wrong shape", tensor(Q + ".weight_scale", shape=[1, 96]), rf"{SHARD}: .*{Q}"),
    ("scales in F16", tensor(Q + ".weight_scale", dtype="F16", shape=[48, 1]), rf"{SHARD}: .*{Q}.*F16"),
    ("codes in I32", tensor(Q + ".weight_packed", dtype="I32", shape=[96, 4]), rf"{SHARD}: .*{Q}.*I32"),
    ("packed embedding", values(lambda t: t.update({"model.embed_tokens.weight_packed": np.zeros((97, 16), np.uint8),
                                                   "model.embed_tokens.weight_scale": np.zeros((97, 1), np.uint8)})
                               or t.pop("model.embed_tokens.weight") is None), "embed_tokens"),
    ("quant_method bitsandbytes", quantization(quant_method="bitsandbytes"), rf"{CONFIG}: .*bitsandbytes"),
    ("format nf4", quantization(format="nf4"), rf"{CONFIG}: .*nf4"),
    ("group_size 16", quantization(weights=dict(group_size=16)), rf"{CONFIG}: .*group_size"),
    ("num_bits 8", quantization(weights=dict(num_bits=8)), rf"{CONFIG}: .*num_bits"),
    ("type int", quantization(weights=dict(type="int")), rf"{CONFIG}: .*type"),
    ("quantized activations", config(lambda c: c["quantization_config"]["config_groups"]["group_0"].update(
        input_activations=dict(num_bits=4, type="float"))), rf"{CONFIG}: .*input_activations"),
    ("quantization_config is a list", config(lambda c: c.update(quantization_config=[])), rf"{CONFIG}: .*quantization_config"),
]

IDS = [                                                 # content of the ids file
    ("id one too large", MINI_IDS + " 32", "32"), ("negative id", MINI_IDS + " -1", "-1"),
    ("id 2^31", MINI_IDS + " 2147483648", "2147483648"), ("id 2^32", MINI_IDS + " 4294967296", "4294967296"),
    ("id 2^64", MINI_IDS + " 18446744073709551616", "18446744073709551616"), ("a word", MINI_IDS + " abc", "abc"),
    ("a fraction", MINI_IDS + " 1.5", r"1\.5"), ("hexadecimal", MINI_IDS + " 0x10", "0x10"),
    ("commas", MINI_IDS.replace(" ", ","), "ids"), ("a NUL", MINI_IDS + " 1\0 2", "ids"),
    ("no ids", "", "ids"), ("white space", " \n\t\n", "ids"), ("fewer ids than a window", "1 2 3", "3.*(9|context|window)|window"),
]

USAGE = [                                               # options; all of them exit with 2
    (["--no-such-option"], "no-such-option"), (["--context", "0"], "context"), (["--context", "x"], "context"),
    (["--context", "9x"], "context"), (["--context", "99999999999999999999"], "context"), (["--stride", "0"], "stride"),
    (["--protocol", "best"], "protocol.*best"), (["--threads", "-1"], "threads"), (["--memory", "5X"], "memory"),
    (["--compute", "f8"], "compute.*f8"), (["--max-windows", "0"], "max-windows"), (["--join", "x"], "join"),
    (["--context"], "context"), (["surplus"], "surplus"),
]


# ---- running them ---------------------------------------------------------------

def copy(fixture):
    folder = fresh("checkpoint")
    shutil.copytree(os.path.join(FIXTURES, fixture), folder, ignore=shutil.ignore_patterns("expected*"))
    return folder


def start(arguments, **kw):
    return subprocess.run([SURPRISAL, "eval", *arguments], capture_output=True, timeout=TIMEOUT, **kw)


def refused(name, arguments, message, status=(1,), place=None, **kw):
    """One run that must fail; nothing may appear in `place`, a new folder that holds --out."""
    if place is None:
        place = fresh("place")
        os.mkdir(place)
        arguments = [*arguments, "--out", os.path.join(place, "out")]
    before = listing(place)
    try:
        run = start(arguments, **kw)
    except subprocess.TimeoutExpired:
        return check(False, name, f"does not end within {TIMEOUT} s")
    text = run.stderr.decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if "warning" not in line]
    why = (f"exit status {run.returncode}" if run.returncode not in status else
           f"{len(lines)} lines" if len(lines) != 1 else
           "control characters" if any(ord(c) < 32 for c in lines[0]) else
           f"does not match /{message}/" if not re.search(message, lines[0], re.I) else
           f"left {set(listing(place)) - set(before)}" if listing(place) != before else "")
    shown = text.strip().splitlines()[-1][:300] if text.strip() else "no message"
    check(not why, name, f"{why}: {shown}")


def listing(folder):
    return sorted(os.path.join(at, f) for at, folders, files in os.walk(folder) for f in folders + files)


def written(content, name="ids"):
    path = fresh(name)
    with open(path, "w") as f:
        f.write(content)
    return path


def test_checkpoints(ids):
    for fixture, cases in (("mini", CASES), ("packed-dense", PACKED)):
        for name, corrupt, message in cases:
            folder = copy(fixture)
            corrupt(folder)
            refused(name, [folder, "--ids", ids, *DEFAULTS], message)
            shutil.rmtree(folder)
    # Large but harmless: it must end, one way or the other.
    for name, change in (("config of 30 MB in one string", lambda c: c.update(junk="x" * 30_000_000)),
                         ("config of a million members", lambda c: c.update({f"k{i}": i for i in range(1_000_000)}))):
        folder = copy("mini")
        config(change)(folder)
        run = start([folder, "--ids", ids, *DEFAULTS])
        check(run.returncode in (0, 1), name, f"exit status {run.returncode}")
        shutil.rmtree(folder)


def test_inputs(ids, mini):
    for name, content, message in IDS:
        refused(f"ids: {name}", [mini, "--ids", written(content), *DEFAULTS], message)
    gone, folder = fresh("gone"), fresh("folder")
    os.mkdir(folder)
    either = (1, 2)
    refused("ids in a directory", [mini, "--ids", folder, *DEFAULTS], f"{folder}: .*directory")
    refused("no such ids", [mini, "--ids", gone, *DEFAULTS], f"{gone}: ", either)
    refused("no such checkpoint", [gone, "--ids", ids, *DEFAULTS], f"{gone}", either)
    refused("checkpoint is a file", [ids, "--ids", ids, *DEFAULTS], f"{ids}", either)
    refused("checkpoint is an empty folder", [folder, "--ids", ids, *DEFAULTS], CONFIG)
    refused("checkpoint is nothing", ["", "--ids", ids, *DEFAULTS], ".", either)
    refused("text without a tokenizer", [mini, "--text", written("Hello"), *DEFAULTS], r"tokenizer\.json")
    tokenizers = [p for p in (os.path.join(ROOT, "data/demo/bf16"), os.path.join(SHARED, "checkpoints/tiny-bf16"))
                  if os.path.exists(p)]
    if not tokenizers:
        return skip("text", "no demo tokenizer")
    tokenizer = ["--tokenizer", tokenizers[0]]
    refused("text of ids outside the vocabulary", [mini, "--text", written("Hello, this is a text. " * 9), *DEFAULTS, *tokenizer],
            "vocab")
    refused("empty text", [mini, "--text", written("", "text"), *DEFAULTS, *tokenizer], "text")
    refused("text shorter than a window", [tokenizers[0], "--text", written("Hi"), *DEFAULTS], "fewer|shorter")
    refused("text is a directory", [mini, "--text", folder, *DEFAULTS, *tokenizer], f"{folder}: .*directory")
    os.mkdir(os.path.join(folder, "tokenizer.json"))
    refused("tokenizer.json is a directory", [mini, "--text", ids, *DEFAULTS, "--tokenizer", folder], "tokenizer.json: .*directory")
    refused("tokenizer.json is no tokenizer", [mini, "--text", ids, *DEFAULTS, "--tokenizer", written("{}", "tokenizer")], "tokenizer")


def test_usage(ids, mini):
    for options, message in USAGE:
        refused("usage: " + " ".join(options), [mini, "--ids", ids, *DEFAULTS, *options], message, (2,))
    refused("usage: no such ISA", [mini, "--ids", ids, *DEFAULTS, "--isa", "abacus"], "abacus", (1, 2))
    refused("usage: ids and text", [mini, "--ids", ids, "--text", ids], "text|ids", (2,))
    refused("usage: neither ids nor text", [mini], "text|ids", (2,))
    refused("usage: no checkpoint", ["--ids", ids], "checkpoint", (2,))


def test_outputs(ids, mini):
    place = fresh("place")
    os.makedirs(os.path.join(place, "taken"))
    file = os.path.join(place, "taken", "precious")
    open(file, "w").close()
    base = [mini, "--ids", ids, *DEFAULTS, "--out"]
    for name, out, message in (("exists", "taken", "exist"), ("is a file", "taken/precious", "exist|not a directory"),
                               ("has no parent", "no/such/parent", "no.*parent|no such"),
                               ("has a file as parent", "taken/precious/x", "precious"), ("is empty", None, ".")):
        out = "" if out is None else os.path.join(place, out)
        refused(f"--out {name}", base + [out], message, (1, 2), place)
    refused("--out cannot be written", base + ["/proc/self/out"], "/proc/self/out", (1, 2), place)

    def small_files():      # SIGXFSZ is ignored by Python, and so by the program: it sees EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    refused("disk full", base + [os.path.join(place, "out")], "tokens.safetensors|out", (1,), place,
            preexec_fn=small_files, restore_signals=False)
    with open("/dev/full", "w") as full:
        run = subprocess.run([SURPRISAL, "eval", *base[:-1], "--json"], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
    check(run.returncode == 1 and run.stderr, "standard output full", f"exit status {run.returncode}: {run.stderr[-200:]}")


def test_mutations(ids, n=300, seed=1, seconds=40):
    """Random bytes changed, dropped or doubled in header, config or index: any end but a signal or a hang."""
    rng, stop, folder = random.Random(seed), time.time() + seconds, copy("mini")
    shards(lambda index, folder: None)(folder)
    files = {}
    for name in ("a.safetensors", CONFIG, INDEX):
        with open(os.path.join(folder, name), "rb") as f:
            files[name] = f.read()
    for i in range(n):
        name = rng.choice(list(files))
        raw = bytearray(files[name])
        end = 8 + int.from_bytes(raw[:8], "little") if name.endswith("s") else len(raw)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(end)
            kind = rng.randrange(4)
            if kind == 0:
                raw[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                raw[at] = rng.choice(b'0123456789-.eE{}[]",:\\ \0\xff')
            elif kind == 2:
                del raw[at:at + rng.randrange(1, 9)]
            else:
                raw[at:at] = raw[at:at + rng.randrange(1, 9)]
            end = min(end, len(raw))
        path = os.path.join(folder, name)
        with open(path, "wb") as f:
            f.write(raw)
        try:
            status = start([folder, "--ids", ids, *DEFAULTS]).returncode
        except subprocess.TimeoutExpired:
            status = "a timeout"
        if status not in (0, 1):
            kept = os.path.join(os.path.dirname(SURPRISAL), f"mutation-{i}-{name}")
            shutil.copyfile(path, kept)
            check(False, f"mutation {i} of {name}", f"ends with {status}; kept as {kept}")
        with open(path, "wb") as f:
            f.write(files[name])
        if time.time() > stop:
            skip("mutations", f"{n - i - 1} of {n} left after {seconds} s")
            break
    check(True, f"{i + 1} mutations")


def main():
    ids, mini = written(MINI_IDS), os.path.join(FIXTURES, "mini")
    run = start([mini, "--ids", ids, *DEFAULTS])
    if check(run.returncode == 0, "the intact checkpoint runs", run.stderr[-200:]):
        test_checkpoints(ids)
        test_inputs(ids, mini)
        test_usage(ids, mini)
        test_outputs(ids, mini)
        test_mutations(ids)
    done()


if __name__ == "__main__":
    main()
