#include "eval/score/calibrate.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/machine.h"
#include "base/output_file.h"
#include "base/progress.h"
#include "engine/estimate.h"
#include "eval/run/warnings.h"
#include "eval/score/calibration_file.h"
#include "eval/score/evaluate.h"
#include "eval/score/changed_inputs.h"
#include "eval/score/job_inputs.h"
#include "eval/score/model.h"
#include "eval/score/plan_run.h"

#define HEX_BYTES (2 * DIGEST_BYTES + 1)

struct job {
    const struct surprisal_calibrate_options *options;
    struct surprisal_calibrate_options own_options;     /* the caller's, but for its progress */
    struct warnings warnings;
    struct input_files inputs;
    struct model model;
    struct plans plans;                 /* one: calibrate_check */
    struct plan_runs runs;
    struct weights_hash *hash;
    struct calibration calibration;
    struct engine_statistics work;
    char checkpoint_digest[HEX_BYTES], text_digest[HEX_BYTES];
    double seconds;
};

/* options stay borrowed. */
static void job_begin(struct job *j, const struct surprisal_calibrate_options *options)
{
    *j = (struct job){ .own_options = *options };
    j->options = &j->own_options;
    warnings_begin(&j->warnings, &options->eval.machine.progress);
    j->own_options.eval.machine.progress = j->warnings.progress;
}

static void job_close(struct job *j)
{
    warnings_free(&j->warnings);
    calibration_free(&j->calibration);
    weights_hash_close(j->hash);
    plan_runs_free(&j->runs);
    plans_free(&j->plans);
    model_close(&j->model);
    input_files_free(&j->inputs);
}

bool calibrate_check(const struct surprisal_calibrate_options *o, struct error *err)
{
    if (!o->out)
        return error_set(err, "no file for the statistics is given");
    if (o->eval.n_plans)
        return error_set(err, "a calibration has the windows of one protocol, not of a list of "
                         "plans");
    if (o->eval.skip_nonfinite)
        return error_set(err, "a calibration leaves no windows out: a NaN or infinity ends it");
    if (o->eval.part.of)
        return error_set(err, "a calibration is not made in parts");
    return evaluate_check(&o->eval, err);
}

/* ---- the work ------------------------------------------------------------------ */

static const struct surprisal_protocol_plan *plan_of(const struct job *j)
{
    return j->plans.list;
}

static bool read_text(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    if (!model_open_tokenizer(&j->model, o, err) || !plans_make(&j->plans, o, err)
        || !plan_runs_make(&j->runs, &j->plans, o, &j->model, err))
        return false;
    digest_hex(j->text_digest, &j->runs.list->summary.input->digest);
    return true;
}

static bool open_checkpoint(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    return job_inputs_add(&j->inputs, o, err)
        && model_open(&j->model, model_source_of(o), &j->inputs, &o->machine.progress, err);
}

/* Finds out before the work whether the file can be written and the disk has room for it. */
static bool try_out(const struct job *j, struct error *err)
{
    const struct progress progress = PROGRESS_OF(&j->options->eval.machine.progress);
    return output_file_try(j->options->out, calibration_file_bytes(&j->calibration), &j->inputs,
                           &progress, err);
}

static bool inputs_hold(void *user, struct error *err)
{
    struct job *j = user;
    return changed_inputs_refuse(&j->inputs, j->hash, &j->options->eval.machine.progress, err);
}

/* The sums and a list of the windows take their part of the memory budget. */
static bool open_engine(struct job *j, struct error *err)
{
    const struct engine_options engine = model_engine_options(
        &j->options->eval.machine,
        j->calibration.bytes + j->runs.windows.n * sizeof(struct engine_window));
    return model_open_engine(&j->model, &engine, err);
}

