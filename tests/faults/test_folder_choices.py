"""What a checkpoint's folder leaves open is never decided in silence (issue 16, rows 1 to 4, 6, 7 and 26)."""
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import safetensors_io as st
from changes import INDEX, in_json, in_turn, remove
from check import attempt, check, done
from program import ROOT, SURPRISAL, fresh, ids_file

DEMO, QUANTIZED = (os.path.join(ROOT, "data", "demo", d) for d in ("bf16", "mxfp4"))
SINGLE = "model.safetensors"
IDS = ids_file(range(1, 12))


# ---- folders ---------------------------------------------------------------------------

def copy(change=lambda folder: None, of=DEMO):
    """-> a changed copy of a checkpoint"""
    folder = fresh("checkpoint")
    shutil.copytree(of, folder)
    change(folder)
    return folder


def setting(key, value):
    return in_json("config.json", lambda c: c["text_config"].update({key: value}))


def write(name, data):
    def do(folder):
        path = os.path.join(folder, name)
        if os.path.islink(path):
            os.remove(path)
        with open(path, "wb") as f:
            f.write(data)
    return do


def ran(*args, env=None):
    """-> exit status, stdout, stderr"""
    p = subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=600,
                       env={**os.environ, **(env or {})})
    return p.returncode, p.stdout, p.stderr


def evaluate(folder, *options, env=None):
    """-> exit status, summary (None if refused), stderr"""
    status, out, err = ran("eval", folder, "--ids", IDS, "--context", 8, "--json", "--quiet", "--threads", 1, *options, env=env)
    return status, json.loads(out) if status == 0 else None, err


def verify(folder, *options, env=None):
    """-> exit status, the JSON"""
    status, out, err = ran("verify", folder, "--json", "--quiet", *options, env=env)
    return status, json.loads(out) if out else {"findings": [], "notes": [], "error": err}


def inspect(folder, *options, env=None):
    status, out, err = ran("inspect", folder, "--json", *options, env=env)
    return json.loads(out) if status == 0 else err


def refused(name, folder, *patterns):
    """eval refuses the folder with a message that has all patterns"""
    status, _, err = evaluate(folder)
    check(status == 1 and all(re.search(p, err) for p in patterns) and err.count("\n") == 1, name, (status, err))


def found_by_verify(name, folder, code, pattern):
    status, said = verify(folder)
    hits = [f for f in said["findings"] if f["code"] == code and re.search(pattern, f"{f['file']} {f['tensor']} {f['text']}")]
    check(status == 1 and hits, name, (status, said["findings"][:5]))


# ---- 7: what stands in the place of a file ----------------------------------------------------

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a" * 16 + b"\nsize 4000123\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>504 Gateway Time-out</title></head></html>\n"

STAND_INS = [       # name, bytes, what the message says
    ("a Git LFS pointer", POINTER, "is a Git LFS pointer to a file of 4000123 bytes.*`git lfs pull`.*`hf download`"),
    ("an HTML page", PAGE, "is an HTML or XML page.*`hf download`"),
    ("zeros", b"\0" * 10000, "is full of zeros.*`hf download`"),
    ("the hub's own message", b"Entry not found", "Entry not found.*`hf download`"),
]


