#include "model/acceptance.h"

#include <stdint.h>

static void consume(void *user, size_t token, size_t first, size_t ids,
                    float *const logits[VOCABULARY_SIDES])
{
    const struct acceptance_task *task = user;
    /* Those of f32: probabilities are not rounded in BF16 compute. */
    const struct row_kernels *rows = task->sides[0].cm->kernels->rows;
    const float *p = logits[0], *q = logits[1];
    double sum = 0;
    (void)first;
    for (int side = 0; side < VOCABULARY_SIDES; side++)
        rows->exp_sum(logits[side], task->logsumexp[side][token], ids);
    for (size_t i = 0; i < ids; i++)
        sum += (double)(p[i] < q[i] ? p[i] : q[i]);
    task->accepted[token] += sum;
}

bool acceptance_forward(const struct acceptance_task *task, const struct vocabulary_buffers *b,
                        struct error *err)
{
    const struct vocabulary_task logits = {
        .sides = { task->sides[0], task->sides[1] }, .n_sides = VOCABULARY_SIDES, .n = task->n,
        .consume = consume, .user = (void *)(uintptr_t)task, .progress = task->progress,
    };
    for (size_t t = 0; t < task->n; t++)
        task->accepted[t] = 0;
    return vocabulary_pass(&logits, b, err);
}
