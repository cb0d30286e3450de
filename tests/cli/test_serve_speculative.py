"""`serve --speculative mtp:N`: every answer has the bits that it has without drafts, whatever a request asks for, alone, beside others
and after a hit in the prefix cache; as many drafts are right as `generate` accepts; a text that the layer does not follow is given up."""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
from check import QUICK, attempt, check, done, skip
from program import ROOT, SHARED, SURPRISAL, ids_file, run
from serving import Server, message, same

CHECKPOINT = os.path.join(SHARED, "checkpoints", "tiny-mtp")
DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
TEMPLATE = os.path.join(ROOT, "data", "demo", "bf16", "chat_template.jinja")
CARD = ("--chat-template", TEMPLATE, "--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder",
        "--max-model-len", 1024)
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
WHO = [{"role": "user", "content": "Who are you?"}]
LONG = [{"role": "system", "content": "Answer at once. " * 30}, {"role": "user", "content": "What can you do?"}]
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 3, "maximum": 99}},
          "required": ["name", "age"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": PERSON}}]
WINDOW = 32                             # steps over which acceptance is judged (src/decode/speculation.h)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

HISTORY = {"prompt": "The history of", "max_tokens": 60, "ignore_eos": True, "return_token_ids": True}
GREEDY = {"temperature": 0, "max_tokens": 60, "return_token_ids": True}
NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
BODIES = (
    ("greedy", COMPLETIONS, {**HISTORY, "temperature": 0, "logprobs": 3}),
    ("three seeded choices", COMPLETIONS, {**HISTORY, "seed": 3, "n": 3, "temperature": 0.7}),
    ("echo, and logits of the prompt", COMPLETIONS, {**HISTORY, "temperature": 0, "echo": True, "logprobs": 2, "prompt_logprobs": 1}),
    ("one token", COMPLETIONS, {**HISTORY, "temperature": 0, "max_tokens": 1, "logprobs": 1}),
    ("a stop text", COMPLETIONS, {**HISTORY, "temperature": 0, "stop": ["protocol"]}),
    ("penalties", COMPLETIONS, {**HISTORY, "temperature": 0, "presence_penalty": 1, "frequency_penalty": 0.5, "repetition_penalty": 1.1}),
    ("bad words and a bias", COMPLETIONS, {**HISTORY, "temperature": 0, "bad_words": [" the"], "logit_bias": {"300": 5}, "min_tokens": 20}),
    ("a pattern", COMPLETIONS, {**HISTORY, "ignore_eos": False, "temperature": 0, "structured_outputs": {"regex": "( [a-z]{1,12}){3,9}\\."}}),
    ("a chat", CHAT, {**GREEDY, "messages": WHO, "logprobs": True, "top_logprobs": 2}),
    ("a seeded chat", CHAT, {"messages": WHO, "seed": 4, "max_tokens": 60, "return_token_ids": True}),
    ("a budget of thinking", CHAT, {**GREEDY, "messages": WHO, "thinking_token_budget": 5}),
    ("a schema", CHAT, {**GREEDY, **NO_THINKING, "messages": WHO, "logprobs": True,
                        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": PERSON}}}),
    ("tools", CHAT, {**GREEDY, **NO_THINKING, "messages": WHO, "tools": TOOLS}),
    ("a call that is demanded", CHAT, {**GREEDY, **NO_THINKING, "messages": WHO, "tools": TOOLS, "tool_choice": "required"}),
    ("a long prompt", CHAT, {**GREEDY, "messages": LONG, "logprobs": True}),
)


def figures(s):
    """-> steps with drafts, drafts, those that were right by their place"""
    text = s.request("GET", "/metrics")[2].decode()
    steps, drafts, accepted = (int(re.search(rf"^vllm:spec_decode_num_{name}_total{{.*?}} (\d+)", text, re.M)[1])
                               for name in ("drafts", "draft_tokens", "accepted_tokens"))
    places = [int(n) for n in re.findall(r"^vllm:spec_decode_num_accepted_tokens_per_pos_total{.*?} (\d+)", text, re.M)]
    check(sum(places) == accepted <= drafts, "accepted drafts are counted by their place", text[-2000:])
    return [steps, drafts, *places]


def counted(s, path, body):
    """-> the answer to a request, and the figures of it alone"""
    before = figures(s)
    answer = s.post(path, **body)
    return answer, [b - a for a, b in zip(before, figures(s))]


def choices_of(answer):
    return [{k: v for k, v in c.items() if k != "message"} if "text" in c else message(c) for c in answer["choices"]]


def test_bits(plain, s):
    wants = [choices_of(plain.post(path, **body)) for _, path, body in BODIES]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda b: s.post(b[1], **b[2]), BODIES))
        again = list(pool.map(lambda b: s.post(b[1], **b[2]), BODIES))
    for (name, path, body), want, first, second in zip(BODIES, wants, got, again):
        check(choices_of(first) == want, f"among others, {name}: the answer without drafts", f"{choices_of(first)}\n{want}"[:1500])
        check(choices_of(second) == want, f"once more, {name}: the same", f"{choices_of(second)}\n{want}"[:1500])
        if path == CHAT:
            check(same(first, s.stream(path, **body)), f"stream = answer: {name}")
    check(again[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64, "its prompt was in the cache", again[-1]["usage"])
    check(figures(s)[1] > 100 and figures(plain) == [0, 0], "only the second server drafts", (figures(s), figures(plain)))


def test_counts(s):
    """As generate, which has the layer's keys of the whole prompt: so does a request whose prompt was found."""
    for i, kind in enumerate(({"temperature": 0}, {"seed": 8})):
        body = {"messages": [{"role": "system", "content": f"Number {i}. " * 40}, *WHO], "max_tokens": 60, "return_token_ids": True, **kind}
        cold, of_cold = counted(s, CHAT, body)
        hit, of_hit = counted(s, CHAT, body)
        ids = ids_file(cold["prompt_token_ids"])
        option = ("--temperature", 0) if "temperature" in kind else ("--seed", kind["seed"])
        g = json.loads(run("generate", CHECKPOINT, "--json", "--ids", ids, "--max-tokens", 60, *option, "--speculative", "mtp:3").stdout)
        check(cold["choices"][0]["token_ids"] == g["ids"], f"{kind}: serve's answer is generate's", (cold["choices"][0]["token_ids"], g["ids"]))
        check(of_cold[2:] == [d["accepted"] for d in g["drafts"]], f"{kind}: as many drafts are right as with generate", (of_cold, g["drafts"]))
        check(of_hit == of_cold and hit["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64, f"{kind}: as many after a hit",
              (of_hit, of_cold, hit["usage"]))


def test_given_up():
    """The demo model's layer was not trained."""
    with Server(DEMO, "--max-model-len", 512, "--speculative", "mtp:2", "--max-num-seqs", 2) as s:
        body = {"prompt": "The Danube rises in", "temperature": 0, "max_tokens": 50, "ignore_eos": True, "return_token_ids": True}
        answer, (steps, drafts, *_) = counted(s, COMPLETIONS, body)
        check(steps == WINDOW and drafts == 2 * WINDOW, f"drafts are given up after {WINDOW} steps", (steps, drafts))
        g = json.loads(run("generate", DEMO, "--json", "--prompt", body["prompt"], "--temperature", 0, "--max-tokens", 50, "--ignore-eos").stdout)
        check(answer["choices"][0]["token_ids"] == g["ids"], "the answer is generate's", answer)
        line = next(x for x in s.lines if "memory beside the weights" in x)
        check(float(re.search(r"drafts ([\d.e-]+) GB", line)[1]) > 0, "what drafts take is said", line)
        answer, (steps, *_) = counted(s, COMPLETIONS, {**body, "prompt": "a " * 500})
        check(answer["usage"]["total_tokens"] == 512 and 0 < steps < answer["usage"]["completion_tokens"], "up to the end of the context",
              (answer["usage"], steps))


def test_refusals():
    for options, word in ((("--speculative", "mtp:9"), "mtp:N, with N from 1 to 8"), (("--speculative", "ngram"), "mtp:N"),
                          (("--speculative-config", '{"method":"mtp","num_speculative_tokens":2}'), "here it is --speculative mtp:N")):
        p = subprocess.run([SURPRISAL, "serve", DEMO, *options], capture_output=True, text=True, timeout=60)
        check(p.returncode == 2 and word in p.stderr, f"refused: {options}", p.stderr)
    small = os.path.join(ROOT, "data", "demo", "formats", "demo-Q8_0.gguf")
    p = subprocess.run([SURPRISAL, "serve", small, "--speculative", "mtp:1", "--port", "0"], capture_output=True, text=True, timeout=60)
    check(p.returncode == 1 and "mtp" in p.stderr.lower(), "a checkpoint without the layer is refused", p.stderr)


if QUICK > 1:
    skip("serve", "takes too long on an emulated CPU")
    done()
if os.path.exists(CHECKPOINT):
    with Server(CHECKPOINT, *CARD) as without, Server(CHECKPOINT, *CARD, "--speculative", "mtp:3", "--max-num-seqs", 5) as drafting:
        attempt("bits", test_bits, without, drafting)
        attempt("counts", test_counts, drafting)
        check(drafting.healthy() and drafting.stop() == 0, "the server ends in order", drafting.lines[-3:])
else:
    skip("a trained layer", "no ../shared/checkpoints/tiny-mtp")
for test in (test_given_up, test_refusals):
    attempt(test.__name__, test)
done()
