#include "eval/score/evaluate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/progress.h"
#include "engine/estimate.h"
#include "eval/run/record.h"
#include "eval/run/run_state.h"
#include "eval/run/unfinished_run.h"
#include "eval/run/warnings.h"
#include "eval/score/finished.h"
#include "eval/score/changed_inputs.h"
#include "eval/score/job_inputs.h"
#include "eval/score/model.h"
#include "eval/score/plan_run.h"

/* ---- the job ---------------------------------------------------------------- */

struct job {
    const struct surprisal_eval_options *options;
    struct surprisal_eval_options own_options;      /* the caller's, but for its progress */
    struct warnings warnings;
    struct model model;
    struct mtp_weights mtp;             /* bound only for drafts */
    struct plans plans;
    struct input_files inputs;          /* as they were before they were read */
    struct unfinished_run folder;
    struct plan_runs runs;
    struct weights_hash *hash;
    double seconds;
    size_t peak_bytes;
    struct engine_statistics work;
    struct nonfinite *nonfinite;        /* owned, of all windows; NULL: none is left out */
    /* Saving and resuming: */
    struct buffer settings;
    struct run_state state;             /* that it was resumed from */
    bool is_complete;                   /* what it was resumed from */
    uint8_t *known, *rows;              /* digests of tensors, and of rows, to be saved */
    double started, saved, save_seconds;
};

/* options stay borrowed. */
static void job_begin(struct job *j, const struct surprisal_eval_options *options)
{
    *j = (struct job){ .own_options = *options };
    j->options = &j->own_options;
    warnings_begin(&j->warnings, &options->machine.progress);
    j->own_options.machine.progress = j->warnings.progress;
}

static void job_close(struct job *j)
{
    warnings_free(&j->warnings);
    weights_hash_close(j->hash);
    run_state_close(&j->state);
    free(j->nonfinite);
    buffer_free(&j->settings);
    free(j->known);
    free(j->rows);
    input_files_free(&j->inputs);
    plan_runs_free(&j->runs);
    unfinished_run_abandon(&j->folder);
    plans_free(&j->plans);
    weights_free_mtp(&j->mtp);
    model_close(&j->model);
}

static bool open_engine(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    size_t window_bytes = sizeof(struct window_score);
    if (o->skip_nonfinite)
        window_bytes += sizeof(struct nonfinite);
    struct engine_options engine =
        model_engine_options(&o->machine, j->runs.windows.n * window_bytes);
    engine.mtp = o->mtp ? &j->mtp : NULL;
    if (!model_open_engine(&j->model, &engine, err))
        return false;
    for (size_t i = 0; i < j->runs.n; i++) {
        j->runs.list[i].summary.isa = engine_isa(j->model.engine);
        j->runs.list[i].summary.threads = engine_threads(j->model.engine);
        j->runs.list[i].summary.warnings = &j->warnings;
        j->runs.list[i].summary.drafts = j->runs.list[i].drafts;
    }
    return true;
}

static struct run_state_of state_of(const struct job *j)
{
    return (struct run_state_of){
        .settings = j->settings.data, .n_tensors = j->model.weights->n_tensors,
        .n_runs = j->runs.n, .n_windows = j->runs.windows.n, .hidden_size = j->runs.hidden_size,
        .n_threads = engine_threads(j->model.engine),
    };
}

/* Gives the path of a plan's run folder: the one that is written, or with plans one in it. */
static char *folder_path(const struct job *j, const struct plan_run *run, struct error *err)
{
    return j->options->n_plans ? file_join(j->folder.folder, run->name, err)
                               : mem_string(j->folder.folder, err);
}

/* The run folders are complete: only the rename to their name is missing. */
static bool finds_complete(const struct job *j)
{
    bool complete = j->folder.building.taken_over;
    for (size_t i = 0; complete && i < j->runs.n; i++) {
        char *path = folder_path(j, &j->runs.list[i], NULL);
        complete = path && record_is_folder(path);
        free(path);
    }
    return complete;
}

