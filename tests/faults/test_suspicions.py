"""What verify suspects without an original, and what the hub's own client leaves behind: rows 5, 8, 9, 10 and 11 of the list of
faults that people of this field meet, each test by its row."""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import numpy as np
import safetensors_io as st
from check import QUICK, attempt, check, done, skip
from program import FIXTURES, ROOT, SHARED, SURPRISAL, fresh

BF16, MXFP4 = (os.path.join(ROOT, "data", "demo", d) for d in ("bf16", "mxfp4"))
P = "model.language_model."


def verify(folder, *args):
    """-> exit status, result"""
    p = subprocess.run([SURPRISAL, "verify", folder, "--threads", "1", "--json", *args], capture_output=True, text=True, timeout=120)
    return p.returncode, json.loads(p.stdout)


def text_of(folder, *args):
    p = subprocess.run([SURPRISAL, "verify", folder, "--threads", "1", *args], capture_output=True, text=True, timeout=120)
    return p.returncode, p.stdout


def codes(r, level):
    return sorted({f["code"] for f in r[level]})


def copy(source):
    folder = fresh("checkpoint")
    shutil.copytree(source, folder)
    return folder


def edited(source, pattern, change):
    """A copy in which change(values, name) replaces those of each tensor whose name matches: floats, or bytes of scales."""
    folder = copy(source)
    for file in sorted(f for f in os.listdir(folder) if f.endswith(".safetensors")):
        path = os.path.join(folder, file)
        header, data = st.split(path)
        data = bytearray(data)
        for name, t in header.items():
            if name == "__metadata__" or not re.search(pattern, name):
                continue
            begin, end = t["data_offsets"]
            a = np.frombuffer(bytes(data[begin:end]), st.DTYPES[t["dtype"]]).reshape(t["shape"])
            new = change(st.from_bf16(a) if t["dtype"] == "BF16" else a.copy(), name)
            data[begin:end] = (st.bf16(new) if t["dtype"] == "BF16" else np.asarray(new, a.dtype)).tobytes()
        st.join(path, header, bytes(data))
    return folder


def only(index):
    """The value at an index of the flattened tensor."""
    def by(value):
        def change(a, _):
            a = a.copy()
            a.reshape(-1)[index] = value(a.reshape(-1)[index]) if callable(value) else value
            return a
        return change
    return by


def suspects(name, folder, code, n, *fragments):
    """The folder has n suspicions of the code, and nothing else is wrong; the first has the fragments."""
    status, r = verify(folder)
    found = r["suspicions"]
    check(status == 0 and r["finding_count"] == 0 and codes(r, "suspicions") == [code] and len(found) == n
          and r["suspicion_count"] == n and all(f in found[0]["tensor"] + " " + found[0]["text"] for f in fragments), name,
          f"status {status}, {r['findings'][:2]} {found[:3]}")
    shutil.rmtree(folder)


def add(x):
    return lambda a, _: a + np.float32(x)


# ---- 5: norms ----------------------------------------------------------------------------

TEXT = r"^model\.language_model\."


