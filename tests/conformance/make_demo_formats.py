"""Writes data/demo/formats: the demo checkpoint as six writers of quantized checkpoints store it.

    pip install torch==2.13.0 numpy ml_dtypes compressed-tensors==0.20.0 nvidia-modelopt==0.47.0 transformers==5.24.0 gguf==0.19.0
    pip download --no-deps gptqmodel==7.7       (unpacked into SOURCES)
    python3 make_demo_formats.py SOURCES

All six quantize the same linears, those of Qwen's FP8 releases: attention but for in_proj_a and in_proj_b, experts and shared
expert.  Weights are rounded to the nearest code, by the functions of the writers' packages; nothing is calibrated: this model is
too small for what calibration gains to mean anything.  What its shapes do not allow:

- FP8 in blocks of 64x64, as expert matrices have 64 rows or columns: transformers' writer leaves a matrix in BF16 that blocks of
  128x128 do not divide.
- GPTQ in groups of 64 where the published have 128.
- Of GPTQModel, which wants a GPU and more packages, the functions that find scales and pack codes are taken out of its source.
- GGUF: llama.cpp's converter and quantizer are not a package.  Names and changes of tensors are those of gguf_files.py, the
  codes are the gguf package's.  Embedding and head are Q8_0, since llama.cpp's Q6_K needs columns in multiples of 256.

The image encoder and the multi-token-prediction layer, both untrained, are left out.  What the four safetensors folders keep as
it is, is one file that each has a link to; they have no index, and their tokenizer is that of data/demo/bf16.
"""
import contextlib
import glob
import json
import math
import os
import shutil
import sys
import types

import gguf
import gguf_files
import numpy as np
import safetensors_io as st
import torch
import transformers
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from make_format_goldens import functions
from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor
from safetensors.torch import load_file, save
from transformers.integrations.finegrained_fp8 import Fp8Quantize

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "data", "demo")
FORMATS = os.path.join(DEMO, "formats")
SHARED = "unquantized.safetensors"
PREFIX = "model.language_model."
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkv", "in_proj_z", "out_proj", "gate_proj", "up_proj", "down_proj")
GGUF_LINEARS = ("attn_q", "attn_k", "attn_v", "attn_output", "attn_qkv", "attn_gate", "ssm_out", "ffn_gate_exps", "ffn_up_exps",
                "ffn_down_exps", "ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp")
GROUP, GPTQ_GROUP, BLOCK = 32, 64, 64


def original():
    """-> (the linears, the rest), BF16 and F32; each expert by itself, as published files have it"""
    linears, rest = {}, {}
    for path in sorted(glob.glob(os.path.join(DEMO, "bf16", "*.safetensors"))):
        for name, w in load_file(path).items():
            if not name.startswith((PREFIX, "lm_head.")):
                continue
            if ".experts." in name:
                base, part = name.rsplit(".", 1)
                for i, matrix in enumerate(w):
                    halves = matrix.chunk(2) if part == "gate_up_proj" else (matrix,)
                    for half, which in zip(halves, ("gate_proj", "up_proj") if part == "gate_up_proj" else (part,)):
                        linears[f"{base}.{i}.{which}"] = half.contiguous()
            elif name.removesuffix(".weight").endswith(LINEARS):
                linears[name.removesuffix(".weight")] = w
            else:
                rest[name] = w
    return linears, rest


# ---- a linear, as each writer stores it -------------------------------------------------------


def fp8(w):
    config = types.SimpleNamespace(weight_block_size=[BLOCK, BLOCK], scale_fmt=None)
    return Fp8Quantize(types.SimpleNamespace(quantization_config=config)).convert({"weight": w})


def nvfp4(w):
    codes, scale, scale_2 = NVFP4QTensor.quantize(w, 16)
    return {"weight": codes._quantized_data, "weight_scale": scale, "weight_scale_2": scale_2}


def pack_quantized(w):
    args = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group", group_size=GROUP)
    groups = w.unflatten(1, (-1, GROUP))
    scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
    return PackedQuantizationCompressor.compress({"weight": w, "weight_scale": scale, "weight_zero_point": zero},
                                                 QuantizationScheme(targets=["Linear"], weights=args))


def gptq_functions(sources):
    root = glob.glob(os.path.join(sources, "gptqmodel-*", "gptqmodel"))[0]
    find = functions(os.path.join(root, "quantization", "quantizer.py"), ["find_params"])
    pack = functions(os.path.join(root, "nn_modules", "qlinear", "__init__.py"), ["pack_original"], nn=torch.nn, math=math,
                     transformers=transformers, _ConvNd=torch.nn.modules.conv._ConvNd,
                     THREADPOOLCTL=types.SimpleNamespace(threadpool_limits=contextlib.nullcontext))
    old = functions(os.path.join(root, "utils", "model.py"), ["convert_gptq_v2_to_v1_format_module"],
                    BaseQuantLinear=types.SimpleNamespace, QuantizeConfig=object,
                    log=types.SimpleNamespace(info=types.SimpleNamespace(once=lambda text: None)))
    return find.find_params, pack.pack_original, old.convert_gptq_v2_to_v1_format_module