def test_stand_ins():
    shard = next(n for n in sorted(os.listdir(DEMO)) if n.endswith(".safetensors"))
    for what, data, pattern in STAND_INS:
        for name in (shard, "config.json", "tokenizer.json"):
            folder = copy(write(name, data))
            row = f"16.7 {what} in place of {name}"
            if name == "tokenizer.json":
                text = os.path.join(ROOT, "data", "demo", "text.txt")
                status, _, err = ran("eval", folder, "--text", text, "--context", 8, "--max-windows", 1, "--quiet")
                check(status == 1 and re.search(f"{name}: .*{pattern}", err), row, err)
            else:
                refused(row, folder, f"{re.escape(name)}: .*{pattern}")
            code = "config" if name == "config.json" else "unreadable"
            found_by_verify(f"{row}, verify", folder, code, f"{re.escape(name)} .*{pattern}")
    refused("16.7 GGUF named safetensors", copy(write(shard, b"GGUF\3\0\0\0" + b"\1" * 100)), "is a GGUF file")
    refused("16.7 a pickle named safetensors", copy(write(shard, b"PK\3\4\x14\0\x08\x08" + b"\1" * 100)), "is a zip archive")
    pointer = fresh("pointer.txt")
    with open(pointer, "wb") as f:
        f.write(POINTER)
    for option in ("--text", "--ids"):
        status, _, err = ran("eval", DEMO, option, pointer, "--context", 8, "--quiet")
        check(status == 1 and re.search("is a Git LFS pointer", err), f"16.7 a pointer as {option}", (status, err))


# ---- 2: the index names what no file has -----------------------------------------------------------

def shards(folder):
    return sorted(n for n in os.listdir(folder) if n.endswith(".safetensors"))


def each_shard(change):
    """-> a change of header and data of all shards: change(header, data) -> header, data"""
    def do(folder):
        for name in shards(folder):
            path = os.path.join(folder, name)
            header, data = st.split(path)
            st.join(path, *change(header, data))
    return do


def without(wanted):
    """Removes tensors from the files, not from the index."""
    return each_shard(lambda header, data: ({k: v for k, v in header.items() if not wanted(k)}, data))


def same_figures(name, folder, warning, *options, env=None):
    """eval warns in words, keeps the warning, and the figures are the demo's"""
    status, summary, err = evaluate(folder, *options, env=env)
    warnings = (summary or {}).get("warnings", [])
    ok = status == 0 and summary["mean_nll"] == GOOD["mean_nll"] and any(re.search(warning, w) for w in warnings)
    check(ok, name, (status, warnings, err[-500:]))


def test_absent():
    mtp, visual = (lambda k: k.startswith("mtp.")), (lambda k: "visual." in k)
    for what, wanted in (("MTP", mtp), ("visual", visual)):
        folder = copy(without(wanted))
        warning = "the index names [0-9]+ tensors that no file has, '.*' the first: they are not used"
        same_figures(f"16.2 {what} tensors that no file has", folder, warning)
        said = inspect(folder)
        check(any(re.search(warning, w) for w in said["warnings"]), f"16.2 {what}, inspect", said["warnings"])
        found_by_verify(f"16.2 {what}, verify", folder, "missing", warning)
        said = verify(folder)[1]["findings"]
        check(len(said) == 1, f"16.2 {what}, verify: one line", len(said))
    elsewhere = copy(in_turn(in_json(INDEX, lambda i: i["weight_map"].update(
        {k: "mtp.safetensors" for k in i["weight_map"] if mtp(k)})), without(mtp)))
    same_figures("16.2 a file of MTP tensors alone that is not there", elsewhere, "the index names 19 tensors that no file has")
    used = copy(without(lambda k: mtp(k) or "layers.1.mlp.gate.weight" in k or "layers.2.input_layernorm" in k))
    refused("16.2 tensors that are used", used, "layers.1.mlp.gate.weight'|layers.2.input_layernorm.weight'", "; 2 such tensors are missing")
    no_index = copy(in_turn(without(lambda k: "layers.1.mlp.gate.weight" in k or "layers.2.input_layernorm" in k), remove(INDEX)))
    refused("16.2 the same without an index", no_index, "missing tensor '.*layers.1.mlp.gate.weight'|layers.2.input_layernorm.weight'",
            "; 2 weights are missing")


# ---- 1: two models in one folder -------------------------------------------------------------------

