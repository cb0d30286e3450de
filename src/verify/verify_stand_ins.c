#include "verify/verify_stand_ins.h"

#include <stdlib.h>
#include <string.h>

#include "base/stand_in.h"
#include "formats/safetensors_folder.h"
#include "formats/weight.h"

#define LOOKED_AT ((size_t)4096)

static bool is_read_elsewhere(const char *name)
{
    return strcmp(name, "config.json") == 0 || strcmp(name, CHECKPOINT_INDEX) == 0
        || weight_name_ends_with(name, CHECKPOINT_SUFFIX);
}

/* A page, or any text, may be what a file that is no JSON should be. */
static bool is_good(const char *path, const struct mapped_file *map, struct error *why)
{
    size_t n = size_min(map->size, LOOKED_AT);
    if (!file_populate(map, 0, n, why))
        return false;
    return !(weight_name_ends_with(path, ".json") || stand_in_is_pointer(map->data, map->size))
        || stand_in_check(path, map->data, n, why);
}

static bool check_file(const struct verify_folder *f, const char *name, struct findings *found,
                       struct error *err)
{
    struct mapped_file map;
    struct error why = { 0 };
    char *path = file_join(f->ck.folder, name, err);
    bool ok = path != NULL;
    /* What cannot be opened is another's business: nothing here reads it. */
    if (ok && file_map(&map, path, &why)) {
        if (!is_good(path, &map, &why))
            ok = findings_add_error(found, FOUND_UNREADABLE, path, NULL, &why, err);
        file_unmap(&map);
    }
    free(path);
    return ok;
}

bool verify_stand_ins(const struct verify_folder *f, struct findings *found, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    bool ok = file_list(&names, &n, f->ck.folder, "", err);
    for (size_t i = 0; ok && i < n; i++)
        if (!is_read_elsewhere(names[i]))
            ok = check_file(f, names[i], found, err);
    file_list_free(names, n);
    return ok;
}
