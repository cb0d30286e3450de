"""quantize and dequantize: what is refused, what patterns select, and runs that are killed and resumed."""
import glob
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
from program import FIXTURES, ROOT, SURPRISAL, fresh

from check import QUICK, check, done

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
PACKED = os.path.join(ROOT, "data", "demo", "mxfp4")
EXPERTS = 384


def run(*args, command="quantize"):
    return subprocess.run([SURPRISAL, command, *map(str, args)], capture_output=True, text=True, timeout=300)


def quantize(*args, command="quantize"):
    return run(*args, "--threads", 1, "--quiet", command=command)


def content(folder):
    """-> {file: bytes}"""
    files = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as f:
                files[os.path.relpath(path, folder)] = f.read()
    return files


def copy_of(folder):
    to = fresh("checkpoint")
    shutil.copytree(folder, to)
    return to


def refused(name, words, *args, status=1, command="quantize", out=None):
    p = quantize(*args, command=command)
    check(p.returncode == status and p.stderr.count("\n") == 1 and all(w in p.stderr for w in words), f"refused: {name}",
          (p.returncode, p.stderr, p.stdout[-300:]))
    if out:
        check(not os.path.exists(out) and not os.path.exists(out + ".partial"), f"refused: {name}: nothing is left",
              (os.path.exists(out), os.path.exists(out + ".partial")))


# ---- refusals ------------------------------------------------------------------------

def with_tensor(name, array):
    folder = copy_of(os.path.join(FIXTURES, "mini"))
    os.remove(os.path.join(folder, "expected.safetensors"))
    path = os.path.join(folder, "model.safetensors")
    st.write(path, {**st.read(path), name: array})
    return folder


def test_usage():
    out = fresh("out")
    for name, args in (("no checkpoint", ()), ("no folder to write", (DEMO,)), ("three folders", (DEMO, out, out)),
                       ("an unknown rule", (DEMO, out, "--scale", "best")), ("an unknown recipe", (DEMO, out, "--recipe", "all")),
                       ("percentile 0", (DEMO, out, "--scale-percentile", 0)), ("percentile 101", (DEMO, out, "--scale-percentile", 101)),
                       ("a percentile for another rule", (DEMO, out, "--scale", "ocp", "--scale-percentile", 99)),
                       ("recipe and include", (DEMO, out, "--recipe", "experts", "--include", "mlp")),
                       ("two files of weights", (DEMO, out, "--gamma", "a", "--activations", "b")),
                       ("weights for ocp", (DEMO, out, "--scale", "ocp", "--gamma", "a")),
                       ("an empty pattern", (DEMO, out, "--include", ""))):
        refused(name, ("--help",), *args, status=2, out=out)


def test_refusals():
    out = fresh("out")
    refused("no such checkpoint", ("none",), fresh("none"), out, out=out)
    refused("quantized already", ("quantization_config", "not quantized"), PACKED, out, out=out)
    unsaid = copy_of(PACKED)
    with open(os.path.join(unsaid, "config.json")) as f:
        config = json.load(f)
    del config["quantization_config"]
    with open(os.path.join(unsaid, "config.json"), "w") as f:
        json.dump(config, f)
    refused("quantized, and the config does not say so", ("weight_packed", "already"), unsaid, out, out=out)
    odd = with_tensor("extra.odd.weight", np.zeros((4, 48), np.float32))
    refused("48 input features", ("extra.odd.weight", "48", "multiple of 32"), odd, out, "--include", "extra.", out=out)
    for value in (np.nan, np.inf, -np.inf):
        bad = np.zeros((70, 64), np.float32)
        bad[65, 7] = value
        refused(f"a weight that is {value}", ("extra.bad.weight", "row 65", "column 7"), with_tensor("extra.bad.weight", bad), out,
                "--include", "extra.", out=out)
    inside = copy_of(DEMO)
    refused("an output in the input", ("from which it is made",), inside, os.path.join(inside, "out"))
    link = fresh("link")
    os.symlink(inside, link)
    refused("an output in the input, by a link to it", ("from which it is made",), inside, os.path.join(link, "out"))
    refused("an output in an input that is a link", ("from which it is made",), link, os.path.join(inside, "..", os.path.basename(inside), "out/"))
    os.mkdir(os.path.join(inside, "below"))
    refused("an output below the input", ("from which it is made",), inside, os.path.join(inside, "below", "out"))
    check(content(inside) == content(DEMO), "refused: an output in the input: nothing is written there")
    here = fresh("here")
    os.mkdir(here)
    refused("an output that exists", ("exists already",), DEMO, here)
    refused("a parent that does not exist", ("none", "No such file"), DEMO, os.path.join(fresh("none"), "out"))
    cut = copy_of(DEMO)
    os.truncate(os.path.join(cut, "model.safetensors-00002-of-00002.safetensors"), 3000000)
    refused("a file cut short", ("model.safetensors-00002-of-00002.safetensors",), cut, out, out=out)
    refused("dequantize: not quantized", ("no quantized weights",), DEMO, out, command="dequantize", out=out)
    broken = copy_of(PACKED)
    path = os.path.join(broken, "model.safetensors-00001-of-00002.safetensors")
    tensors = st.read(path)
    name = "model.language_model.layers.1.mlp.experts.3.up_proj.weight_scale"
    tensors[name] = tensors[name].copy()
    tensors[name][5, 1] = 255
    st.write(path, tensors)
    refused("dequantize: a scale that is NaN", (name.replace("_scale", "_packed"), "row 5", "column 32"), broken, out, command="dequantize", out=out)
    refused("dequantize: an output that exists", ("exists already",), PACKED, here, command="dequantize")