static bool make_settings(struct buffer *out, const struct plan_runs *s, struct error *err)
{
    bool ok = summary_settings(&s->list[0].summary, out, err);
    for (size_t i = 0; ok && i < s->n; i++)
        ok = summary_plan_settings(&s->list[i].summary, out, err);
    return ok;
}

/* Finds the state to resume from, before anything in its folder is changed. */
static bool find_state(struct job *j, struct error *err)
{
    const struct plan_runs *s = &j->runs;
    j->known = mem_array(j->model.weights->n_tensors, WEIGHTS_KNOWN_BYTES, "digests", err);
    j->rows = mem_array(s->n, DIGEST_BYTES, "digests", err);
    if (!j->known || !j->rows || !make_settings(&j->settings, s, err)
        || !unfinished_run_settle(&j->folder, j->settings.data, err))
        return false;
    j->is_complete = finds_complete(j);
    if (j->is_complete)
        return true;
    const struct run_state_of of = state_of(j);
    if (!unfinished_run_has_state(&j->folder))
        return unfinished_run_clear(&j->folder, err);
    return run_state_load(&j->state, j->folder.state, &of, err)
        && (!j->state.nonfinite || j->options->skip_nonfinite
            || error_set(err, "%s: the interrupted run left windows out that have a NaN or "
                         "infinity; without skip-nonfinite it cannot be resumed",
                         j->folder.state));
}

static bool begin_folder(struct job *j, struct plan_run *run, struct error *err)
{
    char *path = folder_path(j, run, err);
    bool ok = path && run_folder_begin(&run->folder, path, run->summary.scored,
                                       j->options->hidden, j->runs.hidden_size,
                                       j->state.known != NULL, err);
    free(path);
    return ok;
}

/* The windows that are left out: none yet, or those of the state. */
static bool begin_left_out(struct job *j, struct error *err)
{
    if (j->state.nonfinite) {
        j->nonfinite = j->state.nonfinite;
        j->state.nonfinite = NULL;
        return true;
    }
    return !j->options->skip_nonfinite
        || (j->nonfinite = mem_array(j->runs.windows.n, sizeof *j->nonfinite, "windows", err));
}

static bool begin_scoring(struct job *j, struct error *err)
{
    bool keeps = j->options->out != NULL;
    if ((keeps && !find_state(j, err)) || !begin_left_out(j, err))
        return false;
    for (size_t i = 0; !j->is_complete && i < j->runs.n; i++) {
        struct plan_run *run = &j->runs.list[i];
        if ((keeps && !begin_folder(j, run, err))
            || !scoring_begin(&run->scoring, &run->sequence, keeps ? &run->folder : NULL, err))
            return false;
    }
    return true;
}

static bool open_folder(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    const struct progress progress = PROGRESS_OF(&o->machine.progress);
    const struct output_request request = { .path = o->out, .kind = "run", .inputs = &j->inputs,
                                            .progress = &progress, .resume = o->resume };
    return !o->out || unfinished_run_begin(&j->folder, &request, err);
}

/* If the inputs have changed, the run fails and its folder is kept. */
static bool inputs_hold(void *user, struct error *err)
{
    struct job *j = user;
    if (changed_inputs_refuse(&j->inputs, j->hash, &j->options->machine.progress, err))
        return true;
    j->folder.keep = true;
    return false;
}

/* A figure depends on how its text was split. */
static bool warn_tokenizer(const struct job *j)
{
    const struct tokenizer *t = j->model.tokenizer;
    const char *note = t ? tokenizer_note(t) : NULL;
    if (note)
        model_warn(&j->options->machine.progress, "%s: %s", tokenizer_path(t), note);
    return true;
}

/* Everything that can be known before the long work. */
static bool prepare(struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    return plans_make(&j->plans, o, err)
        && job_inputs_add(&j->inputs, o, err)
        && open_folder(j, err)
        && model_open(&j->model, model_source_of(o), &j->inputs, &o->machine.progress, err)
        && (!o->mtp || weights_bind_mtp(&j->mtp, j->model.checkpoint, err))
        && model_open_tokenizer(&j->model, o, err) && warn_tokenizer(j)
        && plan_runs_make(&j->runs, &j->plans, o, &j->model, err)
        && open_engine(j, err)
        && begin_scoring(j, err);
}

