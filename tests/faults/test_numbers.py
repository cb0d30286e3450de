"""Numbers do not depend on the locale of the program around them (FAULTS.md: W3, W4).

The locales are made here, by Debian's package `locales`; numbers_host.c is the program that has one."""
import functools
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "conformance")]
from check import QUICK, check, done, skip
from program import ROOT, SURPRISAL, fresh

RUNNER = os.environ.get("SURPRISAL_RUNNER")
HOST = os.path.join(os.path.dirname(SURPRISAL), *([] if RUNNER else ["tests"]), "faults", "numbers_host")
DEMO = os.path.join(ROOT, "data", "demo")
LOCALES = fresh("locales")


# ---- locales ---------------------------------------------------------------------------

@functools.cache
def make_locale(name):
    """-> why it cannot be made, "" when it was"""
    source, charset = name.split(".")
    os.makedirs(LOCALES, exist_ok=True)
    try:
        made = subprocess.run(["localedef", "-i", source, "-f", charset, os.path.join(LOCALES, name)],
                              capture_output=True, text=True, timeout=120, env={**os.environ, "LC_ALL": "C"})
    except OSError as e:
        return f"no localedef: {e.strerror}"
    if os.path.isdir(os.path.join(LOCALES, name)):      # status 1 is a warning
        return ""
    return f"localedef cannot make {name} (Debian package locales): {(made.stderr.strip() or 'no message').splitlines()[-1]}"


def environment(**settings):
    """This one without settings of a locale but with these, and messages in German where a program translates them.  Threads
    that wait do not spin: other tests run beside."""
    kept = {k: v for k, v in os.environ.items() if not re.match(r"LC_|LANG", k)}
    return {**kept, "LOCPATH": LOCALES, "LANGUAGE": "de", "OMP_WAIT_POLICY": "passive", **settings}


# ---- W3: the demo --------------------------------------------------------------------

def demo(**settings):
    """-> what `make demo` prints, without speeds, and its page"""
    page = fresh("demo") + ".html"
    ran = subprocess.run([os.path.join(ROOT, "tools", "demo"), SURPRISAL, page], capture_output=True, timeout=600,
                         cwd=os.path.dirname(page), env=environment(**settings))
    if ran.returncode != 0:
        return f"exit status {ran.returncode}: {ran.stderr[-300:]}", ""
    with open(page, "rb") as f:
        text = f.read()
    printed = re.sub(rb"(?m)^(bf16|mxfp4)(.*\S) +\d+$", rb"\1\2 SPEED", ran.stdout)
    return printed.replace(os.path.basename(page).encode(), b"PAGE"), text.replace(os.path.basename(page).encode(), b"PAGE")


