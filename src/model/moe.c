#include "model/moe.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/linear.h"
#include "model/mlp.h"

/* Tokens that meet an expert at a time: their gathered rows and intermediates are one thread's. */
#define EXPERT_BLOCK KERNEL_ROWS        /* at most */

void moe_route(int32_t *expert, float *weight, double *probability, const float *router_logits,
               size_t num_experts, size_t top_k)
{
    double max = (double)router_logits[0], sum = 0, kept = 0;
    for (size_t e = 1; e < num_experts; e++)
        max = (double)router_logits[e] > max ? (double)router_logits[e] : max;
    for (size_t e = 0; e < num_experts; e++) {
        probability[e] = exp((double)router_logits[e] - max);
        sum += probability[e];
    }
    for (size_t slot = 0; slot < top_k; slot++) {
        size_t best = 0;
        for (size_t e = 1; e < num_experts; e++)
            if (probability[e] > probability[best])
                best = e;
        expert[slot] = (int32_t)best;
        /* sum carries a NaN of any expert into every weight, so that it is not lost. */
        weight[slot] = (float)(probability[best] + 0 * sum);
        kept += probability[best];
        probability[best] = -1;
    }
    for (size_t slot = 0; slot < top_k; slot++)
        weight[slot] = (float)((double)weight[slot] / kept);
}

void moe_begin(const struct compute *cm, float *out, const float *h, size_t n,
               const struct layer_weights *w, struct routing *routing, size_t row)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, E = c->num_experts, k = c->num_experts_per_tok;
    size_t mark = cm->arena->used;
    float *router_logits = arena_take(cm->arena, n, E * sizeof *router_logits);
    float *shared_gate = arena_take(cm->arena, n, sizeof *shared_gate);
    double *probability = arena_take(cm->arena, (size_t)cm->n_threads, E * sizeof *probability);
    linear(cm, router_logits, E, h, D, n, &w->router);
    linear(cm, shared_gate, 1, h, D, n, &w->shared_expert_gate);
    mlp_forward(cm, out, h, n, &w->shared_expert);
    const struct row_kernels *rows = compute_rows(cm);
    if (probability) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++) {
            moe_route(routing->expert + (row + t) * k, routing->weight + (row + t) * k,
                      probability + (size_t)omp_get_thread_num() * E, router_logits + t * E, E, k);
            rows->round(routing->weight + (row + t) * k, k);
            shared_gate[t] = (float)(1 / (1 + exp(-(double)shared_gate[t])));
            rows->round(&shared_gate[t], 1);
            rows->scale(out + t * D, shared_gate[t], D);
            rows->round(out + t * D, D);
        }
    }
    cm->arena->used = mark;
}

/* ---- routed experts ------------------------------------------------------ */

struct group {                      /* the (token, slot) pairs of all experts */
    size_t *begin;                  /* [E + 1]: expert e has pairs [begin[e], begin[e + 1]) */
    size_t *pair;                   /* [n_tokens * k]: token * k + slot, ascending by expert, token */
};

/* Counting sort by expert; tokens stay in order. */
static void group_by_expert(struct group *g, const struct routing *r, size_t n_pairs, size_t E)
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

/* gate and up are one operand, so that rows of x are packed once for both. */
struct packed_expert {
    struct packed_weight gate_up;   /* [D, gate_up_columns] */
    struct packed_weight down;      /* [I, D] */
};

/* Where up begins: columns of gate, whole tiles of them. */
static size_t up_column(const struct compute *cm)
{
    const struct products *pr = linear_products(cm);
    size_t I = cm->config->moe_intermediate_size, step = pr->col_step(pr);
    return (I + step - 1) / step * step;
}

static size_t gate_up_columns(const struct compute *cm)
{
    return up_column(cm) + cm->config->moe_intermediate_size;
}

/* One block of an expert's tokens; buffers are the thread's own. */
struct expert_block {
    float *x, *y;                   /* [EXPERT_BLOCK, D] */
    float *gate_up;                 /* [EXPERT_BLOCK, gate_up_columns] */
};

static struct expert_block *blocks_take(const struct compute *cm)
{
    size_t D = cm->config->hidden_size, columns = gate_up_columns(cm);
    size_t threads = (size_t)cm->n_threads;
    struct expert_block *blocks = arena_take(cm->arena, threads, sizeof *blocks);
    for (size_t i = 0; i < threads; i++) {
        struct expert_block b = { .x = arena_take(cm->arena, EXPERT_BLOCK, D * sizeof(float)),
                                  .y = arena_take(cm->arena, EXPERT_BLOCK, D * sizeof(float)),
                                  .gate_up = arena_take(cm->arena, EXPERT_BLOCK,
                                                        columns * sizeof(float)) };
        if (blocks)
            blocks[i] = b;
    }
    return blocks;
}

struct experts_task {
    float *out;
    const float *x, *norm;
    const struct routing *routing;
    struct packed_expert packed;    /* of the present expert */
    char *scratch;
    struct expert_block *blocks;    /* [threads] */
};

/* n of an expert's (token, slot) pairs; a token has an expert once, so threads that share an
 * expert never meet in `out`. */
