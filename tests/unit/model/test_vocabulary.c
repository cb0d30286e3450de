/* Logits tile by tile: each token meets each id once, in order, with the logit of the formula in
 * double. */
#include "model/vocabulary.h"

#include <omp.h>

#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

enum { D = 29 };

static const struct {
    const char *name;
    size_t n, V, sides;
    bool same_head;                 /* both sides point at one */
    enum compute_type second;       /* of the second side */
} cases[] = {
    { "one token, one id",                  1,   1,    1, false, COMPUTE_F32 },
    { "a tile that is not full",            5,   99,   1, false, COMPUTE_F32 },
    { "one id more than a tile",            3,   VOCABULARY_TILE + 1, 1, false, COMPUTE_F32 },
    { "more tokens than a block",           131, 75,   1, false, COMPUTE_F32 },
    { "two models",                         17,  2100, 2, false, COMPUTE_F32 },
    { "two models with one head",           17,  2100, 2, true,  COMPUTE_F32 },
    { "the second in BF16",                 17,  2100, 2, false, COMPUTE_BF16 },
    { "one head, the second in BF16",       17,  2100, 2, true,  COMPUTE_BF16 },
    { "no tokens",                          0,   75,   1, false, COMPUTE_F32 },
};

/* What take() was given. */
struct taken {
    size_t n, V, sides;
    float *logits[VOCABULARY_SIDES];    /* [n, V] */
    size_t *next;                       /* [n]: the id that comes next */
    bool out_of_order;
};

static void take(void *user, size_t token, size_t first, size_t ids,
                 float *const logits[VOCABULARY_SIDES])
{
    struct taken *t = user;
    if (token >= t->n || first != t->next[token] || first + ids > t->V) {
        t->out_of_order = true;
        return;
    }
    t->next[token] = first + ids;
    for (size_t s = 0; s < t->sides; s++) {
        memcpy(t->logits[s] + token * t->V + first, logits[s], ids * sizeof(float));
        memset(logits[s], 0xFF, ids * sizeof(float));       /* they may be overwritten */
    }
}

/* Parts are asked for and let go of one after another. */
struct feed {
    size_t next, held;
    bool refuse, out_of_order;
};

static bool need(void *user, size_t part, struct error *err)
{
    struct feed *f = user;
    f->out_of_order |= part != f->next || f->held;
    f->held++;
    return !f->refuse || error_set(err, "no part %zu", part);
}

static void done(void *user, size_t part)
{
    struct feed *f = user;
    f->out_of_order |= part != f->next || f->held != 1;
    f->held--;
    f->next++;
}

/* One model of a case. */
struct side {
    struct compute cm;
    struct matrix hidden, head;
    double *expected, *each;        /* [n, V] */
};

static void truth(struct side *s, size_t n, size_t V)
{
    bool bf16 = s->cm.type == COMPUTE_BF16;
    size_t many = n * V + 1;
    float *head = malloc(V * D * sizeof *head);
    memcpy(head, s->head.data, V * D * sizeof *head);
    s->expected = malloc(many * sizeof *s->expected);
    s->each = malloc(many * sizeof *s->each);
    if (bf16) {
        kernels_scalar.rows->round_bf16((float *)(uintptr_t)s->hidden.data, n * D);
        kernels_scalar.rows->round_bf16(head, V * D);
    }
    for (size_t t = 0; t < n; t++)
        for (size_t v = 0; v < V; v++) {
            double sum = 0, magnitude = 0;
            for (size_t i = 0; i < D; i++) {
                double product = (double)matrix_at(&s->hidden, t, i) * (double)head[v * D + i];
                sum += product;
                magnitude += fabs(product);
            }
            /* As of any product: test_linear.c. */
            double bound = 2 * (D + 1) * 0x1p-24 * magnitude;
            s->expected[t * V + v] = sum;
            s->each[t * V + v] = bound + (bf16 ? 0x1p-8 * (fabs(sum) + bound) : 0);
        }
    free(head);
}

static struct side make_side(struct random *r, size_t k, size_t number, const struct side *first)
{
    size_t n = cases[k].n, V = cases[k].V;
    struct side s = { .cm = { .n_threads = 2, .type = number ? cases[k].second : COMPUTE_F32 },
                      .hidden = random_matrix(r, n + 1, D, 1) };
    s.head = number && cases[k].same_head ? first->head : random_matrix(r, V, D, 0.5f);
    truth(&s, n, V);
    return s;
}

