/* The engine on the demo checkpoint: its results do not depend on threads, memory, passes, tiles,
 * batches or instruction set, and its refusals. */
#include "engine/engine.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/differ.h"
#include "tests/random.h"

#define CHECKPOINT "data/demo/bf16"

enum { N_IDS = 1500, MAX_SCORED = 3000 };

struct scores {
    struct engine_score rows[MAX_SCORED];
    size_t n;
    double hidden_sum;
    bool stop;
};

static bool take(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err)
{
    struct scores *s = user;
    if (s->stop)
        return error_set(err, "the sink is full");
    if (row != s->n || row + n > MAX_SCORED)
        return error_set(err, "rows [%zu, %zu) after %zu", row, row + n, s->n);
    memcpy(s->rows + row, scores, n * sizeof *scores);
    s->n += n;
    s->hidden_sum += (double)hidden[0];
    return true;
}

static struct checkpoint ck;
static struct weights w;
static int32_t ids[N_IDS];

static bool score(struct scores *s, const struct engine_options *options,
                  const struct engine_window *windows, size_t n_windows,
                  struct engine_statistics *statistics, struct error *err)
{
    memset(s, 0, sizeof *s);
    struct engine *e = engine_open(&ck, &w, options, err);
    if (!e)
        return false;
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = windows,
                                    .n_windows = n_windows, .sink = { take, s } };
    bool ok = engine_score_windows(e, &job, statistics, err);
    engine_close(e);
    return ok;
}

/* The smallest that does, nearly: windows need several passes with it. */
static size_t least_budget(int n_threads, const struct engine_window *windows, size_t n_windows)
{
    static struct scores s;
    struct engine_options options = { .n_threads = n_threads, .memory_bytes = (size_t)1 << 20 };
    struct engine_statistics st;
    for (struct error err = { 0 }; options.memory_bytes < (size_t)64 << 20;
         err = (struct error){ 0 }) {
        if (score(&s, &options, windows, n_windows, &st, &err))
            break;
        options.memory_bytes += (size_t)50 << 10;
    }
    return options.memory_bytes;
}

/* Same rows?  On a difference b's first other one is described in `where`. */
static bool same_rows(char *where, const struct scores *a, const struct scores *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const struct engine_score *x = &a->rows[i], *y = &b->rows[i];
        if (!memcmp(&x->nll, &y->nll, sizeof(double)) && x->logsumexp == y->logsumexp
            && x->top1 == y->top1)
            continue;
        if (!where[0])
            differ_put(where,
                       "row %zu of %zu has NLL %.17g (%a), expected %.17g (%a); log-sum-exp %.9g, "
                       "expected %.9g; top-1 %d, expected %d",
                       i, a->n, y->nll, y->nll, x->nll, x->nll, (double)y->logsumexp,
                       (double)x->logsumexp, (int)y->top1, (int)x->top1);
        return false;
    }
    return a->n == b->n;
}

static bool same(const struct scores *a, const struct scores *b)
{
    char where[DIFFER_TEXT] = "";
    return same_rows(where, a, b);
}

/* Windows of many lengths, one much longer than the smallest tile. */
static const struct engine_window windows[] = {
    { 0, 130, 1 }, { 130, 131, 131 }, { 100, 1400, 700 }, { 5, 70, 69 }, { 1400, 1500, 1401 },
    { 0, 65, 1 }, { 1000, 1001, 1001 }, { 700, 900, 800 },
};
#define N_WINDOWS (sizeof windows / sizeof *windows)

