"""make demo-formats: the files are in the formats that they are named after, quantize the same linears, are small, and rank as they
should: 8 bits nearer to the original than 4."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import QUICK, attempt, check, done

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
DEMO = os.path.join(ROOT, "data", "demo")
FORMATS = {"fp8": "FP8", "nvfp4": "NVFP4", "gptq": "GPTQ4", "pack-quantized": "INT4", "demo-Q8_0.gguf": "Q8_0", "demo-Q4_0.gguf": "Q4_0"}
LINEARS = ("self_attn projections", "linear_attn projections", "shared expert", "routed experts")
OF_8_BITS = {"fp8", "demo-Q8_0.gguf"}


def path(name):
    return os.path.join(DEMO, "formats", name)


def run(*args):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=600, check=False)


def test_size():
    sizes = [os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path("")) for name in names
             if not os.path.islink(os.path.join(folder, name))]
    check(sum(sizes) < 25e6 and max(sizes) < 20e6, "below 25 MB together, no file above 20 MB", (sum(sizes), max(sizes)))


def test_format(name, expected):
    r = run("inspect", path(name), "--json")
    if not check(r.returncode == 0, f"{name} is read", r.stderr):
        return
    found = json.loads(r.stdout)
    dtypes = {m["module"]: {d["dtype"]: d["parameters"] for d in m["dtypes"]} for m in found["modules"]}
    plain = {"BF16": 12288}         # in_proj_a and in_proj_b
    for module in LINEARS:
        rest = {k: v for k, v in dtypes[module].items() if k != expected}
        check(expected in dtypes[module] and rest == (plain if module.startswith("linear") else {}), f"{name}: {module}", dtypes[module])
    others = {"Q8_0"} if name.endswith("gguf") else {"BF16"}
    check(set(dtypes["embed_tokens"]) == set(dtypes["lm_head"]) == others, f"{name}: embedding and head", dtypes["embed_tokens"])
    check(set(dtypes["router (mlp.gate)"]) <= {"BF16", "F32"}, f"{name}: the router", dtypes["router (mlp.gate)"])
    check(not found["contradictions"] and not found["warnings"] and found["parameters"] == 5500576, f"{name}: config and files agree",
          (found["contradictions"], found["warnings"], found["parameters"]))


def test_ranking():
    original = os.path.join(DEMO, "bf16")
    r = run("compare", original, *map(path, FORMATS), "--tokenizer", original, "--text", os.path.join(DEMO, "text.txt"),
            "--context", "96", "--max-windows", "2" if QUICK else "20", "--json")
    if not check(r.returncode == 0, "all six are compared", r.stderr):
        return
    order = [(os.path.basename(c["candidate"]), c["mean_kld"]) for c in json.loads(r.stdout)["rankings"][0]["candidates"]]
    check({name for name, _ in order[:2]} == OF_8_BITS and len(order) == len(FORMATS), "8 bits before 4", order)
    check(order[1][1] < order[2][1] / 3 and order[-1][1] < 0.06, "8 bits three times nearer; 4 bits near", order)


def test_command():
    """The script of `make demo-formats`, from another folder; REPORT is of the folder in which it is called."""
    temp = tempfile.mkdtemp(prefix="surprisal-demo-formats-")
    try:
        stub = os.path.join(temp, "stub")
        with open(stub, "w", encoding="ascii") as f:
            f.write('#!/bin/sh\nfor a; do case "$a" in [a-z.]*) [ -e "$a" ] && echo "has $a";; esac; done\neval "last=\\${$#}"\necho page > "$last"\n')
        os.chmod(stub, 0o755)
        r = subprocess.run([os.path.join(ROOT, "tools", "demo-formats"), "./stub", "page.html"], cwd=temp, capture_output=True, text=True,
                           timeout=60, check=False)
        check(r.returncode == 0 and all(f"has {name}\n" in r.stdout for name in FORMATS) and os.path.exists(os.path.join(temp, "page.html")),
              "tools/demo-formats names all six, and the report", (r.stdout, r.stderr))
    finally:
        shutil.rmtree(temp, ignore_errors=True)


if __name__ == "__main__":
    test_size()
    for each, dtype in FORMATS.items():
        attempt(each, test_format, each, dtype)
    attempt("ranking", test_ranking)
    attempt("tools/demo-formats", test_command)
    done()