static bool tell_plan(const struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    struct engine_cost cost;
    if (!calibration_cost(&cost, j->model.engine, j->runs.windows.list, j->runs.windows.n, err))
        return false;
    const struct surprisal_plan plan = {
        .windows = j->runs.windows.n,
        .model_tokens = windows_model_tokens(&j->runs.windows), .passes = cost.passes,
        .bytes_read = cost.bytes_read,
        .memory_bytes = cost.memory_bytes + j->model.held_bytes,
        .flop = cost.flop,
        .seconds = o->plan ? estimate_seconds(j->model.engine, j->runs.windows.list,
                                              j->runs.windows.n, &cost) : 0,
    };
    if (o->plan)
        o->plan(j->warnings.to.user, &plan);
    return true;
}

static bool run(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    const struct progress progress = PROGRESS_OF(&o->machine.progress);
    struct engine *e = j->model.engine;
    struct digest digest;
    j->hash = model_hash_open(&j->model, err);
    const struct engine_job job = {
        .ids = j->runs.ids, .n_ids = j->runs.n_ids, .windows = j->runs.windows.list,
        .n_windows = j->runs.windows.n, .hash = j->hash, .guard = { inputs_hold, j },
    };
    double started = machine_seconds();
    if (!j->hash || !calibration_run(&j->calibration, e, &job, &j->work, err)
        || !weights_hash_rest(j->hash, engine_threads(e), &progress, err)
        || !weights_hash_end(&digest, j->hash, err) || !inputs_hold(j, err))
        return false;
    model_hash_keep(&j->model, j->hash);
    j->seconds = machine_seconds() - started;
    digest_hex(j->checkpoint_digest, &digest);
    return true;
}

static const char *compute_word(const struct surprisal_eval_options *o)
{
    return o->machine.compute == SURPRISAL_COMPUTE_BF16 ? "bf16" : "f32";
}

static bool write(const struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    char context[24], stride[24], windows[24], tokens[24];
    snprintf(context, sizeof context, "%zu", plan_of(j)->context);
    snprintf(stride, sizeof stride, "%zu", plan_of(j)->stride);
    snprintf(windows, sizeof windows, "%zu", j->runs.windows.n);
    snprintf(tokens, sizeof tokens, "%zu", j->work.model_tokens);
    const struct safetensors_note notes[] = {
        { "surprisal", SURPRISAL_VERSION }, { "checkpoint", j->checkpoint_digest },
        { "text", j->text_digest }, { "protocol", protocol_name(plan_of(j)->protocol) },
        { "context", context }, { "stride", stride }, { "windows", windows }, { "tokens", tokens },
        { "compute", compute_word(o) },
    };
    return calibration_file_write(j->options->out, &j->calibration, j->model.checkpoint,
                                  j->model.weights, notes, sizeof notes / sizeof *notes, err);
}

/* ---- the report ------------------------------------------------------------------ */

static size_t expert_tokens(const struct job *j, size_t layer, size_t expert)
{
    const struct mlp_weights *x = &j->model.weights->layers[layer].experts[expert];
    return calibration_of(&j->calibration, &x->gate)->tokens;
}

static void add_experts(cJSON *root, const struct job *j)
{
    const struct config *c = &j->model.checkpoint->config;
    size_t least = j->options->min_tokens, unused = 0;
    if (!c->num_experts) {
        cJSON_AddNullToObject(root, "experts");
        return;
    }
    cJSON *experts = cJSON_AddObjectToObject(root, "experts"), *rare = cJSON_CreateArray();
    for (size_t layer = 0; layer < c->num_hidden_layers; layer++)
        for (size_t e = 0; e < c->num_experts; e++) {
            size_t tokens = expert_tokens(j, layer, e);
            unused += tokens == 0;
            if (tokens >= least)
                continue;
            cJSON *o = cJSON_CreateObject();
            json_add_size(o, "layer", layer);
            json_add_size(o, "expert", e);
            json_add_size(o, "tokens", tokens);
            cJSON_AddItemToArray(rare, o);
        }
    json_add_size(experts, "count", c->num_hidden_layers * c->num_experts);
    json_add_size(experts, "min_tokens", least);
    json_add_size(experts, "unused", unused);
    cJSON_AddItemToObject(experts, "rare", rare);
}

