/* surprisal.h over the modules: options and errors are handed on, results given away. */
#include "surprisal.h"

#include <stdlib.h>
#include <string.h>

#include "api/public.h"
#include "bench/bench_report.h"
#include "eval/score/calibrate.h"
#include "eval/compare/compare.h"
#include "eval/compare/compare_plans.h"
#include "eval/report/comparison_report.h"
#include "eval/score/division.h"
#include "eval/score/evaluate.h"
#include "eval/protocol/input.h"
#include "eval/compare/layers.h"
#include "eval/compare/rank.h"
#include "eval/report/ranking_report.h"
#include "eval/score/inspect.h"
#include "eval/score/merge.h"
#include "eval/score/model.h"
#include "eval/protocol/text.h"
#include "eval/score/trace.h"
#include "tokenizer/tokenizer.h"

const char *surprisal_version(void)
{
    return SURPRISAL_VERSION;
}

const char *surprisal_printable(struct surprisal_error *safe, const char *text)
{
    struct error inner = { 0 };
    error_set(&inner, "%s", text);
    public_tell(safe, false, &inner);
    return safe->message;
}

/* ---- tokenizer ----------------------------------------------------------- */

/* struct surprisal_tokenizer is never defined: a pointer to it is one to struct tokenizer. */

struct surprisal_tokenizer *surprisal_tokenizer_open(const char *path, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct tokenizer *t = tokenizer_open(path, &inner);
    public_tell(err, t != NULL, &inner);
    return (struct surprisal_tokenizer *)t;
}

void surprisal_tokenizer_close(struct surprisal_tokenizer *t)
{
    if (t)
        tokenizer_close((struct tokenizer *)t);
}

bool surprisal_tokenize(const struct surprisal_tokenizer *t, const char *text, size_t n_bytes,
                        int32_t **ids, size_t *n_ids, struct surprisal_error *err)
{
    struct error inner = { 0 };
    bool ok = tokenizer_encode((const struct tokenizer *)t, text, n_bytes, ids, n_ids, &inner);
    return public_tell(err, ok, &inner);
}

bool surprisal_detokenize(const struct surprisal_tokenizer *t, const int32_t *ids, size_t n_ids,
                          char **text, size_t *n_bytes, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer b = { 0 };
    bool ok = tokenizer_decode((const struct tokenizer *)t, ids, n_ids, &b, &inner);
    return public_tell(err, public_give_text(&b, ok, text, n_bytes, &inner), &inner);
}

/* ---- names of checkpoints ----------------------------------------------------- */

bool surprisal_find_checkpoint(const char *name, const struct surprisal_hub *hub, char **path,
                               struct surprisal_error *err)
{
    struct error inner = { 0 };
    *path = model_find(name, hub, &inner);
    return public_tell(err, *path != NULL, &inner);
}

/* ---- opened checkpoints ------------------------------------------------------ */

struct surprisal_model *surprisal_model_open(const char *checkpoint,
                                             const struct surprisal_progress *progress,
                                             struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct surprisal_model *m = model_handle_open(checkpoint, progress, &inner);
    public_tell(err, m != NULL, &inner);
    return m;
}

void surprisal_model_close(struct surprisal_model *model)
{
    model_handle_close(model);
}

const struct surprisal_tokenizer *surprisal_model_tokenizer(const struct surprisal_model *model,
                                                            struct surprisal_error *err)
{
    struct error inner = { 0 };
    const struct tokenizer *t = model_handle_tokenizer(model, &inner);
    public_tell(err, t != NULL, &inner);
    return (const struct surprisal_tokenizer *)t;
}

/* ---- inputs --------------------------------------------------------------- */

bool surprisal_read_text(const char *path, enum surprisal_join join, char **text, size_t *n_bytes,
                         struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer b = { 0 };
    bool ok = text_read(&b, path, join, &inner);
    return public_tell(err, public_give_text(&b, ok, text, n_bytes, &inner), &inner);
}

bool surprisal_read_ids(const char *path, int32_t **ids, size_t *n_ids, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, input_read_ids(path, ids, n_ids, NULL, &inner), &inner);
}

/* ---- evaluation ----------------------------------------------------------- */

struct surprisal_eval_options surprisal_eval_defaults(void)
{
    return evaluate_defaults();
}