static bool make_plan(const struct job *j, struct surprisal_plan *plan, size_t *least_bytes,
                      struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    const struct windows *w = &j->runs.windows;
    size_t done = size_min(j->state.engine.first_window, w->n);     /* by the run that is resumed */
    const struct windows left = { .list = w->list + done, .n = w->n - done };
    const struct engine_job rest = {
        .windows = w->list, .n_windows = w->n, .drafts.n_drafts = o->mtp,
        .resume = j->state.engine.x ? &j->state.engine : NULL,
    };
    struct engine_cost cost;
    if (!engine_cost(j->model.engine, &rest, &cost, err))
        return false;
    *least_bytes = cost.least_bytes;
    *plan = (struct surprisal_plan){
        .windows = left.n, .scored = windows_scored(&left), .hidden_size = j->runs.hidden_size,
        .model_tokens = windows_model_tokens(&left), .passes = cost.passes,
        .bytes_read = cost.bytes_read, .memory_bytes = cost.memory_bytes + j->model.held_bytes,
        .flop = cost.flop, .state_bytes = o->out && !o->mtp ? cost.state_bytes : 0,
        .disk_bytes = o->out ? run_folder_bytes(windows_scored(w), o->hidden, j->runs.hidden_size)
                             : 0,
        .seconds = o->plan ? estimate_seconds(j->model.engine, left.list, left.n, &cost) : 0,
    };
    return true;
}

static bool tell_plan(const struct job *j, struct error *err)
{
    const struct surprisal_eval_options *o = j->options;
    struct surprisal_plan plan;
    size_t least_bytes;
    if (!make_plan(j, &plan, &least_bytes, err))
        return false;
    if (o->plan)
        o->plan(j->warnings.to.user, &plan);
    return true;
}

/* ---- saving and resuming ------------------------------------------------------ */

/* Saving may take a fiftieth of the time. */
#define SAVE_SHARE 50.0
#define FIRST_SAVE_RATE 1e9             /* bytes a second, until one has been measured */

static double seconds_so_far(const struct job *j)
{
    return j->state.seconds + machine_seconds() - j->started;
}

static bool save(struct job *j, const struct engine_state *state, struct error *err)
{
    const struct run_state_of of = state_of(j);
    const struct run_state s = { .engine = *state, .seconds = seconds_so_far(j), .known = j->known,
                                 .rows = j->rows, .nonfinite = j->nonfinite };
    weights_hash_known(j->hash, j->known);
    return plan_runs_rows(&j->runs, j->rows, err) && plan_runs_sync(&j->runs, err)
        && run_state_save(j->folder.state, &of, &s, err);
}

/* If the disk is full, the run goes on; the state that was saved before is kept. */
static bool offer(void *user, const struct engine_state *state, bool now, struct error *err)
{
    struct job *j = user;
    if (!inputs_hold(j, err))
        return false;
    size_t bytes = state->n_rows * j->model.checkpoint->config.hidden_size * sizeof(float);
    double begin = machine_seconds(), cost = j->save_seconds;
    if (cost <= 0)
        cost = 0.005 + (double)bytes / FIRST_SAVE_RATE;
    if (!now && begin - j->saved < SAVE_SHARE * cost)
        return true;
    struct error why = { 0 };
    if (!save(j, state, &why))
        model_warn(&j->options->machine.progress, "the state is not saved: %s", why.message);
    j->saved = machine_seconds();
    j->save_seconds = j->saved - begin;
    return true;
}

