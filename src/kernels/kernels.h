/* kernels.h - the inner loops: pointers and sizes in, numbers out.
 *
 * A set of kernels is a table of functions; model code calls through it and never sees an
 * instruction set.  The scalar set is the definition: plain loops in the order of the formula,
 * exponentials by libm.  Every other set is tested against it.  No kernel allocates, keeps
 * state or starts threads; each may run in many threads at once.  Arrays in and out do not
 * overlap unless said.  All results are f32, sums as stated. */
#ifndef SURPRISAL_KERNELS_KERNELS_H
#define SURPRISAL_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/compute_type.h"
#include "base/matrix.h"
#include "kernels/mxfp4_blocks.h"
#include "kernels/stored.h"

/* ---- matrix products ------------------------------------------------------ */

/* As --compute names it. */
const char *kernels_compute_name(enum compute_type type);

/* Memory that is read after a product; the product prefetches it. */
#define PREFETCH_SPANS 2
struct prefetch {
    struct {
        const void *at;
        size_t bytes;
    } span[PREFETCH_SPANS];
};

/* C [m, n] = A [m, k] B [k, n], or C += A B with `accumulate`.  B is packed beforehand, in the
 * order that suits the kernel, and shared by many products.  Element (i, p) of A is
 * a[i * stride_rows + p * stride_k], so A may be transposed. */
struct gemm {
    float *c;
    size_t ldc;                     /* from row to row */
    const float *a;
    size_t stride_rows, stride_k;          /* one of them is 1 */
    const void *packed;
    bool bf16_pairs;                    /* the format of packed: see struct packed_b */
    size_t m, n, k;
    bool accumulate;
    void *scratch;                  /* scratch_bytes() */
    const struct prefetch *prefetch;        /* may be NULL */
};

/* B [k, n] as it is before packing.  b points to column `first` of the call: element (p, j) is
 * b[p * stride_k + (j - first) * stride_cols]. */
struct gemm_b {
    const float *b;
    size_t stride_k, stride_cols;          /* one of them is 1 */
    size_t n, k;
};

/* Weights packed as B [k, n]; with `bf16_pairs` as BF16 values, two in a word, for the product to
 * widen. */
struct packed_b {
    void *data;
    size_t n, k;
    bool bf16_pairs;
};

/* The slice of W that becomes B, so that A B = x W^T: rows [row, row + rows) of w go to columns
 * from `column` on.  column is a multiple of nr(). */
struct weight_slice {
    const struct matrix *w;
    size_t row, rows, column;
};

struct gemm_tile;
struct row_kernels;

/* The matrix product of one compute type.  Buffers should be 64-byte aligned: others are slower. */
struct gemm_ops {
    const struct gemm_tile *tile;   /* inner loop of our own product; NULL where BLAS does it */
    size_t kc;                      /* values of k in one running sum; see gemm.h */
    bool rounds;                    /* A and B are rounded to BF16 while they are packed */
    const struct row_kernels *rows;
    size_t (*mr)(const struct gemm_ops *ops);      /* rows of a tile */
    size_t (*nr)(const struct gemm_ops *ops);      /* columns of a tile */
    size_t (*packed_bytes)(const struct gemm_ops *ops, size_t n, size_t k);  /* at most */
    /* Whether w may be packed as BF16 pairs: its values are BF16, and the micro-kernel can widen
     * them. */
    bool (*takes_bf16_pairs)(const struct gemm_ops *ops, const struct matrix *w);
    size_t (*scratch_bytes)(const struct gemm_ops *ops);
    /* Pack columns [first, first + count) of B, counted from weight_slice's `column`.  Threads may
     * share the work: then first is a multiple of KERNEL_PANEL, and so is count, except at the end.
     * scratch: scratch_bytes(). */
    void (*pack)(const struct gemm_ops *ops, void *packed, const struct gemm_b *b, size_t first,
                 size_t count, void *scratch);
    void (*pack_weight)(const struct gemm_ops *ops, const struct packed_b *to,
                        const struct weight_slice *b, size_t first, size_t count, void *scratch);
    void (*multiply)(const struct gemm_ops *ops, const struct gemm *g);
    /* Only the arithmetic of the product, `steps` times on values in registers; returns its FLOP.
     * Its speed is the upper limit for multiply().  NULL where BLAS does the product. */
    size_t (*peak)(const struct gemm_ops *ops, size_t steps);
};

