#include "engine/calibration.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/cost.h"
#include "engine/pass.h"

/* ---- the linears -------------------------------------------------------------- */

struct listing {
    struct calibration *c;
    const struct layer_weights *layer;
    size_t capacity, channels;          /* of linears; of all sums so far */
    struct error *err;
};

/* An expert's up shares gate's inputs. */
static const struct matrix *observed_for(const struct listing *l, const struct model_weight *w)
{
    const struct mlp_weights *expert = w->num_experts ? &l->layer->experts[w->expert] : NULL;
    return expert && w->matrix == &expert->up ? &expert->gate : w->matrix;
}

static bool list_linear(void *user, const struct model_weight *w)
{
    struct listing *l = user;
    struct calibration *c = l->c;
    if (!w->is_linear)
        return true;
    if (!mem_grow(&c->linears, &l->capacity, c->n + 1, sizeof *c->linears,
                  "the list of linear layers", l->err))
        return false;
    const struct matrix *observed = observed_for(l, w);
    c->linears[c->n++] = (struct calibrated){ .weight = w->matrix, .observed = observed };
    return observed != w->matrix || size_sum(&l->channels, l->channels, w->cols)
        || error_set(l->err, "linear layers have more channels than can be counted");
}

static int by_weight(const void *a, const void *b)
{
    const struct matrix *x = ((const struct calibrated *)a)->weight;
    const struct matrix *y = ((const struct calibrated *)b)->weight;
    return (x > y) - (x < y);
}

bool calibration_begin(struct calibration *c, const struct checkpoint *ck, const struct weights *w,
                       struct error *err)
{
    struct listing l = { .c = c, .err = err };
    *c = (struct calibration){ 0 };
    for (size_t i = 0; i < w->n_layers; i++) {
        l.layer = &w->layers[i];
        if (!weights_visit_layer(ck, w, i, list_linear, &l))
            return false;
    }
    c->squares = mem_array(l.channels, sizeof *c->squares, "mean squares by channel", err);
    if (!c->squares)
        return false;
    c->bytes = l.channels * sizeof *c->squares + l.capacity * sizeof *c->linears;
    qsort(c->linears, c->n, sizeof *c->linears, by_weight);
    double *next = c->squares;
    for (size_t i = 0; i < c->n; i++)
        if (c->linears[i].observed == c->linears[i].weight) {
            c->linears[i].squares = next;
            next += c->linears[i].weight->cols;
        }
    return true;
}

void calibration_free(struct calibration *c)
{
    free(c->linears);
    free(c->squares);
    *c = (struct calibration){ 0 };
}

static struct calibrated *find(const struct calibration *c, const struct matrix *weight)
{
    const struct calibrated key = { .weight = weight };
    struct calibrated *found = bsearch(&key, c->linears, c->n, sizeof key, by_weight);
    assert(found);
    return found;
}

const struct calibrated *calibration_of(const struct calibration *c, const struct matrix *weight)
{
    return find(c, find(c, weight)->observed);
}

/* ---- the passes ----------------------------------------------------------------- */

/* Threads share the channels, so that each sum is in the order of the rows. */
static void observe(void *user, const struct matrix *w, const float *x, size_t ldx, size_t n,
                    int n_threads)
{
    enum { CHANNELS = 64 };
    struct calibrated *to = find(user, w);
    size_t cols = w->cols;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t first = 0; first < cols; first += CHANNELS) {
        size_t end = size_min(cols, first + CHANNELS);
        for (size_t t = 0; t < n; t++)
            for (size_t i = first; i < end; i++)
                to->squares[i] += (double)x[t * ldx + i] * (double)x[t * ldx + i];
    }
    to->tokens += n;
}

static bool run_pass(const struct engine *e, const struct plan *plan, struct arena *arena,
                     const struct engine_job *job, const struct input_observer *observer,
                     struct engine_state *at, struct error *err)
{
    struct pass p;
    if (!pass_open(&p, e, plan, arena, job, at, err))
        return false;
    p.cm.observer = observer;
    bool ok = true;
    while (ok && p.at.layer < e->ck->config.num_hidden_layers)
        ok = pass_layer(&p, err);
    at->statistics.passes++;
    at->statistics.bytes_read = p.bytes_before + stream_bytes(p.stream);
    at->statistics.model_tokens += p.batch.n_tokens;
    pass_close(&p);
    return ok;
}

bool calibration_run(struct calibration *c, const struct engine *e, const struct engine_job *job,
                     struct engine_statistics *statistics, struct error *err)
{
    struct plan plan;
    struct arena arena = { 0 };
    struct engine_state at = { 0 };
    struct engine_job mine = *job;
    const struct input_observer observer = { observe, c };
    size_t n = job->n_windows;
    struct engine_window *windows = pass_windows_without_targets(job->windows, n, 1, err);
    mine.windows = windows;
    mine.saver.offer = NULL;
    bool ok = windows && engine_check_input(e, job->ids, job->n_ids, job->windows, n, err)
           && engine_plan(&plan, NULL, e, windows, n, 0, err);
    plan.keep_all = true;
    while (ok && at.first_window < n) {
        size_t end = plan_pass_end(&plan, windows, n, at.first_window);
        at.n_windows = end - at.first_window;
        ok = run_pass(e, &plan, &arena, &mine, &observer, &at, err)
          && (!job->guard.check || job->guard.check(job->guard.user, err));
        at.first_window = end;
        mine.hash = NULL;                       /* it has seen the weights */
    }
    *statistics = at.statistics;
    arena_free(&arena);
    free(windows);
    return ok;
}

bool calibration_cost(struct engine_cost *cost, const struct engine *e,
                      const struct engine_window *windows, size_t n_windows, struct error *err)
{
    struct engine_window *unscored = pass_windows_without_targets(windows, n_windows, 1, err);
    const struct engine_job job = { .windows = unscored, .n_windows = n_windows };
    bool ok = unscored && engine_cost(e, &job, cost, err);
    free(unscored);
    /* All tokens go through the whole of the last layer, scored or not, and none through the
     * head. */
    double tokens = (double)plan_tokens(windows, n_windows);
    cost->flop = cost_layers_flop(&e->ck->config, tokens, tokens);
    return ok;
}