def test_5():
    for name, pattern, n, fragments in [
            ("all input_layernorm", TEXT + ".*input_layernorm", 1, ["layers.0.input_layernorm", "0.64 to 1.06 in 8 of 9 layers"]),
            ("all post_attention_layernorm", TEXT + ".*post_attention_layernorm", 1, ["in 8 of 9 layers"]),
            ("q and k norms", TEXT + ".*[qk]_norm", 2, ["k_norm", "1 added once more"]),
            ("gated norms", "linear_attn.norm", 1, ["1.59 to 1.94 in 6 of 6 layers", "stores its factor"]),
            ("one layer", TEXT + "layers.1.post_attention", 1, ["a middle value of 0.51, unlike the layers"]),
            ("the last layer", TEXT + "layers.7.input", 1, ["layers.7.input_layernorm"]),
            ("one of two q norms", TEXT + "layers.3.*q_norm", 1, ["layers.3.self_attn.q_norm"]),
            ("the norms of multi-token prediction", "mtp.layers.0.*norm", 4, ["mtp.layers.0"]),
            ("all that MLX folds, the last one too", TEXT + "(.*layernorm|.*[qk]_norm|norm)", 5, ["1 added once more"])]:
        suspects(f"16.5 1 added to {name}", edited(BF16, pattern, add(1)), "norm-offset", n, *fragments)
    suspects("16.5 a quantized checkpoint", edited(MXFP4, TEXT + ".*input_layernorm", add(1)), "norm-offset", 1, "8 of 9 layers")
    for name, pattern in [("input_layernorm", TEXT + ".*input_layernorm"), ("gated norms", "linear_attn.norm"),
                          ("one gated norm", "layers.2.linear_attn.norm")]:
        suspects(f"16.5 1 taken from {name}", edited(BF16, pattern, add(-1)), "norm-offset", 1, "1 taken away")
    for shape, hint in ((lambda s: [s[0], s[2], 1], "the layout of MLX"), (lambda s: [s[0], s[2]], "without the dimension of 1")):
        folder = copy(BF16)
        path = os.path.join(folder, "model.safetensors-00001-of-00002.safetensors")
        header, data = st.split(path)
        for t in (t for n, t in header.items() if n.endswith("conv1d.weight")):
            t["shape"] = shape(t["shape"])
        st.join(path, header, data)
        status, r = verify(folder)
        check(status == 1 and codes(r, "findings") == ["shape"] and hint in r["findings"][0]["text"],
              f"16.5 conv1d: {hint}", str(r["findings"][:1]))
        p = subprocess.run([SURPRISAL, "inspect", folder], capture_output=True, text=True)
        check(p.returncode == 1 and hint in p.stderr, f"16.5 conv1d is refused with the hint: {hint}", p.stderr)


# ---- 8: values -----------------------------------------------------------------------------

def flip(bit):
    return lambda x: st.from_bf16(st.bf16(np.array([x])) ^ np.uint16(1 << bit))[0]


def test_8():
    for name, source, pattern, index, value, fragments in [
            ("1e30 in a matrix", BF16, "layers.3.self_attn.q_proj.weight", 777, 1e30,
             ["1e+30, at [6, 9]", "other values are below 0.5, those of 2 more of this kind below 0.5"]),
            ("a flipped bit in a matrix", BF16, TEXT + "layers.3.mlp.experts.down_proj", 5000, flip(14),
             ["layers.3.mlp.experts.0.down_proj", "at [78, 8]", "a flipped bit?"]),
            ("a flipped bit in the head", BF16, "^lm_head", 99999, flip(14), ["at [781, 31]"]),
            ("1e30 in the embedding", BF16, "embed_tokens", 7, 1e30, ["at [0, 7]"]),
            ("1e30 in a norm", BF16, "layers.2.input_layernorm", 3, 1e30, ["at [3]"]),
            ("-1e30 in the last norm", BF16, TEXT + "norm.weight", 7, -1e30, ["1e+30, at [7]"]),
            ("1e30 among eight", BF16, "layers.0.linear_attn.A_log", 2, 1e30, ["at [2]"]),
            ("1e30 in a convolution", BF16, "layers.0.linear_attn.conv1d", 7, 1e30, ["at [1, 0, 3]"]),
            ("1e30 in the image encoder", BF16, "visual.blocks.0.attn.qkv.weight", 7, 1e30, ["at [0, 7]"]),
            ("300 among weights of 0.1", BF16, "layers.2.linear_attn.out_proj", 7, 300, ["the largest magnitude is 300"]),
            ("a flipped bit of a scale", MXFP4, "layers.3.mlp.experts.3.down_proj.weight_scale", 50,
             lambda b: int(b) ^ 0x80, ["layers.3.mlp.experts.3.down_proj"])]:
        suspects(f"16.8 {name}", edited(source, pattern, only(index)(value)), "extreme", 1, *fragments)
    suspects("16.8 a whole matrix", edited(BF16, "layers.3.self_attn.q_proj.weight", lambda a, _: a * 1e30), "extreme", 1,
             "values of about 1.9e+29")
    folder = copy(os.path.join(FIXTURES, "moe-f16"))
    os.unlink(os.path.join(folder, "expected.safetensors"))
    suspects("16.8 a flipped bit in F16", edited(folder, "layers.2.linear_attn.in_proj_qkv.weight", only(5)(
        lambda x: (np.array([x], np.float16).view(np.uint16) ^ np.uint16(0x4000)).view(np.float16)[0])), "extreme", 1, "at [0, 5]")


# ---- false alarms ----------------------------------------------------------------------------

