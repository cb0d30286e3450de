/* Sequences that go through whole layers step by step, several in one call, which join and leave
 * between calls: each has the bits that it has alone, and, where it is cut at chunks of the delta
 * rule, those of one call. */
#include "model/layer.h"

#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

enum { STEPS = 5, SEQUENCES = 3, D = FIXTURE_HIDDEN };

static const struct {
    const char *name;
    size_t tile;
    bool experts;
    bool last_row;                  /* the last call is asked for the last row of each sequence */
    size_t rows[STEPS][SEQUENCES];  /* of each sequence in each call; 0: it is not in it */
} cases[] = {
    { "three pasts, cut at chunks", 192, true,  false, { { 0, 64, 128 }, { 37, 100, 1 } } },
    { "cut anywhere",               192, false, false, { { 5, 70, 1 }, { 37, 100, 1 },
                                                         { 1, 1, 1 } } },
    { "they join and leave",        128, true,  false, { { 70, 0, 0 }, { 1, 33, 0 }, { 1, 1, 0 },
                                                         { 0, 1, 64 }, { 0, 1, 1 } } },
    { "one row each",               192, true,  false, { { 64, 128, 0 }, { 1, 1, 1 }, { 1, 1, 1 },
                                                         { 1, 1, 1 } } },
    { "shorter than a convolution", 64,  false, false, { { 1, 2, 0 }, { 1, 1, 1 }, { 2, 1, 3 } } },
    { "more rows than a tile",      64,  true,  false, { { 64, 0, 128 }, { 200, 300, 1 },
                                                         { 1, 1, 1 } } },
    { "only the last rows",         64,  false, true,  { { 64, 0, 128 }, { 70, 150, 9 } } },
};

/* One layer and what it computes with. */
struct layer {
    struct compute cm;
    enum layer_type type;
    struct layer_weights w;
    size_t tile;
    struct arena *arena;
};

struct sequence {
    const float *x;                 /* [total, D]: input */
    float *out;                     /* [total, D] */
    size_t done, total;             /* rows */
    struct attention_state keys;
    struct delta_net_state delta_net;
    void *memory;                   /* of both */
};

static struct sequence sequence_of(const struct layer *l, const float *x, size_t total)
{
    const struct config *c = l->cm.config;
    size_t keys = attention_state_bytes(c, total);
    struct sequence s = { .x = x, .out = calloc(total * D, sizeof(float)), .total = total,
                          .memory = aligned_alloc(64, keys + delta_net_state_bytes(c)) };
    memset(s.memory, 0xFF, keys + delta_net_state_bytes(c));    /* NaN: not read */
    attention_state_init(&s.keys, c, total, s.memory);
    delta_net_state_init(&s.delta_net, c, (char *)s.memory + keys);
    return s;
}

static void sequence_free(struct sequence *s)
{
    free(s->out), free(s->memory);
}

static bool need(void *user, size_t part, struct error *err)
{
    (void)user, (void)part, (void)err;
    return true;
}

static void done(void *user, size_t part)
{
    (void)user, (void)part;
}

/* One call: the next rows[i] rows of each of n sequences, or all of each. */
static void call(const struct layer *l, struct sequence *const *sequences, const size_t *rows,
                 size_t n, bool continues, bool last_row)
{
    struct attention_state *keys[SEQUENCES];
    struct delta_net_state *delta_net[SEQUENCES];
    struct batch b = batch_of(rows, n);
    size_t k = l->cm.config->num_experts_per_tok, rows_done = 0, output_rows[SEQUENCES + 1] = { 0 };
    float *x = malloc(b.n_tokens * D * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        const struct sequence *s = sequences[i];
        memcpy(x + b.start[i] * D, s->x + s->done * D, rows[i] * D * sizeof *x);
        keys[i] = &sequences[i]->keys;
        delta_net[i] = &sequences[i]->delta_net;
        output_rows[i + 1] = output_rows[i] + 1;
    }
    b.output_rows = last_row ? output_rows : NULL;
    const struct weight_feed feed = { need, done, NULL };
    struct layer_task task = {
        .type = l->type, .weights = &l->w, .batch = b, .x = x, .tile_tokens = l->tile,
        .feed = &feed, .rows_done = &rows_done,
        .attention_states = continues ? keys : NULL,
        .delta_net_states = continues ? delta_net : NULL,
        .routing = { malloc(b.n_tokens * k * sizeof(int32_t) + 1),
                     malloc(b.n_tokens * k * sizeof(float) + 1) },
    };
    struct error err = { 0 };
    l->arena->used = 0;
    const struct layer_shape shape = layer_shape_of(&task);
    struct layer_buffers buffers = layer_buffers_take(l->arena, &l->cm, &shape);
    bool ok = layer_mixer(&l->cm, &task, &buffers, &err);
    rows_done = 0;
    if (!ok || !layer_mlp(&l->cm, &task, &buffers, &err))
        check(false, "the layer runs", "%s", err.message);
    for (size_t i = 0; i < n; i++) {
        struct sequence *s = sequences[i];
        memcpy(s->out + s->done * D, x + b.start[i] * D, rows[i] * D * sizeof *x);
        s->done += rows[i];
    }
    free(x), free(task.routing.expert), free(task.routing.weight), free((void *)(uintptr_t)b.start);
}

