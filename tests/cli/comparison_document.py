"""Made-up documents as `surprisal compare --json` prints them: realistic, hostile, and bare."""
import json
import math
import random
import sys

HOSTILE = "</script><script>alert('x')</script>\"&\x1b[2J\n\t|`*_]]>--><!-- \u202e\ufffe\U0001f600"
DIGEST = "0123456789abcdef" * 4


def shown(text):
    """What stands in XML and HTML for it: pictures of control characters."""
    return "".join("\u21b5" if c == "\n" else chr(0x2400 + ord(c)) if c < " " else c for c in text).replace("\ufffe", "\ufffd")


def summary(path, nll, quantized):
    return {"surprisal": "0.1.0",
            "checkpoint": {"path": path, "digest": DIGEST[8 * quantized:] + DIGEST[:8 * quantized],
                           "model_type": "qwen3_5_moe", "parameters": 35107264512,
                           "bytes": 22106432512 if quantized else 70214529024,
                           "quantized_bytes": 17179869184 if quantized else 0},
            "text": {"path": "data/wiki.test.raw", "sha256": DIGEST, "bytes": 1290590, "words": 241211, "join": "hf"},
            "tokenizer": {"path": path + "/tokenizer.json", "sha256": DIGEST},
            "protocol": "disjoint", "context": 512, "stride": 512, "windows": 580, "tokens": 297193,
            "scored": 296380, "compute": "f32", "isa": "avx512", "threads": 16, "mean_nll": nll,
            "perplexity": math.exp(nll), "nll_stderr": 0.0093, "perplexity_stderr": 0.058,
            "word_perplexity": 9.51, "byte_perplexity": 1.523, "bits_per_byte": 0.6069, "seconds": 2711.0,
            "tokens_per_second": 109.6, "peak_rss_bytes": 14173392896, "bytes_read": 70214529024, "passes": 1,
            "prefix_id": None, "max_windows": None, "documents": None,
            "warnings": ["wiki.test.raw: lines end in CR LF, which changes the tokens and the result"]}


def tail(scale):
    return dict(zip(("median", "p90", "p95", "p99", "p999", "max"),
                    (scale * f for f in (0.31, 2.4, 4.1, 11.0, 38.0, 190.0))))


def histogram(rng):
    edges = [0.0] + [10 ** (-10 + i / 4) for i in range(53)] + [None]
    rows = []
    for low, high in zip(edges, edges[1:]):
        x = math.log10(low) if low else -10.25
        rows.append({"from": low, "to": high, "scored": int(296380 * 0.115 * math.exp(-((x + 2.3) / 1.1) ** 2))})
    return rows