static void expert_on_block(const struct compute *cm, const struct experts_task *task,
                            const size_t *pair, size_t n,
                            const struct soon soon[2])
{
    const struct config *c = cm->config;
    const struct row_kernels *rows = compute_rows(cm);
    const struct expert_block *b = &task->blocks[omp_get_thread_num()];
    size_t up = up_column(cm), columns = gate_up_columns(cm);
    size_t D = c->hidden_size, I = c->moe_intermediate_size, k = c->num_experts_per_tok;
    for (size_t i = 0; i < n; i++)
        rows->rms_norm(b->x + i * D, task->x + pair[i] / k * D, task->norm, D, c->rms_norm_eps);
    multiply_packed(cm, b->gate_up, columns, b->x, D, n, &task->packed.gate_up, &soon[0],
                    task->scratch);
    for (size_t i = 0; i < n; i++)
        rows->mul_silu(b->gate_up + i * columns + up, b->gate_up + i * columns, I);
    multiply_packed(cm, b->y, D, b->gate_up + up, columns, n, &task->packed.down, &soon[1],
                    task->scratch);
    for (size_t i = 0; i < n; i++)
        rows->add_scaled(task->out + pair[i] / k * D, b->y + i * D, task->routing->weight[pair[i]], D);
}

/* Block i of an expert's tokens, while a share of the next expert's weights comes in. */
static void expert_on_part(const struct compute *cm, const struct experts_task *task,
                           const struct mlp_weights *next, const size_t *pair,
                           const struct row_blocks *blocks, size_t i)
{
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    size_t first = block_begin(blocks, i);
    struct soon soon[2] = { 0 };
    soon_add(&soon[0], &next->gate, 0, I, i, blocks->count);
    soon_add(&soon[0], &next->up, 0, I, i, blocks->count);
    soon_add(&soon[1], &next->down, 0, D, i, blocks->count);
    expert_on_block(cm, task, pair + first, block_begin(blocks, i + 1) - first, soon);
}

/* What gate and up share, and what goes into down: n rows that expert_on_block left in this thread's
 * buffers. */
static void show_inputs(const struct compute *cm, const struct experts_task *task,
                        const struct mlp_weights *w, size_t n)
{
    const struct expert_block *b = &task->blocks[omp_get_thread_num()];
    const struct input_watch *inputs = cm->inputs;
    inputs->see(inputs->user, &w->gate, b->x, w->gate.cols, n, 1);
    inputs->see(inputs->user, &w->down, b->gate_up + up_column(cm), gate_up_columns(cm), n, 1);
}

/* All blocks, by every thread of a parallel region; inputs are shown in the tokens' order, for which
 * threads wait. */
static void expert_on_tokens(const struct compute *cm, const struct experts_task *task,
                             const struct mlp_weights *w, const struct mlp_weights *next,
                             const size_t *pair, const struct row_blocks *blocks)
{
    if (!cm->inputs) {
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < blocks->count; i++)
            expert_on_part(cm, task, next, pair, blocks, i);
        return;
    }
#pragma omp for schedule(dynamic) ordered
    for (size_t i = 0; i < blocks->count; i++) {
        expert_on_part(cm, task, next, pair, blocks, i);
#pragma omp ordered
        show_inputs(cm, task, w, block_begin(blocks, i + 1) - block_begin(blocks, i));
    }
}

/* One expert on all its tokens.  next: the one whose weights come in meanwhile. */
static void expert_forward(const struct compute *cm, struct experts_task *task,
                           const struct mlp_weights *w, const struct mlp_weights *next,
                           const size_t *pair, size_t n)
{
    size_t D = cm->config->hidden_size, I = cm->config->moe_intermediate_size;
    const struct weight_operand gate = { &w->gate, 0, I, 0 }, up = { &w->up, 0, I, up_column(cm) };
    const struct weight_operand down = { &w->down, 0, D, 0 };
    const struct row_blocks blocks = row_blocks_of(cm, n, EXPERT_BLOCK);
    const struct products *pr = linear_products(cm);
    /* Each expert may be stored in its own way. */
    task->packed.gate_up.halves = pr->takes_halves(pr, &w->gate) && pr->takes_halves(pr, &w->up);
    task->packed.down.halves = pr->takes_halves(pr, &w->down);
#pragma omp parallel num_threads(cm->n_threads)
    {
        pack_weight(cm, &task->packed.gate_up, &gate, task->scratch);
        pack_weight(cm, &task->packed.gate_up, &up, task->scratch);
        pack_weight(cm, &task->packed.down, &down, task->scratch);
        expert_on_tokens(cm, task, w, next, pair, &blocks);
    }
}

bool moe_experts(const struct compute *cm, float *out, const float *x, const float *norm,
                 size_t n_tokens, const struct layer_weights *w, const struct routing *routing,
                 const struct expert_watch *watch, struct error *err)
{
    const struct config *c = cm->config;
    size_t E = c->num_experts, n_pairs = n_tokens * c->num_experts_per_tok, mark = cm->arena->used;
    struct group g = { arena_take(cm->arena, E + 1, sizeof *g.begin),
                       arena_take(cm->arena, n_pairs, sizeof *g.pair) };
    struct experts_task task = {
        .out = out, .x = x, .norm = norm, .routing = routing,
        .packed = { packed_take(cm, &w->experts[0].gate, gate_up_columns(cm)),
                    packed_take(cm, &w->experts[0].down, c->hidden_size) },
        .scratch = product_scratch_take(cm),
        .blocks = blocks_take(cm),
    };
    bool going = true;
    if (task.blocks)
        group_by_expert(&g, routing, n_pairs, E);
    for (size_t e = 0; task.blocks && going && e < E; e++) {
        size_t n = g.begin[e + 1] - g.begin[e];
        going = watch->begin(watch->user, e, err);
        if (going && n > 0)
            expert_forward(cm, &task, &w->experts[e], &w->experts[size_min(e + 1, E - 1)],
                           g.pair + g.begin[e], n);
        going = going && watch->end(watch->user, e, E, err);
    }
    cm->arena->used = mark;
    return going;
}