static void test_invariance(void)
{
    static struct scores first, other;
    struct engine_statistics st;
    struct error err = { 0 };
    struct engine_options plain = { .n_threads = 1 };
    if (!check(score(&first, &plain, windows, N_WINDOWS, &st, &err), "windows of many lengths",
               "%s", err.message))
        return;
    check(st.passes == 1 && first.n == 129 + 700 + 1 + 99 + 64 + 100, "all targets are scored",
          "%zu scored in %zu passes", first.n, st.passes);
    static const struct { const char *name; struct engine_options options; size_t least_passes;
    } cases[] = {
        { "two threads give the same bits", { .n_threads = 2 }, 1 },
        { "three threads give the same bits", { .n_threads = 3 }, 1 },
        { "an ample budget: the same bits",
          { .n_threads = 2, .memory_bytes = (size_t)8 << 30 },
          1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char where[DIFFER_TEXT] = "";
        bool ok = score(&other, &cases[i].options, windows, N_WINDOWS, &st, &err);
        check(ok && same_rows(where, &first, &other) && st.passes >= cases[i].least_passes,
              cases[i].name, "%s, %zu passes, %s", err.message, st.passes, where);
    }
    enum { MANY = 20, EACH = 70 };
    struct engine_window many[MANY];
    for (size_t i = 0; i < MANY; i++)
        many[i] = (struct engine_window){ i * EACH, (i + 1) * EACH, i * EACH + 1 };
    static struct scores whole;
    char where[DIFFER_TEXT] = "";
    size_t passes[4] = { 0 }, enough = least_budget(1, many, MANY), step = (size_t)200 << 10;
    bool ok = score(&whole, &plain, many, MANY, &st, &err);
    for (size_t i = 0; ok && i < 4; i++) {
        struct engine_options small = { .n_threads = 1, .memory_bytes = enough + i * step };
        ok = score(&other, &small, many, MANY, &st, &err) && same_rows(where, &whole, &other);
        passes[i] = st.passes;
    }
    check(ok && passes[0] > 1, "small budgets: the same bits in passes",
          "%s, %zu to %zu passes, %s", err.message, passes[0], passes[3], where);

    bool alone = true;
    size_t row = 0;
    for (size_t i = 0; i < N_WINDOWS; i++) {
        alone = alone && score(&other, &plain, &windows[i], 1, &st, &err);
        for (size_t j = 0; j < other.n; j++)
            alone = alone && memcmp(&other.rows[j].nll, &first.rows[row + j].nll, 8) == 0;
        row += other.n;
    }
    check(alone, "a window alone gives the same bits", "%s", err.message);
}

/* The same in BF16 compute, whose roundings are by value and not by place. */
static void test_bf16(void)
{
    static struct scores first, other, f32;
    struct engine_statistics st;
    struct error err = { 0 };
    struct engine_options one = { .n_threads = 1, .compute = COMPUTE_BF16 };
    struct engine_options two = { .n_threads = 2, .compute = COMPUTE_BF16 };
    struct engine_options plain = { .n_threads = 2 };
    bool ok = score(&first, &one, windows, N_WINDOWS, &st, &err)
           && score(&other, &two, windows, N_WINDOWS, &st, &err)
           && score(&f32, &plain, windows, N_WINDOWS, &st, &err);
    char where[DIFFER_TEXT] = "";
    check(ok && same_rows(where, &first, &other), "bf16: two threads give the same bits", "%s %s",
          err.message, where);
    double sum = 0;
    for (size_t i = 0; i < f32.n; i++)
        sum += fabs(first.rows[i].nll - f32.rows[i].nll);
    check(ok && sum > 0 && sum / (double)f32.n < 0.1, "bf16 is near f32, and not the same",
          "off by %.3g on average", sum / (double)f32.n);
}

/* Our own products have one order of summation, so AVX2 and AVX-512 agree to the bit; scalar uses
 * libm's exponential and OpenBLAS its own order. */
static void test_isas(void)
{
    static struct scores first, other;
    struct engine_statistics st;
    struct error err = { 0 };
    static const struct engine_window two[] = { { 0, 150, 1 }, { 150, 220, 151 } };
    score(&first, &(struct engine_options){ .isa = "avx2", .n_threads = 2 }, two, 2, &st, &err);
    static const struct { const char *isa; double tolerance; } cases[] = {
        { "avx512", 0 }, { "openblas", 2e-5 }, { "scalar", 2e-5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s agrees with avx2", cases[i].isa);
        struct engine_options options = { .isa = cases[i].isa, .n_threads = 2 };
        if (!first.n || !score(&other, &options, two, 2, &st, &err)) {
            check_skip(name, err.message);
            continue;
        }
        double worst = 0;
        for (size_t j = 0; j < first.n; j++)
            worst = fmax(worst, fabs(first.rows[j].nll - other.rows[j].nll));
        check(other.n == first.n && worst <= cases[i].tolerance, name, "off by %.1e", worst);
    }
}

/* ---- resuming: from every state that a run offers, the same bits ------------------- */

static const struct engine_window few[] = {
    { 0, 70, 1 }, { 130, 131, 131 }, { 100, 300, 200 }, { 5, 70, 69 },
};
#define N_FEW (sizeof few / sizeof *few)

struct capture {
    size_t countdown;
    struct engine_state state;
    float *x;
};

static bool capture(void *user, const struct engine_state *state, bool now, struct error *err)
{
    struct capture *c = user;
    if (!now && --c->countdown > 0)
        return true;
    size_t bytes = state->n_rows * ck.config.hidden_size * sizeof *c->x;
    free(c->x);
    c->x = malloc(bytes);
    memcpy(c->x, state->x, bytes);
    c->state = *state;
    c->state.x = c->x;
    return now || error_set(err, "captured");
}

static bool interrupt(void *user, const char *stage, double done, double total, const char *unit);

/* Stops a run at its offer number `offer`, or at its report number `report`, and resumes it. */
static bool resumed(struct scores *s, const struct scores *whole, size_t budget, size_t offer,
                    size_t report, struct engine_statistics *st, struct error *err)
{
    struct capture c = { .countdown = offer };
    size_t left = report;
    struct engine_options options = { .n_threads = 2,
                                      .memory_bytes = budget,
                                      .progress = { .report = report ? interrupt : NULL,
                                                    .user = &left } };
    struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = few, .n_windows = N_FEW,
                              .sink = { take, s }, .saver = { capture, &c } };
    memset(s, 0, sizeof *s);
    struct engine *e = engine_open(&ck, &w, &options, err);
    bool stopped = e && !engine_score_windows(e, &job, st, err);
    engine_close(e);
    if (!stopped || !c.x) {                     /* it came to its end, or had nothing to save yet */
        free(c.x);
        return !stopped || err->interrupted;
    }
    options.progress.report = NULL;
    options.memory_bytes = 2 * budget;          /* passes are cut otherwise after this one */
    job.saver.offer = NULL;
    job.resume = &c.state;
    e = engine_open(&ck, &w, &options, err);
    bool ok = e && engine_score_windows(e, &job, st, err) && same(s, whole);
    engine_close(e);
    free(c.x);
    return ok;
}

/* Goes on from a state under a budget that cuts its pass, stopped after more and more reports, from
 * whatever state was saved last, until it comes to its end; the most passes that a start had before
 * it. */
static bool resumed_in_parts(struct scores *s, struct capture *c, size_t budget, size_t reports,
                             size_t *passes, struct error *err)
{
    for (;; reports += reports / 2 + 1) {
        size_t left = reports;
        const struct engine_state from = c->state;
        float *x = c->x;
        struct engine_options options = { .n_threads = 2, .memory_bytes = budget,
                                          .progress = { .report = interrupt, .user = &left } };
        struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = few, .n_windows = N_FEW,
                                  .sink = { take, s }, .saver = { capture, c }, .resume = &from };
        struct engine_statistics st;
        struct engine_cost cost = { 0 };
        *c = (struct capture){ .countdown = SIZE_MAX };
        *err = (struct error){ 0 };
        s->n = from.row;                        /* what came behind is scored once more */
        struct engine *e = engine_open(&ck, &w, &options, err);
        bool ok = e && engine_cost(e, &job, &cost, err) && engine_score_windows(e, &job, &st, err);
        engine_close(e);
        *passes = cost.passes > *passes ? cost.passes : *passes;
        if (c->x)
            free(x);
        else
            *c = (struct capture){ .state = from, .x = x };
        if (ok)
            return cost.passes == st.passes - from.statistics.passes && cost.memory_bytes <= budget;
        if (!err->interrupted)
            return false;
    }
}

