#include "kernels/delta_rule.h"

#include "base/memory.h"

#define C DELTA_CHUNK

size_t delta_rule_scratch(const struct kernels *kn, size_t dk, size_t dv)
{
    /* chunked: see struct chunk */
    const struct gemm_ops *ops = kn->gemm[COMPUTE_F32];
    size_t packed =
        size_max(ops->packed_bytes(ops, C, dk),
                 size_max(ops->packed_bytes(ops, dv, dk), ops->packed_bytes(ops, dv, C)));
    return 2 * C * C + C * (dv + dk) + (packed + ops->scratch_bytes(ops)) / sizeof(float);
}

void delta_rule_sequential(const struct kernels *kn, const struct delta_rule *d)
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
    size_t n;                       /* tokens, at most C */
    const float *q, *k, *v;
    const double *decay;
    const float *beta;
    float *out;
    float *kk, *qk;                 /* [C, C] */
    float *e;                       /* [C, dv] */
    float *k_left;                  /* [C, dk]: k_i by the decays after i */
    const struct gemm_ops *gemm;
    void *packed, *scratch;         /* of the products */
    double from_start[C];           /* G_t */
};

/* kk and qk become the coefficients G_t / G_i (k_t . k_i) for i < t and G_t / G_i (q_t . k_i)
 * for i <= t; qk is 0 above its diagonal.  Fills from_start and k_left. */
static void apply_decays(struct chunk *c, const struct delta_rule *d)
{
    double quotient[C];               /* G_t / G_i of the current t */
    double product = 1;
    for (size_t t = 0; t < c->n; t++) {
        double decay = c->decay[t * d->ld_scalar];
        float *kk = c->kk + t * C, *qk = c->qk + t * C;
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
        const float *v = c->v + t * d->ldv, *kk = c->kk + t * C;
        float start = (float)c->from_start[t], beta = c->beta[t * d->ld_scalar];
        for (size_t j = 0; j < d->dv; j++)
            e[j] = v[j] - start * e[j];
        for (size_t i = 0; i < t; i++)
            kn->rows->add_scaled(e, c->e + i * d->dv, -kk[i], d->dv);
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

static void pack(const struct chunk *c, const struct gemm_b *b)
{
    c->gemm->pack(c->gemm, c->packed, b, 0, b->n, c->scratch);
}

static void multiply(const struct chunk *c, float *out, size_t ldc, const float *a,
                     size_t stride_rows, size_t stride_k, const struct gemm_b *b, size_t m,
                     bool accumulate)
{
    c->gemm->multiply(c->gemm, &(struct gemm){
        .c = out, .ldc = ldc, .a = a, .stride_rows = stride_rows, .stride_k = stride_k,
        .packed = c->packed,
        .m = m, .n = b->n, .k = b->k, .accumulate = accumulate, .scratch = c->scratch });
}

static void chunk_step(struct chunk *c, const struct delta_rule *d, const struct kernels *kn)
{
    size_t n = c->n, dk = d->dk, dv = d->dv;
    const struct gemm_b keys = { c->k, 1, d->ldk, n, dk };     /* k^T */
    pack(c, &keys);
    multiply(c, c->kk, C, c->k, d->ldk, 1, &keys, n, false);
    multiply(c, c->qk, C, c->q, d->ldq, 1, &keys, n, false);
    apply_decays(c, d);

    const struct gemm_b state = { d->state, dv, 1, dv, dk };
    pack(c, &state);
    multiply(c, c->e, dv, c->k, d->ldk, 1, &state, n, false);
    multiply(c, c->out, d->ldo, c->q, d->ldq, 1, &state, n, false);
    scale_rows(c->out, d->ldo, c->from_start, 1, n, dv);
    solve_corrections(c, d, kn);

    const struct gemm_b corrections = { c->e, dv, 1, dv, n };
    pack(c, &corrections);
    multiply(c, c->out, d->ldo, c->qk, C, 1, &corrections, n, true);
    scale_rows(d->state, dv, &c->from_start[n - 1], 0, dk, dv);
    multiply(c, d->state, dv, c->k_left, 1, dk, &corrections, dk, true);
}

void delta_rule_chunked(const struct kernels *kn, const struct delta_rule *d)
{
    const struct gemm_ops *ops = kn->gemm[COMPUTE_F32];
    struct chunk c = { .kk = d->scratch, .gemm = ops };
    c.qk = c.kk + C * C;
    c.e = c.qk + C * C;
    c.k_left = c.e + C * d->dv;
    c.scratch = c.k_left + C * d->dk;
    c.packed = (char *)c.scratch + ops->scratch_bytes(ops);
    for (size_t t = 0; t < d->n; t += C) {
        c.n = size_min(d->n - t, C);
        c.q = d->q + t * d->ldq;
        c.k = d->k + t * d->ldk;
        c.v = d->v + t * d->ldv;
        c.decay = d->decay + t * d->ld_scalar;
        c.beta = d->beta + t * d->ld_scalar;
        c.out = d->out + t * d->ldo;
        chunk_step(&c, d, kn);
    }
}
