#include "eval/statistics/paired.h"

#include <math.h>
#include <string.h>

#include "eval/statistics/student.h"
#include "tests/check.h"

static bool near(double found, double expected, double tolerance)
{
    if (isnan(expected))
        return isnan(found);
    return found == expected || fabs(found - expected) <= tolerance * fabs(expected);
}

/* ---- Student's t --------------------------------------------------------------------- */

/* Expected values by mpmath's betainc with 40 digits. */
static void test_p_values(void)
{
    static const struct {
        double t, df, p;
    } cases[] = {
        { 0, 5, 1 }, { 1e-8, 3, 0.99999999264894806 }, { 1, 1, 0.5 },
        { -2.5, 1, 0.2422378831816868 }, { 1e10, 1, 6.3661977236758134e-11 },
        { 1e100, 2, 9.9999999999999997e-201 }, { 0.3, 4, 0.77912142827745972 },
        { 2, 23, 0.057444548992082724 }, { 4.2974, 23, 0.00026830897885685979 },
        { 12.5, 5, 5.8133366502197355e-5 }, { 3, 39, 0.0046865679403646877 },
        { 3, 41, 0.0045767793849083718 }, { 1.96, 579, 0.050475015103674165 },
        { 30, 579, 5.217402597224269e-120 }, { 37, 12263, 3.4291357524736494e-284 },
        { 5, 297000, 5.7362859448316802e-7 }, { 2, 1e6, 0.045500533851319208 },
        { INFINITY, 7, 0 }, { NAN, 7, NAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double p = student_p(cases[i].t, cases[i].df);
        char name[64];
        snprintf(name, sizeof name, "p of t = %g with %g degrees of freedom", cases[i].t,
                 cases[i].df);
        check(near(p, cases[i].p, 1e-10), name, "%.17g, expected %.17g", p, cases[i].p);
    }
}

/* Expected values by scipy.stats.t.ppf(0.975, df). */
static void test_quantiles(void)
{
    static const double cases[][2] = {
        { 1, 12.706204736174694 }, { 2, 4.302652729749462 }, { 5, 2.5705818356363146 },
        { 23, 2.0686576104190486 }, { 144, 1.9765750658304433 }, { 12263, 1.9601574528113652 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(near(student_t(0.05, cases[i][0]), cases[i][1], 1e-10), "97.5 % quantile of t",
              "%.17g, expected %.17g", student_t(0.05, cases[i][0]), cases[i][1]);
}

/* ---- paired figures -------------------------------------------------------------------- */

enum { MOST = 8 };

struct made_up {                        /* tokens and the unit of each, ascending from 0 */
    size_t n;
    double a[MOST], b[MOST];
    int unit[MOST];
};

static struct paired compute(const struct made_up *m)
{
    struct paired p = { .bootstrap = { .samples = 500, .seed = 7 } };
    struct paired_unit units[MOST];
    memset(units, 0, sizeof units);
    for (size_t i = 0; i < m->n; i++) {
        struct paired_unit *u = &units[m->unit[i]];
        compensated_add(&u->a, m->a[i]);
        compensated_add(&u->b, m->b[i]);
        compensated_add(&u->delta, m->b[i] - m->a[i]);
        u->scored++;
    }
    struct error err = { 0 };
    if (!paired_compute(&p, units, (size_t)m->unit[m->n - 1] + 1, m->a, m->b, m->n, &err))
        check(false, "paired_compute", "%s", err.message);
    return p;
}

/* Known answers; those of "two windows" by hand from the formulas in paired.h. */
static void test_known(void)
{
    static const struct {
        const char *name;
        struct made_up tokens;
        double delta, error, p, naive_error, naive_p;
    } cases[] = {
        { "identical runs: 0, error 0, p 1",
          { 4, { 1, 2, 3, 4 }, { 1, 2, 3, 4 }, { 0, 0, 1, 1 } }, 0, 0, 1, 0, 1 },
        { "O12: a constant shift: error 0, no p",
          { 4, { 1, 2, 3, 4 }, { 1.25, 2.25, 3.25, 4.25 }, { 0, 0, 1, 1 } }, 0.25, 0, NAN, 0, NAN },
        { "O12: identical windows have no p, their tokens have",
          { 4, { 1, 2, 1, 2 }, { 1.125, 2.375, 1.125, 2.375 }, { 0, 0, 1, 1 } }, 0.25, 0,
          NAN, 0.072168783648703216, 0.04051932635383393 },
        { "one window has no error",
          { 3, { 1, 2, 3 }, { 2, 2, 5 }, { 0, 0, 0 } }, 1, NAN, NAN, 0.57735026918962576,
          0.22540333075851662 },
        { "one token has none at all", { 1, { 1 }, { 2 }, { 0 } }, 1, NAN, NAN, NAN, NAN },
        { "two windows",
          { 3, { 1, 2, 3 }, { 2, 2, 5 }, { 0, 0, 1 } }, 1, 2.0 / 3, 0.3743340836219977,
          0.57735026918962576, 0.22540333075851662 },
        { "changes that cancel: delta 0, p 1",
          { 2, { 1, 1 }, { 2, 0 }, { 0, 1 } }, 0, 1, 1, 1, 1 },
        { "large NLL keep small differences",
          { 2, { 1e15, 1e15 }, { 1e15 + 1, 1e15 + 3 }, { 0, 1 } }, 2, 1, 0.29516723530086653, 1,
          0.29516723530086653 },
        { "squares beyond a double: no error, no p-value",
          { 2, { 0, 0 }, { 1e200, 3e200 }, { 0, 1 } }, 2e200, NAN, NAN, NAN, NAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct paired p = compute(&cases[i].tokens);
        check(near(p.delta.value, cases[i].delta, 1e-14) && near(p.delta.se, cases[i].error, 1e-14)
              && near(p.delta.p, cases[i].p, 1e-12) && near(p.naive.se, cases[i].naive_error, 1e-14)
              && near(p.naive.p, cases[i].naive_p, 1e-12), cases[i].name,
              "%.17g +- %.17g, p %.17g, naive +- %.17g, p %.17g", p.delta.value, p.delta.se,
              p.delta.p, p.naive.se, p.naive.p);
    }
}

static void test_delta_method(void)
{
    const struct made_up two = { 3, { 1, 2, 3 }, { 2, 2, 5 }, { 0, 0, 1 } };
    struct paired p = compute(&two);
    double e2 = exp(2), e3 = exp(3), t = 12.706204736174694;
    check(near(p.ratio.value, exp(1), 1e-14) && near(p.ratio.se, exp(1) * 2 / 3, 1e-14)
          && near(p.ratio.ci95[0], exp(1 - t * 2 / 3), 1e-11)
          && near(p.ratio.ci95[1], exp(1 + t * 2 / 3), 1e-11), "ratio of perplexity",
          "%.17g +- %.17g", p.ratio.value, p.ratio.se);
    check(near(p.difference.value, e3 - e2, 1e-14)
          && near(p.difference.se, 2 * (2 * e3 - e2) / 3, 1e-14), "difference of perplexity",
          "%.17g +- %.17g", p.difference.value, p.difference.se);
    check(near(p.unpaired_se, sqrt(20) / 3, 1e-14), "unpaired error", "%.17g", p.unpaired_se);
    check(p.units_needed == 7, "windows needed for the effect, rounded up", "%g", p.units_needed);
    const struct made_up same = { 2, { 1, 2 }, { 1, 2 }, { 0, 1 } };
    check(compute(&same).units_needed == 0, "no effect needs no windows", "not 0");
    const struct made_up repeated = { 6, { 1, 2, 1, 2, 1, 2 }, { 1.1, 2.3, 1.1, 2.3, 1.1, 2.3 },
                                      { 0, 0, 1, 1, 2, 2 } };
    p = compute(&repeated);
    check(isnan(p.delta.p) && isnan(p.delta.ci95[0]) && isnan(p.ratio.ci95[1])
          && isnan(p.units_needed),
          "O12: nor have they where sums are rounded: no interval, no windows needed",
          "p %g, error %g", p.delta.p, p.delta.se);
    const struct made_up alone = { 2, { 1, 2 }, { 2, 3 }, { 0, 0 } };
    check(isnan(compute(&alone).units_needed), "from one window it cannot be said", "it is");
    const struct made_up huge = { 2, { 800, 900 }, { 801, 903 }, { 0, 1 } };
    p = compute(&huge);
    check(isinf(p.perplexity_a) && p.delta.value == 2 && p.delta.se == 1
          && near(p.ratio.value, exp(2), 1e-14) && !isfinite(p.difference.value),
          "where perplexities are beyond a double, their ratio is not", "%g %g", p.ratio.value,
          p.difference.value);
}

/* ---- bootstrap ---------------------------------------------------------------------------- */

static void test_bootstrap(void)
{
    enum { N = 200 };
    double values[N], weights[N];
    for (int i = 0; i < N; i++) {
        values[i] = (i * 7919 % 211) / 10.0;
        weights[i] = 1 + i % 3;
    }
    struct error err = { 0 };
    struct bootstrap a = { .samples = 4000, .seed = 1 }, b = a, c = { .samples = 4000, .seed = 2 };
    bool ok = bootstrap_ratio(&a, values, weights, N, &err)
           && bootstrap_ratio(&b, values, weights, N, &err)
           && bootstrap_ratio(&c, values, weights, N, &err);
    check(ok && a.se == b.se && a.ci95[0] == b.ci95[0], "a seed gives the same figures",
          "%.17g %.17g", a.se, b.se);
    check(a.se != c.se && fabs(a.se / c.se - 1) < 0.1, "another seed gives like ones", "%g %g",
          a.se, c.se);
    check(near(a.se, 0.26441659693428493, 1e-12), "the generator is xoshiro256** by splitmix64",
          "%.17g", a.se);
    double flat[2] = { 3, 6 }, two[2] = { 1, 2 };
    struct bootstrap d = { .samples = 100, .seed = 1 };
    check(bootstrap_ratio(&d, flat, two, 2, &err) && d.se == 0 && d.ci95[0] == 3 && d.ci95[1] == 3,
          "equal ratios do not scatter", "%g", d.se);
    const struct made_up one = { 2, { 1, 2 }, { 2, 3 }, { 0, 0 } };
    check(compute(&one).bootstrap.samples == 0, "one window is not drawn from", "it is");
}

int main(void)
{
    test_p_values();
    test_quantiles();
    test_known();
    test_delta_method();
    test_bootstrap();
    return check_done();
}
