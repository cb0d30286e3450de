"""`chat` and `generate --chat`: turns, thinking, tools; the bits of a cold start; what is refused and goes on; the terminal."""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
import scripted_checkpoint
from check import QUICK, attempt, check, done, skip
from program import ROOT, SHARED, SURPRISAL, fresh, ids_file
from program import run as must

DEMO = {name: os.path.join(ROOT, "data", "demo", name) for name in ("bf16", "mxfp4")}
TEMPLATE = os.path.join(DEMO["bf16"], "chat_template.jinja")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
SAYS = "I am a tiny demo model with the Qwen3.5 MoE architecture."
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {
    "city": {"type": "string"}, "days": {"type": "integer"}}}}}, {"type": "function", "function": {"name": "now"}}]
CALLS = ["Thinking.\n", "</think>", "\n\nLet me see.\n", "<tool_call>",
         "\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n",
         "<function=now>\n</function>\n", "</tool_call>", "<|im_end|>"]


def file(content, name="file"):
    path = fresh(name)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode())
    return path


def scripted(name, script, **kw):
    """-> the folder of a scripted checkpoint, made once"""
    if name not in scripted.made:
        scripted.made[name] = scripted_checkpoint.make(fresh(name), script, **kw)
    return scripted.made[name]


scripted.made = {}


def run(command, *args, stdin=b""):
    return subprocess.run([SURPRISAL, command, *map(str, args)], capture_output=True, timeout=600,
                          input=stdin if isinstance(stdin, bytes) else stdin.encode())


def turns(checkpoint, *args, lines=()):
    """-> the JSON of each turn"""
    r = run("chat", checkpoint, "--json", *args, stdin="".join(line + "\n" for line in lines))
    if r.stderr or r.returncode:
        raise RuntimeError(f"status {r.returncode}: {r.stderr}")
    return [json.loads(line) for line in r.stdout.splitlines()]


def refused(name, status, says, command, *args):
    r = run(command, *args)
    one = r.stderr.count(b"\n") == 1 and r.stderr.startswith(b"surprisal")
    check(r.returncode == status and one and says.encode() in r.stderr and not r.stdout, name,
          f"status {r.returncode}, stderr {r.stderr!r}, stdout {r.stdout[:80]!r}")


# ---- answers -----------------------------------------------------------------------


def test_says():
    where = [(name, path, []) for name, path in DEMO.items()]
    shared = os.path.join(SHARED, "checkpoints")
    if os.path.isdir(shared):
        where += [(name, os.path.join(shared, name), ["--chat-template", TEMPLATE]) for name in sorted(os.listdir(shared))]
    else:
        skip("chat with the shared checkpoints", "no ../shared")
    for name, path, options in where:
        r = run("chat", path, "--temperature", 0, *options, stdin="Who are you?\n")
        check(r.returncode == 0 and SAYS in r.stdout.decode() and b"<think>\n" in r.stdout and b"</think>\n\nI am" in r.stdout,
              f"{name} says who it is, its reasoning marked off", (r.returncode, r.stdout, r.stderr[-300:]))
        r = run("chat", path, "--temperature", 0, "--thinking", "off", *options, stdin="Who are you?")
        check(r.returncode == 0 and r.stdout.decode().startswith(SAYS), f"{name}, without thinking and the last line end",
              (r.returncode, r.stdout, r.stderr[-300:]))
    check(re.fullmatch(rb"context: 32768 tokens; memory when it is full: [\d.]+ MB\n"
                       rb"prompt: \d+ tokens, [\d.]+ tokens/s; answer: \d+ tokens, [\d.]+ tokens/s\n", run(
                           "chat", DEMO["mxfp4"], "--temperature", 0, stdin="Who are you?\n").stderr),
          "the size beforehand and the speeds afterwards, on stderr")
    r = run("chat", DEMO["mxfp4"], "--quiet", stdin="")
    check(r.returncode == 0 and not r.stdout and not r.stderr, "no turn, no answer", r)


def rendered(checkpoint, messages, *options):
    """-> ids"""
    return [int(x) for x in must("render", checkpoint, "--ids", "--messages", file(messages, "messages"), *options).stdout.split()]


