#include "safetensors_folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/checkpoint_note.h"
#include "formats/quantization_file.h"
#include "formats/weight_kind.h"

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
    bool has_index;                     /* in the folder */
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
    ck->config_path = file_join(ck->folder, "config.json", o->err);
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
    o->index_path = file_join(o->ck->folder, CHECKPOINT_INDEX, o->err);
    if (!o->index_path || !has_entry(o->index_path))
        return o->index_path;
    o->has_index = true;
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
    bool ok = file_list(&o->names, &o->n_names, o->ck->folder, CHECKPOINT_SUFFIX, o->err);
    for (size_t i = 0; ok && i < o->n_names; i++)
        if (!n || !bsearch(o->names[i], o->shards, n, sizeof *o->shards, compare_name))
            ok = add_shard(o, (struct shard){ .name = o->names[i], .is_whole = is_whole });
    return ok;
}

/* ---- which of two models ---------------------------------------------------------------- */

/* The path may be one of the two files. */
static bool is_picked(const struct walk *o, const char *name)
{
    return strcmp(file_last_part(o->ck->path), name) == 0 && !file_is_directory(o->ck->path);
}

static bool drop_index(struct walk *o)
{
    cJSON_Delete(o->index);
    o->index = NULL;
    o->n_rows = 0;
    return true;
}

static bool is_there(bool *there, const struct walk *o, const char *name)
{
    char *path = file_join(o->ck->folder, name, o->err);
    *there = path && has_entry(path);
    free(path);
    return path;
}

/* How many files the index names that are not there, and the first; those that hold nothing of the
 * text model do not count. */
static bool count_gone(size_t *n, const char **first, const struct walk *o)
{
    bool ok = true, there, is_needed;
    *n = 0;
    for (size_t i = 0, end; ok && i < o->n_rows; i = end) {
        is_needed = false;
        for (end = i; end < o->n_rows && strcmp(o->rows[end].file, o->rows[i].file) == 0; end++)
            is_needed |= weight_kind_outside(o->rows[end].tensor) == WEIGHT_OTHER;
        ok = is_there(&there, o, o->rows[i].file);
        if (ok && !there && is_needed && (*n)++ == 0)
            *first = o->rows[i].file;
    }
    return ok;
}

static bool names_single(const struct walk *o)
{
    for (size_t i = 0; i < o->n_rows; i++)
        if (strcmp(o->rows[i].file, CHECKPOINT_SINGLE) == 0)
            return true;
    return false;
}

/* The index beside a single file that it does not name. */
static bool choose_one(struct walk *o)
{
    const struct checkpoint_place at = { .file = CHECKPOINT_INDEX };
    const char *first = NULL;
    size_t n_gone = 0;
    bool picks_index = is_picked(o, CHECKPOINT_INDEX),
         picks_single = is_picked(o, CHECKPOINT_SINGLE);
    if (!picks_index && !picks_single && !count_gone(&n_gone, &first, o))
        return false;
    if (n_gone)
        return checkpoint_note_add(o->ck, o->faults, CHECKPOINT_STALE_INDEX, &at, o->err,
                               "the index names %zu files that are not there ('%s' the first), so "
                               "%s is read; remove the index", n_gone, first, CHECKPOINT_SINGLE)
            && drop_index(o);
    bool single = picks_single;
    return checkpoint_note_add(o->ck, o->faults, CHECKPOINT_CHOICE, &at, o->err,
                           "the folder holds two models: %s is read, as %s; %s %s (to pick, give "
                           "the path of one of the two files, not the folder's)",
                           single ? CHECKPOINT_SINGLE : CHECKPOINT_INDEX,
                           single ? "transformers does" : "vLLM and MLX do",
                           single ? "vLLM and MLX read" : "transformers reads",
                           single ? CHECKPOINT_INDEX : CHECKPOINT_SINGLE)
        && (!single || drop_index(o));
}

/* Without an index vLLM and MLX read every file; one that is no shard by its name may be
 * anything. */
static bool tell_others(struct walk *o)
{
    const struct checkpoint_place at = { .file = CHECKPOINT_SINGLE };
    char **names = NULL;
    size_t n = 0, n_shards = 0;
    bool ok = file_list(&names, &n, o->ck->folder, CHECKPOINT_SUFFIX, o->err);
    for (size_t i = 0; ok && i < n; i++)
        n_shards += strncmp(names[i], "model", 5) == 0 && strstr(names[i], "-of-");
    if (n_shards && !is_picked(o, CHECKPOINT_SINGLE))
        ok = checkpoint_note_add(o->ck, o->faults, CHECKPOINT_CHOICE, &at, o->err,
                             "%s is read, as transformers does, and not the %zu other *%s files, "
                             "which vLLM and MLX read too where there is no index",
                             CHECKPOINT_SINGLE, n_shards, CHECKPOINT_SUFFIX);
    file_list_free(names, n);
    return ok;
}