/* Says of each run what is left out of it.  A run of which nothing is left is refused. */
static bool tell_left_out(struct job *j, struct error *err)
{
    size_t first = 0;                   /* window of the run, among those of all */
    for (size_t i = 0; j->nonfinite && i < j->runs.n; i++) {
        struct plan_run *run = &j->runs.list[i];
        struct left_out *l = &run->summary.left_out;
        struct buffer text = { 0 };
        bool many = j->runs.n > 1;
        *l = left_out_count(j->nonfinite + first, &run->sequence);
        first += run->summary.windows;
        if (l->windows == 0)
            continue;
        cJSON *json = left_out_json(l);
        bool ok = left_out_text(&text, json, l->of, err);
        cJSON_Delete(json);
        if (ok && l->tokens == run->summary.scored)
            ok = error_set(err, "%s%snothing is left to score: %s", many ? run->name : "",
                           many ? ": " : "", text.data);
        else if (ok)
            model_warn(&j->options->machine.progress, "%s%s%s", many ? run->name : "",
                       many ? ": " : "", text.data);
        buffer_free(&text);
        if (!ok)
            return false;
        run->summary.scored -= l->tokens;
    }
    return true;
}

static bool score(struct job *j, struct error *err)
{
    struct engine *e = j->model.engine;
    struct plan_runs *s = &j->runs;
    const struct progress progress = PROGRESS_OF(&j->options->machine.progress);
    int threads = engine_threads(e);
    bool saves = j->options->out && !j->options->mtp;      /* a state has no drafts in it */
    bool resumed = j->state.engine.x != NULL;
    j->hash = model_hash_open(&j->model, err);
    if (!j->hash || !tell_plan(j, err))
        return false;
    if (resumed && !(weights_hash_rest(j->hash, threads, &progress, err)
                     && weights_hash_check(j->hash, j->state.known, err)
                     && plan_runs_replay(s, j->state.engine.row, j->state.rows, err)))
        return false;
    const struct engine_job job = {
        .ids = s->ids, .n_ids = s->n_ids, .windows = s->windows.list, .n_windows = s->windows.n,
        .sink = { plan_runs_consume, s },
        .drafts = { j->options->mtp, plan_runs_consume_drafts, s },
        .hash = resumed ? NULL : j->hash, .saver = { saves ? offer : NULL, j },
        .guard = { inputs_hold, j }, .resume = resumed ? &j->state.engine : NULL,
        .nonfinite = j->nonfinite,
    };
    j->started = j->saved = machine_seconds();
    if (!engine_score_windows(e, &job, &j->work, err) || !tell_left_out(j, err))
        return false;
    j->seconds = seconds_so_far(j);
    return weights_hash_rest(j->hash, threads, &progress, err) && inputs_hold(j, err);
}

/* The figures of a run; completes its files. */
static bool conclude_run(const struct job *j, struct plan_run *run, const struct digest *checkpoint,
                         const struct digest *head, struct surprisal_result *result,
                         struct error *err)
{
    struct summary *s = &run->summary;
    assert(run->scoring.row == s->scored + s->left_out.tokens);
    s->checkpoint_digest = *checkpoint;
    s->head_digest = *head;
    s->seconds = j->seconds;
    s->peak_bytes = j->peak_bytes;
    s->work = j->work;
    s->figures = statistics_figures(run->scoring.windows, s->windows);
    const struct input *in = s->input;
    if (in->is_text)
        statistics_by_text(&s->figures, in->n_ids, in->words, in->bytes);
    if (j->options->out && !run_folder_digests(&run->folder, &s->digests, err))
        return false;
    const struct figures *f = &s->figures;
    *result = (struct surprisal_result){
        .windows = s->windows, .tokens = in->n_ids, .scored = s->scored,
        .left_out = s->left_out.windows,
        .mean_nll = f->mean, .perplexity = f->perplexity,
        .nll_stderr = f->mean_se, .perplexity_stderr = f->perplexity_se,
        .word_perplexity = f->word_perplexity, .byte_perplexity = f->byte_perplexity,
        .bits_per_byte = f->bits_per_byte, .seconds = s->seconds,
        .tokens_per_second = summary_tokens_per_second(s), .summary_json = summary_json(s, err),
    };
    memcpy(result->plan, run->name, sizeof result->plan);
    return result->summary_json
        && (!j->options->out || run_folder_commit(&run->folder, result->summary_json, err));
}

