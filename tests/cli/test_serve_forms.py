"""`serve`: answers in the form that a request demands: JSON schemas, regular expressions, choices, calls of functions.  The demo
model writes none of these by itself."""
import concurrent.futures
import json
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import scripted_checkpoint
from check import QUICK, attempt, check, done, skip
from program import ROOT, fresh
from random_schemas import whole_schema
from serving import Server, message, same

DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
CARD = ("--reasoning-parser", "qwen3", "--enable-auto-tool-choice", "--tool-call-parser", "qwen3_coder", "--max-model-len", 1024)
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
WHO = [{"role": "user", "content": "Who are you?"}]
PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 3, "maximum": 99},
                                           "tags": {"type": "array", "items": {"enum": ["a", 1, None]}, "minItems": 1, "maxItems": 3}},
          "required": ["name", "age", "tags"], "additionalProperties": False}
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "minLength": 1, "maxLength": 10}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
           "required": ["city", "days"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": WEATHER}},
         {"type": "function", "function": {"name": "now", "strict": True, "parameters": {"type": "object", "properties": {}}}}]
HOSTILE = {"type": "object", "properties": {f"p{i}": {"type": "string", "pattern": f"(a|b)*a(a|b){{10}}c{{{i + 1}}}"} for i in range(100)}}


def thinking(on):
    return {"chat_template_kwargs": {"enable_thinking": on}}


def by_schema(schema, strict=False):
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": strict, "schema": schema}}}


def at_once(function, items, threads=8):
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def metric(s, name):
    return sum(float(line.rsplit(" ", 1)[1]) for line in s.request("GET", "/metrics")[2].decode().splitlines() if line.startswith(name + "{"))


# ---- JSON ---------------------------------------------------------------------------------------------------------------------


def is_person(text):
    v = json.loads(text)
    return (list(v) == ["name", "age", "tags"] and len(v["name"]) <= 8 and 3 <= v["age"] <= 99 and 1 <= len(v["tags"]) <= 3
            and set(v["tags"]) <= {"a", 1, None})


def test_schemas(s):
    try:
        import jsonschema
    except ImportError:
        skip("answers under random schemas are instances", "no jsonschema for this python")
        return
    r = random.Random(7)
    schemas = [(i, whole_schema(r), r.random() < 0.3) for i in range(8 if QUICK else 30)]
    checker = jsonschema.FormatChecker(["date", "uuid", "email"])

    def ask(item):
        seed, schema, strict = item
        return s.json(CHAT, {"messages": WHO, "max_tokens": 100, "seed": seed, "n": 2, **thinking(False), **by_schema(schema, strict)})

    wrong, n_valid, n_cut = [], 0, 0
    for (_, schema, _), (status, answer) in zip(schemas, at_once(ask, schemas)):
        if status != 200:
            wrong += [] if "no value has this form" in answer["error"]["message"] else [answer]
            continue
        for c in answer["choices"]:
            if c["finish_reason"] == "length":
                n_cut += 1
                continue
            try:
                jsonschema.Draft202012Validator(schema, format_checker=checker).validate(json.loads(c["message"]["content"]))
                n_valid += c["finish_reason"] == "stop"
            except (ValueError, TypeError, jsonschema.ValidationError) as e:
                wrong.append((str(e)[:200], c["message"]["content"], schema))
    check(not wrong and n_valid > n_cut, "answers under random schemas are instances", (wrong[:3], n_valid, n_cut))


