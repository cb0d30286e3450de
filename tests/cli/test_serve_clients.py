"""`serve` and clients that nobody here wrote: the `openai` packages of Python (with the model card's program) and of Node,
langchain-openai, LiteLLM, `llm`, OpenAI's own description of its answers, lm-evaluation-harness.  Each is skipped where its package
is missing; Node finds its own by NODE_PATH."""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import scripted_checkpoint
from check import QUICK, attempt, check, done, skip
from program import ROOT, SHARED, evaluate, fresh
from serving import Server

DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
CARD = ("--gpu-memory-utilization", "0.85", "--max-model-len", "4096", "--reasoning-parser", "qwen3", "--enable-auto-tool-choice",
        "--tool-call-parser", "qwen3_coder")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
WHO = [{"role": "user", "content": "Who are you?"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}]
CALLS = ["Thinking.\n", "</think>", "\n\nLet me see.\n", "<tool_call>",
         "\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n", "</tool_call>", "<|im_end|>"]


def test_openai(s, calls):
    try:
        import openai
    except ImportError:
        skip("the openai package", "it is not installed")
        return
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="EMPTY")
    # The model card's program.
    answer = client.chat.completions.create(model="mxfp4", messages=WHO, max_tokens=200, temperature=0, top_p=0.95, presence_penalty=1.5,
                                            extra_body={"top_k": 20})
    check("demo model" in answer.choices[0].message.content and answer.choices[0].message.reasoning, "openai: the card's program", answer)
    off = client.chat.completions.create(model="mxfp4", messages=WHO, temperature=0, extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    check(off.choices[0].message.content and off.choices[0].message.reasoning is None, "openai: without thinking", off)
    text, usage = "", None
    for chunk in client.chat.completions.create(model="mxfp4", messages=WHO, temperature=0, stream=True, stream_options={"include_usage": True}):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    check("demo model" in text and usage.completion_tokens, "openai: a stream", text)
    done_text = client.completions.create(model="mxfp4", prompt="The", max_tokens=4, logprobs=2, echo=True)
    check(len(done_text.choices[0].logprobs.tokens) == 5, "openai: completions", done_text)
    check([m.id for m in client.models.list().data][-1] == "mxfp4", "openai: models")
    for name, kind, body in (("400", openai.BadRequestError, {"temperature": 9}), ("404", openai.NotFoundError, {"model": "x"})):
        try:
            client.chat.completions.create(**{"model": "mxfp4", "messages": WHO, **body})
            check(False, f"openai: {name}", "no exception")
        except kind as e:
            check(e.param == ("temperature" if name == "400" else "model"), f"openai: {name}", e)
    tools = openai.OpenAI(base_url=f"http://127.0.0.1:{calls.port}/v1", api_key="EMPTY")
    a = tools.chat.completions.create(model="", messages=WHO, tools=TOOLS, temperature=0).choices[0]
    call = a.message.tool_calls[0]
    check(a.finish_reason == "tool_calls" and json.loads(call.function.arguments) == {"city": "Paris", "days": 3}, "openai: a tool call", a)
    history = [*WHO, a.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    check(tools.chat.completions.create(model="", messages=history, tools=TOOLS, max_tokens=3, temperature=0).choices, "openai: the result of a tool")
    with tools.chat.completions.stream(model="", messages=WHO, tools=TOOLS, temperature=0) as stream:
        final = stream.get_final_completion().choices[0].message
    check(final.tool_calls[0].function.name == "get_weather" and json.loads(final.tool_calls[0].function.arguments)["days"] == 3,
          "openai: a streamed tool call, put together by the package", final)


def test_node(s, calls):
    program = os.path.join(HERE, "serve_client.cjs")
    try:
        r = subprocess.run(["node", program, str(s.port), str(calls.port)], capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        skip("Node's openai package", "there is no node")
        return
    if "Cannot find module 'openai'" in r.stderr:
        skip("Node's openai package", "it is not installed where NODE_PATH says")
        return
    got = json.loads(r.stdout) if r.returncode == 0 else {}
    check(got and "demo model" in got["answer"]["message"]["content"] and got["models"][-1] == "mxfp4" and got["completion"] == "length",
          "Node's openai: answers", got or r.stderr)
    check(got and got["stream"] == got["answer"]["message"]["content"], "Node's openai: a stream", got)
    check(got and got["call"]["finish_reason"] == "tool_calls"
          and json.loads(got["call"]["message"]["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris", "days": 3}
          and json.loads(got["streamed_call"]["arguments"]) == {"city": "Paris", "days": 3}, "Node's openai: a tool call, whole and streamed", got)
    check(got and got["error"] == {"status": 400, "param": "temperature", "type": "BadRequestError"}, "Node's openai: an error", got)


def test_langchain(s, calls):
    try:
        from langchain_openai import ChatOpenAI
    except ImportError:
        skip("langchain-openai", "it is not installed")
        return

    def chat(port, **more):
        return ChatOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="EMPTY", model="", temperature=0, max_retries=0, **more)
    answer = chat(s.port).invoke("Who are you?")
    check("demo model" in answer.content and answer.usage_metadata["output_tokens"] > 0, "langchain-openai: an answer", answer)
    text = "".join(chunk.content for chunk in chat(s.port).stream("Who are you?"))
    check(text == answer.content, "langchain-openai: a stream", text)
    call = chat(calls.port).bind_tools(TOOLS).invoke("Who are you?").tool_calls[0]
    check(call["name"] == "get_weather" and call["args"] == {"city": "Paris", "days": 3}, "langchain-openai: a tool call", call)
    schema = {"title": "reply", "type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"], "additionalProperties": False}
    got = chat(s.port).with_structured_output(schema, method="json_schema").invoke("Who are you?")
    check(set(got) == {"yes"} and isinstance(got["yes"], bool), "langchain-openai: an answer under a schema", got)


def test_litellm(s, calls):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"         # it asks GitHub for a list otherwise
    try:
        import litellm
    except ImportError:
        skip("LiteLLM", "it is not installed")
        return
    to = {"model": "openai/mxfp4", "api_base": f"http://127.0.0.1:{s.port}/v1", "api_key": "EMPTY", "messages": WHO, "temperature": 0}
    answer = litellm.completion(**to).choices[0].message
    check("demo model" in answer.content and answer.reasoning_content, "LiteLLM: an answer with its reasoning", answer)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in litellm.completion(**to, stream=True))
    check(text == answer.content, "LiteLLM: a stream", text)
    to.update(model="openai/" + calls.json("/v1/models")[1]["data"][-1]["id"], api_base=f"http://127.0.0.1:{calls.port}/v1")
    call = litellm.completion(**to, tools=TOOLS).choices[0].message.tool_calls[0].function
    check(call.name == "get_weather" and json.loads(call.arguments) == {"city": "Paris", "days": 3}, "LiteLLM: a tool call", call)


def test_llm(s, _):
    """`llm`, the command, with a file that describes the server."""
    program = os.path.join(os.path.dirname(sys.executable), "llm")
    if not os.path.exists(program):
        skip("llm", "it is not installed beside this Python")
        return
    folder = fresh("llm")
    os.mkdir(folder)
    with open(os.path.join(folder, "extra-openai-models.yaml"), "w", encoding="utf-8") as f:
        f.write(f'- model_id: demo\n  model_name: mxfp4\n  api_base: "http://127.0.0.1:{s.port}/v1"\n')
    env = {**os.environ, "LLM_USER_PATH": folder, "OPENAI_API_KEY": "EMPTY"}
    for name, more in (("a stream", ()), ("an answer", ("--no-stream",))):
        r = subprocess.run([program, "-m", "demo", "-o", "temperature", "0", *more, "Who are you?"], env=env, capture_output=True, text=True, timeout=120)
        check(r.returncode == 0 and "demo model" in r.stdout, f"llm: {name}", r)


# What differs from OpenAI's description, and is vLLM's: codes of errors are numbers; null where OpenAI leaves fields out; and in events
# OpenAI's own servers have null as well, which its description forbids.
NULLS = ("annotations", "audio", "function_call", "reasoning", "reasoning_content", "tool_calls", "prompt_logprobs", "service_tier", "logprobs",
         "stop_reason", "token_ids", "prompt_token_ids", "param")


def without_nulls(x):
    if isinstance(x, dict):
        return {k: without_nulls(v) for k, v in x.items() if not (v is None and k in NULLS and k not in ("logprobs", "param"))}
    return [without_nulls(v) for v in x] if isinstance(x, list) else x


def test_schema(s, calls):
    path = os.path.join(SHARED, "data", "openai", "openapi.json")
    try:
        import jsonschema
    except ImportError:
        skip("OpenAI's description", "python3-jsonschema is not installed")
        return
    if not os.path.exists(path):
        skip("OpenAI's description", "no ../shared")
        return
    with open(path, encoding="utf-8") as f:
        document = json.load(f)

    def valid(name, answer, schema):
        v = jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": document["components"]})
        errors = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in v.iter_errors(without_nulls(answer))]
        check(not errors, f"OpenAI's {schema}: {name}", errors[:3])
    chat = {"messages": WHO, "temperature": 0, "max_tokens": 60}
    valid("a chat", s.post("/v1/chat/completions", **chat), "CreateChatCompletionResponse")
    valid("log-probabilities", s.post("/v1/chat/completions", **chat, logprobs=True, top_logprobs=2), "CreateChatCompletionResponse")
    valid("a tool call", calls.post("/v1/chat/completions", messages=WHO, tools=TOOLS, temperature=0), "CreateChatCompletionResponse")
    valid("a completion", s.post("/v1/completions", prompt="The", max_tokens=3), "CreateCompletionResponse")
    for server, body in ((s, {**chat, "logprobs": True, "stream_options": {"include_usage": True}}), (calls, {"messages": WHO, "tools": TOOLS, "temperature": 0})):
        for i, event in enumerate(server.stream("/v1/chat/completions", **body)):
            if i < 5 or not event["choices"] or event["choices"][0]["finish_reason"] or "tool_calls" in str(event):
                for c in event["choices"]:
                    c["finish_reason"] = c["finish_reason"] or "stop"
                    if c["logprobs"] is None:
                        del c["logprobs"]
                    else:
                        c["logprobs"]["refusal"] = c["logprobs"]["refusal"] or []
                valid(f"event {i}", event, "CreateChatCompletionStreamResponse")
    valid("models", s.json("/v1/models")[1], "ListModelsResponse")
    error = s.json("/v1/chat/completions", {"messages": []})[1]
    error["error"]["code"] = str(error["error"]["code"])
    valid("an error", error, "ErrorResponse")