/* The calls of a case with the sequences of the mask alone; every other call in another order. */
static void run(const struct layer *l, size_t k, struct sequence *sequences, unsigned mask)
{
    size_t last = STEPS - 1;
    while (!cases[k].rows[last][0] && !cases[k].rows[last][1] && !cases[k].rows[last][2])
        last--;
    for (size_t step = 0; step <= last; step++) {
        struct sequence *in[SEQUENCES];
        size_t rows[SEQUENCES], n = 0;
        for (size_t j = 0; j < SEQUENCES; j++) {
            size_t i = step % 2 ? SEQUENCES - 1 - j : j;
            if (!(mask >> i & 1) || !cases[k].rows[step][i])
                continue;
            in[n] = &sequences[i];
            rows[n++] = cases[k].rows[step][i];
        }
        if (n)
            call(l, in, rows, n, true, cases[k].last_row && step == last);
    }
}

/* Rows of sequence i, and whether each call but the first begins at a chunk of the delta rule. */
static size_t total_of(size_t k, size_t i, bool *at_chunks)
{
    size_t total = 0;
    *at_chunks = true;
    for (size_t step = 0; step < STEPS; step++) {
        *at_chunks = *at_chunks && (!cases[k].rows[step][i] || total % DELTA_CHUNK == 0);
        total += cases[k].rows[step][i];
    }
    return total;
}

static bool same_states(char *where, const struct layer *l, const struct sequence *a,
                        const struct sequence *b)
{
    const struct config *c = l->cm.config;
    size_t kv = c->num_key_value_heads * c->head_dim * a->total;
    size_t S = c->linear_num_value_heads * c->linear_key_head_dim * c->linear_value_head_dim;
    return l->type == FULL_ATTENTION
         ? a->keys.n_past == a->total && b->keys.n_past == a->total
           && same_f32(where, a->keys.k, b->keys.k, kv) && same_f32(where, a->keys.v, b->keys.v, kv)
         : a->delta_net.n_past == a->total && b->delta_net.n_past == a->total
           && same_f32(where, a->delta_net.recurrent_state, b->delta_net.recurrent_state, S);
}

static void test_case(const struct layer *l, size_t k, const float *x, const char *name)
{
    struct sequence together[SEQUENCES], alone[SEQUENCES];
    char where[DIFFER_TEXT] = "";
    bool same = true, same_state = true, same_whole = true;
    for (size_t i = 0; i < SEQUENCES; i++) {
        bool at_chunks;
        size_t total = total_of(k, i, &at_chunks);
        together[i] = sequence_of(l, x + i * D, total);
        alone[i] = sequence_of(l, x + i * D, total);
    }
    run(l, k, together, 7);
    for (size_t i = 0; i < SEQUENCES; i++) {
        bool at_chunks;
        size_t total = total_of(k, i, &at_chunks), from = cases[k].last_row ? (total - 1) * D : 0;
        struct sequence whole = sequence_of(l, x + i * D, total), *one = &whole;
        run(l, k, alone, 1u << i);
        same = same && same_f32(where, together[i].out, alone[i].out, total * D);
        same_state = same_state && same_states(where, l, &together[i], &alone[i]);
        call(l, &one, &total, 1, false, false);
        if (at_chunks || l->type == FULL_ATTENTION)
            same_whole = same_whole && same_f32(where, together[i].out + from, whole.out + from,
                                                total * D - from);
        sequence_free(&whole);
    }
    check(same && same_state && same_whole, name, "rows as alone: %d, states: %d, as in one call: "
          "%d; %s", same, same_state, same_whole, where);
    for (size_t i = 0; i < SEQUENCES; i++)
        sequence_free(&together[i]), sequence_free(&alone[i]);
}

static void test_kernels(const struct kernels *kn, struct arena *arena)
{
    struct random r = { 8 };
    struct matrix x = random_matrix(&r, 512, D, 1);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct config c = fixture_config(cases[k].experts);
        struct layer l = { .w = random_layer(&r, &c), .tile = cases[k].tile, .arena = arena };
        for (int full = 0; full < 2; full++)
            for (int type = 0; type < COMPUTE_TYPES; type++) {
                char name[128];
                l.cm = (struct compute){ .config = &c, .kernels = kn, .n_threads = 2,
                                         .type = (enum compute_type)type };
                l.type = full ? FULL_ATTENTION : LINEAR_ATTENTION;
                snprintf(name, sizeof name, "%s %s %s: %s", kn->isa,
                         kernels_compute_name(l.cm.type), full ? "attention" : "delta net",
                         cases[k].name);
                test_case(&l, k, (const float *)x.data, name);
            }
        free_layer(&l.w);
    }
    free((void *)(uintptr_t)x.data);
}

/* What a budget counts. */
static void test_bytes(void)
{
    const struct config c = fixture_config(false);
    size_t kv = c.num_key_value_heads * c.head_dim, row = 2 * kv * sizeof(float);
    static const struct { const char *name; size_t n_tokens; } sizes[] = {
        { "no tokens", 0 }, { "one token", 1 }, { "many", 262144 },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t n = sizes[i].n_tokens, bytes = attention_state_bytes(&c, n);
        check(bytes >= n * row && bytes < n * row + 128 && bytes % 64 == 0, sizes[i].name, "%zu",
              bytes);
    }
    size_t too_many = attention_state_bytes(&c, SIZE_MAX / row + 1);
    check(too_many == SIZE_MAX, "more tokens than bytes can be counted for", "%zu", too_many);
}

int main(void)
{
    struct arena arena = test_arena();
    test_bytes();
    for (size_t i = 0; i < N_ISAS; i++) {
        struct error err = { 0 };
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn)
            check_skip(isas[i], err.message);
        else if (!kn->gemm[COMPUTE_F32]->tile)
            check_skip(isas[i], "BLAS sums in an order that depends on the rows of a product");
        else
            test_kernels(kn, &arena);
    }
    arena_free(&arena);
    return check_done();
}
