#include "eval/score/trace.h"

#include <stdlib.h>

#include "base/output_file.h"
#include "base/progress.h"
#include "eval/protocol/input.h"
#include "eval/score/changed_inputs.h"
#include "eval/score/job_inputs.h"
#include "eval/score/model.h"
#include "eval/score/trace_file.h"
#include "eval/score/trace_report.h"

struct job {
    const struct surprisal_trace_options *options;
    struct model model;
    struct input_files inputs;
    int32_t *ids;                       /* owned [n_ids] */
    size_t n_ids;
    struct trace_foreign foreign;       /* path NULL: there is none */
    struct trace_differences differences;
    struct trace_file file;
    bool writes;                        /* in the run that is going on */
};

/* ---- what the engine gives ------------------------------------------------------ */

static bool consume_layer(void *user, size_t layer, float *residual, const int32_t *routing,
                          struct error *err)
{
    struct job *j = user;
    return (!j->writes || trace_file_layer(&j->file, layer, residual, routing, err))
        && (!j->foreign.path
            || trace_differences_layer(&j->differences, layer, residual, routing, err));
}

static bool consume_hidden(void *user, size_t row, size_t n, float *hidden, struct error *err)
{
    struct job *j = user;
    return (!j->writes || trace_file_hidden(&j->file, row, n, hidden, err))
        && (!j->foreign.path || trace_differences_hidden(&j->differences, row, n, hidden, err));
}

static bool consume_logits(void *user, size_t row, size_t n, const float *logits, struct error *err)
{
    struct job *j = user;
    return (!j->writes || trace_file_logits(&j->file, row, n, logits, err))
        && (!j->foreign.path || trace_differences_logits(&j->differences, row, n, logits, err));
}

static bool run(struct job *j, struct error *err)
{
    const struct engine_tracer tracer = { .layer = consume_layer, .hidden = consume_hidden,
                                          .logits = consume_logits, .user = j };
    return engine_trace(j->model.engine, j->ids, j->n_ids, &tracer, err);
}

/* ---- the job -------------------------------------------------------------------- */

static bool read_ids(struct job *j, struct error *err)
{
    const struct surprisal_trace_options *o = j->options;
    const char *from = o->ids ? o->ids : j->foreign.path;
    return (o->ids ? input_read_ids(o->ids, &j->ids, &j->n_ids, NULL, err)
                   : trace_foreign_ids(&j->foreign, &j->ids, &j->n_ids, err))
        && (j->n_ids || error_set(err, "%s: holds no tokens", from))
        && input_check_ids(j->ids, j->n_ids, from, j->model.checkpoint, err);
}

static bool open_foreign(struct job *j, const char *against, struct error *err)
{
    return !against || (trace_foreign_open(&j->foreign, against, err)
                        && input_files_add_mapped(&j->inputs, &j->foreign.file.map, err));
}

static bool check_foreign(struct job *j, struct error *err)
{
    const struct config *c = &j->model.checkpoint->config;
    enum compute_type compute =
        j->options->machine.compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32;
    return !j->foreign.path
        || (trace_foreign_check(&j->foreign, c, j->ids, j->n_ids, err)
            && trace_differences_make(&j->differences, &j->foreign, c, j->n_ids, compute, err));
}

/* Lists and reads all inputs, and opens the engine. */
static bool open_all(struct job *j, const char *against, struct error *err)
{
    const struct surprisal_trace_options *o = j->options;
    const struct engine_options engine = model_engine_options(&o->machine, 0);
    const struct model_source from = { o->checkpoint, o->model };
    if (!model_source_check(from, err) || !model_source_list(&j->inputs, from, err)
        || !input_files_add(&j->inputs, o->ids, err) || !open_foreign(j, against, err)
        || !model_open(&j->model, from, &j->inputs, &o->machine.progress, err)
        || !read_ids(j, err) || !check_foreign(j, err)
        || !model_open_engine(&j->model, &engine, err))
        return false;
    model_warn_context(&o->machine.progress, j->model.checkpoint, j->n_ids);
    return true;
}

/* Our own run; its trace is written if a file is asked for. */
static bool run_own(struct job *j, struct error *err)
{
    const struct surprisal_trace_options *o = j->options;
    const struct config *c = &j->model.checkpoint->config;
    const struct progress progress = PROGRESS_OF(&o->machine.progress);
    if (!o->out)
        return run(j, err) && changed_inputs_refuse(&j->inputs, NULL, &o->machine.progress, err);
    if (!output_file_try(o->out, trace_file_bytes(c, j->n_ids), &j->inputs, &progress, err)
        || !trace_file_create(&j->file, o->out, c, j->ids, j->n_ids, err))
        return false;
    j->writes = true;
    bool ok = run(j, err) && changed_inputs_refuse(&j->inputs, NULL, &o->machine.progress, err);
    j->writes = false;
    if (ok)
        return safetensors_commit(&j->file.writer, err);
    safetensors_abandon(&j->file.writer);
    return false;
}

/* The run in which each step begins with their states. */
static bool run_alone(struct job *j, struct error *err)
{
    j->differences.alone = true;
    return run(j, err)
        && changed_inputs_refuse(&j->inputs, NULL, &j->options->machine.progress, err);
}

static void job_close(struct job *j)
{
    trace_differences_free(&j->differences);
    trace_foreign_close(&j->foreign);
    free(j->ids);
    input_files_free(&j->inputs);
    model_close(&j->model);
}


bool trace_ids(const struct surprisal_trace_options *o, struct error *err)
{
    if ((!o->checkpoint && !o->model) || !o->ids || !o->out)
        return error_set(err, "a trace needs a checkpoint, ids and a file to write");
    struct job j = { .options = o };
    bool ok = open_all(&j, NULL, err) && run_own(&j, err);
    job_close(&j);
    return ok;
}

bool trace_against(cJSON **json, struct buffer *text, const struct surprisal_trace_options *o,
                   const char *against, struct error *err)
{
    if ((!o->checkpoint && !o->model) || !against)
        return error_set(err, "a comparison of traces needs a checkpoint and a trace");
    struct job j = { .options = o };
    enum compute_type compute =
        o->machine.compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32;
    bool ok = open_all(&j, against, err) && run_own(&j, err) && run_alone(&j, err)
           && (!json || trace_report_json(json, &j.differences, compute, err))
           && (!text || trace_report_text(text, &j.differences, compute, err));
    job_close(&j);
    return ok;
}
