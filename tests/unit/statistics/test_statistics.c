#include "eval/statistics/statistics.h"

#include <math.h>

#include "tests/check.h"

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-14 * fabs(b);
}

/* Expected values by Python's fractions and decimal from the formulas in statistics.h. */
static void test_figures(void)
{
    static const struct {
        const char *name;
        size_t n;
        struct window_score windows[3];
        double mean, error;             /* error < 0: none */
    } cases[] = {
        { "one window has no error", 1, { { { 6, 0 }, 3 } }, 2, -1 },
        { "equal windows have error 0", 2, { { { 6, 0 }, 3 }, { { 6, 0 }, 3 } }, 2, 0 },
        { "two windows", 2, { { { 2, 0 }, 2 }, { { 6, 0 }, 2 } }, 2, 1 },
        { "windows weigh by their tokens", 2, { { { 2, 0 }, 1 }, { { 3, 0 }, 3 } }, 1.25, 0.375 },
        { "an empty window is no unit", 3, { { { 2, 0 }, 2 }, { { 0, 0 }, 0 }, { { 6, 0 }, 2 } },
          2, 1 },
        { "one window and an empty one", 2, { { { 6, 0 }, 3 }, { { 0, 0 }, 0 } }, 2, -1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct figures f = statistics_figures(cases[i].windows, cases[i].n);
        bool error_ok = cases[i].error < 0
            ? isnan(f.mean_se) && isnan(f.perplexity_se)
            : fabs(f.mean_se - cases[i].error) < 1e-15
              && fabs(f.perplexity_se - cases[i].error * exp(cases[i].mean)) < 1e-14;
        check(near(f.mean, cases[i].mean) && near(f.perplexity, exp(cases[i].mean)) && error_ok
              && isnan(f.word_perplexity) && isnan(f.bits_per_byte),
              cases[i].name, "%.17g +- %.17g", f.mean, f.mean_se);
    }
}

static void test_by_text(void)
{
    struct figures f = { .mean = 2 };
    statistics_by_text(&f, 100, 50, 400);
    check(near(f.word_perplexity, exp(4)) && near(f.byte_perplexity, exp(0.5))
          && near(f.bits_per_byte, 0.5 / log(2)),
          "the NLL of the whole text by words and bytes", "%g %g %g", f.word_perplexity,
          f.byte_perplexity, f.bits_per_byte);
}

static void test_compensated(void)
{
    struct compensated sum = { 0 };
    compensated_add(&sum, 1e16);
    for (int i = 0; i < 1000; i++)
        compensated_add(&sum, 0.5);
    compensated_add(&sum, -1e16);
    check(compensated_value(&sum) == 500, "small terms beside a large one are kept", "%.17g",
          compensated_value(&sum));
}

int main(void)
{
    test_figures();
    test_by_text();
    test_compensated();
    return check_done();
}