def test_weight_files():
    folder, out = with_tensor("extra.m.weight", np.ones((4, 64), np.float32)), fresh("out")
    for name, words, tensors in (
            ("names no module", ("none of the modules",), {"other": np.ones(64, np.float32)}),
            ("another length", ("extra.m", "64 channels"), {"extra.m": np.ones(32, np.float32)}),
            ("another dtype", ("extra.m", "F32"), {"extra.m": np.ones(64, np.float64)}),
            ("not finite", ("extra.m", "finite"), {"extra.m": np.full(64, np.nan, np.float32)}),
            ("too large", ("extra.m", "square"), {"extra.m": np.full(64, 1e20, np.float32)}),
            ("a Hessian of another shape", ("extra.m.hessian",), {"extra.m.hessian": np.ones((1, 32, 32), np.float32)}),
            ("gamma and Hessian", ("both",), {"extra.m": np.ones(64, np.float32), "extra.m.hessian": np.ones((2, 32, 32), np.float32)})):
        path = fresh("weights")
        st.write(path, tensors)
        refused(f"gamma: {name}", words, folder, out, "--include", "extra.", "--gamma", path, out=out)
    path = fresh("weights")
    name = "model.language_model.layers.0.mlp.experts.3.down_proj"
    st.write(path, {name: np.ones(64, np.float32)})
    said = "383 of the 384 to MXFP4 have no importances"
    check(said in run(DEMO, "--dry-run", "--gamma", path).stdout, "gamma: the plan counts what the file leaves out")
    check("have no importances" not in run(DEMO, "--dry-run", "--gamma", path, "--include", name + ".").stdout, "gamma: the plan is silent when it leaves out nothing")
    st.write(path, {"extra.m.input_mean_square": np.full(64, -1, np.float32)})
    refused("activations: negative", ("input_mean_square", "from 0"), folder, out, "--include", "extra.", "--activations", path, out=out)


def test_space():
    """A file system too small for the output, also if only for its headers and index: checked before anything is written."""
    tensors = json.loads(run(DEMO, "--dry-run", "--json").stdout)["plan"]["bytes_after"]
    tensors += sum(os.path.getsize(os.path.join(DEMO, f)) for f in os.listdir(DEMO) if not f.startswith("model") and f != "config.json")
    for name, size in (("no space", 4 << 20), ("no space for the headers", tensors + (200 << 10))):
        folder = fresh("small")
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
            print(f"skip {name}: cannot mount a small file system")
            return
        try:
            out = os.path.join(folder, "out")
            refused(name, ("only", "free"), DEMO, out, out=out)
        finally:
            subprocess.run(["umount", folder])


# ---- patterns ----------------------------------------------------------------------------

