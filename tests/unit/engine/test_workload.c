/* What a workload counts is what an evaluation calls: each kernel is wrapped in one that counts the
 * values it meets, and the sums must be those of engine_cost. */
#include "engine/calibration.h"
#include "engine/pass.h"

#include <math.h>
#include <stdio.h>

#include "tests/check.h"

#define CHECKPOINT "data/demo/bf16"

enum { N_IDS = 700 };

/* ---- kernels that count ----------------------------------------------------------- */

static struct counts {
    double rms_norm, add, all_finite, add_scaled, mul_silu, mul_sigmoid, conv_silu, l2_norm;
    double gated_rms_norm, exp_sum, delta_rule;
    double with_weights, between_inputs;        /* FLOP of products */
    double weight_values;
} counts;

static const struct kernels *plain;             /* the kernels that do the work */
static enum compute_type type;

static const struct row_kernels *plain_rows(void)
{
    return type == COMPUTE_BF16 ? plain->rows_bf16 : plain->rows;
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, double eps)
{
    counts.rms_norm += (double)n;
    plain_rows()->rms_norm(out, x, weight, n, eps);
}

static void add(float *x, const float *y, size_t n)
{
    counts.add += (double)n;
    plain_rows()->add(x, y, n);
}

static bool all_finite(const float *x, size_t n)
{
    counts.all_finite += (double)n;
    return plain_rows()->all_finite(x, n);
}

static void add_scaled(float *x, const float *y, float scale, size_t n)
{
    counts.add_scaled += (double)n;
    plain_rows()->add_scaled(x, y, scale, n);
}

static void mul_silu(float *x, const float *gate, size_t n)
{
    counts.mul_silu += (double)n;
    plain_rows()->mul_silu(x, gate, n);
}

static void mul_sigmoid(float *x, const float *gate, size_t n)
{
    counts.mul_sigmoid += (double)n;
    plain_rows()->mul_sigmoid(x, gate, n);
}

static void conv_silu(float *out, const float *const *rows, const float *weight, size_t width,
                      size_t channels)
{
    counts.conv_silu += (double)channels;
    plain_rows()->conv_silu(out, rows, weight, width, channels);
}

static void l2_norm(float *x, size_t n, double scale)
{
    counts.l2_norm += (double)n;
    plain_rows()->l2_norm(x, n, scale);
}

static void gated_rms_norm(float *x, const float *gate, const float *weight, size_t n, double eps)
{
    counts.gated_rms_norm += (double)n;
    plain_rows()->gated_rms_norm(x, gate, weight, n, eps);
}

static double exp_sum(float *x, float shift, size_t n)
{
    counts.exp_sum += (double)n;
    return plain_rows()->exp_sum(x, shift, n);
}

/* Its own products are those of the plain kernels. */
static void delta_rule(const struct kernels *kn, const struct delta_rule *d)
{
    (void)kn;
    counts.delta_rule += (double)d->n;
    plain->delta_rule(plain, d);
}

/* Only products with weights prefetch what comes next. */
static void multiply(const struct gemm_ops *ops, const struct gemm *g)
{
    (void)ops;
    *(g->prefetch ? &counts.with_weights : &counts.between_inputs) +=
        2 * (double)g->m * (double)g->n * (double)g->k;
    plain->gemm[type]->multiply(plain->gemm[type], g);
}

static void pack_weight(const struct gemm_ops *ops, const struct packed_b *to,
                        const struct weight_slice *b, size_t first, size_t count, void *scratch)
{
    (void)ops;
    counts.weight_values += (double)count * (double)b->w->cols;
    plain->gemm[type]->pack_weight(plain->gemm[type], to, b, first, count, scratch);
}

struct counting {
    struct kernels kernels;
    struct row_kernels rows;
    struct gemm_ops gemm;
};