def history(got):
    """-> the message that a client sends back"""
    message = {"role": "assistant", "content": got["content"]}
    if got["reasoning"] is not None:
        message["reasoning"] = got["reasoning"]
    if got["tool_calls"]:
        message["tool_calls"] = [{"type": "function", "function": call} for call in got["tool_calls"]]
    return message


def cold(checkpoint, got, *options):
    """-> generate's answer to the ids of a turn"""
    return json.loads(must("generate", checkpoint, "--ids", ids_file(got["prompt_ids"]), "--json", "--max-tokens",
                           max(1, got["completion_tokens"]), *options).stdout)


# Turns of odd lengths, so that prompts end at, before and behind multiples of 64.
LINES = ["Who are you?", "word " * 30, "What can you do?", "x", "one two three " * 9, "Thanks!", "a b c d e f g h " * 16, "And now?"]


def follow(name, checkpoint, sampling, options, lines, system=None):
    """Each turn against render and a cold start."""
    said = ["--system", system] if system else []
    messages = [{"role": "system", "content": system}] if system else []
    prompt_options = [x for x in options if not str(x).startswith(("--compute", "bf16"))]
    right, bits, cached = True, True, []
    for line, got in zip(lines, turns(checkpoint, *sampling, *said, *options, lines=lines), strict=True):
        messages.append({"role": "user", "content": line})
        right = right and got["prompt_ids"] == rendered(checkpoint, messages, *prompt_options)
        if not QUICK or len(messages) < 6:
            same = cold(checkpoint, got, *sampling, *[x for x in options if x in ("--compute", "bf16")])
            bits = bits and all(same[key] == got[key] for key in ("ids", "logprobs", "text", "prompt_tokens"))
        cached.append(got["cached_tokens"])
        messages.append(history(got))
    check(right, f"{name}: the ids of each turn are render's", messages)
    check(bits, f"{name}: each answer has the bits of a cold start", cached)
    return cached


def test_turns():
    drawn = ("--seed", 7, "--max-tokens", 25)
    cached = follow("thinking", DEMO["mxfp4"], drawn, [], LINES, "You are a model for demonstrations. " * 4)
    check(all(n % 64 == 0 for n in cached) and sum(n > 0 for n in cached) >= len(LINES) // 2 and cached[-1] > cached[3] > 0,
          "what prompts have in common is not computed again, in multiples of 64", cached)
    follow("without thinking", DEMO["bf16"], drawn, ["--thinking", "off"], LINES[:5])
    follow("thinking on, greedy", DEMO["mxfp4"], ("--temperature", 0, "--max-tokens", 90), ["--thinking", "on"], LINES[:4])
    follow("bf16", DEMO["bf16"], drawn, ["--compute", "bf16"], LINES[:5], "s " * 40)


def test_prefixes():
    """A snapshot at every place: prompts of 1 to 150 tokens more than the one before."""
    lines = ["a " * (1 + 9 * i % 70) for i in range(6 if QUICK else 14)]
    follow("many lengths", DEMO["mxfp4"], ("--seed", 3, "--max-tokens", 6), ["--thinking", "off"], lines)
    # Tokens that no other turn has in common: messages are given, and end otherwise.
    first = turns(DEMO["mxfp4"], "--seed", 3, "--max-tokens", 6, "--thinking", "off", lines=lines[:3])
    again = turns(DEMO["mxfp4"], "--seed", 3, "--max-tokens", 6, "--thinking", "off", lines=lines[:3])
    check([x["logprobs"] for x in first] == [x["logprobs"] for x in again], "the same turns, the same bits")


