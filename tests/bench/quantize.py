"""Quantizing speed in bytes of BF16 read a second: this program, and qstream's published algorithm written anew in torch
from ../shared/design/FORMATS.md, on one matrix and the same processors, by turns; then this machine's memory and disk.

    python3 tests/bench/quantize.py [--megabytes N] [--rounds N] [--folder DIR]

Ours is a whole run: process start, reading, quantizing, writing, fsync.  Theirs is arithmetic alone, on a slice of the matrix
(its speed does not depend on the size).  Processor seconds are printed beside, since wall time depends on what else runs.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

from setting import PROCESSORS, skip

try:
    import numpy as np
    import torch
except ImportError as e:
    skip(str(e))
import qstream
import safetensors_io as st
from program import FIXTURES, SURPRISAL

COLUMNS, SLICE_ROWS = 2048, 1024
BOUNDARIES, MAGNITUDES = torch.tensor(qstream.BOUNDARIES), torch.tensor(qstream.MAGNITUDES)


def encode(w, k):
    """-> magnitudes' codes, signs; ties toward zero"""
    x = (w / torch.exp2(k)[..., None]).clamp(-6, 6)
    return torch.bucketize(x.abs(), BOUNDARIES), x < 0


def theirs(bits):
    """bits: BF16 [out, in] -> packed, scale"""
    w = bits.float().reshape(bits.shape[0], -1, 32)
    a = w.abs()
    anchor = torch.quantile(a, 0.995, dim=-1)
    w = torch.where((anchor < 1e-6)[..., None], torch.zeros(()), w)
    base = torch.floor(torch.log2(anchor.clamp(min=1e-6) / 6))
    candidates = [base - 1, base, base + 1]
    errors = []
    for k in candidates:
        code, negative = encode(w, k)
        q = torch.where(negative, -MAGNITUDES[code], MAGNITUDES[code])
        errors.append(((q * torch.exp2(k)[..., None] - w) ** 2).mean(-1))
    k = torch.stack(candidates, -1).gather(-1, torch.stack(errors, -1).argmin(-1, keepdim=True))[..., 0]
    amax = w.abs().amax(-1)
    safe = torch.ceil(torch.log2(amax.clamp(min=1e-12) / 6))
    k = torch.where((amax / torch.exp2(k) > 6) & (k < safe - 1), safe, k)
    code, negative = encode(w, k)
    code = (code + 8 * negative).to(torch.uint8).reshape(bits.shape)
    return code[:, 0::2] | code[:, 1::2] << 4, (k + 127).clamp(0, 254).to(torch.uint8)


def make_checkpoint(folder, rows):
    shutil.copytree(os.path.join(FIXTURES, "mini"), folder)
    os.remove(os.path.join(folder, "expected.safetensors"))
    rng = np.random.default_rng(1)
    w = st.bf16(rng.standard_normal((SLICE_ROWS, COLUMNS), np.float32) * np.float32(0.02))
    w = np.concatenate([np.roll(w, i, 0) for i in range(rows // SLICE_ROWS)])
    path = os.path.join(folder, "model.safetensors")
    st.write(path, {**st.read(path), "extra.m.weight": w})
    return w


def ours(folder, out):
    """-> seconds, processor seconds, result"""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([SURPRISAL, "quantize", folder, out, "--include", "extra.", "--threads", str(PROCESSORS), "--quiet", "--json"],
                          capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, json.loads(done.stdout)


def timed(function, *args):
    start, cpu = time.perf_counter(), time.process_time()
    result = function(*args)
    return time.perf_counter() - start, time.process_time() - cpu, result


def disk_speed(folder, n):
    """-> bytes a second written and synced"""
    path, block = os.path.join(folder, "disk"), os.urandom(8 << 20)
    start = time.perf_counter()
    with open(path, "wb") as f:
        for _ in range(n // len(block)):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
    seconds = time.perf_counter() - start
    os.remove(path)
    return n // len(block) * len(block) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where to write (default: the system's temporary folder)")
    args = parser.parse_args()
    torch.set_num_threads(PROCESSORS)
    temp = tempfile.mkdtemp(prefix="surprisal-bench-", dir=args.folder)
    try:
        rows = max(args.megabytes * 1000000 // (2 * COLUMNS * SLICE_ROWS), 1) * SLICE_ROWS
        w = make_checkpoint(os.path.join(temp, "in"), rows)
        part = torch.from_numpy(w[:SLICE_ROWS].view(np.int16).copy()).view(torch.bfloat16)
        wall, cpu, peak = {ours: [], theirs: []}, {ours: [], theirs: []}, 0
        for i in range(args.rounds):
            out = os.path.join(temp, f"out-{i}")
            seconds, processor, result = ours(os.path.join(temp, "in"), out)
            wall[ours].append(w.nbytes / seconds), cpu[ours].append(w.nbytes / processor)
            peak = max(peak, result["peak_rss_bytes"])
            seconds, processor, expected = timed(theirs, part)
            wall[theirs].append(part.nbytes / seconds), cpu[theirs].append(part.nbytes / processor)
            got = st.read(os.path.join(out, "model-00001-of-00001.safetensors"))
            differ = sum(int((got[f"extra.m.weight_{n}"][:SLICE_ROWS] != x.numpy()).sum()) for n, x in zip(("packed", "scale"), expected))
            shutil.rmtree(out)
        a, b = (statistics.median(wall[s]) / 1e6 for s in (ours, theirs))
        c, d = (statistics.median(cpu[s]) / 1e6 for s in (ours, theirs))
        start = time.perf_counter()
        w.copy()
        memory = w.nbytes / (time.perf_counter() - start) / 1e6
        print(f"{w.nbytes / 1e6:.0f} MB of BF16, {PROCESSORS} threads, medians of {args.rounds} rounds; load {os.getloadavg()[0]:.1f}")
        print(f"surprisal quantize   {a:8.0f} MB/s   {c:8.0f} MB a processor second   {peak / 1e6:.0f} MB of memory, kernels {result['isa']}")
        print(f"qstream's algorithm  {b:8.1f} MB/s   {d:8.1f} MB a processor second")
        print(f"ratio                {a / b:8.1f}        {c / d:8.1f}   (aim: 40)")
        print(f"bytes that differ    {differ}; blocks that the algorithm does not decide: {result['undecided']} of {result['blocks']}")
        print(f"memory copies {memory:.0f} MB/s, the disk writes {disk_speed(temp, w.nbytes) / 1e6:.0f} MB/s with fsync")
    finally:
        shutil.rmtree(temp)


main()
