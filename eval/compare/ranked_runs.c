#include "eval/compare/ranked_runs.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/format.h"
#include "base/progress.h"
#include "base/temporary.h"
#include "eval/compare/kept_run.h"
#include "eval/compare/stages.h"
#include "eval/run/run_folder.h"
#include "eval/run/unfinished_run.h"
#include "eval/score/model.h"

#define STAGE_BYTES RANKED_RUNS_STAGE_BYTES

/* ---- what is named ------------------------------------------------------------------ */

bool ranked_runs_fail(struct ranked_runs *r, struct ranked_candidate *c, const struct error *why,
                      struct error *err)
{
    if (why->interrupted || why->lacking) {
        *err = *why;
        return false;
    }
    /* Most messages begin with the name, which stands beside the reason anyway. */
    size_t n = strlen(c->name);
    bool named = strncmp(why->message, c->name, n) == 0 && strncmp(why->message + n, ": ", 2) == 0;
    c->reason = mem_string(why->message + (named ? n + 2 : 0), err);
    if (c->reason)
        model_warn(&r->eval.machine.progress, "not comparable: %s: %s", c->name, c->reason);
    return c->reason != NULL;
}

/* The options of the original and one candidate as a pair of checkpoints. */
static struct surprisal_compare_options pair_of(const struct ranked_runs *r, const char *candidate)
{
    struct surprisal_compare_options pair = r->options->compare;
    pair.b = candidate;
    pair.eval.machine.progress = r->told.progress;
    pair.eval.resume = false;
    pair.layer_windows = 0;
    pair.floor = false;
    return pair;
}

/* The candidate's run must score what the original's evaluation will, or the other way round. */
static bool check_tokens(const char *run, const struct evaluate_prepared *prepared,
                         struct error *err)
{
    struct record record = { 0 };
    bool ok = record_open(&record, run, err) && kept_run_check_tokens(&record, prepared, err);
    record_close(&record);
    return ok;
}

/* Asks for an estimate; is not called by evaluate_prepare. */
static void ask_estimate(void *user, const struct surprisal_plan *plan)
{
    (void)user, (void)plan;
}

/* Prepares an evaluation without scoring. */
static bool prepare(const struct ranked_runs *r, struct model_source from,
                    struct evaluate_prepared *out, struct error *err)
{
    struct surprisal_eval_options e = r->eval;
    e.checkpoint = from.path;
    e.model = from.opened;
    e.plan = r->options->compare.plan ? ask_estimate : NULL;
    return evaluate_prepare(&e, out, err);
}

/* A checkpoint beside a run folder as the original. */
static bool prepare_beside_run(const struct ranked_runs *r, struct ranked_candidate *c,
                               struct error *err)
{
    struct evaluate_prepared p;
    bool ok = prepare(r, (struct model_source){ .path = c->name }, &p, err)
           && check_tokens(r->original, &p, err);
    if (ok)
        c->cost = (struct compare_cost){
            .evaluation_seconds = p.plan.seconds,
            .disk_bytes = run_folder_bytes(p.plan.scored, r->eval.hidden, p.plan.hidden_size),
        };
    evaluate_prepared_free(&p);
    return ok;
}

static bool look_at(struct ranked_runs *r, struct ranked_candidate *c, struct error *err)
{
    const struct surprisal_compare_options pair = pair_of(r, c->name);
    bool is_run = r->original_operand == OPERAND_RUN;
    if (c->operand == OPERAND_NOTHING)
        return operand_refuse(c->name, err);
    if ((c->operand == OPERAND_PLANS) != (r->original_operand == OPERAND_PLANS))
        return error_set(err, "%s: is %s, and the original is %s", c->name,
                         operand_name(c->operand), operand_name(r->original_operand));
    if (c->operand == OPERAND_CHECKPOINT)
        return is_run ? prepare_beside_run(r, c, err)
                      : compare_prepare(&pair, &r->prepared, &c->cost, err);
    if (c->operand == OPERAND_RUN && !is_run && !check_tokens(c->name, &r->prepared, err))
        return false;
    c->run = mem_string(c->name, err);
    return c->run != NULL;
}

bool ranked_runs_begin(struct ranked_runs *r, const struct surprisal_rank_options *options,
                       struct error *err)
{
    const struct surprisal_compare_options *o = &options->compare;
    size_t n = options->n_candidates;
    *r = (struct ranked_runs){ .options = options, .eval = o->eval };
    warnings_begin(&r->told, &o->eval.machine.progress);
    if (r->eval.hidden == SURPRISAL_HIDDEN_NONE)
        r->eval.hidden = SURPRISAL_HIDDEN_F32;
    r->original_operand = o->a ? operand_of(o->a) : OPERAND_CHECKPOINT;
    r->candidates = mem_array(n, sizeof *r->candidates, "candidates", err);
    bool ok = r->candidates
           && (r->original_operand == OPERAND_CHECKPOINT
                   ? prepare(r, (struct model_source){ o->a, o->model_a }, &r->prepared, err)
                   : (r->original = mem_string(o->a, err)) != NULL)
           && (!o->floor_run || (r->floor = mem_string(o->floor_run, err)));
    for (size_t i = 0; ok && i < n; i++) {
        struct ranked_candidate *c = &r->candidates[i];
        struct error why = { 0 };
        *c = (struct ranked_candidate){ .name = options->candidates[i],
                                        .operand = operand_of(options->candidates[i]) };
        ok = look_at(r, c, &why) || ranked_runs_fail(r, c, &why, err);
    }
    return ok;
}

