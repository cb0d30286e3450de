"""Faults that people of this field meet, in the engine, the trace and the command line: a test for each row of the list, by
its number (16.21, 16.22, 16.27)."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from check import attempt, check, done
from program import SURPRISAL


def program(*args):
    return subprocess.run([SURPRISAL, *map(str, args)], capture_output=True, text=True, timeout=600)


# ---- 16.27: misspelt options and commands ---------------------------------------

MISSPELT = [    # what is wrong with the word, arguments, the name that is offered; None: none is
    ("a letter is missing", ["eval", "--txt", "FILE"], "--text"),
    ("a letter is missing, with a value", ["eval", "--txt=FILE"], "--text"),
    ("a letter is too many", ["eval", "--contextt", "8"], "--context"),
    ("two letters are swapped", ["eval", "--protcool", "rolling"], "--protocol"),
    ("the beginning of a name", ["eval", "--cont", "8"], "--context"),
    ("one dash", ["eval", "-text", "FILE"], "--text"),
    ("an underscore", ["eval", "--max_windows", "3"], "--max-windows"),
    ("capitals", ["eval", "--Text", "FILE"], "--text"),
    ("an option of compare", ["compare", "--htm", "FILE"], "--html"),
    ("no name is near", ["eval", "--foo"], None),
    ("a letter alone", ["eval", "-x"], None),
    ("a word of 5000 letters", ["eval", "--" + "text" * 1250], None),
    ("nothing before the value", ["eval", "--=3"], None),
    ("a command without a letter", ["evl", "FOLDER"], "eval"),
    ("a command with swapped letters", ["comapre"], "compare"),
    ("a command as an option", ["--eval"], "eval"),
    ("an option as a command", ["version"], "--version"),
    ("no command is near", ["xyz"], None),
]


def test_misspelt():
    for name, args, offered in MISSPELT:
        r = program(*args)
        lines = r.stderr.splitlines()
        says = f"did you mean {offered}?" in r.stderr if offered else "did you mean" not in r.stderr
        check(r.returncode == 2 and len(lines) == 1 and says and "unknown" in r.stderr and not r.stdout,
              f"16.27 {name}: {offered or 'nothing'} is offered", r.stderr[-300:])


attempt("16.27", test_misspelt)
done()
