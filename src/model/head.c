#include "model/head.h"

#include <math.h>
#include <omp.h>

#define TOKEN_BLOCK ((size_t)256)
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

/* Takes in the logits of ids [first, first + n); weights: their rows of the head, expanded. */
static void running_add(struct running *r, const struct compute *cm, float *logits, size_t first,
                        size_t n, size_t target, const float *hidden, const float *weights)
{
    const struct kernels *kn = cm->kernels;
    size_t D = cm->config->hidden_size;
    float *target_logit = target >= first && target < first + n ? &logits[target - first] : NULL;
    if (target_logit) {
        r->target_logit = dot(hidden, weights + (target - first) * D, D);
        *target_logit = (float)r->target_logit;
    }
    float max = kn->max(logits, n);
    if (max > r->top_logit) {
        r->top_logit = max;
        size_t i = 0;
        while (logits[i] != max)
            i++;
        r->top1 = (int32_t)(first + i);
    }
    if (target_logit) {
        *target_logit = -INFINITY;
        max = kn->max(logits, n);
    }
    if (max > r->max) {
        r->sum *= exp((double)r->max - (double)max);
        r->max = max;
    }
    if (r->max > -INFINITY)
        r->sum += kn->exp_sum(logits, r->max, n);
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

static void tile_of_vocabulary(const struct compute *cm, struct running *running, float *logits,
                               float *weights, const float *hidden, const int32_t *targets,
                               size_t n, const struct matrix *lm_head, size_t first, size_t ids)
{
    const struct kernels *kn = cm->kernels;
    size_t D = cm->config->hidden_size;
#pragma omp parallel num_threads(cm->n_threads)
    {
        float *mine = logits + (size_t)omp_get_thread_num() * TOKEN_BLOCK * VOCABULARY_TILE;
#pragma omp for schedule(static)
        for (size_t i = 0; i < ids; i++)
            kn->expand_row(weights + i * D, lm_head, first + i);
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < n; t += TOKEN_BLOCK) {
            size_t rows = n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK;
            kn->gemm(&(struct gemm){ GEMM_NT, false, rows, ids, D, mine, VOCABULARY_TILE,
                                     hidden + t * D, D, weights, D }, kn);
            for (size_t i = 0; i < rows; i++)
                running_add(&running[t + i], cm, mine + i * VOCABULARY_TILE, first, ids,
                            (size_t)targets[t + i], hidden + (t + i) * D, weights);
        }
    }
}

bool head_score_rows(const struct compute *cm, struct head_score *scores, const float *hidden,
                     const int32_t *targets, size_t n, const struct matrix *lm_head, size_t *bad)
{
    size_t D = cm->config->hidden_size, V = lm_head->rows, mark = cm->arena->used;
    float *weights = arena_take(cm->arena, VOCABULARY_TILE, D * sizeof *weights);
    float *logits = arena_take(cm->arena, (size_t)cm->n_threads * TOKEN_BLOCK,
                               VOCABULARY_TILE * sizeof *logits);
    struct running *running = arena_take(cm->arena, n, sizeof *running);
    cm->arena->used = mark;
    if (!running)
        return true;
    for (size_t t = 0; t < n; t++)
        running[t] = (struct running){ .max = -INFINITY, .top_logit = -INFINITY };
    for (size_t first = 0; first < V; first += VOCABULARY_TILE)
        tile_of_vocabulary(cm, running, logits, weights, hidden, targets, n, lm_head, first,
                           V - first < VOCABULARY_TILE ? V - first : VOCABULARY_TILE);
    for (size_t t = 0; t < n; t++) {
        finish(&scores[t], &running[t]);
        if (!isfinite(scores[t].nll) || !isfinite(scores[t].logsumexp)) {
            *bad = t;
            return false;
        }
    }
    return true;
}
