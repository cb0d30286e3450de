/* The linear layers: each shape with its weight packed beforehand, and through model/linear.h with
 * packing included. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "bench/bench_work.h"
#include "engine/mixer_sample.h"
#include "formats/weights.h"
#include "kernels/mxfp4.h"
#include "model/linear.h"

/* Weights come from memory as in a run: calls walk through more of them than a cache holds (in a
 * smaller model through as many as it has), a piece of the size that linear_forward() packs at once
 * (16 MB of f32) at a time. */
#define POOL_BYTES ((size_t)64 << 20)
#define PIECE_VALUES ((size_t)1 << 22)

/* ---- the shapes of a model ------------------------------------------------------ */

struct shape_list {
    struct bench_shape *shapes;
    size_t n;
};

/* A linear layer, or one more name of a shape that is there already. */
static void add(struct shape_list *list, struct bench_shape shape)
{
    for (size_t i = 0; i < list->n; i++) {
        struct bench_shape *s = &list->shapes[i];
        if (s->rows != shape.rows || s->n != shape.n || s->k != shape.k || s->use != shape.use)
            continue;
        size_t used = strlen(s->name);
        snprintf(s->name + used, sizeof s->name - used, ", %s", shape.name);
        s->per_token += shape.per_token;
        return;
    }
    if (list->n < BENCH_SHAPES_MOST)
        list->shapes[list->n++] = shape;
}

/* Tokens that meet one expert, at most as many as are measured elsewhere. */
static size_t expert_rows(const struct config *c)
{
    size_t rows = BENCH_TOKENS * c->num_experts_per_tok / c->num_experts;
    return rows == 0 ? 1 : size_min(rows, BENCH_ROWS_MOST);
}

/* Linear layers of one shape, by the first of them; a token meets `times` of them in a layer. */
static const struct group {
    const char *label, *name;
    size_t times;
    enum bench_use use;
} groups[] = {
    { "linear_attn.in_proj_qkv",  "in_proj_qkv",         1, BENCH_PLAIN },
    { "linear_attn.in_proj_z",    "in_proj_z",           1, BENCH_PLAIN },
    { "linear_attn.in_proj_a",    "in_proj_a and b",     2, BENCH_PLAIN },
    { "linear_attn.out_proj",     "out_proj",            1, BENCH_PLAIN },
    { "self_attn.q_proj",         "q_proj",              1, BENCH_PLAIN },
    { "self_attn.k_proj",         "k_proj and v_proj",   2, BENCH_PLAIN },
    { "self_attn.o_proj",         "o_proj",              1, BENCH_PLAIN },
    { "mlp.gate",                 "router",              1, BENCH_PLAIN },
    { "mlp.shared_expert_gate",   "shared_expert_gate",  1, BENCH_PLAIN },
    { "mlp.shared_expert.gate_proj", "shared gate and up", 2, BENCH_PLAIN },
    { "mlp.shared_expert.down_proj", "shared down",      1, BENCH_PLAIN },
    { "gate_proj",                "experts gate and up", 2, BENCH_MLP   },
    { "down_proj",                "experts down",        1, BENCH_MLP   },
    { "mlp.gate_proj",            "mlp gate and up",     2, BENCH_MLP   },
    { "mlp.down_proj",            "mlp down",            1, BENCH_MLP   },
    { "lm_head",                  "head",                0, BENCH_HEAD  },
};
#define N_GROUPS (sizeof groups / sizeof *groups)

/* The shapes of one group, in the first layer that has it. */
struct search {
    const struct group *group;
    size_t rows, cols;              /* 0: the model has no such layer */
    bool is_expert;
};

static bool find(void *user, const struct model_weight *w)
{
    struct search *s = user;
    if (strcmp(w->label, s->group->label) != 0)
        return true;
    s->rows = w->rows;
    s->cols = w->cols;
    s->is_expert = w->num_experts > 0;
    return false;
}

size_t bench_products_shapes(struct bench_shape shapes[BENCH_SHAPES_MOST], const struct config *c)
{
    struct shape_list list = { shapes, 0 };
    bool linear = bench_has(c, LINEAR_ATTENTION);
    for (const struct group *g = groups; g < groups + N_GROUPS; g++) {
        struct search s = { .group = g };
        for (size_t i = 0; i <= c->num_hidden_layers && !s.rows; i++)
            weights_of_layer(c, i, find, &s);
        if (!s.rows)
            continue;
        /* The layer whose sum is made is one with linear attention where there is one. */
        bool in_layer = !linear || strncmp(g->label, "self_attn.", strlen("self_attn.")) != 0;
        struct bench_shape shape = {
            .rows = s.is_expert ? expert_rows(c) : BENCH_ROWS_MOST, .n = s.rows, .k = s.cols,
            .per_token = in_layer ? g->times * (s.is_expert ? c->num_experts_per_tok : 1) : 0,
            .use = g->use,
        };
        snprintf(shape.name, sizeof shape.name, "%s", g->name);
        add(&list, shape);
    }
    return list.n;
}

