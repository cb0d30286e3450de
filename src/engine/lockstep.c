#include "engine/lockstep.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cost.h"
#include "engine/pass.h"

/* ---- what can be compared ---------------------------------------------------- */

static bool check_alike(const struct checkpoint *a, const struct checkpoint *b, struct error *err)
{
#define SIZE(name) { #name, a->config.name, b->config.name }
    const struct { const char *name; size_t a, b; } sizes[] = {
        SIZE(num_hidden_layers), SIZE(hidden_size), SIZE(vocab_size), SIZE(num_experts),
        SIZE(num_experts_per_tok),
    };
#undef SIZE
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].a != sizes[i].b)
            return error_set(err, "%s has %s %zu, %s has %zu: only checkpoints of one architecture "
                             "are compared layer by layer", a->path, sizes[i].name, sizes[i].a,
                             b->path, sizes[i].b);
    for (size_t i = 0; i < a->config.num_hidden_layers; i++)
        if (a->config.layer_types[i] != b->config.layer_types[i])
            return error_set(err, "%s and %s have different layer_types: layer %zu is linear "
                             "attention in one and full attention in the other", a->path, b->path,
                             i);
    return true;
}

/* ---- plans --------------------------------------------------------------------- */

struct plans {
    struct plan a, b;
    struct engine_window *windows;      /* owned [n]: A's */
    struct engine_window *twice;        /* owned [2 n]: B's, each window for its own stream, then
                                           for A's */
    size_t n;
    size_t least_bytes;                 /* that suffice for both */
};

static void plans_free(struct plans *p)
{
    free(p->windows);
    free(p->twice);
}

/* Of the two, the one that has less left. */
static const struct budget *shared_budget(const struct engine *a, const struct engine *b)
{
    return budget_left(&a->budget) < budget_left(&b->budget) ? &a->budget : &b->budget;
}

/* A has a third of the budget, as it has one stream and B two; each has what it needs, at least. */
static bool plans_make(struct plans *p, const struct engine *a, const struct engine *b,
                       const struct engine_window *windows, size_t n_windows, struct error *err)
{
    const struct budget *budget = shared_budget(a, b);
    size_t left = budget_left(budget), longest = 0;
    const struct compute of_a = engine_compute(a), of_b = engine_compute(b);
    *p = (struct plans){ .n = n_windows };
    if (!check_alike(a->ck, b->ck, err)
        || !(p->windows = pass_windows_without_targets(windows, n_windows, 1, err))
        || !(p->twice = pass_windows_without_targets(windows, n_windows, 2, err)))
        return false;
    for (size_t i = 0; i < n_windows; i++)
        longest = size_max(longest, plan_window_tokens(&windows[i]));
    const struct plan_task task_a = { &of_a, a->w, &a->parts, p->windows, n_windows, 1, 0,
                                      NULL };
    const struct plan_task task_b = { &of_b, b->w, &b->parts, p->twice, 2 * n_windows, 2, 0,
                                      NULL };
    size_t least_a = plan_least_bytes(&task_a), least_b = plan_least_bytes(&task_b);
    if (!size_sum(&p->least_bytes, least_a, least_b))
        p->least_bytes = SIZE_MAX;
    if (!budget_check(budget, p->least_bytes, err, "a comparison of two checkpoints side by side "
                      "with windows of %zu tokens", longest))
        return false;
    plan_make(&p->a, &task_a, size_max(least_a, size_min(left / 3, left - least_b)));
    plan_make(&p->b, &task_b, left - p->a.memory_bytes);
    p->a.keep_all = p->b.keep_all = true;
    p->a.pass_tokens = size_min(p->a.pass_tokens, p->b.pass_tokens / 2);
    return true;
}

bool lockstep_cost(struct engine_cost *cost, const struct engine *a, const struct engine *b,
                   const struct engine_window *windows, size_t n_windows, struct error *err)
{
    struct plans p;
    *cost = (struct engine_cost){ 0 };
    if (plans_make(&p, a, b, windows, n_windows, err)) {
        double tokens = (double)plan_tokens(windows, n_windows);
        for (size_t first = 0; first < n_windows; cost->passes++)
            first = plan_pass_end(&p.a, p.windows, n_windows, first);
        cost->flop = cost_layers_flop(&a->ck->config, tokens, tokens)
                   + 2 * cost_layers_flop(&b->ck->config, tokens, tokens);
        cost->bytes_read = cost->passes * (a->parts.bytes + b->parts.bytes);
        cost->tile_tokens = p.a.tile_tokens;
        cost->memory_bytes = p.a.memory_bytes + p.b.memory_bytes;
        cost->least_bytes = budget_needed(shared_budget(a, b), p.least_bytes);
    }
    plans_free(&p);
    return cost->passes > 0;
}