def packed_by(*options):
    """-> number of packed modules, {kind: packed}, {pattern: matched}; None when refused"""
    p = run(DEMO, "--dry-run", "--json", *options)
    if p.returncode:
        return p.stderr
    plan = json.loads(p.stdout)["plan"]
    return plan["packed"], {m["module"]: m["packed"] for m in plan["modules"] if m["packed"]}, {x["pattern"]: x["matched"] for x in plan["patterns"]}


def test_patterns():
    everything = packed_by("--recipe", "linears")[0]
    for name, options, packed, kinds, matched in (
            ("the default is the routed experts", (), EXPERTS, {"routed experts": EXPERTS}, {}),
            ("a part of a name", ("--include", "shared_expert.",), 24 + 3, {"shared expert": 24, "mtp": 3}, {"shared_expert.": 27}),
            ("a glob is of the whole name", ("--include", "*.self_attn.?_proj.weight"), 8 + 4, {"self_attn projections": 8, "mtp": 4}, None),
            ("a set of characters", ("--include", "*.self_attn.[qk]_proj.weight"), 4 + 2, {"self_attn projections": 4, "mtp": 2}, None),
            ("all but a set of characters", ("--include", "*.self_attn.[!qkv]_proj.weight"), 2 + 1, {"self_attn projections": 2, "mtp": 1}, None),
            ("a ? beside a * is any character, once", ("--include", "*.self_attn.??proj.weight"), 8 + 4, None, None),
            ("a fused tensor's name selects its parts", ("--include", "model.language_model.layers.0.mlp.experts.gate_up_proj"), 32, None, None),
            ("an expert by its own name", ("--include", "*layers.0.mlp.experts.3.*"), 6, None, None),
            ("include without exclude", ("--include", ".mlp.experts.", "--exclude", "mtp."), EXPERTS, {"routed experts": EXPERTS}, None),
            ("exclude alone starts from all linears", ("--exclude", "mtp."), None, None, None),
            ("recipe and exclude", ("--recipe", "experts", "--exclude", "layers.0."), EXPERTS - 48, None, None)):
        got = packed_by(*options)
        ok = not isinstance(got, str) and got[0] == (packed or got[0]) and got[1] == (kinds or got[1]) and got[2] == (got[2] if matched is None else matched)
        check(ok, f"patterns: {name}", got)
    p = run(DEMO, "--dry-run", "--include", "shared_expert.", "--exclude", "mtp.*", "--exclude", "nothing", "--allow-unmatched")
    check(p.stdout.split("\n")[-4:-1] == ["--include 'shared_expert.' matches 27: 24 shared expert, 3 mtp", "--exclude 'mtp.*' matches 58: 58 mtp",
                                          "--exclude 'nothing' matches 0"], "patterns: the plan says which modules each matched", p.stdout[-300:])
    got = packed_by("--exclude", "mtp.")
    check(EXPERTS < got[0] < everything, "patterns: exclude alone packs more than experts, less than all", (got[0], everything))
    for option in ("--include", "--exclude"):           # the model card's pattern for the router: names end in .weight
        got = packed_by(option, "*.mlp.gate.")
        check(isinstance(got, str) and "'*.mlp.gate.'" in got and got.count("\n") == 1, f"patterns: {option} of nothing stops", got)
    got = packed_by("--exclude", "*.mlp.gate.", "--exclude", "visual", "--allow-unmatched")
    check(got[1].get("router (mlp.gate)") == 8 and got[2]["*.mlp.gate."] == 0, "patterns: let pass, it leaves the router to be packed", got)
    for options, expected in ((("--include", "q_proj"), 3), (("--include", "self_attn"), None), (("--include", "layers.0.mlp.experts.3."), 2),
                              (("--include", "in_proj_z"), 6), (("--include", "in_proj_"), None), (("--include", "shared_expert.up_proj"), 9),
                              ((), None)):
        plan = json.loads(run(DEMO, "--dry-run", "--json", *options).stdout)["plan"]
        check(plan.get("merged_in_part") == expected, f"patterns: {' '.join(options) or 'none'}: merged modules that are packed in part",
              (plan.get("merged_in_part"), plan.get("merged_example")))
    for pattern in ("self_attn.?_proj", "self_attn.[qk]_proj", "*.self_attn.[qk]_proj", "SELF_ATTN", "*.Self_attn.*"):    # no * no glob; case counts
        got = packed_by("--include", pattern)
        check(isinstance(got, str) and f"'{pattern}'" in got, f"patterns: {pattern} matches nothing", got)
    got = packed_by("--include", "nothing*", "--allow-unmatched")
    check(isinstance(got, str) and "nothing to quantize" in got, "patterns: nothing at all is never right", got)


