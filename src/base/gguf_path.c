/* gguf_path.c - which file of a path is a model in GGUF. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/gguf.h"
#include "base/memory.h"

#define SUFFIX ".gguf"
#define SHOWN 8                         /* names in a message */

/* Files of a folder that begin a model: no image encoder, no drafts alone, no later part of a
 * split. */
static bool begins_model(const char *name)
{
    static const char *const others[] = { "mmproj", "mtp-" };
    size_t n = strlen(name), n_part = strlen("-00001-of-00003" SUFFIX);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return false;
    const char *part = n > n_part ? name + n - n_part : "";
    return strncmp(part + strcspn(part, "o"), "of-", 3) != 0 || strncmp(part, "-00001-", 7) == 0;
}

static bool has_magic(const char *path)
{
    char magic[4] = "";
    FILE *f = file_exists(path) && !file_is_read_once(path) ? fopen(path, "rb") : NULL;
    bool ok = f && fread(magic, 1, sizeof magic, f) == sizeof magic
           && memcmp(magic, "GGUF", sizeof magic) == 0;
    if (f)
        fclose(f);
    return ok;
}

static bool has_files(const char *folder, const char *suffix)
{
    char **names;
    size_t n;
    bool ok = file_list(&names, &n, folder, suffix, NULL) && n > 0;
    file_list_free(names, n);
    return ok;
}

bool gguf_recognises(const char *path)
{
    if (!file_is_directory(path))
        return has_magic(path);
    return has_files(path, SUFFIX) && !has_files(path, ".safetensors");
}

static char *choose(const char *folder, char *const *names, size_t n, struct error *err)
{
    const char *found = NULL;
    char list[512] = "";
    size_t models = 0, used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!begins_model(names[i]))
            continue;
        found = names[i];
        if (models++ < SHOWN && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%.60s",
                                     models > 1 ? ", " : "", names[i]);
    }
    if (models == 1)
        return file_join(folder, found, err);
    error_set(err, "%s: has %zu models in GGUF files%s%s%s, expected one: give the path of a file",
              folder, models, models ? " (" : "", list,
              models > SHOWN ? ", ...)" : models ? ")" : "");
    return NULL;
}

char *gguf_find_file(const char *path, struct error *err)
{
    char **names;
    size_t n;
    if (!file_is_directory(path))
        return mem_string(path, err);
    char *found = file_list(&names, &n, path, SUFFIX, err) ? choose(path, names, n, err) : NULL;
    file_list_free(names, n);
    return found;
}
