"""Weights as the writers of quantized checkpoints store them, and what they are worth, with numpy alone.

A weight is {suffix: (dtype, array)}.  make() draws one at random; values() is its definition, which test_formats.py compares with
the writers' own packages (format_goldens.npz).
"""
import fp8
import numpy as np
import safetensors_io as st

E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6], np.float32)
E2M1 = np.concatenate([E2M1, -E2M1])


def six(bias, fraction):
    """All values of a 6-bit code."""
    code = np.arange(32)
    e, f = code >> fraction, (code & (1 << fraction) - 1) / (1 << fraction)
    x = np.where(e > 0, (1 + f) * 2.0 ** (e - bias), f * 2.0 ** (1 - bias)).astype(np.float32)
    return np.concatenate([x, -x])


SIX = {"e2m3": six(1, 3), "e3m2": six(3, 2)}


def numbers(stored):
    """Scales as f32."""
    dtype, a = stored
    if dtype in ("U8", "F8_E8M0"):
        return np.ldexp(np.float32(1), a.astype(int) - 127).astype(np.float32)
    return {"BF16": st.from_bf16, "F8_E4M3": lambda a: fp8.VALUES[a]}.get(dtype, np.float32)(a)


def stored(x, dtype):
    return dtype, {"BF16": st.bf16, "F16": lambda x: x.astype(np.float16), "F32": np.float32}[dtype](x)


def pack(codes, bits):
    """Words along the last axis, the first code in the lowest bits."""
    n = 32 // bits
    codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], -codes.shape[-1] % n), codes.dtype)], -1)
    words = codes.reshape(*codes.shape[:-1], -1, n).astype(np.uint32) << np.arange(0, 32, bits, dtype=np.uint32)
    return np.bitwise_or.reduce(words, -1).view(np.int32)


def unpack(words, bits, n):
    codes = words.view(np.uint32)[..., None] >> np.arange(0, 32, bits, dtype=np.uint32) & (1 << bits) - 1
    return codes.reshape(*words.shape[:-1], -1)[..., :n].astype(int)


def stream(codes, bits):
    """Words along the last axis, without gaps between codes."""
    each = (codes[..., None] >> np.arange(bits) & 1).astype(np.uint8).reshape(*codes.shape[:-1], -1)
    return np.ascontiguousarray(np.packbits(each, axis=-1, bitorder="little")).view(np.uint32)


def un_stream(words, bits):
    each = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")
    return (each.reshape(*words.shape[:-1], -1, bits).astype(int) << np.arange(bits)).sum(-1)


AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]        # nibble k of a word is row 8w + ORDER[k]


def awq(codes):
    return pack(codes.reshape(*codes.shape[:-1], -1, 8)[..., AWQ_ORDER].reshape(codes.shape), 4)


def un_awq(words):
    codes = unpack(words, 4, words.shape[-1] * 8)
    return codes.reshape(*codes.shape[:-1], -1, 8)[..., np.argsort(AWQ_ORDER)].reshape(codes.shape)


# ---- what is stored is worth ------------------------------------------------------------------