def add_single(change=lambda tensors: None):
    """Writes all tensors into one file beside the shards, whose embedding is another's."""
    def do(folder):
        header, data = {}, b""
        for name in shards(folder):
            h, d = st.split(os.path.join(folder, name))
            for k, v in h.items():
                if k == "__metadata__":
                    continue
                begin, end = v["data_offsets"]
                header[k] = {**v, "data_offsets": [len(data), len(data) + end - begin]}
                data += bytes(d[begin:end])
        data = bytearray(data)
        begin, end = header["lm_head.weight"]["data_offsets"]
        data[begin:end] = bytes(end - begin)
        st.join(os.path.join(folder, SINGLE), header, bytes(data))
    return do


def test_two_models():
    folder = copy(add_single())
    warning = "holds two models: model.safetensors.index.json is read, as vLLM and MLX do; transformers reads model.safetensors "
    same_figures("16.1 the index beside a single file is read", folder, warning)
    said = inspect(folder)
    check(any(re.search(warning, w) for w in said["warnings"]), "16.1 inspect warns", said["warnings"])
    _, said = verify(folder)
    notes = [n for n in said["findings"] + said.get("notes", []) if n["code"] == "choice"]
    check(notes and re.search(warning, notes[0]["text"]), "16.1 verify warns", notes)
    status, other, _ = evaluate(os.path.join(folder, SINGLE))
    check(status == 0 and other["mean_nll"] != GOOD["mean_nll"]
          and any("model.safetensors is read, as transformers does; vLLM and MLX read model.safetensors.index.json" in w
                  for w in other["warnings"]), "16.1 the single file is picked by its path", other)
    same_figures("16.1 the index is picked by its path", os.path.join(folder, INDEX), "holds two models")
    status, text, err = ran("eval", os.path.join(folder, SINGLE), "--text", os.path.join(ROOT, "data", "demo", "text.txt"),
                            "--context", 8, "--max-windows", 1, "--quiet")
    check(status == 0, "16.1 a picked file's tokenizer is the folder's", err)
    compared = ran("compare", os.path.join(folder, INDEX), os.path.join(folder, SINGLE), "--ids", IDS, "--context", 8, "--json",
                   "--quiet", "--layers", "none")
    check(compared[0] == 0 and json.loads(compared[1])["delta_nll"] != 0, "16.1 compare takes both", compared[2][-300:])
    out = fresh("dequantized")
    status, _, err = ran("quantize", os.path.join(folder, SINGLE), out, "--quiet")
    check(status == 0 and os.path.exists(os.path.join(out, "tokenizer.json")), "16.1 quantize takes a picked file", err)
    stale = copy(in_turn(add_single(), lambda f: [os.remove(os.path.join(f, n)) for n in shards(f) if "-of-" in n]))
    warning = "the index names 2 files that are not there .*, so model.safetensors is read"
    status, summary, err = evaluate(stale)
    check(status == 0 and summary["mean_nll"] == other["mean_nll"] and any(re.search(warning, w) for w in summary["warnings"]),
          "16.1 a stale index beside a complete single file", (status, err))
    found_by_verify("16.1 a stale index, verify", stale, "index", warning)
    no_index = copy(in_turn(add_single(), remove(INDEX)))
    status, summary, err = evaluate(no_index)
    check(status == 0 and any("not the 2 other *.safetensors files" in w for w in summary["warnings"]),
          "16.1 shards beside a single file without an index", (status, err))


# ---- 3: prefixes -----------------------------------------------------------------------------------

OWN = "model.language_model."


def renamed(rename):
    """Other names in the files and in the index."""
    names = in_json(INDEX, lambda i: i.update(weight_map={rename(k): v for k, v in i["weight_map"].items()}))
    return in_turn(each_shard(lambda header, data: ({k if k == "__metadata__" else rename(k): v for k, v in header.items()}, data)), names)


def prefixed(prefix, head="lm_head."):
    return renamed(lambda k: prefix + k[len(OWN):] if k.startswith(OWN) else head + k[8:] if k.startswith("lm_head.") else k)


