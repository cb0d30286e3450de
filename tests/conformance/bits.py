#!/usr/bin/env python3
"""Digests of results, to be compared before and after a change that must not change any.

    bits.py PROGRAM > before; ...; bits.py PROGRAM > after; diff before after

Of both demo checkpoints: tokens.safetensors for four protocols, both compute types and each instruction set that the machine has;
what quantize and dequantize write; the JSON of inspect, verify, and compare on run folders, without versions, paths, times
and memory.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "data", "demo")
PROTOCOLS = {"disjoint": [], "strided": ["--stride", "200"], "llama": [], "rolling": ["--prefix-id", "4063"]}
# of the run and the machine, not of the result
VARIABLE = {"surprisal", "path", "seconds", "tokens_per_second", "peak_rss_bytes", "bytes_read", "passes", "sha256", "repeat", "complete", "out", "files",
            "bytes_read_per_second", "memory_bytes", "made", "command"}


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def run(program, *args):
    p = subprocess.run([program, *args], capture_output=True, text=True)
    if p.returncode not in (0, 1) or (p.returncode and args[0] != "verify"):
        sys.exit(f"{args}: {p.stderr}")
    return p.stdout


def stable(value):
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VARIABLE}
    return [stable(v) for v in value] if isinstance(value, list) else value


def tell(name, value):
    print(f"{name:60s} {value}", flush=True)


def of_json(text, temp):
    return digest(json.dumps(stable(json.loads(text.replace(temp, "TEMP").replace(ROOT, "ROOT"))), sort_keys=True).encode())


def main(program):
    temp = tempfile.mkdtemp()
    text = os.path.join(temp, "text")
    with open(text, "w") as f:
        f.write(open(os.path.join(DEMO, "text.txt")).read()[:30000])
    isas = [i for i in ("scalar", "avx2", "avx512", "avx512bf16", "neon", "openblas")
            if subprocess.run([program, "eval", os.path.join(DEMO, "bf16"), "--text", text, "--context", "64", "--max-windows", "1", "--isa", i],
                              capture_output=True).returncode == 0]
    for name in ("bf16", "mxfp4"):
        for isa in isas:
            for compute in ("f32", "bf16"):
                for protocol, options in PROTOCOLS.items():
                    windows = ["--max-windows", "2"] if isa == "scalar" else []
                    out = os.path.join(temp, f"{name}-{isa}-{compute}-{protocol}")
                    run(program, "eval", os.path.join(DEMO, name), "--text", text, "--context", "512", "--protocol", protocol, "--compute", compute,
                        "--isa", isa, "--hidden", "--out", out, "--quiet", *options, *windows)
                    with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
                        tell(f"eval {name} {isa} {compute} {protocol}", digest(f.read()))
        tell(f"inspect {name}", of_json(run(program, "inspect", os.path.join(DEMO, name), "--json"), temp))
    best = isas[-2] if isas[-1] == "openblas" else isas[-1]
    for protocol in PROTOCOLS:
        a, b = (os.path.join(temp, f"{name}-{best}-f32-{protocol}") for name in ("bf16", "mxfp4"))
        tell(f"compare {protocol}", of_json(run(program, "compare", a, b, "--json", "--isa", best), temp))
    tell("verify", of_json(run(program, "verify", os.path.join(DEMO, "mxfp4"), "--against", os.path.join(DEMO, "bf16"), "--json"), temp))
    for scale in ("qstream", "exact", "ocp"):
        for isa in isas:
            if isa in ("openblas", "avx512bf16"):
                continue
            out = os.path.join(temp, f"q-{scale}-{isa}")
            run(program, "quantize", os.path.join(DEMO, "bf16"), out, "--scale", scale, "--isa", isa, "--quiet", "--shard-size", "1M")
            tell(f"quantize {scale} {isa}", digest(b"".join(n.encode() + open(os.path.join(out, n), "rb").read() for n in sorted(os.listdir(out)))))
    out = os.path.join(temp, "dequantized")
    run(program, "dequantize", os.path.join(DEMO, "mxfp4"), out, "--quiet")
    tell("dequantize", digest(b"".join(n.encode() + open(os.path.join(out, n), "rb").read() for n in sorted(os.listdir(out)))))
    subprocess.run(["rm", "-rf", temp])


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else os.path.join(ROOT, "build", "surprisal"))
