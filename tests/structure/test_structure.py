"""The tree shows the program: every include follows one of the arrows that CONTRIBUTING lists, and no circle of includes,
no file without its header's contract, no line beyond the length of .clang-format but where it is marked."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import check, done, skip

BUILD = os.path.dirname(os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal")))


def arrows():
    """CONTRIBUTING's lines `folder -> folder, folder` -> {folder: set of folders that it may include from}"""
    found = {}
    for line in open(os.path.join(ROOT, "CONTRIBUTING.md")):
        m = re.match(r"    ([\w/]+) +-> *(.*)$", line)
        if m:
            found.setdefault(m.group(1), set()).update(x.strip() for x in m.group(2).split(",") if x.strip())
    return found


def sources():
    for top in ("include", "src", "eval"):
        for at, _, files in os.walk(os.path.join(ROOT, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(at, name), ROOT)


def folder_of(path):
    return os.path.dirname(path).removeprefix("src/")


def includes(path):
    with open(os.path.join(ROOT, path)) as f:
        for n, line in enumerate(f, 1):
            m = re.match(r'#include ["<]([^">]+)[">]', line)
            if m:
                yield n, m.group(1)


def resolve(path, name):
    """The file of ours that an include names; None: a system's or a made one."""
    for candidate in ("src/" + name, name, "include/" + name, os.path.join(os.path.dirname(path), name)):
        if os.path.exists(os.path.join(ROOT, candidate)):
            return os.path.normpath(candidate)
    return None


def test_arrows(allowed):
    wrong, graph = [], {}
    for path in sources():
        own = folder_of(path)
        for n, name in includes(path):
            to = resolve(path, name)
            if to is None:
                continue
            graph.setdefault(path, set()).add(to)
            if folder_of(to) != own and folder_of(to) not in allowed.get(own, set()):
                wrong.append(f"{path}:{n} includes {name}: {own} -> {folder_of(to)}")
            if os.path.dirname(name) == "" and folder_of(to) != "include" and to != os.path.normpath(os.path.join(os.path.dirname(path), name)):
                wrong.append(f"{path}:{n} includes {name} without its folder")
    for line in wrong[:20]:
        print("#", line)
    check(not wrong, "every include follows an arrow of CONTRIBUTING", f"{len(wrong)} do not: {wrong[:3]}")
    return graph


def test_no_circle(graph):
    state, circle = {}, []

    def visit(path, way):
        state[path] = 1
        for to in sorted(graph.get(path, ())):
            if state.get(to) == 1:
                circle.append(" -> ".join([*way, path, to]))
            elif to not in state:
                visit(to, [*way, path])
        state[path] = 2

    for path in list(graph):
        if path not in state:
            visit(path, [])
    check(not circle, "no circle of includes", circle[:2])


def test_eval_sees_no_kernel(graph):
    """Not by way of others either: what eval needs of the engine are plain records."""
    def reach(path, seen):
        for to in graph.get(path, ()):
            if to not in seen:
                seen.add(to)
                reach(to, seen)
        return seen

    wrong = sorted(f"{p} sees {to}" for p in graph if p.startswith(("eval/protocol", "eval/statistics", "eval/run", "eval/report"))
                   for to in reach(p, set()) if to.startswith("src/kernels/") or (to.startswith("src/model/") and not to.endswith("divergence_row.h")))
    check(not wrong, "protocols, statistics, run folders and reports see no kernel and no layer", wrong[:3])


def test_intrinsics():
    wrong = [p for p in sources() if not p.startswith("src/kernels/")
             and re.search(r"immintrin|arm_neon|cblas", open(os.path.join(ROOT, p)).read())]
    check(not wrong, "intrinsics and BLAS stand in kernels alone", wrong)


def source_of(rel):
    """Of an object; the row and block kernels are compiled once for each instruction set."""
    folder, name = os.path.split(rel[:-2])
    if folder == "src/kernels" and name.startswith(("rows_", "mxfp4_blocks_")):
        name = "rows" if name.startswith("rows_") else "mxfp4_blocks"
    return os.path.join(folder, name + ".c")


def test_symbols(allowed):
    """References between objects follow the arrows too."""
    if not os.path.isdir(os.path.join(BUILD, "src")):
        return skip("symbols of objects follow the arrows", "no objects")
    owner, needs = {}, []
    for at, _, files in os.walk(BUILD):
        for name in files:
            rel = os.path.relpath(os.path.join(at, name), BUILD)
            if not name.endswith(".o") or not rel.startswith(("src/", "eval/")) or not os.path.exists(os.path.join(ROOT, source_of(rel))):
                continue
            p = subprocess.run(["nm", os.path.join(at, name)], capture_output=True, text=True)
            if p.returncode:
                return skip("symbols of objects follow the arrows", "nm cannot read the objects")
            for line in p.stdout.splitlines():
                kind, symbol = line[17:18], line[19:]
                if kind in "TDRBV":
                    owner[symbol] = rel
                elif kind == "U":
                    needs.append((rel, symbol))
    # the program's commands know the library by its public header
    needs = [(a, s) for a, s in needs if not (folder_of(a) == "cli" and s.startswith("surprisal_"))]
    wrong = sorted({(folder_of(a), folder_of(owner[s]), f"{a} needs {s} of {owner[s]}") for a, s in needs if s in owner
                    and folder_of(a) != folder_of(owner[s]) and folder_of(owner[s]) not in allowed.get(folder_of(a), set())})
    for line in wrong[:20]:
        print("#", line[2])
    check(not wrong, "symbols of objects follow the arrows", f"{len(wrong)} do not: {[w[2] for w in wrong[:3]]}")


if __name__ == "__main__":
    allowed = arrows()
    if check(len(allowed) > 10, "CONTRIBUTING lists the arrows", allowed):
        graph = test_arrows(allowed)
        test_no_circle(graph)
        test_eval_sees_no_kernel(graph)
        test_intrinsics()
        test_symbols(allowed)
    done()
