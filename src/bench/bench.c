#include "bench/bench.h"

#include <math.h>
#include <stdlib.h>

#include "base/format.h"
#include "base/machine.h"
#include "base/threads.h"
#include "bench/bench_work.h"
#include "engine/stopwatch.h"

#define DISK_BYTES ((size_t)2 << 30)
#define DISK_SECONDS 3.0
#define MUCH_WAITING 0.02

/* Qwen3.5-35B-A3B's text_config. */
static struct config published_config(enum layer_type types[40])
{
    for (size_t i = 0; i < 40; i++)
        types[i] = i % 4 == 3 ? FULL_ATTENTION : LINEAR_ATTENTION;
    return (struct config){
        .model_type = "qwen3_5_moe", .hidden_size = 2048, .num_hidden_layers = 40,
        .vocab_size = 248320, .rms_norm_eps = 1e-6, .layer_types = types,
        .num_attention_heads = 16, .num_key_value_heads = 2, .head_dim = 256, .rotary_dim = 64,
        .rope_theta = 1e7, .linear_num_key_heads = 16, .linear_num_value_heads = 32,
        .linear_key_head_dim = 128, .linear_value_head_dim = 128, .linear_conv_kernel_dim = 4,
        .num_experts = 256, .num_experts_per_tok = 8, .moe_intermediate_size = 512,
        .shared_expert_intermediate_size = 512,
    };
}

/* ---- limits --------------------------------------------------------------------- */

/* Types whose arithmetic differs. */
static int n_peaks(const struct bench_result *r)
{
    return r->has_dot ? COMPUTE_TYPES : 1;
}

/* Before the kernels and after them; the higher counts, since other work may have come between. */
static bool measure_peaks(struct bench *b, struct error *err)
{
    struct bench_result *r = b->result;
    for (int type = 0; type < n_peaks(r); type++)
        for (int one = 0; one < 2; one++) {
            if (!bench_next(b, "arithmetic", err))
                return false;
            struct limits_peak peak = limits_peak(b->kernels, (enum compute_type)type,
                                                  one ? 1 : r->n_threads);
            double flops = limits_peak_flops(&peak, b->options->seconds);
            r->peak_flops[type][one] = fmax(flops, r->peak_flops[type][one]);
        }
    return true;
}

static bool measure_transfers(struct bench *b, struct error *err)
{
    struct bench_result *r = b->result;
    const struct bench_options *o = b->options;
    return bench_next(b, "memory", err)
        && limits_memory(&r->memory[0], &r->memory[1], r->n_threads, o->seconds, err)
        && (!o->file || (bench_next(b, "disk", err)
                         && limits_disk(&r->disk, o->file, DISK_BYTES, DISK_SECONDS, err)));
}

double bench_limit(const struct bench_result *result, const struct bench_figure *figure)
{
    double read = result->memory[0].bytes_per_second;
    if (figure->kind != BENCH_FEW_ROWS)
        return figure->limit;
    return fmin(figure->limit, figure->flop * read / figure->bytes);
}

/* ---- the whole ------------------------------------------------------------------ */

static void tell_plan(struct bench *b)
{
    const struct bench_options *o = b->options;
    size_t products = bench_products_count(b->config) + COMPUTE_TYPES + bench_few_count()
                    + bench_mixers_count(b->config);
    size_t limits = 2 * 2 * (size_t)n_peaks(b->result) + 1 + (o->file ? 1 : 0);
    size_t alone = limits + bench_rows_count();
    b->planned = products + alone;
    if (o->plan)
        o->plan(o->progress.user, b->planned,
                STOPWATCH_ROUNDS * o->seconds * (double)(2 * products + alone + 1)
                    + (o->file ? DISK_SECONDS : 0));
}

static void warn(const struct progress *p, double waited)
{
    char line[160];
    format_text(line, sizeof line,
                "other work had %.0f %% of the processors' time: the figures are "
                "too low, and shares are not of one moment",
                100 * waited);
    if (p->warn)
        p->warn(p->user, line);
}

bool bench_run(struct bench_result *result, const struct bench_options *options,
               struct error *err)
{
    enum layer_type types[40];
    struct config published = published_config(types);
    struct bench b = { .config = options->config ? options->config : &published,
                       .result = result, .options = options };
    *result = (struct bench_result){
        .n_threads = options->n_threads ? options->n_threads : machine_processors() };
    b.kernels = kernels_find(options->isa, err);
    if (!b.kernels || !threads_start(result->n_threads, 0, err))
        return false;
    result->isa = b.kernels->isa;
    result->has_dot = limits_has_dot(b.kernels);
    for (int type = 0; type < COMPUTE_TYPES; type++)
        b.peaks[type] = limits_peak(b.kernels,
                                    result->has_dot ? (enum compute_type)type : COMPUTE_F32,
                                    result->n_threads);
    tell_plan(&b);
    double start = machine_seconds(), waited = machine_waited_seconds();
    bool ok = measure_peaks(&b, err) && measure_transfers(&b, err) && bench_products(&b, err)
           && bench_divergence(&b, err) && bench_few(&b, err) && bench_mixers(&b, err)
           && bench_rows(&b, err) && measure_peaks(&b, err);
    result->waited_share = (machine_waited_seconds() - waited)
                         / (machine_seconds() - start) / result->n_threads;
    if (ok && result->waited_share > MUCH_WAITING)
        warn(&options->progress, result->waited_share);
    return ok;
}

void bench_free(struct bench_result *result)
{
    free(result->figures);
    *result = (struct bench_result){ 0 };
}