def test_prefixes():
    for what, change in (("MLX", prefixed("language_model.model.", "language_model.lm_head.")),
                         ("transformers 5", prefixed("model.language_model.language_model.language_model.")),
                         ("a trainer's wrapper", renamed(lambda k: "module." + k)),
                         ("no prefix", prefixed(""))):
        folder = copy(change)
        same_figures(f"16.3 the prefix of {what}", folder, r"the tensors '.*\*' are read as 'model.language_model.\*'")
        status, said = verify(folder)
        check(status == 0 and not said["findings"], f"16.3 the prefix of {what}, verify", said["findings"][:3])
        said = inspect(folder)
        check(isinstance(said, dict) and said["parameters"] == inspect(DEMO)["parameters"], f"16.3 the prefix of {what}, inspect", said)
    same_figures("16.3 the head alone has a prefix", copy(prefixed(OWN, "model.lm_head.")), "'model.lm_head.*' are read as 'lm_head")
    two = copy(renamed(lambda k: "a.embed_tokens.weight" if k == OWN + "embed_tokens.weight" else
                       "b.embed_tokens.weight" if k == OWN + "norm.weight" else k))
    refused("16.3 two prefixes are shown", two, "missing tensor 'model.language_model.embed_tokens.weight'",
            "there are 'a.embed_tokens.weight', 'b.embed_tokens.weight'")
    other = copy(renamed(lambda k: k.replace("embed_tokens", "tok")))
    refused("16.3 without an embedding the names are shown", other, "missing tensor", "there are '[a-z_.]+', '")


def test_prefixes_of_quantized_modules():
    """quantization_config names modules as they are published, or as the files do: the same modules are meant."""
    good = evaluate(QUANTIZED)[1]["mean_nll"]
    with open(os.path.join(QUANTIZED, INDEX)) as f:
        packed = [k[:-len(".weight_packed")] for k in json.load(f)["weight_map"] if k.endswith(".weight_packed")]
    for what, prefix, head in (("MLX", "language_model.model.", "language_model.lm_head"),
                               ("transformers 5", "model.language_model.language_model.language_model.", "lm_head")):
        def foreign(name, prefix=prefix, head=head):
            return prefix + name[len(OWN):] if name.startswith(OWN) else head + name[7:] if name.startswith("lm_head") else name
        for whose, named in (("published", str), ("foreign", foreign)):
            def ignored(c, named=named):
                q = c["quantization_config"]
                q["ignore"] = [named(n) for n in q["ignore"]]

            def targeted(c, named=named):
                q = c["quantization_config"]
                q["ignore"], q["config_groups"]["group_0"]["targets"] = [], [named(n) for n in packed]
            for listed, change in (("ignore", ignored), ("targets", targeted)):
                folder = copy(in_turn(renamed(foreign), in_json("config.json", change)), QUANTIZED)
                status, summary, err = evaluate(folder)
                said = verify(folder)[1]
                check(status == 0 and summary["mean_nll"] == good and not said["findings"],
                      f"16.3 the prefix of {what}, {listed} with the {whose} names", (err[-300:], said["findings"][:2]))
                shutil.rmtree(folder)


# ---- 4: a tied head --------------------------------------------------------------------------------

def tied(value):
    return in_json("config.json", lambda c: (c.update(tie_word_embeddings=value), c["text_config"].update(tie_word_embeddings=value)))


def head_is_embedding(folder):
    """Both are in files, with the same bytes."""
    parts = {n: st.split(os.path.join(folder, n)) for n in shards(folder)}
    place = {k: (n, h[k]["data_offsets"]) for n, (h, _) in parts.items() for k in h if k in ("lm_head.weight", OWN + "embed_tokens.weight")}
    n, (b, e) = place[OWN + "embed_tokens.weight"]
    raw = parts[n][1][b:e]
    n, (b, e) = place["lm_head.weight"]
    header, data = parts[n]
    st.join(os.path.join(folder, n), header, data[:b] + raw + data[e:])


def unindexed(name):
    return in_json(INDEX, lambda i: i["weight_map"].pop(name))


