"""The documentation is true: its commands run, their output is what the transcripts show, its links lead somewhere.

A line of an indented block that begins with a program's name is a command; the lines after it are its output, from which lines
may be left out.  Times, speeds, memory, kernels, threads and the version are of a machine and a day: they are not compared."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
sys.path.insert(0, os.path.join(ROOT, "tests", "conformance"))
from check import QUICK, attempt, check, done, skip
import numpy
import safetensors_io

PROGRAM = os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal"))
TEMP = tempfile.mkdtemp(prefix="surprisal-docs-")
PROGRAMS = ("build/surprisal", "cc", "echo", "printf", "./score", "./session", "./chat", "data/fetch-wikitext.sh", "git", "hf", "head -c", "make", "mkdir", "python3", "tests/")
NOT_RUN = ("data/fetch-wikitext.sh", "hf", "make test", "python3", "tests/")    # the network, or long
DEMO = "tools/demo build/surprisal build/demo-report.html"      # what the command of README's "Start" runs in the end
DEMO_FORMATS = "tools/demo-formats build/surprisal build/demo-formats.html"
STATUS = {"verify damaged": 1, "other.jinja --messages": 1, "'*.mlp.gate.'": 1, "--gate": 3}
RUNS = "mkdir -p runs" + "".join(f"; build/surprisal eval data/demo/{name} --text data/demo/text.txt --context 512 --out runs/{name}"
                                 for name in ("bf16", "mxfp4"))

# ---- reading ---------------------------------------------------------------------------


def documents():
    """-> names, below ROOT"""
    docs = sorted(name for name in os.listdir(os.path.join(ROOT, "docs")) if name.endswith(".md"))
    return ["README.md", "CONTRIBUTING.md", "data/README.md", *(f"docs/{name}" for name in docs)]


def lines_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read().split("\n")


def blocks(name):
    """-> section, lines: the indented blocks (blank lines in them included) without their indentation"""
    block, before, section = [], "", ""
    for line in [*lines_of(name), "end"]:
        if line.startswith("    ") and (block or not before):
            block.append(line[4:])
        elif not line and block:
            block.append("")
        elif block:
            yield section, block
            block = []
        section = line if line.startswith("#") else section
        before = line


def is_command(line):
    return any(line == p or line.startswith(p if p.endswith("/") else p + " ") for p in PROGRAMS)


def steps(name):
    """-> ("file", lines), ("python", lines) or (command, lines of its output), in the order of the document.  Blocks of a section
    without a command are formulas and the like."""
    found, last = [], None
    for section, block in blocks(name):
        first = block[0]
        if first.startswith(("/* ", "from ", "import ")):
            end = next((i for i, line in enumerate(block) if is_command(line)), len(block))
            found.append(("file" if first.startswith("/*") else "python", block[:end]))
            block = block[end:]
        continued = False
        for line in block:
            if continued:
                found[-1] = (found[-1][0] + "\n" + line, [])
            elif is_command(line):
                found.append((line, []))
                last = section
            elif last == section and line:
                found[-1][1].append(line)
            continued = line.endswith("\\") and (continued or is_command(line))
    return found


# ---- what a machine decides ------------------------------------------------------------

MASKS = [(re.compile(pattern), new) for pattern, new in (
    (r"\b(avx512bf16|avx512|avx2|neon|openblas|scalar)\b", "ISA"),
    (r"\b\d+ threads?\b|\bone thread\b", "THREADS"),
    (r"surprisal \d+\.\d+\.\d+\S*", "VERSION"),
    (r"[\d.]+ tokens/s", "SPEED"),
    (r"in [\d.]+ s \([\d.]+ [MG]B/s\), at most [\d.]+ [MG]B of memory", "in TIME"),
    (r"[\d.]+ [GM]B peak memory", "MEMORY"),
    (r"[\d.]+ (GFLOP/s|GB/s)( +[\d.]+)?", "SPEED"),
    (r"(?<=[\d ]x \d{3})( +[\d.]+)( +[\d.]+ %)$", " SPEED"),
    (r", [\d.]+ s\b", ", TIME"),
    (r"(± [\d.]+) +\d+$", r"\1 SPEED"),     # the demo's table
)]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def masked(line):
    for pattern, new in MASKS:
        line = pattern.sub(new, line)
    return " ".join(line.split())


def same(shown, printed):
    """masked lines: equal, but for the last digit of numbers with decimals, in which sets of kernels may differ"""
    if shown == printed:
        return True
    if NUMBER.sub("#", shown) != NUMBER.sub("#", printed):
        return False
    for a, b in zip(NUMBER.findall(shown), NUMBER.findall(printed)):
        unit = 10.0 ** -len(a.partition(".")[2])
        if a != b and ("." not in a or abs(float(a.replace(",", "")) - float(b.replace(",", ""))) > 2.01 * unit):
            return False
    return True


def missing(transcript, output):
    """-> the first line of the transcript that does not follow in the output, or None"""
    at, printed = 0, [masked(line) for line in output.split("\n")]
    for line in transcript:
        while at < len(printed) and not same(masked(line), printed[at]):
            at += 1
        if at == len(printed):
            return line
        at += 1
    return None


def test_comparing():
    output = "perplexity  131.1056 ± 3.2412\nspeed  100 tokens/s, 1.0 s, 1 pass, 0.07 GB peak memory\nscored  13421 in 26 windows"
    for name, transcript, found in (
            ("the output itself", output.split("\n"), True),
            ("lines left out", ["scored  13421 in 26 windows"], True),
            ("another speed and width", ["speed    27069 tokens/s, 12.5 s, 1 pass, 1.5 GB peak memory"], True),
            ("the last digit", ["perplexity  131.1057 ± 3.2412"], True),
            ("another digit", ["perplexity  131.1156 ± 3.2412"], False),
            ("another count", ["scored  13422 in 26 windows"], False),
            ("another word", ["scored  13421 in 26 windows, of 13422 tokens"], False),
            ("another order", output.split("\n")[::-1], False)):
        check((missing(transcript, output) is None) == found, f"a transcript is compared: {name}", missing(transcript, output))


# ---- running ---------------------------------------------------------------------------


def damaged(folder):
    """A copy of the demo's MXFP4 checkpoint with a scale byte of 255, and with the down_proj of two experts swapped."""
    shutil.copytree(os.path.join(ROOT, "data", "demo", "mxfp4"), folder)
    layer = "model.language_model.layers.1.mlp.experts."
    path = os.path.join(folder, "model.safetensors-00001-of-00002.safetensors")
    header, data = safetensors_io.split(path)
    data = bytearray(data)
    scale = header[layer + "3.up_proj.weight_scale"]
    data[scale["data_offsets"][0] + scale["shape"][1] + 1] = 255
    for part in ("packed", "scale"):
        a, b = (slice(*header[f"{layer}{expert}.down_proj.weight_{part}"]["data_offsets"]) for expert in (3, 4))
        data[a], data[b] = data[b], data[a]
    safetensors_io.join(path, header, bytes(data))