def test_json():
    got, = turns(DEMO["mxfp4"], "--temperature", 0, lines=["Who are you?"])
    check(got["reasoning"].startswith("The user asks") and got["content"].startswith(SAYS) and got["tool_calls"] == []
          and got["finish_reason"] == "stop" and got["stop_reason"] == got["ids"][-1] == 4065
          and got["completion_tokens"] == len(got["ids"]) == len(got["logprobs"]) and got["prompt_tokens"] == len(got["prompt_ids"])
          and got["prefill_tokens_per_second"] > 0 and got["decode_tokens_per_second"] > 0, "the fields of a turn", got)
    parsed = json.loads(run("parse", "--tokenizer", DEMO["mxfp4"], stdin=got["text"]).stdout)
    check({k: got[k] for k in parsed} == parsed, "reasoning and content are parse's of the text", (parsed, got["text"]))
    text = run("chat", DEMO["mxfp4"], "--temperature", 0, stdin="Who are you?\n").stdout.decode()
    check(text == f"<think>\n{got['reasoning']}\n</think>\n\n{got['content']}\n", "the text of a pipe", text)
    plain, = turns(DEMO["mxfp4"], "--temperature", 0, "--reasoning-parser", "none", lines=["Who are you?"])
    check(plain["reasoning"] is None and "</think>" in plain["content"], "--reasoning-parser none", plain["content"])
    one = json.loads(must("generate", DEMO["mxfp4"], "--chat", "--prompt", "Who are you?", "--temperature", 0, "--json", "--max-tokens", 100).stdout)
    check(all(one[k] == got[k] for k in ("reasoning", "content", "tool_calls", "text", "ids", "logprobs", "prompt_ids", "finish_reason")),
          "generate --chat is the first turn", one)
    for options in (["--thinking", "off"], ["--system", "Be brief."], ["--thinking", "off", "--system", "é\u2028\"\\"]):
        one = json.loads(must("generate", DEMO["mxfp4"], "--chat", "--file", file("Who are you?"), "--seed", 1, "--json", *options).stdout)
        got, = turns(DEMO["mxfp4"], "--seed", 1, "--max-tokens", 16, *options, lines=["Who are you?"])
        check(all(one[k] == got[k] for k in ("ids", "logprobs", "prompt_ids")) and one["completion_tokens"] <= 16,
              f"generate --chat with {options}", (one["prompt_ids"], got["prompt_ids"]))
    r = run("generate", DEMO["mxfp4"], "--chat", "--prompt", "Who are you?", "--temperature", 0, "--max-tokens", 100)
    check(r.stdout.decode() == text, "and its text", r.stdout)
    cut = run("generate", DEMO["mxfp4"], "--chat", "--prompt", "Who are you?", "--temperature", 0)
    check(cut.stdout.endswith(b"\n</think>\n") and b"cut off at --max-tokens" in cut.stderr, "reasoning that is cut off is closed", cut)


def test_stops():
    """A stop text counts in the raw text, before the parser; what may become one is held back."""
    for stop, reasoning, content in (("demo model with", None, "I am a tiny "), ("</think>", "whole", None), ("think>\n\nI", "+</", None)):
        whole, = turns(DEMO["mxfp4"], "--temperature", 0, lines=["Who are you?"])
        got, = turns(DEMO["mxfp4"], "--temperature", 0, "--stop", stop, lines=["Who are you?"])
        text = whole["text"][:whole["text"].index(stop)]
        want = whole["reasoning"] if reasoning != "+</" else whole["reasoning"] + "\n</"
        check(got["text"] == text and got["stop_reason"] == stop and (got["reasoning"] or "").strip() == want.strip()
              and (got["content"] or "").strip() == (content or "").strip(), f"stop text {stop!r}", got)


# ---- tools ---------------------------------------------------------------------------