static bool conclude(struct job *j, struct surprisal_result *results, struct error *err)
{
    struct digest checkpoint, head;
    j->peak_bytes = machine_peak_memory_since(j->model.peak_before);
    bool ok = weights_hash_end(&checkpoint, j->hash, err) && weights_hash_head(&head, j->hash, err);
    if (ok)
        model_hash_keep(&j->model, j->hash);
    for (size_t i = 0; ok && i < j->runs.n; i++)
        ok = conclude_run(j, &j->runs.list[i], &checkpoint, &head, &results[i], err);
    return ok;
}

/* ---- a complete run without its name ------------------------------------------- */

static bool take_run(const struct job *j, const struct plan_run *run,
                     const struct digest *checkpoint, struct surprisal_result *result,
                     struct error *err)
{
    char *path = folder_path(j, run, err);
    bool ok = path && finished_read(result, path, checkpoint, err)
           && (!result->left_out || j->options->skip_nonfinite
               || error_set(err, "%s: is complete, but left windows out that have a NaN or "
                            "infinity; without skip-nonfinite it is not taken", path));
    free(path);
    memcpy(result->plan, run->name, sizeof result->plan);
    return ok;
}

static bool take_complete(struct job *j, struct surprisal_result *results, struct error *err)
{
    const struct progress progress = PROGRESS_OF(&j->options->machine.progress);
    struct digest checkpoint;
    bool ok = (j->hash = model_hash_open(&j->model, err))
           && weights_hash_rest(j->hash, engine_threads(j->model.engine), &progress, err)
           && weights_hash_end(&checkpoint, j->hash, err);
    for (size_t i = 0; ok && i < j->runs.n; i++)
        ok = take_run(j, &j->runs.list[i], &checkpoint, &results[i], err);
    return ok && inputs_hold(j, err);
}

/* ---- options ----------------------------------------------------------------- */

/* many: the plans read the text in more than one way. */
static bool check_task(const char *task, bool many, const struct surprisal_eval_options *o,
                       struct error *err)
{
    if (!o->text)
        return error_set(err, "the task %s needs a text, not ids", task);
    if (o->join != SURPRISAL_JOIN_RAW)
        return error_set(err, "the task %s finds its documents in the file as it is, not in joined "
                         "rows", task);
    return !many || !file_is_read_once(o->text)
        || error_set(err, "the task %s beside other plans needs a file: standard input is read "
                     "once, as a pipe is", task);
}

/* The rules between the options of a run and its plans. */
static bool check_rules(const struct surprisal_eval_options *o, const struct plans *plans,
                        struct error *err)
{
    bool rolling = false, many = false;
    const char *task = NULL;            /* one that a plan has */
    for (size_t i = 0; i < plans->n; i++) {
        const struct surprisal_protocol_plan *p = &plans->list[i];
        rolling = rolling || p->protocol == SURPRISAL_ROLLING;
        many = many || p->task != plans->list[0].task;
        task = plan_task_name(p->task) ? plan_task_name(p->task) : task;
    }
    const struct {
        bool wrong;
        const char *why;
    } rules[] = {
        { o->join != SURPRISAL_JOIN_RAW && !o->text, "rows to join need a text, not ids" },
        { o->hidden != SURPRISAL_HIDDEN_NONE && !o->out,
          "hidden states are kept in a run folder, and none is given" },
        { o->resume && !o->out, "a run is resumed by its folder, and none is given" },
        { o->mtp > SURPRISAL_MTP_MOST, "more than 8 drafts of the MTP layer" },
        { o->mtp && o->skip_nonfinite, "mtp and skip-nonfinite exclude each other" },
        { o->mtp && o->resume, "a run with drafts of the MTP layer is not saved, so it cannot be"
                               " resumed; start it again without resuming" },
        { o->part.of && (o->part.index < 1 || o->part.index > o->part.of),
          "a part has a number from 1 to that of all parts" },
        { o->part.of && !o->out, "a part of a run is kept in a folder, and none is given" },
        { o->part.of && o->mtp, "drafts of the MTP layer are scored in whole runs, not in parts" },
        { o->prefix_id < -1, "a prefix id is negative" },
        { o->prefix_id >= 0 && !rolling, "a prefix id belongs to the protocol rolling" },
        { o->max_documents && !task, "a number of documents needs the task wikitext or lines" },
        { o->machine.threads < 0, "the number of threads is negative" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].wrong)
            return error_set(err, "%s", rules[i].why);
    return !task || check_task(task, many, o, err);
}

