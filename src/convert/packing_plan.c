#include "convert/packing_plan.h"

#include <string.h>

#include "base/format.h"
#include "formats/merged.h"

struct sum {
    size_t count, packed, before, after;
};

const char *packing_plan_scale_name(enum surprisal_scale scale)
{
    return scale == SURPRISAL_SCALE_QSTREAM ? "qstream"
         : scale == SURPRISAL_SCALE_EXACT ? "exact" : "ocp";
}

double packing_plan_percentile(const struct surprisal_quantize_options *options)
{
    return options->scale_percentile > 0 ? options->scale_percentile : 99.5;
}

static void add(struct sum *sum, const struct listed_weight *m, bool packed)
{
    size_t elements = m->stored.view.rows * m->stored.view.cols;
    sum->count++;
    sum->packed += packed;
    sum->before += m->stored.n_bytes;
    sum->after += packed ? elements / 2 + elements / mxfp4_block_size() : m->stored.n_bytes;
}

static bool put_sum(cJSON *to, const struct sum *sum)
{
    return to && json_add_size(to, "count", sum->count) && json_add_size(to, "packed", sum->packed)
        && json_add_size(to, "bytes_before", sum->before)
        && json_add_size(to, "bytes_after", sum->after);
}

static bool put_modules(cJSON *plan, const struct weight_list *m, const struct selection *s)
{
    struct sum sums[TENSOR_KINDS] = { { 0 } }, total = { 0 };
    for (size_t i = 0; i < m->n; i++) {
        add(&sums[m->list[i].kind], &m->list[i], s->packed[i]);
        add(&total, &m->list[i], s->packed[i]);
    }
    cJSON *list = cJSON_AddArrayToObject(plan, "modules");
    bool ok = list != NULL;
    for (int kind = 0; ok && kind < TENSOR_KINDS; kind++) {
        if (!sums[kind].count)
            continue;
        cJSON *row = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, row)
          && cJSON_AddStringToObject(row, "module", weight_kind_name((enum weight_kind)kind))
          && put_sum(row, &sums[kind]);
    }
    return ok && put_sum(plan, &total);
}

static bool put_matches(cJSON *row, const struct pattern_matches *matched)
{
    cJSON *kinds = json_add_size(row, "matched", matched->n)
                 ? cJSON_AddObjectToObject(row, "modules") : NULL;
    bool ok = kinds != NULL;
    for (int kind = 0; ok && kind < TENSOR_KINDS; kind++)
        ok = !matched->kinds[kind]
          || json_add_size(kinds, weight_kind_name((enum weight_kind)kind), matched->kinds[kind]);
    return ok;
}

static bool put_patterns(cJSON *plan, const struct selection *s,
                         const struct surprisal_quantize_options *o)
{
    cJSON *list = cJSON_AddArrayToObject(plan, "patterns");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < o->n_include + o->n_exclude; i++) {
        bool is_include = i < o->n_include;
        cJSON *row = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, row)
          && cJSON_AddStringToObject(row, "option", is_include ? "include" : "exclude")
          && json_add_bytes(row, "pattern",
                            is_include ? o->include[i] : o->exclude[i - o->n_include])
          && put_matches(row, &s->matched[i]);
    }
    return ok;
}

static bool put_merged(cJSON *plan, const struct weight_list *m, const struct selection *s)
{
    const char *example;
    size_t n = merged_in_part(&example, m, s->packed);
    return !n || (json_add_size(plan, "merged_in_part", n)
                  && cJSON_AddStringToObject(plan, "merged_example", example));
}

static bool put_settings(cJSON *plan, const struct surprisal_quantize_options *o)
{
    return json_add_bytes(plan, "checkpoint", o->checkpoint)
        && (o->out ? json_add_bytes(plan, "out", o->out)
                   : cJSON_AddNullToObject(plan, "out"))
        && cJSON_AddStringToObject(plan, "scale", packing_plan_scale_name(o->scale))
        && (o->scale == SURPRISAL_SCALE_QSTREAM
            ? json_add_double(plan, "scale_percentile", packing_plan_percentile(o))
            : cJSON_AddNullToObject(plan, "scale_percentile"))
        && (!o->gamma || json_add_bytes(plan, "gamma", o->gamma))
        && (!o->activations || json_add_bytes(plan, "activations", o->activations));
}