def test_plan():
    out = fresh("out")
    p = quantize(DEMO, out, "--dry-run")
    check(p.returncode == 0 and "routed experts" in p.stdout and not os.path.exists(out), "dry run: the plan, and nothing written", p.stderr)
    plan = json.loads(run(DEMO, out, "--dry-run", "--json").stdout)["plan"]
    p = quantize(DEMO, out, "--json")
    result = json.loads(p.stdout)
    check(result["plan"] == plan, "the plan that was shown is the one that was done", result["plan"])
    after = sum(os.path.getsize(f) for f in glob.glob(os.path.join(out, "*.safetensors")))
    check(0 <= after - plan["bytes_after"] < 200000, "the plan's bytes are the files' but for headers", (after, plan["bytes_after"]))
    check(result["bytes_written"] == sum(map(os.path.getsize, glob.glob(os.path.join(out, "*")))) - sum(
        os.path.getsize(os.path.join(out, f)) for f in ("config.json", "model.safetensors.index.json")), "bytes written are counted", result)


def test_other_files():
    """Links to files are followed; what is hidden or in a folder is copied too; stale weights and links to folders are left
    out with a line each, hidden folders without."""
    folder, elsewhere, out = copy_of(DEMO), fresh("elsewhere"), fresh("out")
    shutil.move(os.path.join(folder, "model.safetensors-00001-of-00002.safetensors"), elsewhere)
    os.symlink(elsewhere, os.path.join(folder, "model.safetensors-00001-of-00002.safetensors"))
    shutil.move(os.path.join(folder, "tokenizer.json"), elsewhere + ".json")
    os.symlink(elsewhere + ".json", os.path.join(folder, "tokenizer.json"))
    st.write(os.path.join(folder, "stale.safetensors"), {"x": np.zeros(3, np.float32)})
    for name in ("assets/deep/picture.png", "original/params.json", ".gitattributes", ".cache/huggingface/download.lock", "original/.hidden/x"):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "w") as f:
            f.write(name)
    os.mkdir(os.path.join(folder, "empty"))
    st.write(os.path.join(folder, "original", "consolidated.safetensors"), {"x": np.zeros(3, np.float32)})
    os.symlink("..", os.path.join(folder, "original", "loop"))
    os.symlink("nowhere", os.path.join(folder, ".#config.json"))       # an editor's lock
    os.mkfifo(os.path.join(folder, "original", "pipe"))
    left_out = ["/stale.safetensors:", "/original/consolidated.safetensors:", "/original/loop:", "/.#config.json:", "/original/pipe:"]
    p = quantize(folder, out)
    check(p.returncode == 0 and p.stderr.count("not copied") == p.stderr.count("\n") == len(left_out)
          and all(n in p.stderr for n in left_out), "what is not copied is said", p.stderr)
    plain = fresh("out")
    quantize(DEMO, plain)
    got, others = content(out), ["assets/deep/picture.png", "original/params.json", ".gitattributes"]
    check(all(got.pop(n, None) == n.encode() for n in others) and got == content(plain) and not os.path.islink(os.path.join(out, "tokenizer.json")),
          "links are followed, folders gone into: the same files", sorted(content(out)))
    os.remove(os.path.join(folder, "stale.safetensors"))
    p = run(out, "--against", folder, command="verify")
    check(p.returncode == 0 and "no findings" in p.stdout, "verify finds nothing missing in the copy", p.stdout[-500:])
    os.remove(os.path.join(out, "assets", "deep", "picture.png"))
    with open(os.path.join(out, "original", "params.json"), "a") as f:
        f.write("more")
    p = run(out, "--against", folder, command="verify")
    check(p.returncode == 0 and "note file: picture.png: in assets/deep: is not here" in p.stdout
          and "note file: params.json: in original: has 24 bytes that are not the original's 20" in p.stdout, "verify notes missing and longer files in folders", p.stdout[:500])


