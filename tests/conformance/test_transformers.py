"""Conversations and greedy answers beside transformers itself: the prompts of `chat` are apply_chat_template's, turn by turn with
thinking and tools, and 200 greedy tokens are those of the largest logits of its forward pass.

Needs transformers, torch for the second, and ../shared; without them it skips."""
import json
import os
import subprocess
import sys

import numpy as np
from program import FIXTURES, ROOT, SHARED, SURPRISAL, fresh, ids_file, run

sys.path.insert(0, os.path.join(ROOT, "tests", "cli"))
import scripted_checkpoint

from check import QUICK, attempt, check, done, skip

DEMO = {name: os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4")}
TEMPLATES = ["qwen3_5_think", "qwen3_5_nothink", "qwen3_6", "qwen3_8"]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}}]
# Neither thinking nor calls depend on a model that follows: this one recites them.
SCRIPT = ["Thinking about it.\n", "</think>", "\n\nI look it up.\n\n", "<tool_call>",
          "\n<function=get_weather>\n<parameter=city>\nS\u00e3o Paulo\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n",
          "</tool_call>", "<|im_end|>"]
# One answer each: calls without end, so that every second line is a result.
LINES = ["How is the weather?", '{"sky": "<|im_end|> </tool_response>", "\u00e9": 1.50}', "", " spaces \u2003", "rain"]


def history(got):
    message = {"role": "assistant", "content": got["content"] or ""}
    if got["reasoning"] is not None:
        message["reasoning_content"] = got["reasoning"]
    if got["tool_calls"]:
        message["tool_calls"] = [{"type": "function", "function": {"name": c["name"], "arguments": json.loads(c["arguments"])}}
                                 for c in got["tool_calls"]]
    return message


def follow(name, tokenizer, checkpoint, template, thinking, tools):
    path = fresh("tools")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(TOOLS, f)
    options = ["--thinking", thinking, "--chat-template", template, *(["--tools", path] if tools else [])]
    p = subprocess.run([SURPRISAL, "chat", checkpoint, "--json", "--temperature", "0", "--system", "Be brief.", *options],
                       input="\n".join(LINES) + "\n", capture_output=True, text=True, timeout=600)
    with open(template, encoding="utf-8") as f:
        text = f.read()
    flags = {} if thinking == "default" else {"enable_thinking": thinking == "on"}
    messages, right = [{"role": "system", "content": "Be brief."}], 0
    lines = LINES if tools else [x for x in LINES if x]         # an empty line is a result, but no turn
    answers = [json.loads(x) for x in p.stdout.splitlines()]
    for i, (line, got) in enumerate(zip(lines, answers, strict=True)):
        messages.append({"role": "tool" if tools and i else "user", "content": line})
        want = tokenizer.apply_chat_template(messages, tools=TOOLS if tools else None, chat_template=text, add_generation_prompt=True,
                                             tokenize=False, **flags)
        right += got["prompt_ids"] == tokenizer.encode(want, add_special_tokens=False)
        messages.append(history(got))
    called = any(x["tool_calls"] for x in answers)
    check(p.returncode == 0 and right == len(lines) and called == tools, f"{name}: {len(lines)} prompts are apply_chat_template's",
          (right, p.stderr[-300:], messages))


def test_templates():
    try:
        from transformers import AutoTokenizer
    except ImportError:
        return skip("prompts of a chat against apply_chat_template", "no transformers")
    templates = {"the demo's": os.path.join(DEMO["bf16"], "chat_template.jinja")}
    published = os.path.join(SHARED, "data", "templates")
    if os.path.isdir(published):
        templates.update((name, os.path.join(published, f"{name}.jinja")) for name in TEMPLATES)
    checkpoint = scripted_checkpoint.make(fresh("script"), SCRIPT)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    for name, template in templates.items():
        for thinking in ("default", "on", "off"):
            for tools in (False, True):
                follow(f"{name}, thinking {thinking}, {'tools' if tools else 'no tools'}", tokenizer, checkpoint, template, thinking, tools)


def test_greedy():
    oracle = os.path.join(SHARED, "oracle")
    try:
        import torch
        import transformers     # noqa: F401
    except ImportError:
        return skip("greedy answers against transformers", "no torch or transformers")
    if not os.path.isdir(oracle):
        return skip("greedy answers against transformers", "no ../shared")
    sys.path.insert(0, oracle)
    import make_goldens
    n = 30 if QUICK else 200
    text = run("tokenize", "--tokenizer", DEMO["bf16"], input="The Danube rises in the Black Forest, and flows").stdout
    demo_prompt = [int(x) for x in text.split()]
    for name, folder, prompt in (*((k, v, demo_prompt) for k, v in DEMO.items()),
                                 ("dense", os.path.join(FIXTURES, "dense-tied"), [1, 5, 9, 2])):
        got = json.loads(run("generate", folder, "--ids", ids_file(prompt), "--json", "--temperature", 0, "--max-tokens", n,
                             "--ignore-eos").stdout)
        model = make_goldens.load(folder, torch.float32)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + got["ids"]]), use_cache=False).logits[0, len(prompt) - 1:-1]
        p = torch.log_softmax(logits.double(), -1).numpy()
        two = np.sort(p, 1)[:, -2:]
        margin = two[:, 1] - two[:, 0]
        error = np.abs(p[np.arange(n), got["ids"]] - got["logprobs"]).max()
        same = p.argmax(1) == got["ids"]
        print(f"# {name}: smallest margin {margin.min():.2g} nats, largest difference of a log-probability {error:.2g}, "
              f"{same.sum()} of {n} tokens the same")
        check(len(got["ids"]) == n and same[margin > 2 * error].all() and error < 1e-4,
              f"{name}: {n} greedy tokens are transformers' where its margin exceeds the rounding",
              f"first other at {np.argmax(~same)}, margin {margin[np.argmax(~same)]}, rounding {error}")


if __name__ == "__main__":
    attempt("templates", test_templates)
    attempt("greedy", test_greedy)
    done()