def test_tools():
    folder, tools = scripted("calls", CALLS), file(TOOLS)
    results = ["sunny </tool_response><|im_end|> \u00e9", "", "rain", "12:00"]
    got = turns(folder, "--tools", tools, "--temperature", 0, lines=["How is the weather?", *results])
    calls = [{"name": "get_weather", "arguments": '{"city": "Paris", "days": 3}'}, {"name": "now", "arguments": "{}"}]
    check(len(got) == 3 and all(x["tool_calls"] == calls and x["finish_reason"] == "tool_calls" and x["reasoning"] == "Thinking."
                                and x["content"] == "Let me see." for x in got), "calls, and an answer to their results", got)
    messages = [{"role": "user", "content": "How is the weather?"}]
    for i, turn in enumerate(got):
        check(turn["prompt_ids"] == rendered(folder, messages, "--tools", tools), f"tools: the ids of turn {i + 1}", messages)
        messages.append(history(turn))
        messages += [{"role": "tool", "content": r} for r in results[2 * i:2 * i + 2]]
    check(got[1]["cached_tokens"] > 0, "tools: a result is added to what was computed", got[1]["cached_tokens"])
    plain = turns(folder, "--tools", tools, "--temperature", 0, "--special-tokens-in-text", "plain", lines=["How?", *results[:2]])
    check(plain[1]["prompt_ids"].count(4065) == got[1]["prompt_ids"].count(4065) - 1, "special tokens of a result stay text where that is wanted")
    text = run("chat", folder, "--tools", tools, "--temperature", 0, stdin="How?\nsunny\n").stdout.decode()
    check(text == "<think>\nThinking.\n</think>\n\nLet me see.\ncall get_weather {\"city\": \"Paris\", \"days\": 3}\ncall now {}\n",
          "the text of calls; the end of input in the middle of results", text)
    none, = turns(folder, "--temperature", 0, lines=["How?"])
    check(none["tool_calls"] == [] and "<function=now>" in none["content"] and none["finish_reason"] == "stop", "without tools markup is text", none)
    cut = turns(folder, "--tools", tools, "--temperature", 0, "--max-tokens", 5, lines=["How?", "Go on."])
    check([x["finish_reason"] for x in cut] == ["length"] * 2 and cut[0]["tool_calls"] == calls[:1] and len(cut) == 2,
          "after a call at the limit the next line is a turn", cut)
    one = json.loads(must("generate", folder, "--chat", "--prompt", "How is the weather?", "--tools", tools, "--json").stdout)
    check(one["tool_calls"] == calls and one["prompt_ids"] == got[0]["prompt_ids"], "generate --chat with tools", one)


