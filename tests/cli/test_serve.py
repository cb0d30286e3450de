"""`serve`: answers of the API, streams that say the same, refusals of each field; by raw requests.  Numbers in brackets are rows of
SERVE.md, section 8."""
import json
import os
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import scripted_checkpoint
from check import QUICK, attempt, check, done, skip
from program import ROOT, SURPRISAL, evaluate, fresh
from serving import Server, message, same, whole

DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
CARD = ("--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
WHO = [{"role": "user", "content": "Who are you?"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}, {"type": "function", "function": {"name": "now"}}]
CALLS = ["Thinking.\n", "</think>", "\n\nLet me see.\n", "<tool_call>",
         "\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n",
         "<function=now>\n</function>\n", "</tool_call>", "<|im_end|>"]
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


# ---- small endpoints --------------------------------------------------------------------


def test_endpoints(s):
    status, headers, body = s.request("GET", "/health")
    check((status, body) == (200, b""), "health: 200 and nothing", (status, body))
    models = s.json("/v1/models")[1]["data"]
    check([m["id"] for m in models] == [DEMO, "mxfp4"] and models[0]["max_model_len"] == 1024 and not models[0]["permission"][0]["is_blocking"],
          "models: the path as typed, and its last part", models)
    check(set(s.json("/version")[1]) == {"version"}, "version")
    text = "Grüße, 東京 🏯 <|im_end|>"
    t = s.post("/tokenize", prompt=text, return_token_strs=True)
    back = s.post("/detokenize", tokens=t["tokens"])
    check(back == {"prompt": text} and t["count"] == len(t["tokens"]) == len(t["token_strs"]) and t["max_model_len"] == 1024,
          "tokenize and detokenize", (t, back))
    chat = s.post("/tokenize", messages=WHO)
    check(s.post("/detokenize", tokens=chat["tokens"])["prompt"].endswith("<|im_start|>assistant\n<think>\n") and chat["token_strs"] is None,
          "tokenize: messages by the template")
    info = s.json("/tokenizer_info")[1]
    check(info["eos_token"] and info["chat_template"] and info["tokenizer_class"], "tokenizer_info", info.keys())
    for path in ("/v1/responses", "/v1/messages", "/nothing", "//v1/models", "/v1/models/"):
        status, answer = s.json(path)
        check(status == 404 and answer["error"]["code"] == 404 and answer["error"]["type"] == "NotFoundError", f"404: {path}", answer)
    status, headers, _ = s.request("GET", CHAT)
    check(status == 405 and headers["Allow"] == "POST", "405 with Allow", status)
    status, headers, page = s.request("GET", "/")
    check(status == 200 and b"<html" in page and "sha256-" in headers["Content-Security-Policy"] and b"http" not in page.split(b"</head>")[0],
          "the page at /, without external parts")


def test_metrics(s):
    s.post(COMPLETIONS, prompt="The", max_tokens=3)
    _, headers, text = s.request("GET", "/metrics")
    text = text.decode()
    names = ("num_requests_running", "num_requests_waiting", "prompt_tokens_total", "generation_tokens_total", "prefix_cache_queries_total",
             "prefix_cache_hits_total", "request_success_total", "time_to_first_token_seconds_bucket", "inter_token_latency_seconds_sum",
             "e2e_request_latency_seconds_count", "request_queue_time_seconds_count")
    check(all(f"vllm:{n}{{" in text for n in names) and headers["Content-Type"].startswith("text/plain; version=0.0.4"), "metrics by vLLM's names",
          [n for n in names if f"vllm:{n}{{" not in text])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    check(all(len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0 for line in lines), "metrics: a name and a number a line")


# ---- completions ---------------------------------------------------------------------------


def test_completions(s):
    text = "The Society was founded in the first year of the war."
    ids = s.post("/tokenize", prompt=text)["tokens"]
    a = s.post(COMPLETIONS, prompt=text, max_tokens=0, echo=True, logprobs=3)
    choice, lp = a["choices"][0], a["choices"][0]["logprobs"]
    check(choice["text"] == text and a["usage"]["completion_tokens"] == 0 and choice["finish_reason"] == "length", "echo of the prompt alone", a)
    check([len(lp[k]) for k in ("text_offset", "token_logprobs", "tokens", "top_logprobs")] == [len(ids)] * 4 and lp["token_logprobs"][0] is None,
          "echo: four arrays of one length", {k: len(v) for k, v in lp.items()})
    check([text[o:o + len(t)] for o, t in zip(lp["text_offset"], lp["tokens"])] == lp["tokens"], "text_offset counts characters")
    check(all(v == top[t] and len(top) in (3, 4) for v, t, top in list(zip(lp["token_logprobs"], lp["tokens"], lp["top_logprobs"]))[1:]),
          "the token's value is the same number in both arrays")
    summary, tokens = evaluate(DEMO, ids, "--context", len(ids))
    worst = max(abs(x + y) for x, y in zip(lp["token_logprobs"][1:], tokens["nll"]))
    check(worst < 1e-4, "[14] echo's log-probabilities are those of eval", worst)
    print(f"# echo beside eval: largest difference {worst:.2g}")
    b = s.post(COMPLETIONS, prompt=[ids, ids[:5]], max_tokens=3, temperature=0, return_token_ids=True)["choices"]
    check([c["index"] for c in b] == [0, 1] and b[0]["prompt_token_ids"] == ids and len(b[1]["token_ids"]) == 3, "lists of ids", b)
    p = s.post(COMPLETIONS, prompt="The Soc", max_tokens=1, prompt_logprobs=2)["choices"][0]["prompt_logprobs"]
    check(p[0] is None and all(len(e) in (2, 3) and sorted(v["rank"] for v in e.values())[:2] == [1, 2] for e in p[1:]), "prompt_logprobs with ranks", p)
    n = s.post(COMPLETIONS, prompt=["The", "A"], n=2, max_tokens=4, seed=5)
    again = s.post(COMPLETIONS, prompt=["The", "A"], n=2, max_tokens=4, seed=5)
    texts = [c["text"] for c in n["choices"]]
    check([c["index"] for c in n["choices"]] == [0, 1, 2, 3] and texts == [c["text"] for c in again["choices"]] and texts[0] != texts[1],
          "n choices a prompt, a seed repeats them", texts)
    check(n["usage"]["completion_tokens"] == 16 and n["usage"]["prompt_tokens"] == 2, "usage: answers add up, each prompt once", n["usage"])


def text_of(events):
    choices = {}
    for e in events:
        for c in e["choices"]:
            m = choices.setdefault(c["index"], {"text": "", "logprobs": {}, "finish_reason": None, "stop_reason": None, "token_ids": []})
            m["text"] += c["text"]
            for k, v in (c["logprobs"] or {}).items():
                m["logprobs"].setdefault(k, []).extend(v)
            m["finish_reason"] = c["finish_reason"] or m["finish_reason"]
            m["stop_reason"] = c["stop_reason"] if c["stop_reason"] is not None else m["stop_reason"]
            m["token_ids"] += c.get("token_ids") or []
    return [choices[i] for i in sorted(choices)]


STREAMED = [
    ("plain", {"prompt": "The"}),
    ("echo and log-probabilities", {"prompt": "The Society", "echo": True, "logprobs": 2}),
    ("a stop text", {"prompt": "The", "stop": [" the", "zzz"], "max_tokens": 60, "logprobs": 0}),
    ("a stop text that stays", {"prompt": "The", "stop": " the", "include_stop_str_in_output": True, "max_tokens": 60}),
    ("a stop id", {"prompt": "The", "stop_token_ids": list(range(300, 1500)), "max_tokens": 60}),
    ("choices", {"prompt": ["The", "In"], "n": 2, "temperature": 1.2}),
    ("ids of tokens", {"prompt": [84, 104], "return_token_ids": True, "return_tokens_as_token_ids": True, "logprobs": 1}),
    ("special tokens", {"prompt": "<|im_end|>", "skip_special_tokens": False, "ignore_eos": True, "allowed_token_ids": [4065, 39, 72]}),
    ("broken characters [15]", {"prompt": "a", "allowed_token_ids": list(range(128, 256)), "temperature": 2, "logprobs": 0, "max_tokens": 40}),
    ("least tokens", {"prompt": "The", "min_tokens": 12, "stop": " ", "max_tokens": 30}),
]


def test_streams(s):
    for name, body in STREAMED:
        body = {"seed": 7, "max_tokens": 12, **body}
        answer = s.post(COMPLETIONS, **body)
        events = s.stream(COMPLETIONS, **body, stream_options={"include_usage": True})
        want = [{k: c[k] for k in ("text", "finish_reason", "stop_reason")} for c in answer["choices"]]
        got = text_of(events)
        check(want == [{k: c[k] for k in w} for c, w in zip(got, want)] and len(got) == len(want), f"stream = answer: {name}", (want, got))
        if "logprobs" in body:
            check([c["logprobs"] for c in answer["choices"]] == [c["logprobs"] for c in got], f"stream = answer: log-probabilities: {name}")
        if body.get("return_token_ids"):
            check([c["token_ids"] for c in answer["choices"]] == [c["token_ids"] for c in got], f"stream = answer: ids: {name}")
        usage = dict(events[-1]["usage"], prompt_tokens_details=None)
        check(not events[-1]["choices"] and usage == dict(answer["usage"], prompt_tokens_details=None) and not any("usage" in e for e in events[:-1]),
              f"stream: usage at the end alone: {name}", events[-1])
    stops = text_of(s.stream(COMPLETIONS, prompt="The", stop=[" the"], max_tokens=60, seed=7))[0]
    check(" the" not in stops["text"], "a stop text is cut off", stops)
    events = s.stream(COMPLETIONS, prompt="The", max_tokens=4, stream_options={"continuous_usage_stats": True})
    check([e["usage"]["completion_tokens"] for e in events] == sorted(e["usage"]["completion_tokens"] for e in events) and events[-1]["usage"]["completion_tokens"] == 4,
          "continuous_usage_stats: usage so far in each chunk")


def test_masks(s):
    tokens = s.post("/tokenize", prompt=" a b")["tokens"]
    a = s.post(COMPLETIONS, prompt="The", allowed_token_ids=tokens, max_tokens=8, return_token_ids=True)["choices"][0]
    check(set(a["token_ids"]) <= set(tokens), "allowed_token_ids", a)
    free = s.post(COMPLETIONS, prompt="The", temperature=0, max_tokens=8)["choices"][0]["text"]
    word = free.split()[1]
    a = s.post(COMPLETIONS, prompt="The", temperature=0, max_tokens=8, bad_words=[word])["choices"][0]["text"]
    check(word in free and f" {word} " not in f" {a} ", "bad_words", (free, a))
    biased = s.post(COMPLETIONS, prompt="The", temperature=0, max_tokens=3, logit_bias={str(tokens[0]): 100.0}, return_token_ids=True)["choices"][0]
    check(biased["token_ids"] == [tokens[0]] * 3, "logit_bias", biased)


# ---- chats ---------------------------------------------------------------------------------


def test_chat(s):
    body = {"messages": WHO, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    a = s.post(CHAT, **body)
    m, c = a["choices"][0]["message"], a["choices"][0]
    check("tiny demo model" in m["content"] and m["reasoning"] == m["reasoning_content"] and m["reasoning"] and c["finish_reason"] == "stop"
          and c["stop_reason"] is None, "[17] a chat without max_tokens answers", a["choices"])
    check(len(c["logprobs"]["content"]) == a["usage"]["completion_tokens"] and all(len(e["top_logprobs"]) == 2 for e in c["logprobs"]["content"]),
          "log-probabilities of each token, exactly top_logprobs alternatives")
    text = b"".join(bytes(e["bytes"]) for e in c["logprobs"]["content"]).decode()
    check(m["content"] in text and text.endswith("<|im_end|>"), "bytes of tokens give the text", text[-80:])
    check(same(a, s.stream(CHAT, **body)), "stream = answer: a chat with log-probabilities")
    first = s.stream(CHAT, **body)[0]["choices"][0]
    check(first["delta"] == {"role": "assistant", "content": ""} and first["finish_reason"] is None, "the first delta has the role", first)
    off = s.post(CHAT, messages=WHO, temperature=0, chat_template_kwargs={"enable_thinking": False})["choices"][0]["message"]
    check(off["content"] and off["reasoning"] is None, "[7] thinking off by kwargs: all is content", off)
    none = s.post(CHAT, messages=WHO, temperature=0, reasoning_effort="none")["choices"][0]["message"]
    check(none["content"] == off["content"] and none["reasoning"] is None, "[7] thinking off by reasoning_effort none", none)
    hidden = s.post(CHAT, messages=WHO, temperature=0, include_reasoning=False)["choices"][0]["message"]
    check(hidden["content"] == m["content"] and hidden["reasoning"] is None, "include_reasoning false", hidden)
    for budget in (0, 1, 5):
        b = {"messages": WHO, "temperature": 0, "thinking_token_budget": budget, "max_tokens": 40}
        a = s.post(CHAT, **b)
        m = a["choices"][0]["message"]
        check(a["usage"]["completion_tokens_details"]["reasoning_tokens"] == budget and "think" not in (m["content"] or "") and m["content"]
              and m["content"] == m["content"].lstrip("\n"), f"[8] thinking_token_budget {budget}", a)
        check(same(a, s.stream(CHAT, **b)), f"stream = answer: thinking_token_budget {budget}")
    a = s.post(CHAT, messages=WHO + [{"role": "assistant", "content": "I am a"}], temperature=0, continue_final_message=True, max_tokens=4)
    check(a["choices"][0]["message"]["content"], "continue_final_message", a)
    for content in ("I am a", [{"type": "text", "text": "I am a"}]):
        b = {"messages": WHO + [{"role": "assistant", "content": content}], "temperature": 0, "continue_final_message": True, "max_tokens": 4, "echo": True}
        e = s.post(CHAT, **b)
        check(e["choices"][0]["message"]["content"] == "I am a" + a["choices"][0]["message"]["content"] and e["usage"] == a["usage"],
              f"echo of the assistant's last message: {type(content).__name__}", (e, a))
        check(same(e, s.stream(CHAT, **b)), "stream = answer: an echo")
    check(s.post(CHAT, messages=WHO, temperature=0, echo=True)["choices"][0]["message"]["content"] == hidden["content"], "no echo of a user's message")
    one = s.post(CHAT, messages=WHO, seed=3, max_tokens=30)["choices"][0]["message"]
    check(one == s.post(CHAT, messages=WHO, seed=3, max_tokens=30)["choices"][0]["message"], "a seed repeats a chat")
    answer = {"role": "assistant", "content": "Hello.", "reasoning": "Hm."}
    long = [{"role": "user", "content": "word " * 150}, answer, {"role": "user", "content": "And?"}]
    first = s.post(CHAT, messages=long[:1], max_tokens=4)["usage"]
    second = s.post(CHAT, messages=long, max_tokens=4)["usage"]
    check(second["prompt_tokens_details"]["cached_tokens"] >= (first["prompt_tokens"] - 10) // 64 * 64 > 0, "[11] the next turn finds the last one's prompt", (first, second))


def test_system(s):
    late = WHO + [{"role": "system", "content": "Be short."}]
    status, answer = s.json(CHAT, {"messages": late})
    check(status == 400 and "must be the first" in answer["error"]["message"], "[9] a late system message: the template's own words", answer)


def test_tools():
    path = scripted_checkpoint.make(fresh("calls"), CALLS)
    with Server(path, *CARD) as s:
        body = {"messages": WHO, "tools": TOOLS, "temperature": 0}
        a = s.post(CHAT, **body)
        m = message(a["choices"][0])
        check(m["tool_calls"] == [{"name": "get_weather", "arguments": '{"city": "Paris", "days": 3}'}, {"name": "now", "arguments": "{}"}]
              and m["reasoning"] == "Thinking." and m["content"] == "Let me see." and m["finish_reason"] == "tool_calls", "[4] reasoning, content and two calls", m)
        events = s.stream(CHAT, **body)
        check(same(a, events), "stream = answer: tool calls", whole(events))
        deltas = [d for d in whole(events)[0]["deltas"][1:] if d]
        check(all(len({"reasoning", "content", "tool_calls"} & set(d)) == 1 for d in deltas), "each delta has one kind", deltas)
        ids = [c["id"] for e in events for ch in e["choices"] for c in ch["delta"].get("tool_calls", ()) if "id" in c]
        check(len(ids) == len(set(ids)) == 2 and all(i.startswith("chatcmpl-tool-") and len(i) == 46 for i in ids), "ids of calls", ids)
        one = message(s.post(CHAT, **body, parallel_tool_calls=False)["choices"][0])
        check([c["name"] for c in one["tool_calls"]] == ["get_weather"] and one["finish_reason"] == "tool_calls", "parallel_tool_calls false: the first call", one)
        none = message(s.post(CHAT, **body, tool_choice="none")["choices"][0])
        check(not none["tool_calls"] and none["content"] == "Let me see." and none["finish_reason"] == "stop", "tool_choice none drops calls", none)
        for limit in range(1, 9):
            cut = {**body, "max_tokens": limit}
            a = s.post(CHAT, **cut)
            check(same(a, s.stream(CHAT, **cut)), f"stream = answer: cut after {limit} tokens")
            if limit < 8:
                check(a["choices"][0]["finish_reason"] == "length", f"[5] finish_reason length after {limit} tokens", a)
            sent = a["choices"][0]["message"]
            status, back = s.json(CHAT, {"messages": WHO + [sent] + [{"role": "user", "content": "Go on"}], "tools": TOOLS, "max_tokens": 1})
            check(status == 200, f"[5] history that was cut after {limit} tokens comes back", back)
        history = WHO + [{"role": "assistant", "content": None, "tool_calls": [
            {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]}, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
        check(s.json(CHAT, {"messages": history, "tools": TOOLS, "max_tokens": 2})[0] == 200, "[10] arguments as text in the history")
        refusals = [
            ("tools: an empty list", {"tools": []}, "tools"), ("tool_choice without tools", {"tools": None, "tool_choice": "auto"}, "tool_choice"),
            ("an unknown function", {"tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice"),
            ("a tool_choice of another kind", {"tool_choice": "maybe"}, "tool_choice"),
            ("a name with >", {"tools": [{"type": "function", "function": {"name": "a>b"}}]}, "tools"),
            ("strict, by a schema that is not supported", {"tools": [{"type": "function", "function": {"name": "a", "strict": True, "parameters": {
                "properties": {"b": {"not": {}}}}}}]}, "tools"),
            ("a large tool", {"tools": [{"type": "function", "function": {"name": "a", "description": "x" * 70000}}]}, "tools"),
        ]
        for name, change, param in refusals:
            status, answer = s.json(CHAT, {**body, **change})
            check(status == 400 and answer["error"]["param"] == param, f"refused: {name}", answer)
    with Server(DEMO, "--reasoning-parser", "qwen3", "--max-model-len", 1024) as s:
        status, answer = s.json(CHAT, {"messages": WHO, "tools": TOOLS})
        check(status == 400 and "--enable-auto-tool-choice" in answer["error"]["message"], "auto without the flag: 400", answer)
    path = scripted_checkpoint.make(fresh("forced"), ["</function>\n", "</tool_call>", "<|im_end|>"])
    with Server(path, *CARD) as s:
        for choice, names in (({"type": "function", "function": {"name": "now"}}, ["now"]), ("required", ["now", "get_weather"])):
            for thinking in (True, False):
                body = {"messages": WHO, "tools": TOOLS, "tool_choice": choice, "temperature": 0, "thinking_token_budget": 1,
                        "chat_template_kwargs": {"enable_thinking": thinking}}
                a = s.post(CHAT, **body)
                m = message(a["choices"][0])
                check([c["arguments"] for c in m["tool_calls"]] == ["{}"] and m["tool_calls"][0]["name"] in names and bool(m["reasoning"]) == thinking
                      and m["finish_reason"] == ("tool_calls" if choice == "required" else "stop"), f"a forced call: {choice}, thinking {thinking}", m)
                check(same(a, s.stream(CHAT, **body)), f"stream = answer: a forced call: {choice}, thinking {thinking}")


# ---- refusals -------------------------------------------------------------------------------


NUMBERS = {"temperature": [-0.1, 2.1, "1", True, []], "top_p": [0, 1.1, "x"], "top_k": [-2, 1.5, "3"], "min_p": [-1, 2], "presence_penalty": [-3, 3],
           "frequency_penalty": [2.5, {}], "repetition_penalty": [0, -1], "seed": [1.5, "a", 2**70], "n": [0, 129, True], "min_tokens": [-1, "a"],
           "stop": ["", [""], [1], ["x"] * 65, ["y" * 1025], {}], "stop_token_ids": [[-1], [10**6], ["a"], 5], "include_stop_str_in_output": [1],
           "ignore_eos": ["true"], "skip_special_tokens": [0], "logit_bias": [[], {"a": 1}, {"5": 101}, {"99999999": 1}, {"5": "x"}],
           "allowed_token_ids": [[], [10**6]], "bad_words": [[""], [3]], "prompt_logprobs": [-1, 21, "a"], "stream": ["yes"],
           "stream_options": [{"include_usage": True}, []], "truncate_prompt_tokens": [0, -2], "truncation_side": ["middle"], "return_token_ids": [2],
           "user": [5], "metadata": ["a"], "model": [5, ["a"]], "cache_salt": [3], "max_tokens": [-1, 10**9, 1.5, "5"], "use_beam_search": [True],
           "structured_outputs": [{"grammar": "a"}, [], {}], "response_format": [{"type": "xml"}, {"type": "json_schema"}, "text"], "logits_processors": [["a"]]}
OF_COMPLETIONS = {"prompt": [None, 5, [], [[]], [1, "a"], ["a", [1]], [-1], [10**6], "", [1.5], ["a"] * 1025], "suffix": ["x"], "logprobs": [21, -1, True],
                  "echo": ["a"], "best_of": [2], "prompt_embeds": ["a"]}
OF_CHATS = {"messages": [None, 5, [], ["a"], [{}], [{"role": "user", "content": 5}], [{"role": "nobody", "content": "a"}], [{"role": "user"}, 3],
                         [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}], WHO * 4097],
            "logprobs": [1, "a"], "top_logprobs": [1, 21], "tools": ["a", [1], [{"type": "function"}]], "chat_template": ["x"], "echo": ["a"],
            "chat_template_kwargs": [[], {"messages": []}], "reasoning_effort": ["much"], "include_reasoning": [1], "thinking_token_budget": [-1],
            "max_completion_tokens": [0, -5], "add_generation_prompt": ["a"], "continue_final_message": [1], "parallel_tool_calls": ["a"]}
NAMED_OTHERWISE = {"stream_options": None, "chat_template_kwargs": "messages", "add_generation_prompt": "messages", "continue_final_message": "messages", "echo": None}


def test_fields(s):
    before = s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"]
    count = 0
    for path, own, base in ((COMPLETIONS, OF_COMPLETIONS, {"prompt": "The"}), (CHAT, OF_CHATS, {"messages": WHO})):
        wrong = []
        for name, values in {**NUMBERS, **own}.items():
            for value in values:
                status, answer = s.json(path, {"max_tokens": 2, **base, name: value})
                param = answer.get("error", {}).get("param")
                count += 1
                if status != 400 or param != NAMED_OTHERWISE.get(name, name) and name not in NAMED_OTHERWISE:
                    wrong.append((name, str(value)[:40], status, str(answer)[:160]))
        check(not wrong, f"{path}: each field refuses values of other types and out of range", wrong)
    for name, body in (("greedy with n", {"prompt": "a", "n": 2, "temperature": 0}), ("max_tokens 0 without echo", {"prompt": "a", "max_tokens": 0}),
                       ("min_tokens above max_tokens", {"prompt": "a", "min_tokens": 5, "max_tokens": 4}),
                       ("prompt_logprobs with stream", {"prompt": "a", "prompt_logprobs": 1, "stream": True})):
        status, answer = s.json(COMPLETIONS, body)
        check(status == 400, f"refused: {name}", answer)
    status, answer = s.json(COMPLETIONS, {"model": "other", "prompt": "a"})
    check((status, answer["error"]["param"], answer["error"]["type"], answer["error"]["code"]) == (404, "model", "NotFoundError", 404), "an unknown model: 404", answer)
    for model in ("", None, "mxfp4", DEMO):
        check(s.json(COMPLETIONS, {"model": model, "prompt": "a", "max_tokens": 1})[0] == 200, f"model {model!r} is this one")
    ok = {"prompt": "a", "max_tokens": 2.0, "stop": None, "suffix": None, "unknown_field": 5, "n": 1.0, "best_of": 1, "logit_bias": None, "user": "me",
          "response_format": {"type": "text"}, "top_k": -1, "seed": -5, "metadata": {"a": "b"}, "stop_token_ids": []}
    check(s.json(COMPLETIONS, ok)[0] == 200, "null is absent, 2.0 is 2, what vLLM does not know is ignored")
    check(s.healthy() and s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"] == before, f"the next answer is unchanged after {count} refusals")


def test_lengths(s):
    full = s.post("/tokenize", prompt="a " * 1500)["tokens"]
    for n, tokens, status in ((1023, 1, 200), (1023, 50, 200), (1024, 1, 400), (1025, 1, 400)):
        got, answer = s.json(COMPLETIONS, {"prompt": full[:n], "max_tokens": tokens})
        said = answer.get("error", {}).get("message", "")
        check(got == status and (status == 200 or (f"{n}" in said and "1024" in said)), f"[13] a prompt of {n} tokens of 1024, {tokens} more", answer)
    check(s.json(COMPLETIONS, {"prompt": full[:1024], "max_tokens": 0, "echo": True})[0] == 200, "a prompt of the whole context with max_tokens 0")
    got, answer = s.json(COMPLETIONS, {"prompt": "a", "max_tokens": 1025})
    check(got == 400 and "1025" in answer["error"]["message"], "max_tokens above the context", answer)
    cut = s.post(COMPLETIONS, prompt=full, max_tokens=1, truncate_prompt_tokens=7, return_token_ids=True)["choices"][0]
    check(cut["prompt_token_ids"] == full[-7:], "truncate_prompt_tokens keeps the end")
    cut = s.post(COMPLETIONS, prompt=full, max_tokens=24, truncate_prompt_tokens=-1)
    check(cut["usage"]["prompt_tokens"] == 1000, "truncate_prompt_tokens -1: what fits", cut["usage"])


# ---- the command -----------------------------------------------------------------------------


def refused(name, status, says, *args):
    r = subprocess.run([SURPRISAL, "serve", *map(str, args)], capture_output=True, text=True, timeout=60)
    check(r.returncode == status and says in r.stderr and r.stderr.count("\n") == 1, name, (r.returncode, r.stderr))


def test_command():
    for option, says in (("--dtype=auto", "--compute"), ("--speculative-config", "vLLM"), ("--tensor-parallel-size", "--threads"),
                         ("--trust-remote-code", "vLLM's"), ("--nothing", "unknown option"), ("--host=localhost", "no address"),
                         ("--default-chat-template-kwargs=[]", "expected an object"), ("--request-timeout=0", "seconds")):
        refused(f"refused: {option}", 2, says, DEMO, option)
    for option in ("--port=70000", "--max-num-seqs=0", "--max-logprobs=-2", "--enable-auto-tool-choice", "--log-texts", "--temperature=3",
                   "--tool-call-parser=other"):
        refused(f"refused: {option}", 2, option.split("=")[0].lstrip("-").split("-")[0][:3], DEMO, option)
    refused("a context beyond the model's", 1, "--max-model-len", DEMO, "--max-model-len", 10**6)
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        s = Server(DEMO, "--max-model-len", 64)
        check(s.stop(number) == status, f"signal {number}: exit status {status}", s.lines)


def test_without_library():
    """libmicrohttpd is loaded when the server starts: one that is damaged is named"""
    folder = fresh("libraries")
    os.makedirs(folder)
    open(os.path.join(folder, "libmicrohttpd.so.12"), "w").close()
    env = {**os.environ, "LD_LIBRARY_PATH": folder}
    p = subprocess.run([SURPRISAL, "serve", DEMO, "--port", "0"], capture_output=True, text=True, env=env, timeout=60)
    check(p.returncode == 1 and "libmicrohttpd.so.12" in p.stderr.splitlines()[-1], "a damaged libmicrohttpd is named", p.stderr)
    p = subprocess.run([SURPRISAL, "--version"], capture_output=True, text=True, env=env, timeout=60)
    check(p.returncode == 0, "other commands do not need it", p.stderr)


def test_gguf():
    """Its metadata stands for tokenizer_config.json"""
    with Server(os.path.join(ROOT, "data", "demo", "formats", "demo-Q8_0.gguf"), "--max-model-len", 1024) as s:
        info = {"eos_token": None, "chat_template": "", **s.json("/tokenizer_info")[1]}
        check(info["eos_token"] == "<|endoftext|>" and "<|im_start|>" in info["chat_template"] and info["tokenizer_class"], "tokenizer_info of a GGUF",
              str(info)[:300])
        end, = s.post("/tokenize", prompt="<|endoftext|>")["tokens"]
        for path, body in ((COMPLETIONS, {"prompt": "The"}), (CHAT, {"messages": WHO})):
            c = s.post(path, temperature=0, max_tokens=5, logit_bias={str(end): 100}, **body)["choices"][0]
            check((c["finish_reason"], c["stop_reason"]) == ("stop", None), f"{path}: a GGUF's own end token is no stop_reason", c)


def test_options():
    log = fresh("log")
    options = ("--served-model-name", "a", "--served-model-name", "b", "--api-key", "one", "--api-key", "two", "--cors", "--max-model-len", 256,
               "--default-chat-template-kwargs", '{"enable_thinking": false}', "--log-requests", log, "--log-texts", "--system-messages", "merge",
               "--generation-config", "vllm", "--reasoning-parser", "qwen3", "--max-num-seqs", 1, "--max-queue", 2**64 - 1)
    with Server(DEMO, *options) as s:
        for path in ("/health", "/metrics", "/version"):
            check(s.request("GET", path)[0] == 200, f"no key is needed for {path}")
        for headers in ({}, {"Authorization": "Bearer three"}, {"Authorization": "one"}, {"Authorization": "Bearer one two"}, {"Authorization": "Bearer on"}):
            for path in ("/v1/models", "/v1/nothing", "/v1%2Fmodels"):
                status, _, body = s.request("GET", path, headers=headers)
                check((status, json.loads(body)) == (401, {"error": "Unauthorized"}), f"401: {path} with {headers}", (status, body))
        key = {"Authorization": "bearer  two", "X-Request-Id": "mine-1"}
        status, headers, body = s.request("GET", "/v1/models", headers=key)
        check(status == 200 and [m["id"] for m in json.loads(body)["data"]] == ["a", "b"] and headers["X-Request-Id"] == "mine-1"
              and headers["Access-Control-Allow-Origin"] == "*", "a key, names, request id, CORS", (status, dict(headers)))
        check(s.request("OPTIONS", CHAT)[0] == 204, "OPTIONS needs no key")
        late = WHO + [{"role": "system", "content": "Be short."}]
        status, answer = s.json(CHAT, {"messages": late, "model": "b", "max_tokens": 20, "temperature": 0}, headers=key)
        check(status == 200 and answer["id"] == "chatcmpl-mine-1" and answer["model"] == "b" and answer["choices"][0]["message"]["reasoning"] is None,
              "[9] merged system messages; [7] thinking off by default kwargs; the id", answer)
        status, answer = s.json(CHAT, {"messages": WHO, "max_tokens": 20, "chat_template_kwargs": {"enable_thinking": True}, "temperature": 0}, headers=key)
        check(status == 200 and answer["choices"][0]["message"]["reasoning"], "a request's kwargs go before the default ones", answer)
        check(s.request("POST", CHAT, b"{}", {"Content-Type": "text/plain", **key})[0] == 400, "another Content-Type: 400")
        check(s.request("POST", COMPLETIONS, b'{"prompt": "a", "max_tokens": 1}', {"Content-Type": "Application/JSON; charset=utf-8", **key})[0] == 200,
              "Content-Type with parameters")
        with s.connect() as c:
            c.sendall(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer one\r\nContent-Type: application/json\r\n"
                      f"Content-Length: {64 << 20}\r\n\r\n".encode())
            check(c.recv(20).startswith(b"HTTP/1.1 413"), "a long body: 413")
    with open(log) as f:
        lines = [json.loads(line) for line in f]
    check([x["status"] for x in lines if "error" in x and "the body has" in x["error"]] == [413], "its status is in the log", [x["status"] for x in lines])
    chat = [x for x in lines if x.get("id") == "chatcmpl-mine-1"][0]
    check(chat["status"] == 200 and chat["usage"]["completion_tokens"] and chat["finish_reasons"] and "Be short." in chat["prompts"][0], "a log line a request, with texts", chat)


if QUICK > 1:
    skip("serve", "takes too long on an emulated CPU")
    done()
with Server(DEMO, *CARD, "--max-model-len", 1024) as main_server:
    for test in (test_endpoints, test_metrics, test_completions, test_streams, test_masks, test_chat, test_system, test_fields, test_lengths):
        attempt(test.__name__, test, main_server)
    check(main_server.stop() == 0, "the server ends in order", main_server.lines[-3:])
for test in (test_tools, test_gguf, test_options, test_command, test_without_library):
    attempt(test.__name__, test)
done()
