#include "eval/compare/warned.h"

#include <string.h>

#include "eval/score/model.h"

static const char *checkpoint_of(const struct record *r)
{
    return cJSON_GetStringValue(json_get(json_get(r->summary, "checkpoint"), "path"));
}

const char *warned_name(const struct record *run, const struct record *other)
{
    const char *own = checkpoint_of(run), *theirs = checkpoint_of(other);
    return own && theirs && strcmp(own, theirs) != 0 ? own : run->folder;
}

void warned_swapped(const struct surprisal_progress *progress, const char *name_a, size_t bytes_a,
                    const char *name_b, size_t bytes_b)
{
    if (bytes_a > 0 && bytes_b == 0)
        model_warn(progress, "A is quantized and B is not: swapped? A, %s, is taken for the "
                   "original, and differences are those of B, %s, from it", name_a, name_b);
}

/* ---- the document ---------------------------------------------------------------- */

static bool has_line(const cJSON *list, const char *line)
{
    for (const cJSON *i = list ? list->child : NULL; i; i = i->next)
        if (cJSON_IsString(i) && strcmp(i->valuestring, line) == 0)
            return true;
    return false;
}

static bool add_line(cJSON *document, cJSON *list, const char *line, struct error *err)
{
    return has_line(json_get(json_get(document, "a"), "warnings"), line)
        || has_line(json_get(json_get(document, "b"), "warnings"), line) || has_line(list, line)
        || cJSON_AddItemToArray(list, cJSON_CreateString(line))
        || error_set(err, "out of memory: the warnings of the comparison");
}

bool warned_add(cJSON *document, const struct warnings *own, const cJSON *floor, struct error *err)
{
    cJSON *list = cJSON_AddArrayToObject(document, "warnings");
    const cJSON *of_floor = json_get(floor, "warnings");
    bool ok = list || error_set(err, "out of memory: the warnings of the comparison");
    for (const char *line = NULL; ok && (line = warnings_next(own, line));)
        ok = add_line(document, list, line, err);
    for (const cJSON *i = of_floor ? of_floor->child : NULL; ok && i; i = i->next)
        ok = !cJSON_IsString(i) || add_line(document, list, i->valuestring, err);
    return ok;
}

static bool collect(cJSON *into, const cJSON *from, struct error *err)
{
    const cJSON *of = json_get(from, "warnings");
    cJSON *list = cJSON_GetObjectItemCaseSensitive(into, "warnings");
    list = list ? list : cJSON_AddArrayToObject(into, "warnings");
    bool ok = list != NULL;
    for (const cJSON *i = of ? of->child : NULL; ok && i; i = i->next)
        ok = !cJSON_IsString(i) || has_line(list, i->valuestring)
          || cJSON_AddItemToArray(list, cJSON_CreateString(i->valuestring));
    return ok || error_set(err, "out of memory: the warnings of the comparisons");
}

bool warned_collect(cJSON *into, const cJSON *document, struct error *err)
{
    static const char *const sides[] = { "a", "b" };
    bool ok = collect(into, document, err);
    for (size_t i = 0; ok && i < 2; i++) {
        cJSON *side = cJSON_GetObjectItemCaseSensitive(into, sides[i]);
        side = side ? side : cJSON_AddObjectToObject(into, sides[i]);
        ok = collect(side, json_get(document, sides[i]), err);
    }
    return ok;
}

/* ---- for people ------------------------------------------------------------------- */

/* A summary comes from outside: its lines are made safe for a terminal. */
static bool put_line(struct buffer *out, const char *label, const char *line, struct error *err)
{
    size_t begin = out->size;
    if (!buffer_printf(out, err, "%s%s", label, line))
        return false;
    error_printable(out->data + begin);         /* of the same length */
    return buffer_printf(out, err, "\n");
}

bool warned_text(struct buffer *out, const cJSON *document, struct error *err)
{
    const struct {
        const char *label;
        const cJSON *list;
    } groups[] = {
        { "  ", json_get(document, "warnings") },
        { "  A: ", json_get(json_get(document, "a"), "warnings") },
        { "  B: ", json_get(json_get(document, "b"), "warnings") },
    };
    bool ok = true, headed = false;
    for (size_t g = 0; ok && g < sizeof groups / sizeof *groups; g++)
        for (const cJSON *i = groups[g].list ? groups[g].list->child : NULL; ok && i; i = i->next) {
            if (!cJSON_IsString(i))
                continue;
            ok = (headed || buffer_printf(out, err, "\nwarnings\n"))
              && put_line(out, groups[g].label, i->valuestring, err);
            headed = true;
        }
    return ok;
}
