"""Two libraries, one interface: libsurprisal.so and libsurprisal.a give away the functions of surprisal.h and nothing else, and a
program that knows no more than what `make install` and pkg-config say uses either of them."""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
from check import attempt, check, done, skip

BUILD = os.path.dirname(os.environ.get("SURPRISAL", os.path.join(ROOT, "build", "surprisal")))
SHARED = os.path.join(BUILD, "libsurprisal.so")
CC = shlex.split(os.environ.get("CC") or "cc")

# Scores the beginning of a text with two checkpoints and compares the runs.
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <surprisal.h>

static struct surprisal_error err;

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

int main(int argc, char **argv)     /* A B TEXT RUN_A RUN_B */
{
    for (int i = 1; i <= 2 && argc == 6; i++) {
        struct surprisal_eval_options options = surprisal_eval_defaults();
        struct surprisal_result result;
        options.checkpoint = argv[i];
        options.text = argv[3];
        options.context = 64;
        options.out = argv[i + 3];
        must(surprisal_eval(&options, &result, &err));
        printf("%.6f\n", result.mean_nll);
        surprisal_result_free(&result);
    }
    struct surprisal_compare_options options = surprisal_compare_defaults();
    struct surprisal_comparison comparison;
    options.a = argv[4];
    options.b = argv[5];
    must(surprisal_compare(&options, &comparison, &err));
    puts(comparison.json);
    surprisal_comparison_free(&comparison);
    return 0;
}
"""


def session():
    """-> the program of docs/library.md that does several things with one model"""
    with open(os.path.join(ROOT, "docs", "library.md"), encoding="utf-8") as f:
        text = f.read()
    block = re.search(r"^    /\* session\.c \*/\n((?:    .*\n|\n)*?)(?=\n    cc )", text, re.M).group(1)
    return "".join(line[4:] or "\n" for line in block.splitlines(keepends=True))


def output(*command, **kwargs):
    p = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)
    if p.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {p.returncode}: {p.stderr}")
    return p.stdout


# ---- symbols ---------------------------------------------------------------------------


def declared():
    """-> the functions that surprisal.h marks"""
    with open(os.path.join(ROOT, "include", "surprisal.h"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    return {re.search(r"(\w+)\s*\(", declaration).group(1) for declaration in re.findall(r"\bSURPRISAL_API\b([^;]*);", text)}


def globals_of(*options):
    """nm's lines `value type name`, without the symbol that names the version"""
    lines = [line.split() for line in output("nm", "--defined-only", "--format=posix", *options).splitlines()]
    return {words[0].partition("@")[0] for words in lines if len(words) >= 2 and words[1] in "TDRBVWCi"}


def test_symbols():
    if not shutil.which("nm"):
        return skip("exported symbols", "no nm")
    header = declared()
    check(len(header) > 20, "surprisal.h marks its functions", header)
    for name, found in (("libsurprisal.so", globals_of("--dynamic", SHARED)),
                        ("libsurprisal.a", globals_of("--extern-only", os.path.join(BUILD, "libsurprisal.a")))):
        check(found == header, f"{name} gives away the functions of surprisal.h and nothing else",
              f"too many: {sorted(found - header)[:5]}, missing: {sorted(header - found)[:5]}")


# ---- installed -------------------------------------------------------------------------


def files_below(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def test_program(name, top, flags, env, shared):
    """flags: what pkg-config says; -> the NLL of the first checkpoint"""
    source, program = os.path.join(top, "program.c"), os.path.join(top, name)
    with open(source, "w", encoding="ascii") as f:
        f.write(PROGRAM)
    output(*CC, "-Wall", "-Werror", source, *flags, "-o", program)
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "--dynamic", program))
    check(("libsurprisal.so.0" in needed) == shared, f"{name}: needs libsurprisal.so.0" if shared else f"{name}: needs no libsurprisal.so", needed)
    if shared:
        others = [x for x in needed if not x.startswith(("libsurprisal.so.", "libc.so.", "ld-linux"))]
        check(not others, f"{name}: needs nothing else", others)
    demo = os.path.join(ROOT, "data", "demo")
    runs = [os.path.join(top, f"{name}-{side}") for side in "ab"]
    printed = output(program, os.path.join(demo, "bf16"), os.path.join(demo, "mxfp4"), os.path.join(top, "text"), *runs, env=env)
    a, b, comparison = printed.split("\n", 2)
    delta = json.loads(comparison)["delta_nll"]
    check(a != b and abs(delta - (float(b) - float(a))) < 2e-6, f"{name}: the difference of two runs", (a, b, delta))
    return a