bool surprisal_eval_check(const struct surprisal_eval_options *options, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, evaluate_check(options, &inner), &inner);
}

bool surprisal_eval(const struct surprisal_eval_options *options, struct surprisal_result *results,
                    struct surprisal_error *err)
{
    struct error inner = { 0 };
    memset(results, 0, (options->n_plans ? options->n_plans : 1) * sizeof *results);
    return public_tell(err, evaluate_run(options, results, &inner), &inner);
}

void surprisal_result_free(struct surprisal_result *result)
{
    evaluate_result_free(result);
}

/* ---- parts of a run ------------------------------------------------------- */

bool surprisal_merge_check(const struct surprisal_merge_options *options,
                           struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, merge_check(options, &inner), &inner);
}

bool surprisal_merge(const struct surprisal_merge_options *options,
                     struct surprisal_merged *merged, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, merge_run(options, merged, &inner), &inner);
}

void surprisal_merged_free(struct surprisal_merged *merged)
{
    merge_free(merged);
}

/* ---- a run divided among processes ------------------------------------------ */

bool surprisal_division_facts(const struct surprisal_eval_options *options,
                              struct surprisal_division_facts *facts, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, division_facts(facts, options, &inner), &inner);
}

bool surprisal_division_is_at(const char *out)
{
    return division_is_at(out);
}

struct surprisal_division *
surprisal_division_begin(const struct surprisal_eval_options *options,
                         const struct surprisal_division_facts *facts, size_t processes,
                         bool mixed, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct surprisal_division *d = division_begin(options, facts, processes, mixed, &inner);
    public_tell(err, d != NULL, &inner);
    return d;
}

size_t surprisal_division_parts(const struct surprisal_division *division)
{
    return division_parts(division);
}

bool surprisal_division_has(const struct surprisal_division *division, size_t part)
{
    return division_has(division, part);
}

bool surprisal_division_score(const struct surprisal_eval_options *options,
                              struct surprisal_part part, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, division_score(options, part, &inner), &inner);
}

bool surprisal_division_join(struct surprisal_division *division, struct surprisal_merged *merged,
                             struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, division_join(division, merged, &inner), &inner);
}

void surprisal_division_close(struct surprisal_division *division)
{
    division_close(division);
}

/* ---- comparison ----------------------------------------------------------- */

struct surprisal_compare_options surprisal_compare_defaults(void)
{
    return (struct surprisal_compare_options){
        .eval = surprisal_eval_defaults(), .layer_windows = LAYERS_WINDOWS, .bootstrap = 2000,
        .seed = 1, .temporary = "/tmp",
    };
}

bool surprisal_compare_check(const struct surprisal_compare_options *options,
                             struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, compare_check(options, &inner), &inner);
}

bool surprisal_compare_takes_plans(const struct surprisal_compare_options *options)
{
    return compare_takes_plans(options);
}

bool surprisal_compare(const struct surprisal_compare_options *options,
                       struct surprisal_comparison *result, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer text = { 0 };
    cJSON *document = compare_takes_plans(options) ? compare_plans(options, &text, &inner)
                                                   : compare_runs(options, NULL, &text, &inner);
    char *json = document ? json_print(document) : NULL;
    bool ok = json != NULL;
    if (document && !json)
        error_set(&inner, "out of memory: the comparison as JSON");
    cJSON_Delete(document);
    *result = (struct surprisal_comparison){ .json = json, .text = text.data };
    if (!ok)
        surprisal_comparison_free(result);
    return public_tell(err, ok, &inner);
}

void surprisal_comparison_free(struct surprisal_comparison *result)
{
    free(result->json);
    free(result->text);
    *result = (struct surprisal_comparison){ 0 };
}

/* ---- a ranking ------------------------------------------------------------------ */

bool surprisal_rank_check(const struct surprisal_rank_options *options,
                          struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, rank_check(options, &inner), &inner);
}

static size_t count_left_out(const cJSON *document)
{
    const cJSON *ranking;
    size_t n = 0;
    cJSON_ArrayForEach(ranking, json_get(document, "rankings"))
        n += (size_t)cJSON_GetArraySize(json_get(ranking, "not_comparable"));
    return n;
}

