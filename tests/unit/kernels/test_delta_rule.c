/* The chunked delta rule against the sequential one, and both against double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/delta_rule.h"
#include "tests/differ.h"
#include "tests/random.h"

struct data {
    size_t n, dk, dv;
    float *q, *k, *v, *beta, *state, *out, *scratch;
    double *decay;
};

static float *normal(struct random *r, size_t n, double scale)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)scale * random_normal(r);
    return x;
}

/* slowest: the smallest decay is exp(-slowest); keys of unit length, as the model has them. */
static struct data make(struct random *r, size_t n, size_t dk, size_t dv, double fastest)
{
    struct data d = { n, dk, dv, normal(r, n * dk, 1), normal(r, n * dk, 1), normal(r, n * dv, 1),
                      malloc(n * sizeof(float)), normal(r, dk * dv, 0.3),
                      malloc(n * dv * sizeof(float)),
                      malloc((size_t)4 << 20),
                      malloc(n * sizeof(double)) };
    for (size_t t = 0; t < n; t++) {
        kernels_scalar.rows->l2_norm(d.q + t * dk, dk, 1 / sqrt((double)dk));
        kernels_scalar.rows->l2_norm(d.k + t * dk, dk, 1);
        d.beta[t] = random_uniform(r);
        d.decay[t] = exp(-fastest * (double)random_uniform(r) * (double)random_uniform(r));
    }
    return d;
}

static void data_free(struct data *d)
{
    free(d->q), free(d->k), free(d->v), free(d->beta), free(d->state), free(d->out);
    free(d->scratch), free(d->decay);
}

/* Runs one set on a copy of the state, from token `first` for n tokens; out gets the rows. */
static void run(const struct data *d, const struct kernels *kn, float *out, float *state,
                size_t first, size_t n)
{
    kn->delta_rule(kn, &(struct delta_rule){
        .n = n, .dk = d->dk, .dv = d->dv, .q = d->q + first * d->dk, .k = d->k + first * d->dk,
        .v = d->v + first * d->dv, .ldq = d->dk, .ldk = d->dk, .ldv = d->dv,
        .decay = d->decay + first, .beta = d->beta + first, .ld_scalar = 1, .state = state,
        .out = out + first * d->dv, .ldo = d->dv, .scratch = d->scratch });
}

static void truth(const struct data *d, double *out, double *S)
{
    size_t dk = d->dk, dv = d->dv;
    for (size_t i = 0; i < dk * dv; i++)
        S[i] = (double)d->state[i];
    for (size_t t = 0; t < d->n; t++)
        for (size_t j = 0; j < dv; j++) {
            double e = 0, o = 0;
            for (size_t i = 0; i < dk; i++) {
                S[i * dv + j] *= d->decay[t];
                e += S[i * dv + j] * (double)d->k[t * dk + i];
            }
            e = ((double)d->v[t * dv + j] - e) * (double)d->beta[t];
            for (size_t i = 0; i < dk; i++) {
                S[i * dv + j] += (double)d->k[t * dk + i] * e;
                o += S[i * dv + j] * (double)d->q[t * dk + i];
            }
            out[t * dv + j] = o;
        }
}

/* Within 2e-6 of the largest value: f32 against double, a few roundings a token, damped by the
 * decays. */
static bool near_truth(char *where, const float *x, const double *y, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(y[i]));
    return near_f32(where, x, y, n, 2e-6 * largest);
}

int main(void)
{
    static const struct { size_t n, dk, dv; double fastest; } cases[] = {
        { 1, 1, 1, 1 },       { 3, 5, 7, 1 },      { 63, 16, 16, 0.1 },  { 64, 16, 24, 0.1 },
        { 65, 32, 32, 5 },    { 130, 24, 40, 50 }, { 200, 128, 128, 2 }, { 128, 8, 3, 2000 },
        { 257, 33, 17, 0.01 },
    };
    struct random r = { 7 };
    kernels_openblas.prepare();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct data d = make(&r, cases[i].n, cases[i].dk, cases[i].dv, cases[i].fastest);
        size_t n_out = d.n * d.dv, n_state = d.dk * d.dv;
        double *true_out = malloc(n_out * sizeof *true_out), *S = malloc(n_state * sizeof *S);
        float *state = malloc(n_state * sizeof *state), *whole = malloc(n_out * sizeof *whole);
        truth(&d, true_out, S);
        const struct kernels *sets[] = { &kernels_scalar, &kernels_openblas };
        for (size_t s = 0; s < 2; s++) {
            memcpy(state, d.state, n_state * sizeof *state);
            run(&d, sets[s], d.out, state, 0, d.n);
            char name[96];
            snprintf(name, sizeof name, "%s delta rule n %zu dk %zu dv %zu decay to exp(-%g)",
                     sets[s]->isa, d.n, d.dk, d.dv, cases[i].fastest);
            char out_where[DIFFER_TEXT] = "", state_where[DIFFER_TEXT] = "";
            bool near = near_truth(out_where, d.out, true_out, n_out);
            check(near_truth(state_where, state, S, n_state) && near, name, "out: %s; state: %s",
                  out_where, state_where);
        }
        if (d.n > DELTA_CHUNK) {                /* a cut at a chunk changes no bit */
            memcpy(whole, d.out, n_out * sizeof *whole);
            memcpy(state, d.state, n_state * sizeof *state);
            run(&d, &kernels_openblas, d.out, state, 0, DELTA_CHUNK);
            run(&d, &kernels_openblas, d.out, state, DELTA_CHUNK, d.n - DELTA_CHUNK);
            check_equal_f32("a sequence in two pieces gives the same bits", d.out, whole, n_out);
        }
        free(true_out), free(S), free(state), free(whole);
        data_free(&d);
    }
    return check_done();
}
