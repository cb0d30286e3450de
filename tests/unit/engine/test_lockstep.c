/* Two checkpoints in lockstep: the demo pair's figures against traces of the two, and of A with one
 * layer of B's in it; with other threads and budgets; and the refusals. */
#include "engine/lockstep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/differ.h"
#include "tests/random.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

enum { N_IDS = 1500, LAYERS = 8, D = 128, K = 4, E = 16, MAX_T = 1500 };

static struct model {
    struct checkpoint ck;
    struct weights w;
} demo[2];                              /* A and B */
static int32_t ids[N_IDS];

static const struct engine_window windows[] = { { 0, 131, 1 },
                                                { 200, 300, 250 },
                                                { 300, 301, 301 } };
#define N_WINDOWS (sizeof windows / sizeof *windows)

/* ---- what traces say ---------------------------------------------------------- */

struct trace {
    float x[LAYERS][MAX_T * D];
    int32_t expert[LAYERS][MAX_T * K];
    size_t first, n;                    /* rows of the sequence in work */
};

static bool take_layer(void *user, size_t layer, float *x, const int32_t *routing,
                       struct error *err)
{
    struct trace *t = user;
    (void)err;
    memcpy(&t->x[layer][t->first * D], x, t->n * D * sizeof *x);
    memcpy(&t->expert[layer][t->first * K], routing, t->n * K * sizeof *routing);
    return true;
}

static bool take_hidden(void *user, size_t row, size_t n, float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)hidden, (void)err;
    return true;
}

static bool take_logits(void *user, size_t row, size_t n, const float *logits, struct error *err)
{
    (void)user, (void)row, (void)n, (void)logits, (void)err;
    return true;
}

/* The windows one by one, their rows back to back. */
static bool trace(struct trace *t, const struct checkpoint *ck, const struct weights *w)
{
    struct error err = { 0 };
    struct engine *e = engine_open(ck, w, &(struct engine_options){ .n_threads = 1 }, &err);
    const struct engine_tracer tracer = { take_layer, take_hidden, take_logits, t };
    bool ok = e != NULL;
    t->first = 0;
    for (size_t i = 0; ok && i < N_WINDOWS; i++, t->first += t->n) {
        t->n = windows[i].end - windows[i].begin - 1;
        ok = t->n == 0 || engine_trace(e, ids + windows[i].begin, t->n, &tracer, &err);
    }
    engine_close(e);
    return check(ok, "a trace", "%s", err.message);
}

static double norm(const float *u, const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)u[i] - (v ? (double)v[i] : 0);
        sum += d * d;
    }
    return sqrt(sum);
}

static bool has(const int32_t *experts, int32_t e)
{
    for (size_t i = 0; i < K; i++)
        if (experts[i] == e)
            return true;
    return false;
}

/* ---- tests ---------------------------------------------------------------------- */

static bool run(struct lockstep *l, const struct model *a, const struct model *b,
                const struct engine_options *options, struct error *err)
{
    struct engine *ea = engine_open(&a->ck, &a->w, options, err);
    struct engine *eb = ea ? engine_open(&b->ck, &b->w, options, err) : NULL;
    bool ok = eb && lockstep_run(l, ea, eb, ids, N_IDS, windows, N_WINDOWS, err);
    engine_close(ea);
    engine_close(eb);
    return ok;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-12 * fabs(b);
}

/* Of A's own trace the residual before layer l is the one after l - 1; before the first it is the
 * embedding, which no trace has: so layer 0's output error is only tested against the truth
 * (eval/test_layers.c). */
