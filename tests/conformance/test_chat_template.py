"""Chat templates render as jinja2 renders them, in the environment that transformers makes for them
(utils/chat_template_utils.py): published templates over generated conversations, and small templates over odd values."""
import datetime
import glob
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from check import QUICK, check, done, skip
from program import ROOT, SURPRISAL, fresh

RENDER = os.path.join(os.path.dirname(SURPRISAL), "tests", "unit", "chat", "test_template")
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "data", "templates")
# All that is published for the family must render; what the others need beyond it is refused by name and line.
SUPPORTED = ["qwen2_5", "qwen2_5_vl", "qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6", "qwen3_8",
             "qwen3_instruct_2507", "qwen3_vl"]
# Where Python computes and this program refuses (src/chat/value.h).
LIMITS = ["number beyond 64 bits", "'*' of a string", "'*' of a list", "'*' of a tuple"]


def environment():
    import jinja2
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = datetime.datetime.fromtimestamp(86400).strftime
    return env


# ---- generated conversations ---------------------------------------------------------------

WORDS = ["", " ", "hi", "\n\nx\n", "\u2003wide\u00a0", "\u200bzero", "\x1c\x1d", "</think>", "<think>why\n</think>\n\nanswer",
         "a</think>b</think>c", "<tool_response>r</tool_response>", "<tool_response>\nx", "<|im_end|>", "é😀字", "{{ x }}", "a'b\"c\\",
         "tab\there", "\x00nul", "<b>&amp;</b>", "\r\nline", "\x85next", "\u2028sep"]
NUMBERS = [0, 1, -1, 3.0, 1.5, 1e22, 1e-7, 1e16, 123456789012345678901234567890, -0.0, 0.1, 1e15, 5e-324, 9223372036854775807, -9223372036854775808]


def value(r, depth=0):
    kind = r.randrange(8 if depth < 3 else 5)
    if kind < 2:
        return r.choice(WORDS)
    if kind == 2:
        return r.choice(NUMBERS)
    if kind == 3:
        return r.choice([True, False, None])
    if kind == 4:
        return r.choice(["text", 7])
    if kind == 5:
        return [value(r, depth + 1) for _ in range(r.randrange(3))]
    return {r.choice(["a", "b c", "ключ", "items", ""]): value(r, depth + 1) for _ in range(r.randrange(3))}


def content(r):
    kind = r.randrange(12)
    if kind < 7:
        return "".join(r.choice(WORDS) for _ in range(r.randrange(4)))
    if kind < 10:
        return [r.choice([{"type": "text", "text": r.choice(WORDS)}, {"text": r.choice(WORDS)}, {"type": "image"},
                          {"type": "image_url", "image_url": {"url": "x"}}, {"type": "video"}, {"type": "input_audio"}])
                for _ in range(r.randrange(4))]
    return r.choice([None, 5, True, {"text": "x"}])


def call(r):
    function = {"name": r.choice(["f", "get_weather"])}
    if r.random() < 0.9:
        function["arguments"] = {r.choice(["city", "n", "o"]): value(r) for _ in range(r.randrange(3))} if r.random() < 0.9 \
            else r.choice(["", "{}", None, [1]])
    return {"type": "function", "function": function} if r.random() < 0.8 else function


def message(r, role):
    m = {"role": role}
    if r.random() < 0.95:
        m["content"] = content(r)
    if role == "assistant":
        if r.random() < 0.4:
            m["reasoning_content"] = r.choice([*WORDS, None, 5])
        if r.random() < 0.4:
            m["tool_calls"] = r.choice([[call(r) for _ in range(r.randrange(4))], None, [], {}])
    return m


def conversation(r):
    roles = ["system"] if r.random() < 0.4 else []
    roles += [r.choice(["user", "assistant", "tool", "user", "assistant", "system" if r.random() < 0.1 else "tool"])
              for _ in range(r.randrange(7))]
    if r.random() < 0.05:
        roles.append(r.choice(["developer", "", 5]))
    variables = {"messages": [message(r, role) for role in roles]}
    tool = {"type": "function", "function": {"name": "f", "description": r.choice(WORDS), "parameters": value(r)}}
    variables["tools"] = r.choice([None, None, [], [tool], [tool, tool], {"a": 1}])
    for flag in ["add_generation_prompt", "enable_thinking", "add_vision_id", "preserve_thinking"]:
        if r.random() < 0.6:
            variables[flag] = r.choice([True, False, None, 0, "false"]) if r.random() < 0.3 else r.choice([True, False])
    if r.random() < 0.2:
        variables["reasoning_effort"] = r.choice(["low", "medium", "xhigh", "other"])
    return variables


def expected(template, variables):
    """-> (text, None) or (None, the error)"""
    try:
        return template.render(**variables), None
    except Exception as e:
        return None, f"{type(e).__name__}: {e}"


def rendered(path, requests, name):
    """What our program makes of them -> list of {"text"} or {"error"}"""
    lines = fresh(name) + ".jsonl"
    with open(lines, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(x, ensure_ascii=False) + "\n" for x in requests)
    ran = subprocess.run([RENDER, path, lines], capture_output=True, text=True, timeout=600)
    os.remove(lines)
    if ran.returncode:
        return [{"crash": f"exit status {ran.returncode}: {ran.stderr[-300:]}"}] * len(requests)
    return [json.loads(line) for line in ran.stdout.split("\n") if line]


