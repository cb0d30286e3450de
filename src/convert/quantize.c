#include "convert/quantize.h"

#include <stdlib.h>
#include <string.h>

#include "convert/job.h"
#include "convert/new_config.h"
#include "convert/packing_plan.h"

bool quantize_check(const struct surprisal_quantize_options *o, struct error *err)
{
    bool weighs = o->gamma || o->activations;
    if (!o->checkpoint)
        return error_set(err, "the checkpoint is missing");
    if (!o->out && !o->dry_run)
        return error_set(err, "the folder to write is missing");
    if (o->recipe != SURPRISAL_RECIPE_DEFAULT && o->n_include)
        return error_set(err, "--recipe and --include contradict each other");
    if (!(o->scale_percentile >= 0 && o->scale_percentile <= 100))
        return error_set(err, "--scale-percentile is above 0 and at most 100");
    if (o->scale_percentile > 0 && o->scale != SURPRISAL_SCALE_QSTREAM)
        return error_set(err, "--scale-percentile belongs to --scale qstream");
    if (o->gamma && o->activations)
        return error_set(err, "--gamma and --activations contradict each other");
    if (weighs && o->scale == SURPRISAL_SCALE_OCP)
        return error_set(err, "--scale ocp has no errors to weigh: --gamma and --activations need"
                         " another");
    return true;
}

/* ---- the layout ------------------------------------------------------------------------- */

static bool add_module(struct layout *l, const struct listed_weight *m, bool packed,
                       struct error *err)
{
    struct task task = { .module = m, .action = packed ? TASK_PACK : TASK_COPY };
    size_t n = strlen(m->name), second;
    if (!packed)
        return layout_add_tensor(l, &task.tensor, m->name, n, "", m->stored.view.dtype,
                                 m->stored.ndim, m->stored.shape, err)
            && layout_add_task(l, &task, err);
    const size_t codes[] = { m->stored.view.rows, m->stored.view.cols / 2 };
    const size_t scales[] = { m->stored.view.rows, m->stored.view.cols / mxfp4_block_size() };
    n = weight_module_length(m->name);
    return layout_add_tensor(l, &task.tensor, m->name, n, weight_part_suffix(DTYPE_MXFP4, 0),
                             DTYPE_U8, 2, codes, err)
        && layout_add_tensor(l, &second, m->name, n, weight_part_suffix(DTYPE_MXFP4, 1), DTYPE_U8,
                             2, scales, err)
        && layout_add_task(l, &task, err);
}

static bool make_layout(struct job *j, const struct selection *s, size_t shard_bytes,
                        struct error *err)
{
    const struct listed_weight **order = layout_reading_order(&j->modules, err);
    bool ok = order != NULL;
    for (size_t i = 0; ok && i < j->modules.n; i++)
        ok = add_module(&j->layout, order[i], s->packed[order[i] - j->modules.list], err);
    free(order);
    return ok && layout_finish(&j->layout, shard_bytes ? shard_bytes : DEFAULT_SHARD_BYTES, err);
}

/* ---- the run ------------------------------------------------------------------------------ */

static bool refuse_quantized(const struct job *j, struct error *err)
{
    if (new_config_is_quantized(&j->ck))
        return error_set(err,
                         "%s/config.json: has a quantization_config, expected a checkpoint that"
                         " is not quantized",
                         j->ck.path);
    for (size_t i = 0; i < j->modules.n; i++)
        if (j->modules.list[i].stored.is_packed)
            return error_set(err, "%s: '%s' is quantized already",
                             j->modules.list[i].stored.parts[0]->file,
                             j->modules.list[i].stored.parts[0]->name);
    return true;
}

/* Settings that change bytes but not the layout. */
static bool hash_settings(struct digest *out, const struct surprisal_quantize_options *o,
                          const struct importance *im, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    double settings[] = { (double)o->scale, packing_plan_percentile(o),
                          (double)im->is_activations };
    bool ok = s && digest_update(s, settings, sizeof settings, err);
    const struct mapped_file *map = &im->file.map;
    for (size_t at = 0, n; ok && im->is_open && at < map->size; at += n) {
        n = size_min((size_t)8 << 20, map->size - at);
        ok = file_populate(map, at, n, err) && digest_update(s, map->data + at, n, err);
        file_release(map, at, n, false);
    }
    return digest_end(s, ok ? out : NULL, err) && ok;
}

static bool show_plan(const cJSON *plan, const struct surprisal_quantize_options *o,
                      struct error *err)
{
    struct buffer text = { 0 };
    bool ok = !o->plan || packing_plan_text(&text, plan, err);
    if (ok && o->plan)
        o->plan(o->machine.progress.user, text.data);
    buffer_free(&text);
    return ok;
}

