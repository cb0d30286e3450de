/* Refusals of reports, and, with arguments, a program for tests/cli/test_report.py:
 *     test_report DOCUMENT [html=F] [markdown=F] [junit=F] [baseline=F] [gate=EXPR]...
 * does what `surprisal compare` does with its comparison, by the public functions alone. */
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "base/file.h"
#include "tests/check.h"

#define GATES_MAX 16

static void warn(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "warning: %s\n", message);
}

static bool take(const char *arg, const char *name, const char **value)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n) != 0 || arg[n] != '=')
        return false;
    *value = arg + n + 1;
    return true;
}

/* The exit status that compare gives. */
static int run(int argc, char **argv)
{
    const char *gates[GATES_MAX];
    struct surprisal_report_options o = { .gates = gates, .progress.warn = warn };
    for (int i = 2; i < argc; i++) {
        const char *gate;
        if (take(argv[i], "gate", &gate) && o.n_gates < GATES_MAX)
            gates[o.n_gates++] = gate;
        else if (!take(argv[i], "html", &o.html) && !take(argv[i], "markdown", &o.markdown)
                 && !take(argv[i], "junit", &o.junit) && !take(argv[i], "baseline", &o.baseline))
            return 2;
    }
    struct surprisal_error err = { 0 };
    struct surprisal_report report;
    struct buffer json = { 0 };
    int status = 1;
    if (!surprisal_report_check(&o, &err))
        status = 2;
    else if (surprisal_report_prepare(&o, &err) && file_read(&json, argv[1], NULL)
             && surprisal_report(json.data, &o, &report, &err)) {
        fputs(report.failed, stderr);
        fputs(report.baseline ? report.baseline : "", stdout);
        status = report.n_failed ? 3 : 0;
        surprisal_report_free(&report);
    }
    buffer_free(&json);
    if (err.message[0])
        fprintf(stderr, "surprisal: %s\n", err.message);
    return status;
}

static void test_refusals(void)
{
    static const char *const good[] = { "mean_kld<=0.1" };
    static const char *const then[] = { "mean_kld<baseline.mean_kld" };
    static const struct {
        const char *name, *message;     /* message NULL: it is fine */
        struct surprisal_report_options options;
        bool only_prepare;              /* refused by prepare alone: it asks the file system */
    } cases[] = {
        { "nothing asked for is fine", NULL, { 0 }, false },
        { "a gate is fine", NULL, { .gates = good, .n_gates = 1 }, false },
        { "a baseline's figure needs a baseline",
          "gate 'mean_kld<baseline.mean_kld': there is no baseline",
          { .gates = then, .n_gates = 1 }, false },
        { "JUnit without gates", "a JUnit file holds gates, and there is none",
          { .junit = "x.xml" }, false },
        { "a folder that is not there",
          "/nowhere/x.html: cannot be written: No such file or directory",
          { .html = "/nowhere/x.html" }, true },
        { "a folder in the place of a file", "/tmp: is a directory, expected a file to write",
          { .markdown = "/tmp" }, true },
        { "a baseline that is not there", "/nowhere.json: No such file or directory",
          { .baseline = "/nowhere.json" }, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct surprisal_error checked = { 0 }, prepared = { 0 };
        bool check_ok = surprisal_report_check(&cases[i].options, &checked);
        bool prepare_ok = surprisal_report_prepare(&cases[i].options, &prepared);
        bool refused = cases[i].message != NULL;
        check(prepare_ok == !refused && check_ok == (!refused || cases[i].only_prepare)
              && (!refused || strcmp(prepared.message, cases[i].message) == 0),
              cases[i].name, "%d %d '%s'", check_ok, prepare_ok, prepared.message);
    }
}

static void test_documents(void)
{
    static const char *const documents[] = { "", "[", "{}x", "{\"a\": \"\\u0000\"}", "\xFF" };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        struct surprisal_error err = { 0 };
        struct surprisal_report report;
        struct surprisal_report_options o = { 0 };
        check(!surprisal_report(documents[i], &o, &report, &err)
              && strstr(err.message, "the comparison: "),
              "broken documents are refused", "%zu: '%s'", i, err.message);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return run(argc, argv);
    test_refusals();
    test_documents();
    return check_done();
}
