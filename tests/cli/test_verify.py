"""surprisal verify: each kind of damage done to a copy of the demo checkpoint is found by its code, and nothing else
is; the undamaged pair is clean; SQNR against numpy."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
import numpy as np
import safetensors_io as st
from changes import CONFIG, INDEX, in_json, in_turn, remove
from program import FIXTURES, ROOT, SURPRISAL, fresh

from check import QUICK, check, done

ORIGINAL, DEMO = (os.path.join(ROOT, "data", "demo", d) for d in ("bf16", "mxfp4"))
SHARDS = [f"model.safetensors-0000{i}-of-00002.safetensors" for i in (1, 2)]
P = "model.language_model."
EXPERT = P + "layers.1.mlp.experts.3."
OUT_PROJ = P + "layers.0.linear_attn.out_proj"
NORM = P + "layers.5.input_layernorm.weight"
PACKED, SCALE = ".weight_packed", ".weight_scale"


def verify(*args, timeout=120):
    return subprocess.run([SURPRISAL, "verify", *map(str, args), "--threads", "1"], capture_output=True, text=True,
                          timeout=timeout)


def result(*args):
    p = verify(*args, "--json")
    return p.returncode, json.loads(p.stdout)


# ---- ways to damage a checkpoint -------------------------------------------------------

def config(change):
    return in_json(CONFIG, change)


def quantization(change):
    return config(lambda c: change(c["quantization_config"]))


def index(change):
    return in_json(INDEX, lambda i: change(i["weight_map"]))


def shard_of(folder, name):
    with open(os.path.join(folder, INDEX)) as f:
        return os.path.join(folder, json.load(f)["weight_map"][name])


def tensors(*names):
    """Edits arrays: change gets them by name, in place."""
    def by(change):
        def damage(folder):
            for path in {shard_of(folder, n) for n in names}:
                header, data = st.split(path)
                data = bytearray(data)
                views = {n: np.frombuffer(data, st.DTYPES[header[n]["dtype"]],
                                          offset=header[n]["data_offsets"][0],
                                          count=int(np.prod(header[n]["shape"]))).reshape(header[n]["shape"])
                         for n in names if n in header}
                change(*[views[n] for n in names])
                st.join(path, header, bytes(data))
        return damage
    return by


def header(name, change):
    """Edits the header of the shard that holds a tensor."""
    def damage(folder):
        path = shard_of(folder, name)
        h, data = st.split(path)
        change(h)
        st.join(path, h, data)
    return damage


def drop(name):
    return in_turn(header(name, lambda h: h.pop(name)), index(lambda m: m.pop(name)))


def rename(name, new):
    return in_turn(header(name, lambda h: h.update({new: h.pop(name)})), index(lambda m: m.update({new: m.pop(name)})))


def add_tensor(name, array, listed):
    def damage(folder):
        path = os.path.join(folder, SHARDS[0])
        h, data = st.split(path)
        raw = np.ascontiguousarray(array).tobytes()
        h[name] = {"dtype": "BF16", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        st.join(path, h, data + raw)
        if listed:
            index(lambda m: m.update({name: SHARDS[0]}))(folder)
    return damage


def original(name):
    return st.read(shard_of(ORIGINAL, name))[name]


def file(name, change):
    def damage(folder):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            raw = f.read()
        with open(path, "wb") as f:
            f.write(change(raw))
    return damage


def set_first(value):
    def change(a):
        a.reshape(-1)[0] = value
    return change


def shift(by):
    def change(a):
        a += np.uint8(by % 256)
    return change


def swap(a, b):
    a[:], b[:] = b.copy(), a.copy()


def fill_rows(n):
    def change(a):
        a[:n] = 0
    return change


def truncate(h):
    t = h[EXPERT + "up_proj" + PACKED]
    t["shape"][0] -= 1
    t["data_offsets"][1] -= t["shape"][1]


def unpack(folder):
    """One projection of one expert back to BF16, as the config does not say."""
    for suffix in (PACKED, SCALE):
        drop(EXPERT + "up_proj" + suffix)(folder)
    fused = original(P + "layers.1.mlp.experts.gate_up_proj")[3]
    add_tensor(EXPERT + "up_proj.weight", fused[len(fused) // 2:], True)(folder)


def pack_out_proj(folder):
    """As the quantizer would, but the config ignores it."""
    drop(OUT_PROJ + ".weight")(folder)
    rows, cols = original(OUT_PROJ + ".weight").shape
    for suffix, n, value in ((PACKED, cols // 2, 0x21), (SCALE, cols // 32, 120)):
        add_tensor(OUT_PROJ + suffix, np.full((rows, n), value, np.uint8), True)(folder)
        header(OUT_PROJ + suffix, lambda h: h[OUT_PROJ + suffix].update(dtype="U8"))(folder)


def swap_experts(folder):
    for p in ("gate_proj", "up_proj", "down_proj"):
        for suffix in (PACKED, SCALE):
            tensors(EXPERT + p + suffix, EXPERT.replace(".3.", ".4.") + p + suffix)(swap)(folder)


UP = EXPERT + "up_proj"
FUSED = P + "layers.1.mlp.experts.gate_up_proj"
Q_PROJ = P + "layers.3.self_attn.q_proj"

# name, damage, codes against the original, codes without it ("": none)
CASES = [
    ("a scale byte 255", tensors(UP + SCALE)(set_first(255)), "scale-nan", "scale-nan"),
    ("a packed tensor cut in shape", header(UP + PACKED, truncate), "shape", "shape"),
    ("a missing tensor", drop(NORM), "missing", "missing"),
    ("a tensor that only the index has", header(NORM, lambda h: h.pop(NORM)), "missing", "missing"),
    ("a tensor left over from the original", add_tensor(FUSED, original(FUSED), False), "stale", "stale"),
    ("the same, and the index names it", add_tensor(FUSED, original(FUSED), True), "twice", "twice"),
    ("codes without scales", drop(UP + SCALE), "pair", "pair"),
    ("scales without codes", drop(UP + PACKED), "missing pair", "missing pair"),
    ("an ignored module is packed", pack_out_proj, "ignored low-sqnr small-codes",
     "ignored small-codes"),
    ("packed experts are ignored", quantization(lambda q: q["ignore"].append("re:.*layers.1.mlp.experts")), "ignored",
     "ignored"),
    ("a target is not packed", quantization(lambda q: q["ignore"].remove(OUT_PROJ)), "not-packed", "not-packed"),
    ("a part of a merged module is not ignored", quantization(lambda q: q["ignore"].remove(Q_PROJ)), "merged not-packed",
     "merged not-packed"),
    ("packed modules are no targets", quantization(lambda q: q["config_groups"]["group_0"].update(
        targets=["re:.*down_proj$"])), "not-covered", "not-covered"),
    ("targets by the merged name", quantization(lambda q: q["config_groups"]["group_0"].update(
        targets=["re:.*down_proj$", "re:.*experts[.][0-9]+[.](gate|up)_proj$"])), "", ""),
    ("no quantization_config", config(lambda c: c.pop("quantization_config")), "no-config", "no-config"),
    ("8 bits", quantization(lambda q: q["config_groups"]["group_0"]["weights"].update(num_bits=8)), "quantization",
     "quantization"),
    ("three settings", quantization(lambda q: q["config_groups"]["group_0"]["weights"].update(
        num_bits=8, type="int", group_size=16)), "quantization*3", "quantization*3"),
    ("another format", quantization(lambda q: q.update(format="nvfp4-pack-quantized")), "other-format", "other-format"),
    ("an unknown format", quantization(lambda q: q.update(format="nf4")), "quantization", "quantization"),
    ("one projection of one expert is not packed", unpack, "merged not-packed", "merged not-packed"),
    ("one bit of an unquantized tensor", tensors(OUT_PROJ + ".weight")(lambda a: set_first(a[0, 0] ^ 1)(a)), "differs", ""),
    ("a norm with a NaN", tensors(NORM)(set_first(0x7FC0)), "differs non-finite", "non-finite"),
    ("an unquantized matrix of zeros", tensors(OUT_PROJ + ".weight")(lambda a: a.fill(0)), "differs zero-tensor",
     "zero-tensor"),
    ("the wrong shard in the index", index(lambda m: m.update({NORM: SHARDS[0]})), "wrong-file", "wrong-file"),
    ("a shard that does not exist", index(lambda m: m.update({NORM: "model-3.safetensors"})), "missing-file stale",
     "missing-file stale"),
    ("a shard that the index does not know", lambda folder: shutil.copy(
        os.path.join(ORIGINAL, SHARDS[0]), os.path.join(folder, "old.safetensors")), "unlisted", "unlisted"),
    ("two experts swapped", swap_experts, "low-sqnr", ""),
    ("scales one larger", tensors(UP + SCALE)(shift(1)), "scale-off", ""),
    ("scales one smaller", tensors(UP + SCALE)(shift(-1)), "scale-off", ""),
    ("one scale one smaller", tensors(UP + SCALE)(lambda a: set_first(a[0, 0] - 1)(a)), "scale-off", ""),
    ("a zeroed expert", tensors(*(EXPERT + p + PACKED for p in ("gate_proj", "up_proj", "down_proj")))(
        lambda *all: [a.fill(0) for a in all]), "zero-tensor", "zero-tensor"),
    ("zeroed rows", tensors(UP + PACKED)(fill_rows(2)), "zero-rows", "zero-rows"),
    ("a zeroed block", tensors(UP + PACKED)(lambda a: a[0, :16].fill(0)), "zeroed", ""),
    ("all codes the largest", tensors(UP + PACKED)(lambda a: a.fill(0x7F)), "low-sqnr saturated", "saturated"),
    ("all codes small", tensors(UP + PACKED)(lambda a: np.bitwise_and(a, 0x99, out=a)),
     "low-sqnr small-codes", "small-codes"),
    ("a file cut short", file(SHARDS[1], lambda raw: raw[:len(raw) // 2]), "unreadable", "unreadable"),
    ("a file of nothing", file(SHARDS[0], lambda raw: b""), "unreadable", "unreadable"),
    ("a renamed module", rename(OUT_PROJ + ".weight", OUT_PROJ.replace("out_", "o_") + ".weight"), "missing unexpected",
     "missing unexpected"),
    ("a renamed tensor of the image encoder", rename("model.visual.pos_embed.weight", "model.visual.position.bias"),
     "missing extra", ""),
    ("a bias that the model has not", add_tensor(Q_PROJ + ".bias", np.full(512, 0x3F80, np.uint16), True), "unexpected",
     "unexpected"),
    ("a norm of integers", header(NORM, lambda h: h[NORM].update(dtype="I16")), "dtype", "dtype"),
    ("another hidden_size", config(lambda c: c["text_config"].update(num_experts=17)), "config-differs missing shape",
     "missing shape"),
    ("another setting", config(lambda c: c["text_config"]["rope_parameters"].update(rope_theta=1e6)), "config-differs", ""),
    ("no config", remove(CONFIG), "config", "config"),
    ("a config that is no JSON", file(CONFIG, lambda raw: raw[:100]), "config", "config"),
    ("a config of another model", config(lambda c: c.update(model_type="llama")), "config config-differs", "config"),
    ("an index that is no JSON", file(INDEX, lambda raw: raw[:100]), "index", "index"),
    ("another tokenizer", file("tokenizer.json", lambda raw: raw + b" "), "file-differs", ""),
    ("no generation_config", remove("generation_config.json"), "missing-file", ""),
]


def damaged(damage):
    folder = fresh("damaged")
    shutil.copytree(DEMO, folder)
    damage(folder)
    return folder


def test_damage():
    for name, damage, against, alone in CASES:
        folder = damaged(damage)
        for what, expected, args in (("against", against, ["--against", ORIGINAL]), ("alone", alone, [])):
            status, r = result(folder, *args)
            codes = sorted({f["code"] for f in r["findings"]})
            wanted = [c.split("*") for c in expected.split()]
            counts = all(sum(f["code"] == c[0] for f in r["findings"]) == int(c[1]) for c in wanted if c[1:])
            check(codes == sorted(c[0] for c in wanted) and counts and status == (1 if expected else 0)
                  and r["finding_count"] == len(r["findings"]), f"{name}, {what}",
                  f"status {status}, {r['finding_count']} findings: {r['findings'][:4]}")
        shutil.rmtree(folder)


def test_places():
    """Findings name file, tensor and place."""
    folder = damaged(in_turn(tensors(UP + SCALE)(lambda a: a.reshape(-1).__setitem__(5, 255)),
                             tensors(OUT_PROJ + ".weight")(lambda a: a[2].__setitem__(7, a[2, 7] ^ 1))))
    p = verify(folder, "--against", ORIGINAL)
    for line in (f"scale-nan: {SHARDS[0]}: {UP}{SCALE}: 1 of 256 scale bytes are 255, which is NaN, the first at [1, 1]",
                 f"differs: {SHARDS[0]}: {OUT_PROJ}.weight: 1 of 32768 values are not the original's, the first at [2, 7]"):
        check(line in p.stdout.split("\n"), line.split(":")[0] + " is named with its place", p.stdout[:600])
    check(p.stdout.rstrip().split("\n")[-1].startswith("2 findings"), "the last line counts", p.stdout[-200:])


# ---- the undamaged pair ------------------------------------------------------------------

MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
VALUES = np.concatenate([MAGNITUDES, -MAGNITUDES])


def decoded(packed, scale):
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(packed.shape[0], -1)
    return VALUES[codes] * np.repeat(2.0 ** (scale.astype(float) - 127), 32, axis=1)


def test_clean():
    for folder, against in ((DEMO, ORIGINAL), (DEMO, None), (ORIGINAL, None), (ORIGINAL, ORIGINAL), (DEMO, DEMO)):
        status, r = result(folder, *(["--against", against] if against else []))
        check(status == 0 and r["finding_count"] == 0,
              f"{os.path.basename(folder)} {'against ' + os.path.basename(against) if against else 'alone'} is clean",
              str(r["findings"][:4]))
    for name in ("packed", "packed-dense", "shards", "moe-odd", "dense-multimodal"):
        status, r = result(os.path.join(FIXTURES, name))
        check(not {f["code"] for f in r["findings"]} & {"missing", "shape", "dtype", "pair", "unexpected", "config"},
              f"the fixture {name} is what its config says", str(r["findings"][:4]))


def test_sqnr():
    status, r = result(DEMO, "--against", ORIGINAL)
    here, there = ({n: a for s in SHARDS for n, a in st.read(os.path.join(d, s)).items()} for d in (DEMO, ORIGINAL))
    sums, clipped, worst = np.zeros(2), 0, 0
    layers = {}
    for t in r["quantized_tensors"]:
        module = t["tensor"][:-len(".weight")]
        q = decoded(here[module + PACKED], here[module + SCALE])
        parent, expert, kind = module.rsplit(".", 2)
        fused = st.from_bf16(there[parent + (".down_proj" if kind == "down_proj" else ".gate_up_proj")][int(expert)])
        n = len(fused) // 2
        w = (fused if kind == "down_proj" else fused[:n] if kind == "gate_proj" else fused[n:]).astype(float)
        one = np.array([(w ** 2).sum(), ((w - q) ** 2).sum()])
        most = 6 * np.repeat(2.0 ** (here[module + SCALE].astype(float) - 127), 32, axis=1)
        clipped += (np.abs(w) > most).sum()
        sums += one
        layer = parent.split("layers.")[1].split(".")[0], "mlp.experts.*." + kind
        layers[layer] = layers.get(layer, 0) + one
        worst = max(worst, abs(t["sqnr_db"] / (10 * np.log10(one[0] / one[1])) - 1),
                    abs(t["relative_error"] / np.sqrt(one[1] / one[0]) - 1))
    check(len(r["quantized_tensors"]) == 384 and worst < 1e-9, "SQNR of each tensor is numpy's", f"{worst:.2e}")
    total = r["total"]
    check(abs(total["sqnr_db"] / (10 * np.log10(sums[0] / sums[1])) - 1) < 1e-9, "SQNR of all is numpy's", str(total))
    check(abs(total["clipped_share"] * total["weights"] - clipped) < 0.5, "the clipped share is numpy's", f"{clipped}")
    rows = {(x["layer"], x["kind"]): x["sqnr_db"] for x in r["layers"]}
    check(rows.keys() == layers.keys()
          and all(abs(rows[k] / (10 * np.log10(s[0] / s[1])) - 1) < 1e-9 for k, s in layers.items()),
          "SQNR by layer and kind is numpy's", str(rows))
    check([t["sqnr_db"] for t in r["worst"]] == sorted(t["sqnr_db"] for t in r["quantized_tensors"])[:10],
          "the worst ten come first", str(r["worst"][:2]))
    two = subprocess.run([SURPRISAL, "verify", DEMO, "--against", ORIGINAL, "--json", "--threads", "3"],
                         capture_output=True, text=True)
    r["seconds"] = two_seconds = 0
    other = json.loads(two.stdout)
    other["seconds"] = two_seconds
    check(other == r, "three threads find the same to the last bit", "")


# ---- output, hostile input, interruption -----------------------------------------------------

def test_html():
    name = P + "layers.0.<script>alert(1)</script>&\"'"
    folder = damaged(in_turn(add_tensor(name, np.zeros((2, 32), np.uint16), True), tensors(UP + SCALE)(shift(1))))
    page = fresh("page")
    p = verify(folder, "--against", ORIGINAL, "--html", page)
    with open(page) as f:
        text = f.read()
    check(p.returncode == 1 and "<script" not in text and "&lt;script&gt;" in text and "&quot;&#39;" in text,
          "names are escaped in HTML", text[:300])
    check("http" not in text and "src=" not in text and "scale-off" in text and text.count("color-mix") > 24,
          "the page needs nothing else and has a heat table", text[:300])
    p = verify(DEMO, "--html", os.path.join(DEMO, "no", "page.html"))
    check(p.returncode == 1 and "cannot be written" in p.stderr, "a page that cannot be written is a failure", p.stderr)


def test_usage():
    for name, args, status, fragment in [
            ("no checkpoint", [], 2, "CHECKPOINT is missing"),
            ("a folder that does not exist", ["/no/such"], 1, "/no/such: No such file"),
            ("an original that does not exist", [DEMO, "--against", "/no/such"], 1, "/no/such: No such file"),
            ("a file", [os.path.join(DEMO, CONFIG)], 1, "is not a folder")]:
        p = verify(*args)
        check(p.returncode == status and fragment in p.stderr, name, p.stderr)
    p = subprocess.run([SURPRISAL, "verify", "--help"], capture_output=True, text=True)
    check(p.returncode == 0 and "--against ORIGINAL" in p.stdout and "--html FILE" in p.stdout, "--help", p.stdout)
    empty = fresh("empty")
    os.mkdir(empty)
    status, r = result(empty)
    check(status == 1 and {f["code"] for f in r["findings"]} == {"config", "missing-file"}, "an empty folder", str(r))


def test_hostile():
    """Bytes changed at random: findings or none, but neither a crash nor silence."""
    rng = random.Random(1)
    bad = []
    for round in range(20 if QUICK else 120):
        source = os.path.join(FIXTURES, ("packed", "shards-stale")[round % 2])
        folder = fresh("hostile")
        shutil.copytree(source, folder)
        name = rng.choice([n for n in sorted(os.listdir(source)) if not n.startswith("expected")])
        with open(os.path.join(source, name), "rb") as f:
            raw = bytearray(f.read())
        end = min(len(raw), 20000)
        for _ in range(rng.choice([1, 1, 3, 30])):
            raw[rng.randrange(end)] = rng.choice([rng.randrange(256), 0x30 + rng.randrange(10)])
        with open(os.path.join(folder, name), "wb") as f:
            f.write(raw)
        p = verify(folder, "--against", source, "--json")
        q = verify(source, "--against", folder, "--html", os.path.join(folder, "page.html"))
        for r in (p, q):
            if r.returncode not in (0, 1) or not r.stdout or "Sanitizer" in r.stderr:
                bad.append((round, r.args, r.returncode, r.stderr[-300:]))
        shutil.rmtree(folder)
    check(not bad, "random bytes never crash it", str(bad[:2]))
    folder = damaged(config(lambda c: c["text_config"].update(num_experts=2 ** 31 - 1)))
    start = time.time()
    status, r = result(folder)
    check(status == 1 and r["finding_count"] >= 10000 and time.time() - start < 30, "two billion experts are not waited for",
          f"{time.time() - start:.0f} s, {r['finding_count']}")


def test_interrupt():
    """Sparse gigabytes: memory stays small (not asked of an emulator), and Ctrl-C ends it with 130."""
    folder = fresh("large")
    shutil.copytree(os.path.join(FIXTURES, "mini"), folder)
    size = 16 << 30
    head = json.dumps({"mtp.large.weight": {"dtype": "BF16", "shape": [size >> 12, 2048],
                                            "data_offsets": [0, size]}}).encode()
    os.rename(os.path.join(folder, "model.safetensors"), os.path.join(folder, "a.safetensors"))
    with open(os.path.join(folder, "b.safetensors"), "wb") as f:
        f.write(len(head).to_bytes(8, "little") + head)
        f.truncate(8 + len(head) + size)
    p = subprocess.Popen([SURPRISAL, "verify", folder, "--threads", "2", "--progress"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    line = p.stderr.readline()
    time.sleep(0.2)
    with open(f"/proc/{p.pid}/status") as f:
        resident = [int(x.split()[1]) for x in f if x.startswith("VmHWM")]
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    check(p.returncode == 130 and "interrupted" in err and not out, "Ctrl-C", f"{p.returncode} {err[-300:]}")
    check("verify" in line and "%" in line, "progress is shown", line)
    check(QUICK == 2 or (resident and resident[0] < 200000), "memory does not grow with the checkpoint", str(resident))


test_clean()
test_damage()
test_places()
test_sqnr()
test_html()
test_usage()
test_hostile()
test_interrupt()
done()
