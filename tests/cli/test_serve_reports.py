"""`serve`: what users of other servers reported (../shared/design/SERVE.md, section 8, by its numbers) does not happen here."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import scripted_checkpoint
from check import QUICK, attempt, check, done, skip
from program import ROOT, fresh
from serving import Server, message, same, whole

DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
CARD = ("--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder", "--max-model-len", 1024)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {p: {"type": "string"} for p in parameters}}}}
         for name, parameters in (("write_file", ["text"]), ("get_weather", ["city"]), ("now", []))]
ASK = {"messages": [{"role": "user", "content": "Go on"}], "tools": TOOLS, "temperature": 0}
CODE = ["if a:\n", "    print('</parameter>')\n", "    s = 'call <function=now> here, <parameter=text> too'\n", "    say(s)\n", "# the end"]


def say(name, *pieces):
    """-> a checkpoint that thinks, and then says this"""
    return scripted_checkpoint.make(fresh(name), ["Hm", "m.\n", "</think>", "\n\n", "<tool_call>", *pieces, "</tool_call>", "<|im_end|>"])


def test_code():
    """A file in a call: it says </parameter> and begins functions; its text comes while it is written."""
    with Server(say("code", "\n<function=write_file>\n<parameter=text>\n", *CODE, "\n</parameter>\n</function>\n"), *CARD) as s:
        a, events = s.post(CHAT, **ASK), s.stream(CHAT, **ASK)
        m = message(a["choices"][0])
        check([c["name"] for c in m["tool_calls"]] == ["write_file"] and json.loads(m["tool_calls"][0]["arguments"]) == {"text": "".join(CODE)}
              and m["finish_reason"] == "tool_calls", "[3] </parameter> in code does not cut a file", m)
        check(same(a, events), "[2] a stream has the calls of the answer", whole(events))
        texts = [c["function"]["arguments"] for e in events for ch in e["choices"] for c in ch["delta"].get("tool_calls", ())]
        check(len([t for t in texts if t]) >= len(CODE), "[18] arguments arrive as they are written", texts)
        deltas = [ch["delta"] for e in events for ch in e["choices"]]
        both = [(d.get("reasoning"), d.get("reasoning_content")) for d in deltas]
        fields = a["choices"][0]["message"]
        check(fields["reasoning"] == fields["reasoning_content"] == "Hmm." and all(x == y for x, y in both) and sum(x is not None for x, _ in both) > 1,
              "[6] reasoning has both names, in answers and streams", (fields, both))


def test_unclosed():
    with Server(say("unclosed", "\n<function=get_weather\n<parameter=city>\nX\n</parameter>\n</function>\n", "<function=now>\n</function>\n"), *CARD) as s:
        a = s.post(CHAT, **ASK)
        m = message(a["choices"][0])
        check(m["tool_calls"] == [{"name": "get_weather", "arguments": '{"city": "X"}'}, {"name": "now", "arguments": "{}"}],
              "[16] an unclosed function tag swallows no call", m)
        check(same(a, s.stream(CHAT, **ASK)), "[2] a stream has the calls of the answer: an unclosed tag")


def test_hits():
    """A prompt of each length, cold and once more."""
    with Server(DEMO, "--max-model-len", 256) as s:
        ids = s.post("/tokenize", prompt="The Danube rises in the Black Forest . " * 30)["tokens"]
        wrong, hits = [], 0
        for n in range(1, 201, 9 if QUICK else 1):
            body = {"prompt": ids[:n], "max_tokens": 2, "temperature": 0, "logprobs": 1, "cache_salt": str(n)}
            cold, hit = s.post(COMPLETIONS, **body), s.post(COMPLETIONS, **body)
            cached = hit["usage"]["prompt_tokens_details"]["cached_tokens"]
            hits += cached > 0
            if cold["choices"] != hit["choices"] or cached != (n - 1) // 64 * 64:
                wrong.append((n, cached, cold["choices"], hit["choices"]))
        check(not wrong and hits, "[12] a hit gives the answer of a cold start, at each length of a prompt to 200", wrong[:2])


if QUICK > 1:
    skip("serve", "takes too long on an emulated CPU")
    done()
for test in (test_code, test_unclosed, test_hits):
    attempt(test.__name__, test)
done()