def test_formats(s):
    for on in (True, False):
        for seed in range(1 if QUICK else 2):
            body = {"messages": WHO, "max_tokens": 400, "seed": seed, "n": 2, "logprobs": True, "return_token_ids": True, **thinking(on), **by_schema(PERSON, True)}
            body.update({"thinking_token_budget": 12} if on else {})
            a = s.post(CHAT, **body)
            found = [message(c) for c in a["choices"]]
            # the end of thinking may be the end of the answer: thinking has no form
            good = [is_person(m["content"]) if m["content"] else on for m in found]
            check(all(good) and any(m["content"] for m in found) and all(m["finish_reason"] == "stop" and (on or not m["reasoning"]) for m in found),
                  f"a schema: thinking {on}, seed {seed}", found if not all(good) else a)
            check(same(a, s.stream(CHAT, **body)), f"stream = answer, and again: thinking {on}, seed {seed}")
    a = s.post(CHAT, messages=WHO, max_tokens=60, seed=3, n=4, **thinking(False), response_format={"type": "json_object"})
    texts = [c["message"]["content"] for c in a["choices"]]
    check(all(t.startswith("{") for t in texts), "json_object: an object begins", texts)
    for name, demanded, fits in (
            ("json", {"json": PERSON}, is_person), ("json as text", {"json": json.dumps(PERSON)}, is_person),
            ("regex", {"regex": "[a-c]{3}-\\d{2,4}"}, lambda t: re.fullmatch("[a-c]{3}-[0-9]{2,4}", t)),
            ("choice", {"choice": ["yes", "yes, but", "nö"]}, lambda t: t in ("yes", "yes, but", "nö"))):
        a = s.post(COMPLETIONS, prompt=["The", "A dog", "x" * 200], n=2, max_tokens=200, seed=1, structured_outputs=demanded)
        check(len(a["choices"]) == 6 and all(fits(c["text"]) and c["finish_reason"] == "stop" and c["stop_reason"] is None for c in a["choices"]),
              f"structured_outputs: {name}", a["choices"])
    a = s.post(COMPLETIONS, prompt="The", max_tokens=200, seed=1, **by_schema(PERSON))
    check(is_person(a["choices"][0]["text"]), "completions take response_format, too", a)
    prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n"
    for text, free in ((prompt, True), (prompt + "x</think>\n\n", False), (prompt + "<|im_start|>", False)):
        a = s.post(COMPLETIONS, prompt=text, max_tokens=8, seed=1, structured_outputs={"choice": ["yes", "no"]})["choices"][0]
        check((a["text"] not in ("yes", "no")) == free, f"completions: thinking that the prompt begins is free: {text[-12:]!r}", a)


