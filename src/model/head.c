#include "model/head.h"

#include <math.h>
#include <omp.h>

#include "model/linear.h"

#define TOKEN_BLOCK KERNEL_ROWS
#define VOCABULARY_TILE ((size_t)1024)

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
    const struct kernels *kn = cm->kernels;
    size_t D = cm->config->hidden_size;
    float *target_logit = target >= first && target < first + n ? &logits[target - first] : NULL;
    if (target_logit) {
        kn->rows->expand(target_row, lm_head, target, 0, D);
        r->target_logit = dot(hidden, target_row, D);
        *target_logit = (float)r->target_logit;
    }
    float max = kn->rows->max(logits, n);
    if (max > r->top_logit) {
        r->top_logit = max;
        size_t i = 0;
        while (logits[i] != max)
            i++;
        r->top1 = (int32_t)(first + i);
    }
    if (target_logit) {
        *target_logit = -INFINITY;
        max = kn->rows->max(logits, n);
    }
    if (max > r->max) {
        r->sum *= exp((double)r->max - (double)max);
        r->max = max;
    }
    if (r->max > -INFINITY)
        r->sum += kn->rows->exp_sum(logits, r->max, n);
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

struct head_task {
    const float *hidden;
    const int32_t *targets;
    size_t n;
    const struct matrix *lm_head;
    struct running *running;        /* [n] */
    void *packed;                   /* VOCABULARY_TILE rows of the head */
    float *logits;                  /* [threads, TOKEN_BLOCK, VOCABULARY_TILE] */
    float *target_row;              /* [threads, D] */
    char *scratch;
};

/* Ids [first, first + ids) for all tokens. */
static void tile_of_vocabulary(const struct compute *cm, const struct head_task *task,
                               size_t first, size_t ids)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel num_threads(cm->n_threads)
    {
        size_t me = (size_t)omp_get_thread_num();
        float *logits = task->logits + me * TOKEN_BLOCK * VOCABULARY_TILE;
        pack_weight_rows(cm, task->packed, task->lm_head, first, ids, task->scratch);
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < task->n; t += TOKEN_BLOCK) {
            size_t rows = size_min(task->n - t, TOKEN_BLOCK);
            multiply_packed(cm, logits, VOCABULARY_TILE, task->hidden + t * D, D, rows,
                            task->packed, ids, D, task->scratch);
            for (size_t i = 0; i < rows; i++)
                running_add(&task->running[t + i], cm, logits + i * VOCABULARY_TILE, first, ids,
                            (size_t)task->targets[t + i], task->hidden + (t + i) * D,
                            task->lm_head, task->target_row + me * D);
        }
    }
}

bool head_score_rows(const struct compute *cm, struct head_score *scores, const float *hidden,
                     const int32_t *targets, size_t n, const struct matrix *lm_head, size_t *bad)
{
    const struct products *pr = linear_products(cm);
    size_t D = cm->config->hidden_size, V = lm_head->rows, threads = (size_t)cm->n_threads;
    size_t mark = cm->arena->used;
    struct head_task task = {
        .hidden = hidden, .targets = targets, .n = n, .lm_head = lm_head,
        .running = arena_take(cm->arena, n, sizeof *task.running),
        .packed = arena_take(cm->arena, 1, pr->packed_bytes(pr, VOCABULARY_TILE, D)),
        .logits = arena_take(cm->arena, threads * TOKEN_BLOCK, VOCABULARY_TILE * sizeof(float)),
        .target_row = arena_take(cm->arena, threads, D * sizeof(float)),
        .scratch = product_scratch_take(cm),
    };
    cm->arena->used = mark;
    if (!task.running)
        return true;
    for (size_t t = 0; t < n; t++)
        task.running[t] = (struct running){ .max = -INFINITY, .top_logit = -INFINITY };
    for (size_t first = 0; first < V; first += VOCABULARY_TILE)
        tile_of_vocabulary(cm, &task, first,
                           size_min(V - first, VOCABULARY_TILE));
    for (size_t t = 0; t < n; t++) {
        finish(&scores[t], &task.running[t]);
        if (!isfinite(scores[t].nll) || !isfinite(scores[t].logsumexp)) {
            *bad = t;
            return false;
        }
    }
    return true;
}
