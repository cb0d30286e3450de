/* NLL, log-sum-exp and top-1 against double, over several vocabulary tiles. */
#include "model/head.h"

#include <math.h>

#include "model/vocabulary.h"
#include "tests/differ.h"
#include "tests/unit/model/model_fixture.h"

enum { D = 24, V = 2 * VOCABULARY_TILE + 452, N = 300 };

/* All weights are in memory; parts are asked for one after another. */
static bool need(void *user, size_t part, struct error *err)
{
    (void)err;
    return *(size_t *)user == part;
}

static void done(void *user, size_t part)
{
    *(size_t *)user = part + 1;
}

static bool score(const struct compute *cm, struct arena *arena, struct head_score *scores,
                  const float *hidden, const int32_t *targets, size_t n, const struct matrix *head,
                  size_t *bad)
{
    arena->used = 0;
    const struct head_buffers b = head_buffers_take(arena, cm, head, n);
    size_t next = 5;
    const struct weight_feed feed = { need, done, &next };
    const struct head_task task = { .hidden = hidden, .targets = targets, .scores = scores, .n = n,
                                    .lm_head = head, .feed = &feed, .first_part = 5 };
    *bad = n;
    bool ok = head_forward(cm, &b, &task, bad, NULL);
    return ok && next == 5 + (head->rows + VOCABULARY_TILE - 1) / VOCABULARY_TILE;
}

static void test_random(const struct kernels *kn, float scale)
{
    struct random r = { 13 };
    struct config c = { .hidden_size = D };
    struct matrix head = random_matrix(&r, V, D, scale), hidden = random_matrix(&r, N, D, 1);
    struct arena arena = test_arena();
    struct compute cm = { .config = &c, .kernels = kn, .n_threads = 2 };
    static struct head_score scores[N];
    static int32_t targets[N];
    static double logits[V], x[D];
    for (size_t t = 0; t < N; t++)
        targets[t] = (int32_t)random_below(&r, V);
    size_t bad = 0;
    static double found_nll[N], nll[N], lses[N];
    static float found_lse[N];
    static int32_t found_top[N], tops[N];
    bool ok = score(&cm, &arena, scores, (const float *)hidden.data, targets, N, &head, &bad);
    for (size_t t = 0; t < N; t++) {
        for (size_t i = 0; i < D; i++)
            x[i] = (double)matrix_at(&hidden, t, i);
        matrix_times(logits, &head, x);
        size_t top = 0;
        double sum = 0;
        for (size_t v = 0; v < V; v++)
            top = logits[v] > logits[top] ? v : top;
        for (size_t v = 0; v < V; v++)
            sum += exp(logits[v] - logits[top]);
        double lse = logits[top] + log(sum);
        found_nll[t] = scores[t].nll;
        found_lse[t] = scores[t].logsumexp;
        found_top[t] = scores[t].top1;
        nll[t] = lse - logits[targets[t]];
        lses[t] = lse;
        tops[t] = (int32_t)top;
    }
    char name[80];
    snprintf(name, sizeof name, "%s head, logits of size %g", kn->isa, (double)scale * 5);
    /* An f32 logit of size s is off by some 2^-24 s sqrt(D). */
    double tolerance = 1e-6 * fmax(1, (double)scale * 5);
    char nll_where[DIFFER_TEXT] = "", lse_where[DIFFER_TEXT] = "", top_where[DIFFER_TEXT] = "";
    ok = near_f64(nll_where, found_nll, nll, N, tolerance) && ok;
    ok = near_f32(lse_where, found_lse, lses, N, 2 * tolerance) && ok;
    ok = same_i32(top_where, found_top, tops, N) && ok;
    check(ok, name, "NLL: %s; log-sum-exp: %s; top-1: %s", nll_where, lse_where, top_where);
    free((void *)(uintptr_t)head.data);
    free((void *)(uintptr_t)hidden.data);
    arena_free(&arena);
}

/* One hidden value that is the logit itself. */
static void test_edges(void)
{
    static const struct {
        const char *name;
        float logits[3];
        int32_t target;
        double nll;
        int32_t top1;
    } cases[] = {
        { "a sure target keeps its digits",
          { 0, 40, -5 },
          1,
          4.24835425529158904e-18 + 2.8625185805493937e-20,
          1 },
        { "an impossible target", { 0, 40, -5 }, 2, 45, 1 },
        { "the lowest id among equals", { 7, 7, 7 }, 2, 1.09861228866810969, 0 },
        { "far logits do not underflow", { -1000, -1001, -1002 }, 0, 0.40760596444438, 0 },
    };
    struct config c = { .hidden_size = 1 };
    struct arena arena = test_arena();
    struct compute cm = { .config = &c, .kernels = &kernels_scalar, .n_threads = 1 };
    const float one = 1;
    struct head_score s;
    size_t bad;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct matrix head = {
            .dtype = DTYPE_F32, .data = (const uint8_t *)cases[i].logits, .rows = 3, .cols = 1
        };
        bool ok = score(&cm, &arena, &s, &one, &cases[i].target, 1, &head, &bad);
        check(ok && fabs(s.nll - cases[i].nll) <= 1e-6 * cases[i].nll && s.top1 == cases[i].top1,
              cases[i].name, "nll %.17g, top-1 %d", s.nll, (int)s.top1);
    }
    static const float broken[][3] = {
        { 0, NAN, 1 }, { NAN, 0, 1 }, { 0, INFINITY, 1 }, { INFINITY, 0, 0 }
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct matrix head = {
            .dtype = DTYPE_F32, .data = (const uint8_t *)broken[i], .rows = 3, .cols = 1
        };
        int32_t target = 0;
        check(!score(&cm, &arena, &s, &one, &target, 1, &head, &bad) && bad == 0,
              "a NaN or infinite logit is found", "case %zu: nll %g", i, s.nll);
    }
    struct matrix single = {
        .dtype = DTYPE_F32, .data = (const uint8_t *)&one, .rows = 1, .cols = 1
    };
    int32_t zero = 0;
    check(score(&cm, &arena, &s, &one, &zero, 1, &single, &bad) && s.nll == 0,
          "a vocabulary of one has no surprise", "nll %g", s.nll);
    arena_free(&arena);
}

int main(void)
{
    test_random(&kernels_scalar, 0.2f);
    test_random(&kernels_openblas, 0.2f);
    test_random(&kernels_openblas, 4);
    test_edges();
    return check_done();
}