def test_bits(s):
    """Masked or not, beside others or alone, with and without the prefix cache, an answer is the same."""
    plain = [{"prompt": f"The {i} " * 20, "max_tokens": 20, "seed": i, "logprobs": 2} for i in range(6)]
    bound = [{**b, "max_tokens": 60, "structured_outputs": {"json": PERSON}} for b in plain]
    alone = [s.post(COMPLETIONS, **b)["choices"] for b in plain + bound]
    both = at_once(lambda b: s.post(COMPLETIONS, **b)["choices"], plain + bound, 12)
    check(alone == both, "answers with and without a form are those that they are alone")
    again = s.post(COMPLETIONS, **{**bound[0], "prompt": "The 0 " * 100})
    hit = s.post(COMPLETIONS, **{**bound[0], "prompt": "The 0 " * 100})
    check(hit["choices"] == again["choices"] and hit["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64, "a hit in the prefix cache: the same answer", hit)
    a = s.post(COMPLETIONS, **bound[1], return_token_ids=True)["choices"][0]
    ids = a["prompt_token_ids"] + a["token_ids"]
    e = s.post(COMPLETIONS, prompt=ids, max_tokens=0, echo=True, logprobs=1)["choices"][0]["logprobs"]["token_logprobs"]
    far = max(abs(x - y) for x, y in zip(a["logprobs"]["token_logprobs"], e[len(a["prompt_token_ids"]):]))
    check(far < 1e-3, "log-probabilities are those of the logits before the mask", far)


# ---- with other fields --------------------------------------------------------------------------------------------------------


def test_fields(s):
    def ask(**body):
        return s.post(COMPLETIONS, prompt="The", seed=1, **{"max_tokens": 20, **body})["choices"][0]
    yes = {"structured_outputs": {"choice": ["yes", "no"]}}
    a = ask(**yes, min_tokens=8, return_token_ids=True)
    check(a["text"] in ("yes", "no") and len(a["token_ids"]) == 9 and a["finish_reason"] == "stop", "min_tokens: end tokens until then", a)
    a = ask(**yes, ignore_eos=True, return_token_ids=True)
    check(a["text"] in ("yes", "no") and len(a["token_ids"]) == 20 and a["finish_reason"] == "length", "ignore_eos: end tokens up to max_tokens", a)
    digits = s.post("/tokenize", prompt="7")["tokens"]
    a = ask(structured_outputs={"regex": "[0-9]{5}"}, allowed_token_ids=digits)
    check(a["text"] == "77777" and a["finish_reason"] == "stop", "allowed_token_ids within the form; its end stays", a)
    a = ask(structured_outputs={"regex": "[67]{5}"}, bad_words=["7"])
    check(a["text"] == "66666", "bad_words within the form", a)
    a = ask(structured_outputs={"regex": "[67]{5}"}, logit_bias={str(digits[-1]): 100})
    check(a["text"] == "77777", "logit_bias within the form", a)
    a = ask(structured_outputs={"regex": "[67]{5}"}, stop=["7"], logit_bias={str(digits[-1]): 100})
    check((a["text"], a["finish_reason"], a["stop_reason"]) == ("", "stop", "7"), "a stop text ends it before its form does", a)
    a = ask(structured_outputs={"regex": "[67]{5}"}, stop_token_ids=digits[-1:], logit_bias={str(digits[-1]): 100})
    check((a["finish_reason"], a["stop_reason"]) == ("stop", digits[-1]), "so does a stop id", a)
    a = ask(structured_outputs={"regex": "x+"}, max_tokens=3, temperature=0)
    check(a["finish_reason"] == "length" and a["text"].strip("x") == "", "the length ends it before its form does", a)
    for name, body in (("allowed_token_ids", {"allowed_token_ids": digits[-1:]}), ("bad_words", {"bad_words": ["y", "n", "ye", "yes", "no"]})):
        status, answer = s.json(COMPLETIONS, {"prompt": "The", **yes, **body})
        check(status == 400 and answer["error"]["param"] == name, f"400 where {name} leaves nothing of the form", answer)
        event = s.stream(COMPLETIONS, prompt="The", **yes, **body)[-1]
        check(event.get("error", {}).get("code") == 400, f"the same as an event of a stream: {name}", event)


def test_refusals(s):
    def nested(schema):
        return by_schema({"type": "object", "properties": {"a": schema}})
    cases = [
        ("response_format", "/properties/a/multipleOf", nested({"multipleOf": 3})), ("response_format", "/properties/a/not", nested({"not": {}})),
        ("response_format", "/properties/a/pattern", nested({"type": "string", "pattern": "(?=a)"})), ("response_format", "no value", nested({"enum": []}) | by_schema({"enum": []})),
        ("response_format", "response_format.type", {"response_format": {"type": "xml"}}), ("response_format", "response_format.type", {"response_format": {}}),
        ("response_format", "response_format.type", {"response_format": "json_object"}), ("response_format", "schema", {"response_format": {"type": "json_schema"}}),
        ("response_format", "response_format.type", {"response_format": {"type": "structural_tag"}}),
        ("structured_outputs", "structured_outputs.grammar", {"structured_outputs": {"grammar": "root ::= x"}}),
        ("structured_outputs", "structured_outputs.structural_tag", {"structured_outputs": {"structural_tag": "{}"}}),
        ("structured_outputs", "structured_outputs.whitespace_pattern", {"structured_outputs": {"json": {}, "whitespace_pattern": " *"}}),
        ("structured_outputs", "structured_outputs.regex", {"structured_outputs": {"regex": "("}}), ("structured_outputs", "choice", {"structured_outputs": {"choice": []}}),
        ("structured_outputs", "one of", {"structured_outputs": {"json": {}, "regex": "a"}}), ("structured_outputs", "expected", {"structured_outputs": {}}),
        ("structured_outputs", "object", {"structured_outputs": 5}), ("structured_outputs", "response_format", {"structured_outputs": {"json": {}}, "response_format": {"type": "json_object"}}),
        ("structured_outputs", "too large", {"structured_outputs": {"json": HOSTILE}}),
    ]
    of_chats = [("tools", "tools[1].function.parameters: /properties/x/uniqueItems", {"tools": TOOLS[:1] + [
                    {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}}}]}),
                ("tools", "tools[0].function.strict", {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]}),
                ("tools", "twice", {"tools": TOOLS[:1] * 2})]
    wrong = []
    for path, base, own in ((COMPLETIONS, {"prompt": "The"}, []), (CHAT, {"messages": WHO}, of_chats)):
        for (param, says, body), stream in [(c, x) for c in cases + own for x in (False, True)]:
            status, answer = s.json(path, {"max_tokens": 2, "stream": stream, **base, **body})
            error = answer.get("error", {})
            if (status, error.get("param"), error.get("type")) != (400, param, "BadRequestError") or says not in error["message"]:
                wrong.append((path, param, says, stream, status, answer))
    check(not wrong, "forms that are refused, by field and path, also for streams", wrong[:3])
    ok = s.post(COMPLETIONS, prompt="The", max_tokens=9, structured_outputs={"choice": ["a"], "json": None, "whitespace_pattern": None, "json_object": False})
    check(ok["choices"][0]["text"] == "a", "defaults beside one kind of form", ok)


