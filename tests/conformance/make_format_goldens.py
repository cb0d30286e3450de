"""Writes format_goldens.npz: weights of every row of quantized.FORMATS, and what the writers' own packages make of them in F32.

    pip install torch==2.13.0 numpy ml_dtypes compressed-tensors==0.20.0 nvidia-modelopt==0.47.0
    pip download --no-deps gptqmodel==7.7 autoawq==0.2.9 auto_round==0.16.1 amd-quark==0.13      (unpacked into SOURCES)
    python3 make_format_goldens.py SOURCES

compressed_tensors and modelopt are imported.  Of the others, which want a GPU or many packages, the functions that expand a weight
are taken out of their source as they are, and run.
"""
import ast
import glob
import os
import sys
import types
import typing

import ml_dtypes
import numpy as np
import quantized
import torch
from compressed_tensors.compressors.mxfp6.helpers import unpack_fp6_from_uint8
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, COLS = 24, 192


def functions(path, names, **known):
    """The functions of these names, wherever they are in a file, compiled by themselves."""
    tree = ast.parse(open(path).read())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    found = list({node.name: node for node in found}.values())
    for node in found:
        node.decorator_list = []
    scope = dict(torch=torch, t=torch, np=np, **vars(typing), **known)
    exec(compile(ast.Module(found, []), path, "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in names})


def tensor(part):
    """As torch has it; scales in F32, so that no value is rounded to their type."""
    dtype, a = part
    if dtype in ("BF16", "F16", "F32"):
        return torch.from_numpy(np.array(quantized.numbers(part), np.float32))
    if dtype == "F8_E4M3":
        return torch.from_numpy(np.array(a).view(ml_dtypes.float8_e4m3fn).astype(np.float32))
    return torch.from_numpy(np.array(a))


def arguments(f):
    """QuantizationArgs of a row."""
    bits = f.get("bits") or {"fp8": 8, "mxfp8": 8, "mxfp6": 6}.get(f["kind"], 4)
    strategy = {"channel": "channel", "rows": "channel", "tensor": "tensor", "one": "tensor", "block": "block"}.get(f.get("shape"))
    group = f.get("group") or {"nvfp4": 16}.get(f["kind"], 32 if f["kind"].startswith("mx") else None)
    strategy = strategy or ("group" if group else "channel")
    return QuantizationArgs(num_bits=bits, type="int" if f["kind"] in ("int", "i8") else "float", symmetric=f.get("sym", True),
                            strategy="tensor_group" if f["kind"] == "nvfp4" else strategy,
                            group_size=group if strategy == "group" else None,
                            block_structure=list(f["block"]) if "block" in f else None)


def of_compressed_tensors(f, t):
    scale, zero = t[".weight_scale"], None
    if f["kind"] == "int":
        codes = unpack_from_int32(tensor(t[".weight_packed"]), f["bits"], torch.Size([ROWS, COLS]))
        if ".weight_zero_point" in t:
            zero = unpack_from_int32(tensor(t[".weight_zero_point"]), f["bits"], torch.Size([ROWS, scale[1].shape[1]]), packed_dim=0)
    elif f["kind"] == "i8":
        codes = tensor(t[".weight"])
        zero = tensor(t[".weight_zero_point"]) if ".weight_zero_point" in t else None
    elif f["kind"] == "mxfp6":
        codes = unpack_fp6_from_uint8(tensor(t[".weight_packed"]), ROWS, COLS, torch.float32)
    elif f["kind"] in ("nvfp4", "mxfp4"):
        codes = unpack_fp4_from_uint8(tensor(t[f["suffix"]]), ROWS, COLS, torch.float32)
    else:
        codes = tensor(t[".weight"])
    if scale[0] in ("U8", "F8_E8M0"):
        scale = torch.from_numpy(np.ascontiguousarray(scale[1]).view(ml_dtypes.float8_e8m0fnu).astype(np.float32))
    else:
        scale = tensor(scale)
    if f.get("shape") == "rows":
        scale = scale[:, None]
    if "g_idx" in f:                        # sorted by group, as the package did before it expanded, while it knew them
        order = torch.argsort(tensor(t[f["g_idx"]]), stable=True)
        out = dequantize(codes[:, order], scale, zero, arguments(f), torch.float32)
        return out[:, torch.argsort(order)]
    factor = tensor(t[".weight_global_scale"]) if ".weight_global_scale" in t else None
    return dequantize(codes, scale, zero, arguments(f), torch.float32, factor)


def of_modelopt(f, t):
    packed = NVFP4QTensor(torch.Size([ROWS, COLS]), torch.float32, tensor(t[".weight"]))
    return packed.dequantize(torch.float32, scale=tensor(t[".weight_scale"]), double_scale=tensor(t[".weight_scale_2"]),
                             block_sizes={-1: 16})


def of_gptqmodel(f, t):
    root = glob.glob(os.path.join(sys.argv[1], "gptqmodel-*", "gptqmodel"))[0]
    shift = lambda a, b: torch.bitwise_right_shift(a, b)
    expand = functions(os.path.join(root, "nn_modules", "qlinear", "__init__.py"), ["dequantize_weight", "_dequantize_from_codes"],
                       _torch_right_shift=shift)
    bits, groups = f["bits"], t[".scales"][1].shape[0]
    wf = torch.arange(0, 32, bits, dtype=torch.int32)[None]
    m = types.SimpleNamespace(
        bits=bits, planar=False, pack_factor=32 // bits, maxq=(1 << bits) - 1, in_features=COLS, dequant_dtype=torch.int32,
        wf_unsqueeze_zero=wf[None], wf_unsqueeze_neg_one=wf[..., None], _init_wf_unsqueeze_buffers=lambda: None,
        qweight=tensor(t[".qweight"]), qzeros=tensor(t[".qzeros"]), scales=tensor(t[".scales"]),
        g_idx=tensor(t[".g_idx"]) if ".g_idx" in t else torch.arange(COLS) // (-(-COLS // groups) if groups == 1 else f["group"]))
    m._dequantize_from_codes = lambda *a, **k: expand._dequantize_from_codes(m, *a, **k)
    is_v1 = f["stored"] < 1 << bits - 1 if f.get("sym", True) else f.get("version", 1) == 1
    if is_v1:
        convert = functions(os.path.join(root, "utils", "model.py"), ["convert_gptq_v1_to_v2_format_module"], nn=torch.nn,
                            BaseQuantLinear=types.SimpleNamespace,
                            log=types.SimpleNamespace(info=types.SimpleNamespace(once=print)))
        m.qzero_format = lambda format=None: None
        convert.convert_gptq_v1_to_v2_format_module(m, bits, torch.int32)
    return expand.dequantize_weight(m).T


def of_autoawq(f, t):
    path = glob.glob(os.path.join(sys.argv[1], "autoawq-*", "awq", "utils", "packing_utils.py"))[0]
    scope = {}
    exec(compile(open(path).read(), path, "exec"), scope)
    return scope["dequantize_gemm"](tensor(t[".qweight"]), tensor(t[".qzeros"]), tensor(t[".scales"]), 4, f["group"]).T


def of_quark(f, t):
    """Codes to values by its packing class; then the scale, a power of two."""
    path = glob.glob(os.path.join(sys.argv[1], "**", "quark", "torch", "utils", "pack.py"), recursive=True)[0]
    tree = ast.parse(open(path).read())
    unpack = next(node for c in tree.body if isinstance(c, ast.ClassDef) and c.name == {"mxfp4": "Pack_fp4", "mxfp6": "Pack_fp6"}[f["kind"]]
                  for node in c.body if isinstance(node, ast.FunctionDef) and node.name == "unpack")
    scope = dict(torch=torch)
    exec(compile(ast.Module([unpack], []), path, "exec"), scope)
    value = scope["unpack"](types.SimpleNamespace(e_bits=3, m_bits=2), tensor(t[f["suffix"]]), False)
    return value.float() * tensor(("F32", quantized.numbers(t[".weight_scale"]))).repeat_interleave(32, 1)


def oracle(f):
    if f["kind"] == "gptq":
        return "gptqmodel", of_gptqmodel
    if f["kind"] == "awq":
        return "autoawq", of_autoawq
    if f["kind"] == "nvfp4" and f["suffix"] == ".weight":
        return "modelopt", of_modelopt
    if f["config"]["quant_method"] == "quark":
        return "quark", of_quark
    return "compressed-tensors", of_compressed_tensors


def main():
    rng, out = np.random.default_rng(19), {}
    for name, f in quantized.FORMATS.items():
        if f["kind"].startswith("mlx"):      # make_mlx_goldens.py
            continue
        t = quantized.draw(f, ROWS, COLS, rng)
        package, expand = oracle(f)
        value = expand(f, t).numpy().astype(np.float32)
        out |= {f"{name}|{suffix}|{dtype}": a for suffix, (dtype, a) in t.items()}
        out[f"{name}|value|{package}"] = np.ascontiguousarray(value)
        same = quantized.same(quantized.values(f, t, ROWS, COLS), out[f"{name}|value|{package}"])
        print(f"{name}: {package}, {'the same bits' if same else 'DIFFERS'}")
    np.savez_compressed(os.path.join(HERE, "format_goldens.npz"), **out)


if __name__ == "__main__":
    main()