def test_templates():
    """Of files in folders, those that transformers loads are findings when they differ, though they are as long."""
    folder, out = copy_of(DEMO), fresh("out")
    os.mkdir(os.path.join(folder, "additional_chat_templates"))
    with open(os.path.join(folder, "additional_chat_templates", "tool_use.jinja"), "w") as f:
        f.write("{{ a }}")
    quantize(folder, out)
    with open(os.path.join(out, "additional_chat_templates", "tool_use.jinja"), "w") as f:
        f.write("{{ b }}")
    p = run(out, "--against", folder, command="verify")
    check(p.returncode == 1 and "file-differs: tool_use.jinja" in p.stdout, "another chat template is found", p.stdout[:500])


def test_foreign_folder():
    out = fresh("out")
    os.makedirs(os.path.join(out + ".partial", "foreign"))
    p = quantize(DEMO, out)
    check(p.returncode == 1 and "out" in p.stderr and "nothing in it is touched" in p.stderr and os.path.isdir(out + ".partial/foreign"),
          "an empty foreign folder is refused", p.stderr)


def test_many_notes():
    """Notes leave room for findings."""
    original, damaged = copy_of(DEMO), copy_of(PACKED)
    os.mkdir(os.path.join(original, "runs"))
    for i in range(10050):
        open(os.path.join(original, "runs", str(i)), "w").close()
    os.remove(os.path.join(damaged, "tokenizer.json"))
    p = run(damaged, "--against", original, command="verify")
    check(p.returncode == 1 and "missing-file: tokenizer.json" in p.stdout and "(1000 of them are kept)" not in p.stdout
          and "of them are kept" in p.stdout, "ten thousand notes hide no finding", p.stdout[-300:])


