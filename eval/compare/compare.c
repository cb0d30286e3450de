#include "eval/compare/compare.h"

#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/output_folder.h"
#include "base/progress.h"
#include "base/temporary.h"
#include "eval/compare/comparable.h"
#include "eval/compare/comparison_json.h"
#include "eval/compare/excerpt.h"
#include "eval/compare/kept_run.h"
#include "eval/compare/layers.h"
#include "eval/compare/operand.h"
#include "eval/compare/record_divergence.h"
#include "eval/compare/stages.h"
#include "eval/compare/warned.h"
#include "eval/run/run_folder.h"
#include "eval/run/unfinished_run.h"
#include "eval/run/warnings.h"
#include "eval/score/evaluate.h"
#include "eval/score/model.h"

enum side { A, B, FLOOR, N_SIDES };
static const char *const side_names[N_SIDES] = { "a", "b", "floor" };

#define MOST_SAMPLES 1000000
#define LARGEST_SEED ((uint64_t)1 << 53)        /* readers of JSON keep it exactly up to here */

/* ---- options ----------------------------------------------------------------------- */

/* The opened checkpoint of a side; with run folders, the one that the run was made from.  NULL:
 * none. */
static struct surprisal_model *opened_of(const struct surprisal_compare_options *o, enum side side)
{
    return side == B ? o->model_b : o->model_a;
}

/* Of two checkpoints. */
static struct model_source source_of(const struct surprisal_compare_options *o, enum side side)
{
    return (struct model_source){ .path = side == B ? o->b : o->a, .opened = opened_of(o, side) };
}

static enum operand kind_of(const struct surprisal_compare_options *o, enum side side)
{
    const struct model_source from = source_of(o, side);
    return from.path ? operand_of(from.path) : from.opened ? OPERAND_CHECKPOINT
                                                           : OPERAND_NOTHING;
}

/* As messages name it. */
static const char *name_of(const struct surprisal_compare_options *o, enum side side)
{
    const char *path = side == B ? o->b : o->a;
    return path ? path : model_source_path(source_of(o, side));
}

bool compare_takes_plans(const struct surprisal_compare_options *o)
{
    return kind_of(o, A) == OPERAND_PLANS && kind_of(o, B) == OPERAND_PLANS;
}

static bool check_operand(const struct surprisal_compare_options *o, enum side side,
                          struct error *err)
{
    const struct model_source from = source_of(o, side);
    enum operand kind = kind_of(o, side);
    if (from.path ? !*from.path : !from.opened)
        return error_set(err, "%s is missing: a run folder or a checkpoint", side == B ? "B" : "A");
    if (kind == OPERAND_NOTHING)
        return operand_refuse(from.path, err);
    return kind != OPERAND_CHECKPOINT || model_source_check(from, err);
}

static bool check_same_kind(const struct surprisal_compare_options *o, struct error *err)
{
    enum operand a = kind_of(o, A), b = kind_of(o, B);
    if (a == b)
        return true;
    if (a == OPERAND_PLANS || b == OPERAND_PLANS)
        return error_set(err, "%s is %s and %s is %s: name two of the same kind", name_of(o, A),
                         operand_name(a), name_of(o, B), operand_name(b));
    return error_set(err, "%s is a run folder and %s a checkpoint: evaluate the checkpoint as the "
                     "run was, or name two checkpoints", name_of(o, a == OPERAND_RUN ? A : B),
                     name_of(o, a == OPERAND_RUN ? B : A));
}

static bool check_floor_run(const char *path, enum operand kind, struct error *err)
{
    if (operand_of(path) == kind)
        return true;
    if (kind == OPERAND_PLANS)
        return error_set(err, "%s: is no folder of plans, expected one with a noise floor for each "
                         "plan", path);
    return error_set(err, "%s: is no run folder (summary.json, tokens.safetensors)", path);
}

