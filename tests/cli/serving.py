"""Starts `surprisal serve` for a test and speaks HTTP with it, by Python's standard library alone."""
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
from program import SURPRISAL


class Server:
    """with Server(CHECKPOINT, options...) as s: ..."""

    def __init__(self, checkpoint, *options):
        self.p = subprocess.Popen([SURPRISAL, "serve", checkpoint, "--port", "0", *map(str, options)],
                                  stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.p.stderr:
            self.lines.append(line)
            if "is served at" in line:
                self.port = int(line.rsplit(":", 1)[1])
                return
        raise RuntimeError(f"no server: {self.lines}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        """-> exit status"""
        if self.p.poll() is None:
            self.p.send_signal(number)
        self.lines += self.p.communicate(timeout=60)[1].splitlines(True)
        return self.p.returncode

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.p.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def request(self, method, path, body=None, headers=(), timeout=300):
        """body: a dict, or bytes -> status, headers, bytes"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        try:
            c.request(method, path, data, {**sent, **dict(headers)})
            r = c.getresponse()
            return r.status, r.headers, r.read()
        finally:
            c.close()

    def json(self, path, body=None, **kw):
        """-> status, JSON"""
        status, _, data = self.request("GET" if body is None else "POST", path, body, **kw)
        return status, json.loads(data)

    def post(self, path, **body):
        """-> JSON of an answer that must be 200"""
        status, answer = self.json(path, body)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {answer}")
        return answer

    def stream(self, path, **body):
        """-> events of a stream that must end with [DONE]"""
        status, headers, data = self.request("POST", path, {**body, "stream": True})
        if status != 200 or not headers["Content-Type"].startswith("text/event-stream"):
            raise RuntimeError(f"{path}: {status} {data[:300]}")
        events = [e for e in data.decode().split("\n\n") if e and not e.startswith(":")]
        if any(not e.startswith("data: ") for e in events) or events[-1] != "data: [DONE]":
            raise RuntimeError(f"{path}: {data[-300:]}")
        return [json.loads(e[6:]) for e in events[:-1]]

    def healthy(self):
        return self.request("GET", "/health")[0] == 200

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def idle(self, seconds=20):
        """Does the server come to have nothing to do?"""
        end = time.time() + seconds
        while time.time() < end:
            if self.json("/load")[1]["server_load"] == 0:
                return True
            time.sleep(0.05)
        return False


def whole(events):
    """The message, ids and log-probabilities of a chat's stream, one for each choice, as an answer has them."""
    choices = {}
    for event in events:
        for c in event["choices"]:
            m = choices.setdefault(c["index"], {"content": "", "reasoning": "", "tool_calls": [], "logprobs": [], "token_ids": [],
                                                "finish_reason": None, "stop_reason": None, "deltas": []})
            d = c["delta"]
            m["deltas"].append(d)
            m["content"] += d.get("content") or ""
            m["reasoning"] += d.get("reasoning") or ""
            for call in d.get("tool_calls", ()):
                if "id" in call:
                    m["tool_calls"].append({"name": call["function"]["name"], "arguments": ""})
                m["tool_calls"][call["index"]]["arguments"] += call["function"]["arguments"]
            m["logprobs"] += c["logprobs"]["content"] if c.get("logprobs") else []
            m["token_ids"] += c.get("token_ids") or []
            m["finish_reason"] = c["finish_reason"] or m["finish_reason"]
            m["stop_reason"] = c.get("stop_reason", m["stop_reason"])
    return [choices[i] for i in sorted(choices)]


def message(choice):
    """A choice of an answer in the form of whole()."""
    m = choice["message"]
    return {"content": m["content"] or "", "reasoning": m["reasoning"] or "",
            "tool_calls": [{"name": c["function"]["name"], "arguments": c["function"]["arguments"]} for c in m.get("tool_calls", ())],
            "logprobs": choice["logprobs"]["content"] if choice["logprobs"] else [], "token_ids": choice["token_ids"] or [],
            "finish_reason": choice["finish_reason"], "stop_reason": choice["stop_reason"]}


def same(answer, events):
    """Does the stream say what the answer says?"""
    streamed = [{k: v for k, v in m.items() if k != "deltas"} for m in whole(events)]
    return streamed == [message(c) for c in answer["choices"]]
