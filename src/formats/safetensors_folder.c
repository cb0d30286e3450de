#include "safetensors_folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* One row of the index: which tensor is read from which file.  Borrows from the JSON. */
struct index_row {
    const char *tensor, *file;
};

/* One file, and what is wanted of it. */
struct shard {
    const char *name;
    const struct index_row *rows;       /* [n_rows]; none: nothing, or without an index all */
    size_t n_rows;
    bool is_whole;                      /* all its tensors count */
    const struct safetensors_file *file;        /* NULL: it cannot be read */
};

struct walk {
    struct checkpoint *ck;
    const struct checkpoint_faults *faults;
    struct error *err;
    char *index_path;                   /* owned */
    cJSON *index;                       /* owned; NULL: there is none, or none that can be used */
    struct index_row *rows;             /* owned [n_rows], sorted by file, then by tensor */
    size_t n_rows;
    char **names;                       /* owned [n_names]: the *.safetensors of the folder */
    size_t n_names;
    struct shard *shards;               /* owned [n_shards] */
    size_t n_shards, capacity;
    size_t tensors_capacity;
};

__attribute__((format(printf, 4, 5)))
static bool fault(const struct walk *o, enum checkpoint_fault code, struct checkpoint_place at,
                  const char *format, ...)
{
    struct error why = { 0 };
    va_list args;
    va_start(args, format);
    error_vset(&why, format, args);
    va_end(args);
    return checkpoint_fault_add(o->faults, code, &at, &why, o->err);
}

/* A fault of a whole file that why tells. */
static bool file_fault(const struct walk *o, enum checkpoint_fault code, const char *path,
                       const struct error *why)
{
    return checkpoint_fault_add(o->faults, code, &(struct checkpoint_place){ .file = path }, why,
                                o->err);
}