def gptq(w, find_params, pack, to_v1):
    scales, zeros = [], []
    for group in w.float().split(GPTQ_GROUP, 1):
        q = types.SimpleNamespace(maxq=torch.tensor(15), _maxq_value=15, perchannel=True, requires_groupwise_processing=lambda: False,
                                  qcfg=types.SimpleNamespace(sym=True, mse=0.0))
        find_params(q, group, weight=True)
        scales.append(q.scale)
        zeros.append(q.zero)
    m = types.SimpleNamespace(bits=4, maxq=15, pack_factor=8, pack_dtype=torch.int32, pack_dtype_bits=32, planar=False,
                              pack_np_math_dtype=np.uint32, pack_np_dtype=np.int32)
    m.register_buffer = lambda name, value: setattr(m, name, value)
    m.qzero_format = lambda format: None
    index = (torch.arange(w.shape[1]) // GPTQ_GROUP).to(torch.int32)
    pack(m, types.SimpleNamespace(weight=types.SimpleNamespace(data=w.float())), torch.cat(scales, 1), torch.cat(zeros, 1), index)
    to_v1(m, m)
    return {"qweight": m.qweight, "qzeros": m.qzeros, "scales": m.scales, "g_idx": m.g_idx}


# ---- folders and files ------------------------------------------------------------------------

KEPT = ("lm_head", "re:.*embed_tokens$", "re:.*in_proj_[ab]$", "re:.*mlp[.]gate$", "re:.*shared_expert_gate$")
WEIGHTS_OF_4_BITS = dict(num_bits=4, type="int", symmetric=True, strategy="group", group_size=GROUP)


def whole_names(rest):
    """Of modules that are kept as they are, for writers that list them."""
    return sorted(name.removesuffix(".weight") for name in rest if name.endswith(".weight") and "norm" not in name)


def configs(rest):
    yield "fp8", fp8, dict(quant_method="fp8", activation_scheme="dynamic", fmt="e4m3", weight_block_size=[BLOCK, BLOCK],
                           modules_to_not_convert=whole_names(rest))
    yield "nvfp4", nvfp4, dict(
        quant_method="modelopt", quant_algo="NVFP4", ignore=whole_names(rest), producer=dict(name="modelopt", version="0.47.0"),
        config_groups=dict(group_0=dict(weights=dict(num_bits=4, type="float", group_size=16, dynamic=False), targets=["Linear"])))
    found = gptq_functions(sys.argv[1])
    yield "gptq", lambda w: gptq(w, *found), dict(
        quant_method="gptq", bits=4, group_size=GPTQ_GROUP, sym=True, desc_act=False, checkpoint_format="gptq", lm_head=False,
        dynamic={f"-:.*{name}$": {} for name in ("in_proj_[ab]", "mlp[.]gate", "shared_expert_gate")})
    yield "pack-quantized", pack_quantized, dict(
        quant_method="compressed-tensors", format="pack-quantized", ignore=list(KEPT),
        config_groups=dict(group_0=dict(targets=["Linear"], weights=WEIGHTS_OF_4_BITS)))


def write(path, tensors):
    with open(path, "wb") as f:
        f.write(save(tensors, {"format": "pt"}))


def write_folders(linears, rest):
    with open(os.path.join(DEMO, "bf16", "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["text_config"]["mtp_num_hidden_layers"] = 0
    write(os.path.join(FORMATS, SHARED), rest)
    for name, quantize, settings in configs(rest):
        folder = os.path.join(FORMATS, name)
        os.mkdir(folder)
        stored = {f"{module}.{part}": a.contiguous() for module, w in linears.items() for part, a in quantize(w).items()}
        write(os.path.join(folder, "quantized.safetensors"), stored)
        os.symlink(os.path.join("..", SHARED), os.path.join(folder, SHARED))
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config | {"quantization_config": settings}, f, indent=1)
            f.write("\n")


def write_gguf(kind, file_type):
    folder = os.path.join(DEMO, "bf16")
    c = gguf_files.read_config(folder)
    tensors = {}
    for path in glob.glob(os.path.join(folder, "*.safetensors")):
        tensors |= st.read(path)
    stored = {}
    for name, (plain, a) in gguf_files.of_safetensors(tensors, c).items():
        part = name.removeprefix("blk.").split(".")[-2]
        as_stored = kind if part in GGUF_LINEARS else "Q8_0" if part in ("token_embd", "output") else None
        if as_stored:
            a = a.shape, gguf.quants.quantize(gguf_files.f32(a), gguf.GGMLQuantizationType[as_stored]).tobytes()
        stored[name] = gguf_files.tensor(as_stored or plain, a)
    metadata = gguf_files.settings(c) | gguf_files.token_metadata(folder)
    metadata |= {"general.name": "demo", "general.file_type": file_type, "general.quantization_version": 2}
    path = os.path.join(FORMATS, f"demo-{kind}.gguf")
    gguf_files.write(path, metadata, stored)
    assert len(gguf.GGUFReader(path).tensors) == len(stored)


def main():
    shutil.rmtree(FORMATS, ignore_errors=True)
    os.mkdir(FORMATS)
    write_folders(*original())
    write_gguf("Q8_0", 7)
    write_gguf("Q4_0", 2)


if __name__ == "__main__":
    main()
