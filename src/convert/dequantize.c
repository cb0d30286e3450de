#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/quantization.h"
#include "convert/job.h"
#include "convert/new_config.h"
#include "convert/quantize.h"
#include "kernels/stored.h"

/* ---- experts, put together again -------------------------------------------------------- */

/* Where a weight goes; a tensor of its own (place->tensor NULL) unless it is an expert's, in BF16
 * or packed, or of a container that stores the model otherwise. */
static bool find_place(struct fused_place *place, const struct listed_weight *m, bool otherwise,
                       struct error *err)
{
    *place = (struct fused_place){ .tensor = NULL };
    return !(otherwise || m->stored.is_packed || m->stored.view.dtype == DTYPE_BF16)
        || weight_fused_place(place, m->name, err);
}

/* A fused tensor in the making. */
struct fused {
    size_t tensor;                          /* in the layout */
    size_t rows, cols;                      /* of a part */
    size_t missing;                         /* parts not seen yet */
};

struct fuser {
    struct job *job;
    enum dtype dtype;                       /* of what was packed */
    bool otherwise; /* the container stores norms as 1 + w, and perhaps heads in another order */
    struct fused *list;                     /* owned; some tens */
    size_t n, capacity;
};

static struct fused *find_fused(struct fuser *f, const struct listed_weight *m,
                                const struct fused_place *place, struct error *err)
{
    struct layout *l = &f->job->layout;
    for (size_t i = f->n; i-- > 0;)         /* the one at hand is among the last */
        if (strcmp(l->tensors[f->list[i].tensor].name, place->tensor) == 0)
            return &f->list[i];
    struct fused new = { .rows = m->stored.view.rows, .cols = m->stored.view.cols };
    size_t experts = f->job->ck.config.num_experts;
    const size_t shape[] = { experts, place->parts * new.rows, new.cols };
    new.missing = experts * place->parts;
    if (!mem_grow(&f->list, &f->capacity, f->n + 1, sizeof new, "fused tensors", err)
        || !layout_add_tensor(l, &new.tensor, place->tensor, strlen(place->tensor), "", f->dtype,
                              3, shape, err))
        return NULL;
    f->list[f->n] = new;
    return &f->list[f->n++];
}

static bool add_part(struct fuser *f, const struct listed_weight *m,
                     const struct fused_place *place, struct error *err)
{
    struct fused *to = find_fused(f, m, place, err);
    if (!to)
        return false;
    if (place->expert >= f->job->ck.config.num_experts || m->stored.view.rows != to->rows
        || m->stored.view.cols != to->cols)
        return error_set(err, "%s: '%s' does not fit the other experts' [%zu, %zu], %zu of them",
                         m->stored.parts[0]->file, m->stored.parts[0]->name, to->rows, to->cols,
                         f->job->ck.config.num_experts);
    to->missing--;
    struct task task = { m, TASK_EXPAND, to->tensor, 0 };
    task.offset = (place->expert * place->parts + place->part) * to->rows * to->cols
                * dtype_bytes(f->dtype);
    return layout_add_task(&f->job->layout, &task, err);
}

static bool check_whole(const struct fuser *f, struct error *err)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].missing)
            return error_set(err, "%s: %zu of the experts' weights that make '%s' are missing",
                             f->job->ck.path, f->list[i].missing,
                             f->job->layout.tensors[f->list[i].tensor].name);
    return true;
}

/* ---- everything --------------------------------------------------------------------------- */

/* A GGUF has in F32 what was BF16, but A_log, which was F32; 1 + w becomes w in BF16 or F32. */
static enum dtype dtype_of(const struct fuser *f, const struct listed_weight *m)
{
    const struct matrix *view = &m->stored.view;
    bool is_made = f->job->ck.reader->is_self_described;
    if (view->is_rate)
        return DTYPE_F32;
    if (m->stored.is_packed)
        return f->dtype;
    return dtype_is_float(view->dtype) && view->dtype != DTYPE_BF16 && (is_made || view->one_added)
             ? f->dtype : view->dtype;
}