static bool count_unweighted(size_t *n, const struct weight_list *m, const struct selection *s,
                             const struct importance *im, struct error *err)
{
    *n = 0;
    for (size_t i = 0; i < m->n; i++) {
        bool has;
        if (s->packed[i] && !importance_has(&has, im, &m->list[i], err))
            return false;
        *n += s->packed[i] && !has;
    }
    return *n < s->n_packed || !s->n_packed
        || error_set(err, "%s: names none of the modules to quantize", im->file.map.path);
}

cJSON *packing_plan_make(const struct weight_list *m, const struct selection *s,
                         const struct surprisal_quantize_options *options,
                         const struct importance *im, struct error *err)
{
    size_t unweighted = 0;
    if (im->is_open && !count_unweighted(&unweighted, m, s, im, err))
        return NULL;
    cJSON *plan = cJSON_CreateObject();
    bool ok = plan && put_settings(plan, options)
           && (!im->is_open || json_add_size(plan, "unweighted", unweighted))
           && put_modules(plan, m, s) && put_patterns(plan, s, options)
           && put_merged(plan, m, s);
    if (ok)
        return plan;
    error_set(err, "out of memory: the plan");
    cJSON_Delete(plan);
    return NULL;
}

/* ---- as text --------------------------------------------------------------------------- */

/* Sizes are held as raw JSON, so that they are exact. */
double packing_plan_number(const cJSON *o, const char *key)
{
    const cJSON *item = json_get(o, key);
    return cJSON_IsRaw(item) ? format_parse(item->valuestring, NULL) : 0;
}

static bool put_row(struct buffer *out, const char *name, const cJSON *sum, struct error *err)
{
    double before = packing_plan_number(sum, "bytes_before") / 1e6;
    double after = packing_plan_number(sum, "bytes_after") / 1e6;
    return buffer_printf(out, err, "%-26s %9.0f %9.0f %14.1f %14.1f\n", name,
                         packing_plan_number(sum, "count"), packing_plan_number(sum, "packed"),
                         before, after);
}

/* "--include 'mlp' matches 408: 24 shared expert, 384 routed experts" */
static bool put_pattern(struct buffer *out, const cJSON *pattern, struct error *err)
{
    const cJSON *kind, *kinds = json_get(pattern, "modules");
    struct error shown = { 0 };
    bool ok =
        buffer_printf(out, err, "--%s '%s' matches %.0f", json_get(pattern, "option")->valuestring,
                      error_clean(&shown, json_get(pattern, "pattern")->valuestring),
                      packing_plan_number(pattern, "matched"));
    cJSON_ArrayForEach(kind, kinds)
        ok = ok && buffer_printf(out, err, "%s %.0f %s", kind == kinds->child ? ":" : ",",
                                 packing_plan_number(kinds, kind->string), kind->string);
    return ok && buffer_printf(out, err, "\n");
}

bool packing_plan_text(struct buffer *out, const cJSON *plan, struct error *err)
{
    const cJSON *item;
    double unweighted = packing_plan_number(plan, "unweighted");
    bool ok = buffer_printf(out, err, "%-26s %9s %9s %14s %14s\n", "module", "tensors", "to MXFP4",
                            "MB before", "MB after");
    cJSON_ArrayForEach(item, json_get(plan, "modules"))
        ok = ok && put_row(out, json_get(item, "module")->valuestring, item, err);
    ok = ok && put_row(out, "all", plan, err);
    cJSON_ArrayForEach(item, json_get(plan, "patterns"))
        ok = ok && put_pattern(out, item, err);
    if (ok && json_get(plan, "merged_in_part"))
        ok = buffer_printf(
            out, err,
            "%.0f modules that vLLM merges are packed in part: it cannot load"
            " them (%s)\n",
            packing_plan_number(plan, "merged_in_part"),
            error_clean(&(struct error){ 0 }, json_get(plan, "merged_example")->valuestring));
    if (ok && unweighted > 0)
        ok =
            buffer_printf(out, err,
                          "%.0f of the %.0f to MXFP4 have no importances: their errors are weighted"
                          " equally\n",
                          unweighted, packing_plan_number(plan, "packed"));
    return ok;
}
