#include "eval/compare/kept_run.h"

#include <string.h>

#include "base/machine.h"
#include "base/progress.h"

bool kept_run_same_checkpoint(bool *same, const cJSON *summary, struct model_source from,
                              const struct surprisal_machine *machine, struct error *err)
{
    const struct progress progress = PROGRESS_OF(&machine->progress);
    struct model model = { 0 };
    struct digest digest;
    char hex[2 * DIGEST_BYTES + 1];
    const struct surprisal_progress silent = { 0 };     /* the evaluation warned */
    const char *of = cJSON_GetStringValue(json_get(json_get(summary, "checkpoint"), "digest"));
    int threads = machine->threads > 0 ? machine->threads : machine_processors();
    bool ok = model_open(&model, from, NULL, &silent, err)
           && weights_digest(&digest, model.checkpoint, model.weights, threads, &progress, err);
    model_close(&model);
    if (ok)
        digest_hex(hex, &digest);
    *same = ok && of && strcmp(hex, of) == 0;
    return ok;
}

bool kept_run_check_tokens(const struct record *r, const struct evaluate_prepared *p,
                           struct error *err)
{
    if (r->windows != p->windows.n || r->file_rows != p->plan.scored)
        return error_set(err, "%s: scored %zu tokens in %zu windows, expected %zu in %zu by the "
                         "options for checkpoints", r->folder, r->file_rows, r->windows,
                         p->plan.scored, p->windows.n);
    for (size_t i = 0; i < r->scored; i++) {
        size_t window = (size_t)r->window[i];
        const struct engine_window *w = window < p->windows.n ? &p->windows.list[window] : NULL;
        size_t at = w ? w->begin + (size_t)r->index_in_window[i] : SIZE_MAX;
        if (!w || at >= w->end || p->ids[at] != r->id[i])
            return error_set(err, "%s: scored token %zu has id %d in window %zu, expected the ids "
                             "and windows of the options for checkpoints", r->folder, i,
                             (int)r->id[i], window);
    }
    return true;
}

static bool check_setting(const struct record *r, const char *key, const char *expected,
                          struct error *err)
{
    const char *found = cJSON_GetStringValue(json_get(r->summary, key));
    return (found && strcmp(found, expected) == 0)
        || error_set(err, "%s: is a run with %s %s, expected %s", r->folder, key,
                     found ? found : "none", expected);
}

static bool check_record(struct record *r, const struct surprisal_eval_options *e,
                         struct error *err)
{
    struct surprisal_eval_options again = *e;
    struct evaluate_prepared p;
    bool same = false;
    again.plan = NULL;                          /* nobody reads an estimate */
    bool ok = evaluate_prepare(&again, &p, err) && kept_run_check_tokens(r, &p, err);
    evaluate_prepared_free(&p);
    ok = ok && check_setting(r, "surprisal", SURPRISAL_VERSION, err)
      && check_setting(r, "compute", e->machine.compute == SURPRISAL_COMPUTE_BF16 ? "bf16" : "f32",
                       err)
      && check_setting(r, "hidden", e->hidden == SURPRISAL_HIDDEN_BF16 ? "bf16" : "f32", err)
      && record_view_hidden(r, err)
      && kept_run_same_checkpoint(&same, r->summary, model_source_of(e), &e->machine, err);
    return ok && (same || error_set(err, "%s: is a run of other weights, expected those of %s",
                                    r->folder, model_source_path(model_source_of(e))));
}

bool kept_run_check(const char *folder, const struct surprisal_eval_options *e, struct error *err)
{
    struct record r = { 0 };
    bool ok = record_open(&r, folder, err) && check_record(&r, e, err);
    record_close(&r);
    return ok;
}
