#include "eval/score/trace.h"

#include <stdlib.h>

#include "base/output_file.h"
#include "base/progress.h"
#include "eval/protocol/input.h"
#include "eval/score/changed_inputs.h"
#include "eval/score/job_inputs.h"
#include "eval/score/model.h"

struct file {
    struct safetensors_writer writer;
    size_t residual, routing, logits;   /* numbers of the tensors */
    size_t T, D, k, V;
};

static bool consume_layer(void *user, size_t layer, const float *residual, const int32_t *routing,
                          struct error *err)
{
    struct file *f = user;
    size_t bytes = f->T * f->D * sizeof *residual;
    if (!safetensors_write(&f->writer, f->residual, layer * bytes, residual, bytes, err))
        return false;
    bytes = f->T * f->k * sizeof *routing;
    return !routing || safetensors_write(&f->writer, f->routing, layer * bytes, routing, bytes,
                                         err);
}

static bool consume_logits(void *user, size_t row, size_t n, const float *logits, struct error *err)
{
    struct file *f = user;
    size_t bytes = f->V * sizeof *logits;
    return safetensors_write(&f->writer, f->logits, row * bytes, logits, n * bytes, err);
}

static bool create(struct file *f, const char *path, const struct config *c, size_t n_ids,
                   struct error *err)
{
    *f = (struct file){ .T = n_ids, .D = c->hidden_size, .k = c->num_experts_per_tok,
                        .V = c->vocab_size };
    struct safetensors_entry entries[4];
    size_t n = 0, L = c->num_hidden_layers;
    entries[n++] = (struct safetensors_entry){ "ids", DTYPE_I32, 1, { f->T } };
    f->residual = n;
    entries[n++] = (struct safetensors_entry){ "residual", DTYPE_F32, 3, { L, f->T, f->D } };
    f->routing = n;
    if (c->num_experts)
        entries[n++] = (struct safetensors_entry){ "routing", DTYPE_I32, 3, { L, f->T, f->k } };
    f->logits = n;
    entries[n++] = (struct safetensors_entry){ "logits", DTYPE_F32, 2, { f->T, f->V } };
    return safetensors_create(&f->writer, path, entries, n, err);
}

static bool write(struct file *f, struct model *model, const int32_t *ids, size_t n_ids,
                  struct error *err)
{
    const struct engine_tracer tracer = { .layer = consume_layer,
                                          .logits = consume_logits,
                                          .user = f };
    return safetensors_write(&f->writer, 0, 0, ids, n_ids * sizeof *ids, err)
        && engine_trace(model->engine, ids, n_ids, &tracer, err);
}

/* Of all tensors; SIZE_MAX when they are too many. */
static size_t file_bytes(const struct config *c, size_t n_ids)
{
    size_t a, b, per_token = c->num_experts ? c->num_experts_per_tok : 0;
    bool ok = size_sum(&a, c->hidden_size, per_token) && size_product(&a, a, c->num_hidden_layers)
           && size_sum(&b, c->vocab_size, 1) && size_sum(&a, a, b) && size_product(&a, a, n_ids)
           && size_product(&a, a, sizeof(float));
    return ok ? a : SIZE_MAX;
}

/* Lists and reads all inputs, and opens the engine. */
static bool open_all(struct model *model, struct input_files *inputs, int32_t **ids, size_t *n_ids,
                     const struct surprisal_trace_options *o, struct error *err)
{
    const struct engine_options engine = model_engine_options(&o->machine, 0);
    const struct model_source from = { o->checkpoint, o->model };
    return model_source_check(from, err)
        && model_source_list(inputs, from, err) && input_files_add(inputs, o->ids, err)
        && model_open(model, from, inputs, &o->machine.progress, err)
        && input_read_ids(o->ids, ids, n_ids, NULL, err)
        && (*n_ids || error_set(err, "%s: holds no tokens", o->ids))
        && input_check_ids(*ids, *n_ids, o->ids, model->checkpoint, err)
        && model_open_engine(model, &engine, err);
}


bool trace_ids(const struct surprisal_trace_options *o, struct error *err)
{
    if ((!o->checkpoint && !o->model) || !o->ids || !o->out)
        return error_set(err, "a trace needs a checkpoint, ids and a file to write");
    const struct progress progress = PROGRESS_OF(&o->machine.progress);
    struct model model = { 0 };
    struct input_files inputs = { 0 };
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct file f;
    bool ok = open_all(&model, &inputs, &ids, &n_ids, o, err)
           && output_file_try(o->out, file_bytes(&model.checkpoint->config, n_ids), &inputs,
                              &progress, err)
           && create(&f, o->out, &model.checkpoint->config, n_ids, err);
    if (ok) {
        model_warn_context(&o->machine.progress, model.checkpoint, n_ids);
        ok = write(&f, &model, ids, n_ids, err)
          && changed_inputs_refuse(&inputs, NULL, &o->machine.progress, err);
        if (ok)
            ok = safetensors_commit(&f.writer, err);
        else
            safetensors_abandon(&f.writer);
    }
    free(ids);
    input_files_free(&inputs);
    model_close(&model);
    return ok;
}