def test_tied():
    warning = "tie_word_embeddings is true, but lm_head.weight is another than the embedding"
    folder = copy(tied(True))
    same_figures("16.4 a head of its own in a tied model", folder, warning)
    said = inspect(folder)
    check(any(re.search(warning, w) for w in said["warnings"]), "16.4 inspect warns", said["warnings"])
    found_by_verify("16.4 verify finds it", folder, "tied", warning)
    folder = copy(in_turn(tied(True), head_is_embedding))
    status, summary, err = evaluate(folder)
    check(status == 0 and summary["warnings"] == [], "16.4 the same bytes twice are fine", (status, err))
    status, said = verify(folder)
    check(status == 0, "16.4 verify: the same bytes twice are fine", said["findings"])
    gone = in_turn(without(lambda k: k == "lm_head.weight"), unindexed("lm_head.weight"))
    hint = "set tie_word_embeddings to true"
    refused("16.4 no head, and not tied", copy(gone), "missing tensor 'lm_head.weight'", hint)
    found_by_verify("16.4 no head, and not tied, verify", copy(gone), "missing", hint)
    status, summary, err = evaluate(copy(in_turn(gone, tied(True))))
    check(status == 0 and summary["warnings"] == [], "16.4 the hint is right", (status, err))


# ---- 6: settings -----------------------------------------------------------------------------------

def test_settings():
    for key, value in (("output_gate_type", "sigmoid"), ("scoring_func", "sigmoid"), ("final_logit_softcapping", 30.0),
                       ("routed_scaling_factor", 2.5), ("mlp_bias", True)):
        folder = copy(setting(key, value))
        refused(f"16.6 {key} {value} is refused", folder, f"config.json: {key} is .*, expected")
        found_by_verify(f"16.6 {key} {value}, verify", folder, "config", key)
    for key, value in (("output_gate_type", "swish"), ("scoring_func", "softmax"), ("final_logit_softcapping", None),
                       ("router_jitter_noise", 0.1), ("_attn_implementation", "sdpa"), ("pad_token_id", 0)):
        status, summary, err = evaluate(copy(setting(key, value)))
        check(status == 0 and summary["warnings"] == [] and summary["mean_nll"] == GOOD["mean_nll"],
              f"16.6 {key} {value} is fine", (status, err))
    folder = copy(in_turn(setting("residual_multiplier", 0.5), in_json("config.json", lambda c: c["text_config"]["rope_parameters"].update(
        attention_factor=2))))
    same_figures("16.6 unknown settings", folder,
                 "config.json: not read: text_config.residual_multiplier, rope_parameters.attention_factor; if it changes the model")
    said = inspect(folder)
    check(said["unread_settings"] == ["text_config.residual_multiplier", "rope_parameters.attention_factor"],
          "16.6 inspect lists them", said["unread_settings"])
    status, said = verify(folder)
    check(status == 0 and any("residual_multiplier" in n["text"] for n in said["notes"]), "16.6 verify notes them", said["notes"])
    fixtures = os.path.join(ROOT, "tests", "fixtures")
    for name in sorted(os.listdir(fixtures)):
        if os.path.exists(os.path.join(fixtures, name, "config.json")):
            said = inspect(os.path.join(fixtures, name))
            check(isinstance(said, dict) and said["unread_settings"] == [], f"16.6 none in {name}", said)


# ---- 26: names of the hub --------------------------------------------------------------------------

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "89abcdef" * 5


def hub_cache(*revisions):
    """-> a cache with the demo as Owner/Demo-1.0, main being the first revision: links into blobs"""
    cache = fresh("hub")
    repository = os.path.join(cache, "models--Owner--Demo-1.0")
    os.makedirs(os.path.join(repository, "refs"))
    shutil.copytree(DEMO, os.path.join(repository, "blobs"))
    for commit in revisions:
        snapshot = os.path.join(repository, "snapshots", commit)
        os.makedirs(snapshot)
        for name in os.listdir(DEMO):
            os.symlink(os.path.join("..", "..", "blobs", name), os.path.join(snapshot, name))
    for ref, commit in zip(("main", "v2"), revisions):
        with open(os.path.join(repository, "refs", ref), "w") as f:
            f.write(commit)
    return cache, repository