static bool choose_model(struct walk *o, bool *is_single)
{
    bool single;
    if (!is_there(&single, o, CHECKPOINT_SINGLE))
        return false;
    if (o->index && single && !names_single(o) && !choose_one(o))
        return false;
    *is_single = single && !o->index;
    return !*is_single || o->has_index || tell_others(o);
}

static bool list_shards(struct walk *o)
{
    bool is_single;
    bool ok = choose_model(o, &is_single) && add_indexed(o)
           && (!is_single
               || add_shard(o, (struct shard){ .name = CHECKPOINT_SINGLE, .is_whole = true }));
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

/* Are all that it should hold tensors that the text model does not use? */
static bool is_outside(const struct shard *s)
{
    for (size_t i = 0; i < s->n_rows; i++)
        if (weight_kind_outside(s->rows[i].tensor) == WEIGHT_OTHER)
            return false;
    return s->n_rows > 0;
}

/* A file that the index names is not there. */
static bool miss_shard(struct walk *o, const struct shard *s)
{
    bool ok = true;
    if (o->faults || !is_outside(s))
        return fault(o, CHECKPOINT_NO_FILE,
                     (struct checkpoint_place){ .file = s->name, .n = s->n_rows },
                     "%s: '%s' is mapped to '%s', which does not exist", o->index_path,
                     s->rows[0].tensor, s->name)
            && lose(o, s);
    for (size_t i = 0; ok && i < s->n_rows; i++)
        ok = checkpoint_note_absent(o->ck, s->rows[i].tensor, NULL, o->err);
    return ok;
}

static bool open_shard(struct walk *o, struct shard *s)
{
    struct safetensors_file *file = &o->ck->files[o->ck->n_files];
    struct error why = { 0 };
    char *path = file_join(o->ck->folder, s->name, o->err);
    bool ok = path != NULL;
    if (ok && s->rows && !has_entry(path))
        ok = miss_shard(o, s);
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

/* A tensor that is not in the file where the index places it.  If no file has it, it may be one
 * that nothing uses: the config tells, later. */
static bool take_elsewhere(struct walk *o, const struct shard *s, const char *name)
{
    const struct tensor *t = NULL;
    for (size_t i = 0; !t && i < o->ck->n_files; i++)
        t = safetensors_find(&o->ck->files[i], name);
    const struct checkpoint_place at = { .file = s->file->map.path, .tensor = name,
                                         .other = t ? t->file : NULL };
    bool is_known = o->faults ? weight_kind_outside(name) != WEIGHT_OTHER : true;
    if (!t && is_known)
        return checkpoint_note_absent(o->ck, name, at.file, o->err)
            && (!o->faults || fault(o, CHECKPOINT_LOST, at, "lost"));
    return fault(o, CHECKPOINT_NO_TENSOR, at, "%s: no tensor '%s', which %s places there%s%s",
                 at.file, name, CHECKPOINT_INDEX, t ? "; it is in " : "",
                 t ? file_last_part(t->file) : "")
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
    bool ok = download_revision(ck->revision, ck->folder, err) && read_config(&o) && read_index(&o)
           && list_shards(&o) && open_shards(&o) && take_tensors(&o)
           && (!faults || check_total(&o));
    file_list_free(o.names, o.n_names);
    free(o.shards);
    free(o.rows);
    cJSON_Delete(o.index);
    free(o.index_path);
    return ok;
}

static bool list_folder(struct input_files *in, const char *folder, struct error *err)
{
    bool ok = input_files_add_in(in, folder, "config.json", err)
           && input_files_add_in(in, folder, CHECKPOINT_INDEX, err);
    for (size_t i = 0; ok && quantization_file_names[i]; i++)
        ok = input_files_add_in(in, folder, quantization_file_names[i], err);
    return ok;
}

static char *tokenizer_of(const char *folder, struct error *err)
{
    return file_join(folder, "tokenizer.json", err);
}

/* A folder, or in one the file that picks a model. */
static bool recognises(const char *path)
{
    const char *name = file_last_part(path);
    return file_is_directory(path) || strcmp(name, CHECKPOINT_SINGLE) == 0
        || strcmp(name, CHECKPOINT_INDEX) == 0;
}

static char *folder_of(const char *path, struct error *err)
{
    size_t n = (size_t)(file_last_part(path) - path);
    if (file_is_directory(path))
        return mem_string(path, err);
    char *folder = mem_string(n ? path : ".", err);
    if (folder && n)
        folder[n > 1 ? n - 1 : 1] = '\0';
    return folder;
}

const struct checkpoint_reader safetensors_folder = {
    .name = "safetensors folder", .recognises = recognises,
    .folder = folder_of, .open = open_folder,
    .list = list_folder, .tokenizer = tokenizer_of,
};
