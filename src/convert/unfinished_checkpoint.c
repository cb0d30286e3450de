#include "convert/unfinished_checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/output_file.h"
#include "base/temporary.h"
#include "convert/other_files.h"
#include "formats/safetensors_folder.h"

/* ---- where -------------------------------------------------------------------------- */

bool unfinished_checkpoint_check(const char *path, const struct input_files *inputs,
                                 struct error *err)
{
    struct stat st;
    if (!*path)
        return error_set(err, "the name of the folder to write is empty");
    if (lstat(path, &st) == 0)
        return error_set(err, "%s: exists already, expected a new folder", path);
    return input_files_refuse_folder(inputs, path, err);
}

/* ---- what an interrupted process left ------------------------------------------------------ */

/* What the folder can hold. */
struct names {
    const struct unfinished_checkpoint *f;
    const struct other_files *others;
};

static bool is_shard(const struct unfinished_checkpoint *f, const char *name)
{
    char shard[SHARD_NAME_BYTES];
    for (size_t i = 0; i < f->work.layout->n_shards; i++) {
        layout_shard_name(shard, f->work.layout, i);
        if (strcmp(shard, name) == 0)
            return true;
    }
    return false;
}

/* One of the other files, or ("folder/") a folder that one of them is in. */
static bool is_other(const struct other_files *others, const char *name)
{
    size_t n = strlen(name);
    bool is_folder = n && name[n - 1] == '/';
    for (size_t i = 0; i < others->n; i++)
        if (is_folder ? strncmp(others->names[i], name, n) == 0
                      : strcmp(others->names[i], name) == 0)
            return true;
    return false;
}

static bool is_text(const struct new_text *texts, const char *name)
{
    for (; texts && texts->name; texts++)
        if (strcmp(texts->name, name) == 0)
            return true;
    return false;
}

static bool is_ours(void *user, const char *name)
{
    const struct names *names = user;
    return strcmp(name, CHECKPOINT_INDEX) == 0 || strcmp(name, "config.json") == 0
        || is_text(names->f->texts, name) || is_shard(names->f, name)
        || is_other(names->others, name);
}

/* The shards that the state names. */
static bool is_kept(void *user, const char *name)
{
    const struct names *names = user;
    return json_get(shard_state_known(&names->f->state), name) != NULL;
}

/* Removes what an interrupted process left and is not kept. */
static bool clear(const struct unfinished_checkpoint *f, const struct other_files *others,
                  struct error *err)
{
    struct names all = { f, others };
    const struct output_names names = { is_ours, is_kept, &all };
    return output_folder_clear(&f->folder, &names, err);
}

/* More than headers, index and config will have. */
static size_t text_bytes(const struct work *w)
{
    size_t n = strlen(w->config) + (64 << 10);
    for (size_t i = 0; i < w->layout->n_tensors; i++)
        n += 2 * strlen(w->layout->tensors[i].name) + 256;
    return n;
}