def test_messages():
    begun = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
    got = turns(DEMO["mxfp4"], "--temperature", 0, "--messages", file(begun), lines=["Thanks!"])
    check(len(got) == 2 and got[0]["prompt_ids"] == rendered(DEMO["mxfp4"], begun)
          and got[1]["prompt_ids"] == rendered(DEMO["mxfp4"], [*begun, history(got[0]), {"role": "user", "content": "Thanks!"}]),
          "a conversation that ends with a question is answered first", got)
    answered = [*begun, {"role": "assistant", "content": "A model."}]
    body = {"messages": answered, "tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
    got = turns(scripted("calls", CALLS), "--temperature", 0, "--messages", file(body), lines=["Thanks!"])
    check(len(got) == 1 and got[0]["prompt_ids"] == rendered(DEMO["mxfp4"], {**body, "messages": [*answered, {"role": "user", "content": "Thanks!"}]})
          and len(got[0]["tool_calls"]) == 2, "one that does not waits; an object brings its tools", got)
    r = run("chat", DEMO["mxfp4"], "--temperature", 0, "--messages", "-", "--quiet", stdin=json.dumps(begun))
    check(r.returncode == 0 and SAYS in r.stdout.decode(), "messages on standard input", r)


# ---- what goes wrong --------------------------------------------------------------------


def test_refusals():
    demo, user = DEMO["mxfp4"], ("--prompt", "Hello")
    bare = fresh("bare")
    shutil.copytree(demo, bare, ignore=shutil.ignore_patterns("chat_template.jinja"))
    for name, status, says, args in (
            ("no checkpoint", 2, "CHECKPOINT is missing", ["chat"]),
            ("a prompt", 2, "--prompt", ["chat", demo, *user]),
            ("temperature above 2", 2, "temperature is out of range", ["chat", demo, "--temperature", 3]),
            ("thinking maybe", 2, "on, off or default", ["chat", demo, "--thinking", "maybe"]),
            ("system and messages", 2, "--system and --messages", ["chat", demo, "--system", "x", "--messages", "-"]),
            ("a context of 1", 2, "--context", ["chat", demo, "--context", 1]),
            ("options of a chat without it", 2, "--thinking needs --chat", ["generate", demo, *user, "--thinking", "on"]),
            ("tools without a chat", 2, "--tools needs --chat", ["generate", demo, *user, "--tools", "x"]),
            ("ids as a turn", 2, "ids are no turn", ["generate", demo, "--chat", "--ids", file("1 2")]),
            ("no template", 1, "--chat-template FILE gives one", ["chat", bare]),
            ("no template for generate", 1, "--chat-template FILE gives one", ["generate", bare, "--chat", *user]),
            ("a template outside the language", 1, "line 1", ["chat", demo, "--chat-template", file("{% include 'x' %}")]),
            ("a name that the hub's cache lacks", 1, "nor is it in the hub's cache", ["chat", "owner/no-such-model"]),
            ("a revision of a folder", 1, "only a name OWNER/NAME", ["generate", demo, "--chat", *user, "--revision", "x"]),
            ("tools that are no JSON", 1, "tools", ["chat", demo, "--tools", file("{")]),
            ("tools that are no list", 1, "tools", ["chat", demo, "--tools", file({"a": 1})]),
            ("messages that are no JSON", 1, "messages", ["chat", demo, "--messages", file("[")]),
            ("a file that is not there", 1, "nowhere", ["chat", demo, "--messages", fresh("nowhere")]),
            ("a context beyond the model's", 1, "beyond the 32768 tokens", ["chat", demo, "--context", 32769]),
            ("no tokenizer", 1, "tokenizer.json", ["chat", os.path.join(ROOT, "tests", "fixtures", "mini"), "--chat-template", TEMPLATE])):
        refused(name, status, says, *args)
    r = run("chat", bare, "--chat-template", TEMPLATE, "--temperature", 0, "--quiet", stdin="Who are you?\n")
    check(SAYS in r.stdout.decode(), "--chat-template instead of none", r)


def test_memory():
    demo = DEMO["mxfp4"]
    r = run("chat", demo, "--memory", "20M", stdin="x\n")
    named = re.search(rb"needs (\d+)M in all", r.stderr)
    check(r.returncode == 1 and named and not r.stdout, "a budget that is too small is refused with the sum", r)
    if named:
        got = turns(demo, "--memory", named[1].decode() + "M", "--max-tokens", 4, lines=["x", "y"])
        check(len(got) == 2 and (QUICK or got[1]["peak_rss_bytes"] <= int(named[1]) << 20),     # sanitizers have memory of their own
              "which suffices and is kept", got[1]["peak_rss_bytes"])
        r = run("chat", demo, "--memory", named[1].decode() + "M", "--context", 32768, "--max-tokens", 4, stdin="x\n")
        check(r.returncode == 0, "the sum is that of the whole context", r)
        short = ("--context", 128, "--max-tokens", 4)
        r = run("chat", demo, "--memory", "20M", *short, stdin="x\n")
        less = re.search(rb"needs (\d+)M in all", r.stderr)
        check(r.returncode == 1 and less and int(less[1]) < int(named[1]), "a shorter context needs less", r)
        if less:
            r = run("chat", demo, "--memory", less[1].decode() + "M", *short, stdin="x\n")
            check(r.returncode == 0, "which suffices too", r)


def test_context():
    demo, long = DEMO["mxfp4"], "word " * 60
    r = run("chat", demo, "--context", 64, "--ignore-eos", "--seed", 1, "--thinking", "off", "--json", stdin=f"Hello\n{long}\nHello\n")
    lines = [json.loads(x) for x in r.stdout.splitlines()]
    check(len(lines) == 3 and lines[0]["finish_reason"] == "context" and lines[0]["context"] == 64
          and lines[0]["prompt_tokens"] + lines[0]["completion_tokens"] == 64, "an answer ends where the context does", lines)
    check("error" in lines[1] and "no room for an answer in the context of 64" in lines[1]["error"], "then a turn is refused in words", lines)
    check(r.returncode == 1 and r.stderr.count(b"\n") == 2, "the program goes on, and its status tells", (r.returncode, r.stderr))
    r = run("chat", demo, "--context", 64, "--temperature", 0, "--thinking", "off", stdin=f"{long}\nWho are you?\n")
    check(r.returncode == 1 and r.stdout.decode().startswith(SAYS) and b"prompt: 19 tokens" in r.stderr,
          "a turn that does not fit is dropped, and the next one answered", r)
    r = run("chat", demo, "--context", 64, "--ignore-eos", "--seed", 1, stdin="Hello\n")
    check(b"the model's context is full" in r.stderr and r.returncode == 0, "and says so", r.stderr)


def test_lines():
    demo = DEMO["mxfp4"]
    quick = ("--temperature", 0, "--max-tokens", 3, "--json")
    r = run("chat", demo, *quick, stdin=b"\n\r\nWho\r\n\n\nare\n")
    got = [json.loads(x) for x in r.stdout.splitlines()]
    want = [{"role": "user", "content": "Who"}]
    check(len(got) == 2 and got[0]["prompt_ids"] == rendered(demo, want), "empty lines are no turns, CRLF is a line end", r)
    r = run("chat", demo, *quick, stdin=b"caf\xe9\nWho\n")
    got = [json.loads(x) for x in r.stdout.splitlines()]
    check(r.returncode == 1 and "invalid UTF-8 at byte 3" in got[0]["error"] and got[1]["prompt_ids"] == rendered(demo, want),
          "a line that is not UTF-8 is refused, and the next one answered", r)
    r = run("chat", demo, *quick, stdin=b"a\0b\n")
    got = [json.loads(x) for x in r.stdout.splitlines()]
    check(r.returncode == 0 and got[0]["prompt_ids"] == rendered(demo, [{"role": "user", "content": "a\0b"}]), "NUL is a character", r)
    r = run("chat", demo, *quick, stdin=b"y" * (33 << 20) + b"\nWho\n" + b"z" * (33 << 20))
    got = [json.loads(x) for x in r.stdout.splitlines()]
    check(r.returncode == 1 and len(got) == 3 and "longer than 32 MiB" in got[0]["error"] and got[1]["prompt_ids"] == rendered(demo, want)
          and "longer than 32 MiB" in got[2]["error"], "a line without end is left out", (r.returncode, r.stdout[:300]))
    r = run("chat", demo, *quick, stdin=b"y" * 200000 + b"\nWho\n")
    check(b"no room for an answer" in r.stderr and len(r.stdout.splitlines()) == 2, "a line longer than the context", r.stderr)


def test_template_errors():
    template = file("{% for m in messages %}{% if 'bad' in m.content %}{{ raise_exception('No ' + m.content + '.') }}{% endif %}"
                    "{{ m.role + ':' + m.content + '\\n' }}{% endfor %}assistant:", "template")
    r = run("chat", DEMO["mxfp4"], "--chat-template", template, "--max-tokens", 3, "--temperature", 0, "--json", stdin="one\na bad one\ntwo\n")
    got = [json.loads(x) for x in r.stdout.splitlines()]
    check(r.returncode == 1 and "No a bad one." in got[1]["error"] and b"No a bad one." in r.stderr, "the template's own message", r)
    want = [{"role": "user", "content": "one"}, history(got[0]), {"role": "user", "content": "two"}]
    check(got[2]["prompt_ids"] == rendered(DEMO["mxfp4"], want, "--chat-template", template), "the turn is gone", got[2])


# ---- signals and the terminal ----------------------------------------------------------------


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args, **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(SURPRISAL, [SURPRISAL, *map(str, args)], {**os.environ, "TERM": "xterm", **env})
        mode = termios.tcgetattr(self.fd)
        mode[3] &= ~termios.ECHO
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)
        self.seen = b""

    def read(self, until, seconds=300):
        """-> whether it wrote that, after what was read before"""
        self.seen, end = b"", time.time() + seconds
        while until not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.time()))
            try:
                piece = os.read(self.fd, 4096) if ready else b""
            except OSError:
                piece = b""
            if not piece:
                return False
            self.seen += piece
        return True

    def write(self, keys):
        os.write(self.fd, keys)

    def end(self):
        """-> exit status"""
        self.read(b"no program writes this")
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def test_terminal():
    t = Terminal("chat", DEMO["mxfp4"], "--temperature", 0)
    check(t.read(b"> "), "a prompt sign", t.seen)
    t.write(b"Who are you?\n")
    check(t.read(b"\n> ") and b"\x1b[2mThe user asks who I am." in t.seen and b"\x1b[0m\r\n\r\nI am a tiny" in t.seen and b"<think>" not in t.seen,
          "reasoning is dim", t.seen)
    t.write(b"\n")
    check(t.read(b"> "), "an empty line gives the sign again", t.seen)
    t.write(b"\x04")
    check(t.end() == 0, "Ctrl-D ends the chat", t.seen)
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        t = Terminal("chat", DEMO["mxfp4"], "--temperature", 0, **env)
        t.read(b"> ")
        t.write(b"Who are you?\n")
        check(t.read(b"\n> ") and b"<think>" in t.seen and b"\x1b[2m" not in t.seen, f"with {env} it is labelled", t.seen)
        t.write(b"\x04")
        t.end()


