"""qstream's quantizer written anew from ../shared/design/FORMATS.md, in numpy's float32: slow, and with no line of ours."""
import numpy as np

F = np.float32
BOUNDARIES = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], F)
MAGNITUDES = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], F)
VALUES = np.concatenate([MAGNITUDES, -MAGNITUDES])


def power(k):
    return np.ldexp(F(1), k.astype(np.int32)).astype(F)


def log2(x):
    return np.log2(x.astype(np.float64)).astype(F)


def torch_mean(e):
    """Over the last axis of 32, in torch's order: vectors of eight are added, then their lanes one by one."""
    v = e.reshape(e.shape[:-1] + (4, 8))
    lanes = ((v[..., 0, :] + v[..., 1, :]) + v[..., 2, :]) + v[..., 3, :]
    total = lanes[..., 0]
    for i in range(1, 8):
        total = total + lanes[..., i]
    return total / F(32)


def anchor_of(a, percentile):
    s = np.sort(a, -1)
    rank = F(percentile / 100) * F(31)
    low = int(rank)
    t = F(rank - F(low))
    lo, hi = s[..., low], s[..., min(low + 1, 31)]
    return lo + t * (hi - lo) if t < 0.5 else hi - (hi - lo) * F(1 - t)


def encode(w, k):
    """codes of blocks [..., 32] at exponents k [...]; ties toward zero"""
    x = np.clip(w / power(k)[..., None], -6, 6)
    return (np.searchsorted(BOUNDARIES, np.abs(x), side="left") | (x < 0) * 8).astype(np.uint8)


def pack(codes, k):
    rows = codes.shape[0]
    codes = codes.reshape(rows, -1)
    return codes[:, 0::2] | codes[:, 1::2] << 4, np.clip(k + 127, 0, 254).astype(np.uint8)


def quantize(weight, percentile=99.5, factors=None, hessian=None):
    """weight f32 [out, in], factors f32 [in] of squared errors or hessian f32 [in / 32, 32, 32] (in float64: its sums have no order
    of their own) -> packed [out, in / 2], scale [out, in / 32]"""
    with np.errstate(over="ignore", invalid="ignore"):
        w = weight.reshape(weight.shape[0], -1, 32).astype(F)
        factors = F(1) if factors is None else factors.reshape(1, -1, 32).astype(F)
        anchor = anchor_of(np.abs(w), percentile)
        w = np.where((anchor < F(1e-6))[..., None], F(0), w)
        base = np.floor(log2(np.maximum(anchor, F(1e-6)) / F(6))).astype(np.int32)
        k, least = None, None
        for c in (base - 1, base, base + 1):
            d = VALUES[encode(w, c)] * power(c)[..., None] - w
            error = torch_mean(d * d * factors) if hessian is None else np.einsum("rbi,bij,rbj->rb", d.astype(float), hessian.astype(float), d)
            better = np.ones_like(c, bool) if k is None else error < least
            k, least = np.where(better, c, 0 if k is None else k), np.where(better, error, 0 if least is None else least)
        amax = np.abs(w).max(-1)
        safe = np.ceil(log2(np.maximum(amax, F(1e-12)) / F(6))).astype(np.int32)
        k = np.where((amax / power(k) > 6) & (k < safe - 1), safe, k)
        return pack(encode(w, k), k)


def ocp(weight):
    """OCP Microscaling 1.0, 6.3: floor(log2(max)) - 2, nearest, ties to the even code"""
    w = weight.reshape(weight.shape[0], -1, 32).astype(np.float64)
    amax = np.abs(w).max(-1)
    k = np.where(amax > 0, np.frexp(amax)[1] - 1 - 2, -127).clip(-127)
    x = np.abs(np.ldexp(w, -k[..., None]))
    codes = np.zeros(x.shape, np.uint8)
    for i, b in enumerate(BOUNDARIES):
        codes += (x >= b) if i % 2 else (x > b)
    return pack(codes | np.uint8(8) * (w < 0), k)


def dequantize(packed, scale):
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(packed.shape[0], -1)
    return (VALUES[codes].reshape(scale.shape + (32,)) * power(scale.astype(np.int32) - 127)[..., None]).reshape(codes.shape)


def errors(weight, packed, scale, factors=1.0):
    """sum of squared errors of each block, in float64"""
    d = dequantize(packed, scale).astype(np.float64) - weight.astype(np.float64)
    return (d * d * factors).reshape(scale.shape + (32,)).sum(-1)
