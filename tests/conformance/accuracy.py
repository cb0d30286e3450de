"""Prints the tables of docs/accuracy.md: error of the NLL by token against float64, ours and transformers'.

The truth and transformers' figures are those of tests/fixtures/goldens (24 windows of 512 of WikiText-2's test split).
"""
import os

import numpy as np
import safetensors_io as st
from program import FIXTURES, ROOT, evaluate

print("| checkpoint | computed by | mean error | largest error | mean NLL, difference |\n|---|---|---|---|---|")
for name in ("bf16", "mxfp4"):
    x = st.read(os.path.join(FIXTURES, "goldens", f"tiny-{name}", "windows.safetensors"))
    truth = x["nll_truth"].ravel()
    rows = {"transformers, float32": x["nll_f32"].ravel().astype(np.float64)}
    for isa in ("avx512", "avx2", "openblas", "scalar"):
        try:
            rows[f"surprisal, {isa}"] = evaluate(os.path.join(ROOT, "data", "demo", name), x["ids"], "--context", 512,
                                                 "--isa", isa)[1]["nll"]
        except RuntimeError as e:       # not of this CPU
            print(f"| {name} | {isa} | {e} |||")
    for label, nll in rows.items():
        error = np.abs(nll - truth)
        print(f"| {name} | {label} | {error.mean():.2e} | {error.max():.2e} | {nll.mean() - truth.mean():+.1e} |")