static bool add_module(struct fuser *f, const struct listed_weight *m, struct error *err)
{
    struct layout *l = &f->job->layout;
    const struct matrix *view = &m->stored.view;
    struct fused_place place;
    if (!find_place(&place, m, f->otherwise, err))
        return false;
    enum dtype dtype = dtype_of(f, m);
    bool ok, moved = view->row_order || view->col_order || view->one_added || view->is_rate;
    struct task task = { .module = m,
                         .action = moved || dtype != view->dtype ? TASK_EXPAND : TASK_COPY };
    if (place.tensor)
        ok = add_part(f, m, &place, err);
    else
        ok = layout_add_tensor(l, &task.tensor, m->name, strlen(m->name), "",
                               dtype, m->stored.ndim, m->stored.shape, err)
          && layout_add_task(l, &task, err);
    free(place.tensor);
    return ok;
}

static bool make_layout(struct job *j, enum dtype dtype, size_t shard_bytes, struct error *err)
{
    struct fuser f = { .job = j, .dtype = dtype,
                       .otherwise = !checkpoint_check_bytes(&j->ck, NULL) };
    const struct listed_weight **order = layout_reading_order(&j->modules, err);
    bool ok = order != NULL;
    for (size_t i = 0; ok && i < j->modules.n; i++)
        ok = add_module(&f, order[i], err);
    ok = ok && check_whole(&f, err)
      && layout_finish(&j->layout, shard_bytes ? shard_bytes : DEFAULT_SHARD_BYTES, err);
    free(order);
    free(f.list);
    return ok;
}

static bool expect_quantized(const struct job *j, struct error *err)
{
    if (!checkpoint_check_bytes(&j->ck, NULL))
        return true;                    /* there is something to put right */
    for (size_t i = 0; i < j->modules.n; i++)
        if (j->modules.list[i].stored.is_packed)
            return true;
    return error_set(err, "%s: has no quantized weights, expected some", j->ck.path);
}

static bool run(struct job *j, const struct surprisal_dequantize_options *o,
                const struct new_text *texts, cJSON *result, struct error *err)
{
    struct digest work;
    char *config = new_config_plain(&j->ck, err);
    bool as_f32 = o->dtype == SURPRISAL_DEQUANTIZE_F32;
    const char *what = as_f32 ? "dequantize f32" : "dequantize";
    j->stream.stage = "dequantize";
    j->folder.texts = texts;
    bool ok = config && make_layout(j, as_f32 ? DTYPE_F32 : DTYPE_BF16, o->shard_bytes, err)
           && digest_of(&work, what, strlen(what), err)
           && job_run(j, o->out, config, &work, o->resume, result, err);
    /* Shards of an earlier run were not counted. */
    ok = ok && ((j->folder.kept ? cJSON_AddNullToObject(result, "rounded") != NULL
                                : json_add_size(result, "rounded", j->stream.rounded) != NULL)
                || error_set(err, "out of memory: the result"));
    cJSON_free(config);
    return ok;
}

bool dequantize_checkpoint(cJSON **result, const struct surprisal_dequantize_options *o,
                           const struct opened_checkpoint *opened, const struct new_text *texts,
                           struct error *err)
{
    struct job j = { .is_open = false };
    *result = cJSON_CreateObject();
    bool ok = *result || error_set(err, "out of memory: the result");
    if (ok && (!o->checkpoint || !o->out))
        ok = error_set(err, "the checkpoint or the folder to write is missing");
    ok = ok && job_open(&j, o->checkpoint, opened, &o->machine, err)
      && quantization_check(&j.ck, err) && expect_quantized(&j, err)
      && unfinished_checkpoint_check(o->out, &j.inputs, err) && run(&j, o, texts, *result, err);
    job_close(&j);
    if (!ok) {
        cJSON_Delete(*result);
        *result = NULL;
    }
    return ok;
}