static bool run(struct job *j, const struct selection *s, struct importance *im,
                const struct surprisal_quantize_options *o, cJSON *result, struct error *err)
{
    char *config = new_config_quantized(&j->ck, &j->modules, s, err);
    struct digest work;
    static const enum mxfp4_scale scales[] = {
        [SURPRISAL_SCALE_QSTREAM] = MXFP4_QSTREAM, [SURPRISAL_SCALE_EXACT] = MXFP4_EXACT,
        [SURPRISAL_SCALE_OCP] = MXFP4_OCP,
    };
    j->stream.rule = mxfp4_rule(scales[o->scale], packing_plan_percentile(o));
    j->stream.importance = im->is_open ? im : NULL;
    j->stream.stage = "quantize";
    bool ok = config && make_layout(j, s, o->shard_bytes, err) && hash_settings(&work, o, im, err)
           && job_run(j, o->out, config, &work, o->resume, result, err)
           && ((json_add_size(result, "blocks", j->stream.blocks)
                && json_add_size(result, "undecided", j->stream.undecided))
               || error_set(err, "out of memory: the result"));
    cJSON_free(config);
    return ok;
}

static bool plan_and_run(struct job *j, const struct surprisal_quantize_options *o, cJSON *result,
                         struct error *err)
{
    struct selection s = { 0 };
    struct importance im = { 0 };
    bool ok = refuse_quantized(j, err) && input_files_add(&j->inputs, o->gamma, err)
           && input_files_add(&j->inputs, o->activations, err)
           && (!o->out || unfinished_checkpoint_check(o->out, &j->inputs, err))
           && selection_make(&s, &j->modules, o, err) && importance_open(&im, o, err);
    cJSON *plan = ok ? packing_plan_make(&j->modules, &s, o, &im, err) : NULL;
    ok = plan && cJSON_AddItemToObject(result, "plan", plan) && show_plan(plan, o, err)
      && selection_check(&s, o, err) && (o->dry_run || run(j, &s, &im, o, result, err));
    importance_close(&im);
    selection_free(&s);
    return ok;
}

bool quantize_checkpoint(cJSON **result, const struct surprisal_quantize_options *o,
                         const struct opened_checkpoint *opened, struct error *err)
{
    struct job j = { .is_open = false };
    *result = cJSON_CreateObject();
    bool ok = *result || error_set(err, "out of memory: the result");
    ok = ok && quantize_check(o, err)
      && job_open(&j, o->checkpoint, opened, &o->machine, err)
      && checkpoint_check_bytes(&j.ck, err)     /* what is not packed is copied */
      && plan_and_run(&j, o, *result, err);
    job_close(&j);
    if (!ok) {
        cJSON_Delete(*result);
        *result = NULL;
    }
    return ok;
}

/* ---- as text -------------------------------------------------------------------------------- */

bool quantize_text(struct buffer *out, const cJSON *result, struct error *err)
{
    if (!json_get(result, "bytes_read"))        /* a plan alone */
        return buffer_append(out, "", 0, err);
    double kept = packing_plan_number(result, "shards_kept");
    bool ok = buffer_printf(out, err, "%.1f MB read, %.1f MB written in %.1f s (%.0f MB/s)",
                            packing_plan_number(result, "bytes_read") / 1e6,
                            packing_plan_number(result, "bytes_written") / 1e6,
                            packing_plan_number(result, "seconds"),
                            packing_plan_number(result, "bytes_read_per_second") / 1e6)
           && (!json_get_value(result, "peak_rss_bytes")
               || buffer_printf(out, err, ", at most %.0f MB of memory",
                                packing_plan_number(result, "peak_rss_bytes") / 1e6))
           && buffer_printf(out, err, "\n");
    if (ok && json_get(result, "blocks"))
        ok = buffer_printf(out, err,
                           "%.0f blocks, %.0f of them not decided by the algorithm (two scales"
                           " whose errors are within 4 units in the last place)\n",
                           packing_plan_number(result, "blocks"),
                           packing_plan_number(result, "undecided"));
    if (ok && json_get_value(result, "rounded") && packing_plan_number(result, "rounded") > 0)
        ok = buffer_printf(out, err, "%.0f weights were rounded: BF16 does not hold them\n",
                           packing_plan_number(result, "rounded"));
    if (ok && kept > 0)
        ok = buffer_printf(out, err, "%.0f of %.0f shards were there already\n", kept,
                           packing_plan_number(result, "shards"));
    return ok;
}
