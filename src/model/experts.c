#include "model/experts.h"

#include <omp.h>
#include <string.h>

#include "model/linear.h"

/* Tokens of an expert that one thread computes at a time, with their gathered rows and
 * intermediates; at most. */
#define EXPERT_BLOCK KERNEL_ROWS

/* Counting sort by expert; tokens stay in order. */
static void group_by_expert(const struct expert_groups *g, const struct routing *r, size_t n_pairs,
                            size_t E)
{
    memset(g->begin, 0, (E + 1) * sizeof *g->begin);
    for (size_t p = 0; p < n_pairs; p++)
        g->begin[r->expert[p] + 1]++;
    for (size_t e = 0; e < E; e++)
        g->begin[e + 1] += g->begin[e];
    for (size_t p = 0; p < n_pairs; p++)
        g->pair[g->begin[r->expert[p]]++] = p;
    for (size_t e = E; e > 0; e--)              /* each begin moved to its end: move them back */
        g->begin[e] = g->begin[e - 1];
    g->begin[0] = 0;
}

/* Where up begins: columns of gate, whole tiles of them. */
static size_t up_column(const struct compute *cm)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t I = cm->config->moe_intermediate_size, step = ops->nr(ops);
    return (I + step - 1) / step * step;
}

static size_t gate_up_columns(const struct compute *cm)
{
    return up_column(cm) + cm->config->moe_intermediate_size;
}

/* Room for any expert; how its weights are stored is known when they are packed. */
static struct packed_expert packed_expert_take(struct arena *a, const struct compute *cm)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    size_t columns = gate_up_columns(cm);
    return (struct packed_expert){
        .gate_up = { .data = arena_take(a, 1, ops->packed_bytes(ops, columns, D)), .n = columns,
                     .k = D },
        .down = { .data = arena_take(a, 1, ops->packed_bytes(ops, D, I)), .n = D, .k = I },
    };
}

static struct experts_few_rows few_rows_take(struct arena *a, const struct compute *cm,
                                             size_t pairs)
{
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    return (struct experts_few_rows){
        .x = arena_take(a, pairs, D * sizeof(float)),
        .gate = arena_take(a, pairs, I * sizeof(float)),
        .up = arena_take(a, pairs, I * sizeof(float)),
        .y = arena_take(a, pairs, D * sizeof(float)),
        .linear = linear_few_rows_take(a, cm, size_max(D, I)),
    };
}

struct experts_buffers experts_buffers_take(struct arena *a, const struct compute *cm,
                                            size_t n_tokens)
{
    const struct config *c = cm->config;
    struct experts_buffers b = {
        .groups = { .begin = arena_take(a, c->num_experts + 1, sizeof(size_t)),
                    .pair = arena_take(a, n_tokens, c->num_experts_per_tok * sizeof(size_t)) },
        .bad_slot = arena_take(a, n_tokens, sizeof(int32_t)),
    };
    if (cm->few_rows) {
        b.few = few_rows_take(a, cm, n_tokens * c->num_experts_per_tok);
        return b;
    }
    size_t D = c->hidden_size, columns = gate_up_columns(cm), value = sizeof(float);
    for (size_t i = 0; i < 2; i++)
        b.packed[i] = packed_expert_take(a, cm);
    b.gemm_scratch = linear_scratch_take(a, cm);
    b.x = thread_buffers_take(a, cm->n_threads, EXPERT_BLOCK * D, value);
    b.y = thread_buffers_take(a, cm->n_threads, EXPERT_BLOCK * D, value);
    b.gate_up = thread_buffers_take(a, cm->n_threads, EXPERT_BLOCK * columns, value);
    return b;
}

struct experts_task {
    float *out;
    const float *x, *norm;
    const struct routing *routing;
    const struct mlp_weights *experts;  /* [E] */
    struct experts_buffers b;
};

static size_t tokens_of(const struct experts_task *task, size_t expert)
{
    return task->b.groups.begin[expert + 1] - task->b.groups.begin[expert];
}