/* ---- one shape ------------------------------------------------------------------ */

struct product_work {
    struct compute cm;
    const struct bench_shape *shape;
    struct matrix w;                /* the piece of the weight of this call */
    uint8_t *pool, *scale;
    size_t pool_bytes, at;          /* at: the next piece in the pool */
    float *x;                       /* [rows, k] */
    size_t x_floats;                /* of the largest shape */
    float *out;                     /* [rows, ldo] */
    size_t ldo;
    struct packed_b packed;
    char *scratch;
};

static size_t piece_rows(const struct bench_shape *s)
{
    size_t rows = PIECE_VALUES / s->k / KERNEL_PANEL * KERNEL_PANEL;
    return size_min(size_max(rows, 2 * KERNEL_PANEL), s->n);
}

/* Buffers of one shape, from the start of an arena that may only measure: pool and x of all shapes
 * are the same. */
static void work_take(struct product_work *p, struct arena *a, const struct bench_shape *s)
{
    size_t piece = piece_rows(s);
    a->used = 0;
    p->shape = s;
    p->at = 0;
    p->w = (struct matrix){ .dtype = DTYPE_BF16, .rows = piece, .cols = s->k };
    /* The head's logits are one tile of the vocabulary, other outputs whole. */
    p->ldo = s->use == BENCH_HEAD ? piece : s->n;
    p->pool = arena_take(a, p->pool_bytes, 1);
    p->x = arena_take(a, p->x_floats, sizeof *p->x);
    p->scale = arena_take(a, p->pool_bytes / (mxfp4_block_size() / 2), 1);
    p->out = arena_take(a, s->rows * p->ldo, sizeof *p->out);
    p->packed = linear_packed_take(a, &p->cm, &p->w, piece);
    p->scratch = linear_scratch_take(a, &p->cm);
}

/* Weights of size 2^-7 in BF16, which are any codes in MXFP4. */
static void fill(struct product_work *p)
{
    for (size_t i = 0; i + 2 <= p->pool_bytes; i += 2) {
        uint16_t half = (uint16_t)((i * 40503 >> 3 & 0x807F) | 0x3C00);
        memcpy(p->pool + i, &half, sizeof half);
    }
    memset(p->scale, 120, p->pool_bytes / (mxfp4_block_size() / 2));
    mixer_sample_fill(p->x, p->x_floats);
}

/* Memory for all shapes. */
static bool allocate(struct product_work *p, struct arena *a, const struct bench_shape *shapes,
                     size_t n, struct error *err)
{
    size_t experts = size_max(p->cm.config->num_experts, 1);
    for (size_t i = 0; i < n; i++) {
        const struct bench_shape *s = &shapes[i];
        size_t weight = 2 * s->n * s->k * (s->use == BENCH_MLP ? experts : 1);
        size_t pool = size_max(size_min(weight, POOL_BYTES), 2 * piece_rows(s) * s->k);
        p->pool_bytes = size_max(p->pool_bytes, pool);
        p->x_floats = size_max(p->x_floats, shapes[i].rows * shapes[i].k);
    }
    for (int type = 0; type < COMPUTE_TYPES; type++)
        for (size_t i = 0; i < n; i++) {
            p->cm.type = (enum compute_type)type;
            work_take(p, a, &shapes[i]);
        }
    size_t has = machine_free_memory();
    if (has && a->peak > has / 4 * 3)
        return error_set(err, "products of these shapes need %zu MB, of which %zu are free",
                         a->peak >> 20, has >> 20);
    if (!arena_allocate(a, err))
        return false;
    work_take(p, a, &shapes[0]);
    fill(p);
    return true;
}

static void pack(struct product_work *p)
{
    linear_pack_weight(&p->cm, &p->packed, &(struct weight_slice){ &p->w, 0, p->w.rows, 0 },
                       p->scratch);
}

/* By the threads of a parallel region, while `next` is prefetched. */
static void multiply(struct product_work *p, const struct matrix *next)
{
    size_t k = p->shape->k;
    const struct row_blocks blocks = linear_row_blocks(&p->cm, p->shape->rows, KERNEL_ROWS);
#pragma omp for schedule(dynamic)
    for (size_t i = 0; i < blocks.count; i++) {
        size_t t = linear_block_begin(&blocks, i), rows = linear_block_begin(&blocks, i + 1) - t;
        struct prefetch prefetch = { 0 };
        linear_prefetch_add(&prefetch, next, 0, next->rows, i, blocks.count);
        linear_multiply(&p->cm, p->out + t * p->ldo, p->ldo, p->x + t * k, k, rows, &p->packed,
                        &prefetch, p->scratch);
    }
}

