#include "checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One row of the index: which tensor is read from which file.  Borrows from the JSON. */
struct index_row {
    const char *tensor, *file;
};

/* ---- names ---------------------------------------------------------------- */

/* Any entry of the folder, a dangling link included: what stands there must be usable. */
static bool has_entry(const char *folder, const char *name)
{
    char *path = file_join(folder, name, NULL);
    struct stat st;
    bool found = path && lstat(path, &st) == 0;
    free(path);
    return found;
}

/* By file, then by tensor. */
static int compare_rows(const void *a, const void *b)
{
    const struct index_row *x = a, *y = b;
    int by_file = strcmp(x->file, y->file);
    return by_file ? by_file : strcmp(x->tensor, y->tensor);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    return strcmp(x->name, y->name);
}

/* ---- files ---------------------------------------------------------------- */

static bool open_file(struct checkpoint *ck, const char *name, struct error *err)
{
    char *path = file_join(ck->path, name, err);
    bool ok = path && safetensors_open(&ck->files[ck->n_files], path, err);
    ck->n_files += ok;
    free(path);
    return ok;
}

static bool make_room(struct checkpoint *ck, size_t n_files, size_t n_tensors, struct error *err)
{
    if (!ck->files)
        ck->files = mem_array(n_files, sizeof *ck->files, "checkpoint files", err);
    ck->tensors = mem_array(n_tensors, sizeof *ck->tensors, "tensors", err);
    return ck->files && ck->tensors;
}

/* ---- with an index -------------------------------------------------------- */

static bool read_rows(struct index_row **rows, size_t *n_rows, const cJSON *index, const char *path,
                      struct error *err)
{
    const cJSON *map = json_get(index, "weight_map"), *item;
    if (!cJSON_IsObject(map))
        return error_set(err, "%s: has no weight_map object", path);
    if (!json_unique_keys(index, path, err) || !json_unique_keys(map, path, err))
        return false;
    size_t n = 0;
    cJSON_ArrayForEach(item, map)
        n++;
    if (n == 0)
        return error_set(err, "%s: weight_map names no tensor", path);
    *rows = mem_array(n, sizeof **rows, "the index", err);
    if (!*rows)
        return false;
    cJSON_ArrayForEach(item, map) {
        if (!cJSON_IsString(item))
            return error_set(err, "%s: '%s' is not mapped to a file name", path, item->string);
        const char *file = item->valuestring;
        if (!*file || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
            return error_set(err, "%s: '%s' is mapped to '%s', expected the name of a file in the"
                             " same folder", path, item->string, file);
        (*rows)[(*n_rows)++] = (struct index_row){ item->string, file };
    }
    qsort(*rows, n, sizeof **rows, compare_rows);
    return true;
}

/* Takes the rows of one file, rows[0..n), all of the same file. */
static bool open_indexed_file(struct checkpoint *ck, const struct index_row *rows, size_t n,
                              const char *index_path, struct error *err)
{
    if (!has_entry(ck->path, rows[0].file))
        return error_set(err, "%s: '%s' is mapped to '%s', which does not exist", index_path,
                         rows[0].tensor, rows[0].file);
    if (!open_file(ck, rows[0].file, err))
        return false;
    const struct safetensors_file *f = &ck->files[ck->n_files - 1];
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = safetensors_find(f, rows[i].tensor);
        if (!t)
            return error_set(err, "%s: no tensor '%s', which %s places there", f->map.path,
                             rows[i].tensor, CHECKPOINT_INDEX);
        ck->tensors[ck->n_tensors++] = t;
    }
    ck->n_stale += f->n_tensors - n;
    return true;
}

static bool open_by_index(struct checkpoint *ck, struct error *err)
{
    char *path = file_join(ck->path, CHECKPOINT_INDEX, err);
    cJSON *index = path ? json_read(path, err) : NULL;
    struct index_row *rows = NULL;
    size_t n_rows = 0, n_files = 0;
    bool ok = index && read_rows(&rows, &n_rows, index, path, err);
    for (size_t i = 0; i < n_rows; i++)
        n_files += i == 0 || strcmp(rows[i].file, rows[i - 1].file) != 0;
    ok = ok && make_room(ck, n_files, n_rows, err);
    for (size_t i = 0, end; ok && i < n_rows; i = end) {
        for (end = i + 1; end < n_rows && strcmp(rows[end].file, rows[i].file) == 0;)
            end++;
        ok = open_indexed_file(ck, rows + i, end - i, path, err);
    }
    free(rows);
    cJSON_Delete(index);
    free(path);
    return ok;
}

/* ---- without an index ----------------------------------------------------- */

