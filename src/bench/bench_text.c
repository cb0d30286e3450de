#include "bench/bench_report.h"

#include <stdio.h>

/* ---- limits ----------------------------------------------------------------- */

static bool add_limit(struct buffer *out, const char *name, double all, double one,
                      const char *unit, struct error *err)
{
    if (!(all > 0))                 /* not of this machine */
        return true;
    return buffer_printf(out, err, "%-36s %10.1f %-8s %10.1f\n", name, all / 1e9, unit, one / 1e9);
}

static bool add_limits(struct buffer *out, const struct bench_result *r, struct error *err)
{
    const double (*peak)[2] = r->peak_flops;
    bool ok = buffer_printf(out, err, "%-36s %10s %-8s %10s\n", "limit", "", "", "one thread")
           && add_limit(out, "f32 multiply-adds, registers only", peak[COMPUTE_F32][0],
                        peak[COMPUTE_F32][1], "GFLOP/s", err)
           && add_limit(out, "BF16 dots, registers only", peak[COMPUTE_BF16][0],
                        peak[COMPUTE_BF16][1], "GFLOP/s", err)
           && add_limit(out, "memory, read", r->memory[0].bytes_per_second,
                        r->memory[1].bytes_per_second, "GB/s", err);
    if (ok && r->disk.bytes)
        ok = buffer_printf(out, err, "%-36s %10.2f GB/s\n", "disk, read",
                           r->disk.bytes_per_second / 1e9);
    return ok;
}

/* ---- kernels ------------------------------------------------------------------ */

static bool add_product(struct buffer *out, const struct bench_figure *f, struct error *err)
{
    double rate = f->flop / f->seconds;
    char shape[80];
    snprintf(shape, sizeof shape, "%zu x %zu x %zu", f->m, f->n, f->k);
    return buffer_printf(out, err, "%-42s %-7s %-7s %20s %9.1f %6.1f %%\n", f->name,
                         kernels_compute_name(f->type), f->weights ? f->weights : "", shape,
                         rate / 1e9, 100 * rate / f->limit);
}

static bool add_few_rows(struct buffer *out, const struct bench_result *r,
                         const struct bench_figure *f, struct error *err)
{
    double rate = f->flop / f->seconds, limit = bench_limit(r, f);
    char shape[80];
    snprintf(shape, sizeof shape, "%zu x %zu x %zu", f->m, f->n, f->k);
    return buffer_printf(out, err, "%-42s %-7s %-7s %20s %9.1f %6.1f %% %9.1f  %s\n", f->name,
                         kernels_compute_name(f->type), f->weights, shape, rate / 1e9,
                         100 * rate / limit, f->bytes / f->seconds / 1e9,
                         limit < f->limit ? "memory" : "arithmetic");
}

static bool add_row_kernel(struct buffer *out, const struct bench_result *r,
                           const struct bench_figure *f, struct error *err)
{
    double rate = f->bytes / f->seconds;
    char shape[80];
    snprintf(shape, sizeof shape, "%zu x %zu", f->m, f->n);
    return buffer_printf(out, err, "%-42s %36s %9.1f %6.1f %% %9.3f\n", f->name, shape, rate / 1e9,
                         100 * rate / r->memory[0].bytes_per_second,
                         f->seconds * 1e9 * r->n_threads / f->values);
}

static bool add_kernels(struct buffer *out, const struct bench_result *r, struct error *err)
{
    bool ok = buffer_printf(out, err, "\n%-42s %-7s %-7s %20s %9s %8s\n", "matrix product",
                            "compute", "weights", "rows x out x in", "GFLOP/s", "share");
    for (size_t i = 0; ok && i < r->n_figures; i++)
        if (r->figures[i].kind == BENCH_PRODUCT || r->figures[i].kind == BENCH_MIXER)
            ok = add_product(out, &r->figures[i], err);
    ok = ok && buffer_printf(out, err, "\n%-42s %-7s %-7s %20s %9s %8s %9s  %s\n",
                             "product of a few rows", "compute", "weights", "rows x out x in",
                             "GFLOP/s", "share", "GB/s", "limit");
    for (size_t i = 0; ok && i < r->n_figures; i++)
        if (r->figures[i].kind == BENCH_FEW_ROWS)
            ok = add_few_rows(out, r, &r->figures[i], err);
    ok = ok && buffer_printf(out, err, "\n%-42s %36s %9s %8s %9s\n", "row kernel", "rows x values",
                             "GB/s", "share", "ns/value");
    for (size_t i = 0; ok && i < r->n_figures; i++)
        if (r->figures[i].kind == BENCH_ROWS)
            ok = add_row_kernel(out, r, &r->figures[i], err);
    return ok;
}

static bool add_layer(struct buffer *out, const struct bench_result *r, struct error *err)
{
    const struct bench_layer *l = &r->layer;
    bool ok = buffer_printf(out, err, "\nthe linear layers of one layer (%s, %zu tokens), the sum "
                            "of their times with BF16 weights\n",
                            r->linear_attention ? "linear attention" : "full attention",
                            BENCH_TOKENS);
    for (int i = 0; ok && i < COMPUTE_TYPES; i++) {
        double rate = l->flop / l->seconds[i];
        ok = buffer_printf(out, err,
                           "  %-5s %9.3f s %9.1f GFLOP/s %6.1f %% of the limit; "
                           "MXFP4 takes %.3f times as long\n",
                           kernels_compute_name((enum compute_type)i), l->seconds[i], rate / 1e9,
                           100 * l->seconds_at_limit[i] / l->seconds[i],
                           l->seconds_mxfp4[i] / l->seconds[i]);
    }
    return ok;
}

static bool add_divergence(struct buffer *out, const struct bench_result *r, struct error *err)
{
    return buffer_printf(out, err,
                         "\nKL divergence over the vocabulary, both heads' products counted, "
                         "to the speed of the head's product: f32 %.1f %%, bf16 %.1f %%\n",
                         100 * r->divergence_share[COMPUTE_F32],
                         100 * r->divergence_share[COMPUTE_BF16]);
}

bool bench_text(struct buffer *out, const struct bench_result *result, const char *checkpoint,
                struct error *err)
{
    return buffer_printf(out, err, "isa %s, %d thread%s, shapes of %s\n\n", result->isa,
                         result->n_threads, result->n_threads == 1 ? "" : "s",
                         checkpoint ? checkpoint : "Qwen3.5-35B-A3B")
        && add_limits(out, result, err) && add_kernels(out, result, err)
        && add_layer(out, result, err) && add_divergence(out, result, err);
}
