/* KL divergence over several vocabulary tiles against plain loops in double: over the very logits
 * of the product, where the two must agree to the last digits, and over logits in double. */
#include "model/divergence.h"

#include <math.h>

#include "model/linear.h"
#include "tests/check.h"
#include "tests/isas.h"
#include "tests/divergence_rows.h"
#include "tests/unit/model/model_fixture.h"

/* One model's part of a case. */
struct part {
    struct compute cm;
    struct arena *arena;
    struct config config;
    struct matrix hidden, head;
};

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

static bool diverge(struct divergence_row *rows, struct part *a, struct part *b, int n_threads,
                    struct step_progress progress, struct error *err)
{
    size_t next_a = 5, next_b = 9, tiles = (a->head.rows + VOCABULARY_TILE - 1) / VOCABULARY_TILE;
    const struct weight_feed feed_a = { need, done, &next_a }, feed_b = { need, done, &next_b };
    bool same_head = a->head.data == b->head.data;
    a->cm.n_threads = b->cm.n_threads = n_threads;
    const struct divergence_task task = {
        .sides = { { &a->cm, (const float *)a->hidden.data, &a->head, &feed_a, 5 },
                   { &b->cm, (const float *)b->hidden.data, same_head ? &a->head : &b->head,
                     same_head ? NULL : &feed_b, 9 } },
        .n = a->hidden.rows, .rows = rows, .first_row = 100, .progress = progress,
    };
    a->arena->used = 0;
    const struct divergence_buffers buffers = divergence_buffers_take(a->arena, task.sides, task.n);
    return divergence_forward(&task, &buffers, err) && next_a == 5 + tiles
        && next_b == (same_head ? 9 : 9 + tiles);
}

/* ---- the definition -------------------------------------------------------------- */

/* The best of what is not chosen yet, the lowest id among equals. */
static void first_choices(int32_t *ids, const double *logits, size_t n)
{
    for (size_t k = 0; k < 5; k++) {
        ids[k] = -1;
        for (size_t v = 0; v < n; v++) {
            bool chosen = false;
            for (size_t i = 0; i < k; i++)
                chosen = chosen || ids[i] == (int32_t)v;
            if (!chosen && (ids[k] < 0 || logits[v] > logits[ids[k]]))
                ids[k] = (int32_t)v;
        }
    }
}

static double log_sum_exp(const double *x, size_t n)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i] - max);
    return max + log(sum);
}

static struct divergence_row truth_of(const double *a, const double *b, size_t n)
{
    struct divergence_row row = { .overlap5 = n < 5 ? (int8_t)(5 - n) : 0 };
    double lse_a = log_sum_exp(a, n), lse_b = log_sum_exp(b, n);
    for (size_t i = 0; i < n; i++) {
        row.kld += exp(a[i] - lse_a) * ((a[i] - lse_a) - (b[i] - lse_b));
        row.kld_reverse += exp(b[i] - lse_b) * ((b[i] - lse_b) - (a[i] - lse_a));
    }
    int32_t top_a[5], top_b[5];
    first_choices(top_a, a, n);
    first_choices(top_b, b, n);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            row.overlap5 = (int8_t)(row.overlap5 + (top_a[i] >= 0 && top_a[i] == top_b[j]));
    row.same_top1 = top_a[0] == top_b[0];
    row.top_a = (float)exp(a[top_a[0]] - lse_a);
    return row;
}

/* Logits of one token, from the product or in double. */
static void logits_of(double *out, struct part *p, size_t token, bool exact)
{
    size_t D = p->head.cols, V = p->head.rows;
    const float *hidden = (const float *)p->hidden.data + token * D;
    if (exact) {
        double *x = malloc(D * sizeof *x);
        for (size_t i = 0; i < D; i++)
            x[i] = (double)hidden[i];
        matrix_times(out, &p->head, x);
        free(x);
        return;
    }
    float *logits = malloc(V * sizeof *logits);
    p->arena->used = 0;
    const struct linear_shape shape = { V, D };
    const struct linear_buffers b = linear_buffers_take(p->arena, &p->cm, &shape, 1);
    linear_forward(&p->cm, &b, logits, V, hidden, D, 1, &p->head);
    for (size_t v = 0; v < V; v++)
        out[v] = (double)logits[v];
    free(logits);
}

/* BLAS sums in an order that depends on the shape of the product, so its logits are not
 * repeatable. */
static bool is_repeatable(const struct kernels *kn)
{
    return kn->gemm[COMPUTE_F32]->tile != NULL;
}

/* The largest error of KL; -1 where something else is wrong. */
static double worst_error(const struct divergence_row *rows, struct part *a, struct part *b,
                          bool exact)
{
    size_t V = a->head.rows, n = a->hidden.rows;
    double *la = malloc(V * sizeof *la), *lb = malloc(V * sizeof *lb), worst = 0;
    for (size_t t = 0; t < n && worst >= 0; t++) {
        logits_of(la, a, t, exact);
        logits_of(lb, b, t, exact);
        struct divergence_row truth = truth_of(la, lb, V);
        worst = fmax(worst, fmax(fabs(rows[t].kld - truth.kld),
                                 fabs(rows[t].kld_reverse - truth.kld_reverse)));
        bool other = !exact && (rows[t].overlap5 != truth.overlap5
                                || rows[t].same_top1 != truth.same_top1
                                || fabsf(rows[t].top_a - truth.top_a) > 1e-7f * truth.top_a);
        if (other || rows[t].kld < 0 || rows[t].kld_reverse < 0)
            worst = -1;
    }
    free(la);
    free(lb);
    return worst;
}