/* A run folder fixes these settings: they cannot be chosen again. */
static bool check_runs(const struct surprisal_compare_options *o, enum operand kind,
                       struct error *err)
{
    const struct surprisal_eval_options *e = &o->eval, d = evaluate_defaults();
    const struct {
        bool given;
        const char *what;
    } options[] = {
        { e->text, "a text" }, { e->ids, "ids" }, { e->protocol != d.protocol, "a protocol" },
        { e->context != d.context, "a context" }, { e->stride, "a stride" },
        { e->join != d.join, "a join" }, { e->task != d.task, "a task" },
        { e->n_plans, "plans" },
        { e->max_documents, "a number of documents" }, { e->max_windows, "a number of windows" },
        { e->prefix_id != d.prefix_id, "a prefix id" },
        { e->machine.compute != d.machine.compute, "a compute type" },
        { e->skip_nonfinite, "the skipping of windows" },
        { o->layer_windows != LAYERS_WINDOWS, "layers" },
        { e->out, "a folder for the runs" }, { e->hidden, "hidden states" }, { e->mtp, "drafts" },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given)
            return error_set(err, "%s and %s are %s: %s can be chosen for checkpoints only", o->a,
                             o->b, kind == OPERAND_PLANS ? "folders of plans" : "run folders",
                             options[i].what);
    if (o->floor && !o->floor_run)
        return error_set(err, "with run folders the noise floor is a run too: name its folder");
    return !o->floor_run || check_floor_run(o->floor_run, kind, err);
}

static struct surprisal_eval_options side_options(const struct surprisal_compare_options *o,
                                                  enum side side)
{
    struct surprisal_eval_options e = o->eval;
    const struct model_source from = source_of(o, side);
    e.checkpoint = from.path;
    e.model = from.opened;
    if (side == FLOOR)
        e.machine.compute = SURPRISAL_COMPUTE_BF16;
    return e;
}

static bool check_checkpoints(const struct surprisal_compare_options *o, struct error *err)
{
    struct surprisal_eval_options e = side_options(o, A);
    const char *source = e.text ? e.text : e.ids;
    e.hidden = SURPRISAL_HIDDEN_NONE;
    if (e.mtp)
        return error_set(err, "a comparison makes no drafts: evaluate each checkpoint with them");
    if (e.n_plans)
        return error_set(err, "two checkpoints are compared by one protocol, not by plans");
    if (o->floor_run)
        return error_set(err, "%s: with checkpoints the noise floor is evaluated, not given",
                         o->floor_run);
    if (o->floor && e.machine.compute == SURPRISAL_COMPUTE_BF16)
        return error_set(err, "the noise floor is A in bf16 compute, which is asked for anyway");
    if (source && file_is_read_once(source))
        return error_set(err, "what is evaluated is read more than once: it cannot be %s",
                         strcmp(source, "-") == 0 ? "the standard input" : "a pipe or a device");
    return evaluate_check(&e, err);
}

bool compare_check(const struct surprisal_compare_options *o, struct error *err)
{
    if (o->bootstrap < 2 || o->bootstrap > MOST_SAMPLES)
        return error_set(err, "%zu bootstrap samples, expected 2 to %d", o->bootstrap,
                         MOST_SAMPLES);
    if (o->seed > LARGEST_SEED)
        return error_set(err, "the seed is above 2^53");
    if (o->eval.resume)
        return error_set(err, "a comparison is not resumed");
    if (!check_operand(o, A, err) || !check_operand(o, B, err) || !check_same_kind(o, err))
        return false;
    enum operand kind = kind_of(o, A);
    return kind == OPERAND_CHECKPOINT ? check_checkpoints(o, err) : check_runs(o, kind, err);
}

/* ---- checkpoints become run folders --------------------------------------------------- */

struct job {
    struct warnings warnings;           /* first: what calls the job back gets its address */
    const struct surprisal_compare_options *caller;         /* its options, and */
    struct surprisal_compare_options own_options;           /* those with the job's callbacks, */
    const struct surprisal_compare_options *options;        /* which are used */
    struct output_folder folder;        /* of the runs, when they are made */
    struct input_files inputs;          /* of all sides, as they were before they were read */
    char *paths[N_SIDES];               /* owned; run folders, NULL: none */
    struct record records[N_SIDES];
    struct comparison comparison, floor;
    struct divergence_row *rows, *floor_rows;   /* owned */
    struct evaluate_prepared prepared;  /* A's; of checkpoints */
    double run_seconds[N_SIDES];        /* estimated, of evaluations; 0: not known */
    size_t evaluation_bytes;            /* of memory, that the evaluations of checkpoints need */
    bool other_head;                    /* B's is stored in another type */
    bool skips_layers;                  /* figures by layer are not possible; a warning said so */
    double layers_flop;
    struct stages stages;               /* of checkpoints */
    struct tokenizer *tokenizer;        /* owned; opened to show text */
};

