/* Gated attention against the formula in double, whole windows and pieces. */
#include "model/attention.h"

#include <math.h>

#include "tests/differ.h"
#include "tests/unit/model/model_fixture.h"

static void norm(double *x, const struct matrix *w, size_t d, double eps)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < d; i++)
        x[i] *= (1 + (double)matrix_at(w, 0, i)) / sqrt(sum / (double)d + eps);
}

static void turn(double *x, const struct config *c, size_t position)
{
    size_t half = c->rotary_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double angle =
            (double)position / pow(c->rope_theta, 2.0 * (double)i / (double)c->rotary_dim);
        double a = x[i], b = x[i + half];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + half] = b * cos(angle) + a * sin(angle);
    }
}

/* One window of T tokens, h [T, D] -> out [T, D]. */
static void truth(double *out, const struct config *c, const struct attention_weights *w,
                  const float *h, size_t T)
{
    size_t D = c->hidden_size, H = c->num_attention_heads, KV = c->num_key_value_heads,
           d = c->head_dim;
    double *q = malloc(T * H * 2 * d * sizeof *q), *k = malloc(T * KV * d * sizeof *k);
    double *v = malloc(T * KV * d * sizeof *v), *mixed = malloc(H * d * sizeof *mixed);
    double *x = malloc(D * sizeof *x), *p = malloc(T * sizeof *p);
    for (size_t t = 0; t < T; t++) {
        for (size_t i = 0; i < D; i++)
            x[i] = (double)h[t * D + i];
        matrix_times(q + t * H * 2 * d, &w->q_proj, x);
        matrix_times(k + t * KV * d, &w->k_proj, x);
        matrix_times(v + t * KV * d, &w->v_proj, x);
        for (size_t g = 0; g < H; g++) {
            norm(q + (t * H + g) * 2 * d, &w->q_norm, d, c->rms_norm_eps);
            turn(q + (t * H + g) * 2 * d, c, t);
        }
        for (size_t g = 0; g < KV; g++) {
            norm(k + (t * KV + g) * d, &w->k_norm, d, c->rms_norm_eps);
            turn(k + (t * KV + g) * d, c, t);
        }
        for (size_t g = 0; g < H; g++) {
            const double *query = q + (t * H + g) * 2 * d;
            double sum = 0;
            for (size_t s = 0; s <= t; s++) {
                double score = 0;
                for (size_t i = 0; i < d; i++)
                    score += query[i] * k[(s * KV + g / (H / KV)) * d + i];
                sum += p[s] = exp(score / sqrt((double)d));
            }
            for (size_t i = 0; i < d; i++) {
                double value = 0;
                for (size_t s = 0; s <= t; s++)
                    value += p[s] / sum * v[(s * KV + g / (H / KV)) * d + i];
                mixed[g * d + i] = value / (1 + exp(-query[d + i]));
            }
        }
        matrix_times(out + t * D, &w->o_proj, mixed);
    }
    free(q), free(k), free(v), free(mixed), free(x), free(p);
}

/* Windows whose first rows come in two tiles and the others one at a time, with few rows, in blocks
 * of f32: the third form of the same formula. */
static void in_steps(float *out, const struct compute *prefill, const struct attention_weights *w,
                     const struct matrix *h, const struct batch *b)
{
    const struct config *c = prefill->config;
    struct compute cm = *prefill;
    struct error err = { 0 };
    struct kv_shape shape = { DTYPE_F32, 1, c->num_key_value_heads, c->head_dim };
    struct kv_pool pool;
    struct kv_table table;
    struct attention_state state, *states = &state;
    size_t D = c->hidden_size;
    bool ok = kv_pool_open(&pool, &shape, kv_pool_blocks(b->longest), &err);
    for (size_t n = 0; ok && n < b->n_windows; n++) {
        size_t T = b->start[n + 1] - b->start[n], done = 0, rows;
        ok = kv_table_open(&table, &pool, T, &err) && kv_table_reserve(&table, 0, T, &err);
        attention_state_init_blocks(&state, &table, 0);
        for (; done < T; done += rows) {
            rows = done < T / 4 ? T / 4 : done < T / 3 ? T / 3 - done : 1;
            const size_t start[] = { 0, rows };
            const struct tile t = { .n = rows, .n_windows = 1, .start = start,
                                    .n_output_rows = rows };
            struct arena arena = test_arena();
            cm.few_rows = done >= T / 3;
            struct attention_buffers buffers =
                attention_buffers_take(&arena, &cm, rows, rows, rows);
            float *used = arena_take(&arena, rows, D * sizeof *used);
            size_t at = (b->start[n] + done) * D;
            memcpy(used, (const float *)h->data + at, rows * D * sizeof *used);
            attention_forward(&cm, &buffers, out + at, used, w, &t, &states);
            arena_free(&arena);
        }
        kv_table_close(&table);
    }
    check(ok && pool.n_free == pool.n_blocks, "blocks come back", "%s", err.message);
    kv_pool_close(&pool);
}