/* M1: the budget of the resumed run holds for the pass that it goes on with, too. */
static void test_resume_smaller(void)
{
    static struct scores whole, other;
    struct engine_options plain = { .n_threads = 2 };
    struct engine_statistics st;
    struct error err = { 0 };
    bool ok = score(&whole, &plain, few, N_FEW, &st, &err);
    size_t budget = least_budget(2, few, N_FEW), offers = 2 * ck.config.num_hidden_layers,
           passes = 0;
    for (size_t offer = 1; ok && offer <= offers; offer++) {
        struct capture c = { .countdown = offer };
        struct engine *e = engine_open(&ck, &w, &plain, &err);
        struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = few, .n_windows = N_FEW,
                                  .sink = { take, &other }, .saver = { capture, &c } };
        memset(&other, 0, sizeof other);
        ok = e && !engine_score_windows(e, &job, &st, &err) && c.x && st.passes == 0;
        engine_close(e);
        ok = ok && resumed_in_parts(&other, &c, budget, 3 * offer, &passes, &err)
          && same(&other, &whole);
        free(c.x);
    }
    check(ok,
          "M1: a pass that is cut to a smaller budget, stopped and resumed again: the same bits",
          "%s", err.message);
    check(passes > 1, "M1: a smaller budget cuts the pass that is resumed", "%zu passes", passes);
}