/* The plan of an evaluation, or of the figures by layer, goes to the caller. */
static void relay_plan(void *user, const struct surprisal_plan *plan)
{
    const struct job *j = user;
    j->caller->eval.plan(j->warnings.to.user, plan);
}

static void job_begin(struct job *j, const struct surprisal_compare_options *o)
{
    *j = (struct job){ .caller = o, .own_options = *o };
    j->options = &j->own_options;
    warnings_begin(&j->warnings, &o->eval.machine.progress);
    j->own_options.eval.machine.progress = j->warnings.progress;
    if (o->eval.plan)
        j->own_options.eval.plan = relay_plan;
}

/* Hidden states are always kept, because KL divergence is computed from them. */
static enum surprisal_hidden kept_hidden(const struct surprisal_compare_options *o)
{
    return o->eval.hidden == SURPRISAL_HIDDEN_NONE ? SURPRISAL_HIDDEN_F32 : o->eval.hidden;
}

static size_t run_bytes(const struct surprisal_compare_options *o,
                        const struct surprisal_plan *plan)
{
    return run_folder_bytes(plan->scored, kept_hidden(o), plan->hidden_size);
}

/* A's and B's ids of the text must be the same; tokenizers that differ only as files are a
 * warning. */
static bool check_ids(const struct job *j, const struct evaluate_prepared *p, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const struct evaluate_prepared *first = &j->prepared;
    char x[COMPARABLE_TOKEN_BYTES] = "none", y[COMPARABLE_TOKEN_BYTES] = "none";
    size_t i = 0;
    while (i < first->n_ids && i < p->n_ids && first->ids[i] == p->ids[i])
        i++;
    if (i == first->n_ids && i == p->n_ids) {
        if (strcmp(p->tokenizer, first->tokenizer) != 0)
            model_warn(&o->eval.machine.progress, "the tokenizers of %s and %s differ (sha256 "
                       "%.12s against %.12s), but give the same ids for the text", name_of(o, A),
                       name_of(o, B), first->tokenizer, p->tokenizer);
        return true;
    }
    if (i < first->n_ids)
        comparable_token(x, model_source_path(source_of(o, A)), first->ids[i]);
    if (i < p->n_ids)
        comparable_token(y, model_source_path(source_of(o, B)), p->ids[i]);
    return error_set(err, "%s and %s have different tokenizers: sha256 %.12s against %.12s, token "
                     "%zu is %s against %s (one for both can be named)", name_of(o, A),
                     name_of(o, B), first->tokenizer, p->tokenizer, i, x, y);
}

/* Prepares each side without scoring it, to find mistakes and sides that cannot be compared. */
static bool prepare_side(struct job *j, enum side side, struct evaluate_prepared *p,
                         struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const struct evaluate_prepared *first = &j->prepared;
    struct surprisal_eval_options e = side_options(o, side);
    e.plan = o->plan ? relay_plan : NULL;       /* asks for an estimate; is not called here */
    if (e.machine.memory_bytes)
        e.machine.memory_bytes = SIZE_MAX;      /* what is needed is asked for: check_memory */
    if (!evaluate_prepare(&e, p, err))
        return false;
    j->evaluation_bytes = size_max(j->evaluation_bytes, p->least_bytes);
    if (p->prefix_id != first->prefix_id)
        return error_set(err, "%s and %s have different prefix tokens: %d against %d",
                         name_of(o, A), name_of(o, B), (int)first->prefix_id, (int)p->prefix_id);
    return check_ids(j, p, err);
}

