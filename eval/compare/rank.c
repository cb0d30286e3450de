#include "eval/compare/rank.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "eval/compare/layers.h"
#include "eval/compare/ranked_runs.h"
#include "eval/compare/ranking.h"
#include "eval/run/plan_folders.h"
#include "eval/run/record.h"
#include "eval/score/model.h"

/* ---- options ------------------------------------------------------------------------ */

/* The first candidate that is a checkpoint; NULL: none. */
static const char *first_checkpoint(const struct surprisal_rank_options *o)
{
    for (size_t i = 0; i < o->n_candidates; i++)
        if (operand_of(o->candidates[i]) == OPERAND_CHECKPOINT)
            return o->candidates[i];
    return NULL;
}

/* What two run folders leave to choose. */
static void leave_runs(struct surprisal_compare_options *pair)
{
    struct surprisal_eval_options d = evaluate_defaults();
    d.tokenizer = pair->eval.tokenizer;
    d.machine = pair->eval.machine;
    d.machine.compute = SURPRISAL_COMPUTE_F32;
    pair->eval = d;
}

/* The options must suit the original, as if it were compared with itself, and a candidate that is
 * evaluated beside a run folder. */
static bool check_kinds(const struct surprisal_rank_options *o, struct error *err)
{
    struct surprisal_compare_options pair = o->compare;
    bool evaluated = !pair.a || operand_of(pair.a) == OPERAND_CHECKPOINT;
    const char *checkpoint = evaluated ? NULL : first_checkpoint(o);
    pair.b = pair.a;
    pair.model_b = pair.model_a;
    pair.eval.resume = false;
    if (checkpoint)
        leave_runs(&pair);
    if (!compare_check(&pair, err))
        return false;
    if (!checkpoint)
        return true;
    pair.eval = o->compare.eval;
    pair.eval.resume = pair.floor = false;
    pair.a = pair.b = checkpoint;
    pair.floor_run = NULL;
    pair.model_a = pair.model_b = NULL;
    return compare_check(&pair, err);
}

bool rank_check(const struct surprisal_rank_options *o, struct error *err)
{
    const struct surprisal_compare_options *c = &o->compare;
    if (c->b || c->model_b)
        return error_set(err, "a ranking has an original and candidates, and no B");
    if (!o->n_candidates)
        return error_set(err, "there is no candidate to rank");
    for (size_t i = 0; i < o->n_candidates; i++)
        if (!o->candidates[i] || !*o->candidates[i])
            return error_set(err, "the name of candidate %zu is empty", i + 1);
    if (c->layer_windows && c->layer_windows != LAYERS_WINDOWS)
        return error_set(err, "a ranking has no figures by layer: compare two checkpoints");
    if (c->eval.resume && !c->eval.out)
        return error_set(err, "a ranking is resumed by the folder of its runs, and none is given");
    return check_kinds(o, err);
}

/* ---- the pairs ---------------------------------------------------------------------- */

static bool add_reason(cJSON *ranking, const char *plan, const struct ranked_candidate *c,
                       struct error *err)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(ranking, "not_comparable");
    cJSON *o = cJSON_CreateObject();
    if (cJSON_AddItemToArray(list, o) && json_add_bytes(o, "candidate", c->name)
        && (!plan || json_add_bytes(o, "plan", plan)) && json_add_bytes(o, "reason", c->reason))
        return true;
    return error_set(err, "out of memory: why %s is not comparable", c->name);
}

/* plan: NULL, or the subfolder of all three. */
struct place {
    struct ranked_runs *runs;
    const char *plan;
    char *original, *floor;             /* owned; floor NULL: none */
};

static char *in_plan(const char *folder, const char *plan, struct error *err)
{
    return plan ? file_join(folder, plan, err) : mem_string(folder, err);
}

/* Gives the document; NULL with the reason. */
static cJSON *compare_candidate(const struct place *p, const struct ranked_candidate *c,
                                struct error *err)
{
    struct surprisal_compare_options pair = p->runs->options->compare;
    char *b = in_plan(c->run, p->plan, err);
    leave_runs(&pair);
    pair.eval.machine.progress = p->runs->told.progress;
    pair.eval.plan = NULL;
    pair.a = p->original;
    pair.b = b;
    pair.floor = false;
    pair.floor_run = p->floor;
    pair.layer_windows = LAYERS_WINDOWS;        /* the default: none of run folders */
    pair.plan = NULL;
    pair.stage = NULL;
    if (b && p->plan && operand_of(b) != OPERAND_RUN)
        error_set(err, "%s: has no run of the plan %s", c->name, p->plan);
    else if (b) {
        cJSON *document = compare_runs(&pair, p->plan, NULL, err);
        free(b);
        return document;
    }
    free(b);
    return NULL;
}