/* ---- sums ---------------------------------------------------------------------- */

/* Of squares, over what has been done of a layer. */
struct sums {
    double stream, residual;            /* A(x_A); B(x_B) - A(x_A) */
    double added, output;               /* A(x_A) - x_A; B(x_A) - A(x_A) */
};

/* *sum += the squares of u - v (of u when v is NULL), both [n, D]. */
static void add_squares(double *sum, const float *u, const float *v, size_t n, size_t D,
                        int n_threads)
{
    enum { ROWS = 1024 };
    double of_row[ROWS];
    for (size_t row = 0; row < n; row += ROWS) {
        size_t rows = size_min(ROWS, n - row);
#pragma omp parallel for num_threads(n_threads) schedule(static)
        for (size_t t = 0; t < rows; t++) {
            size_t at = (row + t) * D;
            of_row[t] = 0;
            for (size_t i = 0; i < D; i++) {
                double d = v ? (double)u[at + i] - (double)v[at + i] : (double)u[at + i];
                of_row[t] += d * d;
            }
        }
        for (size_t t = 0; t < rows; t++)
            *sum += of_row[t];
    }
}

static double quotient(double numerator, double denominator)
{
    if (denominator > 0)
        return sqrt(numerator / denominator);
    return numerator == 0 ? 0 : NAN;
}

static size_t not_among(const int32_t *experts, const int32_t *others, size_t k)
{
    size_t n = 0;
    for (size_t i = 0; i < k; i++) {
        bool found = false;
        for (size_t j = 0; j < k; j++)
            found = found || others[j] == experts[i];
        n += !found;
    }
    return n;
}

/* ---- the passes ------------------------------------------------------------------ */

struct walk {
    struct lockstep *out;
    struct sums *sums;                  /* owned [L] */
    struct arena of_a, of_b;            /* owned: of the passes */
    struct pass a, b;
};

/* Rows of window i in A's stream, and of its two copies in B's. */
struct rows {
    size_t n, a, own, given;
};

static struct rows rows_of(const struct walk *k, size_t i)
{
    const size_t *a = k->a.batch.start, *b = k->b.batch.start;
    return (struct rows){ a[i + 1] - a[i], a[i], b[2 * i], b[2 * i + 1] };
}

static void count_routing(struct walk *k, size_t layer, const struct rows *r)
{
    struct lockstep *out = k->out;
    size_t top_k = out->top_k, E = out->num_experts;
    for (size_t t = 0; t < r->n; t++) {
        const int32_t *a = k->a.routing.expert + (r->a + t) * top_k;
        const int32_t *b = k->b.routing.expert + (r->own + t) * top_k;
        size_t changed = not_among(a, b, top_k);
        out->layers[layer].same_sets += changed == 0;
        out->layers[layer].changed_experts += changed;
        for (size_t slot = 0; slot < top_k; slot++) {
            out->load[0][layer * E + (size_t)a[slot]]++;
            out->load[1][layer * E + (size_t)b[slot]]++;
        }
    }
}

static bool both_through_layer(struct walk *k, size_t layer, struct error *err)
{
    struct sums *s = &k->sums[layer];
    size_t D = k->a.e->ck->config.hidden_size, n_windows = k->a.batch.n_windows;
    int threads = k->a.e->n_threads;
    for (size_t i = 0; i < n_windows; i++) {
        const struct rows r = rows_of(k, i);
        memcpy(k->b.x + r.given * D, k->a.x + r.a * D, r.n * D * sizeof(float));
    }
    if (!pass_layer(&k->a, err))
        return err && err->interrupted ? false : error_prefix(err, "%s: ", k->a.e->ck->path);
    for (size_t i = 0; i < n_windows; i++) {
        const struct rows r = rows_of(k, i);
        add_squares(&s->added, k->a.x + r.a * D, k->b.x + r.given * D, r.n, D, threads);
    }
    if (!pass_layer(&k->b, err))
        return err && err->interrupted ? false
             : error_prefix(err, "%s (each window twice: by itself, and on the stream of %s): ",
                            k->b.e->ck->path, k->a.e->ck->path);
    for (size_t i = 0; i < n_windows; i++) {
        const struct rows r = rows_of(k, i);
        const float *x = k->a.x + r.a * D;
        add_squares(&s->stream, x, NULL, r.n, D, threads);
        add_squares(&s->residual, k->b.x + r.own * D, x, r.n, D, threads);
        add_squares(&s->output, k->b.x + r.given * D, x, r.n, D, threads);
        count_routing(k, layer, &r);
    }
    return true;
}