/* A may be prepared already: then j->prepared is that, borrowed. */
static bool prepare(struct job *j, const struct evaluate_prepared *a, size_t *disk_bytes,
                    struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    if (a) {
        j->prepared = *a;
        j->evaluation_bytes = a->least_bytes;
    }
    bool ok = (a || prepare_side(j, A, &j->prepared, err))
           && input_files_add_all(&j->inputs, &j->prepared.inputs, err);
    *disk_bytes = ok ? run_bytes(o, &j->prepared.plan) : 0;
    j->run_seconds[A] = j->prepared.plan.seconds;
    for (int side = B; ok && side < (o->floor ? N_SIDES : FLOOR); side++) {
        struct evaluate_prepared p;
        ok = prepare_side(j, (enum side)side, &p, err)
          && input_files_add_all(&j->inputs, &p.inputs, err);
        *disk_bytes += ok ? run_bytes(o, &p.plan) : 0;
        j->run_seconds[side] = p.plan.seconds;
        if (side == B)
            j->other_head = p.head_dtype != j->prepared.head_dtype;
        if (ok && side == B)
            warned_swapped(&o->eval.machine.progress, name_of(o, A), j->prepared.quantized_bytes,
                           name_of(o, B), p.quantized_bytes);
        evaluate_prepared_free(&p);
    }
    return ok;
}

static bool is_side(const char *run, size_t n)
{
    for (int side = A; side < N_SIDES; side++)
        if (n == strlen(side_names[side]) && memcmp(run, side_names[side], n) == 0)
            return true;
    return false;
}

static bool is_ours(void *unused, const char *name)
{
    (void)unused;
    return unfinished_run_is_below(name, is_side);
}

static const struct output_names names_of_runs = { .is_ours = is_ours };

static bool make_folder(struct job *j, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const struct progress progress = PROGRESS_OF(&o->eval.machine.progress);
    const struct output_request request = { .path = o->eval.out, .kind = "comparison",
                                            .inputs = &j->inputs, .progress = &progress };
    if (!o->eval.out)
        return output_folder_scratch(&j->folder, o->temporary, "comparison", &progress, err);
    return output_folder_begin(&j->folder, &request, err)
        && output_folder_clear(&j->folder, &names_of_runs, err);
}

/* Of A's evaluation. */
static double seconds_a_flop(const struct job *j)
{
    const struct surprisal_plan *plan = &j->prepared.plan;
    return plan->flop > 0 ? plan->seconds / plan->flop : 0;
}

/* Two heads, an addition and a multiplication; heads that differ are used a second time. */
static double divergence_seconds(const struct job *j)
{
    double kl = seconds_a_flop(j) * 4 * (double)j->prepared.plan.scored
              * (double)j->prepared.head_values;
    return j->other_head ? 2 * kl : kl;
}

/* In the order of the work.  What is not an evaluation takes as long as the same number of
 * operations in one. */
static void plan_stages(struct job *j)
{
    const struct surprisal_compare_options *o = j->options;
    stages_add(&j->stages, "evaluation of A", j->run_seconds[A]);
    stages_add(&j->stages, "evaluation of B", j->run_seconds[B]);
    if (o->floor)
        stages_add(&j->stages, "evaluation of the noise floor", j->run_seconds[FLOOR]);
    double kl = divergence_seconds(j);
    stages_add(&j->stages, "KL divergence", kl);
    if (o->floor)
        stages_add(&j->stages, "KL divergence of the noise floor", j->other_head ? kl / 2 : kl);
    if (o->layer_windows && !j->skips_layers)
        stages_add(&j->stages, "figures by layer", seconds_a_flop(j) * j->layers_flop);
}

static void begin_stage(struct job *j)
{
    stages_next(&j->stages, j->options->stage, j->warnings.to.user);
}

static bool tell_plan(struct job *j, size_t disk_bytes, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    plan_stages(j);
    struct surprisal_comparison_plan plan = {
        .runs = o->floor ? N_SIDES : FLOOR, .disk_bytes = disk_bytes,
        .folder = j->folder.building, .stages = j->stages.list, .n_stages = j->stages.n,
    };
    if (!output_folder_space(&plan.free_bytes, plan.folder, err))
        return false;
    if (o->plan)
        o->plan(j->warnings.to.user, &plan);
    return stages_have_room(&plan, err);
}

/* ---- is there memory for all of it? ------------------------------------------------------ */

static struct divergence_options divergence_options(const struct surprisal_compare_options *o)
{
    return (struct divergence_options){ .machine = o->eval.machine };
}