static bool open_all(struct checkpoint *ck, char *const *names, size_t n_names, struct error *err)
{
    ck->files = mem_array(n_names, sizeof *ck->files, "checkpoint files", err);
    if (!ck->files)
        return false;
    size_t n_tensors = 0;
    for (size_t i = 0; i < n_names; i++) {
        if (!open_file(ck, names[i], err))
            return false;
        n_tensors += ck->files[i].n_tensors;
    }
    if (!make_room(ck, n_names, n_tensors, err))
        return false;
    for (size_t i = 0; i < ck->n_files; i++)
        for (size_t j = 0; j < ck->files[i].n_tensors; j++)
            ck->tensors[ck->n_tensors++] = &ck->files[i].tensors[j];
    return true;
}

static bool open_by_headers(struct checkpoint *ck, struct error *err)
{
    char single[] = CHECKPOINT_SINGLE, *one = single;
    if (has_entry(ck->path, CHECKPOINT_SINGLE))
        return open_all(ck, &one, 1, err);
    char **names = NULL;
    size_t n_names = 0;
    bool ok = file_list(&names, &n_names, ck->path, CHECKPOINT_SUFFIX, err);
    if (ok && n_names == 0)
        ok = error_set(err, "%s: has neither %s nor any other *%s file", ck->path, CHECKPOINT_INDEX,
                       CHECKPOINT_SUFFIX);
    ok = ok && open_all(ck, names, n_names, err);
    file_list_free(names, n_names);
    return ok;
}

/* ---- the folder ----------------------------------------------------------- */

static bool sort_tensors(struct checkpoint *ck, struct error *err)
{
    qsort(ck->tensors, ck->n_tensors, sizeof *ck->tensors, compare_tensors);
    for (size_t i = 1; i < ck->n_tensors; i++)
        if (strcmp(ck->tensors[i - 1]->name, ck->tensors[i]->name) == 0)
            return error_set(err, "%s: '%s' stands in %s too, and there is no %s to decide",
                             ck->tensors[i]->file, ck->tensors[i]->name, ck->tensors[i - 1]->file,
                             CHECKPOINT_INDEX);
    return true;
}

static bool read_config(struct checkpoint *ck, const char *path, struct error *err)
{
    struct buffer text;
    if (!file_read(&text, path, err))
        return false;
    ck->config_json = json_parse(text.data, text.size, path, err);
    bool ok = ck->config_json && digest_of(&ck->config_digest, text.data, text.size, err);
    buffer_free(&text);
    if (ok && !cJSON_IsObject(ck->config_json))
        ok = error_set(err, "%s: is not a JSON object", path);
    return ok;
}

static bool read_folder(struct checkpoint *ck, struct error *err)
{
    char *path = file_join(ck->path, "config.json", err);
    bool ok = path && read_config(ck, path, err)
           && (has_entry(ck->path, CHECKPOINT_INDEX) ? open_by_index(ck, err) : open_by_headers(ck, err))
           && sort_tensors(ck, err)
           && config_read(&ck->config, ck->config_json, ck->n_tensors, path, err);
    free(path);
    return ok;
}

bool checkpoint_open(struct checkpoint *ck, const char *path, struct error *err)
{
    *ck = (struct checkpoint){ 0 };
    if (!*path)
        return error_set(err, "the path of the checkpoint is empty");
    if (!file_exists(path))
        return error_set(err, "%s: %s", path, error_reason(errno));
    if (!file_is_directory(path))
        return error_set(err, "%s: is not a folder, expected a checkpoint folder", path);
    ck->path = mem_string(path, err);
    if (ck->path && read_folder(ck, err))
        return true;
    checkpoint_close(ck);
    return false;
}

bool checkpoint_list_folder(struct input_files *in, const char *path, struct error *err)
{
    return input_files_add(in, path, err) && input_files_add_in(in, path, "config.json", err)
        && input_files_add_in(in, path, CHECKPOINT_INDEX, err);
}

bool checkpoint_list_weights(struct input_files *in, const struct checkpoint *ck, struct error *err)
{
    for (size_t i = 0; i < ck->n_files; i++)
        if (!input_files_add_mapped(in, &ck->files[i].map, err))
            return false;
    return true;
}

void checkpoint_close(struct checkpoint *ck)
{
    for (size_t i = 0; i < ck->n_files; i++)
        safetensors_close(&ck->files[i]);
    free(ck->files);
    free(ck->tensors);
    cJSON_Delete(ck->config_json);
    config_free(&ck->config);
    free(ck->path);
    *ck = (struct checkpoint){ 0 };
}

const struct tensor *checkpoint_find(const struct checkpoint *ck, const char *name)
{
    const struct tensor key = { .name = name }, *const wanted = &key;
    const struct tensor *const *found = ck->n_tensors
        ? bsearch(&wanted, ck->tensors, ck->n_tensors, sizeof *ck->tensors, compare_tensors) : NULL;
    return found ? *found : NULL;
}

const struct mapped_file *checkpoint_file_of(const struct checkpoint *ck, const uint8_t *data)
{
    for (size_t i = 0; i < ck->n_files; i++) {
        const struct mapped_file *f = &ck->files[i].map;
        if (data >= f->data && data < f->data + f->size)
            return f;
    }
    return NULL;
}