int main(void)
{
    static const struct {
        const char *name;
        size_t H, KV, d, rotary, n, lengths[3], tile;
    } cases[] = {
        { "grouped queries", 4, 2, 16, 4, 2, { 70, 33 }, 128 },
        { "one KV head for all", 8, 1, 8, 8, 3, { 1, 2, 40 }, 64 },
        { "as many KV heads as queries", 3, 3, 12, 6, 1, { 131 }, 192 },
        { "pieces of a long window", 4, 2, 16, 4, 2, { 300, 20 }, 64 },
        { "a key block and one", 2, 1, 20, 10, 1, { 129 }, 256 },
    };
    struct random r = { 11 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t D = 24, H = cases[i].H, KV = cases[i].KV, d = cases[i].d;
        struct config c = { .hidden_size = D, .num_attention_heads = H, .num_key_value_heads = KV,
                            .head_dim = d, .rotary_dim = cases[i].rotary, .rope_theta = 1e4,
                            .rms_norm_eps = 1e-6 };
        struct attention_weights w = {
            random_matrix(&r, H * 2 * d, D, 0.3f), random_matrix(&r, KV * d, D, 0.3f),
            random_matrix(&r, KV * d, D, 0.3f), random_matrix(&r, D, H * d, 0.3f),
            random_matrix(&r, 1, d, 0.3f), random_matrix(&r, 1, d, 0.3f) };
        struct batch b = batch_of(cases[i].lengths, cases[i].n);
        struct matrix h = random_matrix(&r, b.n_tokens, D, 1);
        float *out = malloc(b.n_tokens * D * sizeof *out);
        double *expected = malloc(b.n_tokens * D * sizeof *expected);
        char where[DIFFER_TEXT] = "";
        bool near = true;
        struct arena arena = test_arena();
        for (size_t s = 0; s < 2; s++) {
            struct compute cm = { .config = &c, .kernels = s ? &kernels_openblas : &kernels_scalar,
                                  .n_threads = 2 };
            size_t rows = cases[i].tile;
            struct attention_buffers buffers =
                attention_buffers_take(&arena, &cm, rows, rows, rows);
            float *used = arena_take(&arena, rows, D * sizeof *used);
            void *memory = arena_take(&arena, 1, attention_state_bytes(&c, b.longest));
            struct attention_state state, *states = &state;
            struct tile t = { 0 };
            while (tile_next(&t, &b, rows)) {
                if (t.row == t.start[0])
                    attention_state_init(&state, &c, b.longest, memory);
                memcpy(used, (const float *)h.data + t.row * D, t.n * D * sizeof *used);
                attention_forward(&cm, &buffers, out + t.row * D, used, &w, &t,
                                  t.is_piece ? &states : NULL);
            }
            for (size_t n = 0; n < b.n_windows; n++)
                truth(expected + b.start[n] * D, &c, &w, (const float *)h.data + b.start[n] * D,
                      b.start[n + 1] - b.start[n]);
            /* Outputs are of size 1; each is two f32 sums of some tens of products. */
            near = near_f32(where, out, expected, b.n_tokens * D, 3e-6) && near;
            in_steps(out, &cm, &w, &h, &b);
            near = near_f32(where, out, expected, b.n_tokens * D, 3e-6) && near;
            arena.used = 0;
        }
        check(near, cases[i].name, "%s", where);
        const struct matrix *all[] = { &w.q_proj, &w.k_proj, &w.v_proj, &w.o_proj, &w.q_norm,
                                       &w.k_norm, &h };
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            free((void *)(uintptr_t)all[j]->data);
        free(out), free(expected), free((void *)(uintptr_t)b.start);
        arena_free(&arena);
    }
    return check_done();
}