def test_harness(s):
    try:
        from lm_eval.models.openai_completions import LocalCompletionsAPI
        lm = LocalCompletionsAPI(model="mxfp4", base_url=f"http://127.0.0.1:{s.port}/v1/completions", tokenizer_backend="remote",
                                 max_length=2047, tokenized_requests=True, batch_size=2)
    except ImportError as e:
        skip("lm-evaluation-harness", f"it cannot be imported: {e}")
        return
    from lm_eval.api.instance import Instance
    with open(os.path.join(ROOT, "data", "demo", "text.txt"), encoding="utf-8") as f:
        text = f.read()
    texts = [text[i * 900:i * 900 + 700] for i in range(4)]
    got = lm.loglikelihood([Instance("loglikelihood", {}, (t[:350], t[350:]), i) for i, t in enumerate(texts)])
    worst = 0
    for t, (value, _) in zip(texts, got):
        ids = s.post("/tokenize", prompt=t)["tokens"]
        n = len(s.post("/tokenize", prompt=t[:350])["tokens"])
        if s.post("/detokenize", tokens=ids[:n])["prompt"] != t[:350]:
            continue
        _, tokens = evaluate(DEMO, ids, "--context", len(ids))
        worst = max(worst, abs(value + float(tokens["nll"][n - 1:].sum())) / (len(ids) - n))
    print(f"# lm-evaluation-harness: difference a token at most {worst:.2g}")
    check(0 < worst < 1e-4, "[14] lm-evaluation-harness: the likelihoods of eval", worst)


if QUICK > 1:
    skip("serve", "takes too long on an emulated CPU")
    done()
with Server(DEMO, *CARD) as server, Server(scripted_checkpoint.make(fresh("calls"), CALLS), *CARD[2:]) as of_calls:
    for name, test in (("openai", test_openai), ("Node", test_node), ("langchain", test_langchain), ("litellm", test_litellm), ("llm", test_llm)):
        attempt(name, test, server, of_calls)
    attempt("schema", test_schema, server, of_calls)
    attempt("harness", test_harness, server)
done()
