#include "model/divergence.h"

#include <math.h>

/* The first choices of one model, best first. */
struct top {
    float logit[DIVERGENCE_TOP];
    int32_t id[DIVERGENCE_TOP];
};

struct divergence_running {         /* over the vocabulary seen so far, A and B */
    struct exp_sums sums;
    struct top top[2];
};

struct divergence_pass {
    const struct divergence_task *task;
    const struct divergence_buffers *b;
};

/* Places that no id takes are alike in both models. */
static void begin(struct divergence_running *r)
{
    *r = (struct divergence_running){ .sums.max = { -INFINITY, -INFINITY } };
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < DIVERGENCE_TOP; i++) {
            r->top[side].logit[i] = -INFINITY;
            r->top[side].id[i] = -1 - i;
        }
}

static void top_insert(struct top *top, float logit, int32_t id)
{
    int i = DIVERGENCE_TOP - 1;
    for (; i > 0 && logit > top->logit[i - 1]; i--) {
        top->logit[i] = top->logit[i - 1];
        top->id[i] = top->id[i - 1];
    }
    top->logit[i] = logit;
    top->id[i] = id;
}

/* Ids come in ascending order, so that an equal logit comes too late. */
static void top_add(struct top *top, const float *logits, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (logits[i] > top->logit[DIVERGENCE_TOP - 1])
            top_insert(top, logits[i], (int32_t)(first + i));
}

static void raise_max(struct exp_sums *s, int side, float max)
{
    double factor = exp((double)s->max[side] - (double)max);
    s->sum[side] *= factor;
    s->difference[side] *= factor;
    s->max[side] = max;
}

static void consume(void *user, size_t token, size_t first, size_t ids,
                    float *const logits[VOCABULARY_SIDES])
{
    const struct divergence_pass *p = user;
    struct divergence_running *r = &p->b->running[token];
    const struct row_kernels *rows = compute_rows(p->task->sides[0].cm);
    for (int side = 0; side < 2; side++) {
        float max = rows->max(logits[side], ids);
        if (max > r->top[side].logit[DIVERGENCE_TOP - 1])
            top_add(&r->top[side], logits[side], first, ids);
        if (max > r->sums.max[side])
            raise_max(&r->sums, side, max);
    }
    rows->add_exp_sums(&r->sums, logits[0], logits[1], ids);
}

static int overlap(const struct top *a, const struct top *b)
{
    int n = 0;
    for (int i = 0; i < DIVERGENCE_TOP; i++)
        for (int j = 0; j < DIVERGENCE_TOP; j++)
            n += a->id[i] == b->id[j];
    return n;
}

static void finish(struct divergence_row *row, const struct divergence_running *r)
{
    const struct exp_sums *s = &r->sums;
    double lse_difference = (double)s->max[1] - (double)s->max[0] + log(s->sum[1] / s->sum[0]);
    double kld = s->difference[0] / s->sum[0] + lse_difference;
    double kld_reverse = s->difference[1] / s->sum[1] - lse_difference;
    *row = (struct divergence_row){
        .kld = kld < 0 ? 0 : kld, .kld_reverse = kld_reverse < 0 ? 0 : kld_reverse,
        .top_a = (float)(1 / s->sum[0]), .overlap5 = (int8_t)overlap(&r->top[0], &r->top[1]),
        .same_top1 = r->top[0].id[0] == r->top[1].id[0],
    };
}

struct divergence_buffers
divergence_buffers_take(struct arena *a, const struct vocabulary_side sides[VOCABULARY_SIDES],
                        size_t n)
{
    return (struct divergence_buffers){
        .running = arena_take(a, n, sizeof(struct divergence_running)),
        .vocabulary = vocabulary_buffers_take(a, sides, VOCABULARY_SIDES),
    };
}

bool divergence_forward(const struct divergence_task *task, const struct divergence_buffers *b,
                        struct error *err)
{
    struct divergence_pass p = { task, b };
    const struct vocabulary_task logits = {
        .sides = { task->sides[0], task->sides[1] }, .n_sides = 2, .n = task->n, .consume = consume,
        .user = &p, .progress = task->progress,
    };
    for (size_t t = 0; t < task->n; t++)
        begin(&b->running[t]);
    if (!vocabulary_pass(&logits, &b->vocabulary, err))
        return false;
    for (size_t t = 0; t < task->n; t++) {
        const struct divergence_row *row = &task->rows[t];
        finish(&task->rows[t], &b->running[t]);
        if (!isfinite(row->kld) || !isfinite(row->kld_reverse))
            return error_set(err, "KL divergence: NaN or infinity in the logits of scored token "
                             "%zu", task->first_row + t);
    }
    return true;
}
