#include "eval/score/trace_report.h"

#include <string.h>

#include "base/format.h"

static const char *const kinds[] = { [TRACE_LAYER] = "layer", [TRACE_NORM] = "norm",
                                     [TRACE_HEAD] = "head" };
static const char *const names[] = { "residual", "routing", "hidden", "logits" };
enum { N_NAMES = sizeof names / sizeof *names };

static const char *compute_name(enum compute_type compute)
{
    return compute == COMPUTE_BF16 ? "bf16" : "f32";
}

static const char *type_of(const struct trace_differences *d, const struct trace_step *s)
{
    return d->config->layer_types[s->layer] == FULL_ATTENTION ? "full_attention"
                                                              : "linear_attention";
}

/* Of the tensors in the file: does it mean anything here? */
static bool is_known(const char *name)
{
    bool known = strcmp(name, "ids") == 0;
    for (size_t i = 0; !known && i < N_NAMES; i++)
        known = strcmp(name, names[i]) == 0;
    return known;
}

/* The i-th of our names that the file does not have; a dense model has no routing. */
static bool is_absent(const struct trace_differences *d, size_t i)
{
    return !safetensors_find(&d->foreign->file, names[i])
        && (d->config->num_experts || strcmp(names[i], "routing") != 0);
}

/* ---- JSON ---------------------------------------------------------------------- */

static bool add_names(cJSON *json, const struct trace_differences *d)
{
    cJSON *absent = cJSON_AddArrayToObject(json, "absent");
    cJSON *ignored = cJSON_AddArrayToObject(json, "ignored");
    bool ok = absent && ignored;
    for (size_t i = 0; ok && i < N_NAMES; i++)
        ok = !is_absent(d, i) || cJSON_AddItemToArray(absent, cJSON_CreateString(names[i]));
    for (size_t i = 0; ok && i < d->foreign->file.n_tensors; i++) {
        const char *name = d->foreign->file.tensors[i].name;
        ok = is_known(name) || cJSON_AddItemToArray(ignored, cJSON_CreateString(name));
    }
    return ok;
}

/* s NULL: null. */
static bool add_size(cJSON *json, const char *key, const struct trace_size *s)
{
    if (!s)
        return cJSON_AddNullToObject(json, key);
    cJSON *o = cJSON_AddObjectToObject(json, key);
    return o && json_add_double(o, "largest", s->largest)
        && json_add_double(o, "rms", trace_differences_rms(s));
}

static bool add_place(cJSON *o, const struct trace_differences *d, const struct trace_step *s)
{
    bool layer = s->kind == TRACE_LAYER;
    return cJSON_AddStringToObject(o, "step", kinds[s->kind])
        && (layer ? json_add_size(o, "layer", s->layer) : cJSON_AddNullToObject(o, "layer"))
        && (layer ? cJSON_AddStringToObject(o, "type", type_of(d, s))
                  : cJSON_AddNullToObject(o, "type"));
}

static bool add_step(cJSON *steps, const struct trace_differences *d, const struct trace_step *s)
{
    cJSON *o = cJSON_CreateObject();
    if (!cJSON_AddItemToArray(steps, o))
        return false;
    return add_place(o, d, s) && json_add_size(o, "from", s->steps)
        && add_size(o, "whole", s->compared ? &s->whole : NULL)
        && add_size(o, "alone", s->compared ? &s->alone : NULL)
        && (s->compared ? json_add_double(o, "floor_ratio", s->ratio)
                        : cJSON_AddNullToObject(o, "floor_ratio"))
        && (s->compared ? json_add_size(o, "tokens_beyond", s->beyond)
                        : cJSON_AddNullToObject(o, "tokens_beyond"))
        && (s->routed ? json_add_size(o, "other_experts", s->other_experts)
                      : cJSON_AddNullToObject(o, "other_experts"));
}

static bool add_first(cJSON *json, const struct trace_differences *d)
{
    const struct trace_step *s = trace_differences_first(d);
    if (!s)
        return cJSON_AddNullToObject(json, "first_beyond");
    cJSON *o = cJSON_AddObjectToObject(json, "first_beyond");
    return o && add_place(o, d, s) && json_add_size(o, "token", s->first)
        && json_add_double(o, "rms", s->first_rms) && json_add_double(o, "floor", s->first_floor)
        && (s->routed ? cJSON_AddBoolToObject(o, "other_experts", s->first_other_experts)
                      : cJSON_AddNullToObject(o, "other_experts"));
}

