#include "verify/verify_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify_index.h"

struct opening {
    struct verify_folder *f;
    struct findings *found;
    char **names;               /* owned [n_names], sorted: the *.safetensors of the folder */
    size_t n_names;
    struct verify_index index;  /* owned */
    size_t capacity;            /* of ck.tensors */
    struct error *err;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_tensors(const void *a, const void *b)
{
    const struct tensor *x = *(const struct tensor *const *)a;
    const struct tensor *y = *(const struct tensor *const *)b;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : strcmp(x->file, y->file);
}

/* ---- config.json and files ---------------------------------------------------- */

static bool read_config_json(struct opening *o)
{
    struct checkpoint *ck = &o->f->ck;
    struct error why = { 0 };
    char *path = file_join(ck->path, "config.json", o->err);
    if (!path)
        return false;
    ck->config_json = json_read(path, &why);
    bool ok = true;
    if (!ck->config_json)
        ok = findings_add_error(o->found, FOUND_CONFIG, path, &why, o->err);
    free(path);
    return ok;
}

/* More layers than tensors are refused, so this comes after the files. */
static bool read_settings(struct opening *o)
{
    struct checkpoint *ck = &o->f->ck;
    struct error why = { 0 };
    if (!ck->config_json)
        return true;
    char *path = file_join(ck->path, "config.json", o->err);
    if (!path)
        return false;
    bool ok = true;
    o->f->has_config = config_read(&ck->config, ck->config_json, ck->n_tensors, path, &why);
    if (!o->f->has_config)
        ok = findings_add_error(o->found, FOUND_CONFIG, path, &why, o->err);
    free(path);
    return ok;
}

static bool open_files(struct opening *o)
{
    struct checkpoint *ck = &o->f->ck;
    if (!file_list(&o->names, &o->n_names, ck->path, CHECKPOINT_SUFFIX, o->err))
        return false;
    ck->files = mem_array(o->n_names, sizeof *ck->files, "checkpoint files", o->err);
    bool ok = ck->files != NULL;
    if (ok && o->n_names == 0)
        ok = findings_add(o->found, FOUND_MISSING_FILE, CHECKPOINT_SINGLE, NULL, o->err,
                          "the folder has no *%s file", CHECKPOINT_SUFFIX);
    for (size_t i = 0; ok && i < o->n_names; i++) {
        struct error why = { 0 };
        char *path = file_join(ck->path, o->names[i], o->err);
        if (!path)
            return false;
        if (safetensors_open(&ck->files[ck->n_files], path, &why))
            ck->n_files++;
        else
            ok = findings_add_error(o->found, FOUND_UNREADABLE, path, &why, o->err);
        free(path);
    }
    return ok;
}

/* Of those that could be read; the names are sorted, so the files are. */
static const struct safetensors_file *find_file(const struct checkpoint *ck, const char *name)
{
    for (size_t low = 0, high = ck->n_files; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(base_name(ck->files[middle].map.path), name);
        if (order == 0)
            return &ck->files[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool take(struct opening *o, const struct tensor *t)
{
    struct checkpoint *ck = &o->f->ck;
    if (!mem_grow(&ck->tensors, &o->capacity, ck->n_tensors + 1, sizeof *ck->tensors, "tensors",
                  o->err))
        return false;
    ck->tensors[ck->n_tensors++] = t;
    return true;
}

/* ---- the index ------------------------------------------------------------------ */

bool verify_folder_lose(struct verify_folder *f, const char *tensor, struct error *err)
{
    return mem_grow(&f->lost, &f->lost_capacity, f->n_lost + 1, sizeof *f->lost, "tensors", err)
        && (f->lost[f->n_lost] = mem_string(tensor, err)) && ++f->n_lost;
}

void verify_folder_sort_lost(struct verify_folder *f)
{
    if (f->n_lost)
        qsort(f->lost, f->n_lost, sizeof *f->lost, compare_strings);
    f->n_sorted = f->n_lost;
}

static bool find_elsewhere(struct opening *o, const struct verify_index_row *row)
{
    const struct checkpoint *ck = &o->f->ck;
    for (size_t i = 0; i < ck->n_files; i++) {
        const struct tensor *t = safetensors_find(&ck->files[i], row->tensor);
        if (t)
            return findings_add(o->found, FOUND_WRONG_FILE, row->file, row->tensor, o->err,
                                "the index places it there, but it stands in %s",
                                base_name(t->file))
                && take(o, t);
    }
    return findings_add(o->found, FOUND_MISSING, row->file, row->tensor, o->err,
                        "the index places it there, but no file has it")
        && verify_folder_lose(o->f, row->tensor, o->err);
}

/* Takes the rows of one file. */
static bool take_rows(struct opening *o, const struct verify_index_row *rows, size_t n)
{
    const struct safetensors_file *file = find_file(&o->f->ck, rows->file);
    bool ok = true;
    if (!file && !bsearch(&rows->file, o->names, o->n_names, sizeof *o->names, compare_strings))
        ok = findings_add(o->found, FOUND_MISSING_FILE, rows->file, NULL, o->err,
                          "does not exist, but the index places %zu tensors there", n);
    for (size_t i = 0; ok && i < n; i++) {
        const struct tensor *t = file ? safetensors_find(file, rows[i].tensor) : NULL;
        ok = t ? take(o, t) : file ? find_elsewhere(o, &rows[i])
           : verify_folder_lose(o->f, rows[i].tensor, o->err);
    }
    return ok;
}

/* metadata.total_size should be the bytes of all tensors; nothing reads it. */
static bool check_total(struct opening *o)
{
    size_t bytes = 0;
    const struct checkpoint *ck = &o->f->ck;
    for (size_t i = 0; i < ck->n_tensors; i++)
        bytes += ck->tensors[i]->n_bytes;
    return !o->index.has_total || o->index.total_bytes == bytes
        || findings_add(o->found, NOTE_TOTAL_SIZE, CHECKPOINT_INDEX, NULL, o->err,
                        "metadata.total_size is %zu, the tensors have %zu bytes",
                        o->index.total_bytes, bytes);
}

static bool take_indexed(struct opening *o)
{
    const struct verify_index *x = &o->index;
    bool ok = true;
    for (size_t i = 0, end; ok && i < x->n_rows; i = end) {
        for (end = i + 1; end < x->n_rows && strcmp(x->rows[end].file, x->rows[i].file) == 0;)
            end++;
        ok = take_rows(o, x->rows + i, end - i);
    }
    return ok && check_total(o);
}

/* ---- which tensors count ----------------------------------------------------------- */

static bool take_all(struct opening *o, const struct safetensors_file *file)
{
    bool ok = true;
    for (size_t i = 0; ok && i < file->n_tensors; i++)
        ok = take(o, &file->tensors[i]);
    return ok;
}

/* Without an index: model.safetensors, else all. */
static bool take_by_headers(struct opening *o)
{
    const struct checkpoint *ck = &o->f->ck;
    const struct safetensors_file *single = find_file(ck, CHECKPOINT_SINGLE);
    bool ok = true;
    for (size_t i = 0; ok && i < ck->n_files; i++)
        if (!single || &ck->files[i] == single)
            ok = take_all(o, &ck->files[i]);
    return ok;
}

/* Sorts, and keeps the first of a name. */
static bool sort_tensors(struct opening *o)
{
    struct checkpoint *ck = &o->f->ck;
    size_t n = 0;
    bool ok = true;
    if (ck->n_tensors)
        qsort(ck->tensors, ck->n_tensors, sizeof *ck->tensors, compare_tensors);
    for (size_t i = 0; ok && i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i], *kept = n ? ck->tensors[n - 1] : NULL;
        if (!kept || strcmp(kept->name, t->name) != 0)
            ck->tensors[n++] = t;
        else if (kept != t)
            ok = findings_add(o->found, FOUND_TWICE, t->file, t->name, o->err,
                              "stands in %s too, and there is no index to decide",
                              base_name(kept->file));
    }
    ck->n_tensors = n;
    return ok;
}

/* Tensors, and whole files, that were not taken. */
static bool list_stale(struct opening *o)
{
    const struct checkpoint *ck = &o->f->ck;
    bool ok = true;
    for (size_t i = 0; ok && i < ck->n_files; i++) {
        const struct safetensors_file *file = &ck->files[i];
        size_t n_taken = 0;
        for (size_t j = 0; j < file->n_tensors; j++)
            n_taken += checkpoint_find(ck, file->tensors[j].name) == &file->tensors[j];
        if (n_taken == 0)
            ok = findings_add(o->found, FOUND_UNLISTED, file->map.path, NULL, o->err,
                              "has %zu tensors, and nothing reads them", file->n_tensors);
        for (size_t j = 0; ok && n_taken && n_taken < file->n_tensors && j < file->n_tensors; j++) {
            const struct tensor *t = &file->tensors[j];
            if (checkpoint_find(ck, t->name) != t)
                ok = findings_add(o->found, FOUND_STALE, t->file, t->name, o->err,
                                  "stands in the file, but the index does not place it there");
        }
    }
    return ok;
}

/* Whatever is missing, the other names tell. */
static const char *prefix_of(const struct checkpoint *ck)
{
    static const char multimodal[] = "model.language_model.";
    for (size_t i = 0; i < ck->n_tensors; i++)
        if (strncmp(ck->tensors[i]->name, multimodal, sizeof multimodal - 1) == 0)
            return multimodal;
    return "model.";
}

static bool open_all(struct opening *o)
{
    struct verify_folder *f = o->f;
    bool ok = read_config_json(o) && open_files(o)
           && verify_index_read(&o->index, f->ck.path, o->found, o->err)
           && (o->index.json ? take_indexed(o) : take_by_headers(o)) && sort_tensors(o)
           && list_stale(o) && read_settings(o);
    verify_folder_sort_lost(f);
    f->prefix = prefix_of(&f->ck);
    return ok;
}

bool verify_folder_open(struct verify_folder *f, const char *path, struct findings *found,
                        struct error *err)
{
    struct opening o = { .f = f, .found = found, .err = err };
    *f = (struct verify_folder){ 0 };
    if (!file_is_directory(path))
        return error_set(err, "%s: %s", path,
                         file_exists(path) ? "is not a folder, expected a checkpoint folder"
                                           : error_reason(errno));
    f->ck.path = mem_string(path, err);
    bool ok = f->ck.path && open_all(&o);
    file_list_free(o.names, o.n_names);
    verify_index_free(&o.index);
    if (!ok)
        verify_folder_close(f);
    return ok;
}

void verify_folder_close(struct verify_folder *f)
{
    for (size_t i = 0; i < f->n_lost; i++)
        free(f->lost[i]);
    free(f->lost);
    checkpoint_close(&f->ck);
    *f = (struct verify_folder){ 0 };
}

bool verify_folder_is_lost(const struct verify_folder *f, const char *tensor)
{
    return f->n_sorted && bsearch(&tensor, f->lost, f->n_sorted, sizeof *f->lost, compare_strings);
}

static bool is_lost(void *user, const char *tensor)
{
    return verify_folder_is_lost(user, tensor);
}

bool verify_folder_is_lost_weight(const struct verify_folder *f, const char *weight)
{
    return weight_is_in_any(weight, is_lost, (void *)(uintptr_t)f);
}

/* ---- weights ------------------------------------------------------------------------ */

struct sink {
    struct verify_folder *f;
    struct findings *found;
    bool is_full;                       /* no more findings are kept */
};

/* What is missing because its file, or its index row, is broken has been named already. */
static bool add_fault(void *user, enum weight_fault fault, const struct tensor *t, const char *name,
                      const char *text, struct error *err)
{
    static const enum finding_code codes[WEIGHT_FAULTS] = {
        [WEIGHT_MISSING] = FOUND_MISSING, [WEIGHT_INCOMPLETE] = FOUND_PAIR,
        [WEIGHT_ALONE] = FOUND_PAIR, [WEIGHT_TWICE] = FOUND_TWICE, [WEIGHT_DTYPE] = FOUND_DTYPE,
        [WEIGHT_SHAPE] = FOUND_SHAPE,
    };
    struct sink *s = user;
    bool is_known = fault == WEIGHT_MISSING ? verify_folder_is_lost_weight(s->f, name)
                  : (fault == WEIGHT_INCOMPLETE || fault == WEIGHT_ALONE)
                    && verify_folder_is_lost(s->f, name);
    if (!s->found || is_known)
        return true;
    if (!findings_add(s->found, codes[fault], t ? t->file : NULL, t ? t->name : name, err, "%s", text)
        || (fault == WEIGHT_MISSING && !verify_folder_lose(s->f, name, err)))
        return false;
    s->is_full = s->found->n >= FINDINGS_KEPT;      /* a config may ask for more than can be listed */
    return fault != WEIGHT_MISSING || !s->is_full;
}

/* A finding has named them; they are not weights that something could be expected of. */
static void drop_alone(struct weight_list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->list[i].stored.is_alone)
            free(l->list[i].name);
        else
            l->list[n++] = l->list[i];
    l->n = n;
}

bool verify_folder_list(struct weight_list *out, struct verify_folder *f, struct findings *found,
                        struct error *err)
{
    struct sink sink = { .f = f, .found = found };
    const struct weight_faults faults = { add_fault, &sink };
    if (!weight_list_read(out, &f->ck, &faults, err))
        return false;
    drop_alone(out);
    return true;
}

bool verify_folder_match(struct verify_folder *f, struct weight_list *w, struct findings *found,
                         struct error *err)
{
    struct sink sink = { .f = f, .found = found };
    const struct weight_faults faults = { add_fault, &sink };
    if (!f->has_config)
        return true;
    if (!weight_list_match(w, &f->ck, f->prefix, &faults, err) && !sink.is_full)
        return false;
    verify_folder_sort_lost(f);
    bool ok = true;
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct tensor *t = w->list[i].stored.parts[0];
        if (w->list[i].is_unexpected)
            ok = findings_add(found, FOUND_UNEXPECTED, t->file, t->name, err,
                              "is not part of the model that the config describes");
    }
    return ok;
}