/* Of a plan, a reason holds for that plan alone. */
static bool fail_pair(cJSON *ranking, const struct place *p, const struct ranked_candidate *c,
                      const struct error *why, struct error *err)
{
    struct ranked_candidate failed = *c;
    bool ok = ranked_runs_fail(p->runs, &failed, why, err)
           && add_reason(ranking, p->plan, &failed, err);
    free(failed.reason);
    return ok;
}

static bool add_pair(cJSON *ranking, const struct place *p, const struct ranked_candidate *c,
                     struct error *err)
{
    struct error why = { 0 };
    if (c->reason)
        return add_reason(ranking, p->plan, c, err);
    ranked_runs_compares(p->runs, c);
    cJSON *document = compare_candidate(p, c, &why);
    if (!document)
        return fail_pair(ranking, p, c, &why, err);
    if (json_add_bytes(document, "candidate", c->name)
        && cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(ranking, "comparisons"), document))
        return true;
    cJSON_Delete(document);
    return error_set(err, "out of memory: a comparison");
}

/* The original must be whole: else the fault would be told of every candidate. */
static bool add_original(cJSON *ranking, const struct place *p, struct error *err)
{
    struct record r = { 0 };
    bool ok = record_open(&r, p->original, err);
    cJSON *summary = ok ? json_exact_copy(r.summary) : NULL;
    record_close(&r);
    if (summary && cJSON_AddItemToObject(ranking, "original", summary))
        return true;
    cJSON_Delete(summary);
    return ok ? error_set(err, "out of memory: the original's summary") : false;
}

static cJSON *rank_candidates(const struct place *p, struct error *err)
{
    const struct surprisal_rank_options *o = p->runs->options;
    cJSON *ranking = cJSON_CreateObject();
    cJSON_AddStringToObject(ranking, "surprisal", SURPRISAL_VERSION);
    if (p->plan)
        json_add_bytes(ranking, "plan", p->plan);
    bool ok = add_original(ranking, p, err);
    cJSON_AddArrayToObject(ranking, "not_comparable");
    cJSON_AddArrayToObject(ranking, "comparisons");
    for (size_t i = 0; ok && i < o->n_candidates; i++)
        ok = add_pair(ranking, p, &p->runs->candidates[i], err);
    ok = ok && ranking_complete(ranking, err);
    cJSON *repeat = cJSON_AddObjectToObject(ranking, "repeat");
    if (o->compare.command)
        json_add_bytes(repeat, "command", o->compare.command);
    if (ok)
        return ranking;
    cJSON_Delete(ranking);
    return NULL;
}

/* ---- the rankings ------------------------------------------------------------------- */

static bool add_ranking(cJSON *list, struct ranked_runs *r, const char *plan, struct error *err)
{
    struct place p = { .runs = r, .plan = plan };
    p.original = in_plan(r->original, plan, err);
    p.floor = r->floor ? in_plan(r->floor, plan, err) : NULL;
    bool ok = p.original && (p.floor || !r->floor);
    cJSON *ranking = ok ? rank_candidates(&p, err) : NULL;
    free(p.original);
    free(p.floor);
    if (ranking && cJSON_AddItemToArray(list, ranking))
        return true;
    cJSON_Delete(ranking);
    return false;
}

static bool add_rankings(cJSON *list, struct ranked_runs *r, struct error *err)
{
    struct plan_pairs plans = { 0 };
    if (r->original_operand != OPERAND_PLANS)
        return add_ranking(list, r, NULL, err);
    bool ok = plan_folders_pair(&plans, r->original, NULL, err);
    for (size_t i = 0; ok && i < plans.n; i++)
        ok = add_ranking(list, r, plans.list[i].name, err);
    plan_folders_free(&plans);
    return ok;
}

cJSON *rank_run(const struct surprisal_rank_options *o, struct error *err)
{
    struct ranked_runs runs = { 0 };
    if (!rank_check(o, err))
        return NULL;
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "rankings");
    bool ok = (list || error_set(err, "out of memory: rankings"))
           && ranked_runs_begin(&runs, o, err) && ranked_runs_make(&runs, err)
           && add_rankings(list, &runs, err) && ranked_runs_commit(&runs, err);
    ranked_runs_end(&runs);
    if (ok)
        return root;
    cJSON_Delete(root);
    return NULL;
}