def folded(folder):
    """A copy of the demo's BF16 checkpoint with 1 added to each input_layernorm of the text model."""
    shutil.copytree(os.path.join(ROOT, "data", "demo", "bf16"), folder)
    for file in (f for f in os.listdir(folder) if f.endswith(".safetensors")):
        path = os.path.join(folder, file)
        header, data = safetensors_io.split(path)
        data = bytearray(data)
        for name, t in header.items():
            if name.startswith("model.language_model.layers.") and name.endswith(".input_layernorm.weight"):
                at = slice(*t["data_offsets"])
                w = safetensors_io.from_bf16(numpy.frombuffer(bytes(data[at]), numpy.uint16))
                data[at] = safetensors_io.bf16(w + numpy.float32(1)).tobytes()
        safetensors_io.join(path, header, bytes(data))


def has_avx2():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return "avx2" in f.read()


def workplace(name):
    """-> a folder in which the commands of a document find what they name, and their environment"""
    where = os.path.join(TEMP, name.replace("/", "-"))
    os.makedirs(os.path.join(where, "build"))
    os.makedirs(os.path.join(where, "data"))
    os.symlink(PROGRAM, os.path.join(where, "build", "surprisal"))
    os.symlink(os.path.join(ROOT, "tools"), os.path.join(where, "tools"))
    demo = os.path.join(ROOT, "data", "demo")
    os.symlink(demo, os.path.join(where, "data", "demo"))
    # In their place, what is small: the options are what is tested.
    os.symlink(os.path.join(demo, "text.txt"), os.path.join(where, "data", "wiki.test.raw"))
    os.symlink(os.path.join(demo, "bf16"), os.path.join(where, "Qwen3.5-35B-A3B"))
    for name_of, small in (("MXFP4", "mxfp4"), ("FP8", "formats/fp8"), ("GPTQ-Int4", "formats/gptq"),
                           ("AWQ-4bit", "formats/pack-quantized"), ("GGUF", "formats/demo-Q8_0.gguf")):
        os.symlink(os.path.join(demo, small), os.path.join(where, f"Qwen3.5-35B-A3B-{name_of}"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k not in ("PREFIX", "DESTDIR")}
    return where, env


def run(command, where, env):
    return subprocess.run(["bash", "-c", command], cwd=where, env=env, capture_output=True, text=True, timeout=600, check=False)


def prepare(name, found, where, env):
    """What a document takes for granted -> is it there?"""
    if name == "docs/verify.md":
        damaged(os.path.join(where, "damaged"))
        folded(os.path.join(where, "folded"))
    if name == "docs/ranking.md":           # six checkpoints: two windows will do
        text = os.path.join(where, "data", "wiki.test.raw")
        with open(text, "rb") as f:
            beginning = f.read(15000)
        os.remove(text)
        with open(text, "wb") as f:
            f.write(beginning)
    if name == "docs/run-folder.md":
        run(RUNS, where, env)
        package = os.path.join(where, "safetensors")        # load_file, for a Python without the package
        os.mkdir(package)
        with open(os.path.join(package, "numpy.py"), "w", encoding="ascii") as f:
            f.write(f"import sys\nsys.path.append({os.path.dirname(safetensors_io.__file__)!r})\nfrom safetensors_io import read as load_file\n")
        env["PYTHONPATH"] = where
    if any(kind == "file" for kind, _ in found):
        if not all(shutil.which(tool) for tool in ("cc", "make", "pkg-config")) or os.path.basename(os.path.dirname(PROGRAM)) != "build":
            return skip(name, "no cc, make or pkg-config, or another build")
        p = run(f"make -s -C {shlex.quote(ROOT)} -o all install DESTDIR= PREFIX={shlex.quote(where)}/prefix", where, env)
        env["PKG_CONFIG_PATH"] = os.path.join(where, "prefix", "lib", "pkgconfig")
        env["LD_LIBRARY_PATH"] = os.path.join(where, "prefix", "lib")
        return check(p.returncode == 0, f"{name}: make install", p.stderr)
    return True


def program_of(command):
    return DEMO if command.startswith("git clone") else DEMO_FORMATS if command == "make demo-formats" else command


def test_document(name):
    found = steps(name)
    if not any(kind not in ("python", "file") and not kind.startswith((*NOT_RUN, "make")) for kind, _ in found) or name == "CONTRIBUTING.md":
        return
    where, env = workplace(name)
    if not prepare(name, found, where, env):
        return
    outputs, script, shown = [], "", ""
    for command, rest in found:
        if command == "file":
            with open(os.path.join(where, rest[0].strip("/* ")), "w", encoding="utf-8") as f:
                f.write("\n".join(rest))
            continue
        if command == "python":
            script += "\n".join(rest) + "\n"
            p = subprocess.run([sys.executable, "-c", script], cwd=where, env=env, capture_output=True, text=True, check=False)
            check(p.returncode == 0, f"{name}: the Python from line {rest[0]!r}", p.stderr)
            continue
        label = f"{name}: {' '.join(command.replace(chr(92), ' ').split())[:100]}"
        if not command.startswith(NOT_RUN) and not (command.startswith("make") and command not in ("make demo", "make demo-formats")):
            p = run(program_of(command), where, env)
            expected = next((status for part, status in STATUS.items() if part in command), 0)
            check(p.returncode == expected, label, f"exit status {p.returncode}: {p.stderr}")
            outputs.append(p.stdout + "\n" + p.stderr)
            shown = label
        if rest and " bench " in command and "avx512bf16" not in outputs[-1]:
            skip(f"{shown}: prints what is shown", "this CPU has no BF16 dots, and so other lines")
        elif rest and outputs:
            lines = {missing(rest, output) for output in outputs}
            check(None in lines, f"{shown}: prints what is shown", f"not printed: {missing(rest, outputs[-1])}")


# ---- links -----------------------------------------------------------------------------


def anchors(name):
    heads = [line.lstrip("#").strip() for line in lines_of(name) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links():
    for name in documents():
        text = "\n".join(line for line in lines_of(name) if not line.startswith("    "))
        bad = []
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            file, _, anchor = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(name), file)) if file else name
            if not os.path.exists(os.path.join(ROOT, path)) or (anchor and anchor not in anchors(path)):
                bad.append(target)
        check(not bad, f"{name}: links lead somewhere", bad)
    linked = "\n".join("\n".join(lines_of(name)) for name in ("README.md", "CONTRIBUTING.md"))
    lost = [name for name in documents() if name.startswith("docs/") and name not in linked]
    check(not lost, "README or CONTRIBUTING links to each document", lost)


if __name__ == "__main__":
    try:
        test_comparing()
        test_links()
        check(len(lines_of("README.md")) <= 151, "README has at most 150 lines", len(lines_of("README.md")) - 1)
        if QUICK or "SURPRISAL_RUNNER" in os.environ:
            skip("commands of the documentation", "under sanitizers or emulation")
        elif not has_avx2():
            skip("commands of the documentation", "the transcripts are those of avx2 and avx512, which have the same bits")
        else:
            for document in documents():
                attempt(document, test_document, document)
    finally:
        shutil.rmtree(TEMP, ignore_errors=True)
    done()