def differences(path, source, requests, env, name):
    template = env.from_string(source)
    ours = rendered(path, requests, name)
    if len(ours) != len(requests):
        return [f"{len(ours)} answers for {len(requests)}"], 0
    wrong, texts = [], 0
    for request, got in zip(requests, ours):
        text, error = expected(template, request)
        texts += text is not None
        if any(limit in got.get("error", "") for limit in LIMITS):
            continue
        if text is not None and got.get("text") != text:
            wrong.append(f"{json.dumps(request)[:600]}: {str(got)[-300:]}, jinja2 {text[-300:]!r}")
        if text is None and "error" not in got:
            wrong.append(f"{json.dumps(request)[:600]}: {str(got)[-300:]}, jinja2 {error}")
        if text is None and error.startswith("TemplateError: ") and not got.get("error", "").endswith(error[15:]):
            wrong.append(f"{json.dumps(request)[:600]}: {str(got)[-300:]}, jinja2 {error}")
    return wrong, texts


def test_published(env):
    n = 200 if QUICK else 2000
    for path in sorted(glob.glob(os.path.join(SHARED, "*.jinja"))):
        name = os.path.basename(path)[:-6]
        requests = [conversation(random.Random(i)) for i in range(n)]
        first = rendered(path, requests[:1], name)[0]
        if name not in SUPPORTED and "is not supported" in first.get("error", ""):
            check(": line " in first["error"], f"{name} is refused by name and line", first)
            continue
        with open(path, encoding="utf-8") as f:
            wrong, texts = differences(path, f.read(), requests, env, name)
        for line in wrong[:3]:
            print("#", line)
        check(not wrong and texts > n / 50, f"{name} renders {n} conversations as jinja2 does", f"{len(wrong)} differ, {texts} texts")


# ---- small templates ---------------------------------------------------------------------------

EXPRESSIONS = [
    "v", "v|tojson", "v|string", "v|trim", "v|length", "v|list", "v|items|list", "v|first", "v|last", "v|join('-')", "v|upper", "v|lower",
    "v|default('d')", "v|default('d', true)", "v|int", "v|replace('a', 'b')", "v|tojson(indent=2)", "v is defined", "v is none",
    "v is string", "v is mapping", "v is iterable", "v is sequence", "v is true", "v is false", "v is number", "v is boolean",
    "v is integer", "v is float", "v + 'x'", "v + 1", "v + v", "v ~ v", "v * 2", "v - 1", "v / 2", "v // 2", "v % 3", "-v", "not v",
    "v and 1", "v or 1", "v == w", "v != w", "v < w", "v >= w", "v in w", "v not in w", "v[0]", "v[-1]", "v['a']", "v.a", "v.a.b",
    "v[::-1]", "v[1:]", "v[:-1]", "v[::2]", "v[5:1:-2]", "v.strip()", "v.split()", "v.split('a')", "v.split(None, 1)", "v.rstrip('\\n')",
    "v.startswith('a')", "v.replace('a', '')", "v.replace('', '-')", "v.get('a')", "v.items()|list", "v.keys()|list", "[v, w]", "(v,)",
    "{'k': v}", "v if w else 'e'", "v if w", "v.nope", "nope", "nope.x", "v|tojson|length", "v[w]", "v|string|length", "v.upper()",
]
STATEMENTS = [
    "{% for x in v %}{{ x }}{{ loop.index }}{{ loop.last }},{% else %}none{% endfor %}",
    "{% for x, y in v|items %}{{ x }}:{{ y }};{% endfor %}",
    "{% for x in v if x %}{{ loop.length }}{{ loop.previtem }}{% endfor %}",
    "  {% if v %}\n  a\n  {% elif w %}\n  b\n  {% else %}\n c {%- endif %}\n\n {{- v }} \n",
    "{% macro f(a, b=v) -%} {{ a }}|{{ b }} {%- endmacro %}{{ f(w) }}{{ f(1, b=2) }}",
    "{% set ns = namespace(a=v) %}{% for i in range(2) %}{% set ns.a = [ns.a, i] %}{% endfor %}{{ ns.a }}",
    "{% set a, b = v %}{{ a }}{{ b }}", "{#- c -#} x {#+ d #}\n{{ v }}\n\n", "a\n\t {%+ set q = v %}\n{{ q }}",
    "{% for x in v %}{% if loop.first %}{% continue %}{% endif %}{{ x }}{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
]


def test_small(env):
    r = random.Random(1)
    values = [*WORDS, *NUMBERS, True, False, None, [], {}, [1, "a"], {"a": 1}, "abca", "12", " -3 ", "4.5", *(value(r) for _ in range(30))]
    wrong, n = [], 0
    for source in [*("{{ " + e + " }}" for e in EXPRESSIONS), *STATEMENTS]:
        requests = [{"v": r.choice(values), "w": r.choice(values)} for _ in range(20 if QUICK else 100)] + [{"v": v} for v in values] + [{}]
        path = fresh("small") + ".jinja"
        with open(path, "w", encoding="utf-8", newline="") as f:
            f.write(source)
        found, texts = differences(path, source, requests, env, "small")
        os.remove(path)
        wrong += [f"{source}: {w}" for w in found]
        n += texts
        for line in found[:2]:
            print("#", source, line)
    check(not wrong and n > 1000, "small templates over odd values render as in jinja2", f"{len(wrong)} differ, {n} texts")


if __name__ == "__main__":
    try:
        env = environment()
    except ImportError as e:
        skip("templates render as in jinja2", f"{e} (Debian package python3-jinja2)")
        done()
    if not os.path.exists(RENDER):
        skip("templates render as in jinja2", f"no {RENDER}")
        done()
    test_small(env)
    if os.path.isdir(SHARED):
        test_published(env)
    else:
        skip("published templates render as in jinja2", f"no {SHARED}")
    done()