#define KERNEL_PANEL ((size_t)32)       /* a multiple of every set's panel of columns */
/* Rows of A that are multiplied at a time: a multiple of every set's mr. */
#define KERNEL_ROWS ((size_t)252)

/* ---- products of a few rows ------------------------------------------------ */

struct dots_tile;

/* Rows of x that meet a weight while it is decoded. */
#define DOTS_ROWS ((size_t)32)

/* The product of a few rows of one compute type, as in decoding: each weight is read once.  An
 * element depends on its row of x and its row of weights alone, not on the number of rows, and has
 * the same bits in all sets (dots.h has the order of summation), but for denormal values and sums,
 * which BF16 dots take as zero (avx512bf16_dots.c).  The order is not that of struct gemm. */
struct dots_ops {
    const struct dots_tile *tile;   /* NULL: the definition */
    const struct row_kernels *rows;
    bool rounds;                    /* weights that BF16 does not hold, and results, to BF16 */
    /* Bytes of a row of x [cols] as dots reads it: a multiple of 4. */
    size_t (*row_bytes)(const struct dots_ops *ops, size_t cols);
    /* to [n]: rows of x [n, cols], ldx apart.  With `rounds` their values are BF16. */
    void (*arrange)(const struct dots_ops *ops, void *to, const float *x, size_t ldx, size_t n,
                    size_t cols);
    /* out [n, count], rows ldo apart, = x [n, w->cols], arranged, times rows [first, first + count)
     * of w.  n is at most DOTS_ROWS. */
    void (*multiply)(const struct dots_ops *ops, float *out, size_t ldo, const void *x, size_t n,
                     const struct matrix *w, size_t first, size_t count);
};

/* ---- everything else --------------------------------------------------------- */

/* One head of the gated delta rule over n consecutive tokens of one sequence (Gated Delta
 * Networks, arXiv 2412.06464, eq. 10; torch_recurrent_gated_delta_rule in transformers):
 *
 *     S *= decay_t;   e = beta_t (v_t - S^T k_t);   S += k_t e^T;   out_t = S^T q_t
 *
 * q and k are normalised already, q scaled by 1 / sqrt(dk).  State S [dk, dv] is carried in and
 * out.  ld*: floats from one token to the next. */
struct delta_rule {
    size_t n, dk, dv;
    const float *q, *k, *v;         /* [n, dk], [n, dk], [n, dv] */
    size_t ldq, ldk, ldv;
    const double *decay;            /* [n] in (0, 1] */
    const float *beta;              /* [n] in (0, 1) */
    size_t ld_scalar;               /* from token to token in decay and beta */
    float *state;                   /* [dk, dv] */
    float *out;                     /* [n, dv] */
    size_t ldo;
    float *scratch;                 /* delta_rule_scratch(kernels, dk, dv) floats */
};

/* Tokens in a chunk of the chunked form.  Results depend on where chunks begin, so split sequences
 * only at multiples of this. */
#define DELTA_CHUNK ((size_t)64)

/* Logits of two models over ids seen so far; zero sums to begin with. */
struct exp_sums {
    float max[2];                   /* subtracted from the logits */
    double sum[2];                  /* of exp(x - max) */
    double difference[2];           /* of exp(x - max) (x - the other model's logit) */
};

/* Element-wise work and sums over one row.  Each set has two tables: in that of BF16 compute, r(x)
 * below is x rounded to BF16, as transformers in bfloat16 rounds it there; in that of f32 it is x.
 *
 * The vector sets differ from the scalar one, which uses libm, by at most this many units in the
 * last place (tests/unit/kernels/test_kernels.c): exp 2 (1.3 from the exact value), mul_sigmoid and
 * conv_silu 4, mul_silu 5, gated_rms_norm 6, the other norms 1, everything else none. */
struct row_kernels {
    /* out [n] = columns [first, first + n) of a row of w, exactly.  first, and n but at the end of
     * a row, are multiples of the format's block (kernels/stored.h); MXFP4 is exact for scale bytes
     * up to 252, above large codes give infinity, and 255 gives NaN (OCP MX 1.0, 5.4.1). */
    void (*expand)(float *out, const struct matrix *w, size_t row, size_t first, size_t n);
    /* out [n, w->cols], rows ldo apart, += p [n, count], rows ldp apart, times rows [first, first +
     * count) of w, as they are stored.  An element is one running sum in f32, in ascending order of
     * the rows: it depends on its row and its column alone, and the sets do not differ. */
    void (*add_weighted)(float *out, size_t ldo, const float *p, size_t ldp, size_t n,
                         const struct matrix *w, size_t first, size_t count);
    /* To BF16 as base/bf16.h does: in place, or to 16 bits each. */
    void (*round_bf16)(float *x, size_t n);
    void (*to_bf16)(uint16_t *out, const float *x, size_t n);

