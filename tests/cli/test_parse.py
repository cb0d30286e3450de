"""`parse`: a model's answer to a message, its options and its deltas.  tests/unit/chat/test_answer.c has the cases of the parser."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
from check import check, done, skip
from program import ROOT, SHARED, SURPRISAL, fresh

DEMO = os.path.join(ROOT, "data", "demo", "bf16")
QWEN = os.path.join(SHARED, "data", "tokenizers", "qwen3.5")


def file(value):
    path = fresh("tools")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f)
    return path


TOOLS = file([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}])
CALL = "<tool_call>\n<function=get_weather>\n<parameter=city>\n東京 🏯 \"q\"\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>"
ARGUMENTS = '{"city": "東京 🏯 \\"q\\"", "days": 3}'
CALLED = [{"name": "get_weather", "arguments": ARGUMENTS}]


def parse(text, *options):
    data = text if isinstance(text, bytes) else text.encode()
    return subprocess.run([SURPRISAL, "parse", *options], input=data, capture_output=True, timeout=120)


def message(reasoning, content, calls, end):
    return {"reasoning": reasoning, "content": content, "tool_calls": calls, "finish_reason": end}


# name, answer, options, message
MESSAGES = [
    ("thinking and an answer", "why\n</think>\n\nA", [], message("why", "A", [], "stop")),
    ("a call", f"why\n</think>\n\n{CALL}", ["--tools", TOOLS], message("why", None, CALLED, "tool_calls")),
    ("without tools a call is text", CALL, ["--thinking", "off"], message(None, CALL, [], "stop")),
    ("--thinking off", "Hi</think>", ["--thinking", "off"], message(None, "Hi", [], "stop")),
    ("--reasoning-parser none", "a</think>b", ["--reasoning-parser", "none"], message(None, "a</think>b", [], "stop")),
    ("--tool-choice none", f"Hi {CALL}", ["--tools", TOOLS, "--thinking", "off", "--tool-choice", "none"], message(None, "Hi", [], "stop")),
    ("--end length", CALL[:CALL.index(" 🏯")], ["--tools", TOOLS, "--thinking", "off", "--end", "length", "--tool-call-parser", "qwen3_xml"],
     message(None, None, [{"name": "get_weather", "arguments": '{"city": "東京'}], "length")),
    ("NUL and control characters", "a\0\x01\x1b\"\\", ["--thinking", "off"], message(None, "a\0\x01\x1b\"\\", [], "stop")),
    ("nothing", "", [], message(None, None, [], "stop")),
]
# name, answer, options, status, a part of the message
REFUSALS = [
    ("bytes that are no UTF-8", b"a\xff", [], 1, "invalid UTF-8 at byte 1"),
    ("tools that are no JSON", "", ["--tools", file("x")[:-1]], 1, "No such file"),
    ("tools that are no list", "", ["--tools", file({"a": 1})], 1, "tools: a mapping, expected a list"),
    ("a tool without a name", "", ["--tools", file([{}])], 1, "tools[0] has no function.name"),
    ("another parser", "", ["--reasoning-parser", "deepseek"], 2, "qwen3 or none"),
    ("another end", "", ["--end", "eos"], 2, "stop or length"),
    ("pieces of nothing", "", ["--stream=0"], 2, "a whole number from 1"),
    ("a tokenizer that is missing", "", ["--tokenizer", "/nowhere"], 1, "/nowhere"),
]


def joined(lines):
    """The message that deltas give"""
    m = message("", "", [], None)
    for line in lines:
        delta = json.loads(line)
        check(len(delta) == 1, "a delta has one member", delta) if len(delta) != 1 else None
        for key, value in delta.items():
            if key == "tool_calls":
                call = value[0]
                if "name" in call:
                    m["tool_calls"].append({"name": call["name"], "arguments": ""})
                m["tool_calls"][call["index"]]["arguments"] += call["arguments"]
            elif key == "finish_reason":
                m[key] = value
            else:
                m[key] += value
    return {**m, "reasoning": m["reasoning"] or None, "content": m["content"] or None}


def test_messages():
    for name, text, options, expected in MESSAGES:
        r = parse(text, *options)
        got = json.loads(r.stdout) if r.returncode == 0 else r.stderr
        check(got == expected, name, got)
        for pieces in (["--stream"], ["--stream", "1"], ["--stream=5"], ["--stream", "--tokenizer", DEMO], ["--stream", "3", "--tokenizer", DEMO]):
            r = parse(text, *options, *pieces)
            got = joined(r.stdout.decode().split("\n")[:-1]) if r.returncode == 0 else r.stderr
            check(got == expected, f"{name}: {' '.join(pieces[:2])}", got)


def test_refusals():
    for name, text, options, status, says in REFUSALS:
        r = parse(text, *options)
        check(r.returncode == status and says in r.stderr.decode() and not r.stdout, name, (r.returncode, r.stderr))


def test_tokens():
    """Tags are tokens of their own for a real tokenizer, and emoji are cut by its tokens."""
    if not os.path.isdir(QWEN):
        return skip("answers by the tokenizer of Qwen3.5", f"no {QWEN}")
    text = f"🏯🏯 why?\n</think>\n\n{CALL}"
    r = parse(text, "--tools", TOOLS, "--tokenizer", QWEN, "--stream")
    check(joined(r.stdout.decode().split("\n")[:-1]) == message("🏯🏯 why?", None, CALLED, "tool_calls") and "\ufffd" not in r.stdout.decode(),
          "deltas of one token of Qwen3.5", r.stdout)


if __name__ == "__main__":
    test_messages()
    test_refusals()
    test_tokens()
    done()