/* ---- the folder --------------------------------------------------------------------- */

static void name_candidate(char out[STAGE_BYTES], size_t i)
{
    format_text(out, STAGE_BYTES, "b%zu", i + 1);
}

/* "original", "floor", "b12" */
static bool is_stage(const char *run, size_t n)
{
    size_t digits = 1;
    while (digits < n && ascii_digit(run[digits]))
        digits++;
    return (n == strlen("original") && strncmp(run, "original", n) == 0)
        || (n == strlen("floor") && strncmp(run, "floor", n) == 0)
        || (n > 1 && run[0] == 'b' && digits == n);
}

static bool is_ours(void *unused, const char *name)
{
    (void)unused;
    return unfinished_run_is_below(name, is_stage);
}

static const struct output_names names_of_runs = { .is_ours = is_ours };

/* Is there a run of this name, or a part of one? */
static bool has_run(const struct ranked_runs *r, const char *name)
{
    char part[STAGE_BYTES + sizeof ".partial"];
    format_text(part, sizeof part, "%s.partial", name);
    char *of_whole = file_join(r->folder.building, name, NULL);
    char *of_part = file_join(r->folder.building, part, NULL);
    bool has = (of_whole && file_exists(of_whole)) || (of_part && file_exists(of_part));
    free(of_whole);
    free(of_part);
    return has;
}

static bool has_runs(const struct ranked_runs *r)
{
    bool has = has_run(r, "original");
    char name[STAGE_BYTES];
    for (size_t i = 0; !has && i < r->options->n_candidates; i++) {
        name_candidate(name, i);
        has = has_run(r, name);
    }
    return has;
}

static bool begin_folder(struct ranked_runs *r, struct error *err)
{
    const struct surprisal_eval_options *e = &r->eval;
    const struct progress progress = PROGRESS_OF(&e->machine.progress);
    struct input_files inputs = { 0 };
    const struct output_request request = { .path = e->out, .kind = "ranking", .inputs = &inputs,
                                            .progress = &progress, .resume = e->resume };
    if (!e->out)
        return output_folder_scratch(&r->folder, r->options->compare.temporary, "ranking",
                                     &progress, err);
    bool ok = input_files_add_names(&inputs, r->options->compare.a, err);
    for (size_t i = 0; ok && i < r->options->n_candidates; i++)
        ok = input_files_add_names(&inputs, r->candidates[i].name, err);
    ok = ok && output_folder_begin(&r->folder, &request, err);
    input_files_free(&inputs);
    if (!ok || e->resume)
        return ok;
    if (r->folder.taken_over && has_runs(r))
        return error_set(err, "%s: holds evaluations of an interrupted ranking; --resume goes on "
                         "with them, or remove it", r->folder.building);
    return output_folder_clear(&r->folder, &names_of_runs, err);
}

/* ---- the plan ----------------------------------------------------------------------- */

static bool is_made(const struct ranked_candidate *c)
{
    return c->operand == OPERAND_CHECKPOINT && !c->reason;
}

static void add_stage(struct ranked_runs *r, double seconds, const char *format, const char *name)
{
    char *text = r->stage_names[r->n_stages];
    format_text(text, STAGE_BYTES, format, name);
    r->stages[r->n_stages++] = (struct surprisal_stage){ .name = text, .seconds = seconds };
}

/* In the order of the work. */
static bool plan_stages(struct ranked_runs *r, struct error *err)
{
    const struct surprisal_plan *plan = &r->prepared.plan;
    size_t n = r->options->n_candidates, most = 2 * n + 2;
    char name[STAGE_BYTES];
    r->stages = mem_array(most, sizeof *r->stages, "stages", err);
    r->stage_names = mem_array(most, sizeof *r->stage_names, "stages", err);
    if (!r->stages || !r->stage_names)
        return false;
    if (!r->original)
        add_stage(r, plan->seconds, "evaluation of the %s", "original");
    if (r->options->compare.floor && !r->floor)
        add_stage(r, plan->seconds, "evaluation of the %s", "noise floor");
    for (size_t i = 0; i < n; i++)
        if (is_made(&r->candidates[i])) {
            name_candidate(name, i);
            add_stage(r, r->candidates[i].cost.evaluation_seconds, "evaluation of %s", name);
        }
    for (size_t i = 0; i < n; i++)
        if (!r->candidates[i].reason) {
            name_candidate(name, i);
            r->candidates[i].stage = r->n_stages;
            add_stage(r, r->candidates[i].cost.divergence_seconds, "KL divergence of %s", name);
        }
    return true;
}

