#include "quantize/shard_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "quantize/other_files.h"

#define HASH_PIECE ((size_t)16 << 20)

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
        size_t numbers[] = { t->action, t->tensor, t->offset, t->module->n_bytes };
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

/* SHA-256 of the SHA-256s of a file's pieces, so that all threads can work on it. */
static bool hash_file(char out[2 * DIGEST_BYTES + 1], const char *path, int n_threads,
                      struct error *err)
{
    struct mapped_file f;
    if (!file_map(&f, path, err))
        return false;
    size_t n = f.size / HASH_PIECE + 1;
    struct digest *pieces = mem_array(n, sizeof *pieces, "digests", err), digest;
    bool ok = pieces != NULL;
    #pragma omp parallel for schedule(dynamic) num_threads(n_threads) reduction(&& : ok)
    for (size_t i = 0; i < n; i++) {
        size_t at = i * HASH_PIECE, bytes = size_min(HASH_PIECE, f.size - at);
        ok = ok && (!bytes || file_populate(&f, at, bytes, NULL))
          && digest_of(&pieces[i], f.data + at, bytes, NULL);
        file_release(&f, at, bytes, false);
    }
    if (pieces && !ok)
        error_set(err, "%s: cannot be read back", path);
    ok = ok && digest_of(&digest, pieces, n * sizeof *pieces, err);
    if (ok)
        digest_hex(out, &digest);
    free(pieces);
    file_unmap(&f);
    return ok;
}

/* ---- the state ------------------------------------------------------------------------- */

bool is_regular_file(const char *path, size_t *bytes)
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
    s->json = cJSON_CreateObject();
    return (s->json && cJSON_AddStringToObject(s->json, "work", work)
            && cJSON_AddObjectToObject(s->json, "shards"))
        || error_set(err, "out of memory: the state");
}

static bool take_over(struct shard_state *s, const char *work, struct error *err)
{
    size_t bytes;
    if (!is_regular_file(s->path, &bytes))
        return error_set(err, "%s: is not a regular file", s->path);
    s->json = json_read(s->path, err);
    if (!s->json)
        return false;
    const char *of = cJSON_GetStringValue(json_get(s->json, "work"));
    return (of && strcmp(of, work) == 0 && cJSON_IsObject(json_get(s->json, "shards")))
        || error_set(err, "%s: is of another checkpoint, other settings or another version; remove"
                     " the folder to begin anew", s->path);
}

bool shard_state_open(struct shard_state *s, const char *folder, const struct work *work,
                      bool resume, struct error *err)
{
    char digest[2 * DIGEST_BYTES + 1];
    struct stat st;
    *s = (struct shard_state){ .path = file_join(folder, STATE_NAME, err) };
    bool ok = s->path && hash_work(digest, work, err), there = ok && lstat(s->path, &st) == 0;
    if (ok && there && !resume)
        ok = error_set(err, "%s: holds an interrupted run; --resume goes on with it, or remove it",
                       folder);
    ok = ok && (there ? take_over(s, digest, err) : begin(s, digest, err));
    if (!ok)
        shard_state_close(s);
    return ok;
}

void shard_state_close(struct shard_state *s)
{
    cJSON_Delete(s->json);
    free(s->path);
    *s = (struct shard_state){ 0 };
}

const cJSON *shard_state_known(const struct shard_state *s)
{
    return json_get(s->json, "shards");
}

bool shard_state_holds(const struct shard_state *s, const char *name, const char *path,
                       int n_threads)
{
    const char *known = cJSON_GetStringValue(json_get(shard_state_known(s), name));
    char found[2 * DIGEST_BYTES + 1];
    size_t bytes;
    return known && is_regular_file(path, &bytes) && hash_file(found, path, n_threads, NULL)
        && strcmp(found, known) == 0;
}

void shard_state_forget(struct shard_state *s, const char *name)
{
    cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(s->json, "shards"),
                                            name);
}

bool shard_state_add(struct shard_state *s, const char *name, const char *path, int n_threads,
                     struct error *err)
{
    char digest[2 * DIGEST_BYTES + 1];
    cJSON *shards = cJSON_GetObjectItemCaseSensitive(s->json, "shards");
    if (!hash_file(digest, path, n_threads, err))
        return false;
    char *text = cJSON_AddStringToObject(shards, name, digest) ? json_print(s->json) : NULL;
    bool ok = text ? file_write(s->path, text, strlen(text), err)
                   : error_set(err, "out of memory: the state");
    cJSON_free(text);
    return ok;
}

bool shard_state_remove(const struct shard_state *s, struct error *err)
{
    return unlink(s->path) == 0 || errno == ENOENT
        || error_set(err, "%s: cannot remove: %s", s->path, error_reason(errno));
}
