#include "bench/bench_work.h"

#include <math.h>

#include "base/memory.h"
#include "engine/stopwatch.h"

bool bench_next(struct bench *b, const char *name, struct error *err)
{
    if (!progress_report(&b->options->progress, name, (double)b->done, (double)b->planned,
                         "figures", err))
        return false;
    b->done++;
    return true;
}

bool bench_add(struct bench *b, const struct bench_figure *figure, void (*work)(void *user),
               void *user, struct error *err)
{
    struct bench_result *r = b->result;
    if (!bench_next(b, figure->name, err)
        || !mem_grow(&r->figures, &r->capacity, r->n_figures + 1, sizeof *r->figures, "figures",
                     err))
        return false;
    work(user);                     /* touches memory, wakes threads */
    struct bench_figure *f = &r->figures[r->n_figures++];
    *f = *figure;
    f->seconds = INFINITY;
    for (int round = 0; round < STOPWATCH_ROUNDS; round++) {
        if (f->flop > 0)
            f->limit = fmax(f->limit, limits_peak_round(&b->peaks[f->type], b->options->seconds));
        f->seconds = fmin(f->seconds, stopwatch_round(work, user, b->options->seconds));
    }
    return true;
}

bool bench_has(const struct config *c, enum layer_type type)
{
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        if (c->layer_types[i] == type)
            return true;
    return false;
}