struct surprisal_eval_options evaluate_defaults(void)
{
    return (struct surprisal_eval_options){
        .prefix_id = -1,
    };
}

void evaluate_result_free(struct surprisal_result *result)
{
    free(result->summary_json);
    *result = (struct surprisal_result){ 0 };
}

bool evaluate_check(const struct surprisal_eval_options *o, struct error *err)
{
    if (!o->checkpoint && !o->model)
        return error_set(err, "no checkpoint is given");
    if (!model_source_check(model_source_of(o), err))
        return false;
    if (!o->text == !o->ids)
        return error_set(err, "%s, expected one of them",
                         o->text ? "both a text and ids are given"
                                 : "neither text nor ids are given");
    struct plans plans;
    if (!plans_make(&plans, o, err))
        return false;
    bool ok = check_rules(o, &plans, err);
    plans_free(&plans);
    return ok;
}

static bool tell_division(struct job *j, struct evaluate_prepared *out, struct error *err)
{
    struct plan_runs *s = &j->runs;
    out->isa = engine_isa(j->model.engine);
    out->most_parts = SIZE_MAX;
    for (size_t i = 0; i < s->n; i++)
        out->most_parts = size_min(out->most_parts, sequence_most_parts(&s->list[i].sequence));
    s->list[0].summary.isa = "any";
    return make_settings(&out->settings, s, err);
}

bool evaluate_prepare(const struct surprisal_eval_options *o, struct evaluate_prepared *out,
                      struct error *err)
{
    struct job j;
    struct surprisal_eval_options dry = *o;
    dry.out = NULL;
    dry.resume = false;
    dry.hidden = SURPRISAL_HIDDEN_NONE;
    dry.machine.progress.warn = NULL;
    job_begin(&j, &dry);
    *out = (struct evaluate_prepared){ 0 };
    bool ok = evaluate_check(&dry, err) && prepare(&j, err)
           && make_plan(&j, &out->plan, &out->least_bytes, err)
           && tell_division(&j, out, err);
    if (ok) {
        snprintf(out->tokenizer, sizeof out->tokenizer, "%s",
                 j.model.tokenizer ? tokenizer_sha256(j.model.tokenizer) : "");
        out->prefix_id = j.runs.list[0].summary.prefix_id;
        out->quantized_bytes = j.model.weights->quantized_bytes;
        out->head_dtype = j.model.weights->lm_head.dtype;
        out->head_values = j.model.weights->lm_head.rows * j.model.weights->lm_head.cols;
        out->ids = j.runs.ids;
        out->n_ids = j.runs.n_ids;
        out->windows = j.runs.windows;
        j.runs.ids = NULL;
        j.runs.windows = (struct windows){ 0 };
        out->inputs = j.inputs;
        j.inputs = (struct input_files){ 0 };
    }
    job_close(&j);
    return ok;
}

void evaluate_prepared_free(struct evaluate_prepared *p)
{
    free(p->ids);
    buffer_free(&p->settings);
    windows_free(&p->windows);
    input_files_free(&p->inputs);
}

bool evaluate_run(const struct surprisal_eval_options *o, struct surprisal_result *results,
                  struct error *err)
{
    struct job j;
    job_begin(&j, o);
    bool ok = evaluate_check(o, err) && prepare(&j, err)
           && (j.is_complete ? take_complete(&j, results, err)
                             : score(&j, err) && conclude(&j, results, err))
           && (!o->out || unfinished_run_commit(&j.folder, err));
    for (size_t i = 0; !ok && i < j.runs.n; i++)
        evaluate_result_free(&results[i]);
    job_close(&j);
    return ok;
}
