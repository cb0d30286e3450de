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
from check import attempt, check, done
from program import ROOT, SURPRISAL, fresh, ids_file

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
IDS = ids_file(range(1, 12))


# ---- folders ---------------------------------------------------------------------------

def copy(change=lambda folder: None):
    """-> a changed copy of the demo's BF16 checkpoint"""
    folder = fresh("checkpoint")
    shutil.copytree(DEMO, folder)
    change(folder)
    return folder


def in_json(name, change):
    """-> a change of a JSON file in a folder"""
    def do(folder):
        path = os.path.join(folder, name)
        with open(path) as f:
            found = json.load(f)
        change(found)
        with open(path, "w") as f:
            json.dump(found, f)
    return do


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


# ---- all -----------------------------------------------------------------------------------------

for test in (test_stand_ins,):
    attempt(f"16: {test.__name__}", test)
done()
