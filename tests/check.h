/* check.h - the test harness: one line a test, read by tests/run.
 *
 *     pass NAME
 *     fail NAME: why          (and the program exits with 1)
 *     skip NAME: why
 *
 * A test program is a main() that runs cases and ends with `return check_done();`. */
#ifndef SURPRISAL_TESTS_CHECK_H
#define SURPRISAL_TESTS_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static int check_failures;

/* Reports one case; the message (printf style) is shown when it fails. */
__attribute__((format(printf, 3, 4), unused))
static bool check(bool ok, const char *name, const char *format, ...)
{
    printf("%s %s", ok ? "pass" : "fail", name);
    if (!ok) {
        va_list args;
        va_start(args, format);
        printf(": ");
        vprintf(format, args);
        va_end(args);
        check_failures++;
    }
    printf("\n");
    fflush(stdout);
    return ok;
}

__attribute__((unused))
static void check_skip(const char *name, const char *why)
{
    printf("skip %s: %s\n", name, why);
}

__attribute__((unused))
static int check_done(void)
{
    return check_failures != 0;
}

/* What the cases need: without it the program ends. */
__attribute__((unused))
static void must(bool ok, const struct error *err)
{
    if (ok)
        return;
    check(false, "what the cases need works", "%s", err->message);
    exit(check_done());
}

#endif
