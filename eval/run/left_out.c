#include "eval/run/left_out.h"

#include <string.h>

#include "engine/engine.h"

#define WINDOWS_NAMED 4

static bool is_left_out(const struct left_out *l, size_t window)
{
    return l->list && l->list[window].step != NONFINITE_NONE;
}

struct left_out left_out_count(const struct nonfinite *nonfinite, const struct sequence *s)
{
    struct left_out l = { .list = nonfinite, .of = s->windows.n, .first_window = s->first_window };
    for (size_t i = 0; i < l.of; i++)
        if (is_left_out(&l, i)) {
            l.windows++;
            l.tokens += s->windows.list[i].end - s->windows.list[i].first;
        }
    return l;
}

cJSON *left_out_member(cJSON *list, size_t tokens)
{
    int windows = cJSON_GetArraySize(list);
    if (windows == 0) {
        cJSON_Delete(list);
        return cJSON_CreateNull();
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "windows", windows);
    cJSON_AddNumberToObject(o, "tokens", (double)tokens);
    cJSON_AddItemToObject(o, "list", list);
    return o;
}

cJSON *left_out_json(const struct left_out *l)
{
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < l->of; i++) {
        char where[NONFINITE_TEXT_BYTES];
        if (!is_left_out(l, i))
            continue;
        cJSON *window = cJSON_CreateObject();
        cJSON_AddItemToArray(list, window);
        engine_nonfinite_text(where, &l->list[i]);
        cJSON_AddNumberToObject(window, "window", (double)(l->first_window + i));
        cJSON_AddNumberToObject(window, "token", (double)l->list[i].token);
        cJSON_AddStringToObject(window, "where", where);
    }
    return left_out_member(list, l->tokens);
}

static const char out_of_figures[] = " left out of all figures, as a NaN or infinity shows in ";

bool left_out_text(struct buffer *out, const cJSON *json, size_t of, struct error *err)
{
    size_t windows = 0, named = 0;
    const cJSON *item, *list = json_get(json, "list");
    json_to_size(json_get(json, "windows"), &windows);
    bool ok = buffer_printf(out, err, "%zu of %zu windows %s%s%s:", windows, of,
                            windows == 1 ? "is" : "are", out_of_figures,
                            windows == 1 ? "it" : "them");
    cJSON_ArrayForEach(item, list) {
        size_t window = 0, token = 0;
        const char *where = cJSON_GetStringValue(json_get(item, "where"));
        json_to_size(json_get(item, "window"), &window);
        json_to_size(json_get(item, "token"), &token);
        if (!ok || named == WINDOWS_NAMED)
            break;
        ok = buffer_printf(out, err, "%s window %zu (%s, token %zu)", named++ ? "," : "", window,
                           where ? where : "", token);
    }
    return ok
        && (named == windows || buffer_printf(out, err, " and %zu more", windows - named));
}

bool left_out_is_text(const char *line)
{
    return strstr(line, out_of_figures) != NULL;
}

bool left_out_read(bool *out, size_t first, size_t n_windows, size_t *tokens, const cJSON *summary,
                   const char *path, struct error *err)
{
    const cJSON *o = json_get_value(summary, "left_out"), *list = json_get(o, "list");
    size_t stated = 0, n = 0, next = first;
    *tokens = 0;
    if (!o)
        return true;
    bool ok = json_to_size(json_get(o, "windows"), &stated)
           && json_to_size(json_get(o, "tokens"), tokens);
    for (const cJSON *item = list ? list->child : NULL; ok && item; item = item->next, n++) {
        size_t window = 0;
        ok = json_to_size(json_get(item, "window"), &window) && window >= next
          && window - first < n_windows;
        if (ok)
            out[window - first] = true;
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