def rows_and_columns(rng, shape):
    """Outlier channels."""
    x = 0.02 * rng.standard_normal(shape)
    x[..., rng.integers(shape[-1])] *= 100
    x[..., rng.integers(shape[-2]), :] *= 60
    return x


def single(rng, shape):
    """The weight behind a massive activation."""
    x = 0.02 * rng.standard_normal(shape)
    x.reshape(-1)[rng.integers(x.size)] = 2
    return x


def dead_rows(rng, shape):
    return 0.02 * rng.standard_normal(shape) * np.where(rng.random(shape[:-1] + (1,)) < 0.9, 1e-12, 1)


DISTRIBUTIONS = {
    "Student's t, 3 degrees": lambda rng, s: 0.02 * rng.standard_t(3, s),
    "99 % zeros": lambda rng, s: 0.02 * rng.standard_normal(s) * (rng.random(s) < 0.01),
    "outlier channels": rows_and_columns, "single large weights": single, "dead rows": dead_rows,
    "tiny": lambda rng, s: 1e-8 * rng.standard_normal(s),
    "large": lambda rng, s: 20 * rng.standard_normal(s),
    "log-normal": lambda rng, s: np.exp(2 * rng.standard_normal(s)) * 0.001,
}


def test_no_false_alarm():
    folders = [BF16, MXFP4] + [os.path.join(FIXTURES, d) for d in sorted(os.listdir(FIXTURES))]
    folders += [os.path.join(SHARED, "checkpoints", d) for d in ("tiny-bf16", "tiny-mxfp4", "tiny-mtp")]
    for folder in (f for f in folders if os.path.isfile(os.path.join(f, "config.json"))):
        r = verify(folder)[1]
        check(r["suspicion_count"] == 0 and not r["suspicions"], f"16.5 8 9 nothing is suspect in {os.path.basename(folder)}",
              str(r["suspicions"][:2]))
    rng = np.random.default_rng(16)
    for name, draw in list(DISTRIBUTIONS.items())[:2 if QUICK else None]:
        folder = edited(BF16, r"\.(weight|gate_up_proj|down_proj)$",
                        lambda a, _: draw(rng, a.shape) if a.ndim > 1 else a)
        packed = fresh("packed")
        subprocess.run([SURPRISAL, "quantize", folder, packed, "--quiet"], check=True, capture_output=True)
        for what, where in (("", folder), (", quantized", packed)):
            r = verify(where)[1]
            check(r["suspicion_count"] == 0, f"16.8 9 nothing is suspect in weights: {name}{what}", str(r["suspicions"][:2]))
            shutil.rmtree(where)
    folder = edited(BF16, "norm.weight", lambda a, n: a if n.startswith("mtp") else np.where(rng.random(a.shape) < 0.02, 8, a))
    r = verify(folder)[1]
    check(r["suspicion_count"] == 0, "16.5 8 nothing is suspect in norms with outliers", str(r["suspicions"][:2]))


# ---- 9: scales --------------------------------------------------------------------------------

def shift(by):
    return lambda a, _: (a.astype(int) + by).clip(0, 254)


def test_9():
    for name, by, pattern, n, fragments in [
            ("bias 125", -2, "weight_scale", 3, ["RMS of mlp.experts.*.down_proj 0.0189", "alike in 8 of 8 layers",
                                                 "scales off by 2^-2, bias 125 instead of 127?"]),
            ("four times too large", 2, "weight_scale", 3, ["2^2?"]),
            ("one kind at half", -1, "up_proj.weight_scale", 1, ["up_proj", "2^-1?"]),
            ("one kind doubled", 1, "down_proj.weight_scale", 1, ["down_proj", "2^1?"]),
            ("one layer with bias 125", -2, "layers.3.*weight_scale", 3, ["layers.3.", "unlike in other layers"])]:
        suspects(f"16.9 {name}", edited(MXFP4, pattern, shift(by)), "scale-level", n, *fragments)
    folder = edited(MXFP4, "weight_scale", shift(-2))
    status, text = text_of(folder, "--against", BF16)
    lines = [x for x in text.split("\n") if x.startswith("scale-off: ")]
    check(status == 1 and len(lines) == 3 and "layers.{0-7}.mlp.experts.{0-15}.down_proj" in lines[0] and "128 such" in lines[0]
          and "384 findings" in text, "16.9 what repeats is one line with a count", f"{len(lines)} {lines[:1]}")
    status, text = text_of(folder, "--against", BF16, "--all")
    check(text.count("\nscale-off: ") + text.startswith("scale-off: ") == 384, "16.9 --all lists each", text[:200])
    for version, n in (("0.13.0", 1), ("0.14.0", 0), ("0.12.2", 0)):
        folder = copy(MXFP4)
        with open(os.path.join(folder, "config.json")) as f:
            config = json.load(f)
        config["quantization_config"]["version"] = version
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f)
        r = verify(folder)[1]
        check([f["code"] for f in r["suspicions"]] == n * ["scale-version"] and (not n or version in r["suspicions"][0]["text"]),
              f"16.9 compressed-tensors {version}", str(r["suspicions"]))


