"""docs/formulas.md is true: each line names a file that exists, functions that are defined in it, a test that exists, and a
tolerance that stands in that test."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import check, done

DOCUMENT = os.path.join(ROOT, "docs", "formulas.md")
COLUMNS = ["formula", "file: function", "source", "test: tolerance"]


def text_of(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def formulas(document):
    """The rows of the tables -> their four cells; a row with another number of cells comes as it is."""
    for line in document.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if line.startswith("|") and cells != COLUMNS and not set("".join(cells)) <= {"-"}:
            yield cells


def references(cell):
    """`file`: `word`, `word`; `file`: ... -> (file, words); a word before any file has the file None."""
    found = []
    for word in re.findall(r"`([^`]+)`", cell):
        if re.match(r"(src|eval|tests)/", word):
            found.append((word, []))
        else:
            if not found:
                found.append((None, []))
            found[-1][1].append(word)
    return found


def defines(source, function):
    """At the left margin, with a body; not a declaration, a call or a comment."""
    return re.search(rf"^(?!typedef)[a-z][\w *]*?\b{re.escape(function)}\([^;{{}}]*\)\s*\{{", source, re.MULTILINE) is not None


def faults(cells):
    """What is wrong with a line."""
    if len(cells) != len(COLUMNS) or not all(cells):
        return [f"{len(cells)} cells, expected {len(COLUMNS)}, none empty"]
    bad, places, tests = [], references(cells[1]), references(cells[3])
    for path, functions in places + tests:
        if path is None or not os.path.isfile(os.path.join(ROOT, path)):
            bad.append(f"no file {path}")
    if not bad:
        bad += [f"{path}: no function {f}" for path, functions in places for f in functions if not defines(text_of(path), f)]
        bad += [f"{path}: names no function" for path, functions in places if not functions]
        bad += [f"{path} is no test" for path, _ in tests if not os.path.basename(path).startswith("test_")]
        bad += [f"{path}: no tolerance {t}" for path, limits in tests for t in limits
                if not re.search(rf"(?<![\w.]){re.escape(t)}(?![\w.])", text_of(path))]
    return bad + ["no place" for _ in [0] if not places] + ["no test" for _ in [0] if not tests]


def test_refusals():
    """The checks above find what they are for."""
    place, test = "`src/model/moe.c`: `moe_route`", "`tests/unit/model/test_moe.c`: `1e-7`"
    cases = [
        ("a true line has no fault", place, test, False),
        ("a file that does not exist is found", "`src/model/mow.c`: `moe_route`", test, True),
        ("a function that does not exist is found", "`src/model/moe.c`: `moe_rout`", test, True),
        ("a function that is only called is found", "`src/model/moe.c`: `mlp_forward`", test, True),
        ("a function that is only declared is found", "`src/model/moe.h`: `moe_route`", test, True),
        ("a line without a function is found", "`src/model/moe.c`", test, True),
        ("a line without a file is found", "moe.c", test, True),
        ("a test that does not exist is found", place, "`tests/unit/model/test_mow.c`: `1e-7`", True),
        ("a tolerance that the test does not have is found", place, "`tests/unit/model/test_moe.c`: `1e-8`", True),
        ("a line without a test is found", place, "none", True),
    ]
    for name, where, how, wrong in cases:
        found = faults(["a formula", where, "a source", how])
        check(bool(found) == wrong, name, found)
    check(bool(faults(["a formula", place, test])), "a line with a missing cell is found", "it is not")


def test_document():
    document = text_of(DOCUMENT)
    lines = list(formulas(document))
    check(len(lines) > 40, "docs/formulas.md has lines", len(lines))
    for cells in lines:
        bad = faults(cells)
        check(not bad, f"formula: {cells[0]}", bad)
    head, *parts = document.split("\n## ")
    outside = [w for w in re.findall(r"`((?:src|eval|tests)/[^`]+)`", document) if not os.path.isfile(os.path.join(ROOT, w))]
    check(not outside, "files in the text exist", outside)
    check([p.split("\n")[0] for p in parts] == ["Model", "Statistics", "Quantizer"], "its three parts", "others")


if __name__ == "__main__":
    test_refusals()
    test_document()
    done()
