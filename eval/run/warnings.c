#include "eval/run/warnings.h"

#include <string.h>

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    const struct warnings *w = user;
    return !w->to.report || w->to.report(w->to.user, stage, done, total, unit);
}

/* If memory is out, the line is told all the same. */
static void warn(void *user, const char *message)
{
    struct warnings *w = user;
    const char *line = NULL;
    while ((line = warnings_next(w, line)) && strcmp(line, message) != 0)
        ;
    if (line)
        return;
    if (w->n < WARNINGS_KEPT)
        w->n += buffer_append(&w->lines, message, strlen(message) + 1, NULL);
    if (w->to.warn)
        w->to.warn(w->to.user, message);
}

void warnings_begin(struct warnings *w, const struct surprisal_progress *to)
{
    *w = (struct warnings){ .to = *to,
                            .progress = { .report = report, .warn = warn, .user = w } };
}

void warnings_free(struct warnings *w)
{
    buffer_free(&w->lines);
}

const char *warnings_next(const struct warnings *w, const char *line)
{
    const char *next = line ? line + strlen(line) + 1 : w ? w->lines.data : NULL;
    return next && next < w->lines.data + w->lines.size ? next : NULL;
}

void warnings_add_json(cJSON *object, const struct warnings *w)
{
    cJSON *list = cJSON_AddArrayToObject(object, "warnings");
    for (const char *line = NULL; (line = warnings_next(w, line));)
        cJSON_AddItemToArray(list, cJSON_CreateString(line));
}
