"""Prints the table of docs/quantize.md: what each recipe of `quantize` costs on the demo checkpoint.

    recipes.py [--calibration FILE]

Scored: data/demo/text.txt, disjoint windows of 512.  --calibration: the text whose first 256 windows give the activations
(WikiText-2's test split unless told; without it their row is left out).
"""
import argparse
import json
import os

from program import ROOT, SHARED, fresh, run

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
SCORED = ("--text", os.path.join(ROOT, "data", "demo", "text.txt"), "--context", 512, "--layers", "none", "--json")
WIKITEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")
MOST = [word for part in ("mlp.gate.weight", "lm_head", "visual", "mtp") for word in ("--exclude", part)]


def statistics(text):
    out = fresh("statistics") + ".safetensors"
    run("calibrate", DEMO, "--text", text, "--join", "hf", "--context", 512, "--max-windows", 256, "--out", out)
    return out


def recipes(calibration):
    yield "`--scale qstream` (default)", []
    yield "`--scale-percentile 95`", ["--scale-percentile", 95]
    yield "`--scale exact`", ["--scale", "exact"]
    yield "`--scale ocp`", ["--scale", "ocp"]
    if os.path.exists(calibration):
        weights = ["--activations", statistics(calibration)]
        yield "`--activations`", weights
        yield "`--scale exact --activations`", ["--scale", "exact", *weights]
    yield "qstream's, all linears but router, head, image encoder, mtp", MOST


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--calibration", default=WIKITEXT)
    a = a.parse_args()
    print("| recipe | MB | SQNR (dB) | perplexity | mean NLL above BF16's | mean KL divergence |\n|---|---|---|---|---|---|")
    for name, options in recipes(a.calibration):
        out = fresh("quantized")
        run("quantize", DEMO, out, *options)
        size = sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out) if f.endswith(".safetensors"))
        sqnr = json.loads(run("verify", out, "--against", DEMO, "--json").stdout)["total"]["sqnr_db"]
        c = json.loads(run("compare", DEMO, out, *SCORED).stdout)
        print(f"| {name} | {size / 1e6:.1f} | {sqnr:.2f} | {c['b']['perplexity']:.2f} | {c['delta_nll']:.4f} ± {c['delta_nll_stderr']:.4f} "
              f"| {c['mean_kld']:.5f} ± {c['kld_stderr']:.5f} |", flush=True)


if __name__ == "__main__":
    main()