static void begin_stage(const struct ranked_runs *r, size_t index)
{
    const struct surprisal_compare_options *o = &r->options->compare;
    if (o->stage && index < r->n_stages)
        o->stage(o->eval.machine.progress.user, index);
}

void ranked_runs_compares(const struct ranked_runs *r, const struct ranked_candidate *c)
{
    begin_stage(r, c->stage);
}

static bool tell_plan(struct ranked_runs *r, struct error *err)
{
    const struct surprisal_compare_options *o = &r->options->compare;
    const struct surprisal_plan *of = &r->prepared.plan;
    struct surprisal_comparison_plan plan = { .folder = r->folder.building };
    size_t own = run_folder_bytes(of->scored, r->eval.hidden, of->hidden_size);
    if (!plan_stages(r, err) || !output_folder_space(&plan.free_bytes, plan.folder, err))
        return false;
    plan.stages = r->stages;
    plan.n_stages = r->n_stages;
    plan.runs = (r->original ? 0U : 1U) + (o->floor && !r->floor ? 1U : 0U);
    plan.disk_bytes = plan.runs * own;
    for (size_t i = 0; i < r->options->n_candidates; i++)
        if (is_made(&r->candidates[i])) {
            plan.runs++;
            plan.disk_bytes += r->candidates[i].cost.disk_bytes;
        }
    if (o->plan)
        o->plan(o->eval.machine.progress.user, &plan);
    return r->eval.resume || stages_have_room(&plan, err);
}

/* ---- the evaluations ---------------------------------------------------------------- */

/* Gives the run folder, which an interrupted ranking may have left complete. */
static char *evaluate(struct ranked_runs *r, const char *name, struct surprisal_eval_options e,
                      struct error *err)
{
    struct surprisal_result result = { 0 };
    char *run = file_join(r->folder.building, name, err);
    bool ok = run != NULL;
    begin_stage(r, r->begun++);
    e.out = run;
    if (ok && e.resume && record_is_folder(run))
        ok = kept_run_check(run, &e, err);
    else
        ok = ok && evaluate_run(&e, &result, err);
    evaluate_result_free(&result);
    if (ok)
        return run;
    free(run);
    return NULL;
}

static bool evaluate_original(struct ranked_runs *r, struct error *err)
{
    const struct surprisal_compare_options *o = &r->options->compare;
    struct surprisal_eval_options e = r->eval;
    e.checkpoint = o->a;
    e.model = o->model_a;
    if (!r->original && !(r->original = evaluate(r, "original", e, err)))
        return false;
    if (!o->floor || r->floor)
        return true;
    e.machine.compute = SURPRISAL_COMPUTE_BF16;
    r->floor = evaluate(r, "floor", e, err);
    return r->floor != NULL;
}

static bool evaluate_candidate(struct ranked_runs *r, size_t i, struct error *err)
{
    struct ranked_candidate *c = &r->candidates[i];
    struct surprisal_eval_options e = r->eval;
    struct error why = { 0 };
    char name[STAGE_BYTES];
    name_candidate(name, i);
    e.checkpoint = c->name;
    e.model = NULL;
    c->run = evaluate(r, name, e, &why);
    if (c->run)
        return true;
    r->lost = true;
    return ranked_runs_fail(r, c, &why, err);
}

bool ranked_runs_make(struct ranked_runs *r, struct error *err)
{
    size_t n = r->options->n_candidates, made = r->original_operand == OPERAND_CHECKPOINT;
    for (size_t i = 0; i < n; i++)
        made += is_made(&r->candidates[i]);
    if (!made)
        return true;
    bool ok = begin_folder(r, err) && tell_plan(r, err) && evaluate_original(r, err);
    for (size_t i = 0; ok && i < n; i++)
        ok = !is_made(&r->candidates[i]) || evaluate_candidate(r, i, err);
    return ok;
}

/* ---- the end ------------------------------------------------------------------------ */

bool ranked_runs_commit(struct ranked_runs *r, struct error *err)
{
    return !r->folder.building || !r->eval.out || r->lost
        || output_folder_commit(&r->folder, NULL, err);
}

static void close_folder(struct ranked_runs *r)
{
    if (!r->folder.building)
        return;
    if (r->eval.out && has_runs(r)) {
        model_warn(&r->eval.machine.progress, "the evaluations that are complete stay in %s; "
                   "--resume goes on with them", r->folder.building);
        output_folder_end(&r->folder);
    } else
        output_folder_discard(&r->folder, &names_of_runs);
}

void ranked_runs_end(struct ranked_runs *r)
{
    close_folder(r);
    for (size_t i = 0; r->candidates && i < r->options->n_candidates; i++) {
        free(r->candidates[i].run);
        free(r->candidates[i].reason);
    }
    evaluate_prepared_free(&r->prepared);
    warnings_free(&r->told);
    free(r->candidates);
    free(r->original);
    free(r->floor);
    free(r->stages);
    free(r->stage_names);
}
