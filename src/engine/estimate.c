#include "engine/estimate.h"

#include <math.h>

#include "base/machine.h"
#include "engine/cost.h"
#include "engine/read_sample.h"
#include "engine/step_sample.h"

/* ---- what there is to do --------------------------------------------------------------- */

struct work {
    const struct engine *e;
    const struct engine_cost *cost;
    double tokens, scored;
    size_t longest;                         /* tokens of a window */
    double flop[STEP_KINDS], packed[STEP_KINDS], rows[STEP_KINDS];  /* rows that go together */
    double all_flop;
};

static void add_windows(struct work *w, const struct engine_window *windows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t tokens = plan_window_tokens(&windows[i]);
        w->tokens += (double)tokens;
        w->longest = size_max(w->longest, tokens);
    }
}

/* Experts that a pass of n tokens meets, if each is as likely as the others. */
static double experts_met(const struct config *c, double n)
{
    double E = (double)c->num_experts, k = (double)c->num_experts_per_tok;
    return E * (1 - pow(1 - k / E, n));
}

/* Weights that are packed for the MLP of a layer, for n tokens together; *rows: tokens that each is
 * multiplied with. */
static double mlp_weights_met(const struct config *c, size_t layer, double n, double *rows)
{
    struct layer_cost token = cost_layer(c, layer, 1, 1);
    *rows = n;
    if (!c->num_experts)
        return token.mlp / 2;
    double k = (double)c->num_experts_per_tok, met = experts_met(c, n);
    struct config two = *c;
    two.num_experts_per_tok = 2 * c->num_experts_per_tok;
    double of_experts = cost_layer(&two, layer, 1, 1).mlp - token.mlp;      /* FLOP, of k */
    *rows = n * k / met;
    return (token.mlp + of_experts * (met / k - 1)) / 2;
}

static void add_steps(struct work *w)
{
    const struct config *c = &w->e->ck->config;
    double passes = (double)w->cost->passes, n = w->tokens / passes;
    double tiles = ceil(n / (double)w->cost->tile_tokens);
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        const struct layer_cost layer = cost_layer(c, i, w->tokens, w->scored);
        enum step_kind mixer = c->layer_types[i] == FULL_ATTENTION ? STEP_ATTENTION
                                                                   : STEP_DELTA_NET;
        w->flop[mixer] += layer.mixer;
        w->packed[mixer] += passes * tiles * cost_layer(c, i, 1, 1).mixer / 2;
        w->rows[mixer] = n / tiles;
        w->flop[STEP_MLP] += layer.mlp;
        double together = c->num_experts ? n : n / tiles;
        w->packed[STEP_MLP] += passes * n / together
                             * mlp_weights_met(c, i, together, &w->rows[STEP_MLP]);
    }
    w->flop[STEP_HEAD] = w->scored * cost_head_flop(c);
    w->packed[STEP_HEAD] = w->scored > 0 ? passes * cost_head_flop(c) / 2 : 0;
    w->rows[STEP_HEAD] = w->scored / passes;
    for (int kind = 0; kind < STEP_KINDS; kind++)
        w->all_flop += w->flop[kind];
}

/* Triples of a query, a head and a key that are more than those of windows of `rows` tokens. */
static double far_pairs(const struct work *w, const struct engine_window *windows, size_t n,
                        double rows)
{
    const struct config *c = &w->e->ck->config;
    double pairs = 0, layers = 0;
    for (size_t i = 0; i < n; i++) {
        double tokens = (double)plan_window_tokens(&windows[i]);
        pairs += tokens * (tokens - rows) / 2;
    }
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        layers += c->layer_types[i] == FULL_ATTENTION;
    return pairs * layers * (double)c->num_attention_heads;
}

/* ---- how fast ---------------------------------------------------------------------------- */

#define MOST_PAST ((size_t)2048)            /* keys: further ones are as slow */
#define ROWS (KERNEL_ROWS / 2)              /* of a thread; in larger blocks none is faster */

/* From large to small.  Many rows do not stay in the caches, as those of a pass do not. */
static const struct step_effort efforts[] = {
    { .rows = 8 * ROWS, .weights = 5e6, .rounds = 1 },
    { .rows = 4 * ROWS, .weights = 5e6, .rounds = 1 },
    { .rows = 2 * ROWS, .weights = 5e6, .rounds = 1 },
    { .rows = ROWS, .weights = 5e6, .rounds = 2 },
    { .rows = ROWS / 2, .weights = 2.5e6, .rounds = 2 },
    { .rows = ROWS / 4, .weights = 1e6, .rounds = 1 },
};
#define N_EFFORTS (sizeof efforts / sizeof *efforts)