static void test_against_traces(const struct lockstep *l)
{
    static struct trace a, b, mixed;
    size_t n = l->tokens;
    if (!trace(&a, &demo[0].ck, &demo[0].w) || !trace(&b, &demo[1].ck, &demo[1].w))
        return;
    for (size_t layer = 0; layer < LAYERS; layer++) {
        const struct lockstep_layer *got = &l->layers[layer];
        double residual = norm(b.x[layer], a.x[layer], n * D) / norm(a.x[layer], NULL, n * D);
        check(near(got->residual_error, residual), "residual error",
              "layer %zu: %.17g, expected %.17g", layer, got->residual_error, residual);
        size_t same = 0, changed = 0, load[2][E] = { { 0 } };
        for (size_t t = 0; t < n; t++) {
            size_t before = changed;
            for (size_t s = 0; s < K; s++) {
                changed += !has(&b.expert[layer][t * K], a.expert[layer][t * K + s]);
                load[0][a.expert[layer][t * K + s]]++;
                load[1][b.expert[layer][t * K + s]]++;
            }
            same += changed == before;
        }
        check(got->same_sets == same && got->changed_experts == changed
              && (changed > 0) == (layer > 0), "routing",
              "layer %zu: %zu same, %zu changed; expected %zu, %zu", layer, got->same_sets,
              got->changed_experts, same, changed);
        char where[DIFFER_TEXT] = "";
        check(same_size(where, l->load[0] + layer * E, load[0], E)
                  && same_size(where, l->load[1] + layer * E, load[1], E),
              "expert load", "layer %zu: %s", layer, where);
        if (layer == 0)
            continue;
        struct layer_weights layers[LAYERS];
        memcpy(layers, demo[0].w.layers, sizeof layers);
        layers[layer] = demo[1].w.layers[layer];
        struct weights w = demo[0].w;
        w.layers = layers;
        if (!trace(&mixed, &demo[0].ck, &w))
            continue;
        double output = norm(mixed.x[layer], a.x[layer], n * D)
                      / norm(a.x[layer], a.x[layer - 1], n * D);
        check(near(got->output_error, output), "output error",
              "layer %zu: %.17g, expected %.17g", layer, got->output_error, output);
    }
}

static void test_identical(void)
{
    struct lockstep l = { 0 };
    struct error err = { 0 };
    bool ok = run(&l, &demo[0], &demo[0], &(struct engine_options){ .n_threads = 2 }, &err);
    for (size_t i = 0; ok && i < l.n_layers; i++)
        ok = l.layers[i].residual_error == 0 && l.layers[i].output_error == 0
          && l.layers[i].same_sets == l.tokens && l.layers[i].changed_experts == 0;
    check(ok && l.tokens == 130 + 99, "a checkpoint and itself: zeros and all sets equal",
          "%s, %zu tokens", err.message, l.tokens);
    lockstep_free(&l);
}

static bool same(const struct lockstep *a, const struct lockstep *b)
{
    size_t n = a->n_layers * a->num_experts * sizeof **a->load;
    return a->tokens == b->tokens
        && memcmp(a->layers, b->layers, a->n_layers * sizeof *a->layers) == 0
        && memcmp(a->load[0], b->load[0], n) == 0 && memcmp(a->load[1], b->load[1], n) == 0;
}

static void test_invariance(const struct lockstep *first)
{
    static const struct { const char *name; struct engine_options options; } cases[] = {
        { "two threads give the same bits",   { .n_threads = 2 } },
        { "three threads give the same bits", { .n_threads = 3 } },
    };
    struct error err = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lockstep l = { 0 };
        bool ok = run(&l, &demo[0], &demo[1], &cases[i].options, &err);
        check(ok && same(first, &l), cases[i].name, "%s", err.message);
        lockstep_free(&l);
    }
    bool found = false, ok = true;
    size_t passes = 0;
    for (size_t kb = 2000; !found && kb < 64000; kb += 50) {    /* from the least that suffices */
        struct lockstep l = { 0 };
        struct engine_options small = { .n_threads = 1, .memory_bytes = kb << 10 };
        found = run(&l, &demo[0], &demo[1], &small, &err);
        ok = found ? same(first, &l) : strstr(err.message, "too small") != NULL;
        passes = l.statistics.passes;
        lockstep_free(&l);
        if (!ok)
            break;
    }
    check(found && ok && passes > 1, "a small budget: the same bits in passes", "%s, %zu passes",
          err.message, passes);
}

