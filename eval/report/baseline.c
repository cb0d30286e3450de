#include "eval/report/baseline.h"

#include <math.h>
#include <string.h>

#include "eval/report/describe.h"
#include "eval/report/figure.h"

#define TOKENIZER "tokenizer"

/* What two comparisons must have in common. */
static const struct {
    const char *path, *what;
} common[] = {
    { "a.checkpoint.digest", "original checkpoint" }, { "a.text.sha256", "text" },
    { "a.text.join", "join" },                        { "a.tokenizer.sha256", TOKENIZER },
    { "a.protocol", "protocol" },                     { "a.context", "context" },
    { "a.stride", "stride" },                         { "a.prefix_id", "prefix token" },
    { "a.max_windows", "max windows" },               { "a.documents.count", "documents" },
    { "a.compute", "compute type of the original" },  { "b.compute", "compute type of the other" },
    { "scored", "scored tokens" },
};

cJSON *baseline_read(const char *path, struct error *err)
{
    cJSON *root = json_read(path, err);
    if (root && cJSON_IsObject(json_get(root, "a")) && cJSON_IsObject(json_get(root, "b"))
        && json_get(root, "delta_nll"))
        return root;
    if (root)
        error_set(err, "%s: not a stored comparison, expected what `compare --json` prints", path);
    cJSON_Delete(root);
    return NULL;
}

static bool append_value(struct buffer *out, const cJSON *item, struct error *err)
{
    if (cJSON_IsString(item))
        return buffer_printf(out, err, "%s", item->valuestring);
    if (cJSON_IsNumber(item))
        return buffer_printf(out, err, "%.17g", item->valuedouble);
    return buffer_printf(out, err, "%s", item ? "?" : "none");
}

static const cJSON *find(const cJSON *document, const char *path)
{
    return figure_find(document, path, strlen(path));
}

/* Tokenizers may differ as files if the ids of the text are the same. */
static bool same_ids(const cJSON *baseline, const cJSON *document)
{
    const cJSON *then = find(baseline, "a.text.ids_sha256");
    const cJSON *now = find(document, "a.text.ids_sha256");
    return cJSON_IsString(then) && cJSON_Compare(then, now, true);
}

bool baseline_check(const cJSON *baseline, const cJSON *document, const char *path,
                    struct error *err)
{
    struct buffer differing = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof common / sizeof *common; i++) {
        const cJSON *then = find(baseline, common[i].path);
        const cJSON *now = find(document, common[i].path);
        if (then == now || (then && now && cJSON_Compare(then, now, true))
            || (strcmp(common[i].what, TOKENIZER) == 0 && same_ids(baseline, document)))
            continue;
        ok = buffer_printf(&differing, err, "%s%s is ", differing.size ? "; " : "", common[i].what)
          && append_value(&differing, then, err) && buffer_printf(&differing, err, ", today ")
          && append_value(&differing, now, err);
    }
    if (ok && differing.size)
        ok = error_set(err, "%s: a baseline of another comparison: %s", path, differing.data);
    buffer_free(&differing);
    return ok;
}

bool baseline_text(struct buffer *out, const cJSON *baseline, const cJSON *document,
                   struct error *err)
{
    bool ok = buffer_printf(out, err, "%-40s %18s %18s %14s\n", "beside the baseline", "now",
                            "then", "change");
    for (size_t i = 0; i < describe_n_key_figures; i++) {
        const struct key_figure *f = &describe_key_figures[i];
        char now[DESCRIBE_BYTES], then[DESCRIBE_BYTES], change[DESCRIBE_BYTES];
        if (!describe_change(change, f, document, baseline))
            continue;
        describe_figure(now, f, document, false);
        describe_figure(then, f, baseline, false);
        ok = ok && buffer_printf(out, err, "%-40s %18s %18s %14s\n", f->label, now, then, change);
    }
    return ok;
}
