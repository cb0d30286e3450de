#include <math.h>
#include <string.h>

#include "eval/statistics/front.h"
#include "eval/statistics/holm.h"
#include "tests/check.h"

#define MOST 6

static bool same(double x, double y, double tolerance)
{
    return (isnan(x) && isnan(y)) || fabs(x - y) <= tolerance * fabs(y);
}

/* By hand: with p ascending, the largest so far of (m - j + 1) p, at most 1. */
static void test_holm(void)
{
    static const struct {
        const char *name;
        size_t n;
        double p[MOST], expected[MOST];
    } cases[] = {
        { "one test is not corrected", 1, { 0.04 }, { 0.04 } },
        { "Holm's own example: in the order of the tests", 4, { 0.01, 0.04, 0.03, 0.005 },
          { 0.03, 0.06, 0.06, 0.02 } },
        { "a later value is never below an earlier one", 3, { 0.02, 0.021, 0.9 },
          { 0.06, 0.06, 0.9 } },
        { "at most 1", 3, { 0.5, 0.6, 1 }, { 1, 1, 1 } },
        { "NaN does not count as a test", 4, { NAN, 0.02, NAN, 0.03 }, { NAN, 0.04, NAN, 0.04 } },
        { "all NaN", 2, { NAN, NAN }, { NAN, NAN } },
        { "equal values", 3, { 0.01, 0.01, 0.01 }, { 0.03, 0.03, 0.03 } },
        { "zeros", 2, { 0, 0 }, { 0, 0 } },
        { "none", 0, { 0 }, { 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double p[MOST];
        struct error err = { 0 };
        memcpy(p, cases[i].p, sizeof p);
        bool ok = holm_adjust(p, cases[i].n, &err);
        for (size_t k = 0; k < cases[i].n; k++)
            ok = ok && same(p[k], cases[i].expected[k], 1e-15);
        check(ok, cases[i].name, "first %.17g, expected %.17g; %s", p[0], cases[i].expected[0],
              err.message);
    }
}

/* n points; of each: on the front, its dominator (MOST: none), bytes of the others' front.  With
 * divergences that are powers of 10 or 2 the logarithm is halfway or a third of the way. */
static void test_front(void)
{
    enum { NONE = MOST };
    static const struct {
        const char *name;
        size_t n;
        struct front_point points[MOST];
        bool on_front[MOST];
        size_t dominator[MOST];
        double bytes[MOST];
    } cases[] = {
        { "halfway between neighbours in log KL", 3, { { 400, 0.01 }, { 300, 0.1 }, { 200, 1 } },
          { true, true, true }, { NONE, NONE, NONE }, { NAN, 300, NAN } },
        { "a third of the way", 3, { { 700, 0.5 }, { 650, 1 }, { 400, 4 } },
          { true, true, true }, { NONE, NONE, NONE }, { NAN, 600, NAN } },
        { "dominated: the nearest of the front by divergence", 4,
          { { 400, 0.01 }, { 200, 1 }, { 350, 0.1 }, { 380, 0.1 } },
          { true, true, true, false }, { NONE, NONE, NONE, 2 }, { NAN, NAN, 380, 350 } },
        { "twins are both on the front", 2, { { 100, 0.1 }, { 100, 0.1 } }, { true, true },
          { NONE, NONE }, { 100, 100 } },
        { "the same size: less divergence wins", 2, { { 100, 0.1 }, { 100, 0.2 } },
          { true, false }, { NONE, 0 }, { NAN, NAN } },
        { "the same divergence: fewer bytes win", 2, { { 120, 0.1 }, { 100, 0.1 } },
          { false, true }, { 1, NONE }, { 100, 120 } },
        { "larger and worse than all: no neighbour above", 2, { { 100, 0.1 }, { 200, 0.3 } },
          { true, false }, { NONE, 0 }, { NAN, NAN } },
        { "unknown divergence is on no front and dominates nothing", 3,
          { { 100, NAN }, { 300, 0.1 }, { 200, 0.2 } }, { false, true, true },
          { NONE, NONE, NONE }, { NAN, NAN, NAN } },
        { "no logarithm of 0", 3, { { 400, 0 }, { 300, 0.1 }, { 200, 1 } }, { true, true, true },
          { NONE, NONE, NONE }, { NAN, NAN, NAN } },
        { "two exact copies of the original", 3, { { 400, 0 }, { 500, 0 }, { 200, 1 } },
          { true, false, true }, { NONE, 0, NONE }, { 500, 400, NAN } },
        { "one alone", 1, { { 1, 1 } }, { true }, { NONE }, { NAN } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < cases[i].n; k++) {
            size_t n = cases[i].n, expected = cases[i].dominator[k];
            size_t dominator = front_dominator(cases[i].points, n, k);
            double bytes = front_bytes(cases[i].points, n, k);
            char name[128];
            snprintf(name, sizeof name, "%s: point %zu", cases[i].name, k);
            check(front_holds(cases[i].points, n, k) == cases[i].on_front[k]
                      && dominator == (expected == NONE ? n : expected)
                      && same(bytes, cases[i].bytes[k], 1e-12), name,
                  "dominator %zu, %.17g bytes, expected %zu, %.17g", dominator, bytes, expected,
                  cases[i].bytes[k]);
        }
}

int main(void)
{
    test_holm();
    test_front();
    return check_done();
}
