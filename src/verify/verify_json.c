#include <math.h>

#include "verify/verify_report.h"

/* Whether an object was added to; all of them fail for lack of memory alone. */
static bool add_figures(cJSON *to, const struct verify_cell *cell)
{
    const struct tally *t = &cell->sum;
    size_t codes = t->codes;
    return json_add_size(to, "tensors", cell->tensors)
        && json_add_size(to, "weights", t->blocks ? codes : t->elements)
        && json_add_double(to, "sqnr_db", tally_sqnr(t))
        && json_add_double(to, "relative_error", tally_relative_error(t))
        && json_add_double(to, "clipped_share",
                           t->compared ? verify_report_share(t->clipped, codes) : NAN)
        && json_add_double(to, "largest_code_share", verify_report_share(t->largest_codes, codes))
        && json_add_double(to, "zero_block_share", verify_report_share(t->zero_blocks, t->blocks))
        && json_add_size(to, "zero_rows", t->zero_rows);
}

static bool add_row(cJSON *list, const char *layer, const char *kind, const char *tensor,
                    const struct verify_cell *cell)
{
    cJSON *to = cJSON_CreateObject();
    return cJSON_AddItemToArray(list, to)
        && (!layer || json_add_bytes(to, "layer", layer))
        && (!kind || cJSON_AddStringToObject(to, "kind", kind))
        && (!tensor || cJSON_AddStringToObject(to, "tensor", tensor))
        && add_figures(to, cell);
}

static bool add_table(cJSON *root, const struct verify_table *t)
{
    cJSON *total = cJSON_AddObjectToObject(root, "total");
    cJSON *kinds = cJSON_AddArrayToObject(root, "kinds");
    cJSON *layers = cJSON_AddArrayToObject(root, "layers");
    bool ok = total && kinds && layers && add_figures(total, &t->all);
    for (size_t i = 0; ok && i < t->n_kinds; i++)
        ok = add_row(kinds, NULL, t->kinds[i].text, NULL, &t->totals[i]);
    for (size_t i = 0; ok && i < t->n_layers; i++)
        for (size_t j = 0; ok && j < t->n_kinds; j++) {
            const struct verify_cell *cell = verify_table_cell(t, i, j);
            ok = !cell->tensors || add_row(layers, t->layers[i].text, t->kinds[j].text, NULL, cell);
        }
    return ok;
}

static bool add_tensor(cJSON *list, const struct verify_result *r, size_t i)
{
    const struct verify_cell one = { 1, r->tallies[i] };
    return add_row(list, NULL, NULL, r->weights.list[i].name, &one);
}

static bool add_tensors(cJSON *root, const struct verify_result *r)
{
    size_t worst[VERIFY_WORST], n = verify_report_worst(worst, r);
    cJSON *list = cJSON_AddArrayToObject(root, "worst");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = add_tensor(list, r, worst[i]);
    list = ok ? cJSON_AddArrayToObject(root, "quantized_tensors") : NULL;
    ok = list != NULL;
    for (size_t i = 0; ok && i < r->weights.n; i++)
        ok = !verify_table_is_quantized(r, i) || add_tensor(list, r, i);
    return ok;
}

/* How many of a level there are, and those that were kept. */
static bool add_findings(cJSON *root, const char *count_key, const char *key,
                         const struct findings *found, enum finding_level level)
{
    cJSON *list = NULL;
    bool ok = json_add_size(root, count_key, found->counts[level])
           && (list = cJSON_AddArrayToObject(root, key));
    for (size_t i = 0; ok && i < found->n; i++) {
        const struct finding *x = &found->list[i];
        if (finding_level(x->code) != level)
            continue;
        cJSON *to = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, to)
          && cJSON_AddStringToObject(to, "code", finding_code_name(x->code))
          && cJSON_AddStringToObject(to, "file", x->file)
          && cJSON_AddStringToObject(to, "tensor", x->tensor)
          && cJSON_AddStringToObject(to, "text", x->text);
    }
    return ok;
}

static bool add_download(cJSON *root, const struct verify_download *d)
{
    if (!d->n_files && !*d->revision)
        return cJSON_AddNullToObject(root, "download");
    cJSON *to = cJSON_AddObjectToObject(root, "download");
    return to && (*d->revision ? cJSON_AddStringToObject(to, "revision", d->revision)
                               : cJSON_AddNullToObject(to, "revision"))
        && json_add_size(to, "files", d->n_files) && json_add_size(to, "equal", d->n_equal);
}

static bool add_inputs(cJSON *root, const struct verify_result *r)
{
    return cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION)
        && json_add_bytes(root, "checkpoint", r->folder.ck.path)
        && (r->has_original ? json_add_bytes(root, "against", r->original.ck.path)
                            : cJSON_AddNullToObject(root, "against"))
        && add_download(root, &r->download)
        && json_add_size(root, "tensors", r->folder.ck.n_tensors)
        && json_add_size(root, "bytes", verify_report_bytes(r))
        && json_add_double(root, "seconds", r->seconds);
}

bool verify_json(cJSON **out, const struct verify_result *r, const struct verify_table *t,
                 struct error *err)
{
    const struct findings *found = &r->findings;
    cJSON *root = cJSON_CreateObject();
    bool ok = root && add_inputs(root, r) && json_add_size(root, "quantized", t->all.tensors)
           && add_findings(root, "finding_count", "findings", found, LEVEL_FINDING)
           && add_findings(root, "suspicion_count", "suspicions", found, LEVEL_SUSPICION)
           && add_findings(root, "note_count", "notes", found, LEVEL_NOTE) && add_table(root, t)
           && add_tensors(root, r);
    if (!ok) {
        cJSON_Delete(root);
        return error_set(err, "out of memory: the result of verify");
    }
    *out = root;
    return true;
}