static cJSON *report_json(const struct job *j)
{
    const struct surprisal_eval_options *o = &j->options->eval;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION);
    json_add_bytes(root, "out", j->options->out);
    cJSON *checkpoint = cJSON_AddObjectToObject(root, "checkpoint");
    json_add_bytes(checkpoint, "path", j->model.checkpoint->path);
    cJSON_AddStringToObject(checkpoint, "digest", j->checkpoint_digest);
    cJSON *text = cJSON_AddObjectToObject(root, "text");
    json_add_bytes(text, "path", j->runs.list->summary.input->path);
    cJSON_AddStringToObject(text, "sha256", j->text_digest);
    cJSON_AddStringToObject(root, "protocol", protocol_name(plan_of(j)->protocol));
    json_add_size(root, "context", plan_of(j)->context);
    json_add_size(root, "stride", plan_of(j)->stride);
    json_add_size(root, "windows", j->runs.windows.n);
    json_add_size(root, "tokens", j->work.model_tokens);
    cJSON_AddStringToObject(root, "compute", compute_word(o));
    cJSON_AddStringToObject(root, "isa", engine_isa(j->model.engine));
    json_add_size(root, "threads", (size_t)engine_threads(j->model.engine));
    json_add_size(root, "linears", j->calibration.n);
    add_experts(root, j);
    warnings_add_json(root, &j->warnings);
    json_add_double(root, "seconds", j->seconds);
    json_add_size(root, "passes", j->work.passes);
    json_add_size(root, "bytes_read", j->work.bytes_read);
    return root;
}

/* Layer by layer, the experts below the threshold. */
static bool add_rare(struct buffer *out, const struct job *j, struct error *err)
{
    const struct config *c = &j->model.checkpoint->config;
    size_t least = j->options->min_tokens, rare = 0;
    bool ok = true;
    for (size_t layer = 0; layer < c->num_hidden_layers; layer++) {
        bool first = true;
        for (size_t e = 0; ok && e < c->num_experts; e++) {
            size_t tokens = expert_tokens(j, layer, e);
            if (tokens >= least)
                continue;
            if (first)
                ok = buffer_printf(out, err, "layer %-3zu        rarely used:", layer);
            ok = ok && buffer_printf(out, err, " %zu (%zu)", e, tokens);
            first = false;
            rare++;
        }
        if (!first)
            ok = ok && buffer_append(out, "\n", 1, err);
    }
    return ok && (!c->num_experts
                  || buffer_printf(out, err, "experts          %zu of %zu got fewer than %zu "
                                   "tokens\n", rare, c->num_hidden_layers * c->num_experts, least));
}

static bool add_text(struct buffer *out, const struct job *j, struct error *err)
{
    struct error file = { 0 }, checkpoint = { 0 }, input = { 0 };
    return buffer_printf(out, err, "statistics       %s\n"
                         "checkpoint       %s, digest %.12s\ntext             %s, sha256 %.12s\n"
                         "tokens           %zu in %zu windows, %.1f s\nlinear layers    %zu\n",
                         error_clean(&file, j->options->out),
                         error_clean(&checkpoint, j->model.checkpoint->path), j->checkpoint_digest,
                         error_clean(&input, j->runs.list->summary.input->path), j->text_digest,
                         j->work.model_tokens, j->runs.windows.n, j->seconds, j->calibration.n)
        && add_rare(out, j, err);
}

bool calibrate_checkpoint(cJSON **json, struct buffer *text,
                          const struct surprisal_calibrate_options *o, struct error *err)
{
    struct job j;
    job_begin(&j, o);
    bool ok = calibrate_check(o, err)
           && open_checkpoint(&j, err) && read_text(&j, err)
           && calibration_begin(&j.calibration, j.model.checkpoint, j.model.weights, err)
           && try_out(&j, err)
           && open_engine(&j, err) && tell_plan(&j, err) && run(&j, err)
           && (!text || add_text(text, &j, err)) && write(&j, err);
    if (ok && json)
        *json = report_json(&j);
    job_close(&j);
    return ok;
}