/* Windows [first, end). */
static bool run_pass(struct walk *k, const struct plans *p, const struct engine_job jobs[2],
                     const struct engine *a, const struct engine *b, size_t first, size_t end,
                     struct error *err)
{
    struct engine_statistics *done = &k->out->statistics;
    struct engine_state at = { .first_window = first, .n_windows = end - first };
    struct engine_state at_b = { .first_window = 2 * first, .n_windows = 2 * (end - first) };
    at.statistics.model_tokens = plan_tokens(p->windows, first);
    at_b.statistics.model_tokens = 2 * at.statistics.model_tokens;
    if (!pass_open(&k->a, a, &p->a, &k->of_a, &jobs[0], &at, err))
        return false;
    bool ok = pass_open(&k->b, b, &p->b, &k->of_b, &jobs[1], &at_b, err);
    if (ok) {
        for (size_t layer = 0; ok && layer < k->out->n_layers; layer++)
            ok = both_through_layer(k, layer, err);
        done->passes++;
        done->bytes_read += stream_bytes(k->a.stream) + stream_bytes(k->b.stream);
        done->model_tokens += k->a.batch.n_tokens + k->b.batch.n_tokens;
        k->out->tokens += k->a.batch.n_tokens;
        pass_close(&k->b);
    }
    pass_close(&k->a);
    return ok;
}

static bool take_memory(struct walk *k, const struct config *c, struct error *err)
{
    struct lockstep *out = k->out;
    size_t L = c->num_hidden_layers, E = c->num_experts;
    *out = (struct lockstep){ .n_layers = L, .num_experts = E, .top_k = c->num_experts_per_tok };
    return (k->sums = mem_array(L, sizeof *k->sums, "sums by layer", err))
        && (out->layers = mem_array(L, sizeof *out->layers, "figures by layer", err))
        && (out->load[0] = mem_array(L, E * sizeof **out->load, "the load of experts", err))
        && (out->load[1] = mem_array(L, E * sizeof **out->load, "the load of experts", err));
}

bool lockstep_run(struct lockstep *out, const struct engine *a, const struct engine *b,
                  const int32_t *ids, size_t n_ids, const struct engine_window *windows,
                  size_t n_windows, struct error *err)
{
    const struct config *c = &a->ck->config;
    struct walk k = { .out = out };
    struct plans p = { 0 };
    bool ok = take_memory(&k, c, err) && engine_check_input(a, ids, n_ids, windows, n_windows, err)
           && plans_make(&p, a, b, windows, n_windows, err);
    const struct engine_job jobs[2] = {
        { .ids = ids, .n_ids = n_ids, .windows = p.windows, .n_windows = n_windows },
        { .ids = ids, .n_ids = n_ids, .windows = p.twice, .n_windows = 2 * n_windows },
    };
    for (size_t first = 0, end; ok && first < n_windows; first = end) {
        end = plan_pass_end(&p.a, p.windows, n_windows, first);
        ok = run_pass(&k, &p, jobs, a, b, first, end, err);
    }
    for (size_t i = 0; ok && i < out->n_layers; i++) {
        out->layers[i].type = c->layer_types[i];
        out->layers[i].residual_error = quotient(k.sums[i].residual, k.sums[i].stream);
        out->layers[i].output_error = quotient(k.sums[i].output, k.sums[i].added);
    }
    plans_free(&p);
    arena_free(&k.of_a);
    arena_free(&k.of_b);
    free(k.sums);
    return ok;
}

void lockstep_free(struct lockstep *l)
{
    free(l->layers);
    free(l->load[0]);
    free(l->load[1]);
    *l = (struct lockstep){ 0 };
}