/* Notes the slots of pairs whose output y [n, D] is not finite.  The residual stream shows that
 * there is one, but not which expert it is from.  No other thread notes for the same tokens
 * meanwhile. */
static void note_not_finite(const struct compute *cm, const struct experts_task *task,
                            const size_t *pair, const float *y, size_t n)
{
    size_t D = cm->config->hidden_size, k = cm->config->num_experts_per_tok;
    for (size_t i = 0; i < n; i++) {
        int32_t *bad_slot = &task->b.bad_slot[pair[i] / k], slot = (int32_t)(pair[i] % k);
        if (!compute_rows(cm)->all_finite(y + i * D, D) && slot < *bad_slot)
            *bad_slot = slot;
    }
}

/* n of an expert's (token, slot) pairs.  A token has an expert once, so two threads of one expert
 * never write the same row of `out`. */
static void expert_on_block(const struct compute *cm, const struct experts_task *task,
                            size_t expert, const size_t *pair, size_t n,
                            const struct prefetch prefetch[2])
{
    const struct config *c = cm->config;
    const struct row_kernels *rows = compute_rows(cm);
    const struct packed_expert *packed = &task->b.packed[expert % 2];
    float *x = thread_buffer(&task->b.x), *y = thread_buffer(&task->b.y);
    float *gate = thread_buffer(&task->b.gate_up), *up = gate + up_column(cm);
    size_t D = c->hidden_size, I = c->moe_intermediate_size, k = c->num_experts_per_tok;
    size_t columns = gate_up_columns(cm);
    for (size_t i = 0; i < n; i++)
        rows->rms_norm(x + i * D, task->x + pair[i] / k * D, task->norm, D, c->rms_norm_eps);
    linear_multiply(cm, gate, columns, x, D, n, &packed->gate_up, &prefetch[0],
                    task->b.gemm_scratch);
    for (size_t i = 0; i < n; i++)
        rows->mul_silu(up + i * columns, gate + i * columns, I);
    linear_multiply(cm, y, D, up, columns, n, &packed->down, &prefetch[1], task->b.gemm_scratch);
    note_not_finite(cm, task, pair, y, n);
    for (size_t i = 0; i < n; i++)
        rows->add_scaled(task->out + pair[i] / k * D, y + i * D, task->routing->weight[pair[i]], D);
}

/* Block i of an expert's tokens; prefetches a part of the next expert's weights. */
static void expert_on_part(const struct compute *cm, const struct experts_task *task, size_t expert,
                           const struct row_blocks *blocks, size_t i)
{
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    size_t last = cm->config->num_experts - 1, first = linear_block_begin(blocks, i);
    const struct mlp_weights *next = &task->experts[size_min(expert + 1, last)];
    struct prefetch prefetch[2] = { 0 };
    linear_prefetch_add(&prefetch[0], &next->gate, 0, I, i, blocks->count);
    linear_prefetch_add(&prefetch[0], &next->up, 0, I, i, blocks->count);
    linear_prefetch_add(&prefetch[1], &next->down, 0, D, i, blocks->count);
    expert_on_block(cm, task, expert, task->b.groups.pair + task->b.groups.begin[expert] + first,
                    linear_block_begin(blocks, i + 1) - first, prefetch);
}

/* Gives the observer the input that gate and up share, and the input of down: n rows that
 * expert_on_block left in this thread's buffers. */
static void observe_inputs(const struct compute *cm, const struct experts_task *task,
                           const struct mlp_weights *w, size_t n)
{
    const struct input_observer *observer = cm->observer;
    const float *x = thread_buffer(&task->b.x), *gate_up = thread_buffer(&task->b.gate_up);
    observer->observe(observer->user, &w->gate, x, w->gate.cols, n, 1);
    observer->observe(observer->user, &w->down, gate_up + up_column(cm), gate_up_columns(cm), n, 1);
}

/* All blocks, by every thread of a parallel region.  The observer gets inputs in the tokens' order,
 * so threads wait for each other. */