    void (*round)(float *x, size_t n);                                  /* x = r(x) */

    /* out = r(x * rsqrt(mean(x^2) + eps) * weight) over n values; the mean in double.  In place is
     * fine. */
    void (*rms_norm)(float *out, const float *x, const float *weight, size_t n, double eps);
    /* x = r(r(weight * r(y)) * silu(gate)) with y = r(x) * rsqrt(mean(r(x)^2) + eps). */
    void (*gated_rms_norm)(float *x, const float *gate, const float *weight, size_t n, double eps);
    /* x *= scale / sqrt(sum(x^2) + 1e-6), the sum in double. */
    void (*l2_norm)(float *x, size_t n, double scale);

    void (*scale)(float *x, float scale, size_t n);                 /* x *= scale                */
    void (*mul_silu)(float *x, const float *gate, size_t n);        /* x = r(x r(silu(gate)))    */
    void (*mul_sigmoid)(float *x, const float *gate, size_t n);     /* x = r(x r(sigmoid(gate))) */
    void (*add)(float *x, const float *y, size_t n);                /* x = r(x + y)              */
    void (*add_scaled)(float *x, const float *y, float scale, size_t n);    /* x += r(scale y)   */

    float (*max)(const float *x, size_t n);                             /* n > 0              */
    /* x = r(exp(x - shift)); returns the sum of the values before rounding, in double.  x =
     * -infinity gives 0. */
    double (*exp_sum)(float *x, float shift, size_t n);
    /* Adds logits a and b of n ids to s; no value is above its max.  All in double: the difference
     * of two models may be smaller than the last digits of an f32 exponential.  The relative error
     * of the exponential is at most 1e-14 down to -708; below, it stays near 1e-308. */
    void (*add_exp_sums)(struct exp_sums *s, const float *a, const float *b, size_t n);
    /* False when x holds a NaN or an infinity. */
    bool (*all_finite)(const float *x, size_t n);

    /* Depthwise causal convolution and SiLU of one token: out[c] = r(silu(r(sum_j weight[j][c]
     * rows[j][c]))), j from the oldest token to this one; a NULL row is zeros.  out may be
     * rows[width - 1]. */
    void (*conv_silu)(float *out, const float *const *rows, const float *weight, size_t width,
                      size_t channels);
};

struct kernels {
    const char *isa;                /* as --isa names it */
    void (*prepare)(void);          /* called when the set is chosen; may be NULL */
    const struct gemm_ops *gemm[COMPUTE_TYPES];
    const struct dots_ops *dots[COMPUTE_TYPES];
    const struct row_kernels *rows, *rows_bf16;     /* of f32 and of BF16 compute */
    void (*delta_rule)(const struct kernels *kn, const struct delta_rule *d);
    mxfp4_blocks_fn *mxfp4_blocks;  /* NULL: the definition in kernels/mxfp4.c */
};

/* Floats of scratch for struct delta_rule. */
size_t delta_rule_scratch(const struct kernels *kn, size_t dk, size_t dv);

/* The set by name, or the best of this machine for NULL; an unknown name is an error that lists
 * the names.  The result is constant and never freed. */
const struct kernels *kernels_find(const char *isa, struct error *err);

/* ---- the sets ---------------------------------------------------------- */

extern const struct kernels kernels_scalar;     /* the definition */
extern const struct kernels kernels_openblas;   /* products by OpenBLAS, loops for the compiler's
                                                   vectoriser, exponentials by polynomial */
#ifdef __x86_64__
extern const struct kernels kernels_avx2;       /* AVX2 and FMA */
extern const struct kernels kernels_avx512;     /* AVX-512 F, DQ and BW */
extern const struct kernels kernels_avx512bf16; /* the same, BF16 products by BF16 dots */
#endif
#ifdef __aarch64__
extern const struct kernels kernels_neon;       /* NEON, part of every 64-bit ARM */
#endif

#endif
