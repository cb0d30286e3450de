/* When a sequence gives up its drafts, and what is counted. */
#include "decode/speculation.h"

#include "tests/check.h"

/* Steps of n drafts; in turn, `accepted[0]` and `accepted[1]` of them are right. */
/* clang-format off */
static const struct {
    const char *name;
    size_t n_drafts, accepted[2], steps;
    bool off;
} cases[] = {
    { "none is right, but the window is not full",       1, { 0, 0 }, SPECULATION_WINDOW - 1, false },
    { "none is right over a window",                     1, { 0, 0 }, SPECULATION_WINDOW,     true },
    { "half of them is enough",                          1, { 1, 0 }, 10 * SPECULATION_WINDOW, false },
    { "of three drafts, half",                           3, { 1, 2 }, SPECULATION_WINDOW,     false },
    { "of three drafts, a third",                        3, { 1, 1 }, SPECULATION_WINDOW,     true },
    { "all of the most",                      DRAFTER_MOST, { 8, 8 }, 100,                    false },
};
/* clang-format on */

static void test_giving_up(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct speculation s = { .n_drafts = cases[i].n_drafts };
        for (size_t k = 0; k < cases[i].steps; k++)
            speculation_add(&s, cases[i].n_drafts, cases[i].accepted[k % 2], false);
        check(s.off == cases[i].off, cases[i].name, "%s after %zu steps", s.off ? "off" : "on",
              s.steps);
        check(speculation_wanted(&s, 100) == (s.off ? 0 : cases[i].n_drafts), "and it asks so",
              "%zu drafts", speculation_wanted(&s, 100));
    }
}

/* Good steps long ago do not count, and no step brings drafts back. */
static void test_window(void)
{
    struct speculation s = { .n_drafts = 2 };
    size_t bad = 0;
    for (size_t k = 0; k < 1000; k++)
        speculation_add(&s, 2, 2, false);
    for (; !s.off && bad < 100; bad++)
        speculation_add(&s, 2, 0, false);
    check(bad == SPECULATION_WINDOW / 2 + 1, "the last steps alone count", "off after %zu", bad);
    for (size_t k = 0; k < 100; k++)
        speculation_add(&s, 2, 0, false);
    check(s.off && speculation_wanted(&s, 9) == 0, "drafts stay off", "on again");
}

static void test_counts(void)
{
    struct speculation s = { .n_drafts = 3 };
    check(speculation_wanted(&s, 2) == 2 && speculation_wanted(&s, 0) == 0,
          "no more drafts than the answer has room for", "%zu", speculation_wanted(&s, 2));
    speculation_add(&s, 3, 1, false);
    speculation_add(&s, 3, 2, true);            /* the third was not looked at */
    speculation_add(&s, 2, 0, false);
    speculation_add(&s, 0, 0, false);
    check(s.drafted[0] == 3 && s.drafted[1] == 3 && s.drafted[2] == 1 && s.accepted[0] == 2
          && s.accepted[1] == 1 && s.accepted[2] == 0 && s.steps == 3,
          "drafts are counted one by one", "%zu %zu %zu", s.drafted[0], s.drafted[1], s.drafted[2]);
}

int main(void)
{
    test_giving_up();
    test_window();
    test_counts();
    return check_done();
}