static void counting_begin(struct counting *c, const struct kernels *kn, enum compute_type compute)
{
    counts = (struct counts){ 0 };
    plain = kn;
    type = compute;
    *c = (struct counting){ *kn, *plain_rows(), *kn->gemm[compute] };
    c->rows.rms_norm = rms_norm;
    c->rows.add = add;
    c->rows.all_finite = all_finite;
    c->rows.add_scaled = add_scaled;
    c->rows.mul_silu = mul_silu;
    c->rows.mul_sigmoid = mul_sigmoid;
    c->rows.conv_silu = conv_silu;
    c->rows.l2_norm = l2_norm;
    c->rows.gated_rms_norm = gated_rms_norm;
    c->rows.exp_sum = exp_sum;
    c->gemm.multiply = multiply;
    c->gemm.pack_weight = pack_weight;
    c->kernels.rows = c->kernels.rows_bf16 = &c->rows;
    c->kernels.gemm[compute] = &c->gemm;
    c->kernels.delta_rule = delta_rule;
}

/* ---- the comparison ----------------------------------------------------------------- */

static struct checkpoint ck;
static struct weights w;
static int32_t ids[N_IDS];

static bool ignore(void *user, size_t row, size_t n, const struct engine_score *scores,
                   const float *hidden, struct error *err)
{
    (void)user, (void)row, (void)n, (void)scores, (void)hidden, (void)err;
    return true;
}

static void same(const char *job, const char *what, double counted, double called)
{
    char name[160];
    snprintf(name, sizeof name, "%s: %s", job, what);
    check(counted == called, name, "%.17g counted, kernels met %.17g", counted, called);
}

static void compare(const char *job, const struct workload *load, bool few)
{
    const double *a = load->amount;
    double weights = 0;
    for (size_t i = 0; i < load->n_products; i++)
        weights += load->products[i].weight_values;
    same(job, "rms_norm", a[WORKLOAD_NORM] + a[WORKLOAD_GATHER] + a[WORKLOAD_HEAD_NORM],
         counts.rms_norm);
    same(job, "add", a[WORKLOAD_RESIDUAL], counts.add);
    same(job, "all_finite", a[WORKLOAD_RESIDUAL] + a[WORKLOAD_CHECK] + a[WORKLOAD_SCATTER],
         counts.all_finite);
    same(job, "add_scaled", a[WORKLOAD_SCATTER], counts.add_scaled);
    same(job, "mul_silu", a[WORKLOAD_SILU], counts.mul_silu);
    same(job, "mul_sigmoid", a[WORKLOAD_SIGMOID], counts.mul_sigmoid);
    same(job, "conv_silu", a[WORKLOAD_CONVOLUTION], counts.conv_silu);
    same(job, "l2_norm", a[WORKLOAD_KEY_NORM], counts.l2_norm);
    same(job, "gated_rms_norm", a[WORKLOAD_GATED_NORM], counts.gated_rms_norm);
    same(job, "exp_sum", a[WORKLOAD_SOFTMAX] + a[WORKLOAD_LOGITS], counts.exp_sum);
    same(job, "delta rule", a[WORKLOAD_DELTA_RULE], counts.delta_rule);
    same(job, "FLOP of attention", a[WORKLOAD_ATTENTION], counts.between_inputs);
    same(job, "FLOP with weights", workload_flop(load), counts.with_weights);
    /* How many experts have tokens is a guess: as many as if each were as likely as the others. */
    double off = fabs(weights / counts.weight_values - 1);
    check(few || off < 0.05, "weights that are packed", "%s: %.17g counted, kernels met %.17g", job,
          weights, counts.weight_values);
}

struct job {
    const char *name;
    enum compute_type compute;
    bool tight;                                 /* memory: more than one pass */
    size_t n_windows;
    struct engine_window windows[4];
    bool few;                                   /* tokens: not every expert gets one */
};

