/* Gated DeltaNet against its formulas in double (delta_net.h): whole windows and pieces of long
 * ones, every set of kernels. */
#include "model/delta_net.h"

#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

enum { D = 24, WINDOWS = 3 };

static const struct {
    const char *name;
    size_t HK, HV, dk, dv, width, lengths[WINDOWS], tile;
    float decay;                    /* scale of A_log and of dt_bias: how unlike the heads forget */
} cases[] = {
    { "one head of each",              1, 1, 8,  8,  4, { 20, 3, 1 },    128, 0.3f },
    { "value heads share key heads",   2, 6, 12, 10, 4, { 70, 33, 5 },   128, 0.3f },
    { "odd sizes",                     3, 3, 7,  5,  3, { 40, 41, 9 },   64,  0.3f },
    { "a convolution of one token",    1, 2, 8,  16, 1, { 30, 2, 66 },   128, 0.3f },
    { "windows shorter than the convolution", 1, 2, 8, 16, 4, { 1, 2, 3 }, 64, 0.3f },
    { "pieces of a long window",       2, 4, 16, 8,  4, { 300, 20, 129 }, 64, 0.3f },
    { "heads that forget at once",     2, 4, 16, 8,  4, { 150, 20, 65 },  64, 3 },
    { "more channels than a block",    8, 8, 32, 32, 2, { 70, 1, 1 },    64,  0.3f },
};

/* ---- the formulas -------------------------------------------------------------------- */

static double silu(double x)
{
    return x / (1 + exp(-x));
}

/* y [n] = M x of one token. */
static void project(double *y, const struct matrix *m, const double *x)
{
    matrix_times(y, m, x);
}

/* To length 1 / scale^-1; 1e-6 beneath the root, as upstream. */
static void to_unit(double *x, size_t n, double scale)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        x[i] *= scale / sqrt(sum + 1e-6);
}

/* Causal, channel by channel: mixed [T, channels] from qkv. */
static void convolve(double *mixed, const double *qkv, const struct matrix *conv1d, size_t T,
                     size_t channels)
{
    size_t width = conv1d->cols;
    for (size_t t = 0; t < T; t++)
        for (size_t c = 0; c < channels; c++) {
            double sum = 0;
            for (size_t j = 0; j < width; j++)
                if (t + j + 1 >= width)
                    sum +=
                        (double)matrix_at(conv1d, c, j) * qkv[(t + j + 1 - width) * channels + c];
            mixed[t * channels + c] = silu(sum);
        }
}

/* S *= decay; e = beta (v - S^T k); S += k e^T; out = S^T q. */
static void recur(double *out, double *S, const double *q, const double *k, const double *v,
                  double decay, double beta, size_t dk, size_t dv)
{
    for (size_t j = 0; j < dv; j++) {
        double e = 0;
        for (size_t i = 0; i < dk; i++) {
            S[i * dv + j] *= decay;
            e += S[i * dv + j] * k[i];
        }
        e = (v[j] - e) * beta;
        out[j] = 0;
        for (size_t i = 0; i < dk; i++) {
            S[i * dv + j] += k[i] * e;
            out[j] += S[i * dv + j] * q[i];
        }
    }
}

/* Normed, times weight, times SiLU(z). */
static void gated_norm(double *x, const double *z, const struct matrix *norm, size_t dv, double eps)
{
    double sum = 0;
    for (size_t j = 0; j < dv; j++)
        sum += x[j] * x[j];
    for (size_t j = 0; j < dv; j++)
        x[j] *= (double)matrix_at(norm, 0, j) * silu(z[j]) / sqrt(sum / (double)dv + eps);
}

/* One window: h [T, D] -> out [T, D]. */
static void truth(double *out, const struct config *c, const struct delta_net_weights *w,
                  const double *h, size_t T)
{
    size_t HK = c->linear_num_key_heads, HV = c->linear_num_value_heads,
           dk = c->linear_key_head_dim;
    size_t dv = c->linear_value_head_dim, channels = 2 * HK * dk + HV * dv;
    double *qkv = malloc(T * channels * sizeof *qkv), *mixed = malloc(T * channels * sizeof *mixed);
    double *z = malloc(HV * dv * sizeof *z), *o = malloc(HV * dv * sizeof *o),
           *S = calloc(HV * dk * dv, sizeof *S);
    double *a = malloc(HV * sizeof *a), *b = malloc(HV * sizeof *b);
    for (size_t t = 0; t < T; t++)
        project(qkv + t * channels, &w->in_proj_qkv, h + t * D);
    convolve(mixed, qkv, &w->conv1d, T, channels);
    for (size_t t = 0; t < T; t++) {
        double *q = mixed + t * channels, *k = q + HK * dk, *v = k + HK * dk;
        project(z, &w->in_proj_z, h + t * D);
        project(a, &w->in_proj_a, h + t * D);
        project(b, &w->in_proj_b, h + t * D);
        for (size_t head = 0; head < HK; head++) {
            to_unit(q + head * dk, dk, 1 / sqrt((double)dk));
            to_unit(k + head * dk, dk, 1);
        }
        for (size_t head = 0; head < HV; head++) {
            size_t of = head / (HV / HK) * dk;
            double step = log1p(exp(a[head] + (double)matrix_at(&w->dt_bias, 0, head)));
            double decay = exp(-exp((double)matrix_at(&w->A_log, 0, head)) * step);
            recur(o + head * dv, S + head * dk * dv, q + of, k + of, v + head * dv, decay,
                  1 / (1 + exp(-b[head])), dk, dv);
            gated_norm(o + head * dv, z + head * dv, &w->norm, dv, c->rms_norm_eps);
        }
        project(out + t * D, &w->out_proj, o);
    }
    free(qkv), free(mixed), free(z), free(o), free(S), free(a), free(b);
}

