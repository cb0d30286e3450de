#include "hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "options.h"

/* As the client looks for it (huggingface_hub, constants.py).  "": nowhere. */
static void find_cache(char path[HUB_PATH_BYTES])
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        { "HF_HUB_CACHE", "" },
        { "HUGGINGFACE_HUB_CACHE", "" },
        { "HF_HOME", "/hub" },
        { "XDG_CACHE_HOME", "/huggingface/hub" },
        { "HOME", "/.cache/huggingface/hub" },
    };
    path[0] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places && !*path; i++) {
        const char *value = getenv(places[i].variable);
        if (value && *value
            && snprintf(path, HUB_PATH_BYTES, "%s%s", value, places[i].below) >= HUB_PATH_BYTES)
            path[0] = '\0';
    }
}

static int find(char found[HUB_PATH_BYTES], const char **checkpoint,
                const struct surprisal_hub *where)
{
    struct surprisal_error err = { 0 };
    char *path;
    if (!surprisal_find_checkpoint(*checkpoint, where, &path, &err))
        return options_fail("%s", err.message);
    bool fits = strlen(path) < HUB_PATH_BYTES;
    if (fits && strcmp(path, *checkpoint) != 0)
        *checkpoint = strcpy(found, path);
    free(path);
    return fits ? GO_ON : options_fail("%s: the path is too long", *checkpoint);
}

int hub_find(struct hub *h, const char **checkpoint, const char **other)
{
    char cache[HUB_PATH_BYTES];
    find_cache(cache);
    const struct surprisal_hub where = { *cache ? cache : NULL, h->revision };
    int status = checkpoint && *checkpoint ? find(h->found[0], checkpoint, &where) : GO_ON;
    return status == GO_ON && other && *other ? find(h->found[1], other, &where) : status;
}

void hub_find_list(const struct hub *h, const char **names, char **found, size_t n)
{
    char cache[HUB_PATH_BYTES];
    find_cache(cache);
    const struct surprisal_hub where = { *cache ? cache : NULL, h->revision };
    for (size_t i = 0; i < n; i++) {
        struct surprisal_error err = { 0 };
        found[i] = NULL;
        if (surprisal_find_checkpoint(names[i], &where, &found[i], &err))
            names[i] = found[i];
        else
            options_fail("%s", err.message);
    }
}
