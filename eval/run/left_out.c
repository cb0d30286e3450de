#include "eval/run/left_out.h"

#include "engine/engine.h"

#define WINDOWS_NAMED 4

static bool is_left_out(const struct left_out *l, size_t window)
{
    return l->list && l->list[window].step != NONFINITE_NONE;
}

struct left_out left_out_count(const struct nonfinite *nonfinite, const struct windows *windows)
{
    struct left_out l = { .list = nonfinite, .of = windows->n };
    for (size_t i = 0; i < l.of; i++)
        if (is_left_out(&l, i)) {
            l.windows++;
            l.tokens += windows->list[i].end - windows->list[i].first;
        }
    return l;
}

bool left_out_text(struct buffer *out, const struct left_out *l, struct error *err)
{
    size_t named = 0;
    bool ok = buffer_printf(out, err, "%zu of %zu windows %s left out of all figures, as a NaN or "
                            "infinity shows in %s:", l->windows, l->of,
                            l->windows == 1 ? "is" : "are", l->windows == 1 ? "it" : "them");
    for (size_t i = 0; ok && i < l->of && named < WINDOWS_NAMED; i++) {
        char where[NONFINITE_TEXT_BYTES];
        if (!is_left_out(l, i))
            continue;
        engine_nonfinite_text(where, &l->list[i]);
        ok = buffer_printf(out, err, "%s window %zu (%s, token %zu)", named++ ? "," : "", i, where,
                           l->list[i].token);
    }
    return ok
        && (named == l->windows || buffer_printf(out, err, " and %zu more", l->windows - named));
}

void left_out_add_json(cJSON *root, const struct left_out *l)
{
    if (l->windows == 0) {
        cJSON_AddNullToObject(root, "left_out");
        return;
    }
    cJSON *o = cJSON_AddObjectToObject(root, "left_out");
    json_add_size(o, "windows", l->windows);
    json_add_size(o, "tokens", l->tokens);
    cJSON *list = cJSON_AddArrayToObject(o, "list");
    for (size_t i = 0; i < l->of; i++) {
        char where[NONFINITE_TEXT_BYTES];
        if (!is_left_out(l, i))
            continue;
        cJSON *window = cJSON_CreateObject();
        cJSON_AddItemToArray(list, window);
        engine_nonfinite_text(where, &l->list[i]);
        json_add_size(window, "window", i);
        json_add_size(window, "token", l->list[i].token);
        cJSON_AddStringToObject(window, "where", where);
    }
}

bool left_out_read(bool *out, size_t n_windows, size_t *tokens, const cJSON *summary,
                   const char *path, struct error *err)
{
    const cJSON *o = json_get_value(summary, "left_out"), *list = json_get(o, "list");
    size_t stated = 0, n = 0, next = 0;
    *tokens = 0;
    if (!o)
        return true;
    bool ok = json_to_size(json_get(o, "windows"), &stated)
           && json_to_size(json_get(o, "tokens"), tokens);
    for (const cJSON *item = list ? list->child : NULL; ok && item; item = item->next, n++) {
        size_t window = 0;
        ok = json_to_size(json_get(item, "window"), &window) && window >= next
          && window < n_windows;
        if (ok)
            out[window] = true;
        next = window + 1;
    }
    return (ok && n == stated && n > 0)
        || error_set(err, "%s: 'left_out' is not a list of as many of the %zu windows, in order, "
                     "as it says", path, n_windows);
}

enum { WINDOW, STEP, PART, FULL, LAYER, TOKEN, EXPERT };

void left_out_pack(int64_t out[LEFT_OUT_NUMBERS], size_t window, const struct nonfinite *n)
{
    out[WINDOW] = (int64_t)window;
    out[STEP] = n->step;
    out[PART] = n->part;
    out[FULL] = n->full_attention;
    out[LAYER] = (int64_t)n->layer;
    out[TOKEN] = (int64_t)n->token;
    out[EXPERT] = n->expert;
}

bool left_out_unpack(size_t *window, struct nonfinite *n, const int64_t in[LEFT_OUT_NUMBERS])
{
    for (size_t i = 0; i < LEFT_OUT_NUMBERS; i++)
        if (in[i] < 0)
            return false;
    *window = (size_t)in[WINDOW];
    *n = (struct nonfinite){
        .step = (enum nonfinite_step)in[STEP], .part = (enum nonfinite_part)in[PART],
        .full_attention = in[FULL] == 1, .layer = (size_t)in[LAYER], .token = (size_t)in[TOKEN],
        .expert = (int32_t)in[EXPERT],
    };
    return in[STEP] > NONFINITE_NONE && in[STEP] <= NONFINITE_HEAD && in[PART] <= NONFINITE_EXPERT
        && in[FULL] <= 1 && in[EXPERT] <= INT32_MAX;
}