bool surprisal_rank(const struct surprisal_rank_options *options, struct surprisal_ranking *result,
                    struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer text = { 0 };
    cJSON *document = rank_run(options, &inner), *parsed = NULL;
    *result = (struct surprisal_ranking){ 0 };
    if (document && !(result->json = json_print(document)))
        error_set(&inner, "out of memory: the ranking as JSON");
    cJSON_Delete(document);
    /* Reports read numbers, which only a parsed document has. */
    if (result->json)
        parsed = json_parse(result->json, strlen(result->json), "the ranking", &inner);
    bool ok = parsed && ranking_report_text(&text, parsed, &inner);
    result->n_left_out = count_left_out(parsed);
    result->text = text.data;
    cJSON_Delete(parsed);
    if (!ok)
        surprisal_ranking_free(result);
    return public_tell(err, ok, &inner);
}

void surprisal_ranking_free(struct surprisal_ranking *result)
{
    free(result->json);
    free(result->text);
    *result = (struct surprisal_ranking){ 0 };
}

/* ---- reports of a comparison ------------------------------------------------ */

bool surprisal_report_check(const struct surprisal_report_options *options,
                            struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, comparison_report_check(options, &inner), &inner);
}

bool surprisal_report_prepare(const struct surprisal_report_options *options,
                              struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, comparison_report_prepare(options, &inner), &inner);
}

bool surprisal_report(const char *comparison_json, const struct surprisal_report_options *options,
                      struct surprisal_report *report, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, comparison_report(comparison_json, options, report, &inner), &inner);
}

void surprisal_report_free(struct surprisal_report *report)
{
    free(report->failed);
    free(report->baseline);
    *report = (struct surprisal_report){ 0 };
}

/* ---- looking inside ------------------------------------------------------- */

static bool inspect(const struct surprisal_inspect_options *o, char **json, char **text,
                    struct error *err)
{
    const struct model_source from = { o->checkpoint, o->model };
    cJSON *found = NULL;
    struct buffer b = { 0 };
    if (!from.path && !from.opened)
        return error_set(err, "no checkpoint is given");
    bool ok = model_source_check(from, err)
           && (o->model ? inspect_opened(&found, &o->model->checkpoint, &o->model->weights, err)
                        : inspect_checkpoint(&found, o->checkpoint, err))
           && (!text || inspect_text(&b, found, err));
    return public_give(found, &b, ok, json, text, err);
}

bool surprisal_inspect(const struct surprisal_inspect_options *options, char **json, char **text,
                       struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, inspect(options, json, text, &inner), &inner);
}

bool surprisal_bench(const struct surprisal_bench_options *options, char **json, char **text,
                     struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *found = NULL;
    struct buffer b = { 0 };
    const struct model_source from = { options->checkpoint, options->model };
    bool ok = model_source_check(from, &inner)
           && bench_report(json ? &found : NULL, text ? &b : NULL, options,
                           options->model ? &options->model->checkpoint : NULL, &inner);
    return public_tell(err, public_give(found, &b, ok, json, text, &inner), &inner);
}

struct surprisal_calibrate_options surprisal_calibrate_defaults(void)
{
    return (struct surprisal_calibrate_options){ .eval = surprisal_eval_defaults(),
                                                 .min_tokens = 32 };
}

bool surprisal_calibrate_check(const struct surprisal_calibrate_options *options,
                               struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, calibrate_check(options, &inner), &inner);
}

bool surprisal_calibrate(const struct surprisal_calibrate_options *options, char **json,
                         char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *found = NULL;
    struct buffer b = { 0 };
    bool ok = calibrate_checkpoint(json ? &found : NULL, text ? &b : NULL, options, &inner);
    return public_tell(err, public_give(found, &b, ok, json, text, &inner), &inner);
}

bool surprisal_trace(const struct surprisal_trace_options *options, struct surprisal_error *err)
{
    struct error inner = { 0 };
    return public_tell(err, trace_ids(options, &inner), &inner);
}

bool surprisal_trace_against(const struct surprisal_trace_options *options, const char *against,
                             char **json, char **text, struct surprisal_error *err)
{
    struct error inner = { 0 };
    cJSON *found = NULL;
    struct buffer b = { 0 };
    bool ok = trace_against(json ? &found : NULL, text ? &b : NULL, options, against, &inner);
    return public_tell(err, public_give(found, &b, ok, json, text, &inner), &inner);
}