static void test_resume(void)
{
    static struct scores whole, other;
    struct engine_statistics st;
    struct error err = { 0 };
    struct engine_options plain = { .n_threads = 2 };
    bool ok = score(&whole, &plain, few, N_FEW, &st, &err);
    size_t budget = least_budget(2, few, N_FEW), offers = 4 * ck.config.num_hidden_layers;
    ok = ok
      && score(&other, &(struct engine_options){ .n_threads = 2, .memory_bytes = budget }, few,
               N_FEW, &st, &err);
    check(ok && st.passes > 1, "what is stopped has several passes", "%s, %zu", err.message,
          st.passes);
    for (size_t offer = 1; ok && offer <= offers; offer += 3)
        ok = resumed(&other, &whole, budget, offer, 0, &st, &err);
    check(ok, "resumed from states: the same bits", "%s", err.message);
    for (size_t report = 2; ok && report < 2000; report = report * 2 + 1)
        ok = resumed(&other, &whole, budget, SIZE_MAX, report, &st, &err);
    check(ok, "interrupted anywhere and resumed: the same bits", "%s", err.message);

    /* States that no run can have left. */
    static float x[1500 * 128];
    struct engine *e = engine_open(&ck, &w, &plain, &err);
    const struct engine_state good = { .n_windows = 1, .layer = 1, .n_rows = 129, .x = x };
    struct engine_state bad[6] = { good, good, good, good, good, good };
    bad[0].row = 1;
    bad[1].first_window = N_WINDOWS + 1;
    bad[2].n_windows = SIZE_MAX;
    bad[3].layer = ck.config.num_hidden_layers + 1;
    bad[4].n_rows = 128;
    bad[5].rows_done = 77;
    for (size_t i = 0; e && i < sizeof bad / sizeof *bad; i++) {
        struct engine_job job = { .ids = ids,
                                  .n_ids = N_IDS,
                                  .windows = windows,
                                  .n_windows = N_WINDOWS,
                                  .sink = { take, &other },
                                  .resume = &bad[i] };
        memset(&other, 0, sizeof other);
        check(!engine_score_windows(e, &job, &st, &err) && strstr(err.message, "state"),
              "a state of no run is refused", "case %zu: %s", i, err.message);
    }
    engine_close(e);
}

/* ---- windows that are left out for a NaN or infinity -------------------------------- */

/* The token RARE is in window 2 of `few` alone. */
enum { RARE = 77, RARE_AT = 250, EXPERT_LAYER = 5, WITH_TARGETS = 3 };

