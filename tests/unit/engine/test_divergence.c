/* KL divergence of the demo pair from hidden states that were kept: rows do not depend on threads,
 * memory, groups, where the states stand or whether a head is shared; refusals. */
#include "engine/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/divergence_rows.h"
#include "tests/random.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

enum { N_IDS = 701, N = N_IDS - 1, HIDDEN = 128 };

static struct model {
    struct checkpoint ck;
    struct weights w;
    float hidden[N * HIDDEN];
} models[2];

static int32_t ids[N_IDS];

static bool keep(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err)
{
    (void)scores, (void)err;
    memcpy((float *)user + row * HIDDEN, hidden, n * HIDDEN * sizeof *hidden);
    return true;
}

static bool prepare(struct model *m, const char *path, struct error *err)
{
    const struct engine_options one = { .n_threads = 1 };
    const struct engine_window window = { 0, N_IDS, 1 };
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = &window, .n_windows = 1,
                                    .sink = { keep, m->hidden } };
    struct engine_statistics st;
    if (!checkpoint_open(&m->ck, path, err) || !weights_bind(&m->w, &m->ck, err))
        return false;
    struct engine *e = engine_open(&m->ck, &m->w, &one, err);
    bool ok = e && engine_score_windows(e, &job, &st, err);
    engine_close(e);
    return ok;
}

static struct engine_hidden hidden_of(const float *x, size_t n)
{
    return (struct engine_hidden){
        .states = { .dtype = DTYPE_F32, .data = (const uint8_t *)x, .rows = n, .cols = HIDDEN },
    };
}

/* A from the first model's states, B from those given, with the second model's head or the
 * first's. */
static bool diverge(struct divergence_row *rows, const struct engine_options *options,
                    struct engine_hidden a, struct engine_hidden b, bool same_head,
                    struct error *err)
{
    memset(rows, 0, N * sizeof *rows);
    struct engine *first = engine_open(&models[0].ck, &models[0].w, options, err);
    struct engine *second = engine_open(&models[1].ck, &models[1].w, options, err);
    const struct engine_divergence d = { first, second, a, b, same_head };
    bool ok = first && second && engine_divergence(&d, rows, err);
    engine_close(first);
    engine_close(second);
    return ok;
}

struct reports {
    size_t left, n;
    double last;
    bool ascending;
};

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    struct reports *r = user;
    r->ascending = r->ascending && strcmp(stage, "KL divergence") == 0
                && strcmp(unit, "tokens") == 0 && done > r->last && total == N;
    r->last = done;
    r->n++;
    return r->left-- > 1;
}

