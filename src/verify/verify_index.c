#include "verify/verify_index.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/checkpoint.h"

static int compare_rows(const void *a, const void *b)
{
    const struct verify_index_row *x = a, *y = b;
    int by_file = strcmp(x->file, y->file);
    return by_file ? by_file : strcmp(x->tensor, y->tensor);
}

static bool fault(struct findings *found, const char *tensor, const char *text, struct error *err)
{
    return findings_add(found, FOUND_INDEX, CHECKPOINT_INDEX, tensor, err, "%s", text);
}

/* Entries that are no file names are findings and left out. */
static bool read_rows(struct verify_index *x, struct findings *found, struct error *err)
{
    const cJSON *map = json_get(x->json, "weight_map"), *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, map)
        n++;
    x->rows = mem_array(n, sizeof *x->rows, "the index", err);
    bool ok = x->rows != NULL;
    cJSON_ArrayForEach(item, map) {
        const char *file = cJSON_IsString(item) ? item->valuestring : "";
        if (!*file || strchr(file, '/'))
            ok = ok && fault(found, item->string, "is not mapped to the name of a file in the folder",
                             err);
        else if (ok)
            x->rows[x->n_rows++] = (struct verify_index_row){ item->string, file };
    }
    if (ok && x->n_rows)
        qsort(x->rows, x->n_rows, sizeof *x->rows, compare_rows);
    return ok;
}

static bool is_usable(const cJSON *json, const char *path, struct error *why)
{
    const cJSON *map = json_get(json, "weight_map");
    return (cJSON_IsObject(map) || error_set(why, "has no weight_map object"))
        && json_unique_keys(json, path, why) && json_unique_keys(map, path, why);
}

static bool read_path(struct verify_index *x, const char *path, struct findings *found,
                      struct error *err)
{
    struct error why = { 0 };
    x->json = json_read(path, &why);
    if (x->json && is_usable(x->json, path, &why)) {
        x->has_total = json_to_size(json_get(json_get(x->json, "metadata"), "total_size"),
                                    &x->total_bytes);
        return read_rows(x, found, err);
    }
    cJSON_Delete(x->json);
    x->json = NULL;
    return findings_add_error(found, FOUND_INDEX, path, &why, err);
}

bool verify_index_read(struct verify_index *x, const char *folder, struct findings *found,
                       struct error *err)
{
    *x = (struct verify_index){ 0 };
    char *path = file_join(folder, CHECKPOINT_INDEX, err);
    struct stat st;                     /* a dangling link is a fault, not an absence */
    bool ok = path && (lstat(path, &st) != 0 || read_path(x, path, found, err));
    free(path);
    return ok;
}

void verify_index_free(struct verify_index *x)
{
    cJSON_Delete(x->json);
    free(x->rows);
    *x = (struct verify_index){ 0 };
}