/* ---- cases ------------------------------------------------------------------------- */

static struct part part_of(struct random *r, const struct kernels *kn, enum compute_type type,
                           struct arena *arena, size_t n, size_t V, size_t D, float scale)
{
    struct part p = {
        .cm = { .kernels = kn, .type = type, .n_threads = 1 }, .arena = arena,
        .hidden = random_matrix(r, n, D, 1), .head = random_matrix(r, V, D, scale),
    };
    return p;
}

static void part_free(struct part *p)
{
    free((void *)(uintptr_t)p->hidden.data);
    free((void *)(uintptr_t)p->head.data);
}

static void test_random(const struct kernels *kn)
{
    static const struct {
        const char *name;
        size_t n, V, D_a, D_b;
        enum compute_type type_a, type_b;
        float scale;
        double exact;                   /* tolerance against logits in double; 0: no such test */
    } cases[] = {
        { "odd sizes", 37, 4579, 24, 33, COMPUTE_F32, COMPUTE_F32, 0.2f, 1e-5 },
        { "whole tiles", 5, 2 * VOCABULARY_TILE, 16, 16, COMPUTE_F32, COMPUTE_F32, 0.2f, 1e-5 },
        { "one more than a tile", 3, VOCABULARY_TILE + 1, 7, 5, COMPUTE_F32, COMPUTE_F32, 0.2f,
          1e-5 },
        { "one token", 1, 2500, 40, 8, COMPUTE_F32, COMPUTE_F32, 0.2f, 1e-5 },
        { "more tokens than a block", 300, 130, 8, 12, COMPUTE_F32, COMPUTE_F32, 0.5f, 1e-5 },
        { "a vocabulary of three", 9, 3, 4, 4, COMPUTE_F32, COMPUTE_F32, 1, 1e-5 },
        { "a vocabulary of one", 2, 1, 4, 4, COMPUTE_F32, COMPUTE_F32, 1, 1e-5 },
        { "huge logits", 20, 2300, 16, 16, COMPUTE_F32, COMPUTE_F32, 1e5f, 0 },
        { "BF16 compute", 20, 2300, 24, 16, COMPUTE_BF16, COMPUTE_BF16, 0.3f, 0 },
        { "B alone in BF16 compute", 20, 2300, 24, 16, COMPUTE_F32, COMPUTE_BF16, 0.3f, 0 },
    };
    struct arena arena = test_arena();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct random r = { 21 + i };
        struct part a = part_of(&r, kn, cases[i].type_a, &arena, cases[i].n, cases[i].V,
                                cases[i].D_a, cases[i].scale);
        struct part b = part_of(&r, kn, cases[i].type_b, &arena, cases[i].n, cases[i].V,
                                cases[i].D_b, cases[i].scale);
        static struct divergence_row rows[300], threads[300];
        struct error err = { 0 };
        const struct step_progress none = { NULL, NULL };
        bool ok = diverge(rows, &a, &b, 1, none, &err) && diverge(threads, &a, &b, 3, none, &err);
        double worst = ok ? worst_error(rows, &a, &b, false) : -1;
        double exact = ok && cases[i].exact > 0 ? worst_error(rows, &a, &b, true) : 0;
        char name[80];
        snprintf(name, sizeof name, "%s KL: %s", kn->isa, cases[i].name);
        /* Loops over the same logits lose digits of the largest of them. */
        double tolerance = 1e-13 * fmax(10, (double)cases[i].scale * 100);
        bool equal = equal_rows(rows, threads, cases[i].n);
        bool repeats = worst >= 0 && worst < tolerance && equal;
        check(ok && exact >= 0 && exact <= cases[i].exact && (repeats || !is_repeatable(kn)), name,
              "%s off by %.1e, from double by %.1e, three threads equal: %d", err.message, worst,
              exact, equal);
        part_free(&a);
        part_free(&b);
    }
    arena_free(&arena);
}

static bool stop(void *user, double share)
{
    double *last = user;
    *last = share;
    return false;
}

