"""What the comparisons with other programs share: where things are, and what is missing.

Import it first: a script beside transformers.py would otherwise import that in place of the package.
"""
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
sys.path.insert(0, os.path.join(HERE, "..", "conformance"))
PROCESSORS = len(os.sched_getaffinity(0))


def skip(why):
    """Ends the script; missing needs are no failure."""
    print(f"skip {os.path.basename(sys.argv[0])}: {why}", flush=True)
    sys.exit(0)


def check_needs():
    """Skips when something is missing; loads nothing."""
    packages = ("numpy", "torch", "transformers", "tokenizers", "safetensors")
    missing = [p for p in packages if not importlib.util.find_spec(p)]
    if missing:
        skip("missing packages: " + ", ".join(missing))
    from program import SHARED
    if not os.path.isdir(os.path.join(SHARED, "oracle")):
        skip("no ../shared/oracle beside the project")


def needs_oracle():
    """-> torch, make_goldens"""
    check_needs()
    from make_fixtures import oracle
    torch, _, make_goldens = oracle()
    return torch, make_goldens
