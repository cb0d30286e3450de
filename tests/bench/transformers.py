"""Speed against transformers in float32, measured in one run on one machine.

    python tests/bench/transformers.py [--windows 16] [--rounds 3] [--threads 2] [CHECKPOINT ...]

Both score the first windows of 2,048 of WikiText-2's test text, in turns, with the same number of threads.
transformers gets its fastest batch size and attention, and its model loaded beforehand; surprisal's time is that of
the whole process, start and reading the checkpoint included.  Needs torch, transformers and ../shared.
"""
import argparse
import os
import time

from setting import PROCESSORS, needs_oracle

torch, make_goldens = needs_oracle()
from program import ROOT, SHARED, evaluate

CONTEXT = 2048


def fastest(model, nll, windows):
    """-> (attention, batch) of the highest speed on the first windows, each tried once after a warm-up"""
    speed = {}
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        nll(model, windows[:1])
        for batch in (1, 2, 4, 8):
            if batch <= len(windows):
                start = time.perf_counter()
                nll(model, windows[:batch])
                speed[attention, batch] = batch * CONTEXT / (time.perf_counter() - start)
    print("transformers, tokens/s: " + ", ".join(f"{a} x {b}: {s:,.0f}" for (a, b), s in speed.items()))
    return max(speed, key=speed.get)


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("checkpoints", nargs="*", help="default: both demo checkpoints")
    options.add_argument("--windows", type=int, default=16)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=PROCESSORS)
    options = options.parse_args()
    torch.set_num_threads(options.threads)
    demo = [next((p for p in (os.path.join(ROOT, "data", "demo", x), os.path.join(SHARED, "checkpoints", "tiny-" + x))
                  if os.path.exists(p)), None) for x in ("bf16", "mxfp4")]
    for checkpoint in options.checkpoints or demo:
        with open(os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw"), encoding="utf-8", newline="") as f:
            text = f.read()
        tokenizer = make_goldens.Tokenizer.from_file(os.path.join(checkpoint, "tokenizer.json"))
        ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
        count = min(options.windows, len(ids) // CONTEXT)
        windows = ids[:count * CONTEXT].view(count, CONTEXT)
        model = make_goldens.load(checkpoint, torch.float32)

        def nll(model, part):
            with torch.inference_mode():
                return make_goldens.nll(model, part)

        attention, batch = fastest(model, nll, windows)
        model.set_attn_implementation(attention)
        theirs, ours, alone = [], [], 0
        for _ in range(options.rounds):
            start = time.perf_counter()
            a = torch.cat([nll(model, windows[i:i + batch]) for i in range(0, count, batch)])
            theirs.append(time.perf_counter() - start)
            start = time.perf_counter()
            summary, b = evaluate(checkpoint, windows.numpy(), "--protocol", "disjoint", "--context", CONTEXT,
                                  "--threads", options.threads)
            ours.append(time.perf_counter() - start)
            alone = max(alone, summary["tokens_per_second"])
        a, b, tokens = a.double().mean().item(), b["nll"].mean(), count * CONTEXT
        print(f"{checkpoint}: {count} windows of {CONTEXT}, {options.threads} threads, best of {options.rounds}\n"
              f"  transformers float32 ({attention}, batch {batch}): {tokens / min(theirs):10,.0f} tokens/s, mean NLL {a:.7f}\n"
              f"  surprisal {summary['compute']} ({summary['isa']}):            {tokens / min(ours):10,.0f} tokens/s, "
              f"mean NLL {b:.7f}; the evaluation alone {alone:,.0f}\n"
              f"  surprisal is {min(theirs) / min(ours):.2f} times as fast; NLL differs by {abs(a - b):.1e}", flush=True)


if __name__ == "__main__":
    main()