/* m with NaN (BF16) in n of its values from `at` on; the caller frees what it gives. */
static uint16_t *spoil(struct matrix *m, size_t at, size_t n)
{
    uint16_t *copy = malloc(m->rows * m->cols * sizeof *copy);
    memcpy(copy, m->data, m->rows * m->cols * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[at + i] = 0x7FC0;
    m->data = (const uint8_t *)copy;
    return copy;
}

/* As score(), with windows left out. */
static bool score_finite(struct scores *s, struct nonfinite *found,
                         const struct engine_options *options, struct engine_job job,
                         struct engine_statistics *st, struct error *err)
{
    struct engine *e = engine_open(&ck, &w, options, err);
    job.ids = ids;
    job.n_ids = N_IDS;
    job.windows = few;
    job.n_windows = N_FEW;
    job.sink = (struct engine_sink){ take, s };
    job.nonfinite = found;
    s->n = job.resume ? job.resume->row : 0;
    bool ok = e && engine_score_windows(e, &job, st, err);
    engine_close(e);
    return ok;
}

/* Are the rows of windows that are left out NaN, and all others those of the sound model?  *n: how
 * many windows are left out. */
static bool only_others(const struct scores *s, const struct scores *sound,
                        const struct nonfinite *found, size_t *n)
{
    size_t row = 0;
    bool ok = s->n == sound->n;
    *n = 0;
    for (size_t i = 0; ok && i < N_FEW; i++) {
        bool gone = found[i].step != NONFINITE_NONE;
        *n += gone;
        for (size_t t = few[i].first; ok && t < few[i].end; t++, row++)
            ok = gone ? isnan(s->rows[row].nll) && s->rows[row].top1 == -1
                      : memcmp(&s->rows[row].nll, &sound->rows[row].nll, sizeof(double)) == 0;
    }
    return ok;
}

/* The windows that fail alone are those that are left out, for the same reason. */
static bool fail_alone(const struct nonfinite *found)
{
    static struct scores s;
    bool ok = true;
    for (size_t i = 0; ok && i < N_FEW; i++) {
        struct engine_statistics st;
        struct error err = { 0 };
        char where[NONFINITE_TEXT_BYTES] = "";
        bool fails = !score(&s, &(struct engine_options){ .n_threads = 2 }, &few[i], 1, &st,
                            &err);
        if (found[i].step != NONFINITE_NONE)
            engine_nonfinite_text(where, &found[i]);
        ok = fails == (found[i].step != NONFINITE_NONE)
          && strncmp(err.message, where, strlen(where)) == 0;
    }
    return ok;
}

/* From every third state, with the windows that were left out by then. */
static bool resumed_left_out(const struct scores *whole, const struct nonfinite *found,
                             const struct engine_options *options)
{
    static struct scores s;
    bool ok = true;
    for (size_t offer = 1; ok; offer += 3) {
        struct capture c = { .countdown = offer };
        struct nonfinite mine[N_FEW] = { 0 };
        struct engine_statistics st;
        struct error err = { 0 };
        if (score_finite(&s, mine, options,
                         (struct engine_job){ .saver = { capture, &c } }, &st, &err)) {
            free(c.x);
            return offer > 1;
        }
        ok = c.x && score_finite(&s, mine, options, (struct engine_job){ .resume = &c.state }, &st,
                                 &err)
          && memcmp(mine, found, sizeof mine) == 0
          && memcmp(s.rows, whole->rows, whole->n * sizeof *s.rows) == 0;
        free(c.x);
    }
    return false;
}

static void test_left_out(void)
{
    static struct scores sound, first, other;
    struct engine_statistics st;
    struct error err = { 0 };
    const struct engine_options plain = { .n_threads = 2 };
    size_t budget = least_budget(2, few, N_FEW), D = ck.config.hidden_size;
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = i == RARE_AT ? RARE : ids[i] == RARE ? RARE + 1 : ids[i];
    bool ok = score(&sound, &plain, few, N_FEW, &st, &err);
    struct mlp_weights *expert = &w.layers[EXPERT_LAYER].experts[3];
    const struct {
        const char *name;
        struct matrix *of;
        size_t at, n;
        bool all;                       /* windows are left out */
    } cases[] = {
        { "a token's embedding", &w.embed_tokens, RARE * D, D, false },
        { "one value of an expert", &expert->down, 5, 1, false },
        { "one value of the head, in a row of no target", &w.lm_head, 3, 1, true },
    };
    for (size_t i = 0; ok && i < sizeof cases / sizeof *cases; i++) {
        struct nonfinite found[N_FEW] = { 0 };
        const struct matrix before = *cases[i].of;
        uint16_t *copy = spoil(cases[i].of, cases[i].at, cases[i].n);
        size_t n = 0, passes = 0;
        bool same = score_finite(&first, found, &plain, (struct engine_job){ 0 }, &st, &err)
                 && only_others(&first, &sound, found, &n);
        check(same && n > 0 && (n == WITH_TARGETS) >= cases[i].all,
              "a NaN: windows are left out, the others have the same bits", "%s: %zu of %zu, %s",
              cases[i].name, n, N_FEW, err.message);
        check(fail_alone(found), "those that fail alone, for the same reason", "%s", cases[i].name);
        for (size_t k = 0; same && k < 4; k++) {
            struct nonfinite again[N_FEW] = { 0 };
            const struct engine_options options = {
                .n_threads = (int)(k + 1) % 3 + 1, .memory_bytes = k < 2 ? budget << k : 0,
            };
            same = score_finite(&other, again, &options, (struct engine_job){ 0 }, &st, &err)
                && only_others(&other, &sound, again, &n)
                && memcmp(other.rows, first.rows, first.n * sizeof *first.rows) == 0;
            for (size_t j = 0; same && j < N_FEW; j++)
                same = again[j].step == found[j].step && again[j].layer == found[j].layer;
            passes = st.passes > passes ? st.passes : passes;
        }
        check(same && passes > 1, "threads, passes and tiles give the same bits without them",
              "%s: %s, %zu passes", cases[i].name, err.message, passes);
        const struct engine_options small = { .n_threads = 2, .memory_bytes = budget };
        struct nonfinite in_passes[N_FEW] = { 0 };
        check(score_finite(&first, in_passes, &small, (struct engine_job){ 0 }, &st, &err)
                  && resumed_left_out(&first, in_passes, &small),
              "resumed: the same windows, the same bits", "%s: %s", cases[i].name, err.message);
        *cases[i].of = before;
        free(copy);
    }
    check(ok, "the sound model", "%s", err.message);
}

static bool interrupt(void *user, const char *stage, double done, double total, const char *unit)
{
    size_t *left = user;
    (void)stage, (void)unit;
    return done <= total && (*left)-- > 1;
}

static void test_refusals(void)
{
    static struct scores s;
    struct engine_statistics st;
    struct error err = { 0 };
    struct engine_options plain = { .n_threads = 1 };
    struct engine_window outside = { 1400, 1501, 1401 }, nothing_before = { 3, 9, 3 };
    check(!score(&s, &plain, &outside, 1, &st, &err) && strstr(err.message, "1501"),
          "a window past the ids", "%s", err.message);
    check(!score(&s, &plain, &nothing_before, 1, &st, &err)
              && strstr(err.message, "targets from 3"),
          "a target with nothing before it", "%s", err.message);
    ids[77] = (int32_t)ck.config.vocab_size;
    check(!score(&s, &plain, windows, 1, &st, &err) && strstr(err.message, "token 77 has id 4160"),
          "an id outside the vocabulary", "%s", err.message);
    ids[77] = 1;
    struct engine_options tiny = { .n_threads = 1, .memory_bytes = 4096 };
    check(!score(&s, &tiny, windows, N_WINDOWS, &st, &err) && strstr(err.message, "too small"),
          "a budget that holds no window", "%s", err.message);
    for (size_t calls = 1; calls < 12; calls += 5) {
        size_t left = calls;
        struct engine_options stop = { .n_threads = 2,
                                       .progress = { .report = interrupt, .user = &left } };
        struct error stopped = { 0 };
        check(!score(&s, &stop, windows, N_WINDOWS, &st, &stopped) && stopped.interrupted,
              "stopped when asked", "%s", stopped.message);
    }
    struct engine *e = engine_open(&ck, &w, &plain, &err);
    s.stop = true;
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = windows,
                                    .n_windows = N_WINDOWS, .sink = { take, &s } };
    check(!engine_score_windows(e, &job, &st, &err)
          && strstr(err.message, "full"), "the sink's error is passed on", "%s", err.message);
    engine_close(e);
}