def test_stop_copying():
    """Ctrl-C while another file is copied, here a large one of nothing."""
    folder, out = copy_of(DEMO), fresh("out")
    os.mkdir(os.path.join(folder, "original"))
    with open(os.path.join(folder, "original", "large.bin"), "wb") as f:
        f.truncate(2 << 30)
    p = subprocess.Popen([SURPRISAL, "quantize", folder, out, "--threads", "1", "--shard-size", "2M", "--quiet"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    copied = os.path.join(out + ".partial", "original")
    while p.poll() is None and not (os.path.isdir(copied) and os.listdir(copied)):
        time.sleep(0.001)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=60)[1]
    check(p.returncode == 130 and "interrupted" in err and not os.listdir(copied) and os.path.exists(out + ".partial/surprisal-state.json"),
          "Ctrl-C while a file is copied: 130, and no part of it is left", (p.returncode, err))
    shutil.rmtree(out + ".partial")


# ---- kills ----------------------------------------------------------------------------------

def start(out, *options):
    return subprocess.Popen([SURPRISAL, "quantize", DEMO, out, "--threads", "1", "--quiet", "--shard-size", "200K", *options],
                            stdout=subprocess.PIPE if "--json" in options else subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def stop(out, number, after, *options):
    """-> exit status, stderr"""
    p = start(out, *options)
    try:
        p.wait(after)
    except subprocess.TimeoutExpired:
        p.send_signal(number)
    return p.wait(300), p.stderr.read()


def test_kills():
    whole, out, rng = fresh("whole"), fresh("killed"), random.Random(1)
    begin = time.monotonic()
    p = start(whole)
    err = p.communicate()[1]
    seconds = time.monotonic() - begin
    if not check(p.returncode == 0, "shards: a run in one piece", err):
        return
    expected, taken = content(whole), 0
    shards = [f for f in expected if f.endswith(".safetensors")]
    check(len(shards) > 30 and all(len(expected[f]) <= 200 << 10 or expected[f].count(b'"dtype"') == 1 for f in shards),
          "shards: none is larger than asked for, but for one tensor", len(shards))
    for i in range(40):
        if i >= (4 if QUICK else 12) and taken > 0:
            break
        status, err = stop(out, signal.SIGKILL, rng.uniform(0.05, 0.6) * seconds, "--resume")
        taken += os.path.exists(out + ".partial/surprisal-state.json")
        if not check(status in (0, -signal.SIGKILL), "killed or done", (status, err)):
            return
        if os.path.exists(out):                                         # complete, also when the kill came after that
            check(content(out) == expected, f"kill {i}: resumed until the end, the same bytes")
            shutil.rmtree(out)
        else:
            check(status != 0, f"kill {i}: nothing at the folder's name, but after a kill")
    last = start(out, "--resume")
    err = last.communicate()[1]
    check(last.returncode == 0 and content(out) == expected, "resumed after kills: the same bytes", err)
    check(not os.path.exists(out + ".partial") and sorted(os.listdir(out)) == sorted(expected), "resumed after kills: nothing else is left")
    check(taken > 0, "some kills left a state", taken)
    shutil.rmtree(out)
    test_leftovers(out, expected)


def stop_with_shards(out, number, n):
    """Stops a run when n shards are complete -> exit status, stderr"""
    p, partial = start(out), out + ".partial"
    while p.poll() is None and not (os.path.isdir(partial) and sum(f.endswith(".safetensors") for f in os.listdir(partial)) > n):
        time.sleep(0.001)
    p.send_signal(number)
    return p.wait(300), p.stderr.read()


def test_leftovers(out, expected):
    status, err = stop_with_shards(out, signal.SIGINT, 5)
    if not check(status == 130 and "interrupted" in err and os.path.exists(out + ".partial/surprisal-state.json"), "Ctrl-C: 130, and a state", (status, err)):
        return
    plain = start(out)
    err = plain.communicate()[1]
    check(plain.returncode == 1 and "--resume" in err, "without --resume it is not overwritten", err)
    other = quantize(DEMO, out, "--shard-size", "200K", "--resume", "--scale", "exact")
    check(other.returncode == 1 and "other settings" in other.stderr, "a state of other settings is refused", other.stderr)
    partial = out + ".partial"
    done_shards = sorted(f for f in os.listdir(partial) if f.endswith(".safetensors"))
    with open(os.path.join(partial, done_shards[0]), "r+b") as f:       # a bit of a shard that is done
        f.seek(-1, os.SEEK_END)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_END)
        f.write(bytes([byte ^ 1]))
    outside = fresh("outside")
    with open(outside, "wb") as f:
        f.write(expected[done_shards[1]])
    os.remove(os.path.join(partial, done_shards[1]))                    # a link in place of a shard
    os.symlink(outside, os.path.join(partial, done_shards[1]))
    with open(os.path.join(partial, ".surprisal-0123456789abcdef0123456789abcdef.tmp"), "w") as f:
        f.write("half")
    for foreign in ("mine.txt", "your.txt"):                            # before and after all others in order of name
        path, before = os.path.join(partial, foreign), content(partial)
        with open(path, "w") as f:
            f.write("not surprisal's")
        p = start(out, "--resume")
        err = p.communicate()[1]
        check(p.returncode == 1 and foreign in err and content(partial) == {**before, foreign: b"not surprisal's"}, f"{foreign}, a foreign file: nothing is removed", err)
        os.remove(path)
    left = fresh("left")
    shutil.copytree(partial, left, symlinks=True)
    for _ in range(50):                                                 # before another shard is complete
        status, err = stop(out, signal.SIGINT, 0, "--resume")
        if status != 0:
            break
        shutil.rmtree(out)                                              # a busy machine was late with the signal
        shutil.copytree(left, partial, symlinks=True)
    check(status in (130, -signal.SIGINT) and os.path.exists(os.path.join(partial, "surprisal-state.json")), "a resumed run that ends at once keeps the state", (status, err))
    p = start(out, "--resume", "--json")
    text, err = p.communicate()
    check(json.loads(text or "{}").get("shards_kept", 0) >= len(done_shards) - 2, "what was complete before two interruptions is taken over", (text[-300:], len(done_shards)))
    check(p.returncode == 0 and content(out) == expected and not any(os.path.islink(os.path.join(out, f)) for f in os.listdir(out)),
          "what an interrupted run left is not trusted: the same bytes", err)
    with open(outside, "rb") as f:
        check(f.read() == expected[done_shards[1]], "and no link was followed to write")


def main():
    test_usage()
    test_refusals()
    test_weight_files()
    test_space()
    test_patterns()
    test_plan()
    test_other_files()
    test_templates()
    test_foreign_folder()
    test_many_notes()
    test_stop_copying()
    test_kills()
    done()


if __name__ == "__main__":
    main()
