#!/usr/bin/env python3
"""Writes tests/unit/kernels/ggml_blocks.golden: what ggml's own code makes of blocks of each type.

    make_ggml_goldens.py LIBRARY

LIBRARY: a shared library of ggml's dequantize_row_* (ggml.c and ggml-quants.c of the source that the PyPI package
llama-cpp-python carries).  The `gguf` package must agree, but for Q1_0 and Q2_0, which it cannot read.  A line of the
file is the type, the SHA-256 of the values of BLOCKS random blocks (f32, -0 as 0), the bytes of the first block and its
values.  The bytes are those of splitmix64 from seed 1; a scale in F16 loses its highest bit of exponent, so that it is
finite, a scale of MXFP4 that is NaN here (255) becomes 254, and one of NVFP4 has no sign.

And tests/conformance/ggml_rows.npz: for each type WEIGHTS normal numbers, as ggml quantizes them and as it reads them
again: what test_gguf.py makes whole models of."""
import ctypes
import hashlib
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants

BLOCKS = 1024
WEIGHTS = 8 * 256
ROWS = os.path.join(os.path.dirname(__file__), "ggml_rows.npz")
GOLDEN = os.path.join(os.path.dirname(__file__), "..", "unit", "kernels", "ggml_blocks.golden")
# Name, id in files, columns, bytes, the high bytes of scales in F16.
TYPES = [("Q4_0", 2, 32, 18, [1]), ("Q4_1", 3, 32, 20, [1, 3]), ("Q5_0", 6, 32, 22, [1]), ("Q5_1", 7, 32, 24, [1, 3]),
         ("Q8_0", 8, 32, 34, [1]), ("Q2_K", 10, 256, 84, [81, 83]), ("Q3_K", 11, 256, 110, [109]),
         ("Q4_K", 12, 256, 144, [1, 3]), ("Q5_K", 13, 256, 176, [1, 3]), ("Q6_K", 14, 256, 210, [209]),
         ("IQ2_XXS", 16, 256, 66, [1]), ("IQ2_XS", 17, 256, 74, [1]), ("IQ3_XXS", 18, 256, 98, [1]),
         ("IQ1_S", 19, 256, 50, [1]), ("IQ4_NL", 20, 32, 18, [1]), ("IQ3_S", 21, 256, 110, [1]),
         ("IQ2_S", 22, 256, 82, [1]), ("IQ4_XS", 23, 256, 136, [1]), ("IQ1_M", 29, 256, 56, [55]),
         ("TQ2_0", 35, 256, 66, [65]), ("MXFP4", 39, 32, 17, []), ("NVFP4", 40, 64, 36, []),
         ("Q1_0", 41, 128, 18, [1]), ("Q2_0", 42, 64, 18, [1])]


def random_bytes(n):
    with np.errstate(over="ignore"):
        z = np.uint64(1) + np.arange(1, (n + 7) // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).view(np.uint8)[:n].copy()


def blocks_of(name, size, halves):
    blocks = random_bytes(BLOCKS * size).reshape(BLOCKS, size)
    for at in halves:
        blocks[:, at] &= 0xBF
    if name == "MXFP4":
        blocks[:, 0][blocks[:, 0] == 255] = 254
    if name == "NVFP4":
        blocks[:, :4] &= 0x7F
    return blocks


def by_library(library, name, blocks, columns):
    out = np.zeros((len(blocks), columns), np.float32)
    function = getattr(library, "dequantize_row_" + name.lower().replace("_k", "_K"))
    function(ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(out.size))
    return out


def quantized(library, id, columns, size):
    weights = np.random.default_rng(id).normal(0, 0.05, WEIGHTS).astype(np.float32)
    importance = np.ones(256, np.float32)
    out = np.zeros((WEIGHTS // columns, size), np.uint8)
    library.ggml_quantize_chunk(id, ctypes.c_void_p(weights.ctypes.data), ctypes.c_void_p(out.ctypes.data),
                                ctypes.c_int64(0), ctypes.c_int64(WEIGHTS // 256), ctypes.c_int64(256),
                                ctypes.c_void_p(importance.ctypes.data))
    return out


def main():
    library = ctypes.CDLL(sys.argv[1])
    rows = {}
    with open(GOLDEN, "w", encoding="ascii") as golden:
        for name, id, columns, size, halves in TYPES:
            blocks = blocks_of(name, size, halves)
            values = by_library(library, name, blocks, columns) + np.float32(0)
            if name not in ("Q1_0", "Q2_0"):
                other = quants.dequantize(blocks, GGMLQuantizationType(id)).reshape(values.shape) + np.float32(0)
                assert (other.view(np.uint32) == values.view(np.uint32)).all(), name
            digest = hashlib.sha256(values.tobytes()).hexdigest()
            rows[name + ".blocks"] = quantized(library, id, columns, size)
            rows[name + ".values"] = by_library(library, name, rows[name + ".blocks"], columns)
            print(name, digest, blocks[0].tobytes().hex(), values[0].tobytes().hex(), file=golden)
    np.savez_compressed(ROWS, **rows)


main()