/* Models that are nearly or quite the same, sharing a head or not. */
static void test_near(const struct kernels *kn)
{
    enum { N = 40, V = VOCABULARY_TILE + 152, D = 24 };
    static struct divergence_row rows[N], other[N];
    struct arena arena = test_arena();
    struct random r = { 77 };
    struct error err = { 0 };
    const struct step_progress none = { NULL, NULL };
    struct part a = part_of(&r, kn, COMPUTE_F32, &arena, N, V, D, 0.4f);
    struct part b = part_of(&r, kn, COMPUTE_F32, &arena, N, V, D, 0.4f), copy = a;
    char name[80];

    bool ok = diverge(rows, &a, &copy, 2, none, &err), zero = true;
    for (size_t t = 0; t < N; t++)
        zero = zero && rows[t].kld == 0 && rows[t].kld_reverse == 0 && rows[t].same_top1
            && rows[t].overlap5 == 5;
    snprintf(name, sizeof name, "%s KL: a model from itself is exactly 0", kn->isa);
    check(ok && zero, name, "%s", err.message);

    copy.head.data = malloc(V * D * sizeof(float));
    memcpy((void *)(uintptr_t)copy.head.data, a.head.data, V * D * sizeof(float));
    struct part with_b = a;
    with_b.hidden = copy.hidden = b.hidden;
    ok = diverge(rows, &a, &with_b, 1, none, &err) && diverge(other, &a, &copy, 1, none, &err);
    snprintf(name, sizeof name, "%s KL: one head for both, or a copy of it: the same bits",
             kn->isa);
    check(ok && equal_rows(rows, other, N), name, "%s", err.message);
    free((void *)(uintptr_t)copy.head.data);

    /* Hidden states that differ by 1e-5: KL is some 1e-10, and known to 1e-4 of that. */
    float *hidden = (float *)(uintptr_t)b.hidden.data;
    double worst = 0, largest = 0;
    for (size_t i = 0; i < N * D; i++)
        hidden[i] = ((const float *)a.hidden.data)[i] * (1 + 1e-5f * random_normal(&r));
    ok = diverge(rows, &a, &with_b, 1, none, &err);
    double la[V], lb[V];
    for (size_t t = 0; ok && t < N; t++) {
        logits_of(la, &a, t, false);
        logits_of(lb, &with_b, t, false);
        struct divergence_row truth = truth_of(la, lb, V);
        worst = fmax(worst, fabs(rows[t].kld - truth.kld) / truth.kld);
        largest = fmax(largest, truth.kld);
    }
    snprintf(name, sizeof name, "%s KL: models that hardly differ", kn->isa);
    check(ok && (worst < 1e-4 || !is_repeatable(kn)) && largest < 1e-8 && largest > 0, name,
          "off by %.1e of up to %.1e", worst, largest);
    part_free(&a);
    part_free(&b);
    arena_free(&arena);
}

static void test_refusals(void)
{
    enum { N = 6, V = VOCABULARY_TILE + 76, D = 4 };
    static struct divergence_row rows[N];
    struct arena arena = test_arena();
    struct random r = { 5 };
    struct error err = { 0 };
    double share = 0;
    struct part a = part_of(&r, &kernels_scalar, COMPUTE_F32, &arena, N, V, D, 1);
    struct part b = part_of(&r, &kernels_scalar, COMPUTE_F32, &arena, N, V, D, 1);
    check(!diverge(rows, &a, &b, 1, (struct step_progress){ stop, &share }, &err) && err.interrupted
          && share < 1, "KL is stopped when asked", "%s", err.message);
    static const float broken[] = { NAN, INFINITY, -INFINITY };
    float *hidden = (float *)(uintptr_t)b.hidden.data, good = hidden[3 * D];
    for (size_t i = 0; i < 3; i++) {
        hidden[3 * D] = broken[i];
        check(!diverge(rows, &a, &b, 1, (struct step_progress){ NULL, NULL }, &err)
              && strstr(err.message, "token 103"), "NaN or infinity is found and its token named",
              "%s", err.message);
        check(!diverge(rows, &b, &a, 1, (struct step_progress){ NULL, NULL }, &err)
              && strstr(err.message, "token 103"), "the same in A", "%s", err.message);
    }
    hidden[3 * D] = good;
    part_free(&a);
    part_free(&b);
    arena_free(&arena);
}

/* Equal logits everywhere: the first choices are the lowest ids. */
static void test_ties(void)
{
    enum { V = VOCABULARY_TILE + 6 };
    static float head_a[V], head_b[V];
    head_b[V - 1] = 1;                          /* B: the last id, then 0 to 3 */
    const float one = 1;
    struct arena arena = test_arena();
    struct part a = { .cm = { .kernels = &kernels_scalar }, .arena = &arena,
                      .hidden = { DTYPE_F32, (const uint8_t *)&one, NULL, 1, 1 },
                      .head = { DTYPE_F32, (const uint8_t *)head_a, NULL, V, 1 } }, b = a;
    b.head.data = (const uint8_t *)head_b;
    struct divergence_row row;
    struct error err = { 0 };
    bool ok = diverge(&row, &a, &b, 1, (struct step_progress){ NULL, NULL }, &err);
    check(ok && row.overlap5 == 4 && !row.same_top1, "the lowest ids among equals come first",
          "%s overlap %d, same %d", err.message, row.overlap5, row.same_top1);
    arena_free(&arena);
}

int main(void)
{
    struct error err = { 0 };
    for (size_t i = 0; i < N_ISAS; i++) {
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        test_random(kn);
        test_near(kn);
    }
    test_refusals();
    test_ties();
    return check_done();
}
