"""safetensors files with numpy alone.  BF16 travels as its bits in uint16 (see bf16, from_bf16)."""
import json

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U32": "<u4", "U8": "|u1"}
NAMES = {np.dtype(v): k for k, v in DTYPES.items()}


def split(path):
    """-> header (a dict), data (bytes)"""
    raw = open(path, "rb").read()
    n = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8:8 + n]), raw[8 + n:]


def join(path, header, data):
    """header: a dict, or bytes written as they are"""
    if isinstance(header, dict):
        header = json.dumps(header).encode()
        header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header + data)


def read(path):
    """-> {name: array}"""
    header, data = split(path)
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[slice(*t["data_offsets"])], DTYPES[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items()}


def write(path, tensors, dtypes={}):
    """dtypes: {name: dtype} of tensors whose bytes numpy has no type for"""
    header, data = {}, b""
    for name, a in tensors.items():
        raw = np.ascontiguousarray(a).tobytes()
        header[name] = {"dtype": dtypes.get(name) or NAMES[np.asarray(a).dtype], "shape": list(np.shape(a)),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    join(path, header, data)


def bf16(x):
    """Rounded to the nearest BF16, ties to even; as bits."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)