def realistic(n_windows=580, n_layers=40, seed=1):
    rng = random.Random(seed)
    windows = [{"window": w, "scored": 511, "nll_a": (a := rng.gauss(1.82, 0.22)),
                "delta_nll": (d := rng.gauss(0.0123, 0.021)), "nll_b": a + d,
                "mean_kld": abs(rng.gauss(0.021, 0.006))} for w in range(n_windows)]
    positions = [{"from": (f := 1 + 16 * i), "to": f + 16, "scored": 9280,
                  "nll_a": (a := 1.7 + 3.1 / (1 + i) ** 0.9), "delta_nll": (d := rng.gauss(0.0123, 0.004)),
                  "nll_b": a + d, "delta_nll_stderr": 0.004} for i in range(32)]
    bins = (0, 0.25, 0.5, 0.75, 0.95, 1)
    words = ["the castle", " Pons", "\n", " 1916", "érieure", " Valkyria", "<unk>", " =", "東京", " of"]
    tokens = [{"position": rng.randrange(297193), "window": rng.randrange(580), "id": rng.randrange(248000),
               "token": words[i % len(words)], "before": "as the ships were ordered to the northern base, where "
               "the crew had", "after": " of the river, which had been the border since the treaty",
               "nll_a": (a := abs(rng.gauss(4, 3))), "delta_nll": (d := (9 - i / 3) * (-1) ** (i % 3 == 2)),
               "nll_b": a + d, "kld": abs(rng.gauss(2, 1))} for i in range(20)]
    excerpt = ("The regiment was raised in the autumn of 1861 and served until the end of the war . It was "
               "present at the crossing of the river and at the two battles that followed , and lost a third of "
               "its men to disease in the second winter . ") * 2
    return {
        "surprisal": "0.1.0", "a": summary("/models/Qwen3.5-35B-A3B", 1.8271, 0),
        "b": summary("/models/Qwen3.5-35B-A3B-MXFP4/", 1.8394, 1), "unit": "window", "units": n_windows,
        "scored": 296380, "delta_nll": 0.01231, "delta_nll_stderr": 0.00088, "delta_nll_ci95": [0.01058, 0.01404],
        "p_value": 3.1e-38, "bootstrap": {"samples": 2000, "seed": 1, "stderr": 0.00087, "ci95": [0.0106, 0.0140]},
        "naive": {"delta_nll_stderr": 0.00049, "delta_nll_ci95": [0.0113, 0.0133], "p_value": 1e-138},
        "unpaired": {"delta_nll_stderr": 0.0131}, "perplexity_ratio": 1.01239, "perplexity_ratio_stderr": 0.00089,
        "perplexity_ratio_ci95": [1.0106, 1.0141], "perplexity_difference": 0.0770,
        "perplexity_difference_stderr": 0.0055, "perplexity_difference_ci95": [0.0662, 0.0878], "units_needed": 23,
        "verdict": "B predicts this text worse than A: the mean NLL is 0.0123 nats/token higher (95 % interval 0.0106 "
                   "to 0.0140), perplexity 6.293 against 6.216, and the difference is real at the 5 % level. By KL "
                   "divergence B is 24 times as far from A as rounding alone would put it.",
        "mean_kld": 0.02130001, "kld_stderr": 0.00026, "kld": tail(0.0213), "mean_kld_reverse": 0.0219,
        "kld_reverse_stderr": 0.00028, "kld_reverse": tail(0.0219),
        "mean_kld_same_head": 0.0187, "kld_same_head_stderr": 0.00021, "kld_of_head": 0.0026,
        "kld_by_confidence": [{"from": low, "to": high, "scored": 59276, "mean_kld": k, "kld_stderr": k / 25,
                               "same_top1": s} for low, high, k, s in
                              zip(bins, bins[1:], (0.041, 0.036, 0.027, 0.012, 0.0017), (.81, .91, .976, .997, .9999))],
        "kld_histogram": histogram(rng), "same_top1": 0.9342, "top5_overlap": 0.9521, "mean_delta_p": -0.0019,
        "rms_delta_p": 0.0391, "delta_p": {k: 0.0 for k in "min p01 p1 p5 p10 median p90 p95 p99 p999 max".split()},
        "p_correlation": 0.9953,
        "floor": {"label": "A in f32 against A in bf16 compute", "delta_nll": 0.00011, "delta_nll_stderr": 0.00009,
                  "p_value": 0.22, "mean_kld": 0.00088, "kld": tail(0.00088), "same_top1": 0.9874,
                  "top5_overlap": 0.9902, "rms_delta_p": 0.0079},
        "windows": windows, "positions": positions,
        "worst_windows": [{"window": i, "delta_nll": 0.09 - i / 200, "begin": 512 * i, "end": 512 * i + 512,
                           "text": excerpt} for i in range(10)],
        "worst_tokens": tokens,
        "layers": [{"layer": i, "type": "full_attention" if i % 4 == 3 else "linear_attention",
                    "residual_error": 0.012 + 0.0021 * i ** 0.9 + rng.gauss(0, 0.0004),
                    "output_error": 0.031 + 0.012 * (i % 4 == 3) + rng.gauss(0, 0.003),
                    "same_experts": 0.91 - 0.006 * i, "changed_experts": 0.012 + 0.0011 * i}
                   for i in range(n_layers)],
        "layers_cost": {"windows": 580, "tokens": 296960, "passes": 1, "bytes_read": 92320961536},
        "experts": {"tokens": 296960, "choices": 8, "count": 10240, "unused_a": 39, "unused_share_a": 0.0035,
                    "unused_b": 39, "unused_share_b": 0.0035, "verdict": "The text never reaches 39 experts.", "layers": [
            {"layer": i, "unused_a": i % 3, "unused_b": i % 3, "least_a": 12, "most_a": 51234, "least_b": 9,
             "most_b": 50987, "never_used_a": [7, 8][:i % 3], "never_used_b": [7, 8][:i % 3], "load_a": [12, 51234],
             "load_b": [9, 50987]} for i in range(n_layers)]},
        "repeat": {"command": "surprisal compare Qwen3.5-35B-A3B Qwen3.5-35B-A3B-MXFP4 --text data/wiki.test.raw "
                              "--join hf --context 512 --floor --html report.html"},
        "warnings": ["no figures by layer: the memory budget is too small"],
    }


def hostile():
    """Every string is an attack, numbers are at their ends."""
    def attack(value, key=None):
        if isinstance(value, dict):
            return {k: attack(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [attack(v) for v in value]
        return HOSTILE if isinstance(value, str) and key != "unit" else value

    document = attack(realistic(40, 3))
    document["windows"][0].update(delta_nll=1e300, nll_b=-1e300, mean_kld=None)
    document["windows"][1]["scored"] = 9007199254740992
    document["kld"]["max"] = 1e308
    document["units_needed"] = 1e300
    for key in ("perplexity_ratio", "p_correlation"):
        document[key] = -1e-300
    return document


def bare():
    """One unit, no KL divergence, token ids instead of a text."""
    document = realistic(1, 0)
    for key in list(document):
        if key.startswith(("kld", "mean_kld", "layers", "experts", "floor", "positions", "repeat", "top5")):
            del document[key]
    for key in ("delta_nll_stderr", "delta_nll_ci95", "p_value", "bootstrap", "units_needed",
                "perplexity_ratio_stderr", "perplexity_ratio_ci95", "perplexity_difference_stderr",
                "perplexity_difference_ci95"):
        document[key] = None
    document["b"]["tokenizer"] = document["a"]["tokenizer"] = None
    for row in document["worst_tokens"]:
        row.update(token=None, before=None, after=None, kld=None)
    for row in document["worst_windows"]:
        row["text"] = None
    return document


if __name__ == "__main__":
    json.dump({"realistic": realistic, "hostile": hostile, "bare": bare}[sys.argv[1]](), sys.stdout)
