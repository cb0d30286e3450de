"""The test harness for scripts: the same lines as check.h, read by tests/run."""
import signal
import sys

failures = 0

# What a shell starts in the background has SIGINT ignored, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


def done():
    sys.exit(1 if failures else 0)