def test_control_characters():
    """In reasoning, content, names and arguments."""
    evil = "\x1b]0;owned\x07\x9b31m\x7f"
    folder = scripted("evil", ["r" + evil, "</think>", "c" + evil, "<tool_call>", f"<function=now><parameter=k>\nv{evil}\n</parameter></function>",
                               "</tool_call>", "<|im_end|>"])
    t = Terminal("chat", folder, "--tools", file(TOOLS), "--temperature", 0, "--quiet", TERM="dumb")
    t.read(b"> ")
    t.write(b"Hi\n")
    check(t.read(b"result of now> ") and b"c?]0;owned??31m?" in t.seen and b"r?]0;owned??31m?" in t.seen
          and not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]", t.seen), "control characters never reach the terminal", t.seen)
    t.write(b"noon\n")
    check(t.read(b"result of now> "), "a result is asked for, and sent", t.seen)
    t.write(b"\x04")
    check(t.end() == 0, "Ctrl-D instead of a result", t.seen)
    piped, = turns(folder, "--tools", file(TOOLS), "--temperature", 0, lines=["Hi"])
    check(piped["content"] == "c" + evil and piped["reasoning"] == "r" + evil, "JSON has them", piped)


def test_interrupt():
    endless = scripted("endless", ["la ", "li ", "lu "], endless=True)
    t = Terminal("chat", endless, "--temperature", 0, "--thinking", "off")
    t.read(b"> ")
    t.write(b"Sing\n")
    check(t.read(b"la li lu la li lu "), "tokens appear as they come", t.seen)
    t.write(b"\x03")
    check(t.read(b"> ") and b"interrupted" in t.seen, "Ctrl-C ends the answer, and the chat goes on", t.seen[-300:])
    t.write(b"More\n")
    check(t.read(b"la li lu la li lu "), "with another turn", t.seen[-300:])
    t.write(b"\x03")
    again = t.read(b"> ") and re.search(rb"prompt: (\d+) tokens", t.seen)
    check(again and int(again[1]) > 25, "whose prompt has what was said before it", t.seen[-300:])
    t.write(b"\x03")
    check(t.end() == 130, "Ctrl-C at the prompt ends the program with 130", t.seen)
    for name, number, stdin in (("SIGTERM", signal.SIGTERM, b"Sing\nMore\n"), ("SIGINT in a pipe", signal.SIGINT, b"Sing\nMore\n")):
        p = subprocess.Popen([SURPRISAL, "chat", endless, "--temperature", "0", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        p.stdin.write(stdin)
        p.stdin.flush()
        time.sleep(3)
        p.send_signal(number)
        out, err = p.communicate(timeout=300)
        got = [json.loads(x) for x in out.splitlines()]
        check(p.returncode == 130 and len(got) == 1 and got[0]["finish_reason"] == "interrupted", f"{name} ends the program", (p.returncode, got, err))
    p = subprocess.Popen([SURPRISAL, "chat", endless, "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2)
    p.send_signal(signal.SIGTERM)
    check(p.wait(timeout=60) == 130, "a signal ends the wait for a line", p.returncode)
    p.communicate()


if __name__ == "__main__":
    for test in (test_says, test_turns, test_prefixes, test_json, test_stops, test_tools, test_messages, test_refusals, test_memory, test_context,
                 test_lines, test_template_errors, test_terminal, test_control_characters, test_interrupt):
        attempt(test.__name__, test)
    done()