/* The largest that takes no more than a hundredth of the job, and less than half a second;
 * N_EFFORTS: none. */
static size_t choose_effort(const struct work *w)
{
    double threads = w->e->n_threads, most = fmin(w->cost->flop / 100, 3e10 * threads);
    size_t i = 0;
    for (; i < N_EFFORTS; i++) {
        double flop = 0;
        for (enum step_kind kind = 0; kind < STEP_KINDS; kind++)
            flop += step_sample_flop(w->e, kind, efforts[i].weights);
        if (flop * (double)efforts[i].rows * threads * (efforts[i].rounds + 1) < most)
            break;
    }
    return i;
}

/* The effort for one kind, with no more rows and tokens than the job has. */
static struct step_effort effort_for(const struct work *w, enum step_kind kind, size_t effort)
{
    struct step_effort own = efforts[size_min(effort, N_EFFORTS - 1)];
    own.rows = size_min(own.rows, (size_t)ceil(w->rows[kind] / w->e->n_threads));
    own.window = w->longest;
    own.past = w->longest > 2 * own.rows ? size_min(MOST_PAST, w->longest) : 0;
    own.seconds = fmin(w->cost->flop / (4e10 * w->e->n_threads) / 2000, 0.02);
    return own;
}

/* Where even the smallest samples would take long beside the job: one, of the kind that has most
 * to do, stands for all. */
static bool one_kind_seconds(double *seconds, const struct work *w)
{
    enum step_kind most = STEP_DELTA_NET;
    struct step_rates rates;
    for (enum step_kind kind = 0; kind < STEP_KINDS; kind++)
        most = w->flop[kind] > w->flop[most] ? kind : most;
    struct step_effort effort = effort_for(w, most, N_EFFORTS);
    effort.past = 0;
    if (!step_sample(&rates, w->e, most, &effort))
        return false;
    for (enum step_kind kind = 0; kind < STEP_KINDS; kind++)
        *seconds += rates.weight * w->packed[kind] + rates.flop * w->flop[kind];
    return true;
}

static bool steps_seconds(double *seconds, const struct work *w,
                          const struct engine_window *windows, size_t n_windows)
{
    size_t effort = choose_effort(w);
    *seconds = 0;
    if (effort == N_EFFORTS)
        return one_kind_seconds(seconds, w);
    for (enum step_kind kind = 0; kind < STEP_KINDS; kind++) {
        const struct step_effort own = effort_for(w, kind, effort);
        struct step_rates rates;
        if (w->flop[kind] == 0)
            continue;
        if (!step_sample(&rates, w->e, kind, &own))
            return false;
        *seconds += rates.weight * w->packed[kind] + rates.flop * w->flop[kind]
                  + rates.pair * far_pairs(w, windows, n_windows, (double)own.rows);
    }
    return true;
}

/* The thread that reads takes a share of the processors, if it has none for itself; the disk may
 * take longer than the work during a pass. */
static bool add_reading(double *seconds, const struct engine *e, const struct engine_cost *cost)
{
    struct read_rates rates;
    if (!read_sample(&rates, &e->parts.list, NULL))
        return false;
    double passes = (double)cost->passes, all = (double)e->parts.bytes;
    double busy = rates.map * (double)cost->bytes_read + rates.hash * all;
    if (e->n_threads >= machine_processors())
        *seconds += busy / e->n_threads;
    double from_disk = rates.disk * (e->evict ? all : rates.missing * all);
    double waits = fmax(from_disk - *seconds / passes, 0);
    *seconds += e->evict ? passes * waits : waits;
    return true;
}

double estimate_seconds(const struct engine *e, const struct engine_window *windows,
                        size_t n_windows, const struct engine_cost *cost)
{
    struct work w = { .e = e, .cost = cost, .scored = (double)cost->scored };
    double seconds;
    add_windows(&w, windows, n_windows);
    if (w.tokens == 0 || cost->passes == 0)
        return 0;
    add_steps(&w);
    if (!steps_seconds(&seconds, &w, windows, n_windows))
        return 0;
    seconds *= cost->flop / w.all_flop;
    if (!add_reading(&seconds, e, cost))
        return 0;
    return seconds;
}
