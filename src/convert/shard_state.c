#include "convert/shard_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file_digest.h"
#include "base/json.h"

/* ---- digests ------------------------------------------------------------------------- */

static bool hash_string(struct digest_stream *s, const char *text, struct error *err)
{
    return digest_update(s, text, strlen(text) + 1, err);
}

/* Of all that decides the bytes of the folder. */
static bool hash_work(char out[2 * DIGEST_BYTES + 1], const struct work *f, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    bool ok = s && digest_update(s, f->settings.bytes, DIGEST_BYTES, err)
           && hash_string(s, SURPRISAL_VERSION, err) && hash_string(s, f->config, err);
    for (size_t i = 0; ok && i < f->layout->n_tensors; i++) {
        const struct new_tensor *t = &f->layout->tensors[i];
        size_t numbers[] = { t->n_bytes, t->shard, t->place, t->entry.dtype };
        ok = hash_string(s, t->name, err) && digest_update(s, numbers, sizeof numbers, err);
    }
    for (size_t i = 0; ok && i < f->layout->n_tasks; i++) {
        const struct task *t = &f->layout->tasks[i];
        size_t numbers[] = { t->action, t->tensor, t->offset, t->module->stored.n_bytes };
        ok = hash_string(s, t->module->name, err) && digest_update(s, numbers, sizeof numbers, err);
    }
    for (size_t i = 0; ok && i < f->ck->n_files; i++) {
        struct stat st = { 0 };
        const struct mapped_file *map = &f->ck->files[i].map;
        ok = fstat(map->fd, &st) == 0 || error_set(err, "%s: %s", map->path, error_reason(errno));
        int64_t numbers[] = { (int64_t)st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec };
        ok = ok && digest_update(s, numbers, sizeof numbers, err);
    }
    struct digest digest;
    ok = digest_end(s, ok ? &digest : NULL, err) && ok;
    if (ok)
        digest_hex(out, &digest);
    return ok;
}

bool shard_state_digest(char out[2 * DIGEST_BYTES + 1], const char *path, int n_threads,
                        struct error *err)
{
    struct mapped_file f;
    struct digest digest;
    if (!file_map(&f, path, err))
        return false;
    bool ok = file_digest_pieces(&digest, f.data, f.size, &f, n_threads, err);
    if (ok)
        digest_hex(out, &digest);
    file_unmap(&f);
    return ok;
}

/* ---- the state ------------------------------------------------------------------------- */

bool shard_state_is_file(const char *path, size_t *bytes)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    *bytes = (size_t)st.st_size;
    return true;
}

/* Starts anew: no shard is complete. */
static bool begin(struct shard_state *s, const char *work, struct error *err)
{
    cJSON *content = cJSON_CreateObject();
    if (content && (!cJSON_AddStringToObject(content, "work", work)
                    || !cJSON_AddObjectToObject(content, "shards"))) {
        cJSON_Delete(content);
        content = NULL;
    }
    return output_folder_mark(s->folder, content, err);
}

bool shard_state_open(struct shard_state *s, const struct work *work, bool resume,
                      struct error *err)
{
    char digest[2 * DIGEST_BYTES + 1];
    if (!hash_work(digest, work, err))
        return false;
    const cJSON *known = shard_state_known(s);
    if (!cJSON_IsObject(known) || !known->child)
        return begin(s, digest, err);
    if (!resume)
        return error_set(err,
                         "%s: holds an interrupted run; --resume goes on with it, or remove it",
                         s->folder->building);
    const char *of = output_folder_marked(s->folder, "work");
    return (of && strcmp(of, digest) == 0)
        || error_set(err, "%s: is of another checkpoint, other settings or another version; remove"
                     " the folder to begin anew", s->folder->building);
}

const cJSON *shard_state_known(const struct shard_state *s)
{
    return json_get(s->folder->mark, "shards");
}

#define PROOF_BYTES 160

/* What tells the file at `path` from any other and from itself before a change. */
static bool stamp_text(char out[PROOF_BYTES], const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return error_set(err, "%s: %s", path, error_reason(errno));
    snprintf(out, PROOF_BYTES, "stamp %llu %lld %lld.%09ld %lld.%09ld",
             (unsigned long long)st.st_ino, (long long)st.st_size, (long long)st.st_mtim.tv_sec,
             st.st_mtim.tv_nsec, (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return true;
}

bool shard_state_holds(const struct shard_state *s, const char *name, const char *path)
{
    const char *known = cJSON_GetStringValue(json_get(shard_state_known(s), name));
    char found[PROOF_BYTES];
    size_t bytes;
    if (!known || !shard_state_is_file(path, &bytes))
        return false;
    bool by_stamp = strncmp(known, "stamp ", strlen("stamp ")) == 0;
    return (by_stamp ? stamp_text(found, path, NULL)
                     : shard_state_digest(found, path, s->n_threads, NULL))
        && strcmp(found, known) == 0;
}

bool shard_state_add(struct shard_state *s, const char *name, const char *path, bool is_last,
                     struct error *err)
{
    char proof[PROOF_BYTES];
    cJSON *shards = cJSON_GetObjectItemCaseSensitive(s->folder->mark, "shards");
    cJSON_DeleteItemFromObjectCaseSensitive(shards, name);
    return (is_last ? stamp_text(proof, path, err)
                    : shard_state_digest(proof, path, s->n_threads, err))
        && (cJSON_AddStringToObject(shards, name, proof)
            || error_set(err, "out of memory: the state"))
        && output_folder_mark(s->folder, s->folder->mark, err);
}
