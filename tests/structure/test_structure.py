"""The tree shows the program: includes and symbols follow the arrows that CONTRIBUTING lists, without a circle; a name
tells its module; one place knows how weights are stored; lines keep to the length of .clang-format."""
import fnmatch
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import check, done, skip

BUILD = os.path.dirname(os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal")))

# Only these files may name the tensors and block sizes of a stored format.
KNOWS_STORED_FORMATS = {
    "src/formats/weight*": "the table of stored formats",
    "src/kernels/*": "expand the values of a block",
}
# A global name begins with its file's name, or that name with or without an s at its end (plans: plan_name; plan_run:
# plan_runs_free), or, in src/verify, without the folder's name (verify_tally: tally_add).  A file without a header of its own
# has the prefix of the header beside it (bpe_load.c: bpe_).  surprisal_ is the public API.  A global name may be its file's
# name alone only if that is more than one word: `compare` or `trace` tells nobody where to look.
# Other prefixes, by module (last part of the path after src/), with the reason:
OTHER_PREFIXES = {
    "base/memory": ("mem_ arena_ buffer_ size_", "a module of four small things, each with its word"),
    "base/matrix": ("dtype_", "the element types of a matrix"),
    "bench/bench_work": ("bench_", "what all parts of bench share"),
    "cluster/channel": ("channel_ message_", "messages go through a channel"),
    "cli/cmd_*": ("command_", "rows of main's table of commands"),
    "cli/main": ("main", "C's name"),
    "cli/options": ("parse_", "columns of the tables of options: .parse = parse_size"),
    "engine/divergence": ("engine_divergence", "model/divergence has the plain name"),
    "engine/pass": ("engine_", "the second half of engine.h"),
    "eval/protocol/protocol": ("windows_", "what a protocol makes: struct windows"),
    "formats/safetensors": ("dtype_ tensor_", "its types, which others read"),
    "kernels/avx*": ("kernels_ gemm_tile_ dots_tile_", "tables of an instruction set"),
    "kernels/neon*": ("kernels_ dots_tile_", "the same"),
    "kernels/scalar": ("kernels_", "the same"),
    "kernels/openblas": ("kernels_", "the same"),
    "kernels/rows_*": ("row_kernels_", "rows.c, compiled for an instruction set"),
    "model/compute": ("tile_", "its struct tile"),
    "model/kv_pool": ("kv_", "a pool, the tables of its sequences, the shape of both"),
}


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


def test_sources():
    for at, _, files in os.walk(os.path.join(ROOT, "tests")):
        for name in sorted(files):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(at, name), ROOT)


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


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


def test_no_circle(graph, name="no circle of includes"):
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
    check(not circle, name, circle[:2])


def test_eval_sees_no_kernel(graph):
    """Not by way of others either: what eval needs of the engine are plain records."""
    def reach(path, seen):
        for to in graph.get(path, ()):
            if to not in seen:
                seen.add(to)
                reach(to, seen)
        return seen

    wrong = sorted(f"{p} sees {to}" for p in graph if p.startswith(("eval/protocol", "eval/statistics", "eval/run", "eval/report"))
                   for to in reach(p, set()) if to.startswith("src/kernels/") or (to.startswith("src/model/") and not to.endswith(("divergence_row.h", "nonfinite.h"))))
    check(not wrong, "protocols, statistics, run folders and reports see no kernel and no layer", wrong[:3])


def test_intrinsics():
    wrong = [p for p in sources() if not p.startswith("src/kernels/")
             and re.search(r"immintrin|arm_neon|cblas", read(p))]
    check(not wrong, "only kernels use intrinsics and BLAS", wrong)


def test_stored_formats():
    """Suffixes of published quantizations (compressed-tensors, FP8, modelopt, GPTQ, AWQ, MLX) and names of block sizes."""
    suffix = re.compile(r"""\bweight_(packed\b|scale|shape"|zero_point|global_scale|g_idx)
                         |\b(qweight|qzeros|g_idx|input_scale|input_global_scale)\b
                         |"\.(scales|biases|blocks)"
                         |\b((MX|NV)?(FP|INT)\d\w*|GPTQ|AWQ|MLX|GGUF|Q\d\w*)_(BLOCK|GROUP)\w*\b""", re.X)
    know = [p for p in sources() if suffix.search(read(p))
            and not any(fnmatch.fnmatch(p, allowed) for allowed in KNOWS_STORED_FORMATS)]
    wrong = [f"{p}: {suffix.search(read(p)).group()}" for p in know]
    check(not wrong, "only the table of stored formats and the kernels name tensors and blocks of a format", wrong[:5])