/* Any entry of the folder, a dangling link included: what is there must be usable. */
static bool has_entry(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* ---- config.json -------------------------------------------------------------------- */

static bool read_config(struct walk *o)
{
    struct checkpoint *ck = o->ck;
    struct error why = { 0 };
    struct buffer text;
    ck->config_path = file_join(ck->path, "config.json", o->err);
    if (!ck->config_path)
        return false;
    if (!file_read(&text, ck->config_path, &why))
        return file_fault(o, CHECKPOINT_CONFIG, ck->config_path, &why);
    ck->config_json = json_parse(text.data, text.size, ck->config_path, &why);
    bool ok = digest_of(&ck->config_digest, text.data, text.size, o->err);
    buffer_free(&text);
    if (ck->config_json && !cJSON_IsObject(ck->config_json)) {
        error_set(&why, "%s: is not a JSON object", ck->config_path);
        cJSON_Delete(ck->config_json);
        ck->config_json = NULL;
    }
    return ok && (ck->config_json || file_fault(o, CHECKPOINT_CONFIG, ck->config_path, &why));
}

/* ---- the index ------------------------------------------------------------------------ */

/* By file, then by tensor. */
static int compare_rows(const void *a, const void *b)
{
    const struct index_row *x = a, *y = b;
    int by_file = strcmp(x->file, y->file);
    return by_file ? by_file : strcmp(x->tensor, y->tensor);
}

/* A row that names no file is left out. */
static bool read_row(struct walk *o, const cJSON *item)
{
    const struct checkpoint_place at = { .file = o->index_path, .tensor = item->string };
    if (!cJSON_IsString(item))
        return fault(o, CHECKPOINT_INDEX_ROW, at, "%s: '%s' is not mapped to a file name",
                     o->index_path, item->string);
    const char *file = item->valuestring;
    if (!*file || strchr(file, '/') || strcmp(file, ".") == 0 || strcmp(file, "..") == 0)
        return fault(o, CHECKPOINT_INDEX_ROW, at,
                     "%s: '%s' is mapped to '%s', expected the name of a"
                     " file in the same folder",
                     o->index_path, item->string, file);
    o->rows[o->n_rows++] = (struct index_row){ item->string, file };
    return true;
}

static bool read_rows(struct walk *o)
{
    const cJSON *map = json_get(o->index, "weight_map"), *item;
    size_t n = 0;
    cJSON_ArrayForEach(item, map)
        n++;
    o->rows = mem_array(n, sizeof *o->rows, "the index", o->err);
    bool ok = o->rows != NULL;
    cJSON_ArrayForEach(item, map)
        ok = ok && read_row(o, item);
    if (ok && o->n_rows)
        qsort(o->rows, o->n_rows, sizeof *o->rows, compare_rows);
    return ok;
}

static bool is_usable(const cJSON *json, const char *path, struct error *why)
{
    const cJSON *map = json_get(json, "weight_map");
    if (!cJSON_IsObject(map))
        return error_set(why, "%s: has no weight_map object", path);
    return json_unique_keys(json, path, why) && json_unique_keys(map, path, why)
        && (map->child || error_set(why, "%s: weight_map names no tensor", path));
}

static bool read_index(struct walk *o)
{
    struct error why = { 0 };
    o->index_path = file_join(o->ck->path, CHECKPOINT_INDEX, o->err);
    if (!o->index_path || !has_entry(o->index_path))
        return o->index_path;
    o->index = json_read(o->index_path, &why);
    if (o->index && is_usable(o->index, o->index_path, &why))
        return read_rows(o);
    cJSON_Delete(o->index);
    o->index = NULL;
    return file_fault(o, CHECKPOINT_INDEX_ROW, o->index_path, &why);
}

/* ---- which files ------------------------------------------------------------------------ */

static bool add_shard(struct walk *o, struct shard shard)
{
    if (!mem_grow(&o->shards, &o->capacity, o->n_shards + 1, sizeof *o->shards, "checkpoint files",
                  o->err))
        return false;
    o->shards[o->n_shards++] = shard;
    return true;
}

/* Those that the index names, sorted. */
static bool add_indexed(struct walk *o)
{
    bool ok = true;
    for (size_t i = 0, end; ok && i < o->n_rows; i = end) {
        for (end = i + 1; end < o->n_rows && strcmp(o->rows[end].file, o->rows[i].file) == 0;)
            end++;
        ok = add_shard(o, (struct shard){ .name = o->rows[i].file, .rows = o->rows + i,
                                          .n_rows = end - i });
    }
    return ok;
}

static int compare_name(const void *key, const void *shard)
{
    return strcmp(key, ((const struct shard *)shard)->name);
}

/* All of the folder that are not among the shards, which are sorted. */
static bool add_others(struct walk *o, bool is_whole)
{
    size_t n = o->n_shards;
    bool ok = file_list(&o->names, &o->n_names, o->ck->path, CHECKPOINT_SUFFIX, o->err);
    for (size_t i = 0; ok && i < o->n_names; i++)
        if (!n || !bsearch(o->names[i], o->shards, n, sizeof *o->shards, compare_name))
            ok = add_shard(o, (struct shard){ .name = o->names[i], .is_whole = is_whole });
    return ok;
}

static bool list_shards(struct walk *o)
{
    char *single = file_join(o->ck->path, CHECKPOINT_SINGLE, o->err);
    bool is_single = single && !o->index && has_entry(single);
    bool ok = single && add_indexed(o)
           && (!is_single
               || add_shard(o, (struct shard){ .name = CHECKPOINT_SINGLE, .is_whole = true }));
    free(single);
    if (ok && (o->faults || (!o->index && !is_single)))
        ok = add_others(o, !o->index && !is_single);
    if (ok && o->n_shards == 0)
        ok = fault(o, CHECKPOINT_NO_FILE, (struct checkpoint_place){ .file = CHECKPOINT_SINGLE },
                   "%s: has neither %s nor any other *%s file", o->ck->path, CHECKPOINT_INDEX,
                   CHECKPOINT_SUFFIX);
    return ok;
}

/* ---- files -------------------------------------------------------------------------------- */

/* A fault has named the file. */
static bool lose(const struct walk *o, const struct shard *s)
{
    bool ok = true;
    o->ck->is_partial = true;
    for (size_t i = 0; ok && i < s->n_rows; i++)
        ok = fault(o, CHECKPOINT_LOST,
                   (struct checkpoint_place){ .file = s->name, .tensor = s->rows[i].tensor },
                   "lost");
    return ok
        && (!s->is_whole
            || fault(o, CHECKPOINT_LOST, (struct checkpoint_place){ .file = s->name }, "lost"));
}

static bool open_shard(struct walk *o, struct shard *s)
{
    struct safetensors_file *file = &o->ck->files[o->ck->n_files];
    struct error why = { 0 };
    char *path = file_join(o->ck->path, s->name, o->err);
    bool ok = path != NULL;
    if (ok && s->rows && !has_entry(path))
        ok = fault(o, CHECKPOINT_NO_FILE,
                   (struct checkpoint_place){ .file = s->name, .n = s->n_rows },
                   "%s: '%s' is mapped to '%s', which does not exist", o->index_path,
                   s->rows[0].tensor, s->name)
          && lose(o, s);
    else if (ok && safetensors_open(file, path, &why)) {
        s->file = file;
        o->ck->n_files++;
    } else if (ok)
        ok = file_fault(o, CHECKPOINT_UNREADABLE, path, &why) && lose(o, s);
    free(path);
    return ok;
}

static bool open_shards(struct walk *o)
{
    o->ck->files = mem_array(o->n_shards, sizeof *o->ck->files, "checkpoint files", o->err);
    bool ok = o->ck->files != NULL;
    for (size_t i = 0; ok && i < o->n_shards; i++)
        ok = open_shard(o, &o->shards[i]);
    return ok;
}

/* ---- which tensors count --------------------------------------------------------------------- */

static bool take(struct walk *o, const struct tensor *t)
{
    struct checkpoint *ck = o->ck;
    if (!mem_grow(&ck->tensors, &o->tensors_capacity, ck->n_tensors + 1, sizeof *ck->tensors,
                  "tensors", o->err))
        return false;
    ck->tensors[ck->n_tensors++] = t;
    return true;
}

/* A tensor that is not in the file where the index places it. */
static bool take_elsewhere(struct walk *o, const struct shard *s, const char *name)
{
    const struct tensor *t = NULL;
    for (size_t i = 0; !t && i < o->ck->n_files; i++)
        t = safetensors_find(&o->ck->files[i], name);
    const struct checkpoint_place at = { .file = s->file->map.path, .tensor = name,
                                         .other = t ? t->file : NULL };
    return fault(o, CHECKPOINT_NO_TENSOR, at, "%s: no tensor '%s', which %s places there", at.file,
                 name, CHECKPOINT_INDEX)
        && (t ? take(o, t) : fault(o, CHECKPOINT_LOST, at, "lost"));
}

static bool take_shard(struct walk *o, const struct shard *s)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s->n_rows; i++) {
        const struct tensor *t = safetensors_find(s->file, s->rows[i].tensor);
        ok = t ? take(o, t) : take_elsewhere(o, s, s->rows[i].tensor);
    }
    for (size_t i = 0; ok && s->is_whole && i < s->file->n_tensors; i++)
        ok = take(o, &s->file->tensors[i]);
    return ok;
}