/* ---- tracing: a model whose head is its largest part by far, so that scratch follows it ---- */

static bool keep_layer(void *user, size_t layer, float *residual, const int32_t *routing,
                       struct error *err)
{
    (void)residual, (void)err;
    *(size_t *)user += layer == 0 && routing;
    return true;
}

static bool keep_hidden(void *user, size_t row, size_t n, float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)hidden, (void)err;
    return true;
}

static bool keep_logits(void *user, size_t row, size_t n, const float *logits, struct error *err)
{
    (void)row, (void)err;
    *(size_t *)user += n * (logits[0] == logits[0]);
    return true;
}

static void test_trace(void)
{
    struct error err = { 0 };
    struct config small = ck.config;
    struct weights wide = w;
    size_t seen = 0, V = 50000;
    /* The embedding again and again: any bytes will do for a head. */
    uint8_t *head = malloc(V * small.hidden_size * 2);
    size_t rows = w.embed_tokens.rows, row_bytes = small.hidden_size * 2;
    for (size_t v = 0; v < V; v++)
        memcpy(head + v * row_bytes, w.embed_tokens.data + v % rows * row_bytes, row_bytes);
    struct checkpoint other = ck;
    other.config.vocab_size = wide.lm_head.rows = V;
    wide.lm_head.data = head;
    struct engine_options one = { .n_threads = 1 };
    struct engine *e = engine_open(&other, &wide, &one, &err);
    struct engine_tracer tracer = { keep_layer, keep_hidden, keep_logits, &seen };
    check(e && engine_trace(e, ids, 70, &tracer, &err) && seen == 71, "a trace with a wide head",
          "%s, saw %zu", err.message, seen);
    engine_close(e);
    free(head);
}

int main(void)
{
    struct error err = { 0 };
    if (!check(checkpoint_open(&ck, CHECKPOINT, &err) && weights_bind(&w, &ck, &err),
               "the demo checkpoint opens", "%s", err.message))
        return check_done();
    struct random r = { 21 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, ck.config.vocab_size);
    test_invariance();
    test_resume();
    test_resume_smaller();
    test_left_out();
    test_bf16();
    test_isas();
    test_refusals();
    test_trace();
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