/* Space for all but what an earlier process has written. */
static bool check_space(const struct unfinished_checkpoint *f, size_t others, struct error *err)
{
    size_t needed = f->work.layout->bytes + text_bytes(&f->work) + others, size;
    const cJSON *item;
    cJSON_ArrayForEach(item, shard_state_known(&f->state)) {
        char *path = file_join(f->folder.building, item->string, NULL);
        if (path && shard_state_is_file(path, &size))
            needed -= size_min(needed, size);
        free(path);
    }
    size_t free_bytes;
    if (!output_folder_space(&free_bytes, f->folder.building, err))
        return false;
    if (free_bytes >= needed)
        return true;
    return error_set(err, "%s: needs %zu bytes, but only %zu are free there", f->path, needed,
                     free_bytes);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static bool fill_shard(const struct unfinished_checkpoint *f, struct stream *s, size_t shard,
                       const char *path, struct error *err)
{
    const struct layout *l = f->work.layout;
    struct safetensors_writer w;
    size_t n;
    struct safetensors_entry *entries = layout_entries(&n, l, shard, err);
    bool ok = entries && safetensors_create(&w, path, entries, n, err);
    free(entries);
    if (!ok)
        return false;
    for (size_t i = 0; ok && i < l->n_tasks; i++)
        if (l->tensors[l->tasks[i].tensor].shard == shard)
            ok = stream_task(s, i, &w, err);
    if (ok)
        return safetensors_commit(&w, err);
    safetensors_abandon(&w);
    return false;
}

/* A shard that was made while an input's inode changed: made once more, it must have the same
 * bytes. */
struct remake {
    const struct unfinished_checkpoint *f;
    struct stream *stream;
    size_t shard;
    const char *path;
};

static bool make_again(void *user, const char *input, bool *same, struct error *err)
{
    struct remake *r = user;
    struct stream *s = r->stream;
    char first[2 * DIGEST_BYTES + 1], second[2 * DIGEST_BYTES + 1];
    size_t done_bytes = s->done_bytes, blocks = s->blocks, undecided = s->undecided;
    (void)input;
    if (!shard_state_digest(first, r->path, s->n_threads, err)
        || !fill_shard(r->f, s, r->shard, r->path, err)
        || !shard_state_digest(second, r->path, s->n_threads, err))
        return false;
    *same = strcmp(first, second) == 0;
    s->done_bytes = done_bytes;         /* it counts once */
    s->blocks = blocks;
    s->undecided = undecided;
    return true;
}

static bool make_shard(struct unfinished_checkpoint *f, struct stream *s, size_t shard,
                       const char *name, const char *path, struct error *err)
{
    struct remake remake = { .f = f, .stream = s, .shard = shard, .path = path };
    const struct input_files_again again = { make_again, &remake, true };
    return temporary_remove(path, err) && fill_shard(f, s, shard, path, err)
        && input_files_check(f->inputs, &again, f->progress, err)
        && shard_state_add(&f->state, name, path, shard + 1 == f->work.layout->n_shards, err);
}

static bool write_shard(struct unfinished_checkpoint *f, struct stream *s, size_t shard,
                        struct error *err)
{
    char name[SHARD_NAME_BYTES];
    layout_shard_name(name, f->work.layout, shard);
    char *path = file_join(f->folder.building, name, err);
    bool ok = path != NULL;
    size_t size = 0;
    if (ok && shard_state_holds(&f->state, name, path)) {
        f->kept++;
        for (size_t i = 0; i < f->work.layout->n_tasks; i++)
            if (f->work.layout->tensors[f->work.layout->tasks[i].tensor].shard == shard)
                stream_skip(s, i);
    } else
        ok = ok && make_shard(f, s, shard, name, path, err);
    if (ok && shard_state_is_file(path, &size))
        f->bytes += size;
    free(path);
    return ok;
}

/* ---- the rest -------------------------------------------------------------------------------- */

static bool write_text(const struct unfinished_checkpoint *f, const char *name, const char *text,
                       struct error *err)
{
    char *path = file_join(f->folder.building, name, err);
    bool ok = path && output_file_write(path, text, strlen(text), err);
    free(path);
    return ok;
}

static bool write_texts(struct unfinished_checkpoint *f, struct error *err)
{
    bool ok = true;
    for (const struct new_text *t = f->texts; ok && t && t->name; t++) {
        ok = write_text(f, t->name, t->text, err);
        f->bytes += strlen(t->text);
    }
    return ok;
}

static int compare_names(const void *a, const void *b)
{
    const struct new_tensor *x = *(const struct new_tensor *const *)a;
    const struct new_tensor *y = *(const struct new_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static bool append_index(struct buffer *b, const struct layout *l,
                         const struct new_tensor *const *sorted, struct error *err)
{
    bool ok = buffer_printf(b, err, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n"
                            "  \"weight_map\": {", l->bytes);
    for (size_t i = 0; ok && i < l->n_tensors; i++) {
        char shard[SHARD_NAME_BYTES];
        layout_shard_name(shard, l, sorted[i]->shard);
        ok = buffer_printf(b, err, i ? ",\n    " : "\n    ")
          && json_append_string(b, sorted[i]->name, strlen(sorted[i]->name), err)
          && buffer_printf(b, err, ": \"%s\"", shard);
    }
    return ok && buffer_printf(b, err, "\n  }\n}\n");
}

static bool write_index(const struct unfinished_checkpoint *f, struct error *err)
{
    const struct layout *l = f->work.layout;
    const struct new_tensor **sorted = mem_array(l->n_tensors, sizeof *sorted, "the index", err);
    struct buffer b = { 0 };
    for (size_t i = 0; sorted && i < l->n_tensors; i++)
        sorted[i] = &l->tensors[i];
    if (sorted)
        qsort(sorted, l->n_tensors, sizeof *sorted, compare_names);
    bool ok = sorted && append_index(&b, l, sorted, err)
           && write_text(f, CHECKPOINT_INDEX, b.data, err);
    buffer_free(&b);
    free(sorted);
    return ok;
}

/* At the end: what the shards were made from was looked at with each of them. */
static bool was_used(void *user, const char *path, bool *same, struct error *err)
{
    (void)user, (void)path, (void)err;
    return *same = true;
}

static bool write_all(struct unfinished_checkpoint *f, struct stream *s,
                      const struct other_files *others, struct error *err)
{
    const struct input_files_again again = { was_used, NULL, true };
    f->bytes = others->bytes;
    f->state = (struct shard_state){ &f->folder, s->n_threads };
    bool ok = shard_state_open(&f->state, &f->work, f->resume, err)
           && clear(f, others, err)
           && check_space(f, others->bytes, err);
    for (size_t i = 0; ok && i < f->work.layout->n_shards; i++)
        ok = write_shard(f, s, i, err);
    return ok && other_files_copy(others, f->work.ck->folder, f->folder.building, f->progress, err)
        && write_texts(f, err) && write_text(f, "config.json", f->work.config, err)
        && write_index(f, err)
        && input_files_check(f->inputs, &again, f->progress, err)
        && output_folder_commit(&f->folder, NULL, err);
}

/* Lets go of the folder, and removes it unless a shard of it is complete. */
static void end_folder(struct unfinished_checkpoint *f, const struct other_files *others)
{
    struct names all = { f, others };
    const struct output_names names = { .is_ours = is_ours, .user = &all };
    const cJSON *known = f->state.folder ? shard_state_known(&f->state) : NULL;
    if (f->folder.building && f->state.folder && !(known && known->child))
        output_folder_discard(&f->folder, &names);
    else
        output_folder_end(&f->folder);
}

bool unfinished_checkpoint_write(struct unfinished_checkpoint *f, struct stream *s,
                                 struct error *err)
{
    struct other_files others;
    const struct output_request request = { .path = f->path, .kind = "checkpoint",
                                            .inputs = f->inputs, .progress = f->progress,
                                            .resume = f->resume };
    if (!other_files_list(&others, f->work.ck, f->progress, err))
        return false;
    bool ok = output_folder_begin(&f->folder, &request, err) && write_all(f, s, &others, err);
    end_folder(f, &others);
    other_files_free(&others);
    return ok;
}
