"""The test harness for scripts: the same lines as check.h, read by tests/run."""
import sys

failures = 0


def check(ok, name, why=""):
    global failures
    print(f"pass {name}" if ok else f"fail {name}: {why}", flush=True)
    failures += not ok
    return bool(ok)


def skip(name, why):
    print(f"skip {name}: {why}", flush=True)


def done():
    sys.exit(1 if failures else 0)
