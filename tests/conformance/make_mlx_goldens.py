"""Writes mlx_goldens.npz: weights of every MLX row of quantized.FORMATS, and what mlx makes of them in F32.

    pip install "mlx[cpu]==0.32.4" numpy
    python3 make_mlx_goldens.py

Scales and biases are handed over in F32, so that mlx rounds no value to their type.
"""
import os

import mlx.core as mx
import numpy as np
import quantized

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, COLS = 24, 192


def expand(f, t):
    codes = mx.array(t[".weight"][1])
    if f["kind"] == "mlx":
        scale, bias = (mx.array(quantized.numbers(t[suffix])) for suffix in (".scales", ".biases"))
        return np.array(mx.dequantize(codes, scale, bias, group_size=f["group"], bits=f["bits"]))
    return np.array(mx.dequantize(codes, mx.array(t[".scales"][1]), mode=f["mode"], dtype=mx.float32))


def main():
    rng, out = np.random.default_rng(20), {}
    for name, f in quantized.FORMATS.items():
        if not f["kind"].startswith("mlx"):
            continue
        t = quantized.draw(f, ROWS, COLS, rng)
        value = expand(f, t)
        out |= {f"{name}|{suffix}|{dtype}": a for suffix, (dtype, a) in t.items()}
        out[f"{name}|value|mlx"] = value
        print(f"{name}: {'the same bits' if quantized.same(quantized.values(f, t, ROWS, COLS), value) else 'DIFFERS'}")
    np.savez_compressed(os.path.join(HERE, "mlx_goldens.npz"), **out)


if __name__ == "__main__":
    main()