static void test_refusals(void)
{
    static const struct { const char *name; size_t offset; } cases[] = {
        { "num_hidden_layers", offsetof(struct config, num_hidden_layers) },
        { "hidden_size", offsetof(struct config, hidden_size) },
        { "vocab_size", offsetof(struct config, vocab_size) },
        { "num_experts", offsetof(struct config, num_experts) },
        { "num_experts_per_tok", offsetof(struct config, num_experts_per_tok) },
    };
    const struct engine_options options = { .n_threads = 1 };
    struct lockstep l = { 0 };
    struct error err = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct engine *a = engine_open(&demo[0].ck, &demo[0].w, &options, &err);
        struct engine *b = engine_open(&demo[1].ck, &demo[1].w, &options, &err);
        size_t *size = (size_t *)((char *)&demo[1].ck.config + cases[i].offset);
        (*size)--;
        bool ok = lockstep_run(&l, a, b, ids, N_IDS, windows, N_WINDOWS, &err);
        (*size)++;
        check(!ok && strstr(err.message, cases[i].name), "another architecture is refused by name",
              "%s", err.message);
        lockstep_free(&l);
        engine_close(a);
        engine_close(b);
    }
    enum layer_type *type = &demo[1].ck.config.layer_types[3];
    *type = LINEAR_ATTENTION;
    check(!run(&l, &demo[0], &demo[1], &options, &err)
              && strstr(err.message, "layer_types: layer 3"),
          "another order of layers is refused", "%s", err.message);
    *type = FULL_ATTENTION;
    lockstep_free(&l);
    ids[5] = 4160;
    check(!run(&l, &demo[0], &demo[1], &options, &err)
              && strstr(err.message, "token 5 has id 4160"),
          "an id outside the vocabulary is refused", "%s", err.message);
    ids[5] = 0;
    lockstep_free(&l);
}

static void test_cost(const struct lockstep *l)
{
    struct error err = { 0 };
    const struct engine_options options = { .n_threads = 1 };
    struct engine *a = engine_open(&demo[0].ck, &demo[0].w, &options, &err);
    struct engine *b = engine_open(&demo[1].ck, &demo[1].w, &options, &err);
    struct engine_cost cost;
    bool ok = lockstep_cost(&cost, NULL, a, b, windows, N_WINDOWS, &err);
    check(ok && cost.passes == 1 && cost.bytes_read >= l->statistics.bytes_read && cost.flop > 0
          && l->statistics.model_tokens == 3 * l->tokens, "what it costs is known before",
          "%s: %zu passes, %zu bytes of %zu", err.message, cost.passes, l->statistics.bytes_read,
          cost.bytes_read);
    engine_close(a);
    engine_close(b);
}

int main(void)
{
    static const char *const paths[] = { "data/demo/bf16", "data/demo/mxfp4" };
    struct error err = { 0 };
    struct random r = { 7 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, 4160);
    bool ok = true;
    for (size_t i = 0; ok && i < 2; i++)
        ok = checkpoint_open(&demo[i].ck, paths[i], &err)
          && weights_bind(&demo[i].w, &demo[i].ck, &err);
    struct lockstep l = { 0 };
    if (check(ok && run(&l, &demo[0], &demo[1], &(struct engine_options){ .n_threads = 1 }, &err),
              "the demo pair", "%s", err.message)) {
        test_against_traces(&l);
        test_invariance(&l);
        test_cost(&l);
        test_identical();
        test_refusals();
    }
    lockstep_free(&l);
    for (size_t i = 0; i < 2; i++) {
        weights_free(&demo[i].w);
        checkpoint_close(&demo[i].ck);
    }
    return check_done();
}
