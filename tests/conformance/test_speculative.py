"""`generate --speculative mtp:N`: the same answers bit for bit as without, on the demo model with a trained MTP layer
(../shared/checkpoints/tiny-mtp) and with random layers in every storage; how many drafts were accepted, against the layer in float64."""
import json
import os

import numpy as np
from mtp_layer import add_layer, layer, slot_inputs
from program import ROOT, SHARED, evaluate, ids_file, run
from test_mtp import CASES, CHECKPOINT, GOLDENS

from check import QUICK, attempt, check, done, skip

WINDOW = 32                             # steps over which acceptance is judged (src/decode/speculation.h)
WIKITEXT = os.path.join(SHARED, "data", "wikitext-2-raw", "wiki.test.raw")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def generate(checkpoint, *options):
    return json.loads(run("generate", checkpoint, "--json", *options).stdout)


def counts_of(drafts):
    return [(d["checked"], d["accepted"]) for d in drafts]


def same(name, checkpoint, n, *options):
    """With n drafts and without: the same answer -> the one with them"""
    plain, drafted = generate(checkpoint, *options), generate(checkpoint, *options, "--speculative", f"mtp:{n}")
    parts = ("ids", "logprobs", "text", "finish_reason", "stop_reason", "completion_tokens")
    other = [k for k in parts if plain[k] != drafted[k]]
    check(not other and "drafts" not in plain, f"{name}: mtp:{n} gives the same answer", f"not {other}: {drafted['ids']}, {plain['ids']}")
    return drafted


# ---- a trained layer ---------------------------------------------------------------------------------

KINDS = (("--temperature", 0), ("--seed", 5), ("--temperature", 0, "--compute", "bf16", "--threads", 1),
         ("--seed", 6, "--kv-cache-dtype", "bf16", "--presence-penalty", 1, "--threads", 1))


def rates(answers):
    """-> the share of first drafts that were accepted, over all answers"""
    checked, accepted = np.sum([counts_of(a["drafts"])[0] for a in answers], 0)
    return accepted / checked


def test_chats():
    with open(os.path.join(GOLDENS, "mtp.json")) as f:
        golden = json.load(f)
    answers = [same("a chat", CHECKPOINT, n, "--ids", ids_file(golden["greedy_prompt"]), "--max-tokens", len(golden["greedy_ids"]), *kind)
               for kind in KINDS[:1 if QUICK else 4] for n in (1, 3, 8)]
    check(answers[0]["ids"] == golden["greedy_ids"][:len(answers[0]["ids"])], "a greedy answer is the golden one", answers[0]["ids"])
    check(rates(answers[:3]) > 0.9 and all(a["drafts_stopped"] is None for a in answers), "its first drafts are nearly all right",
          rates(answers[:3]))


def test_dictionary():
    answers = [same("dictionary text", CHECKPOINT, n, "--prompt", "The history of", "--max-tokens", 120, "--ignore-eos", *kind)
               for kind in KINDS[:3:2] for n in (1, 3)]
    check(0.5 < rates(answers) < 0.95, "greedy dictionary text: most first drafts are right", rates(answers))
    # a rejected draft makes the next ones worthless, so each is accepted less often than the one before
    falls = all(np.diff([a for _, a in counts_of(answer["drafts"])]).max(initial=0) <= 0 for answer in answers)
    check(falls, "later drafts are accepted less often", [counts_of(a["drafts"]) for a in answers])


def test_wikitext():
    if not os.path.exists(WIKITEXT):
        return skip("WikiText", "no ../shared/data/wikitext-2-raw")
    with open(WIKITEXT, encoding="utf-8") as f:
        text = f.read()[2000:4000]
    for kind in KINDS[:1 if QUICK else 4]:
        a = same("WikiText", CHECKPOINT, 3, "--prompt", text, "--max-tokens", 80, "--ignore-eos", *kind)
        (checked, accepted), *_ = counts_of(a["drafts"])
        check(checked == WINDOW and accepted < WINDOW / 2 and WINDOW < a["drafts_stopped"] < 80,
              f"WikiText is given up after {WINDOW} steps", f"{counts_of(a['drafts'])}, after {a['drafts_stopped']}")