def test_session(top, flags, env):
    """The short program of the documentation links with the shared library alone, and does what it is for."""
    source, program = os.path.join(top, "session.c"), os.path.join(top, "session")
    text = session()
    check(len(text.strip().splitlines()) <= 30, "the program with one model has at most 30 lines", text)
    with open(source, "w", encoding="ascii") as f:
        f.write(text)
    output(*CC, "-Wall", "-Wextra", "-Werror", source, *flags, "-o", program)
    needed = re.findall(r"NEEDED.*\[(.*)\]", output("readelf", "--dynamic", program))
    others = [x for x in needed if not x.startswith(("libsurprisal.so.0", "libc.so.", "ld-linux"))]
    check("libsurprisal.so.0" in needed and not others, "the program with one model needs the library alone", needed)
    demo = os.path.join(ROOT, "data", "demo")
    printed = output(program, os.path.join(demo, "bf16"), os.path.join(demo, "text.txt"), env=env, cwd=top)
    runs = re.findall(r"^run-(\w+): perplexity ([\d.]+)$", printed, re.M)
    check([x for x, _ in runs] == ["f32", "bf16"] and runs[0][1] != runs[1][1], "the program with one model: two perplexities", runs)
    check(re.search(r"^mean KL divergence|^KL divergence|KLD", printed, re.M), "the program with one model: a comparison with KL divergence", printed)
    p = subprocess.run([program, os.path.join(demo, "none"), "text"], env=env, cwd=top, capture_output=True, text=True, check=False)
    check(p.returncode == 1 and "none" in p.stderr, "the program with one model: no checkpoint", p.stderr)


def test_installed():
    name = "programs that use the installed libraries"
    if os.path.basename(BUILD) != "build":
        return skip(name, f"a build in {os.path.basename(BUILD)}: sanitizers, or another architecture")
    missing = [tool for tool in ("make", "pkg-config", "readelf", CC[0]) if not shutil.which(tool)]
    if missing:
        return skip(name, f"no {missing[0]}")
    top = tempfile.mkdtemp(prefix="surprisal-library-")
    try:
        with open(os.path.join(ROOT, "data", "demo", "text.txt"), encoding="utf-8") as f, \
             open(os.path.join(top, "text"), "w", encoding="utf-8") as to:
            to.writelines(f.readlines()[:5])
        expected = output(os.path.join(BUILD, "surprisal"), "eval", os.path.join(ROOT, "data", "demo", "bf16"),
                          "--text", os.path.join(top, "text"), "--context", "64", "--json")
        expected = f"{json.loads(expected)['mean_nll']:.6f}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PKG_CONFIG")) and k not in ("PREFIX", "DESTDIR")}
        # An image of a system, as packagers and cross compilers have it; and a folder with a blank and a quote.
        for name, destination, prefix, options in (
                ("shared", os.path.join(top, "image"), "/usr", []),
                ("static", "", os.path.join(top, "user's own"), ["--static"])):
            root = destination + prefix
            # -o all: what is to be installed is there, and another build may be going on.
            make = ["make", "-s", "-C", ROOT, "-o", "all", f"DESTDIR={destination}", f"PREFIX={prefix}"]
            output(*make, "install", env=clean)
            links = {x: os.readlink(os.path.join(root, "lib", x)) for x in ("libsurprisal.so", "libsurprisal.so.0")}
            real = os.path.basename(os.path.realpath(SHARED))
            check(set(links.values()) == {real} and re.fullmatch(r"libsurprisal\.so\.0\.\d+\.\d+", real), f"{name}: both links lead to the library", links)
            env = dict(clean, PKG_CONFIG_PATH=os.path.join(root, "lib", "pkgconfig"), LD_LIBRARY_PATH=os.path.join(root, "lib"))
            if destination:
                env["PKG_CONFIG_SYSROOT_DIR"] = destination
            flags = shlex.split(output("pkg-config", "--cflags", "--libs", *options, "surprisal", env=env))
            if options:     # as docs/library.md has it
                flags = [x.replace("-lsurprisal", "-l:libsurprisal.a") for x in flags]
            a = test_program(name, top, flags, env, not options)
            check(a == expected, f"{name}: the NLL that the program prints", (a, expected))
            if not options:
                test_session(top, flags, env)
            output(*make, "uninstall", env=clean)
            check(not files_below(root), f"{name}: make uninstall leaves nothing", files_below(root))
    finally:
        shutil.rmtree(top, ignore_errors=True)


if __name__ == "__main__":
    if "SURPRISAL_RUNNER" in os.environ:
        skip("the libraries", "programs of another architecture")
    else:
        attempt("exported symbols", test_symbols)
        attempt("programs that use the installed libraries", test_installed)
    done()
