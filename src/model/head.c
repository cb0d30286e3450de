#include "model/head.h"

#include <math.h>
#include <omp.h>

#include "model/linear.h"

#define TOKEN_BLOCK KERNEL_ROWS

struct running {                    /* over the vocabulary seen so far, the target left out */
    double sum;                     /* of exp(logit - max) */
    double target_logit;
    float max, top_logit;
    int32_t top1;
};

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Takes in the logits of ids [first, first + n).  target_row: scratch [D]. */
static void running_add(struct running *r, const struct compute *cm, float *logits, size_t first,
                        size_t n, size_t target, const float *hidden,
                        const struct matrix *lm_head, float *target_row)
{
    const struct row_kernels *rows = compute_rows(cm);
    size_t D = cm->config->hidden_size;
    float *target_logit = target >= first && target < first + n ? &logits[target - first] : NULL;
    if (target_logit) {
        r->target_logit = (double)*target_logit;
        if (cm->type == COMPUTE_F32) {
            rows->expand(target_row, lm_head, target, 0, D);
            r->target_logit = dot(hidden, target_row, D);
            *target_logit = (float)r->target_logit;
        }
    }
    float max = rows->max(logits, n);
    if (max > r->top_logit) {
        r->top_logit = max;
        size_t i = 0;
        while (logits[i] != max)
            i++;
        r->top1 = (int32_t)(first + i);
    }
    if (target_logit) {
        *target_logit = -INFINITY;
        max = rows->max(logits, n);
    }
    if (max > r->max) {
        r->sum *= exp((double)r->max - (double)max);
        r->max = max;
    }
    if (r->max > -INFINITY)
        r->sum += rows->exp_sum(logits, r->max, n);
    else if (max != -INFINITY)
        r->sum = NAN;                           /* NaN compares false everywhere above */
}

static void finish(struct head_score *s, const struct running *r)
{
    double others = (double)r->max + log(r->sum), d = others - r->target_logit;
    s->nll = d > 0 ? d + log1p(exp(-d)) : log1p(exp(d));
    s->logsumexp = (float)(r->target_logit + s->nll);
    s->top1 = r->top1;
}

struct head_scratch {
    struct running *running;        /* [n] */
    void *packed;                   /* VOCABULARY_TILE rows of the head */
    float *logits;                  /* [threads, TOKEN_BLOCK, VOCABULARY_TILE] */
    float *target_row;              /* [threads, D] */
    char *products;
};

/* Ids [first, first + ids) for tokens [t, t + rows), by one thread. */
static void block_of_tokens(const struct compute *cm, const struct head_task *task,
                            const struct head_scratch *s, size_t first, size_t ids, size_t t,
                            size_t rows)
{
    size_t D = cm->config->hidden_size, me = (size_t)omp_get_thread_num();
    float *logits = s->logits + me * TOKEN_BLOCK * VOCABULARY_TILE;
    multiply_packed(cm, logits, VOCABULARY_TILE, task->hidden + t * D, D, rows, s->packed, ids, D,
                    s->products);
    for (size_t i = 0; i < rows; i++)
        running_add(&s->running[t + i], cm, logits + i * VOCABULARY_TILE, first, ids,
                    (size_t)task->targets[t + i], task->hidden + (t + i) * D, task->lm_head,
                    s->target_row + me * D);
}

static void tile_of_vocabulary(const struct compute *cm, const struct head_task *task,
                               const struct head_scratch *s, size_t first, size_t ids)
{
    const struct row_blocks blocks = row_blocks_of(cm, task->n);
#pragma omp parallel num_threads(cm->n_threads)
    {
        pack_weight_rows(cm, s->packed, task->lm_head, first, ids, s->products);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < blocks.count; i++) {
            size_t t = block_begin(&blocks, i);
            block_of_tokens(cm, task, s, first, ids, t, block_begin(&blocks, i + 1) - t);
        }
    }
}

static bool all_tiles(const struct compute *cm, const struct head_task *task,
                      const struct head_scratch *s, struct error *err)
{
    size_t V = task->lm_head->rows, part = task->first_part;
    for (size_t first = 0; first < V; first += VOCABULARY_TILE, part++) {
        if (!task->feed->need(task->feed->user, part, err))
            return false;
        size_t ids = size_min(V - first, VOCABULARY_TILE);
        tile_of_vocabulary(cm, task, s, first, ids);
        task->feed->done(task->feed->user, part);
        double share = (double)(first + ids) / (double)V;
        if (task->watch.report && !task->watch.report(task->watch.user, share)) {
            err->interrupted = true;
            return error_set(err, "interrupted in the head");
        }
    }
    return true;
}

bool head_forward(const struct compute *cm, const struct head_task *task, size_t *bad,
                  struct error *err)
{
    const struct products *pr = linear_products(cm);
    size_t D = cm->config->hidden_size, threads = (size_t)cm->n_threads, mark = cm->arena->used;
    struct head_scratch s = {
        .running = arena_take(cm->arena, task->n, sizeof *s.running),
        .packed = arena_take(cm->arena, 1, pr->packed_bytes(pr, VOCABULARY_TILE, D)),
        .logits = arena_take(cm->arena, threads * TOKEN_BLOCK, VOCABULARY_TILE * sizeof(float)),
        .target_row = arena_take(cm->arena, threads, D * sizeof(float)),
        .products = product_scratch_take(cm),
    };
    cm->arena->used = mark;
    if (!cm->arena->block)
        return true;
    *bad = task->n;
    for (size_t t = 0; t < task->n; t++)
        s.running[t] = (struct running){ .max = -INFINITY, .top_logit = -INFINITY };
    if (!all_tiles(cm, task, &s, err))
        return false;
    for (size_t t = 0; t < task->n && *bad == task->n; t++) {
        finish(&task->scores[t], &s.running[t]);
        if (!isfinite(task->scores[t].nll) || !isfinite(task->scores[t].logsumexp))
            *bad = t;
    }
    return *bad == task->n;
}