static struct layers_options layers_options(const struct job *j)
{
    const struct surprisal_compare_options *o = j->options;
    const struct surprisal_eval_options *e = &o->eval;
    return (struct layers_options){
        .a = source_of(o, A), .b = source_of(o, B), .ids = j->prepared.ids,
        .n_ids = j->prepared.n_ids,
        .windows = j->prepared.windows.list, .n_windows = j->prepared.windows.n,
        .max_windows = o->layer_windows, .machine = e->machine, .plan = e->plan,
    };
}

static struct divergence_run run_of(struct job *j, enum side side)
{
    return (struct divergence_run){ .record = &j->records[side],
                                    .opened = opened_of(j->options, side) };
}

/* The memory that the process needs to measure the divergence of a side from A; 0: it measures
 * none. */
static bool divergence_needs(size_t *bytes, struct job *j, enum side side, size_t beside_bytes,
                             struct error *err)
{
    const struct divergence_options options = divergence_options(j->options);
    if (!j->prepared.ids)
        return record_divergence_least(bytes, run_of(j, A), run_of(j, side), beside_bytes, &options,
                                       err);
    struct divergence_source sources[2];
    for (int i = 0; i < 2; i++) {
        const struct surprisal_eval_options e = side_options(j->options, i ? side : A);
        sources[i] = (struct divergence_source){
            .checkpoint = model_source_of(&e),
            .compute = e.machine.compute == SURPRISAL_COMPUTE_BF16 ? COMPUTE_BF16 : COMPUTE_F32,
        };
    }
    return divergence_least(bytes, &sources[0], &sources[1], j->prepared.plan.scored, beside_bytes,
                            &options, err);
}

/* Memory that will be in use when a side is compared but is not yet: records, and the comparison of
 * B. */
static size_t taken_before(const struct job *j, enum side side)
{
    bool runs = !j->prepared.ids;
    size_t scored = runs ? j->records[A].scored : j->prepared.plan.scored;
    size_t windows = runs ? j->records[A].windows : j->prepared.plan.windows;
    size_t bytes = runs ? 0 : record_bytes(scored, windows) * (j->options->floor ? N_SIDES : FLOOR);
    if (side == FLOOR)
        bytes += scored * sizeof(struct divergence_row) + comparison_kept_bytes(scored, windows);
    return bytes;
}

static bool side_needs(size_t *bytes, struct job *j, enum side side, struct error *err)
{
    bool runs = !j->prepared.ids;
    size_t scored = runs ? j->records[A].scored : j->prepared.plan.scored;
    size_t windows = runs ? j->records[A].windows : j->prepared.plan.windows;
    size_t taken = taken_before(j, side), figures;
    if (!divergence_needs(bytes, j, side, taken, err))
        return false;
    figures = budget_held_now() + taken + comparison_bytes(scored, windows)
            + (*bytes ? scored * sizeof(struct divergence_row) : 0);
    *bytes = size_max(*bytes, figures);
    return true;
}

/* If there is too little memory for figures by layer, that is a warning now, not a refusal. */
static bool check_layers(struct job *j, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const struct layers_options layers = layers_options(j);
    struct error why = { 0 };
    size_t needed;
    if (!j->prepared.ids || !o->layer_windows)
        return true;
    bool ok = layers_least(&needed, &j->layers_flop, &layers, &why)
           && (!o->eval.machine.memory_bytes
               || budget_check_ahead(o->eval.machine.memory_bytes, needed + taken_before(j, FLOOR),
                                     &why, "a comparison by layer"));
    j->skips_layers = !ok;
    if (ok)
        return true;
    if (why.interrupted) {
        *err = why;
        return false;
    }
    model_warn(&o->eval.machine.progress, "no figures by layer: %s", why.message);
    return true;
}

/* Checks now what later steps would refuse after hours; the message names a budget that is enough
 * for all. */
static bool check_memory(struct job *j, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const char *what = "an evaluation";
    size_t most = j->evaluation_bytes, bytes;
    bool has_floor = j->prepared.ids ? o->floor : j->paths[FLOOR] != NULL;
    if (!o->eval.machine.memory_bytes)
        return check_layers(j, err);
    for (int side = B; side < (has_floor ? N_SIDES : FLOOR); side++) {
        if (!side_needs(&bytes, j, (enum side)side, err))
            return false;
        what = bytes > most ? "KL divergence" : what;
        most = size_max(most, bytes);
    }
    return budget_check_ahead(o->eval.machine.memory_bytes, most, err, what)
        && check_layers(j, err);
}

