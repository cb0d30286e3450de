"""The test harness for scripts: the same lines as check.h, read by tests/run."""
import os
import signal
import subprocess
import sys
import time

failures = 0
# 1 under sanitizers, 2 on an emulated CPU: what takes long is left out or made smaller.
QUICK = int(os.environ.get("SURPRISAL_TEST_QUICK") or 0)

# What a shell starts in the background has SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And what nohup starts has SIGHUP ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def check(ok, name, why=""):
    global failures
    print(f"pass {name}" if ok else f"fail {name}: {why}", flush=True)
    failures += not ok
    return bool(ok)


def skip(name, why):
    print(f"skip {name}: {why}", flush=True)


def attempt(name, test, *args):
    """Runs a test; an exception that a broken program causes is a failed check, not the end of the script."""
    try:
        test(*args)
    except (RuntimeError, KeyError, ValueError, OSError, TypeError) as e:
        check(False, name, repr(e))


def interrupted(command, number=signal.SIGINT, watch=lambda: None):
    """Runs `eval ... --progress` and sends it a signal among its layers, later when it was still at the embedding, which
    leaves no state -> exit status, stdout, stderr after the progress of the embedding.  watch() is called before the signal."""
    for delay in (0.2, 1, 5):
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = p.stderr.readline()
        while line and "embedding" not in line:
            line = p.stderr.readline()
        watch()
        time.sleep(delay)
        p.send_signal(number)
        out, err = p.communicate(timeout=900)
        if "before the first layer" not in err:
            break
    return p.returncode, out, err


def done():
    sys.exit(1 if failures else 0)
