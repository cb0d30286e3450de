#include "kernels/delta_rule.h"

size_t delta_rule_scratch(size_t dk, size_t dv)
{
    /* chunked: k . k and q . k [C, C], e [C, dv], k by remaining decay [C, dk] */
    return 2 * DELTA_CHUNK * DELTA_CHUNK + DELTA_CHUNK * (dv + dk);
}

void delta_rule_sequential(const struct delta_rule *d, const struct kernels *kn)
{
    (void)kn;
    float *e = d->scratch;
    for (size_t t = 0; t < d->n; t++) {
        const float *q = d->q + t * d->ldq, *k = d->k + t * d->ldk, *v = d->v + t * d->ldv;
        float decay = (float)d->decay[t * d->ld_scalar], beta = d->beta[t * d->ld_scalar];
        float *out = d->out + t * d->ldo;
        for (size_t j = 0; j < d->dv; j++)
            e[j] = 0;
        for (size_t i = 0; i < d->dk; i++)
            for (size_t j = 0; j < d->dv; j++) {
                float *s = &d->state[i * d->dv + j];
                *s *= decay;
                e[j] += *s * k[i];
            }
        for (size_t j = 0; j < d->dv; j++) {
            e[j] = (v[j] - e[j]) * beta;
            out[j] = 0;
        }
        for (size_t i = 0; i < d->dk; i++)
            for (size_t j = 0; j < d->dv; j++) {
                float *s = &d->state[i * d->dv + j];
                *s += k[i] * e[j];
                out[j] += *s * q[i];
            }
    }
}

/* ---- chunked ------------------------------------------------------------ */

struct chunk {
    size_t n;                       /* tokens, at most DELTA_CHUNK */
    const float *q, *k, *v;
    const double *decay;
    const float *beta;
    float *out;
    float *kk, *qk;                 /* [C, C] */
    float *e;                       /* [C, dv] */
    float *k_left;                  /* [C, dk]: k_i by the decays after i */
    double from_start[DELTA_CHUNK]; /* G_t */
};

/* kk and qk become the coefficients G_t / G_i (k_t . k_i) for i < t and G_t / G_i (q_t . k_i)
 * for i <= t; qk is 0 above its diagonal.  Fills from_start and k_left. */
static void apply_decays(struct chunk *c, const struct delta_rule *d)
{
    double quotient[DELTA_CHUNK];               /* G_t / G_i of the current t */
    double product = 1;
    for (size_t t = 0; t < c->n; t++) {
        double decay = c->decay[t * d->ld_scalar];
        float *kk = c->kk + t * DELTA_CHUNK, *qk = c->qk + t * DELTA_CHUNK;
        product *= decay;
        c->from_start[t] = product;
        for (size_t i = 0; i < t; i++) {
            quotient[i] *= decay;
            kk[i] = (float)(kk[i] * quotient[i]);
            qk[i] = (float)(qk[i] * quotient[i]);
        }
        quotient[t] = 1;
        for (size_t i = t + 1; i < c->n; i++)
            qk[i] = 0;
    }
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; j < d->dk; j++)
            c->k_left[i * d->dk + j] = (float)(c->k[i * d->ldk + j] * quotient[i]);
}

/* On entry e holds S0^T k; on return the corrections, row by row (forward substitution). */
static void solve_corrections(struct chunk *c, const struct delta_rule *d,
                              const struct kernels *kn)
{
    for (size_t t = 0; t < c->n; t++) {
        float *e = c->e + t * d->dv;
        const float *v = c->v + t * d->ldv, *kk = c->kk + t * DELTA_CHUNK;
        float start = (float)c->from_start[t], beta = c->beta[t * d->ld_scalar];
        for (size_t j = 0; j < d->dv; j++)
            e[j] = v[j] - start * e[j];
        for (size_t i = 0; i < t; i++)
            kn->add_scaled(e, c->e + i * d->dv, -kk[i], d->dv);
        for (size_t j = 0; j < d->dv; j++)
            e[j] *= beta;
    }
}

static void scale_rows(float *x, size_t ld, const double *by, size_t by_step, size_t rows,
                       size_t cols)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            x[i * ld + j] *= (float)by[i * by_step];
}

static void chunk_step(struct chunk *c, const struct delta_rule *d, const struct kernels *kn)
{
    size_t n = c->n, dk = d->dk, dv = d->dv, C = DELTA_CHUNK;
    kn->gemm(&(struct gemm){ GEMM_NT, false, n, n, dk, c->kk, C, c->k, d->ldk, c->k, d->ldk }, kn);
    kn->gemm(&(struct gemm){ GEMM_NT, false, n, n, dk, c->qk, C, c->q, d->ldq, c->k, d->ldk }, kn);
    apply_decays(c, d);
    kn->gemm(&(struct gemm){ GEMM_NN, false, n, dv, dk, c->e, dv, c->k, d->ldk, d->state, dv }, kn);
    solve_corrections(c, d, kn);

    kn->gemm(&(struct gemm){ GEMM_NN, false, n, dv, dk, c->out, d->ldo, c->q, d->ldq, d->state, dv },
             kn);
    scale_rows(c->out, d->ldo, c->from_start, 1, n, dv);
    kn->gemm(&(struct gemm){ GEMM_NN, true, n, dv, n, c->out, d->ldo, c->qk, C, c->e, dv }, kn);

    scale_rows(d->state, dv, &c->from_start[n - 1], 0, dk, dv);
    kn->gemm(&(struct gemm){ GEMM_TN, true, dk, dv, n, d->state, dv, c->k_left, dk, c->e, dv }, kn);
}

void delta_rule_chunked(const struct delta_rule *d, const struct kernels *kn)
{
    struct chunk c = { .kk = d->scratch };
    c.qk = c.kk + DELTA_CHUNK * DELTA_CHUNK;
    c.e = c.qk + DELTA_CHUNK * DELTA_CHUNK;
    c.k_left = c.e + DELTA_CHUNK * d->dv;
    for (size_t t = 0; t < d->n; t += DELTA_CHUNK) {
        c.n = d->n - t < DELTA_CHUNK ? d->n - t : DELTA_CHUNK;
        c.q = d->q + t * d->ldq;
        c.k = d->k + t * d->ldk;
        c.v = d->v + t * d->ldv;
        c.decay = d->decay + t * d->ld_scalar;
        c.beta = d->beta + t * d->ld_scalar;
        c.out = d->out + t * d->ldo;
        chunk_step(&c, d, kn);
    }
}