static void expert_observed(const struct compute *cm, const struct experts_task *task,
                            size_t expert, const struct row_blocks *blocks)
{
#pragma omp for schedule(dynamic) ordered
    for (size_t i = 0; i < blocks->count; i++) {
        expert_on_part(cm, task, expert, blocks, i);
#pragma omp ordered
        observe_inputs(cm, task, &task->experts[expert],
                       linear_block_begin(blocks, i + 1) - linear_block_begin(blocks, i));
    }
}

enum { PROJECTIONS = 3 };

/* The slices of an expert's weights, and the buffers into which they are packed. */
struct packing {
    struct weight_slice slice[PROJECTIONS];
    const struct packed_b *to[PROJECTIONS];
    size_t pieces;
};

/* Empty if the expert has no tokens or does not exist (expert == E). */
static struct packing packing_of(const struct compute *cm, struct experts_task *task,
                                 size_t expert)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    if (expert >= cm->config->num_experts || tokens_of(task, expert) == 0)
        return (struct packing){ .pieces = 0 };
    const struct mlp_weights *w = &task->experts[expert];
    struct packed_expert *to = &task->b.packed[expert % 2];
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    /* Each expert may be stored in its own way. */
    to->gate_up.bf16_pairs = ops->takes_bf16_pairs(ops, &w->gate)
                          && ops->takes_bf16_pairs(ops, &w->up);
    to->down.bf16_pairs = ops->takes_bf16_pairs(ops, &w->down);
    struct packing packing = {
        .slice = { { &w->gate, 0, I, 0 }, { &w->up, 0, I, up_column(cm) }, { &w->down, 0, D, 0 } },
        .to = { &to->gate_up, &to->gate_up, &to->down },
    };
    for (size_t i = 0; i < PROJECTIONS; i++)
        packing.pieces += linear_pack_pieces(&packing.slice[i]);
    return packing;
}

static void packing_piece(const struct compute *cm, const struct packing *p, size_t piece,
                          char *scratch)
{
    size_t i = 0;
    for (; piece >= linear_pack_pieces(&p->slice[i]); i++)
        piece -= linear_pack_pieces(&p->slice[i]);
    linear_pack_piece(cm, p->to[i], &p->slice[i], piece, scratch);
}

/* Runs expert `now`; threads that finish early pack the weights of `next`.  Either may be E:
 * none. */
static void experts_step(const struct compute *cm, struct experts_task *task, size_t now,
                         size_t next)
{
    size_t E = cm->config->num_experts, n = now < E ? tokens_of(task, now) : 0;
    const struct row_blocks blocks = linear_row_blocks(cm, n, EXPERT_BLOCK);
    const struct packing packing = packing_of(cm, task, next);
    bool observed = cm->observer && n > 0;
    size_t parts = observed ? 0 : blocks.count;
    if (n == 0 && packing.pieces == 0)
        return;
#pragma omp parallel num_threads(cm->n_threads)
    {
        if (observed)
            expert_observed(cm, task, now, &blocks);
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < parts + packing.pieces; i++)
            if (i < parts)
                expert_on_part(cm, task, now, &blocks, i);
            else
                packing_piece(cm, &packing, i - parts, task->b.gemm_scratch);
    }
}

/* ---- a few rows -------------------------------------------------------------- */

/* The product of each expert's rows with one of its weights, chosen by `weight`, by every thread of
 * a parallel region; they wait for each other at the end. */
static void multiply_few_rows(const struct compute *cm, const struct experts_task *task, float *out,
                              const float *x, const struct matrix *(*weight)(
                                  const struct mlp_weights *))
{
    const size_t *begin = task->b.groups.begin;
    for (size_t e = 0; e < cm->config->num_experts; e++) {
        const struct matrix *w = weight(&task->experts[e]);
        if (tokens_of(task, e))
            linear_few_rows(cm, &task->b.few.linear, out + begin[e] * w->rows, w->rows,
                            x + begin[e] * w->cols, w->cols, tokens_of(task, e), w);
    }
}

static const struct matrix *gate_of(const struct mlp_weights *w)
{
    return &w->gate;
}

