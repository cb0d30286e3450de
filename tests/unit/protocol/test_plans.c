#include "eval/protocol/plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/output_file.h"
#include "eval/run/plan_folders.h"
#include "tests/check.h"

#define NONE SURPRISAL_TASK_NONE
#define WIKI SURPRISAL_TASK_WIKITEXT
#define DEFAULT SURPRISAL_PROTOCOL_DEFAULT

/* ---- names and defaults ---------------------------------------------------------- */

static void test_complete(void)
{
    static const struct {
        const char *name;
        struct surprisal_protocol_plan plan;
        const char *is;                 /* its name, or what the refusal says */
        enum surprisal_protocol protocol;
        size_t stride;
    } cases[] = {
        { "all zero is the default", { 0 }, "disjoint-2048", SURPRISAL_DISJOINT, 2048 },
        { "strided steps by its context", { SURPRISAL_STRIDED, 512, 0, NONE }, "strided-512-512",
          SURPRISAL_STRIDED, 512 },
        { "strided steps by its stride", { SURPRISAL_STRIDED, 2048, 512, NONE }, "strided-2048-512",
          SURPRISAL_STRIDED, 512 },
        { "others have no stride", { SURPRISAL_LLAMA, 512, 0, NONE }, "llama-512", SURPRISAL_LLAMA,
          512 },
        { "a task has a protocol", { DEFAULT, 1024, 0, WIKI }, "wikitext-1024", SURPRISAL_ROLLING,
          1024 },
        { "which may be named", { SURPRISAL_ROLLING, 0, 0, WIKI }, "wikitext-2048",
          SURPRISAL_ROLLING, 2048 },
        { "the longest name fits", { SURPRISAL_STRIDED, SIZE_MAX, SIZE_MAX, NONE },
          "strided-18446744073709551615-18446744073709551615", SURPRISAL_STRIDED, SIZE_MAX },
        { "a task with another protocol", { SURPRISAL_LLAMA, 0, 0, WIKI },
          "rolling, not llama", 0, 0 },
        { "a stride of another protocol", { SURPRISAL_LLAMA, 512, 5, NONE }, "a stride belongs",
          0, 0 },
        { "a stride of a task", { DEFAULT, 512, 5, WIKI }, "a stride belongs", 0, 0 },
        { "a stride above the context", { SURPRISAL_STRIDED, 8, 9, NONE }, "larger than context",
          0, 0 },
        { "a context of 1", { SURPRISAL_LLAMA, 1, 0, NONE }, "at least 2", 0, 0 },
        { "an unknown protocol", { 9, 8, 0, NONE }, "unknown protocol 9", 0, 0 },
        { "an unknown task", { DEFAULT, 8, 0, 7 }, "unknown task 7", 0, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct surprisal_protocol_plan *given = &cases[i].plan;
        const struct surprisal_eval_options ways[] = {
            { .plans = given, .n_plans = 1 },
            { .protocol = given->protocol, .context = given->context, .stride = given->stride,
              .task = given->task },
        };
        for (size_t way = 0; way < 2; way++) {
            struct error err = { 0 };
            struct plans p;
            char name[PLAN_NAME_BYTES];
            bool ok = plans_make(&p, &ways[way], &err);
            if (!ok) {
                check(!cases[i].protocol && strstr(err.message, cases[i].is), cases[i].name, "'%s'",
                      err.message);
                continue;
            }
            plan_name(name, p.list);
            check(p.n == 1 && strcmp(name, cases[i].is) == 0 && plan_is_name(name, strlen(name))
                  && p.list->protocol == cases[i].protocol && p.list->stride == cases[i].stride,
                  cases[i].name, "%s, stride %zu", name, p.list->stride);
            plans_free(&p);
        }
    }
}

static void test_several(void)
{
    static const struct surprisal_protocol_plan plans[] = {
        { SURPRISAL_LLAMA, 512, 0, NONE }, { SURPRISAL_STRIDED, 512, 0, NONE },
        { DEFAULT, 512, 0, WIKI }, { SURPRISAL_ROLLING, 512, 0, NONE },
        { SURPRISAL_STRIDED, 512, 512, NONE },
    };
    struct surprisal_eval_options o = { .plans = plans, .n_plans = 4 };
    struct error err = { 0 };
    struct plans p;
    bool ok = plans_make(&p, &o, &err);
    check(ok && p.n == 4 && p.list[3].protocol == SURPRISAL_ROLLING, "four plans in their order",
          "%s", err.message);
    plans_free(&p);
    o.n_plans = 5;
    check(!plans_make(&p, &o, &err) && strstr(err.message, "strided-512-512 is given twice"),
          "two that are the same once they are complete", "'%s'", err.message);
    const struct surprisal_eval_options beside[] = {
        { .plans = plans, .n_plans = 1, .protocol = SURPRISAL_LLAMA },
        { .plans = plans, .n_plans = 1, .context = 512 },
        { .plans = plans, .n_plans = 1, .stride = 512 },
        { .plans = plans, .n_plans = 1, .task = WIKI },
    };
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        check(!plans_make(&p, &beside[i], &err) && strstr(err.message, "cannot be given beside it"),
              "plans beside a protocol", "%zu: '%s'", i, err.message);
}

/* ---- folders ----------------------------------------------------------------------- */

static char folder[] = "/tmp/surprisal-plans-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool make_run(const char *name)
{
    if (mkdir(in_folder(name), 0777) != 0)
        return false;
    char *summary = file_join(in_folder(name), "summary.json", NULL);
    bool ok = summary && output_file_write(summary, "{}", 2, NULL);
    free(summary);
    return ok;
}

static void test_folders(void)
{
    struct error err = { 0 };
    struct plan_pairs p;
    char a[4096], b[4096], run[4096];
    snprintf(a, sizeof a, "%s", in_folder("a"));
    snprintf(b, sizeof b, "%s", in_folder("b"));
    snprintf(run, sizeof run, "%s", in_folder("a/llama-512"));
    bool made = mkdir(a, 0777) == 0 && mkdir(b, 0777) == 0
             && make_run("a/llama-512") && make_run("a/disjoint-2048") && make_run("a/disjoint-512")
             && mkdir(in_folder("a/notes"), 0777) == 0
             && output_file_write(in_folder("a/file"), "x", 1, NULL);
    check(made && !plan_folders_pair(&p, a, b, &err)
          && strstr(err.message, "b: holds no run folders"),
          "a folder without runs", "'%s'", err.message);
    check(!plan_folders_pair(&p, in_folder("none"), b, &err) && strstr(err.message, "No such file"),
          "no folder", "'%s'", err.message);
    made = make_run("b/llama-512") && make_run("b/rolling-64");
    static const struct plan_pair expected[] = {
        { "disjoint-512", true, false }, { "disjoint-2048", true, false },
        { "llama-512", true, true }, { "rolling-64", false, true },
    };
    bool same = made && plan_folders_pair(&p, a, b, &err) && p.n == 4;
    for (size_t i = 0; same && i < 4; i++)
        same = strcmp(p.list[i].name, expected[i].name) == 0 && p.list[i].in_a == expected[i].in_a
            && p.list[i].in_b == expected[i].in_b;
    check(same, "paired by name, numbers by value", "%zu '%s'", p.n, err.message);
    plan_folders_free(&p);
    check(plan_folders_pair(&p, a, NULL, &err) && p.n == 3 && !p.list[0].in_b, "one folder alone",
          "'%s'", err.message);
    plan_folders_free(&p);
    check(plan_folders_in(a) && !plan_folders_in(run) && !plan_folders_in(in_folder("a/notes"))
          && !plan_folders_in(in_folder("a/file")), "a folder of plans is told from others", "not");
}

static void test_names(void)
{
    static const struct {
        const char *name;
        size_t n;
        bool is;
    } cases[] = {
        { "llama-512/summary.json", 9, true },
        { "strided-2048-512", 16, true },
        { "wikitext-2048", 13, true },
        { "lines-64", 8, true },
        { "llama-", 6, false },
        { "llama", 5, false },
        { "default-512", 11, false },
        { "llama-5x", 8, false },
        { "lama-512", 8, false },
        { "llamas-512", 10, false },
        { "", 0, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(plan_is_name(cases[i].name, cases[i].n) == cases[i].is, "the name of a plan",
              "'%.*s'", (int)cases[i].n, cases[i].name);
}

int main(void)
{
    test_names();
    test_complete();
    test_several();
    if (!check(mkdtemp(folder) != NULL, "temporary folder", "cannot create"))
        return check_done();
    test_folders();
    char command[4096];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command) != 0 || check_done();
}