def spread(scale, rows, cols, block=None):
    """Scales [], [1], [rows] or of blocks -> one for each element."""
    if scale.size == 1:
        return np.broadcast_to(scale.reshape(1, 1), (rows, cols))
    if scale.ndim == 1:
        scale = scale[:, None]
    block = block or (-(-rows // scale.shape[0]), -(-cols // scale.shape[1]))
    return fp8.spread(scale, block, (rows, cols))


def nibbles(a):
    return np.stack([a & 15, a >> 4], -1).reshape(a.shape[0], -1)


def sixes(a):
    b = a.reshape(a.shape[0], -1, 3).astype(int)
    word = b[..., 0] | b[..., 1] << 8 | b[..., 2] << 16
    return (word[..., None] >> np.array([0, 6, 12, 18]) & 63).reshape(a.shape[0], -1)


def integers(f, t, rows, cols):
    bits, group = f["bits"], f.get("group") or cols
    of = np.arange(cols) // group
    if "g_idx" in f:
        of = t[f["g_idx"]][1]
    zero = half = 1 << bits - 1
    scale = numbers(t[".scales" if ".scales" in t else ".weight_scale"])
    if ".qweight" in t:
        words, scale = t[".qweight"][1], scale.T
        q = un_awq(words).T if f["kind"] == "awq" else unpack(np.ascontiguousarray(words.T), bits, cols)
        stored_zeros = t[".qzeros"][1]
        if f["kind"] == "awq":
            zero = un_awq(stored_zeros).T
        elif not f.get("sym", True):
            if f.get("version", 1) == 1:
                stored_zeros = (stored_zeros.view(np.uint32) + np.uint32(0xFFFFFFFF // ((1 << bits) - 1))).view(np.int32)
            zero = unpack(stored_zeros, bits, rows).T
    elif ".weight" in t:
        q, half = t[".weight"][1].astype(int), 0
        zero = t[".weight_zero_point"][1].astype(int) if ".weight_zero_point" in t else 0
        zero = np.broadcast_to(zero, scale.shape)
    else:
        q = unpack(t[".weight_packed"][1], bits, cols)
        if ".weight_zero_point" in t:
            zero = unpack(np.ascontiguousarray(t[".weight_zero_point"][1].T), bits, rows).T
    scale = np.broadcast_to(scale, (rows, scale.shape[1]))[:, of]
    zero = np.broadcast_to(zero, (rows, 1))[:, np.zeros(cols, int)] if np.size(zero) == 1 else zero[:, of]
    return (q - zero).astype(np.float32) * scale


def values(f, t, rows, cols):
    """f: a row of FORMATS"""
    kind = f["kind"]
    if kind in ("int", "gptq", "awq", "i8"):
        return integers(f, t, rows, cols)
    codes = t[".weight" if ".weight" in t else ".weight_packed"][1]
    if kind == "mlx":
        scale, bias = (np.repeat(numbers(t[suffix]), f["group"], 1) for suffix in (".scales", ".biases"))
        return un_stream(codes, f["bits"]).astype(np.float32) * scale + bias
    if kind == "mlx mode":
        mode, scale = f["mode"], t[".scales"][1]
        value = fp8.VALUES[un_stream(codes, 8)] if mode == "mxfp8" else E2M1[un_stream(codes, 4)]
        return value * np.repeat(numbers(("F8_E4M3" if mode == "nvfp4" else "U8", scale)), cols // scale.shape[1], 1)
    scale = numbers(t[".weight_scale"])
    if kind in ("fp8", "mxfp8"):
        return fp8.VALUES[codes] * spread(scale, rows, cols, f.get("block"))
    if kind == "nvfp4":
        scale = scale * t[".weight_scale_2"][1] if ".weight_scale_2" in t else scale / t[".weight_global_scale"][1]
        return E2M1[nibbles(codes)] * np.repeat(scale.astype(np.float32), 16, 1)
    value = E2M1[nibbles(codes)] if kind == "mxfp4" else SIX[f["code"]][sixes(codes)]
    return value * np.repeat(scale, 32, 1)


def same(got, expected):
    """The same bits, but for the sign of zero: to modelopt, code 8 of E2M1 is plain zero."""
    return (got + np.float32(0)).tobytes() == (expected + np.float32(0)).tobytes()


# ---- at random --------------------------------------------------------------------------------


def draw(f, rows, cols, rng):
    """A weight whose values are of some cols^-0.5; None: the format has no such shape"""
    kind, bits, group = f["kind"], f.get("bits"), f.get("group") or cols
    size, groups = cols ** -0.5, -(-cols // (f.get("group") or cols))

    def scales(shape, most):
        return stored(rng.uniform(.5, 1.5, shape) * size / most, f.get("scale", "BF16"))

    def powers(shape, most):
        return f.get("scale", "U8"), rng.integers(-2, 2, shape).astype(np.uint8) + np.uint8(127 + np.round(np.log2(size / most)))
    if kind == "fp8":
        codes = rng.integers(0, 127, (rows, cols)) | rng.integers(0, 2, (rows, cols)) << 7
        shape = {"tensor": (), "one": (1,), "rows": (rows,), "channel": (rows, 1)}.get(f["shape"])
        if shape is None:
            shape = tuple(-(-n // b) for n, b in zip((rows, cols), f["block"]))
        return {".weight": ("F8_E4M3", codes.astype(np.uint8)), ".weight_scale": scales(shape, 100)}
    if kind in ("mxfp8", "mxfp4", "mxfp6", "nvfp4"):
        block = 16 if kind == "nvfp4" else 32
        if cols % block:
            return None
        if kind == "mxfp8":
            codes = rng.integers(0, 127, (rows, cols)) | rng.integers(0, 2, (rows, cols)) << 7
            return {".weight": ("F8_E4M3", codes.astype(np.uint8)), ".weight_scale": powers((rows, cols // 32), 100)}
        codes = rng.integers(0, 256, (rows, cols * (6 if kind == "mxfp6" else 4) // 8)).astype(np.uint8)
        if kind != "nvfp4":
            most = {"mxfp4": 3, "e2m3": 3, "e3m2": 10}[f.get("code", kind)]
            return {f["suffix"]: ("U8", codes), ".weight_scale": powers((rows, cols // 32), most)}
        scale = rng.integers(1, 127, (rows, cols // 16)).astype(np.uint8)
        factor = np.float32(rng.uniform(.5, 1.5) * size / 300)
        second = {".weight_scale_2": ("F32", factor), ".input_scale": ("F32", np.float32(1))} if f["suffix"] == ".weight" else {
            ".weight_global_scale": ("F32", np.array([1 / factor], np.float32)), ".input_global_scale": ("F32", np.ones(1, np.float32))}
        return {f["suffix"]: ("U8", codes), ".weight_scale": ("F8_E4M3", scale), **second}
    if kind == "mlx mode":
        block = 16 if f["mode"] == "nvfp4" else 32
        if cols % block:
            return None
        if f["mode"] == "mxfp8":
            codes = rng.integers(0, 127, (rows, cols)) | rng.integers(0, 2, (rows, cols)) << 7
        else:
            codes = rng.integers(0, 16, (rows, cols))
        words = stream(codes, 8 if f["mode"] == "mxfp8" else 4)
        if f["mode"] == "nvfp4":            # E4M3 from 2^-6 to 2^-4: no factor makes values small
            return {".weight": ("U32", words), ".scales": ("U8", rng.integers(1, 24, (rows, cols // 16)).astype(np.uint8))}
        return {".weight": ("U32", words), ".scales": ("U8", powers((rows, cols // 32), {"mxfp8": 100}.get(f["mode"], 3))[1])}
    q = rng.integers(0, 1 << bits, (rows, cols))
    if kind == "mlx":
        if cols % group:
            return None
        scale = scales((rows, groups), 1 << bits - 1)
        bias = stored(-numbers(scale) * rng.uniform(.8, 1.2, scale[1].shape) * (1 << bits - 1), scale[0])
        return {".weight": ("U32", stream(q, bits)), ".scales": scale, ".biases": bias}
    zeros = rng.integers(0, 1 << bits, (rows, groups))
    scale = scales((rows, groups), 1 << bits - 1)
    if f.get("negative"):                   # AutoRound's full-range symmetric search writes such scales
        scale = stored(numbers(scale) * rng.choice([-1, 1], (rows, groups)), scale[0])
    index = rng.permutation(np.arange(cols) // group).astype(np.int32)
    if kind == "i8":
        out = {".weight": ("I8", (q - 128).astype(np.int8)), ".weight_scale": scale}
        return out | ({} if f.get("sym", True) else {".weight_zero_point": ("I8", (zeros - 128).astype(np.int8))})
    if kind == "int":
        out = {".weight_packed": ("I32", pack(q, bits)), ".weight_scale": scale, ".weight_shape": ("I64", np.array([rows, cols]))}
        if not f.get("sym", True):
            out[".weight_zero_point"] = "I32", np.ascontiguousarray(pack(np.ascontiguousarray(zeros.T), bits).T)
        return out | ({".weight_g_idx": ("I32", index)} if "g_idx" in f else {})
    scale = scale[0], np.ascontiguousarray(scale[1].T)
    if kind == "awq":
        if rows % 8:
            return None
        return {".qweight": ("I32", awq(np.ascontiguousarray(q.T))), ".scales": scale,
                ".qzeros": ("I32", awq(np.ascontiguousarray(zeros.T)))}
    if cols * bits % 32:
        return None
    if f.get("sym", True):
        zeros[:] = f["stored"]
    qzeros = pack(np.ascontiguousarray(zeros.T), bits)
    if not f.get("sym", True) and f.get("version", 1) == 1:     # whole words less 1 in each field
        qzeros = (qzeros.view(np.uint32) - np.uint32(0xFFFFFFFF // ((1 << bits) - 1))).view(np.int32)
    return {".qweight": ("I32", np.ascontiguousarray(pack(q, bits).T)), ".scales": scale, ".qzeros": ("I32", qzeros),
            **({".g_idx": ("I32", index)} if "g_idx" in f else {})}


GPTQ = dict(kind="gptq", scale="F16")
GPTQ_CONFIG = dict(quant_method="gptq", bits=4, group_size=32, sym=True, desc_act=False)
TENSORS = dict(quant_method="compressed-tensors", config_groups=dict(group_0=dict(targets=["Linear"], weights={})))
FORMATS = {
    "FP8, a scale each row": dict(kind="fp8", shape="channel", config=TENSORS | dict(format="float-quantized")),
    "FP8, a scale each row, [rows] in F32": dict(kind="fp8", shape="rows", scale="F32", config=dict(quant_method="modelopt")),
    "FP8, one scale": dict(kind="fp8", shape="tensor", scale="F32", config=dict(quant_method="modelopt", quant_algo="FP8")),
    "FP8, one scale, [1] in F16": dict(kind="fp8", shape="one", scale="F16", config=TENSORS | dict(format="naive-quantized")),
    "FP8 in blocks": dict(kind="fp8", shape="block", block=(32, 64), config=TENSORS | dict(format="float-quantized")),
    "MXFP8": dict(kind="mxfp8", config=TENSORS | dict(format="mxfp8-quantized")),
    "MXFP8, E8M0": dict(kind="mxfp8", scale="F8_E8M0", config=dict(quant_method="modelopt", quant_algo="MXFP8")),
    "MXFP4 of Quark": dict(kind="mxfp4", suffix=".weight", config=dict(quant_method="quark")),
    "MXFP6": dict(kind="mxfp6", code="e2m3", suffix=".weight_packed", config=TENSORS | dict(format="mxfp6-pack-quantized")),
    "MXFP6 of Quark, E3M2": dict(kind="mxfp6", code="e3m2", suffix=".weight", config=dict(
        quant_method="quark", global_quant_config=dict(weight=dict(dtype="fp6_e3m2")))),
    "NVFP4 of modelopt": dict(kind="nvfp4", suffix=".weight", config=dict(quant_method="modelopt", quant_algo="NVFP4")),
    "NVFP4": dict(kind="nvfp4", suffix=".weight_packed", config=TENSORS | dict(format="nvfp4-pack-quantized")),
    "INT4, groups of 32": dict(kind="int", bits=4, group=32, config=TENSORS | dict(format="pack-quantized")),
    "INT4, asymmetric, F32": dict(kind="int", bits=4, group=64, sym=False, scale="F32", config=TENSORS | dict(format="pack-quantized")),
    "INT4, groups by column": dict(kind="int", bits=4, group=16, g_idx=".weight_g_idx", config=TENSORS | dict(format="pack-quantized")),
    "INT8 in words, a scale each row": dict(kind="int", bits=8, scale="F16", config=TENSORS | dict(format="pack-quantized")),
    "INT2, asymmetric": dict(kind="int", bits=2, group=16, sym=False, config=TENSORS | dict(format="pack-quantized")),
    "INT8 of W8A8": dict(kind="i8", bits=8, config=TENSORS | dict(format="int-quantized")),
    "INT8 of W8A8, asymmetric, groups": dict(kind="i8", bits=8, group=32, sym=False, config=TENSORS | dict(format="int-quantized")),
    "GPTQ, 4 bits, zeros 7": GPTQ | dict(bits=4, group=32, stored=7, negative=True, config=GPTQ_CONFIG),
    "GPTQ, 4 bits, zeros 8 under a wrong label": GPTQ | dict(bits=4, group=64, stored=8, config=GPTQ_CONFIG | dict(
        checkpoint_format="gptq")),
    "GPTQ, 4 bits, act order": GPTQ | dict(bits=4, group=16, stored=7, g_idx=".g_idx", config=GPTQ_CONFIG | dict(desc_act=True)),
    "GPTQ, 4 bits, asymmetric": GPTQ | dict(bits=4, group=16, sym=False, config=GPTQ_CONFIG | dict(sym=False)),
    "GPTQ, 8 bits, asymmetric, v2": GPTQ | dict(bits=8, group=32, sym=False, version=2, scale="BF16", config=GPTQ_CONFIG | dict(
        sym=False, bits=8, checkpoint_format="gptq_v2")),
    "GPTQ, 2 bits, asymmetric": GPTQ | dict(bits=2, group=16, sym=False, config=GPTQ_CONFIG | dict(sym=False, bits=2)),
    "GPTQ, 8 bits, one group": GPTQ | dict(bits=8, stored=127, config=GPTQ_CONFIG | dict(bits=8, group_size=-1)),
    "AutoRound": GPTQ | dict(bits=4, group=32, sym=False, version=2, config=dict(
        quant_method="auto-round", bits=4, group_size=32, sym=False, packing_format="auto_round")),
    **{f"MLX, {bits} bits, groups of {group}": dict(kind="mlx", bits=bits, group=group, scale=scale, config=dict(
        group_size=group, bits=bits, mode="affine")) for bits, group, scale in (
            (2, 64, "BF16"), (3, 32, "F16"), (4, 64, "F16"), (4, 32, "BF16"), (5, 32, "BF16"), (6, 64, "BF16"), (8, 32, "F16"))},
    **{f"MLX, {mode}": dict(kind="mlx mode", mode=mode, config=dict(group_size=16 if mode == "nvfp4" else 32, bits=4, mode=mode))
       for mode in ("mxfp4", "mxfp8", "nvfp4")},
    "AWQ": dict(kind="awq", bits=4, group=32, scale="F16", config=dict(quant_method="awq", bits=4, group_size=32, version="gemm")),
}
