"""`serve` under attack: bodies that are no JSON, too large, too deep or slow, clients that leave, many at once.  After each of
them /health is 200 and the next answer is what it was."""
import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
from check import QUICK, attempt, check, done, skip
from program import ROOT
from serving import Server

DEMO = os.path.join(ROOT, "data", "demo", "mxfp4")
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
WHO = [{"role": "user", "content": "Who are you?"}]
ALL = bool(os.environ.get("SURPRISAL_TEST_ALL"))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def raw(s, data, read=True):
    """Sends bytes, as far as they are taken -> what comes back up to the end of the connection"""
    with s.connect() as c:
        try:
            c.sendall(data)
        except OSError:
            pass
        got = b""
        while read:
            try:
                more = c.recv(65536)
            except OSError:
                break
            if not more:
                break
            got += more
        return got


def head(path, length, *more, method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def still(s):
    return s.healthy() and s.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"] == still.before


def test_bodies(s):
    deep = b'{"prompt":' + b"[" * 10**6 + b"]" * 10**6 + b"}"
    cases = [
        ("no JSON", b"{", 400), ("nothing", b"", 400), ("a list", b"[]", 400), ("a number", b"5", 400), ("null", b"null", 400),
        ("more behind it", b'{"prompt": "a"} x', 400), ("invalid UTF-8", b'{"prompt": "\xff\xfe"}', 400), ("a lone surrogate", b'{"prompt": "\\ud800"}', 400),
        ("NaN", b'{"prompt": "a", "temperature": NaN}', 400), ("Infinity", b'{"prompt": "a", "temperature": Infinity}', 400),
        ("1e999", b'{"prompt": "a", "temperature": 1e999}', 400), ("an integer of 5000 digits", b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", 400),
        ("depth of a million", deep, 400), ("depth of 65", b'{"metadata":' + b"[" * 65 + b"]" * 65 + b"}", 400),
        ("a raw line end in a string", b'{"prompt": "a\nb"}', 400), ("a comma too many", b'{"prompt": "a",}', 400),
        ("the last of two keys", b'{"prompt": 5, "prompt": "a", "max_tokens": 1}', 200), ("NUL in text", b'{"prompt": "a\\u0000b", "max_tokens": 1}', 200),
        ("NUL in a stop text", b'{"prompt": "a", "stop": "\\u0000"}', 400),
    ]
    for name, body, expected in cases:
        status, _, answer = s.request("POST", COMPLETIONS, body)
        check(status == expected and json.loads(answer) is not None and (status == 200 or set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}),
              f"{expected}: {name}", (status, answer[:200]))
    long = json.loads(s.request("POST", COMPLETIONS, json.dumps({"model": "é" * 5000}).encode())[2])["error"]["message"]
    check(len(long.encode()) < 400, "a message repeats little of what was sent", len(long))
    status, answer = s.json("/detokenize", {"tokens": [4159]})
    check(status == 400, "an id without token: 400", answer)
    check(still(s), "after bodies of all kinds")


def test_mutations(s):
    r = random.Random(5)
    good = json.dumps({"messages": WHO, "max_tokens": 1, "stop": ["a"], "logit_bias": {"5": 1}, "tools": [{"type": "function", "function": {"name": "a"}}],
                       "stream": False, "seed": 1}).encode()
    pieces = [b"{", b"}", b"[", b"]", b'"', b"\\", b"\\u12", b"null", b"-", b"1e5", b"\xc3", b",", b":", b"\x00"]
    wrong = []
    for i in range(60 if QUICK else 600):
        body = bytearray(good)
        for _ in range(r.randint(1, 4)):
            at = r.randrange(len(body))
            body[at:at + r.randint(0, 3)] = r.choice(pieces)
        status = s.request("POST", CHAT, bytes(body))[0]
        if status not in (200, 400, 404):
            wrong.append((status, bytes(body)))
    check(not wrong and still(s), "mutated bodies: an answer or a refusal", wrong[:2])


def test_sizes(s):
    n = 64 << 20
    body = b'{"prompt": "' + b"a" * n + b'"}'
    got = raw(s, head(COMPLETIONS, len(body)) + body)
    check(got.startswith(b"HTTP/1.1 413") and b"RequestTooLargeError" in got, "64 MB: 413", got[:200])
    with s.connect() as c:
        c.sendall(head(COMPLETIONS, len(body)) + body[:1000])
        c.settimeout(20)
        check(c.recv(20).startswith(b"HTTP/1.1 413"), "413 comes before the body is complete")
    with s.connect() as c:
        c.sendall(head(COMPLETIONS, len(body), "Expect: 100-continue"))
        check(c.recv(20).startswith(b"HTTP/1.1 413"), "413 instead of 100 Continue")
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    start = head(COMPLETIONS, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    got = raw(s, start + chunk * 40 + b"0\r\n\r\n")
    check(got.startswith(b"HTTP/1.1 413"), "40 MB in chunks of unknown number: 413", got[:200])
    got = raw(s, head("/health", 0, "X-Long: " + "a" * 17000, "Connection: close", method="GET"))
    check(got.startswith(b"HTTP/1.1 431"), "a header of 17 KB: 431", got[:100])
    got = raw(s, head("/health", 0, "X-Long: " + "a" * 10**6, "Connection: close", method="GET"))
    check(got.startswith(b"HTTP/1.1 431") or got == b"", "a header of 1 MB", got[:100])
    for bad in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST /v1/completions HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", head(COMPLETIONS, -5)):
        with s.connect() as c:
            c.sendall(bad)
            c.settimeout(2)
            try:
                c.recv(100)
            except OSError:
                pass
    check(still(s), "after bodies and headers of all sizes, and what is no HTTP")


def test_line_ends(s):
    """Characters that are escaped for the sake of streams, so many that work of their square would hold the server for minutes."""
    n = 50_000 if QUICK else 2_000_000
    one, end = (s.post("/tokenize", prompt=p)["tokens"] for p in ("\u0085", "\u0085\u2028\u2029\"\u2027\u20a8\xa9\x01"))
    status, _, answer = s.request("POST", "/detokenize", json.dumps({"tokens": one * n + end}).encode(), timeout=60)
    expected = b'{"prompt":"' + b"\\u0085" * n + b'\\u0085\\u2028\\u2029\\"\xe2\x80\xa7\xe2\x82\xa8\xc2\xa9\\u0001"}'
    check(status == 200 and answer == expected, f"{n} ends of lines are escaped in time that grows with their number", (status, len(answer), answer[-100:]))
    check(still(s), "after many ends of lines")


def test_leaving(s):
    """Clients that leave before the body is there, before an answer and in its stream."""
    body = json.dumps({"prompt": "The", "max_tokens": 900, "ignore_eos": True, "stream": True}).encode()
    plain = json.dumps({"prompt": "The", "max_tokens": 900, "ignore_eos": True}).encode()
    for i in range(10 if QUICK else 1000 if ALL else 60):
        with s.connect() as c:
            kind = i % 4
            c.sendall(head(COMPLETIONS, len(body if kind < 3 else plain)))
            if kind == 0:
                c.sendall(body[:10])
            else:
                c.sendall(body if kind < 3 else plain)
            if kind == 1:
                c.recv(500)
            if kind == 2:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    check(s.idle(), "clients that left have freed their places")
    check(still(s), "after clients that left")


def test_slow(s):
    """Sends a byte a second."""
    begun = time.time()
    with s.connect() as c:
        got = b""
        data = head(COMPLETIONS, 1000) + b" " * 1000
        try:
            for i in range(90):
                c.sendall(data[i:i + 1] if i < 60 else b" ")
                time.sleep(1)
        except OSError:
            pass
        try:
            got = c.recv(1000)
        except OSError:
            pass
    seconds = time.time() - begun
    check(b" 408 " in got or 55 < seconds < 75, "a slow sender is refused after 60 seconds", (got, seconds))
    check(still(s), "after a slow sender")


def test_keep_alive():
    with Server(DEMO, "--max-model-len", 8192, "--sse-keep-alive-interval", 1, "--max-num-seqs", 1, "--request-timeout", 4, "--max-queue", 1) as s:
        long = {"prompt": "The", "max_tokens": 8000, "ignore_eos": True}
        results = {}

        def ask(name, body):
            results[name] = s.request("POST", COMPLETIONS, body)
        threads = [threading.Thread(target=ask, args=(i, {**long, "stream": i == 0})) for i in range(2)]
        threads[0].start()
        time.sleep(0.3)
        threads[1].start()
        time.sleep(0.3)
        status, headers, answer = s.request("POST", COMPLETIONS, long)
        check(status == 429 and headers["Retry-After"] and json.loads(answer)["error"]["type"] == "RateLimitError", "a full queue: 429 with Retry-After", (status, answer))
        for t in threads:
            t.join()
        status, headers, data = results[0]
        check(status == 200 and b"RequestTimeoutError" in data[-500:] and data.endswith(b"data: [DONE]\n\n"), "a stream beyond its time ends with an error", data[-300:])
        status, _, data = results[1]
        check(status == 408 and json.loads(data)["error"]["code"] == 408, "a request beyond its time: 408", (status, data[:200]))
        check(s.idle() and s.healthy(), "after requests beyond their time")
        slow = threading.Thread(target=ask, args=("long", {"prompt": "The", "max_tokens": 8000, "ignore_eos": True}))
        slow.start()
        time.sleep(0.3)
        with s.connect() as c:
            body = json.dumps({"prompt": "A", "max_tokens": 1, "stream": True}).encode()
            c.sendall(head(COMPLETIONS, len(body)) + body)
            time.sleep(2.5)
            got = c.recv(65536)
            check(b": keep-alive\n\n" in got, "a stream that waits gets comments", got)
        slow.join()


def test_many(s):
    """Requests of all kinds from many clients at once."""
    kinds = [("GET", "/health", None), ("GET", "/v1/models", None), ("GET", "/metrics", None), ("POST", COMPLETIONS, {"prompt": "The", "max_tokens": 3}),
             ("POST", COMPLETIONS, {"prompt": ["A", "B"], "max_tokens": 2, "stream": True, "logprobs": 1}), ("POST", CHAT, {"messages": WHO, "max_tokens": 3}),
             ("POST", CHAT, {"messages": WHO, "max_tokens": 4, "stream": True}), ("POST", "/tokenize", {"prompt": "x" * 100}), ("POST", CHAT, {"messages": []}),
             ("POST", COMPLETIONS, {"prompt": "a", "temperature": 9}), ("GET", "/nowhere", None), ("POST", COMPLETIONS, {"prompt": "In", "n": 3, "max_tokens": 2}),
             ("POST", CHAT, {"messages": WHO, "max_tokens": 8, "response_format": {"type": "json_object"}, "temperature": 0, "stream": True})]
    statuses, per_client = [], 4 if QUICK else 80 if ALL else 8

    def client(seed):
        r = random.Random(seed)
        c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=300)
        for _ in range(per_client):
            method, path, body = r.choice(kinds)
            c.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
            answer = c.getresponse()
            answer.read()
            statuses.append(answer.status)
        c.close()
    sizes = []
    for part in range(2):
        threads = [threading.Thread(target=client, args=(64 * part + i,)) for i in range(16 if QUICK else 64)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        sizes.append(s.memory())
    print(f"# {len(statuses)} requests of 64 clients; resident bytes after each half: {sizes}")
    check(set(statuses) == {200, 400, 404} and s.idle(), "many clients at once", {x: statuses.count(x) for x in set(statuses)})
    check(QUICK or sizes[1] < sizes[0] * 1.15 + (16 << 20), "memory does not grow", sizes)
    check(still(s), "after many clients")


def test_stop():
    """SIGTERM ends what runs within seconds, and its streams in order."""
    s = Server(DEMO, "--max-model-len", 32768 if not QUICK else 8192)
    got = {}

    def ask():
        got["stream"] = s.request("POST", COMPLETIONS, {"prompt": "The", "max_tokens": 8000 if QUICK else 32000, "ignore_eos": True, "stream": True})
    t = threading.Thread(target=ask)
    t.start()
    time.sleep(1)
    begun = time.time()
    status = s.stop(signal.SIGTERM)
    t.join()
    data = got["stream"][2]
    check(status == 0 and time.time() - begun < 60 and data.endswith(b"data: [DONE]\n\n"), "SIGTERM: a stream ends with [DONE], status 0", (status, data[-200:], s.lines[-3:]))


if QUICK > 1:
    skip("serve", "takes too long on an emulated CPU")
    done()
with Server(DEMO, "--max-model-len", 1024) as server:
    still.before = server.post(COMPLETIONS, prompt="The", seed=1, max_tokens=5)["choices"]
    for test in (test_bodies, test_mutations, test_sizes, test_line_ends, test_leaving, test_many):
        attempt(test.__name__, test, server)
    if ALL:
        attempt("test_slow", test_slow, server)
    else:
        skip("a slow sender", "takes a minute: SURPRISAL_TEST_ALL=1 runs it")
    check(server.stop() == 0, "the server ends in order", server.lines[-3:])
for test in (test_keep_alive, test_stop):
    attempt(test.__name__, test)
done()