bool trace_report_json(cJSON **json, const struct trace_differences *d, enum compute_type compute,
                       struct error *err)
{
    cJSON *o = *json = cJSON_CreateObject(), *steps = NULL;
    bool ok = o && json_add_bytes(o, "against", d->foreign->path)
           && json_add_size(o, "tokens", d->T)
           && cJSON_AddStringToObject(o, "compute", compute_name(compute))
           && cJSON_AddStringToObject(o, "rounding", dtype_name(d->rounding))
           && add_names(o, d) && (steps = cJSON_AddArrayToObject(o, "steps"));
    for (size_t i = 0; ok && i < d->n_steps; i++)
        ok = add_step(steps, d, &d->steps[i]);
    return (ok && add_first(o, d)) || error_set(err, "out of memory: a comparison of traces");
}

/* ---- text ---------------------------------------------------------------------- */

static bool row_text(struct buffer *text, const struct trace_differences *d,
                     const struct trace_step *s, struct error *err)
{
    char place[48], experts[32] = "-";
    if (s->kind == TRACE_LAYER)
        format_text(place, sizeof place, "layer %zu, %s", s->layer, type_of(d, s));
    else
        format_text(place, sizeof place, "%s%s", kinds[s->kind],
                    s->kind == TRACE_HEAD && s->steps > 1 ? ", with the norm" : "");
    if (s->routed)
        format_text(experts, sizeof experts, "%zu", s->other_experts);
    if (!s->compared)
        return buffer_printf(text, err, "%-28s %9s %9s %9s %9s %9s %8s %8s\n", place, "-", "-", "-",
                             "-", "-", "-", experts);
    return buffer_printf(text, err, "%-28s %9.2e %9.2e %9.2e %9.2e %9.2g %8zu %8s\n", place,
                         s->whole.largest, trace_differences_rms(&s->whole), s->alone.largest,
                         trace_differences_rms(&s->alone), s->ratio, s->beyond, experts);
}

static bool first_text(struct buffer *text, const struct trace_differences *d, struct error *err)
{
    const struct trace_step *s = trace_differences_first(d);
    if (!s)
        return buffer_printf(text, err, "No step differs by more than rounding.\n");
    char place[64] = "";
    if (s->kind == TRACE_LAYER)
        format_text(place, sizeof place, " %zu (%s)", s->layer, type_of(d, s));
    return buffer_printf(text, err, "First beyond rounding: %s%s, token %zu: an RMS difference of "
                         "%.2e, where rounding explains %.1e%s.\n", kinds[s->kind], place, s->first,
                         s->first_rms, s->first_floor,
                         s->first_other_experts ? " (other experts were chosen)" : "");
}

static bool names_text(struct buffer *text, const struct trace_differences *d, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < N_NAMES; i++)
        ok = !is_absent(d, i) || buffer_printf(text, err, "Not in the file: %s.\n", names[i]);
    for (size_t i = 0; ok && i < d->foreign->file.n_tensors; i++) {
        const char *name = d->foreign->file.tensors[i].name;
        ok = is_known(name) || buffer_printf(text, err, "Not looked at: %s.\n", name);
    }
    return ok;
}

bool trace_report_text(struct buffer *text, const struct trace_differences *d,
                       enum compute_type compute, struct error *err)
{
    bool ok = buffer_printf(text, err, "%zu tokens, compute %s, rounding of %s\n\n", d->T,
                            compute_name(compute), dtype_name(d->rounding))
           && buffer_printf(text, err, "%-28s %-19s %-19s %9s %8s %8s\n", "",
                            "from the embedding", "this step alone", "times the", "tokens", "other")
           && buffer_printf(text, err, "%-28s %9s %9s %9s %9s %9s %8s %8s\n", "step", "largest",
                            "RMS", "largest", "RMS", "floor", "beyond", "experts");
    for (size_t i = 0; ok && i < d->n_steps; i++)
        ok = row_text(text, d, &d->steps[i], err);
    return ok && buffer_printf(text, err, "\n") && first_text(text, d, err)
        && names_text(text, d, err);
}