/* ---- the runs ---------------------------------------------------------------------------- */

static bool evaluate_side(struct job *j, enum side side, struct error *err)
{
    struct surprisal_eval_options e = side_options(j->options, side);
    struct surprisal_result result = { 0 };
    j->paths[side] = file_join(j->folder.building, side_names[side], err);
    if (!j->paths[side])
        return false;
    begin_stage(j);
    e.out = j->paths[side];
    e.hidden = kept_hidden(j->options);
    bool ok = evaluate_run(&e, &result, err);
    evaluate_result_free(&result);
    return ok;
}

static bool evaluate_all(struct job *j, struct error *err)
{
    size_t disk_bytes;
    return prepare(j, NULL, &disk_bytes, err) && check_memory(j, err) && make_folder(j, err)
        && tell_plan(j, disk_bytes, err)
        && evaluate_side(j, A, err) && evaluate_side(j, B, err)
        && (!j->options->floor || evaluate_side(j, FLOOR, err));
}

/* ---- run folders are compared ---------------------------------------------------------- */

static bool take_run_folders(struct job *j, struct error *err)
{
    const char *const given[N_SIDES] = { j->options->a, j->options->b, j->options->floor_run };
    for (int side = A; side < N_SIDES; side++)
        if (given[side] && (!(j->paths[side] = mem_string(given[side], err))
                            || !input_files_add_in(&j->inputs, given[side], RUN_SUMMARY, err)))
            return false;
    return true;
}

/* The floor is a run of the same checkpoint in another compute type. */
static bool check_floor(const struct record *a, const struct record *floor, struct error *err)
{
    const cJSON *x = json_get(json_get(a->summary, "checkpoint"), "digest");
    const cJSON *y = json_get(json_get(floor->summary, "checkpoint"), "digest");
    if (!cJSON_Compare(x, y, true))
        return error_set(err, "%s: is a run of another checkpoint than %s, expected the same as a "
                         "noise floor", floor->folder, a->folder);
    return !cJSON_Compare(json_get(a->summary, "compute"), json_get(floor->summary, "compute"),
                          true)
        || error_set(err, "%s: was computed in the same type as %s, expected another as a noise "
                     "floor", floor->folder, a->folder);
}

/* Against A. */
static bool compare_side(struct job *j, enum side side, struct comparison *c,
                         struct divergence_row **rows, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    const struct bootstrap bootstrap = { .samples = o->bootstrap, .seed = o->seed };
    const struct divergence_options options = divergence_options(o);
    begin_stage(j);
    return record_divergence(rows, run_of(j, A), run_of(j, side), &options, err)
        && comparison_make(c, &j->records[A], &j->records[side], *rows, &bootstrap, err);
}

/* A window that one run left out is left out of all, so that all figures are of the same tokens.
 * Runs of different windows stay as they are: comparable_check refuses them. */
static bool leave_out(struct job *j, struct error *err)
{
    const struct record *a = &j->records[A];
    size_t n = a->windows, own[N_SIDES] = { 0 };
    bool *windows = mem_array(n, sizeof *windows, "windows", err), ok = windows != NULL;
    bool alike = true, differ = false;
    for (int side = A; ok && alike && side < N_SIDES; side++) {
        const struct record *r = &j->records[side];
        if (!j->paths[side])
            continue;
        own[side] = r->n_left_out;
        alike = r->windows == n;
        for (size_t i = 0; alike && i < n; i++)
            windows[i] = windows[i] || r->left_out[i];
    }
    for (int side = A; ok && alike && side < N_SIDES; side++)
        if (j->paths[side]) {
            ok = record_leave_out(&j->records[side], windows, err);
            differ = differ || j->records[side].n_left_out > own[side];
        }
    free(windows);
    if (ok && differ)
        model_warn(&j->options->eval.machine.progress, "the runs did not leave the same windows "
                   "out: compared are the %zu of %zu windows that all of them scored",
                   n - a->n_left_out, n);
    return ok;
}

/* Figures by layer are of windows that both scored. */
static void keep_scored_windows(struct job *j)
{
    struct windows *w = &j->prepared.windows;
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        if (!j->records[A].left_out[i])
            w->list[n++] = w->list[i];
    w->n = n;
}

