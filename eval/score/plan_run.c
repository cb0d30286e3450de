#include "eval/score/plan_run.h"

#include <stdlib.h>
#include <string.h>

/* ---- from plans to windows ----------------------------------------------------- */

/* What runs are made from. */
struct source {
    const struct surprisal_eval_options *options;
    const struct model *model;
};

/* Finds rolling's prefix once for all plans; see surprisal.h, prefix_id. */
static bool make_prefix(struct plan_runs *s, const struct source *from, struct error *err)
{
    const struct surprisal_eval_options *o = from->options;
    const struct model *m = from->model;
    if (o->prefix_id >= 0) {
        s->prefix = &s->own_prefix;
        return prefix_given(&s->own_prefix, o->prefix_id, m->tokenizer, err);
    }
    if (m->handle && !o->tokenizer) {
        s->prefix = model_handle_prefix(m->handle, err);
        return s->prefix != NULL;
    }
    char *own = o->tokenizer ? NULL : checkpoint_tokenizer(m->checkpoint->path, err);
    const char *path = o->tokenizer ? o->tokenizer : own;
    bool ok = path && prefix_default(&s->own_prefix, path, m->tokenizer, m->checkpoint, err);
    free(own);
    s->prefix = &s->own_prefix;
    return ok;
}

/* -1 for protocols other than rolling. */
static bool find_prefix(struct plan_runs *s, const struct source *from,
                        enum surprisal_protocol protocol, int32_t *id, struct error *err)
{
    const struct checkpoint *ck = from->model->checkpoint;
    *id = -1;
    if (protocol != SURPRISAL_ROLLING)
        return true;
    if (!s->prefix && !make_prefix(s, from, err))
        return false;
    *id = s->prefix->id;
    return (size_t)*id < ck->config.vocab_size
        || error_set(err, "%s: the prefix token has id %d, but the vocabulary has %zu", ck->path,
                     (int)*id, ck->config.vocab_size);
}

/* Of a text: what is easily overlooked and gives another result.  again: another task has read the
 * file before. */
static void warn_about(const struct input *in, enum surprisal_task task, bool again,
                       const struct surprisal_progress *progress)
{
    if (in->has_crlf && !again)
        model_warn(progress, "%s: lines end in CR LF, which changes the tokens and the result",
                   in->path);
    if (in->has_mark && task != SURPRISAL_TASK_NONE)
        model_warn(progress, "%s: begins with a byte order mark, which is left out of the "
                   "documents", in->path);
    else if (in->has_mark)
        model_warn(progress, "%s: begins with a byte order mark, which becomes tokens and shifts "
                   "the windows (`tail -c +4` removes it)", in->path);
}

/* The input as the task has it, read once. */
static bool find_input(struct plan_runs *s, const struct source *from, enum surprisal_task task,
                       const struct input **input, struct error *err)
{
    struct input *in = &s->inputs[task];
    *input = in;
    if (in->path)
        return true;
    if (!input_read(in, from->options, task, from->model->tokenizer, from->model->checkpoint, err))
        return false;
    const struct input *other = NULL;
    for (size_t i = 0; i < N_TASKS; i++)
        if (i != (size_t)task && s->inputs[i].path)
            other = &s->inputs[i];
    warn_about(in, task, other != NULL, &from->options->machine.progress);
    return !other || memcmp(&in->digest, &other->digest, sizeof in->digest) == 0
        || error_set(err, "%s: was changed while it was read", in->path);
}

static bool make_run(struct plan_runs *s, struct plan_run *run, const struct source *from,
                       const struct surprisal_protocol_plan *plan, struct error *err)
{
    const struct surprisal_eval_options *o = from->options;
    const struct model *model = from->model;
    const struct tokenizer *t = model->tokenizer;
    const struct input *in;
    int32_t prefix;
    plan_name(run->name, plan);
    if (!find_input(s, from, plan->task, &in, err)
        || !find_prefix(s, from, plan->protocol, &prefix, err)
        || !sequence_make(&run->sequence, in, plan, prefix, o->max_windows, err)
        || (o->part.of && !sequence_take_part(&run->sequence, &o->part, err)))
        return false;
    model_warn_context(&o->machine.progress, model->checkpoint, plan->context);
    run->summary = (struct summary){
        .options = o, .plan = plan, .checkpoint = model->checkpoint, .weights = model->weights,
        .sequence = &run->sequence, .input = in, .prefix_id = prefix,
        .prefix = prefix < 0 ? NULL : s->prefix,
        .tokenizer = t ? tokenizer_path(t) : NULL,
        .tokenizer_sha256 = t ? tokenizer_sha256(t) : NULL,
        .windows = run->sequence.windows.n, .scored = windows_scored(&run->sequence.windows),
    };
    return true;
}