# ---- calls --------------------------------------------------------------------------------------------------------------------


def is_call(call):
    arguments = json.loads(call["arguments"])
    return arguments == {} if call["name"] == "now" else (list(arguments) == ["city", "days"] and 1 <= len(arguments["city"]) <= 10 and 1 <= arguments["days"] <= 9)


def test_calls(s):
    wanted = {"type": "function", "function": {"name": "get_weather"}}
    for on in (True, False):
        for seed, choice in [(seed, c) for seed in range(1 if QUICK else 2) for c in ("required", wanted)]:
            body = {"messages": WHO, "tools": TOOLS, "tool_choice": choice, "seed": seed, "n": 2, "max_tokens": 200, "parallel_tool_calls": False, **thinking(on)}
            body.update({"thinking_token_budget": 9} if on else {})
            a = s.post(CHAT, **body)
            found = [message(c) for c in a["choices"]]
            made = [m for m in found if not on or m["tool_calls"]]
            finish = "stop" if choice == wanted else "tool_calls"
            good = [len(m["tool_calls"]) == 1 and is_call(m["tool_calls"][0]) and not m["content"] and m["finish_reason"] == finish and (on or not m["reasoning"])
                    for m in made]
            check(made and all(good), f"a call: {'required' if choice == 'required' else 'named'}, thinking {on}, seed {seed}", found)
            check(same(a, s.stream(CHAT, **body)), f"stream = answer: a call, thinking {on}, seed {seed}")
    for name in ("get_weather", "now"):
        first = s.post("/tokenize", prompt=name)["tokens"][0]
        m = message(s.post(CHAT, **{**body, "tool_choice": "required", "n": 1, "logit_bias": {str(first): 20}, **thinking(False)})["choices"][0])
        check([c["name"] for c in m["tool_calls"]] == [name], f"required: the model chooses {name}", m)
    body = {"messages": WHO, "tools": TOOLS, "max_tokens": 60, "seed": 4, **thinking(False)}
    free = message(s.post(CHAT, **{**body, "tool_choice": "none"})["choices"][0])
    auto = message(s.post(CHAT, **body)["choices"][0])
    check(auto == free and free["content"], "strict tools leave text free", (auto, free))
    for seed in range(3):
        m = message(s.post(CHAT, **{**body, "seed": seed, "max_tokens": 200}, **by_schema(PERSON), parallel_tool_calls=False)["choices"][0])
        check(is_call(m["tool_calls"][0]) if m["tool_calls"] else is_person(m["content"]), f"a schema beside tools: content or a call, seed {seed}", m)