/* ---- cases ---------------------------------------------------------------------------- */

static struct delta_net_weights random_weights(struct random *r, const struct config *c,
                                               float decay)
{
    size_t HV = c->linear_num_value_heads, value = HV * c->linear_value_head_dim;
    size_t all = 2 * c->linear_num_key_heads * c->linear_key_head_dim + value;
    return (struct delta_net_weights){
        .in_proj_qkv = random_matrix(r, all, D, 0.3f),
        .in_proj_z = random_matrix(r, value, D, 0.3f),
        .in_proj_a = random_matrix(r, HV, D, 0.3f),
        .in_proj_b = random_matrix(r, HV, D, 0.3f),
        .conv1d = random_matrix(r, all, c->linear_conv_kernel_dim, 0.4f),
        .A_log = random_matrix(r, 1, HV, decay),
        .dt_bias = random_matrix(r, 1, HV, decay),
        .norm = random_matrix(r, 1, c->linear_value_head_dim, 1),
        .out_proj = random_matrix(r, D, value, 0.3f),
    };
}

static void free_weights(struct delta_net_weights *w)
{
    const struct matrix *all[] = { &w->in_proj_qkv, &w->in_proj_z, &w->in_proj_a,
                                   &w->in_proj_b,   &w->conv1d,    &w->A_log,
                                   &w->dt_bias,     &w->norm,      &w->out_proj };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free((void *)(uintptr_t)all[i]->data);
}

/* All tiles of the batch. */
static void forward(const struct kernels *kn, float *out, const struct matrix *h,
                    const struct config *c, const struct delta_net_weights *w,
                    const struct batch *b, size_t tile_tokens)
{
    struct arena arena = test_arena();
    const struct compute cm = { .config = c, .kernels = kn, .n_threads = 2 };
    struct delta_net_buffers buffers =
        delta_net_buffers_take(&arena, &cm, tile_tokens, tile_tokens);
    float *used = arena_take(&arena, tile_tokens, D * sizeof *used);
    void *memory = arena_take(&arena, 1, delta_net_state_bytes(c));
    struct delta_net_state state, *states = &state;
    struct tile t = { 0 };
    while (tile_next(&t, b, tile_tokens)) {
        if (t.row == t.start[0])
            delta_net_state_init(&state, c, memory);
        memcpy(used, (const float *)h->data + t.row * D, t.n * D * sizeof *used);
        delta_net_forward(&cm, &buffers, out + t.row * D, used, w, &t, t.is_piece ? &states : NULL);
    }
    arena_free(&arena);
}

static void test_case(size_t k, const struct kernels *const *sets, size_t n_sets)
{
    struct random r = { 31 + k };
    const struct config c = {
        .hidden_size = D, .rms_norm_eps = 1e-6, .linear_num_key_heads = cases[k].HK,
        .linear_num_value_heads = cases[k].HV, .linear_key_head_dim = cases[k].dk,
        .linear_value_head_dim = cases[k].dv, .linear_conv_kernel_dim = cases[k].width };
    struct delta_net_weights w = random_weights(&r, &c, cases[k].decay);
    struct batch b = batch_of(cases[k].lengths, WINDOWS);
    struct matrix h = random_matrix(&r, b.n_tokens, D, 1);
    size_t n = b.n_tokens * D;
    double *input = malloc(n * sizeof *input), *expected = malloc(n * sizeof *expected),
           largest = 0;
    for (size_t i = 0; i < n; i++)
        input[i] = (double)((const float *)h.data)[i];
    for (size_t i = 0; i < WINDOWS; i++)
        truth(expected + b.start[i] * D, &c, &w, input + b.start[i] * D,
              b.start[i + 1] - b.start[i]);
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (size_t s = 0; s < n_sets; s++) {
        char name[160];
        float *out = calloc(n, sizeof *out);
        forward(sets[s], out, &h, &c, &w, &b, cases[k].tile);
        snprintf(name, sizeof name, "%s delta net: %s", sets[s]->isa, cases[k].name);
        /* Four projections, the convolution, the rule and two norms one after the other, in f32:
         * each a few roundings (2^-24) of the largest values; the norm of a head that is nearly
         * zero makes them larger. */
        check_near_f32(name, out, expected, n, 5e-6 * largest);
        free(out);
    }
    free(input), free(expected), free((void *)(uintptr_t)h.data), free((void *)(uintptr_t)b.start);
    free_weights(&w);
}

int main(void)
{
    const struct kernels *sets[N_ISAS];
    size_t n_sets = 0;
    for (size_t i = 0; i < N_ISAS; i++) {
        struct error err = { 0 };
        sets[n_sets] = kernels_find(isas[i], &err);
        if (sets[n_sets])
            n_sets++;
        else
            check_skip(isas[i], err.message);
    }
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        test_case(k, sets, n_sets);
    return check_done();
}
