/* Routing by hand, and the grouped experts against a loop over tokens in double. */
#include "model/experts.h"

#include <math.h>

#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

static void test_route(void)
{
    static const struct {
        const char *name;
        float logits[4];
        size_t k;
        int32_t chosen[4];
        double weight[4];
    } cases[] = {
        { "by falling weight", { 0, 2, 1, -1 }, 2, { 1, 2 }, { 0.731058578630, 0.268941421370 } },
        { "top 1 has weight one", { 0, 2, 1, -1 }, 1, { 1 }, { 1 } },
        { "the lower index among equals", { 1, 3, 3, 3 }, 2, { 1, 2 }, { 0.5, 0.5 } },
        { "large logits do not overflow", { 3e38f, -3e38f, 0, 3e38f }, 2, { 0, 3 }, { 0.5, 0.5 } },
        { "all of them", { 0, 0, 0, 0 }, 4, { 0, 1, 2, 3 }, { 0.25, 0.25, 0.25, 0.25 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t expert[4];
        float weight[4];
        double scratch[4];
        moe_route(expert, weight, scratch, cases[i].logits, 4, cases[i].k);
        bool ok = true;
        for (size_t s = 0; s < cases[i].k; s++)
            ok = ok && expert[s] == cases[i].chosen[s]
              && fabs((double)weight[s] - cases[i].weight[s]) < 1e-7;
        check(ok, cases[i].name, "chose %d with %g first", (int)expert[0], (double)weight[0]);
    }
    float weight[4];
    int32_t expert[4];
    double scratch[4];
    moe_route(expert, weight, scratch, (const float[]){ 1, 2, NAN, 0 }, 4, 2);
    check(isnan(weight[0]) && isnan(weight[1]), "a NaN of an expert not chosen is not lost",
          "weights %g, %g", (double)weight[0], (double)weight[1]);
}

static void mlp_truth(double *y, const struct mlp_weights *w, const double *x)
{
    double *gate = malloc(w->gate.rows * sizeof *gate), *up = malloc(w->up.rows * sizeof *up);
    matrix_times(gate, &w->gate, x);
    matrix_times(up, &w->up, x);
    for (size_t i = 0; i < w->gate.rows; i++)
        up[i] *= gate[i] / (1 + exp(-gate[i]));
    matrix_times(y, &w->down, up);
    free(gate), free(up);
}

/* Each expert is begun and ended once, in order, and begun at most one ahead. */
struct calls {
    size_t begun, ended, total, stop_at;
    bool out_of_order;
};

static bool begin(void *user, size_t expert, struct error *err)
{
    struct calls *c = user;
    (void)err;
    c->out_of_order |= expert != c->begun || expert > c->ended + 1;
    c->begun++;
    return true;
}

static bool end(void *user, size_t expert, size_t num_experts, struct error *err)
{
    struct calls *c = user;
    (void)err;
    c->out_of_order |= expert != c->ended || expert >= c->begun;
    c->ended++;
    if (c->ended == num_experts)
        c->begun = c->ended = 0;
    return ++c->total != c->stop_at;
}

static void test_experts(void)
{
    enum { D = 20, I = 12, SHARED = 9, E = 7, K = 3, N = 600 };
    struct random r = { 5 };
    struct config c = { .hidden_size = D, .moe_intermediate_size = I, .num_experts = E,
                        .num_experts_per_tok = K, .shared_expert_intermediate_size = SHARED,
                        .rms_norm_eps = 1e-6 };
    struct mlp_weights experts[E];
    for (size_t e = 0; e < E; e++)
        experts[e] = random_mlp(&r, D, I);
    struct layer_weights w = { .router = random_matrix(&r, E, D, 1), .experts = experts,
                               .shared_expert = random_mlp(&r, D, SHARED),
                               .shared_expert_gate = random_matrix(&r, 1, D, 0.5f) };
    struct matrix x = random_matrix(&r, N, D, 1), norm = random_matrix(&r, 1, D, 0.2f);
    static float h[N * D], out[N * D], weight[N * K];
    static int32_t chosen[N * K];
    static double expected[N * D];
    char where[DIFFER_TEXT] = "";
    bool near = true;
    struct calls calls = { 0 };
    const struct expert_callbacks callbacks = { begin, end, &calls };
    struct arena arena = test_arena();
    struct routing routing = { chosen, weight };
    bool stopped = false;
    for (size_t s = 0; s < 2; s++) {
        struct compute cm = { .config = &c, .kernels = s ? &kernels_openblas : &kernels_scalar,
                              .n_threads = 2 };
        const struct moe_buffers moe = moe_buffers_take(&arena, &cm, N - 256);
        const struct experts_buffers buffers = experts_buffers_take(&arena, &cm, N);
        struct calls cut = { .stop_at = 2 };
        for (size_t t = 0; t < N; t++)
            cm.kernels->rows->rms_norm(h + t * D, (const float *)x.data + t * D,
                                 (const float *)norm.data, D, c.rms_norm_eps);
        moe_route_and_shared_expert(&cm, &moe, out, h, 256, &w, &routing, 0);   /* in two tiles */
        moe_route_and_shared_expert(&cm, &moe, out + 256 * D, h + 256 * D, N - 256, &w, &routing,
                                    256);
        experts_forward(&cm, &buffers, out, (const float *)x.data, (const float *)norm.data, N, &w,
                        &routing, &callbacks, NULL);
        for (size_t t = 0; t < N; t++) {
            double hx[D], y[D], sum[D], gate, logits[E], total = 0;
            for (size_t i = 0; i < D; i++)
                hx[i] = (double)h[t * D + i];
            mlp_truth(sum, &w.shared_expert, hx);
            matrix_times(&gate, &w.shared_expert_gate, hx);
            for (size_t i = 0; i < D; i++)
                sum[i] /= 1 + exp(-gate);
            matrix_times(logits, &w.router, hx);
            for (size_t slot = 0; slot < K; slot++)
                total += exp(logits[chosen[t * K + slot]]);
            for (size_t slot = 0; slot < K; slot++) {
                int32_t e = chosen[t * K + slot];
                mlp_truth(y, &experts[e], hx);
                for (size_t i = 0; i < D; i++)
                    sum[i] += exp(logits[e]) / total * y[i];
            }
            memcpy(expected + t * D, sum, sizeof sum);
        }
        /* Outputs are of size 1; each is a few f32 sums of some tens of products. */
        near = near_f32(where, out, expected, N * D, 3e-6) && near;
        stopped = !experts_forward(&cm, &buffers, out, (const float *)x.data,
                                   (const float *)norm.data, N, &w, &routing,
                                   &(struct expert_callbacks){ begin, end, &cut }, NULL)
               && cut.total == 2;
        arena.used = 0;
    }
    check(near, "grouped experts and shared expert", "%s", where);
    check(calls.total == 2 * E && !calls.out_of_order, "each expert begins and ends once, in order",
          "%zu ends, out of order %d", calls.total, calls.out_of_order);
    check(stopped, "experts stop when asked", "went on");
    for (size_t e = 0; e < E; e++)
        free_mlp(&experts[e]);
    free_mlp(&w.shared_expert);
    const struct matrix *all[] = { &w.router, &w.shared_expert_gate, &x, &norm };
    for (size_t j = 0; j < sizeof all / sizeof *all; j++)
        free((void *)(uintptr_t)all[j]->data);
    arena_free(&arena);
}

/* Experts of which projections are stored as BF16, each its own ones: the bits of all in F32. */
static void test_storage(void)
{
    enum { D = 33, I = 40, E = 9, K = 2, N = 90 };
    struct random r = { 6 };
    struct config c = { .hidden_size = D, .moe_intermediate_size = I, .num_experts = E,
                        .num_experts_per_tok = K, .rms_norm_eps = 1e-6 };
    struct mlp_weights plain[E], mixed[E];
    for (size_t e = 0; e < E; e++) {
        plain[e] = mixed[e] = random_mlp(&r, D, I);
        struct matrix *from[] = { &plain[e].gate, &plain[e].up, &plain[e].down };
        struct matrix *to[] = { &mixed[e].gate, &mixed[e].up, &mixed[e].down };
        for (size_t j = 0; j < 3; j++) {
            size_t n = from[j]->rows * from[j]->cols;
            float *values = (float *)(uintptr_t)from[j]->data;
            uint16_t *half = malloc(n * sizeof *half);
            if (e >> j & 1) {
                kernels_scalar.rows->round_bf16(values, n);
                kernels_scalar.rows->to_bf16(half, values, n);
                *to[j] = (struct matrix){ .dtype = DTYPE_BF16, .data = (const uint8_t *)half,
                                           .rows = from[j]->rows,
                                           .cols = from[j]->cols };
            } else {
                to[j]->data = memcpy(realloc(half, n * sizeof *values), values, n * sizeof *values);
            }
        }
    }
    struct matrix x = random_matrix(&r, N, D, 1), norm = random_matrix(&r, 1, D, 0.2f);
    int32_t chosen[N * K];
    float weight[N * K];
    for (size_t t = 0; t < N; t++)
        for (size_t k = 0; k < K; k++) {
            chosen[t * K + k] =
                (int32_t)((t + k * (1 + t % 5)) % (E - 1)); /* the last has no token */
            weight[t * K + k] = 0.5f;
        }
    struct mlp_weights *stored[] = { plain, mixed };
    struct arena arena = test_arena();
    for (size_t s = 0; s < N_ISAS; s++) {
        char name[96];
        static float out[2][N * D];
        snprintf(name, sizeof name, "%s experts stored in BF16 and F32", isas[s]);
        const struct kernels *kn = kernels_find(isas[s], NULL);
        if (!kn) {
            check_skip(name, "not of this CPU");
            continue;
        }
        for (size_t j = 0; j < 2; j++) {
            struct calls calls = { 0 };
            struct compute cm = { .config = &c, .kernels = kn, .n_threads = 2 };
            const struct experts_buffers buffers = experts_buffers_take(&arena, &cm, N);
            struct routing routing = { chosen, weight };
            struct layer_weights w = { .experts = stored[j] };
            memset(out[j], 0, sizeof out[j]);
            experts_forward(&cm, &buffers, out[j], (const float *)x.data, (const float *)norm.data,
                            N, &w, &routing, &(struct expert_callbacks){ begin, end, &calls },
                            NULL);
            arena.used = 0;
        }
        char where[DIFFER_TEXT] = "";
        check(same_f32(where, out[1], out[0], N * D) && out[0][0] != 0, name, "other bits: %s",
              where);
    }
    for (size_t e = 0; e < E; e++)
        free_mlp(&plain[e]), free_mlp(&mixed[e]);
    free((void *)(uintptr_t)x.data);
    free((void *)(uintptr_t)norm.data);
    arena_free(&arena);
}

int main(void)
{
    test_route();
    test_experts();
    test_storage();
    return check_done();
}