/* Returns a budget that makes several groups. */
static size_t test_invariance(void)
{
    static struct divergence_row first[N], other[N];
    struct error err = { 0 };
    struct engine_hidden a = hidden_of(models[0].hidden, N), b = hidden_of(models[1].hidden, N);
    bool ok = diverge(first, &(struct engine_options){ .n_threads = 1 }, a, b, false, &err);
    double sum = 0;
    for (size_t i = 0; i < N; i++)
        sum += first[i].kld;
    check(ok && sum / N > 0.001 && sum / N < 1, "the demo pair differs", "%s mean KL %g",
          err.message, sum / N);
    static const struct { const char *name; int threads; } cases[] = {
        { "KL: two threads give the same bits",   2 },
        { "KL: three threads give the same bits", 3 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ok = diverge(other, &(struct engine_options){ .n_threads = cases[i].threads }, a, b, false,
                     &err);
        check(ok && equal_rows(first, other, N), cases[i].name, "%s", err.message);
    }
    /* Budgets from one that is just enough, in steps of 200 KB. */
    size_t reports[4] = { 0 }, enough = 0, least = 0;
    struct engine_options small = { .n_threads = 1, .progress = { .report = report } };
    for (size_t budget = 1 << 20; reports[3] == 0 && budget < 32 << 20; budget += 200 << 10) {
        struct reports r = { .left = SIZE_MAX, .ascending = true };
        small.memory_bytes = budget;
        small.progress.user = &r;
        ok = diverge(other, &small, a, b, false, &err);
        if (!ok && strstr(err.message, "too small") && enough == 0)
            continue;
        if (!check(ok && equal_rows(first, other, N) && r.ascending && r.last == N,
                   "KL: groups give the same bits", "%s %zu reports up to %g", err.message, r.n,
                   r.last))
            break;
        least = least ? least : budget;
        reports[enough++] = r.n;
    }
    check(reports[0] > reports[3] && reports[3] > 5, "KL: the budget decides on groups",
          "%zu to %zu reports", reports[0], reports[3]);
    /* The pair's heads are the same bytes: quantization left them alone. */
    ok = diverge(other, &(struct engine_options){ .n_threads = 1 }, a, b, true, &err);
    check(ok && equal_rows(first, other, N), "KL: a head that is read once gives the same bits",
          "%s", err.message);
    ok = diverge(other, &(struct engine_options){ .n_threads = 1 }, a, a, true, &err);
    bool zero = ok;
    for (size_t i = 0; i < N; i++)
        zero = zero && other[i].kld == 0 && other[i].kld_reverse == 0 && other[i].same_top1;
    check(zero, "KL: equal states and heads give exactly 0", "%s", err.message);
    return least;
}

/* States in a file, at an odd place in it, whose pages are given back; BF16 states. */
static void test_stored(void)
{
    static struct divergence_row first[N], other[N];
    static uint16_t halves[N * HIDDEN];
    static float rounded[N * HIDDEN];
    const struct engine_options one = { .n_threads = 1 };
    struct engine_hidden a = hidden_of(models[0].hidden, N), b = hidden_of(models[1].hidden, N);
    struct error err = { 0 };
    char path[] = "/tmp/surprisal-divergence-XXXXXX";
    int fd = mkstemp(path);
    bool ok =
        fd >= 0 && write(fd, "odd", 3) == 3
        && write(fd, models[0].hidden, sizeof models[0].hidden) == (ssize_t)sizeof models[0].hidden;
    struct mapped_file file;
    if (!check(ok && file_map(&file, path, &err), "a file of hidden states", "%s", err.message))
        return;
    struct engine_hidden mapped = a;
    mapped.states.data = file.data + 3;
    mapped.file = &file;
    ok = diverge(first, &one, a, b, false, &err) && diverge(other, &one, mapped, b, false, &err);
    check(ok && equal_rows(first, other, N), "KL: states in a file give the same bits", "%s",
          err.message);
    check(ftruncate(fd, 5000) == 0 && !diverge(other, &one, mapped, b, false, &err)
          && strstr(err.message, path), "a file that became shorter is refused", "%s", err.message);
    file_unmap(&file);
    close(fd);
    unlink(path);

    memcpy(rounded, models[0].hidden, sizeof rounded);
    const struct kernels *kn = kernels_find(NULL, &err);
    kn->rows->to_bf16(halves, rounded, N * HIDDEN);
    kn->rows->round_bf16(rounded, N * HIDDEN);
    struct engine_hidden bf16 = a;
    bf16.states.dtype = DTYPE_BF16;
    bf16.states.data = (const uint8_t *)halves;
    ok = diverge(first, &one, hidden_of(rounded, N), b, false, &err)
      && diverge(other, &one, bf16, b, false, &err);
    check(ok && equal_rows(first, other, N), "KL: BF16 states are their values", "%s", err.message);
}

static void test_refusals(size_t memory_bytes)
{
    static struct divergence_row rows[N];
    const struct engine_options one = { .n_threads = 1 };
    struct engine_hidden a = hidden_of(models[0].hidden, N), b = hidden_of(models[1].hidden, N);
    struct engine_hidden few = b, narrow = b, doubles = b;
    few.states.rows--;
    narrow.states.cols = 64;
    doubles.states.dtype = DTYPE_F64;
    const struct {
        const char *name, *message;
        struct engine_options options;
        struct engine_hidden b;
    } cases[] = {
        { "fewer states than A's", "[699, 128], expected [700, 128]", one, few },
        { "states of another width", "[700, 64], expected [700, 128]", one, narrow },
        { "states of another type", "F64, expected F32 or BF16", one, doubles },
        { "a budget that is too small",
          "too small",
          { .n_threads = 1, .memory_bytes = 1 << 20 },
          b },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        check(!diverge(rows, &cases[i].options, a, cases[i].b, false, &err)
              && strstr(err.message, cases[i].message), cases[i].name, "%s", err.message);
    }
    struct error err = { 0 };
    models[1].hidden[600 * HIDDEN] = NAN;
    const struct engine_options groups = { .n_threads = 1, .memory_bytes = memory_bytes };
    check(!diverge(rows, &groups, a, b, false, &err) && strstr(err.message, "scored token 600"),
          "a broken state is named by its token in the whole", "%s", err.message);
    struct reports r = { .left = 3 };
    struct engine_options stop = { .n_threads = 2, .progress = { .report = report, .user = &r } };
    check(!diverge(rows, &stop, a, b, false, &err) && err.interrupted && r.n == 3,
          "KL is stopped when asked", "%s after %zu reports", err.message, r.n);
    struct weights small = models[1].w;
    small.lm_head.rows--;
    struct engine *first = engine_open(&models[0].ck, &models[0].w, &one, &err);
    struct engine *second = engine_open(&models[1].ck, &small, &one, &err);
    const struct engine_divergence d = { first, second, a, b, false };
    check(first && second && !engine_divergence(&d, rows, &err)
          && strstr(err.message, "has 4159 ids, that of data/demo/bf16 4160"),
          "vocabularies of two sizes", "%s", err.message);
    engine_close(first);
    engine_close(second);
}

int main(void)
{
    struct error err = { 0 };
    struct random r = { 33 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4096);
    if (check(prepare(&models[0], "data/demo/bf16", &err)
                  && prepare(&models[1], "data/demo/mxfp4", &err),
              "the demo pair gives hidden states", "%s", err.message)) {
        size_t memory_bytes = test_invariance();
        test_stored();
        test_refusals(memory_bytes);
    }
    for (size_t i = 0; i < 2; i++) {
        weights_free(&models[i].w);
        checkpoint_close(&models[i].ck);
    }
    return check_done();
}