def test_demo():
    expected = demo(LC_ALL="C")
    check(re.search(rb"(?m)^bf16 +11\.0 +4\.87\d\d +130\.9\d\d .* SPEED$", expected[0]), "W3: the demo prints points", expected[0])
    settings = [("LC_ALL", "de_DE.UTF-8"), ("LC_NUMERIC", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.ISO-8859-9"), ("LC_ALL", "ps_AF.UTF-8")]
    for setting, locale in settings[:1 if QUICK else None]:
        name, why = f"W3: the demo prints the same under {setting}={locale}", make_locale(locale)
        if why:
            skip(name, why)
            continue
        printed, page = demo(**{setting: locale})
        check(printed == expected[0], name, printed)
        check(page == expected[1], f"{name}: its page too", "other bytes")


SCRIPT_FOLDERS = ("tools", "data", ".ci", "tests", "tests/bench")


def formats_or_sorts(text):
    return re.search(r"\b(awk|sort|bc)\b|printf[^\n]*%[-+ 0#']*[\d*.]*[aefgAEFG]", re.sub(r"(?m)(^|\s)#.*", "", text))


def test_scripts():
    for folder in SCRIPT_FOLDERS:
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            path = os.path.join(ROOT, folder, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                text = f.read().decode("utf-8", "replace")
            if re.match(r"#!/bin/(ba|da)?sh", text) and formats_or_sorts(text):
                check(re.search(r"(?m)^export LC_ALL=C\b", text), f"W3: {folder}/{name} formats or sorts in the C locale",
                      "it has no line `export LC_ALL=C`")


# ---- W4: a program that has a locale ---------------------------------------------------------

TIMED = ("seconds", "tokens_per_second", "bytes_read_per_second", "waited_share", "peak_rss_bytes", "bytes_read", "sha256")


def host(mode, locale, *more):
    """Runs it -> its folder, its exit status and what it said"""
    folder = fresh("host")
    os.makedirs(os.path.join(folder, "bin"))
    # Before the real one: tells in which locale the program starts its own.
    with open(os.path.join(folder, "bin", "gnuplot"), "w") as f:
        f.write(f"#!/bin/sh\necho \"$LC_ALL\" >> '{folder}/gnuplot-locale'\nexec '{shutil.which('gnuplot') or 'false'}' \"$@\"\n")
    os.chmod(f.name, 0o755)
    path = os.path.join(folder, "bin") + os.pathsep + os.environ["PATH"]
    # glibc's newlocale does not free its list of folders when it is given LOCPATH: no leak of the library.
    sanitizer = dict(ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0") if mode == "thread" else {}
    ran = subprocess.run([HOST, mode, locale, DEMO, *more], cwd=folder, capture_output=True, timeout=1800,
                         env=environment(LC_ALL=locale, PATH=path, **sanitizer))
    shutil.rmtree(os.path.join(folder, "bin"))
    return folder, ran.returncode, (ran.stdout + ran.stderr).decode("utf-8", "replace").strip()


def contents(folder):
    """-> the bytes of every file by its path in the folder, without times, and so without digests of what holds times.  Another
    decimal point leaves its trace where a number stood."""
    result = {}
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                text = f.read()
            if name.endswith(".json"):
                text = re.sub(rb'"(%s)":\t("\w+"|null|[-+.\de]+)' % "|".join(TIMED).encode(), rb'"\1": TIMED', text)
            elif name.endswith((".txt", ".html")):
                text = re.sub(rb"\b\d+\.\d s\b|\b\d+ MB/s|at most \d+ MB of memory", b"TIMED", text)
            result[os.path.relpath(os.path.join(at, name), folder)] = text
    return result


def what_differs(expected, found):
    for name in sorted(expected | found):
        a, b = expected.get(name, b""), found.get(name, b"")
        if a != b:
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            return f"{name}, byte {at}: {b[max(0, at - 40):at + 20]!r}, expected {a[max(0, at - 40):at + 20]!r}"
    return ""


def why_not_json(path):
    try:
        with open(path, "rb") as f:
            json.loads(f.read())
    except ValueError as e:
        return str(e)
    return ""


# The last has a decimal point of two bytes.
HOSTS = [("program", "de_DE.UTF-8"), ("thread", "de_DE.UTF-8"), ("program", "fr_FR.UTF-8"), ("program", "tr_TR.ISO-8859-9"),
         ("program", "ps_AF.UTF-8")]


def test_host():
    names = [f"a program whose {'thread' if mode == 'thread' else 'locale'} is {locale}" for mode, locale in HOSTS]
    if RUNNER:
        skip("W4: programs with a locale", "an emulated C library does not read this machine's locales")
        return
    folder, status, said = host("program", "C")
    if not check(status == 0, "W4: a program in the C locale uses the library", said):
        return
    expected = contents(folder)
    broken = {name: why for name in expected if name.endswith(".json") and (why := why_not_json(os.path.join(folder, name)))}
    check(not broken, "W4: a program in the C locale gets JSON", broken)
    for (mode, locale), name in list(zip(HOSTS, names))[:2 if QUICK else None]:
        why = make_locale(locale)
        if why:
            skip(f"W4: {name}", why)
            continue
        folder, status, said = host(mode, locale)
        if not check(status == 0 and said not in ("", "0.5"), f"W4: {name} uses the library and keeps its locale", said):
            continue
        check(len(said.encode()) == (4 if locale.startswith("ps") else 3), f"W4: {name} has a decimal point of its own", said)
        found = contents(folder)
        check(found == expected, f"W4: {name} gets the bytes that one in the C locale gets", what_differs(expected, found))


def test_bench():
    """It measures: no two runs have the same bytes."""
    name = "W4: bench in a program whose locale is de_DE.UTF-8"
    why = "an emulated C library does not read this machine's locales" if RUNNER else "takes long" if QUICK else make_locale("de_DE.UTF-8")
    if why:
        skip(name, why)
        return
    folder, status, said = host("program", "de_DE.UTF-8", "bench")
    if not check(status == 0, name, said):
        return
    why = why_not_json(os.path.join(folder, "bench.json"))
    check(not why, f"{name}: its JSON", why)
    text = contents(folder)["bench.txt"]
    check(not re.search(rb"\d,\d", text), f"{name}: its text", text)


# ---- W4: the kind, in the sources ----------------------------------------------------------------

FLOAT = re.compile(r"%[-+ 0#']*(\*|\d+)?(\.(\*|\d*))?[hlLqjzt]*[aefgAEFG]|%[-+ 0#]*'")
SCANNED_FLOAT = re.compile(r"%\*?\d*[hlL]*[aefgAEFG]")
PRINTS = "printf fprintf dprintf sprintf snprintf asprintf".split()
VPRINTS = ["v" + p for p in PRINTS]
# Functions that ask the locale -> the files that may call them.
BY_FILE = {f: ["src/base/format.c"] for f in VPRINTS + ["strtod", "setlocale", "newlocale", "uselocale", "freelocale", "strftime"]}
BY_FILE |= {f: [] for f in """strtof strtold atof vsscanf vfscanf localeconv strcoll strxfrm strptime
    strcasecmp strncasecmp strcasestr isalnum isalpha isblank iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit
    tolower toupper mbtowc mbstowcs mbrtowc wctomb wcstombs wcrtomb swprintf wprintf fwprintf wcstod regcomp glob
    cJSON_GetObjectItem cJSON_HasObjectItem cJSON_DeleteItemFromObject cJSON_DetachItemFromObject cJSON_ReplaceItemInObject
    cJSON_Parse cJSON_ParseWithLength cJSON_ParseWithOpts cJSON_PrintBuffered cJSON_PrintPreallocated""".split()}
BY_FILE |= {f: ["src/base/json.c"] for f in ("cJSON_ParseWithLengthOpts", "cJSON_Print", "cJSON_PrintUnformatted")}
BY_FILE |= {"fnmatch": ["src/convert/selection.c"], "strerror": ["src/base/error.c"], "strerror_r": [], "strerror_l": [],
            "perror": []}
CALL = re.compile(r"\b(%s)\s*\(" % "|".join([*PRINTS, "sscanf", "fscanf", *BY_FILE]))
TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|/\*.*?\*/|//[^\n]*|[()]', re.S)


def arguments(text, at):
    """The string literals between the parenthesis at `at` and the one that closes it."""
    depth, literals = 0, []
    for t in TOKEN.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(t.group(), 0)
        if t.group().startswith('"'):
            literals.append(t.group().replace("%%", ""))
        if depth == 0:
            return literals
    return literals


def faults(path, text):
    """Calls that depend on a locale: of printf with a floating-point number, or with a format that is not to be seen here."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)
    calls = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: " " * len(m.group()), text)
    found = []
    for m in CALL.finditer(calls):
        name, literals = m.group(1), arguments(text, m.end() - 1)
        bad = (path not in BY_FILE[name] if name in BY_FILE
               else any(map(SCANNED_FLOAT.search, literals)) if name in ("sscanf", "fscanf")
               else not literals or any(map(FLOAT.search, literals)))
        if bad:
            found.append(f"{path}:{text.count(chr(10), 0, m.start()) + 1}: {name}")
    return found


def sources(*folders):
    for folder in folders:
        for at, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.join(at, name)
                    with open(path, encoding="utf-8") as f:
                        yield os.path.relpath(path, ROOT), f.read()


def test_structure():
    for line, expected in (
            ('snprintf(out, n, "%.17g", x);', 1), ('snprintf(out, n, x ? "%zu" : "%5.*f %%", x);', 1), ('snprintf(out, n, format, x);', 1),
            ('printf("%d %s", f("(\\")"),\n "%+.4g");', 1), ("asprintf(&s, \"%'d\", i);", 1), ("vsnprintf(out, n, format, args);", 1),
            ("x = strtod(s, NULL);", 1), ('sscanf(s, "%lf", &x);', 1), ("cJSON_Print(root);", 1), ("isspace (*s)", 1), ("strerror(errno)", 1),
            ('snprintf(out, n, "%zu of %-5.3s %% %x", i, s, x);', 0), ('format_text(out, n, "%.17g", x);', 0), ("/* printf(x) */", 0),
            ('snprintf(format, n, "%%%s.%df", plus, decimals);', 0), ('markup_raw(m, "sprintf(\'%g\', $1)");', 0),
            ('sscanf(s, ": %llu kB", &kib);', 0), ("cJSON_GetObjectItemCaseSensitive(o, key)", 0), ("isfinite(x)", 0)):
        check(len(faults("x.c", line)) == expected, f"W4: the check of the sources on {line!r}", faults("x.c", line))
    library = [f for path, text in sources("src", "eval") if not path.startswith("src/cli") for f in faults(path, text)]
    check(not library, "W4: the library formats and parses in base/format.c, base/json.c alone", library)
    # The program's own files print with printf: it is in the C locale, because nothing in it sets another.
    program = [f for path, text in sources("src/cli") for f in faults(path, text) if re.search("locale$|textdomain", f)]
    check(not program, "W4: the program does not set a locale", program)


test_structure()
test_scripts()
test_demo()
if os.path.exists(HOST):
    test_host()
    test_bench()
else:
    check(False, "W4: programs with a locale", f"there is no {HOST}: `make test` builds it")
done()
