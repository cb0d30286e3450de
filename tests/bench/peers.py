"""One checkpoint evaluated by transformers, by surprisal and, if asked, by llama.cpp: side by side, in one run.

    python tests/bench/peers.py CHECKPOINT (--ids FILE | --tokens N) [--compute f32|bf16] [--context 2048]
    LLAMA_PERPLEXITY=.../llama-perplexity python tests/bench/peers.py ... --gguf FILE --text FILE [--no-transformers]

--tokens: random ids.  Windows of the context, one after the other, every token but a window's first scored.
transformers gets one window at a time, its model loaded and warmed up beforehand, and its logits made in pieces of 256
positions; its time is that of the windows.  surprisal's is that of scoring, which includes reading the checkpoint.
llama.cpp tokenizes --text by itself and scores the second half of as many windows: compare its speed, and its NLL only
when --ids has the ids of that text.  Its time is that of the windows, from before the first to its perplexity.
Peak memory is that of each side's process.
"""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import time

from setting import PROCESSORS, check_needs, needs_oracle, skip

PIECE = 256
NAMES = {"f32": "float32", "bf16": "bfloat16"}


# ---- transformers, in a process of its own -------------------------------------------

def load(torch, make_goldens, checkpoint, dtype):
    """As its users load a model; a quantized one, which needs packages of its own, by the oracle."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with open(os.path.join(checkpoint, "config.json")) as f:
        if "quantization_config" in json.load(f):
            return make_goldens.load(checkpoint, dtype)
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype).eval()


def nll_of_window(torch, model, ids):
    """-> sum of NLL in nats over ids[1:]"""
    hidden = model.model(input_ids=ids[None], use_cache=False).last_hidden_state[0, :-1]
    head, total = model.get_output_embeddings(), 0.0
    for i in range(0, len(hidden), PIECE):
        logits = head(hidden[i:i + PIECE]).float()
        targets = ids[1 + i:1 + i + len(logits)]
        total += torch.nn.functional.cross_entropy(logits, targets, reduction="none").double().sum().item()
    return total


def transformers_side(checkpoint, ids, context, compute, threads):
    """Prints JSON: seconds, mean_nll."""
    torch, make_goldens = needs_oracle()
    import numpy as np
    torch.set_num_threads(threads)
    windows = torch.from_numpy(np.loadtxt(ids, dtype=np.int64)).view(-1, context)
    with torch.inference_mode():
        model = load(torch, make_goldens, checkpoint, getattr(torch, NAMES[compute]))
        nll_of_window(torch, model, windows[0][:min(context, 128)])         # warm-up
        start = time.perf_counter()
        total = sum(nll_of_window(torch, model, w) for w in windows)
        seconds = time.perf_counter() - start
    print(json.dumps(dict(seconds=seconds, mean_nll=total / (windows.numel() - len(windows)))))


# ---- the sides -------------------------------------------------------------------------

def measured(command):
    """-> lines of standard output and error as (when, line), peak memory in bytes"""
    p = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    lines = [(time.perf_counter(), line) for line in p.stdout]
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        raise RuntimeError(f"{command[0]}: exit status {p.returncode}: {tail(lines)}")
    return lines, usage.ru_maxrss * 1024


def tail(lines):
    return "".join(line for _, line in lines).strip()[-800:]


def found(pattern, lines):
    """-> when the first line with the pattern came, its number"""
    for when, line in lines:
        match = re.search(pattern, line)
        if match:
            return when, float(match[1])
    raise RuntimeError(f"no line with '{pattern}': {tail(lines)}")


def memory_for(checkpoint, compute, parameters):
    """None, or why there is too little memory for transformers"""
    with open("/proc/meminfo") as f:
        free = 1024 * int(re.search(r"MemAvailable: +(\d+)", f.read())[1])
    needed = parameters * (4 if compute == "f32" else 2)
    return f"weights of {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB free" if needed > 0.85 * free else None


def by_transformers(o, compute, ids):
    lines, peak = measured([sys.executable, os.path.abspath(__file__), o.checkpoint, "--ids", ids, "--context", o.context,
                            "--threads", o.threads, "--compute", compute, "--transformers-side"])
    result = [line for _, line in lines if line.startswith("{")][-1]        # beside warnings
    return json.loads(result) | dict(name=f"transformers {NAMES[compute]}", peak=peak)


def by_surprisal(o, compute, windows, protocol="disjoint"):
    from program import evaluate
    s, _ = evaluate(o.checkpoint, windows, "--protocol", protocol, "--context", o.context, "--threads", o.threads,
                    "--compute", compute, *(["--memory", o.memory] if o.memory else []))
    return dict(name=f"surprisal {compute}" + (" (llama)" if protocol == "llama" else ""), seconds=s["seconds"],
                mean_nll=s["mean_nll"], peak=s["peak_rss_bytes"])


def by_llama(o, n_windows):
    """Its own tokens of the text, the second half of each window scored.

    Timed by its lines: the "prompt eval time" that it can print (--perf) counts the first window's tokens but
    only the time after it, since its clock starts anew when its output buffer grows."""
    lines, peak = measured([os.environ["LLAMA_PERPLEXITY"], "-m", o.gguf, "-f", o.text, "-c", o.context, "-b", o.context,
                            "-t", o.threads, "--chunks", n_windows])
    start, n = found(r"calculating perplexity over (\d+) chunks", lines)
    end, ppl = found(r"Final estimate: PPL = ([\d.]+)", lines)
    return dict(name="llama.cpp " + os.path.basename(o.gguf), seconds=(end - start) * n_windows / n, mean_nll=math.log(ppl),
                peak=peak)


def surprisal_computes():
    """What `eval --help` offers, fastest last."""
    from program import run
    line = next(x for x in run("eval", "--help").stdout.splitlines() if x.strip().startswith("--compute"))
    return [c for c in NAMES if re.search(rf"\b{c}\b", line)]


# ---- the table -------------------------------------------------------------------------

def show(sides, tokens):
    print(f"{'':34} {'tokens/s':>10} {'peak GB':>9} {'mean NLL':>12}")
    for s in sides:
        print(f"{s['name']:34} {tokens / s['seconds']:10,.1f} {s['peak'] / 1e9:9.2f} {s['mean_nll']:12.7f}")
    ours = [s for s in sides if s["name"].startswith("surprisal")]
    for other in (s for s in sides if s not in ours):
        for s in ours:
            if ("llama" in s["name"]) == ("llama" in other["name"]):
                print(f"{s['name']} to {other['name']}: {other['seconds'] / s['seconds']:.2f} times as fast, "
                      f"{s['peak'] / other['peak']:.2f} of the memory, NLL differs by {s['mean_nll'] - other['mean_nll']:+.2e}")


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--ids", help="file of decimal ids; whole windows of it are used")
    p.add_argument("--tokens", type=int, help="as many random ids (with --ids: at most as many of the file)")
    p.add_argument("--compute", choices=list(NAMES), help="this type alone (default: both)")
    p.add_argument("--context", type=int, default=2048)
    p.add_argument("--threads", type=int, default=PROCESSORS)
    p.add_argument("--memory", help="surprisal's --memory")
    p.add_argument("--gguf", help="the checkpoint for llama.cpp")
    p.add_argument("--text", help="the text for llama.cpp")
    p.add_argument("--no-transformers", action="store_true", help="llama.cpp alone")
    p.add_argument("--transformers-side", action="store_true", help=argparse.SUPPRESS)
    o = p.parse_args()
    if not o.ids and not o.tokens:
        p.error("neither --ids nor --tokens")
    if o.gguf and (not o.text or "LLAMA_PERPLEXITY" not in os.environ):
        p.error("--gguf needs --text and the variable LLAMA_PERPLEXITY")
    if o.no_transformers and not o.gguf:
        p.error("--no-transformers leaves nothing to compare with: it needs --gguf")
    return o


def main():
    o = parse()
    if o.transformers_side:
        return transformers_side(o.checkpoint, o.ids, o.context, o.compute, o.threads)
    check_needs()           # without loading torch: a process's peak memory begins with its parent's
    import numpy as np
    from program import ids_file, run
    if not os.path.exists(o.checkpoint):
        skip(f"no checkpoint at {o.checkpoint}")
    inspection = json.loads(run("inspect", o.checkpoint, "--json").stdout)
    if o.ids:
        ids = np.loadtxt(o.ids, dtype=np.int64).ravel()[:o.tokens]
    else:
        ids = np.random.default_rng(0).integers(0, inspection["architecture"]["vocab_size"], o.tokens)
    n = len(ids) // o.context
    if not n:
        sys.exit(f"peers.py: {len(ids)} ids, fewer than one window of {o.context}")
    windows = ids[:n * o.context]
    sides, path, offered = [], ids_file(windows), surprisal_computes()
    print(f"{o.checkpoint}: {n} windows of {o.context}, {o.threads} threads", flush=True)
    for compute in [] if o.no_transformers else [o.compute] if o.compute else NAMES:
        why = memory_for(o.checkpoint, compute, inspection["parameters"])
        if why:
            print(f"transformers {NAMES[compute]}: left out: {why}")
        else:
            sides.append(by_transformers(o, compute, path))
        if compute in offered:
            sides.append(by_surprisal(o, compute, windows))
        else:
            print(f"surprisal {compute}: left out: eval does not offer it")
    if o.gguf:
        sides.append(by_llama(o, n))
        sides += [by_surprisal(o, compute, windows, "llama") for compute in offered if o.compute in (None, compute)]
    show(sides, len(windows))


if __name__ == "__main__":
    main()