static bool take_tensors(struct walk *o)
{
    struct checkpoint *ck = o->ck;
    bool ok = true;
    for (size_t i = 0; ok && i < o->n_shards; i++)
        ok = !o->shards[i].file || take_shard(o, &o->shards[i]);
    for (size_t i = 0; i < ck->n_files; i++)
        ck->n_stale += ck->files[i].n_tensors;
    ck->n_stale -= size_min(ck->n_stale, ck->n_tensors);
    return ok;
}

/* metadata.total_size should be the bytes of all tensors; nothing reads it. */
static bool check_total(const struct walk *o)
{
    size_t bytes = 0, stated;
    for (size_t i = 0; i < o->ck->n_tensors; i++)
        bytes += o->ck->tensors[i]->n_bytes;
    return !json_to_size(json_get(json_get(o->index, "metadata"), "total_size"), &stated)
        || stated == bytes
        || fault(o, CHECKPOINT_TOTAL, (struct checkpoint_place){ .file = o->index_path },
                 "%s: metadata.total_size is %zu, the tensors have %zu bytes", o->index_path,
                 stated, bytes);
}

/* ---- the reader ------------------------------------------------------------------------------ */

static bool open_folder(struct checkpoint *ck, const struct checkpoint_faults *faults,
                        struct error *err)
{
    struct walk o = { .ck = ck, .faults = faults, .err = err };
    bool ok = download_revision(ck->revision, ck->path, err) && read_config(&o) && read_index(&o)
           && list_shards(&o) && open_shards(&o) && take_tensors(&o)
           && (!faults || check_total(&o));
    file_list_free(o.names, o.n_names);
    free(o.shards);
    free(o.rows);
    cJSON_Delete(o.index);
    free(o.index_path);
    return ok;
}

static bool list_folder(struct input_files *in, const char *path, struct error *err)
{
    return input_files_add_in(in, path, "config.json", err)
        && input_files_add_in(in, path, CHECKPOINT_INDEX, err);
}

static char *tokenizer_of(const char *path, struct error *err)
{
    return file_join(path, "tokenizer.json", err);
}

const struct checkpoint_reader safetensors_folder = {
    .name = "safetensors folder", .recognises = file_is_directory, .open = open_folder,
    .list = list_folder, .tokenizer = tokenizer_of,
};