def test_turns():
    """The turns of a conversation, where the layer goes back with the model."""
    template = os.path.join(ROOT, "data", "demo", "bf16", "chat_template.jinja")
    turns = "Who are you?\nWhat can you do?\nThanks!\n" + "Tell me about rivers. " * 8 + "\nWho are you?\n"
    options = ("chat", CHECKPOINT, "--chat-template", template, "--temperature", 0, "--json", "--max-tokens", 40)
    plain, drafted = ([json.loads(x) for x in run(*options, *more, input=turns).stdout.splitlines()]
                      for more in ((), ("--speculative", "mtp:2")))
    check(len(plain) == 5 and [(a["ids"], a["logprobs"], a["cached_tokens"]) for a in plain]
          == [(a["ids"], a["logprobs"], a["cached_tokens"]) for a in drafted], "turns of a chat have the same answers", drafted)
    cold = [generate(CHECKPOINT, "--ids", ids_file(a["prompt_ids"]), "--temperature", 0, "--max-tokens", 40, "--speculative", "mtp:2")
            for a in drafted]
    check(sum(a["cached_tokens"] for a in drafted) > 0 and [a["drafts"] for a in cold] == [a["drafts"] for a in drafted],
          "and the drafts of a cold start", [counts_of(a["drafts"]) for a in drafted])


# ---- random layers -------------------------------------------------------------------------------------

def chain(w, c, tokens, h, n):
    """The n drafts after tokens, all but the last of which have their state in h"""
    x, drafts = slot_inputs(w, c, np.array(tokens[1:]), h[:len(tokens) - 1]), []
    for _ in range(n):
        m = layer(w, c, x)[-1:]
        drafts.append(int((m @ w["head"].T).argmax()))
        x = np.concatenate([x, slot_inputs(w, c, np.array(drafts[-1:]), m)])
    return drafts


def expected(w, c, ids, h, prompt, n_drafts):
    """-> (checked, accepted) of each draft, and the tokens after which drafts are given up"""
    counts, steps, last = np.zeros((n_drafts, 2), int), [], prompt
    while len(ids) - last - 2 > 0:
        drafts = chain(w, c, ids[:last + 1], h, min(n_drafts, len(ids) - last - 2))
        right = next((i for i, d in enumerate(drafts) if d != ids[last + 1 + i]), len(drafts))
        counts[:len(drafts), 0] += 1
        counts[:right, 1] += 1
        steps.append((len(drafts), right))
        last += 1 + right
        if len(steps) >= WINDOW and 2 * sum(r for _, r in steps[-WINDOW:]) < sum(n for n, _ in steps[-WINDOW:]):
            return counts, last + 1 - prompt
    return counts, None


def test_random(what, fixture, storage, prefix):
    folder, w, c = add_layer(fixture, 20, storage, prefix)
    prompt, tokens = np.random.default_rng(20).integers(0, c["vocab_size"], 9).tolist(), 30 if QUICK else 45
    for n, kind in ((2, ("--temperature", 0)), (3, ("--seed", 4))):
        got = same(what, folder, n, "--ids", ids_file(prompt), "--max-tokens", tokens, "--ignore-eos", *kind)
        ids = prompt + got["ids"]
        _, scored = evaluate(folder, ids, "--context", len(ids), "--hidden")
        counts, stopped = expected(w, c, ids, scored["hidden"].astype(float), len(prompt), n)
        check(counts_of(got["drafts"]) == [tuple(x) for x in counts] and got["drafts_stopped"] == stopped,
              f"{what}, mtp:{n}: as many drafts accepted as in float64",
              f"{counts_of(got['drafts'])}, stopped {got['drafts_stopped']}, expected {counts.tolist()}, {stopped}")


def main():
    if os.path.exists(CHECKPOINT) and os.path.exists(GOLDENS):
        for test in (test_chats, test_dictionary, test_wikitext, test_turns):
            attempt(test.__name__, test)
    else:
        skip("a trained layer", "no ../shared/checkpoints/tiny-mtp")
    for case in CASES:
        attempt(case[0], test_random, *case)
    done()


if __name__ == "__main__":
    main()
