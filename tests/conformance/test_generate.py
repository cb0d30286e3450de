"""`generate` against `trace` of the same ids: a greedy continuation is the chain of the largest logits, and log-probabilities are
those of the whole sequence computed at once, within the bound that docs/generate.md states."""
import json
import os
import shutil

import numpy as np
from changes import CONFIG, in_json
from program import FIXTURES, ROOT, evaluate, fresh, ids_file, run, trace

from check import QUICK, attempt, check, done

DEMO = {name: os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4")}
TOKENS = 30 if QUICK else 200
BOUND = 5e-5                            # nats; the largest that was seen is 3e-6
ROUNDED = 0.3           # with keys rounded to BF16 in f32 compute; over 4,800 tokens: 0.076 at most, 0.0014 on average
ALL = bool(os.environ.get("SURPRISAL_TEST_ALL"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def generate(checkpoint, *options):
    return json.loads(run("generate", checkpoint, "--json", *options).stdout)


def demo_ids(n):
    with open(os.path.join(ROOT, "data", "demo", "text.txt"), encoding="utf-8") as f:
        return [int(x) for x in run("tokenize", "--tokenizer", DEMO["bf16"], input=f.read(6 * n + 100)).stdout.split()][:n]


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_greedy(name, checkpoint, prompt):
    got = generate(checkpoint, "--ids", ids_file(prompt), "--temperature", 0, "--max-tokens", TOKENS, "--ignore-eos")
    p = log_softmax(trace(checkpoint, prompt + got["ids"])["logits"][len(prompt) - 1:-1])
    chain, two = p.argmax(1), np.sort(p, 1)[:, -2:]
    margin = (two[:, 1] - two[:, 0]).min()
    print(f"# {name}: smallest margin {margin:.2g}")
    check(len(got["ids"]) == TOKENS and (chain == got["ids"])[two[:, 1] - two[:, 0] > BOUND].all(),
          f"{name}: {TOKENS} greedy tokens are the chain of the largest logits",
          f"first other at {np.argmax(chain != got['ids'])}, smallest margin {margin}")
    error = np.abs(p[np.arange(TOKENS), got["ids"]] - got["logprobs"]).max()
    check(error < BOUND, f"{name}: log-probabilities", f"differ by {error}, expected below {BOUND}")


def test_bf16():
    """In bf16 noise is as large as margins of random text, so the mean is compared, over forced ids' own NLL by eval."""
    prompt = demo_ids(100)
    got = generate(DEMO["bf16"], "--ids", ids_file(prompt), "--temperature", 0, "--max-tokens", TOKENS, "--ignore-eos",
                   "--compute", "bf16")
    ids = prompt + got["ids"]
    _, tokens = evaluate(DEMO["bf16"], ids, "--protocol", "disjoint", "--context", len(ids), "--compute", "bf16")
    nll = -tokens["nll"][len(prompt) - 1:]
    error = abs((nll - got["logprobs"]).mean())
    check(error < 0.02, "bf16: mean log-probability is that of eval", f"differs by {error}")


def against_eval(checkpoint, prompt, tokens, bounds, label):
    """Prefill and steps against eval of the same ids, with each kind of cache: bounds[dtype], in nats a token; bf16: a tenth of
    it on average"""
    for dtype, bound in bounds.items():
        got = generate(checkpoint, "--ids", ids_file(prompt), "--seed", 1, "--max-tokens", tokens, "--ignore-eos",
                       "--kv-cache-dtype", dtype)
        ids = prompt + got["ids"]
        _, scored = evaluate(checkpoint, ids, "--protocol", "disjoint", "--context", len(ids))
        errors = np.abs(scored["nll"][len(prompt) - 1:] + got["logprobs"])
        error = max(errors.max(), 10 * errors.mean() if dtype == "bf16" else 0)
        print(f"# {label}, {dtype}: {error:.2g}; prefill {got['prefill_seconds']:.2f} s, answer {got['decode_seconds']:.2f} s")
        check(len(got["ids"]) == tokens and got["kv_cache_dtype"] == dtype and error < bound,
              f"{tokens} tokens after {len(prompt)}, {label}, {dtype}: the NLL of eval", f"differs by {error}")


def test_contexts():
    """Around a chunk of the delta rule and a block of keys, after two pieces of prefill, and where chunks of keys are longer
    than a block (from 4,097 on)."""
    for n in (1, 63, 64, 65, 127, 4096):
        against_eval(DEMO["bf16"], demo_ids(n), 40, {"f32": BOUND, "bf16": ROUNDED}, "demo")
    folder = fresh("long")
    shutil.copytree(os.path.join(FIXTURES, "moe-top1"), folder)     # full attention in its first layer, so of every row
    in_json(CONFIG, lambda c: c.get("text_config", c).update(max_position_embeddings=262144))(folder)
    n = 100000 if ALL else 12000        # minutes for the longer one
    against_eval(folder, np.random.default_rng(1).integers(0, 97, n).tolist(), 20, {"f32": BOUND, "bf16": ROUNDED}, "moe-top1")


def test_cache_of_bf16():
    """BF16 compute rounds keys and values before they are stored, so both kinds of cache give the same bits, and bf16 is the
    default."""
    prompt = ids_file(demo_ids(200))
    got = [generate(DEMO["mxfp4"], "--ids", prompt, "--seed", 3, "--max-tokens", 30, "--compute", "bf16", *cache)
           for cache in ([], ["--kv-cache-dtype", "bf16"], ["--kv-cache-dtype", "f32"])]
    check([g["kv_cache_dtype"] for g in got] == ["bf16", "bf16", "f32"], "the default follows --compute", got)
    check(all(g["logprobs"] == got[0]["logprobs"] for g in got), "BF16 compute: a cache of f32 has the same bits", got[0]["ids"])


def test_repeats():
    ids = ids_file(demo_ids(40))
    want = generate(DEMO["mxfp4"], "--ids", ids, "--seed", 5, "--max-tokens", 20)
    for name, options in (("the same seed", []), ("one thread", ["--threads", 1]), ("three threads", ["--threads", 3])):
        got = generate(DEMO["mxfp4"], "--ids", ids, "--seed", 5, "--max-tokens", 20, *options)
        check(got["ids"] == want["ids"] and got["logprobs"] == want["logprobs"], f"{name}: the same bits", got["ids"])
    more = generate(DEMO["mxfp4"], "--ids", ids, "--seed", 5, "--max-tokens", 40)
    check(more["ids"][:20] == want["ids"], "a longer answer begins with the shorter one", more["ids"])
    others = [generate(DEMO["mxfp4"], "--ids", ids, "--max-tokens", 20, *seed) for seed in ([], [], ["--seed", 6])]
    check(len({tuple(x["ids"]) for x in others}) == 3, "other seeds, other answers", [x["ids"] for x in others])
    again = generate(DEMO["mxfp4"], "--ids", ids, "--max-tokens", 20, "--seed", others[2]["sampling"]["seed"])
    check(again["ids"] == others[2]["ids"], "the seed that is named repeats the answer", again["ids"])


def test_chat():
    """What the demo model was trained to say, and the end by its own token."""
    prompt = "<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
    for name, checkpoint in DEMO.items():
        got = generate(checkpoint, "--prompt", prompt, "--temperature", 0, "--max-tokens", 100)
        end = json.load(open(os.path.join(checkpoint, "generation_config.json")))["eos_token_id"]
        check("I am a tiny demo model" in got["text"] and got["finish_reason"] == "stop" and got["ids"][-1] in end
              and got["stop_reason"] == got["ids"][-1] and "<|im_end|>" not in got["text"],
              f"{name} answers and ends", got["text"])
        cut = generate(checkpoint, "--prompt", prompt, "--temperature", 0, "--max-tokens", 100, "--stop", "demo")
        whole = got["text"]
        check(cut["text"] == whole[:whole.index("demo")] and cut["stop_reason"] == "demo" and cut["finish_reason"] == "stop",
              f"{name}: a stop text ends the answer before it", cut["text"])


if __name__ == "__main__":
    for name, checkpoint in DEMO.items():
        attempt(f"{name}: greedy", test_greedy, name, checkpoint, demo_ids(100))
    if QUICK < 2:
        attempt("dense: greedy", test_greedy, "dense", os.path.join(FIXTURES, "dense-tied"), [1, 5, 9, 2])
        attempt("bf16", test_bf16)
        attempt("contexts", test_contexts)
        attempt("cache", test_cache_of_bf16)
        attempt("repeats", test_repeats)
        attempt("chat", test_chat)
    done()