static bool open_records(struct job *j, struct error *err)
{
    const struct record *r = j->records;
    for (int side = A; side < N_SIDES; side++)
        if (j->paths[side] && (!record_open(&j->records[side], j->paths[side], err)
                               || !record_refuse_part(&j->records[side], err)
                               || !input_files_add_mapped(&j->inputs, &j->records[side].file.map,
                                                          err)))
            return false;
    /* Checkpoints were compared before they were evaluated. */
    const struct surprisal_progress silent = { 0 };
    const struct surprisal_progress *progress =
        j->prepared.ids ? &silent : &j->options->eval.machine.progress;
    return leave_out(j, err) && comparable_check(&r[A], &r[B], progress, err)
        && (!j->paths[FLOOR] || (check_floor(&r[A], &r[FLOOR], err)
                                 && comparable_check(&r[A], &r[FLOOR], progress, err)))
        && (j->prepared.ids || check_memory(j, err));
}

static size_t quantized_bytes(const struct record *r)
{
    size_t bytes = 0;
    const cJSON *checkpoint = json_get(r->summary, "checkpoint");
    json_to_size(json_get(checkpoint, "quantized_bytes"), &bytes);
    return bytes;
}

/* Checkpoints were looked at before they were evaluated. */
static void warn_swapped_runs(const struct job *j)
{
    const struct record *a = &j->records[A], *b = &j->records[B];
    if (!j->prepared.ids)
        warned_swapped(&j->options->eval.machine.progress, warned_name(a, b), quantized_bytes(a),
                       warned_name(b, a), quantized_bytes(b));
}

static bool compare_records(struct job *j, struct error *err)
{
    if (!open_records(j, err))
        return false;
    if (j->prepared.ids)
        keep_scored_windows(j);
    warn_swapped_runs(j);
    return compare_side(j, B, &j->comparison, &j->rows, err)
        && (!j->paths[FLOOR] || compare_side(j, FLOOR, &j->floor, &j->floor_rows, err));
}

/* Figures by layer.  A failure here is a warning: the finished comparison is kept. */
static bool add_layers(cJSON *document, struct buffer *text, struct job *j, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    if (!j->prepared.ids || !o->layer_windows || j->skips_layers)
        return true;
    const struct layers_options layers = layers_options(j);
    struct error why = { 0 };
    begin_stage(j);
    if (layers_compare(document, text, &layers, &why))
        return true;
    if (why.interrupted) {
        *err = why;
        return false;
    }
    model_warn(&o->eval.machine.progress, "no figures by layer: %s", why.message);
    return true;
}

/* The tokenizer that shows text: that of the opened checkpoint if the run was made with it, else
 * the run's own, which is opened. */
static const struct tokenizer *find_tokenizer(struct job *j)
{
    const struct surprisal_compare_options *o = j->options;
    const struct record *a = &j->records[A];
    const struct tokenizer *opened = o->model_a ? model_handle_tokenizer(o->model_a, NULL) : NULL;
    if (!o->eval.tokenizer && opened && excerpt_is_of(opened, a))
        return opened;
    j->tokenizer = excerpt_tokenizer(a, o->eval.tokenizer, &o->eval.machine.progress);
    return j->tokenizer;
}

static cJSON *tell(struct job *j, const char *plan, struct buffer *text, struct error *err)
{
    const struct surprisal_compare_options *o = j->options;
    struct buffer by_layer = { 0 };
    struct comparison_view view = {
        .comparison = &j->comparison, .floor = j->paths[FLOOR] ? &j->floor : NULL,
        .tokenizer = find_tokenizer(j), .command = o->command, .plan = plan,
    };
    cJSON *document = comparison_json(&view, err);
    bool ok = document && add_layers(document, &by_layer, j, err)
           && comparison_json_complete(document, &j->comparison, err)
           && warned_add(document, &j->warnings, j->records[FLOOR].summary, err);
    view.by_layer = by_layer.data;
    view.document = document;
    ok = ok && (!text || comparison_text(text, &view, err));
    buffer_free(&by_layer);
    if (ok)
        return document;
    cJSON_Delete(document);
    return NULL;
}