def long_lines(path):
    """Numbers of the lines beyond .clang-format's limit.  What lies between `clang-format off` and `on` is laid out by hand."""
    limit, off = int(re.search(r"ColumnLimit: (\d+)", read(".clang-format")).group(1)), False
    for n, line in enumerate(read(path).splitlines(), 1):
        m = re.search(r"/\* clang-format (on|off)\b", line)
        off = m.group(1) == "off" if m else off
        if len(line) > limit and not off:
            yield n


def test_line_length():
    wrong = [f"{p}:{n}" for p in [*sources(), *test_sources()] for n in long_lines(p)]
    for line in wrong[:20]:
        print("#", line)
    check(not wrong, "lines keep to .clang-format's columns, or are marked", f"{len(wrong)} do not: {wrong[:3]}")


def source_of(rel):
    """Of an object; row and block kernels are compiled once for each instruction set, mpi_library once for each MPI."""
    folder, name = os.path.split(rel[:-2])
    if folder == "src/kernels" and name.startswith(("rows_", "mxfp4_blocks_")):
        name = "rows" if name.startswith("rows_") else "mxfp4_blocks"
    if name.startswith("mpi_library_"):
        name = "mpi_library"
    return os.path.join(folder, name + ".c")


def symbols():
    """Of the objects of the build -> ({global symbol: object}, [(object, symbol that it needs)]); None: they cannot be read."""
    owner, needs = {}, []
    for at, _, files in os.walk(BUILD):
        for name in files:
            rel = os.path.relpath(os.path.join(at, name), BUILD)
            if not name.endswith(".o") or not rel.startswith(("src/", "eval/")) or not os.path.exists(os.path.join(ROOT, source_of(rel))):
                continue
            p = subprocess.run(["nm", os.path.join(at, name)], capture_output=True, text=True)
            if p.returncode:
                return None
            for line in p.stdout.splitlines():
                kind, symbol = line[17:18], line[19:]
                if symbol.startswith("__"):     # the compiler's own, as AddressSanitizer's
                    continue
                if kind in "TDRBV":
                    owner[symbol] = rel
                elif kind == "U":
                    needs.append((rel, symbol))
    return (owner, needs) if owner else None


def test_symbols(allowed, owner, needs):
    """References between objects follow the arrows too, and go in no circle."""
    # the program's commands know the library by its public header
    needs = [(a, s) for a, s in needs if not (folder_of(a) in ("cli", "cluster") and s.startswith("surprisal_"))]
    wrong = sorted({(folder_of(a), folder_of(owner[s]), f"{a} needs {s} of {owner[s]}") for a, s in needs if s in owner
                    and folder_of(a) != folder_of(owner[s]) and folder_of(owner[s]) not in allowed.get(folder_of(a), set())})
    for line in wrong[:20]:
        print("#", line[2])
    check(not wrong, "symbols of objects follow the arrows", f"{len(wrong)} do not: {[w[2] for w in wrong[:3]]}")
    graph = {}
    for a, symbol in needs:
        if owner.get(symbol, a) != a:
            graph.setdefault(a, set()).add(owner[symbol])
    test_no_circle(graph, "no circle of objects")


def prefixes(module):
    """Of a module as "model/moe" -> its prefixes."""
    folder, name = os.path.split(module)
    if not folder.startswith("eval/"):
        folder = os.path.join("src", folder)
    names = [name]
    if not os.path.exists(os.path.join(ROOT, folder, name + ".h")):
        headers = [h[:-2] for h in os.listdir(os.path.join(ROOT, folder)) if h.endswith(".h") and name.startswith(h[:-2])]
        names += [max(headers, key=len)] if headers else []
    if folder == "src/verify":
        names.append(name.removeprefix("verify_"))
    found = {n + end for n in names for end in ("_", "s_")} | {n[:-1] + "_" for n in names if n.endswith("s")}
    for pattern, (words, _) in OTHER_PREFIXES.items():
        if fnmatch.fnmatch(module, pattern):
            found.update(words.split())
    return found | {n for n in names if "_" in n}


def test_prefixes(owner):
    wrong = []
    for symbol, rel in sorted(owner.items()):
        module = rel.removeprefix("src/").removesuffix(".o")
        if not symbol.startswith(("surprisal_", *prefixes(module))):
            wrong.append(f"{module}: {symbol}")
    for line in wrong[:40]:
        print("#", line)
    check(not wrong, "a global name begins with its module's prefix", f"{len(wrong)} do not: {wrong[:5]}")


if __name__ == "__main__":
    allowed = arrows()
    if check(len(allowed) > 10, "CONTRIBUTING lists the arrows", allowed):
        graph = test_arrows(allowed)
        test_no_circle(graph)
        test_eval_sees_no_kernel(graph)
        test_intrinsics()
        test_stored_formats()
        test_line_length()
        objects = symbols()
        if objects:
            test_symbols(allowed, *objects)
            test_prefixes(objects[0])
        else:
            skip("symbols of objects follow the arrows", "no objects that nm can read")
    done()