static void check_pass(const struct kernels *kn, size_t k, struct side *sides)
{
    size_t n = cases[k].n, V = cases[k].V, n_sides = cases[k].sides,
           tiles = (V + VOCABULARY_TILE - 1) / VOCABULARY_TILE;
    struct arena arena = { 0 };
    struct feed feeds[VOCABULARY_SIDES] = { { .next = 5 }, { .next = 9 } };
    const struct weight_feed feed[] = { { need, done, &feeds[0] }, { need, done, &feeds[1] } };
    struct taken taken = {
        .n = n, .V = V, .sides = n_sides, .next = calloc(n + 1, sizeof(size_t))
    };
    struct vocabulary_task task = { .n_sides = n_sides, .n = n, .consume = take, .user = &taken };
    for (size_t s = 0; s < n_sides; s++) {
        sides[s].cm.kernels = kn;
        taken.logits[s] = calloc(n * V + 1, sizeof(float));
        bool covered = s && cases[k].same_head;
        task.sides[s] = (struct vocabulary_side){ &sides[s].cm, (const float *)sides[s].hidden.data,
            covered ? task.sides[0].head : &sides[s].head, covered ? NULL : &feed[s], s ? 9 : 5 };
    }
    struct error err = { 0 };
    char where[DIFFER_TEXT] = "", name[160];
    vocabulary_buffers_take(&arena, task.sides, n_sides);       /* measures */
    bool ok = arena_allocate(&arena, &err);
    const struct vocabulary_buffers b = vocabulary_buffers_take(&arena, task.sides, n_sides);
    ok = ok && vocabulary_pass(&task, &b, &err);
    for (size_t t = 0; t < n; t++)
        taken.out_of_order |= taken.next[t] != V;
    for (size_t s = 0; s < n_sides; s++)
        ok = near_each_f32(where, taken.logits[s], sides[s].expected, sides[s].each, n * V) && ok;
    bool fed = feeds[0].next == 5 + tiles && !feeds[0].out_of_order && !feeds[1].out_of_order
            && feeds[1].next == (n_sides > 1 && !cases[k].same_head ? 9 + tiles : 9);
    snprintf(name, sizeof name, "%s logits: %s", kn->isa, cases[k].name);
    check(ok && fed && !taken.out_of_order, name, "%s%s fed %d, out of order %d",
          err.message, where, fed, taken.out_of_order);
    for (size_t s = 0; s < n_sides; s++)
        free(taken.logits[s]);
    free(taken.next);
    arena_free(&arena);
}

static void test_case(size_t k, const struct kernels *const *sets, size_t n_sets)
{
    struct random r = { 17 + k };
    struct side sides[VOCABULARY_SIDES];
    for (size_t s = 0; s < cases[k].sides; s++)
        sides[s] = make_side(&r, k, s, sides);
    for (size_t i = 0; i < n_sets; i++)
        check_pass(sets[i], k, sides);
    for (size_t s = 0; s < cases[k].sides; s++) {
        free((void *)(uintptr_t)sides[s].hidden.data);
        if (!s || !cases[k].same_head)
            free((void *)(uintptr_t)sides[s].head.data);
        free(sides[s].expected), free(sides[s].each);
    }
}

/* ---- stopping -------------------------------------------------------------------------- */

static bool stop(void *user, double share)
{
    *(double *)user = share;
    return false;
}

static void test_stops(void)
{
    enum { V = VOCABULARY_TILE * 3 };
    struct random r = { 2 };
    struct arena arena = test_arena();
    struct matrix head = random_matrix(&r, V, D, 1), hidden = random_matrix(&r, 1, D, 1);
    static float logits[V];
    size_t next = 0;
    struct taken taken = { 1, V, 1, { logits }, &next, false };
    struct feed f = { .refuse = true };
    const struct weight_feed feed = { need, done, &f };
    const struct compute cm = { .kernels = &kernels_scalar, .n_threads = 1 };
    struct error err = { 0 };
    double share = 0;
    struct vocabulary_task task = { .sides = { { &cm, (const float *)hidden.data, &head, &feed,
                                                 0 } },
                                    .n_sides = 1,
                                    .n = 1,
                                    .consume = take,
                                    .user = &taken };
    const struct vocabulary_buffers b = vocabulary_buffers_take(&arena, task.sides, 1);
    check(!vocabulary_pass(&task, &b, &err) && strcmp(err.message, "no part 0") == 0 && next == 0,
          "weights that do not come end the pass", "'%s'", err.message);
    f = (struct feed){ 0 };
    task.progress = (struct step_progress){ stop, &share };
    check(!vocabulary_pass(&task, &b, &err) && err.interrupted && next == VOCABULARY_TILE
              && share > 0.3 && share < 0.4 && f.held == 0,
          "a pass that is to stop stops after a tile", "'%s', id %zu, share %g", err.message, next,
          share);
    free((void *)(uintptr_t)head.data);
    free((void *)(uintptr_t)hidden.data);
    arena_free(&arena);
}

int main(void)
{
    const struct kernels *sets[N_ISAS];
    size_t n_sets = 0;
    for (size_t i = 0; i < N_ISAS; i++) {
        struct error err = { 0 };
        sets[n_sets] = kernels_find(isas[i], &err);
        if (sets[n_sets])
            n_sets++;
        else
            check_skip(isas[i], err.message);
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        test_case(k, sets, n_sets);
    test_stops();
    return check_done();
}