static const struct matrix *up_of(const struct mlp_weights *w)
{
    return &w->up;
}

static const struct matrix *down_of(const struct mlp_weights *w)
{
    return &w->down;
}

/* A token's experts by ascending index, as expert_on_block adds them. */
static void add_pairs(const struct compute *cm, const struct experts_task *task, size_t token,
                      size_t n_pairs)
{
    size_t D = cm->config->hidden_size, k = cm->config->num_experts_per_tok;
    for (size_t p = 0; p < n_pairs; p++) {
        size_t pair = task->b.groups.pair[p];
        const float *y = task->b.few.y + p * D;
        if (pair / k != token)
            continue;
        note_not_finite(cm, task, &pair, y, 1);
        compute_rows(cm)->add_scaled(task->out + token * D, y, task->routing->weight[pair], D);
    }
}

static void run_few_rows(const struct compute *cm, const struct experts_task *task, size_t n_tokens)
{
    const struct config *c = cm->config;
    const struct experts_few_rows *b = &task->b.few;
    const struct row_kernels *rows = compute_rows(cm);
    size_t D = c->hidden_size, I = c->moe_intermediate_size, k = c->num_experts_per_tok;
    size_t n_pairs = n_tokens * k;
#pragma omp parallel num_threads(cm->n_threads)
    {
#pragma omp for schedule(static)
        for (size_t p = 0; p < n_pairs; p++)
            rows->rms_norm(b->x + p * D, task->x + task->b.groups.pair[p] / k * D, task->norm, D,
                           c->rms_norm_eps);
        multiply_few_rows(cm, task, b->gate, b->x, gate_of);
        multiply_few_rows(cm, task, b->up, b->x, up_of);
#pragma omp barrier
#pragma omp for schedule(static)
        for (size_t p = 0; p < n_pairs; p++)
            rows->mul_silu(b->up + p * I, b->gate + p * I, I);
        multiply_few_rows(cm, task, b->y, b->up, down_of);
#pragma omp barrier
#pragma omp for schedule(static)
        for (size_t t = 0; t < n_tokens; t++)
            add_pairs(cm, task, t, n_pairs);
    }
}

static bool forward_few_rows(const struct compute *cm, const struct experts_task *task,
                             size_t n_tokens, const struct expert_callbacks *callbacks,
                             struct error *err)
{
    size_t E = cm->config->num_experts;
    for (size_t e = 0; e < E; e++)
        if (tokens_of(task, e) && !callbacks->begin(callbacks->user, e, err))
            return false;
    run_few_rows(cm, task, n_tokens);
    for (size_t e = 0; e < E; e++)
        if (tokens_of(task, e) && !callbacks->end(callbacks->user, e, E, err))
            return false;
    return true;
}

bool experts_forward(const struct compute *cm, const struct experts_buffers *b, float *out,
                     const float *x, const float *norm, size_t n_tokens,
                     const struct layer_weights *w, const struct routing *routing,
                     const struct expert_callbacks *callbacks, struct error *err)
{
    size_t E = cm->config->num_experts, k = cm->config->num_experts_per_tok;
    size_t n_pairs = n_tokens * k;
    struct experts_task task = { .out = out, .x = x, .norm = norm, .routing = routing,
                                 .experts = w->experts, .b = *b };
    for (size_t t = 0; t < n_tokens; t++)
        b->bad_slot[t] = (int32_t)k;
    group_by_expert(&b->groups, routing, n_pairs, E);
    if (cm->few_rows)
        return forward_few_rows(cm, &task, n_tokens, callbacks, err);
    if (!callbacks->begin(callbacks->user, 0, err))
        return false;
    experts_step(cm, &task, E, 0);
    for (size_t e = 0; e < E; e++) {
        if (e + 1 < E && !callbacks->begin(callbacks->user, e + 1, err))
            return false;
        experts_step(cm, &task, e, e + 1);
        if (!callbacks->end(callbacks->user, e, E, err))
            return false;
    }
    return true;
}
