#include "model/head.h"

#include <math.h>

#include "model/norm.h"

struct head_running {               /* over the vocabulary seen so far, the target left out */
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
static void running_add(struct head_running *r, const struct compute *cm, float *logits,
                        size_t first, size_t n, size_t target, const float *hidden,
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

static void finish(struct head_score *s, const struct head_running *r)
{
    double others = (double)r->max + log(r->sum), d = others - r->target_logit;
    s->nll = d > 0 ? d + log1p(exp(-d)) : log1p(exp(d));
    s->logsumexp = (float)(r->target_logit + s->nll);
    s->top1 = r->top1;
}

struct head_pass {
    const struct compute *cm;
    const struct head_buffers *b;
    const struct head_task *task;
};

static void consume(void *user, size_t token, size_t first, size_t ids,
                    float *const logits[VOCABULARY_SIDES])
{
    const struct head_pass *p = user;
    const struct head_task *task = p->task;
    running_add(&p->b->running[token], p->cm, logits[0], first, ids, (size_t)task->targets[token],
                task->hidden + token * p->cm->config->hidden_size, task->lm_head,
                thread_buffer(&p->b->target_row));
}

struct head_buffers head_buffers_take(struct arena *a, const struct compute *cm,
                                      const struct matrix *lm_head, size_t n)
{
    const struct vocabulary_side side = { .cm = cm, .head = lm_head };
    return (struct head_buffers){
        .running = arena_take(a, n, sizeof(struct head_running)),
        .target_row = thread_buffers_take(a, cm->n_threads, lm_head->cols, sizeof(float)),
        .vocabulary = vocabulary_buffers_take(a, &side, 1),
    };
}

bool head_is_finite(const struct head_score *s)
{
    return isfinite(s->nll) && isfinite(s->logsumexp);
}

bool head_forward(const struct compute *cm, const struct head_buffers *b,
                  const struct head_task *task, size_t *bad, struct error *err)
{
    struct head_pass p = { cm, b, task };
    const struct vocabulary_task logits = {
        .sides = { { cm, task->hidden, task->lm_head, task->feed, task->first_part } },
        .n_sides = 1, .n = task->n, .consume = consume, .user = &p, .progress = task->progress,
    };
    *bad = task->n;
    for (size_t t = 0; t < task->n; t++)
        b->running[t] = (struct head_running){ .max = -INFINITY, .top_logit = -INFINITY };
    if (!vocabulary_pass(&logits, &b->vocabulary, err))
        return false;
    for (size_t t = 0; t < task->n; t++) {
        finish(&task->scores[t], &b->running[t]);
        if (*bad == task->n && !head_is_finite(&task->scores[t]))
            *bad = t;
    }
    return *bad == task->n;
}

struct head_logits_buffers head_logits_buffers_take(struct arena *a, const struct compute *cm,
                                                    const struct matrix *lm_head)
{
    const struct linear_shape shape = { lm_head->rows, lm_head->cols };
    return (struct head_logits_buffers){ norm_buffer_take(a, cm->config),
                                         linear_buffers_take(a, cm, &shape, 1) };
}

void head_norm(const struct compute *cm, const struct head_logits_buffers *b, float *hidden,
               const float *x, size_t n, const struct matrix *norm)
{
    norm_weight(cm, b->norm, norm);
    norm_rows(cm, hidden, x, n, b->norm);
}

void head_logits(const struct compute *cm, const struct head_logits_buffers *b, float *logits,
                 const float *hidden, size_t n, const struct matrix *lm_head)
{
    linear_forward(cm, &b->linear, logits, lm_head->rows, hidden, lm_head->cols, n, lm_head);
}
