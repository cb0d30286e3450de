#include "bench/bench_report.h"

#include <stdio.h>

#include "base/format.h"
#include "base/progress.h"

#define SECONDS 0.15

/* ---- writing ------------------------------------------------------------------ */

/* A measured number: more than four digits would be noise.  0: not measured. */
static bool add_measured(cJSON *to, const char *key, double value)
{
    char text[32];
    if (!(value > 0))
        return cJSON_AddNullToObject(to, key);
    format_text(text, sizeof text, "%.4g", value);
    return cJSON_AddRawToObject(to, key, text);
}

static bool add_limits(cJSON *root, const struct bench_result *r)
{
    const double (*peak)[2] = r->peak_flops;
    cJSON *to = cJSON_AddObjectToObject(root, "limits");
    return to && add_measured(to, "fma_f32_gflops", peak[COMPUTE_F32][0] / 1e9)
        && add_measured(to, "fma_f32_gflops_1_thread", peak[COMPUTE_F32][1] / 1e9)
        && add_measured(to, "bf16_dot_gflops", peak[COMPUTE_BF16][0] / 1e9)
        && add_measured(to, "bf16_dot_gflops_1_thread", peak[COMPUTE_BF16][1] / 1e9)
        && add_measured(to, "memory_read_gb_per_second", r->memory[0].bytes_per_second / 1e9)
        && add_measured(to, "memory_read_gb_per_second_1_thread",
                        r->memory[1].bytes_per_second / 1e9)
        && json_add_size(to, "memory_buffer_bytes", r->memory[0].bytes)
        && add_measured(to, "disk_read_gb_per_second", r->disk.bytes_per_second / 1e9)
        && json_add_size(to, "disk_read_bytes", r->disk.bytes);
}

static bool add_rows(cJSON *to, const struct bench_result *r, const struct bench_figure *f)
{
    double rate = f->bytes / f->seconds;
    return add_measured(to, "gb_per_second", rate / 1e9)
        && add_measured(to, "share", rate / r->memory[0].bytes_per_second)
        && add_measured(to, "ns_per_value", f->seconds * 1e9 * r->n_threads / f->values);
}

static bool add_product(cJSON *to, const struct bench_result *r, const struct bench_figure *f)
{
    double rate = f->flop / f->seconds, limit = bench_limit(r, f);
    return cJSON_AddStringToObject(to, "compute", kernels_compute_name(f->type))
        && (!f->weights || cJSON_AddStringToObject(to, "weights", f->weights))
        && add_measured(to, "gflops", rate / 1e9)
        && (f->kind != BENCH_FEW_ROWS
            || add_measured(to, "gb_per_second", f->bytes / f->seconds / 1e9))
        && add_measured(to, "limit_gflops", limit / 1e9)
        && add_measured(to, "share", rate / limit);
}

static bool add_figure(cJSON *list, const struct bench_result *r, const struct bench_figure *f)
{
    static const char *const kinds[] = {
        [BENCH_PRODUCT] = "product", [BENCH_FEW_ROWS] = "few rows", [BENCH_MIXER] = "mixer",
        [BENCH_ROWS] = "rows",
    };
    char shape[80];
    int n = snprintf(shape, sizeof shape, "%zu x %zu", f->m, f->n);
    if (f->k)
        snprintf(shape + n, sizeof shape - (size_t)n, " x %zu", f->k);
    cJSON *to = cJSON_CreateObject();
    return cJSON_AddItemToArray(list, to) && cJSON_AddStringToObject(to, "name", f->name)
        && cJSON_AddStringToObject(to, "kind", kinds[f->kind])
        && cJSON_AddStringToObject(to, "shape", shape)
        && (f->kind == BENCH_ROWS ? add_rows(to, r, f) : add_product(to, r, f));
}

static bool add_sums(cJSON *root, const struct bench_result *r)
{
    const struct bench_layer *l = &r->layer;
    const char *layer_type = r->linear_attention ? "linear_attention" : "full_attention";
    if (!cJSON_AddStringToObject(root, "layer_type", layer_type)
        || !json_add_size(root, "layer_tokens", BENCH_TOKENS)
        || !add_measured(root, "layer_gflop", l->flop / 1e9))
        return false;
    cJSON *seconds = cJSON_AddObjectToObject(root, "layer_products_seconds");
    cJSON *share = cJSON_AddObjectToObject(root, "layer_products_share");
    cJSON *ratio = cJSON_AddObjectToObject(root, "layer_mxfp4_time_ratio");
    cJSON *divergence = cJSON_AddObjectToObject(root, "kld_share_of_head");
    bool ok = seconds && share && ratio && divergence;
    for (int i = 0; ok && i < COMPUTE_TYPES; i++) {
        enum compute_type type = (enum compute_type)i;
        const char *name = kernels_compute_name(type);
        ok = add_measured(seconds, name, l->seconds[i])
          && add_measured(share, name, l->seconds_at_limit[i] / l->seconds[i])
          && add_measured(ratio, name, l->seconds_mxfp4[i] / l->seconds[i])
          && add_measured(divergence, name, r->divergence_share[i]);
    }
    return ok;
}

static bool add_all(cJSON *root, const struct bench_result *r, const char *checkpoint,
                    double seconds)
{
    bool ok = root && cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION)
           && cJSON_AddStringToObject(root, "isa", r->isa)
           && json_add_size(root, "threads", (size_t)r->n_threads)
           && (checkpoint ? json_add_bytes(root, "checkpoint", checkpoint)
                          : cJSON_AddNullToObject(root, "checkpoint"))
           && add_measured(root, "seconds", seconds)
           && json_add_double(root, "waited_share", r->waited_share) && add_limits(root, r);
    cJSON *list = ok ? cJSON_AddArrayToObject(root, "kernels") : NULL;
    ok = list != NULL;
    for (size_t i = 0; ok && i < r->n_figures; i++)
        ok = add_figure(list, r, &r->figures[i]);
    return ok && add_sums(root, r);
}

/* ---- running -------------------------------------------------------------------- */

static const char *largest_file(const struct checkpoint *ck)
{
    const struct mapped_file *largest = NULL;
    for (size_t i = 0; i < ck->n_files; i++)
        if (!largest || ck->files[i].map.size > largest->size)
            largest = &ck->files[i].map;
    return largest ? largest->path : NULL;
}

bool bench_report(cJSON **json, struct buffer *text, const struct surprisal_bench_options *options,
                  const struct checkpoint *opened, struct error *err)
{
    struct checkpoint own = { 0 };
    struct bench_result result = { 0 };
    struct bench_options o = {
        .isa = options->machine.isa, .n_threads = options->machine.threads,
        .seconds = options->seconds > 0 ? options->seconds : SECONDS,
        .progress = PROGRESS_OF(&options->machine.progress), .plan = options->plan,
    };
    if (!opened && options->checkpoint) {
        if (!checkpoint_open(&own, options->checkpoint, err))
            return false;
        opened = &own;
    }
    const char *path = opened ? opened->path : NULL;
    if (opened) {
        o.config = &opened->config;
        o.file = largest_file(opened);
    }
    bool ok = bench_run(&result, &o, err)
           && (!text || bench_text(text, &result, path, err));
    if (ok && json) {
        *json = cJSON_CreateObject();
        ok = add_all(*json, &result, path, o.seconds)
          || error_set(err, "out of memory: the result of bench");
        if (!ok)
            cJSON_Delete(*json);
    }
    bench_free(&result);
    checkpoint_close(&own);
    return ok;
}