def test_level():
    """A suspicion in text, JSON and page, and the exit status."""
    folder = edited(BF16, "layers.3.self_attn.q_proj.weight", only(777)(1e30))
    page = fresh("page")
    status, text = text_of(folder, "--html", page)
    with open(page) as f:
        html = f.read()
    check(status == 0 and text.startswith("suspicion extreme: ") and "no findings, 1 suspicion, 1 note: " in text,
          "16.8 a suspicion is a line of its own level", text[-200:])
    check("<h2>Suspicions</h2>" in html and "a flipped bit?" in html and "<h2>Findings</h2>" not in html, "16.8 and on the page",
          html[-600:])
    check(text_of(folder, "--strict")[0] == 1 and text_of(BF16, "--strict")[0] == 0, "16.8 --strict: status 1", "")
    status, r = verify(folder, "--against", BF16)
    check(status == 1 and r["suspicion_count"] == 0 and codes(r, "findings") == ["differs"],
          "16.8 the original proves what is suspected without it", str(r["findings"][:2]))


# ---- 10: MTP as a layer --------------------------------------------------------------------------

def test_10():
    folder = copy(BF16)
    for file in sorted(f for f in os.listdir(folder) if f.endswith(".safetensors")):
        path = os.path.join(folder, file)
        header, data = st.split(path)
        st.join(path, {n.replace("mtp.layers.0.", P + "layers.8.") if not n.startswith("mtp.layers.1") else n: t
                       for n, t in header.items()}, data)
    path = os.path.join(folder, "model.safetensors.index.json")
    with open(path) as f:
        index = f.read()
    with open(path, "w") as f:
        f.write(index.replace('"mtp.layers.0.', f'"{P}layers.8.'))
    status, text = text_of(folder)
    lines = [x for x in text.split("\n") if x.startswith("unexpected: ")]
    n = index.count('"mtp.layers.0.') - 2 + 3 * 16      # two fused tensors are 48 weights
    check(status == 1 and len(lines) == 1 and f"layer 8, of which {n} weights are here" in lines[0]
          and "num_hidden_layers is 8" in lines[0] and "MTP" in lines[0] and "1 finding" in text,
          "16.10 a layer that the config does not count is one line", f"{n} {lines[:3]}")


# ---- 11: what the hub's client left ---------------------------------------------------------------

COMMIT, OTHER = "0123456789abcdef0123456789abcdef01234567", "f" * 40


def etag(path, git):
    with open(path, "rb") as f:
        raw = f.read()
    return hashlib.sha1(b"blob %d\0" % len(raw) + raw).hexdigest() if git else hashlib.sha256(raw).hexdigest()


def downloaded(commit=lambda name: COMMIT):
    """As `hf download --local-dir` leaves it; a file in a folder too."""
    folder = copy(MXFP4)
    os.mkdir(os.path.join(folder, "sub"))
    with open(os.path.join(folder, "sub", "README.md"), "w") as f:
        f.write("more")
    for name in [*(n for n in sorted(os.listdir(folder)) if n != "sub"), "sub/README.md"]:
        meta = os.path.join(folder, ".cache", "huggingface", "download", name + ".metadata")
        os.makedirs(os.path.dirname(meta), exist_ok=True)
        with open(meta, "w") as f:
            f.write(f"{commit(name)}\n{etag(os.path.join(folder, name), not name.endswith('.safetensors'))}\n1726498370.84\n")
    return folder