/* As linear_forward() does, and experts_forward() but for its overlap: while a piece is used, the
 * next one comes in. */
static void with_packing(void *user)
{
    struct product_work *p = user;
    size_t bytes = p->w.rows * stored_row_bytes(&p->w);
    struct matrix next = p->w;
    p->w.data = p->pool + p->at;
    p->at = p->at + 2 * bytes <= p->pool_bytes ? p->at + bytes : 0;
    next.data = p->pool + p->at;
#pragma omp parallel num_threads(p->cm.n_threads)
    {
        pack(p);
        multiply(p, &next);
    }
}

static void packed_before(void *user)
{
    struct product_work *p = user;
    const struct matrix none = { .dtype = p->w.dtype, .cols = p->w.cols };
#pragma omp parallel num_threads(p->cm.n_threads)
    multiply(p, &none);
}

static bool is_narrow(const struct bench_shape *s)
{
    return s->n <= KERNEL_PANEL;    /* nothing to learn from its parts */
}

static bool has_mxfp4(const struct bench_shape *s)
{
    return s->use == BENCH_MLP && s->k % mxfp4_block_size() == 0;
}

/* Adds a figure, which stays at *figure until the next one. */
static bool measure(struct bench *b, struct product_work *p, const char *weights,
                    const struct bench_figure **figure, struct error *err)
{
    const struct bench_shape *s = p->shape;
    bool packed = strcmp(weights, "packed") == 0;
    struct bench_figure f = {
        .kind = BENCH_PRODUCT, .type = p->cm.type, .weights = weights, .m = s->rows, .n = s->n,
        .k = s->k, .flop = 2 * (double)(s->rows * p->w.rows) * (double)s->k,
    };
    memcpy(f.name, s->name, sizeof f.name);
    if (packed) {
        p->w.data = p->pool;
#pragma omp parallel num_threads(p->cm.n_threads)
        pack(p);
    }
    if (!bench_add(b, &f, packed ? packed_before : with_packing, p, err))
        return false;
    *figure = &b->result->figures[b->result->n_figures - 1];
    return true;
}

static bool measure_shape(struct bench *b, struct product_work *p, struct error *err)
{
    const struct bench_shape *s = p->shape;
    struct bench_layer *layer = &b->result->layer;
    double flop = 2 * (double)(BENCH_TOKENS * s->per_token) * (double)s->n * (double)s->k;
    const struct bench_figure *f;
    if (!is_narrow(s) && !measure(b, p, "packed", &f, err))
        return false;
    if (!measure(b, p, "BF16", &f, err))
        return false;
    layer->seconds[p->cm.type] += flop / f->flop * f->seconds;
    layer->seconds_at_limit[p->cm.type] += flop / f->limit;
    if (has_mxfp4(s)) {
        p->w.dtype = DTYPE_MXFP4;
        p->w.scale = p->scale;
        p->at = 0;
        if (!measure(b, p, "MXFP4", &f, err))
            return false;
    }
    layer->seconds_mxfp4[p->cm.type] += flop / f->flop * f->seconds;
    if (p->cm.type == COMPUTE_F32)
        layer->flop += flop;
    return true;
}

bool bench_products(struct bench *b, struct error *err)
{
    struct bench_shape shapes[BENCH_SHAPES_MOST];
    size_t n = bench_products_shapes(shapes, b->config);
    b->result->linear_attention = bench_has(b->config, LINEAR_ATTENTION);
    struct arena arena = { 0 };
    struct product_work p = { .cm = { .config = b->config, .kernels = b->kernels,
                                      .n_threads = b->result->n_threads } };
    bool ok = allocate(&p, &arena, shapes, n, err);
    for (size_t i = 0; ok && i < COMPUTE_TYPES * n; i++) {
        p.cm.type = i < n ? COMPUTE_F32 : COMPUTE_BF16;
        work_take(&p, &arena, &shapes[i % n]);
        ok = measure_shape(b, &p, err);
    }
    arena_free(&arena);
    return ok;
}

size_t bench_products_count(const struct config *c)
{
    struct bench_shape shapes[BENCH_SHAPES_MOST];
    size_t n = bench_products_shapes(shapes, c), count = 0;
    for (size_t i = 0; i < n; i++)
        count += 1u + !is_narrow(&shapes[i]) + has_mxfp4(&shapes[i]);
    return COMPUTE_TYPES * count;
}