/* One list of all windows. */
static bool join(struct plan_runs *s, struct error *err)
{
    size_t n_ids = 0, n_windows = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct sequence *q = &s->list[i].sequence;
        if (!size_sum(&n_ids, n_ids, q->n_ids) || !size_sum(&n_windows, n_windows, q->windows.n))
            return error_set(err, "%zu plans have too many windows", s->n);
    }
    s->ids = mem_array(n_ids, sizeof *s->ids, "token ids", err);
    if (!s->ids || !mem_grow(&s->windows.list, &s->windows.capacity, n_windows,
                             sizeof *s->windows.list, "windows", err))
        return false;
    for (size_t i = 0; i < s->n; i++) {
        const struct sequence *q = &s->list[i].sequence;
        memcpy(s->ids + s->n_ids, q->ids, q->n_ids * sizeof *s->ids);
        for (size_t w = 0; w < q->windows.n; w++) {
            const struct engine_window *own = &q->windows.list[w];
            s->windows.list[s->windows.n++] = (struct engine_window){
                .begin = s->n_ids + own->begin, .end = s->n_ids + own->end,
                .first = s->n_ids + own->first,
            };
        }
        s->n_ids += q->n_ids;
    }
    return true;
}

bool plan_runs_make(struct plan_runs *s, const struct plans *plans,
                    const struct surprisal_eval_options *o, const struct model *model,
                    struct error *err)
{
    const struct source from = { o, model };
    *s = (struct plan_runs){ .hidden_size = model->checkpoint->config.hidden_size };
    s->list = mem_array(plans->n, sizeof *s->list, "plans", err);
    if (!s->list)
        return false;
    s->n = plans->n;
    for (size_t i = 0; i < s->n; i++)
        if (!make_run(s, &s->list[i], &from, &plans->list[i], err))
            return false;
    return join(s, err);
}

/* ---- from scores to runs ------------------------------------------------------ */

bool plan_runs_consume(void *user, size_t row, size_t n, const struct engine_score *scores,
                       const float *hidden, struct error *err)
{
    struct plan_runs *s = user;
    size_t first = 0, end;              /* rows of the evaluation that belong to this run */
    for (size_t i = 0; i < s->n; i++, first = end) {
        struct plan_run *run = &s->list[i];
        end = first + run->summary.scored;
        size_t from = size_max(row, first), to = size_min(row + n, end);
        if (from < to && !scoring_consume(&run->scoring, from - first, to - from,
                                          scores + (from - row),
                                          hidden + (from - row) * s->hidden_size, err))
            return false;
    }
    return true;
}

bool plan_runs_consume_drafts(void *user, size_t window, size_t draft, size_t n,
                              const struct engine_draft *drafts, const float *hidden,
                              struct error *err)
{
    struct plan_runs *s = user;
    size_t i = 0, first = 0;            /* windows of the plans before this one */
    (void)hidden, (void)err;
    while (window - first >= s->list[i].summary.windows)
        first += s->list[i++].summary.windows;
    draft_figures_add(&s->list[i].drafts[draft], drafts, n);
    return true;
}

bool plan_runs_replay(struct plan_runs *s, size_t rows, const uint8_t *digests, struct error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        struct plan_run *run = &s->list[i];
        struct digest digest;
        size_t n = size_min(rows, run->summary.scored);
        memcpy(&digest, digests + i * DIGEST_BYTES, sizeof digest);
        if (!run_folder_reread(&run->folder, n, &digest, err)
            || !scoring_replay(&run->scoring, n, err))
            return false;
        rows -= n;
    }
    return true;
}

bool plan_runs_rows(const struct plan_runs *s, uint8_t *digests, struct error *err)
{
    for (size_t i = 0; i < s->n; i++) {
        struct digest digest;
        if (!run_folder_rows(&s->list[i].folder, &digest, err))
            return false;
        memcpy(digests + i * DIGEST_BYTES, &digest, sizeof digest);
    }
    return true;
}

bool plan_runs_sync(struct plan_runs *s, struct error *err)
{
    for (size_t i = 0; i < s->n; i++)
        if (!run_folder_sync(&s->list[i].folder, err))
            return false;
    return true;
}

void plan_runs_free(struct plan_runs *s)
{
    for (size_t i = 0; i < s->n; i++) {
        scoring_free(&s->list[i].scoring);
        run_folder_abandon(&s->list[i].folder);
        sequence_free(&s->list[i].sequence);
    }
    for (size_t i = 0; i < N_TASKS; i++)
        input_free(&s->inputs[i]);
    prefix_free(&s->own_prefix);
    free(s->list);
    free(s->ids);
    windows_free(&s->windows);
    *s = (struct plan_runs){ 0 };
}