def cached():
    """As the client's cache has it: a snapshot of links into blobs."""
    top = os.path.join(fresh("hub"), "models--a--b")
    snapshot, blobs = os.path.join(top, "snapshots", COMMIT), os.path.join(top, "blobs")
    os.makedirs(snapshot)
    os.mkdir(blobs)
    for name in sorted(os.listdir(MXFP4)):
        blob = etag(os.path.join(MXFP4, name), not name.endswith(".safetensors"))
        shutil.copy(os.path.join(MXFP4, name), os.path.join(blobs, blob))
        os.symlink(os.path.join("..", "..", "blobs", blob), os.path.join(snapshot, name))
    return snapshot


def revisions(folder):
    """As inspect and a run's summary say it."""
    out = fresh("run")
    inspected = subprocess.run([SURPRISAL, "inspect", folder, "--json"], capture_output=True, text=True)
    subprocess.run([SURPRISAL, "eval", folder, "--text", os.path.join(ROOT, "data", "demo", "text.txt"), "--context", "64", "--max-windows",
                    "1", "--quiet", "--out", out], capture_output=True, check=True)
    with open(os.path.join(out, "summary.json")) as f:
        return json.loads(inspected.stdout)["revision"], json.load(f)["checkpoint"]["revision"]


SHARD = "model.safetensors-00002-of-00002.safetensors"


def damage(folder, name, at=-9):
    path = os.path.realpath(os.path.join(folder, name))
    with open(path, "rb") as f:
        raw = bytearray(f.read())
    raw[at] ^= 1
    with open(path, "wb") as f:
        f.write(raw)


def test_11():
    n = len(os.listdir(MXFP4))
    for what, make, files in (("a folder with metadata", downloaded, n + 1), ("a snapshot of links", cached, n)):
        folder = make()
        status, r = verify(folder)
        check(status == 0 and r["finding_count"] == 0 and r["download"] == {"revision": COMMIT, "files": files, "equal": files},
              f"16.11 {what} is whole", f"{r['download']} {r['findings'][:2]}")
        text = text_of(folder)[1]
        check(f"download: {files} of {files} files have the digests that the hub's client recorded, revision {COMMIT}" in text,
              f"16.11 {what}: said in the text", text[-300:])
        check(revisions(folder) == (COMMIT, COMMIT), f"16.11 {what}: inspect and the summary name the revision", str(revisions(folder)))
        p = subprocess.run([SURPRISAL, "inspect", folder], capture_output=True, text=True)
        check(COMMIT in p.stdout, f"16.11 {what}: inspect prints it", p.stdout[:200])
        for name in (SHARD, "generation_config.json"):
            damage(folder, name)
        status, r = verify(folder)
        found = sorted(f["file"] for f in r["findings"] if f["code"] == "download")
        check(status == 1 and found == ["generation_config.json", SHARD] and r["download"]["equal"] == files - 2,
              f"16.11 {what}: files that changed", str(r["findings"][:3]))
        shutil.rmtree(folder)
    folder = downloaded(lambda name: OTHER if name == "config.json" else COMMIT)
    with open(os.path.join(folder, ".cache", "huggingface", "download", "x.incomplete"), "w"):
        pass
    os.unlink(os.path.join(folder, "sub", "README.md"))
    status, r = verify(folder)
    notes = " ".join(f["text"] for f in r["notes"] if f["code"] == "download")
    check(status == 0 and r["download"]["revision"] is None and "more than one revision" in notes and "1 downloads were not" in notes
          and "is not here" in notes, "16.11 several revisions, an unfinished and a missing file are notes", notes)
    check(revisions(folder) == (None, None), "16.11 of several revisions none is named", "")
    meta = os.path.join(folder, ".cache", "huggingface", "download")
    for i, raw in enumerate([b"", b"\0" * 200, b"x" * 100000, COMMIT.encode(), (COMMIT + "\n" + "a" * 63 + "\n").encode(), b"\xff\n\n\n"]):
        with open(os.path.join(meta, f"{i}.metadata"), "wb") as f:
            f.write(raw)
    os.mkfifo(os.path.join(meta, "fifo.metadata"))
    os.symlink("/proc/self/mem", os.path.join(meta, "link.metadata"))
    status, other = verify(folder)
    check(status == 0 and other["download"] == r["download"], "16.11 metadata that cannot be used is left out", str(other["download"]))
    check(verify(BF16)[1]["download"] is None and revisions(BF16) == (None, None), "16.11 nothing without the client", "")


for name, test in sorted((n, t) for n, t in globals().items() if n.startswith("test_")):
    attempt(name, test)
done()
