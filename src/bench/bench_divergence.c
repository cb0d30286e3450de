/* KL divergence of two models, as a comparison has it: two heads packed, both products, and what
 * becomes of each tile's logits, beside the plain product of a head. */
#include <string.h>

#include "bench/bench_work.h"
#include "engine/mixer_sample.h"
#include "model/divergence.h"

#define VOCABULARY_ROWS (2 * VOCABULARY_TILE)   /* of each head; the rest would only repeat */

struct divergence_work {
    struct compute cm;
    struct matrix heads[2];
    uint16_t *weights[2];               /* BF16 */
    float *hidden[2];
    struct divergence_row *rows;
    struct divergence_buffers buffers;
};

static struct divergence_task task_of(const struct divergence_work *w)
{
    return (struct divergence_task){
        .sides = { { &w->cm, w->hidden[0], &w->heads[0], NULL, 0 },
                   { &w->cm, w->hidden[1], &w->heads[1], NULL, 0 } },
        .n = BENCH_ROWS_MOST, .rows = w->rows };
}

static void run(void *user)
{
    const struct divergence_work *w = user;
    const struct divergence_task task = task_of(w);
    divergence_forward(&task, &w->buffers, NULL);
}

/* From the start of an arena that may only measure. */
static void take(struct divergence_work *w, struct arena *a, size_t V, size_t D)
{
    a->used = 0;
    w->rows = arena_take(a, BENCH_ROWS_MOST, sizeof *w->rows);
    for (int i = 0; i < 2; i++) {
        w->hidden[i] = arena_take(a, BENCH_ROWS_MOST * D, sizeof(float));
        w->weights[i] = arena_take(a, V * D, sizeof(uint16_t));
        w->heads[i] = (struct matrix){ .dtype = DTYPE_BF16, .rows = V, .cols = D,
                                         .data = (const uint8_t *)w->weights[i] };
    }
    const struct divergence_task task = task_of(w);
    w->buffers = divergence_buffers_take(a, task.sides, task.n);
}

/* Values of size one in both heads, in other places. */
static void fill(const struct divergence_work *w, size_t V, size_t D)
{
    for (size_t i = 0; i < 2; i++) {
        mixer_sample_fill(w->hidden[i], BENCH_ROWS_MOST * D);
        for (size_t j = 0; j < V * D; j++)
            w->weights[i][j] = (uint16_t)(((j + i) * 40503 >> 3 & 0x807F) | 0x3C00);
    }
}

/* FLOP a second of the head's product with BF16 weights, which was measured before. */
static double head_rate(const struct bench_result *r, enum compute_type type)
{
    for (size_t i = 0; i < r->n_figures; i++) {
        const struct bench_figure *f = &r->figures[i];
        if (f->kind == BENCH_PRODUCT && f->type == type && strcmp(f->name, "head") == 0
            && strcmp(f->weights, "BF16") == 0)
            return f->flop / f->seconds;
    }
    return 0;
}

static bool measure(struct bench *b, struct divergence_work *w, size_t V, struct error *err)
{
    struct bench_result *r = b->result;
    size_t D = b->config->hidden_size;
    const struct bench_figure f = {
        .kind = BENCH_PRODUCT, .name = "KL divergence, two heads", .type = w->cm.type,
        .weights = "BF16", .m = BENCH_ROWS_MOST, .n = b->config->vocab_size, .k = D,
        .flop = 2 * 2.0 * (double)(BENCH_ROWS_MOST * V) * (double)D,
    };
    double head = head_rate(r, w->cm.type);
    if (!bench_add(b, &f, run, w, err))
        return false;
    r->divergence_share[w->cm.type] = f.flop / r->figures[r->n_figures - 1].seconds / head;
    return true;
}

bool bench_divergence(struct bench *b, struct error *err)
{
    struct arena arena = { 0 };
    struct divergence_work w = { .cm = { .config = b->config, .kernels = b->kernels,
                                         .n_threads = b->result->n_threads } };
    size_t V = size_min(b->config->vocab_size, VOCABULARY_ROWS), D = b->config->hidden_size;
    for (int type = 0; type < COMPUTE_TYPES; type++) {
        w.cm.type = (enum compute_type)type;
        take(&w, &arena, V, D);
    }
    bool ok = arena_allocate(&arena, err);
    if (ok) {
        take(&w, &arena, V, D);
        fill(&w, V, D);
    }
    for (int type = 0; ok && type < COMPUTE_TYPES; type++) {
        w.cm.type = (enum compute_type)type;
        take(&w, &arena, V, D);
        ok = measure(b, &w, V, err);
    }
    arena_free(&arena);
    return ok;
}
