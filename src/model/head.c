#include "model/head.h"

#include <math.h>
#include <omp.h>

#include "model/linear.h"
#include "model/norm.h"
#include "model/vocabulary.h"

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

struct head_pass {
    const struct compute *cm;
    const struct head_task *task;
    struct running *running;        /* [n] */
    float *target_row;              /* [threads, D] */
};

static void take(void *user, size_t token, size_t first, size_t ids,
                 float *const logits[VOCABULARY_SIDES])
{
    const struct head_pass *p = user;
    const struct head_task *task = p->task;
    size_t D = p->cm->config->hidden_size;
    running_add(&p->running[token], p->cm, logits[0], first, ids, (size_t)task->targets[token],
                task->hidden + token * D, task->lm_head,
                p->target_row + (size_t)omp_get_thread_num() * D);
}

bool head_forward(const struct compute *cm, const struct head_task *task, size_t *bad,
                  struct error *err)
{
    size_t D = cm->config->hidden_size, mark = cm->arena->used;
    struct head_pass p = {
        .cm = cm, .task = task,
        .running = arena_take(cm->arena, task->n, sizeof *p.running),
        .target_row = arena_take(cm->arena, (size_t)cm->n_threads, D * sizeof(float)),
    };
    const struct vocabulary_task logits = {
        .sides = { { cm, task->hidden, task->lm_head, task->feed, task->first_part } },
        .n_sides = 1, .n = task->n, .take = take, .user = &p, .progress = task->progress,
    };
    if (cm->arena->block) {
        *bad = task->n;
        for (size_t t = 0; t < task->n; t++)
            p.running[t] = (struct running){ .max = -INFINITY, .top_logit = -INFINITY };
    }
    bool ok = vocabulary_pass(&logits, err);
    cm->arena->used = mark;
    if (!ok || !cm->arena->block)
        return ok;
    for (size_t t = 0; t < task->n && *bad == task->n; t++) {
        finish(&task->scores[t], &p.running[t]);
        if (!isfinite(task->scores[t].nll) || !isfinite(task->scores[t].logsumexp))
            *bad = t;
    }
    return *bad == task->n;
}

void head_logits(const struct compute *cm, float *logits, float *hidden, const float *x, size_t n,
                 const struct matrix *norm, const struct matrix *lm_head)
{
    size_t mark = cm->arena->used;
    float *weight = vector_take(cm, norm, 1);
    rms_norm_rows(cm, hidden, x, n, weight);
    linear(cm, logits, lm_head->rows, hidden, lm_head->cols, n, lm_head);
    cm->arena->used = mark;
}