def test_strict_calls():
    """A model that begins a call and then wants to end: a strict function's call becomes whole."""
    script = ["<tool_call>", "ĉ", "<", "function", "=", "now", ">", "<|im_end|>"]
    tools = [{"type": "function", "function": {"name": "now", "strict": True, "parameters": WEATHER}}]
    loose = [{"type": "function", "function": {**tools[0]["function"], "strict": False}}]
    with Server(scripted_checkpoint.make(fresh("call"), script, ordinary=True), *CARD) as s:
        body = {"messages": WHO, "temperature": 0, "max_tokens": 300, "parallel_tool_calls": False}
        m = message(s.post(CHAT, **body, **thinking(False), tools=loose)["choices"][0])
        check(m["content"] == "<tool_call>\t<function=now>" and not m["tool_calls"], "without strict, a call is what the model writes", m)
        # a budget of thinking may end before the call, inside of it and behind it
        for on, budget in ((False, None), (True, None), *((True, n) for n in ((0, 8) if QUICK else (0, 3, 6, 7, 8, 20)))):
            limits = {**body, **thinking(on), "tools": tools, "thinking_token_budget": budget}
            a = s.post(CHAT, **limits)
            m = message(a["choices"][0])
            good = len(m["tool_calls"]) == 1 and m["finish_reason"] == "tool_calls"
            arguments = json.loads(m["tool_calls"][0]["arguments"]) if good else {}
            check(good and list(arguments) == ["city", "days"] and 1 <= arguments["days"] <= 9, f"strict: a whole call, thinking {on}, budget {budget}", m)
            check(same(a, s.stream(CHAT, **limits)), f"stream = answer: strict, thinking {on}, budget {budget}")


# ---- attack -------------------------------------------------------------------------------------------------------------------


def test_hostile(s):
    number = 2 if QUICK else 8
    before = s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"]
    compiled = metric(s, "surprisal:grammars_total")
    with concurrent.futures.ThreadPoolExecutor(number) as pool:
        asked = [pool.submit(s.json, COMPLETIONS, {"prompt": "a", "structured_outputs": {"json": HOSTILE}}) for _ in range(number)]
        while s.json("/load")[1]["server_load"] < number and not asked[-1].done():
            pass
        healthy = s.healthy()
        plain = s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"]
        waiting = sum(not a.done() for a in asked)
        check(healthy and plain == before and waiting, "/health and answers without form do not wait for hostile schemas", waiting)
        check(all(a.result()[0] == 400 for a in asked), "hostile schemas are refused", [a.result() for a in asked])
    check(metric(s, "surprisal:grammars_total") == compiled + number, "metrics count what was compiled")
    body = json.dumps({"prompt": "a", "structured_outputs": {"json": HOSTILE}}).encode()
    left = [s.connect() for _ in range(3 * number)]
    for i, c in enumerate(left):
        c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (COMPLETIONS.encode(), len(body)) + body)
    for c in left:
        c.close()
    check(s.idle(60) and s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"] == before, "clients that leave while their schema is compiled")


def test_metrics(s):
    names = ("grammars_total", "grammar_seconds_total", "masks_total", "mask_walks_total", "mask_seconds_total")
    values = {n: metric(s, "surprisal:" + n) for n in names}
    masks = values["masks_total"]
    s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5, structured_outputs={"regex": "x{9}"}, ignore_eos=True)
    check(all(v > 0 for v in values.values()) and metric(s, "surprisal:masks_total") == masks + 5, "metrics count the masks", values)
    print(f"# {masks:.0f} masks of the demo vocabulary, {1e3 * values['mask_seconds_total'] / masks:.3f} ms each")


with Server(DEMO, *CARD) as main_server:
    for test in (test_schemas, test_formats, test_bits, test_fields, test_refusals, test_calls, test_hostile, test_metrics):
        attempt(test.__name__, test, main_server)
    check(main_server.stop() == 0, "the server ends in order", main_server.lines[-3:])
attempt("test_strict_calls", test_strict_calls)
done()