static void compare_job(const struct job *j)
{
    struct engine_options o = { .n_threads = 1, .compute = j->compute };
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = j->windows,
                                    .n_windows = j->n_windows, .sink = { ignore, NULL } };
    struct error err = { 0 };
    struct engine_cost cost;
    struct engine_statistics done;
    struct counting counting;
    struct engine *e = engine_open(&ck, &w, &o, &err);
    bool ok = e && engine_cost(e, &job, &cost, &err);
    if (ok && j->tight) {
        engine_close(e);
        o.memory_bytes = cost.least_bytes;
        e = engine_open(&ck, &w, &o, &err);
        ok = e && engine_cost(e, &job, &cost, &err);
    }
    if (ok) {
        counting_begin(&counting, e->kernels, j->compute);
        e->kernels = &counting.kernels;
        ok = engine_score_windows(e, &job, &done, &err);
    }
    if (check(ok, j->name, "%s", err.message)) {
        compare(j->name, &cost.load, j->few);
        same(j->name, "FLOP as cost.h has them", workload_flop(&cost.load), cost.flop);
        same(j->name, "passes", (double)cost.passes, (double)done.passes);
        check((done.passes > 1) == j->tight, j->name, "%zu passes", done.passes);
        same(j->name, "bytes to read", cost.load.reading.first + cost.load.reading.beside,
             (double)done.bytes_read);
    }
    engine_close(e);
}

static void test_evaluations(void)
{
    static const struct job jobs[] = {
        { "a window of 300 tokens", COMPUTE_F32, false, 1, { { 0, 300, 1 } }, false },
        { "windows of all lengths", COMPUTE_F32, false, 4,
          { { 0, 130, 1 }, { 130, 259, 131 }, { 259, 324, 300 }, { 324, 700, 325 } }, false },
        { "a stride: the last tokens are scored", COMPUTE_F32, false, 3,
          { { 0, 256, 1 }, { 100, 356, 256 }, { 200, 456, 356 } }, false },
        { "several passes, long windows in pieces", COMPUTE_F32, true, 3,
          { { 0, 600, 1 }, { 50, 650, 600 }, { 100, 700, 650 } }, false },
        { "two tokens", COMPUTE_F32, false, 1, { { 0, 3, 1 } }, true },
    };
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        compare_job(&jobs[i]);
}

/* Attention by hand: 4 heads of 64 in 2 groups; 126 tokens make a block of queries. */
static void test_attention(void)
{
    struct attention_amount sum = { 0, 0 };
    attention_count(&sum, &ck.config, 0, 1);
    check(sum.flop == 4 * 4 * 64 && sum.scores == 4, "a token sees itself", "%g FLOP, %g scores",
          sum.flop, sum.scores);
    sum = (struct attention_amount){ 0, 0 };
    attention_count(&sum, &ck.config, 10, 200);
    double blocks = 126 * 136.0 + 74 * 210.0;
    check(sum.flop == 4.0 * 4 * 64 * blocks, "blocks see all keys up to their last token",
          "%g FLOP, expected %g", sum.flop, 4.0 * 4 * 64 * blocks);
    check(sum.scores == 4 * (200 * 10 + 200 * 201 / 2.0), "tokens see those before them",
          "%g scores", sum.scores);
}

static void test_seconds(void)
{
    static const struct engine_window window = { 0, N_IDS, 1 };
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = &window,
                                    .n_windows = 1 };
    for (int t = 0; t < COMPUTE_TYPES; t++) {
        const struct engine_options o = { .compute = (enum compute_type)t };
        struct error err = { 0 };
        struct engine_cost cost;
        struct engine *e = engine_open(&ck, &w, &o, &err);
        bool ok = e && engine_cost(e, &job, &cost, &err);
        double seconds = ok ? engine_seconds(e, &cost) : 0;
        check(seconds > 1e-6 && seconds < 3600, "700 tokens take some time", "%g s: %s", seconds,
              err.message);
        ok = ok && calibration_cost(&cost, e, &window, 1, &err);
        check(ok && cost.load.amount[WORKLOAD_LOGITS] == 0
                  && cost.load.amount[WORKLOAD_OBSERVATION] > 0,
              "calibration sees inputs and has no head", "%g observed: %s",
              cost.load.amount[WORKLOAD_OBSERVATION], err.message);
        same("calibration", "FLOP as cost.h has them", workload_flop(&cost.load), cost.flop);
        engine_close(e);
    }
}

int main(void)
{
    struct error err = { 0 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)(i * 37 % 4000);
    if (check(checkpoint_open(&ck, CHECKPOINT, &err) && weights_bind(&w, &ck, &err), CHECKPOINT,
              "%s", err.message)) {
        test_attention();
        test_evaluations();
        test_seconds();
    }
    weights_free(&w);
    checkpoint_close(&ck);
    return check_done();
}
