"""An evaluation long enough to save states, with several passes: for tests that interrupt it."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "data", "demo")
NUMBERS = ("first_window", "n_windows", "row", "layer", "mixer_done", "rows_done", "passes", "bytes_read", "model_tokens")


def numbers(state):
    """Where a saved state stands, {name: number}; None when there is none."""
    try:
        with open(state, "rb") as f:
            size = int.from_bytes(f.read(8), "little")
            begin, end = json.loads(f.read(size))["numbers"]["data_offsets"]
            f.seek(8 + size + begin)
            raw = f.read(end - begin)
    except (OSError, ValueError, KeyError):
        return None
    return {name: int.from_bytes(raw[8 * i:8 * i + 8], "little", signed=True) for i, name in enumerate(NUMBERS)}


class Checkpoint:
    def __init__(self, program, folder, quick=0):
        self.program, self.folder, self.checkpoint = program, folder, os.path.join(DEMO, "bf16")
        self.text, self.other = os.path.join(folder, "long-text"), os.path.join(folder, "other-text")
        text = open(os.path.join(DEMO, "text.txt")).read()
        text = text[:80000] if quick else 3 * text      # some 40,000 tokens: several passes
        for name, content in ((self.text, text), (self.other, "x" + text[1:])):
            with open(name, "w") as f:
                f.write(content)
        self.bytes = None
        self.memory = self.small_budget()

    def small_budget(self):
        """The least budget that suffices, by steps: then there are several passes.  (Sanitizers take memory of their own.)"""
        for megabytes in range(32, 1000, 6):
            self.memory = f"{megabytes}M"
            p = subprocess.Popen([self.program, *self.args(self.checkpoint, os.path.join(self.folder, "budget")), "--progress"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
            fits = False
            for line in p.stderr:
                fits = re.match(r"\d+ pass", line) is not None
                if fits:
                    break
            p.kill()
            p.communicate()
            if fits:
                break
        return self.memory

    def args(self, checkpoint, out, text=None):
        return ["eval", checkpoint, "--text", text or self.text, "--context", "256", "--memory", self.memory, "--hidden", "bf16", "--out", out]

    def run(self, out, *options):
        return subprocess.run([self.program, *self.args(self.checkpoint, out), "--quiet", *options], capture_output=True, text=True, timeout=1800)

    def resume(self, out, *options):
        return self.run(out, "--resume", *options)

    def whole(self):
        """The bytes of the record that an uninterrupted run leaves."""
        if self.bytes is None:
            out = os.path.join(self.folder, "whole-run")
            p = self.run(out)
            if p.returncode:
                raise RuntimeError(p.stderr)
            with open(os.path.join(out, "tokens.safetensors"), "rb") as f:
                self.bytes = f.read()
        return self.bytes

    def interrupted(self, out, rows, text=None):
        """Interrupts a run that has a state to go on from; with rows: one that counts rows of earlier passes -> what the state
        says, or None.  A state that was saved in passing is found by a kill; on a busy machine, where saving costs too large a
        share, Ctrl-C makes one."""
        text = self.other if text else self.text
        state = out + ".partial/state.safetensors"
        seconds = 600.0
        for signal_number, share in ((signal.SIGKILL, 2), (signal.SIGINT, 0.7), (signal.SIGINT, 0.5), (signal.SIGINT, 0.85), (signal.SIGINT, 0.6)):
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(out + ".partial", ignore_errors=True)
            started = time.monotonic()
            p = subprocess.Popen([self.program, *self.args(self.checkpoint, out, text), "--quiet"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while p.poll() is None and time.monotonic() - started < share * seconds:
                found = numbers(state)
                if signal_number == signal.SIGKILL and found and (not rows or found["row"] > 0):
                    break
                time.sleep(0.005)
            ended = p.poll() is not None
            p.send_signal(signal_number)
            p.wait()
            if ended:
                seconds = time.monotonic() - started
            found = numbers(state)
            if found and (not rows or found["row"] > 0):
                return found
        return None