/* With --out, complete evaluations are kept even if a later step failed. */
static void close_folder(struct job *j)
{
    bool stays = j->options->eval.out && j->paths[A] && record_is_folder(j->paths[A]);
    if (!j->folder.building)
        return;
    if (stays) {
        model_warn(&j->options->eval.machine.progress,
                   "the evaluations that are complete stay in %s", j->folder.building);
        output_folder_end(&j->folder);
    } else
        output_folder_discard(&j->folder, &names_of_runs);
}

static void job_close(struct job *j)
{
    if (j->tokenizer)
        tokenizer_close(j->tokenizer);
    evaluate_prepared_free(&j->prepared);
    comparison_free(&j->comparison);
    comparison_free(&j->floor);
    free(j->rows);
    free(j->floor_rows);
    for (int side = A; side < N_SIDES; side++)
        record_close(&j->records[side]);
    close_folder(j);
    for (int side = A; side < N_SIDES; side++)
        free(j->paths[side]);
    input_files_free(&j->inputs);
    warnings_free(&j->warnings);
}

/* ---- inputs that stay ------------------------------------------------------------------ */

static bool same_checkpoint(const struct job *j, enum side side, bool *same, struct error *err)
{
    return kept_run_same_checkpoint(same, j->records[side].summary, source_of(j->options, side),
                                    &j->options->eval.machine, err);
}

static bool same_checkpoints(void *user, const char *path, bool *same, struct error *err)
{
    bool a, b;
    (void)path;
    if (!same_checkpoint(user, A, &a, err) || !same_checkpoint(user, B, &b, err))
        return false;
    *same = a && b;
    return true;
}

static bool same_records(void *user, const char *path, bool *same, struct error *err)
{
    const struct job *j = user;
    *same = true;
    for (int side = A; *same && side < N_SIDES; side++) {
        struct record again = { 0 };
        if (!j->paths[side] || strncmp(path, j->paths[side], strlen(j->paths[side])) != 0)
            continue;
        *same = record_open(&again, j->paths[side], err)
             && (!again.keeps_hidden || record_view_hidden(&again, err));
        record_close(&again);
    }
    return true;
}

/* The inputs of the comparison are the same as at the beginning. */
static bool inputs_hold(struct job *j, bool made, struct error *err)
{
    const struct progress progress = PROGRESS_OF(&j->options->eval.machine.progress);
    const struct input_files_again again = { made ? same_checkpoints : same_records, j, made };
    return input_files_check(&j->inputs, &again, &progress, err);
}

/* ---- the job --------------------------------------------------------------------------- */

cJSON *compare_runs(const struct surprisal_compare_options *o, const char *plan,
                    struct buffer *text, struct error *err)
{
    struct job j;
    cJSON *document = NULL;
    job_begin(&j, o);
    bool ok = compare_check(o, err), made = ok && kind_of(o, A) == OPERAND_CHECKPOINT;
    ok = ok && (made ? evaluate_all(&j, err) : take_run_folders(&j, err));
    if (ok && compare_records(&j, err))
        document = tell(&j, plan, text, err);
    if (document && (!inputs_hold(&j, made, err)
                     || (made && o->eval.out && !output_folder_commit(&j.folder, NULL, err)))) {
        cJSON_Delete(document);
        document = NULL;
    }
    job_close(&j);
    return document;
}

bool compare_check_memory(const struct surprisal_compare_options *o, struct error *err)
{
    struct job j;
    job_begin(&j, o);
    bool ok = !o->eval.machine.memory_bytes || (take_run_folders(&j, err) && open_records(&j, err));
    job_close(&j);
    return ok;
}

bool compare_prepare(const struct surprisal_compare_options *o, const struct evaluate_prepared *a,
                     struct compare_cost *cost, struct error *err)
{
    struct job j;
    size_t disk_bytes;
    job_begin(&j, o);
    bool ok = compare_check(o, err) && prepare(&j, a, &disk_bytes, err) && check_memory(&j, err);
    if (ok)
        *cost = (struct compare_cost){
            .evaluation_seconds = j.run_seconds[B], .divergence_seconds = divergence_seconds(&j),
            .disk_bytes = disk_bytes - run_bytes(j.options, &j.prepared.plan),
        };
    j.prepared = (struct evaluate_prepared){ 0 };
    job_close(&j);
    return ok;
}