def test_hub():
    name = "Owner/Demo-1.0"
    cache, repository = hub_cache(COMMIT, OTHER)
    home = fresh("home")
    os.makedirs(os.path.join(home, ".cache", "huggingface"))
    os.symlink(cache, os.path.join(home, ".cache", "huggingface", "hub"))
    nothing = {k: "" for k in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")}
    env = {**nothing, "HF_HUB_CACHE": cache}
    for what, where in (("HF_HUB_CACHE", env), ("HF_HOME", {**nothing, "HF_HOME": os.path.join(home, ".cache", "huggingface")}),
                        ("HOME", {**nothing, "HOME": home})):
        status, summary, err = evaluate(name, env=where)
        check(status == 0 and summary["mean_nll"] == GOOD["mean_nll"] and summary["checkpoint"]["path"].endswith(f"snapshots/{COMMIT}"),
              f"16.26 eval finds it by {what}, and the record names the revision", (status, err))
    for revision, commit in (("main", COMMIT), ("v2", OTHER), (OTHER, OTHER)):
        said = inspect(name, "--revision", revision, env=env)
        check(isinstance(said, dict) and said["path"].endswith(commit), f"16.26 --revision {revision}", said)
    text, out = os.path.join(ROOT, "data", "demo", "text.txt"), fresh("out")
    for args in (("verify", name, "--against", name), ("trace", name, "--ids", IDS, "--out", out + ".trace"),
                 ("calibrate", name, "--ids", IDS, "--context", 8, "--out", out + ".calibration"),
                 ("compare", name, name, "--ids", IDS, "--context", 8, "--layers", "none"),
                 ("quantize", name, out + ".mxfp4"), ("bench", "--checkpoint", name, "--seconds", "0.01", "--threads", 1)):
        status, _, err = ran(*args, "--quiet", env=env)
        check(status == 0, f"16.26 {args[0]} finds it", (status, err))
    for what, args, pattern in (
            ("not there", ("Owner/Other",), "Owner/Other: No such file or directory, nor is it in the hub's cache .*`hf download Owner/Other`"),
            ("another revision", (name, "--revision", "v9"), f"no revision 'v9' of it.*`hf download {name} --revision v9`"),
            ("a revision that leaves its folder", (name, "--revision", "../main"), "is not the name of a revision"),
            ("a folder's revision", (DEMO, "--revision", "main"), "only a name OWNER/NAME of the hub has a revision")):
        status, _, err = ran("inspect", *args, env=env)
        check(status == 1 and re.search(pattern, err), f"16.26 {what}", (status, err))
    os.remove(os.path.join(repository, "blobs", shards(DEMO)[1]))
    status, _, err = ran("inspect", name, env=env)
    check(status == 1 and re.search(f"is incomplete: '{shards(DEMO)[1]}' is not in .*`hf download {name}` gets the rest", err),
          "16.26 an incomplete snapshot", (status, err))
    os.remove(os.path.join(repository, "blobs", "config.json"))
    status, _, err = ran("eval", name, "--ids", IDS, env=env)
    check(status == 1 and "'config.json' and 1 more files are not in" in err, "16.26 a snapshot without a config", (status, err))


# ---- all -----------------------------------------------------------------------------------------

GOOD = evaluate(DEMO)[1]
check(GOOD["warnings"] == [], "16 no warning about the demo", GOOD["warnings"])
for test in (test_stand_ins, test_absent, test_two_models, test_prefixes, test_prefixes_of_quantized_modules, test_tied,
             test_settings, test_hub):
    attempt(f"16: {test.__name__}", test)
done()
