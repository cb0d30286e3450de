/* Rates and times left, with made-up clocks. */
#include "cli/pace.h"

#include <math.h>

#include "tests/check.h"

/* Reports once a second from `begin`, `rate` units each. */
static void go(struct pace *p, double begin, double seconds, double first, double rate,
               double total)
{
    for (double t = 0; t <= seconds; t++)
        pace_add(p, begin + t, first + rate * t, total, "tokens");
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

static void test_kinds(void)
{
    struct pace p = { 0 };
    check(pace_rate(&p) <= 0 && isnan(pace_left(&p)), "without a report nothing is known", "%g",
          pace_rate(&p));
    go(&p, 0, 10, 0, 5, 1000);
    check(near(pace_rate(&p), 5) && near(pace_left(&p), 190), "rate and time left", "%g, %g",
          pace_rate(&p), pace_left(&p));
    const struct {
        const char *name, *unit;
        double done, total;
    } cases[] = {
        { "less done than before, of the same total (a second evaluation), is new", "tokens", 0,
          1000 },
        { "another total is new", "tokens", 60, 2000 },
        { "another unit is new", "bytes", 60, 1000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pace q = p;
        bool first = pace_add(&q, 11, cases[i].done, cases[i].total, cases[i].unit);
        pace_add(&q, 13, cases[i].done + 200, cases[i].total, cases[i].unit);
        check(first && near(pace_rate(&q), 100), cases[i].name, "%d, %g", first, pace_rate(&q));
    }
    struct pace resumed = { 0 };
    go(&resumed, 0, 10, 500, 5, 1000);
    check(near(pace_rate(&resumed), 5), "what was done before the first report does not count",
          "%g", pace_rate(&resumed));
}

static void test_last_half_minute(void)
{
    struct pace p = { 0 };
    go(&p, 0, 600, 0, 1, 1e6);
    go(&p, 601, 30, 700, 100, 1e6);
    check(near(pace_rate(&p), 100), "the rate is that of the last half minute", "%g",
          pace_rate(&p));
    struct pace often = { 0 };
    for (int i = 0; i <= 6000; i++)
        pace_add(&often, 0.02 * i, i, 1e6, "tokens");
    check(near(pace_rate(&often), 50), "with reports 50 times a second", "%g", pace_rate(&often));
    struct pace rare = { 0 };
    for (int i = 0; i < 4; i++)
        pace_add(&rare, 100 * i, 10 * i * i, 1e6, "tokens");
    check(near(pace_rate(&rare), 0.5), "with rarer reports, since the one before the last", "%g",
          pace_rate(&rare));
}

static void test_stages(void)
{
    const struct surprisal_stage list[] = { { "a", 10 }, { "b", 20 }, { "c", 30 } };
    const struct surprisal_stage unknown[] = { { "a", 10 }, { "b", 0 } };
    const double none = (double)NAN;
    struct pace_stages s = { 0 };
    check(isnan(pace_stages_left(&s, 5, 0)), "without stages nothing is known of them", "%g",
          pace_stages_left(&s, 5, 0));
    pace_stages_plan(&s, list, 3);
    check(isnan(pace_stages_left(&s, 5, 0)), "nor before the first", "%g",
          pace_stages_left(&s, 5, 0));
    pace_stages_next(&s, 0, 100);
    check(near(pace_stages_left(&s, none, 104), 56), "estimates, less the time that went by", "%g",
          pace_stages_left(&s, none, 104));
    check(near(pace_stages_left(&s, 15, 105), 15 + 2 * 50),
          "the first takes twice its estimate, so will the others", "%g",
          pace_stages_left(&s, 15, 105));
    pace_stages_next(&s, 1, 130);       /* the first took three times its estimate */
    check(s.number == 2 && near(pace_stages_left(&s, none, 130), 60 + 90),
          "what stages before it took corrects the estimates", "%g",
          pace_stages_left(&s, none, 130));
    pace_stages_next(&s, 2, 190);
    check(near(pace_stages_left(&s, 7, 200), 7), "in the last, its own time left", "%g",
          pace_stages_left(&s, 7, 200));
    pace_stages_plan(&s, unknown, 2);
    pace_stages_next(&s, 0, 0);
    check(isnan(pace_stages_left(&s, 5, 1)), "a stage without an estimate: not known", "%g",
          pace_stages_left(&s, 5, 1));
}

int main(void)
{
    test_kinds();
    test_last_half_minute();
    test_stages();
    return check_done();
}
