#include "eval/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bf16.h"
#include "base/memory.h"

enum column { POSITION, WINDOW, ID, NLL, TOP1, LOGSUMEXP, HIDDEN, N_COLUMNS };

static const char tokens_name[] = "tokens.safetensors", summary_name[] = "summary.json";
static const char state_name[] = "state.safetensors";

static void remove_file(const char *folder, const char *name)
{
    char *path = file_join(folder, name, NULL);
    if (path)
        unlink(path);
    free(path);
}

/* Creates PATH.partial, or takes the one that is there, and locks it. */
static bool take_partial(struct run_folder *r, struct error *err)
{
    bool created = mkdir(r->temporary, 0777) == 0;
    if (!created && errno != EEXIST)
        return error_set(err, "%s: cannot create: %s", r->temporary, strerror(errno));
    r->lock = open(r->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r->lock < 0) {
        r->lock = 0;
        return error_set(err, "%s: cannot open: %s", r->temporary, strerror(errno));
    }
    if (flock(r->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    close(r->lock);
    r->lock = 0;
    return error_set(err, "%s: another run is writing it", r->temporary);
}

bool run_folder_begin(struct run_folder *r, const char *path, bool resume, struct error *err)
{
    *r = (struct run_folder){ 0 };
    struct stat st;
    if (!*path)
        return error_set(err, "the name of the folder to write is empty");
    if (lstat(path, &st) == 0)
        return error_set(err, "%s: exists already, expected a new folder", path);
    r->path = mem_string(path, err);
    if (!r->path)
        return false;
    for (size_t n = strlen(r->path); n > 1 && r->path[n - 1] == '/'; n--)
        r->path[n - 1] = '\0';
    if (asprintf(&r->temporary, "%s.partial", r->path) < 0) {
        r->temporary = NULL;
        error_set(err, "out of memory: a path");
    } else if ((r->state = file_join(r->temporary, state_name, err)) && take_partial(r, err)) {
        if (resume || !run_folder_has_state(r)) {
            if (!run_folder_has_state(r))
                remove_file(r->temporary, tokens_name);
            return true;
        }
        error_set(err, "%s: holds an interrupted run; --resume goes on with it, or remove it",
                  r->temporary);
    }
    run_folder_abandon(r);
    return false;
}

bool run_folder_has_state(const struct run_folder *r)
{
    return r->state && file_exists(r->state);
}

/* A file system without fallocate says EOPNOTSUPP: then a full disk shows while writing. */
static bool reserve(const struct safetensors_writer *w, struct error *err)
{
    size_t last = w->n_tensors - 1, bytes = w->begin[last] + w->n_bytes[last];
    if (fallocate(w->out.fd, 0, 0, (off_t)bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
        return true;
    return error_set(err, "%s: cannot reserve %zu bytes: %s", w->out.path, bytes, strerror(errno));
}

bool run_folder_tokens(struct run_folder *r, size_t scored, enum surprisal_hidden hidden,
                       size_t hidden_size, struct error *err)
{
    const struct safetensors_entry entries[N_COLUMNS] = {
        [POSITION] = { "position", DTYPE_I32, 1, { scored } },
        [WINDOW] = { "window", DTYPE_I32, 1, { scored } },
        [ID] = { "id", DTYPE_I32, 1, { scored } },
        [NLL] = { "nll", DTYPE_F64, 1, { scored } },
        [TOP1] = { "top1", DTYPE_I32, 1, { scored } },
        [LOGSUMEXP] = { "logsumexp", DTYPE_F32, 1, { scored } },
        [HIDDEN] = { "hidden", hidden == SURPRISAL_HIDDEN_BF16 ? DTYPE_BF16 : DTYPE_F32, 2,
                     { scored, hidden_size } },
    };
    size_t n = hidden == SURPRISAL_HIDDEN_NONE ? HIDDEN : N_COLUMNS;
    r->hidden = hidden;
    r->hidden_size = hidden_size;
    char *path = file_join(r->temporary, tokens_name, err);
    r->writing = path && safetensors_open_in_place(&r->tokens, path, entries, n, err);
    free(path);
    return r->writing && reserve(&r->tokens, err);
}

bool run_folder_read_nll(const struct run_folder *r, size_t row, size_t n, double *nll,
                         struct error *err)
{
    return safetensors_read_back(&r->tokens, NLL, row * sizeof *nll, nll, n * sizeof *nll, err);
}

bool run_folder_sync(struct run_folder *r, struct error *err)
{
    return file_sync(&r->tokens.out, err);
}

static bool write_hidden(struct run_folder *r, size_t row, size_t n, const float *hidden,
                         struct error *err)
{
    size_t D = r->hidden_size;
    if (r->hidden == SURPRISAL_HIDDEN_F32)
        return safetensors_write(&r->tokens, HIDDEN, row * D * sizeof *hidden, hidden,
                                 n * D * sizeof *hidden, err);
    if (!mem_grow(&r->staging, &r->staging_bytes, D * sizeof(uint16_t), 1, "a column", err))
        return false;
    uint16_t *bf16 = r->staging;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < D; j++)
            bf16[j] = bf16_of(hidden[i * D + j]);
        if (!safetensors_write(&r->tokens, HIDDEN, (row + i) * D * sizeof *bf16, bf16,
                               D * sizeof *bf16, err))
            return false;
    }
    return true;
}

/* Writes a column of elements of `size` bytes that lie `stride` bytes apart, the first at `from`. */
static bool write_column(struct run_folder *r, enum column column, size_t row, size_t n,
                         const void *from, size_t stride, size_t size, struct error *err)
{
    if (!mem_grow(&r->staging, &r->staging_bytes, n * size, 1, "a column", err))
        return false;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)r->staging + i * size, (const char *)from + i * stride, size);
    return safetensors_write(&r->tokens, column, row * size, r->staging, n * size, err);
}

bool run_folder_add(struct run_folder *r, size_t row, size_t n, const struct token_place *places,
                    const struct engine_score *scores, const float *hidden, struct error *err)
{
    if (n == 0)
        return true;
    const struct {
        enum column column;
        const void *first;
        size_t stride, size;
    } columns[] = {
        { POSITION, &places->position, sizeof *places, sizeof places->position },
        { WINDOW, &places->window, sizeof *places, sizeof places->window },
        { ID, &places->id, sizeof *places, sizeof places->id },
        { NLL, &scores->nll, sizeof *scores, sizeof scores->nll },
        { TOP1, &scores->top1, sizeof *scores, sizeof scores->top1 },
        { LOGSUMEXP, &scores->logsumexp, sizeof *scores, sizeof scores->logsumexp },
    };
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (!write_column(r, columns[i].column, row, n, columns[i].first, columns[i].stride,
                          columns[i].size, err))
            return false;
    return r->hidden == SURPRISAL_HIDDEN_NONE || write_hidden(r, row, n, hidden, err);
}

/* rename would replace an empty folder that came into being meanwhile; where the file system
 * cannot promise not to, look first. */
static bool rename_to_place(const struct run_folder *r, struct error *err)
{
    int failed = renameat2(AT_FDCWD, r->temporary, AT_FDCWD, r->path, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
        struct stat st;
        failed = lstat(r->path, &st) == 0 ? (errno = EEXIST, -1) : rename(r->temporary, r->path);
    }
    return !failed || error_set(err, "%s: cannot rename to it: %s", r->path, strerror(errno));
}

bool run_folder_commit(struct run_folder *r, const char *summary, struct error *err)
{
    bool ok = true;
    if (r->writing) {
        ok = safetensors_commit(&r->tokens, err);
        r->writing = false;
    }
    char *path = ok ? file_join(r->temporary, summary_name, err) : NULL;
    ok = path && file_write(path, summary, strlen(summary), err);
    free(path);
    if (ok && unlink(r->state) != 0 && errno != ENOENT)
        ok = error_set(err, "%s: cannot remove: %s", r->state, strerror(errno));
    ok = ok && rename_to_place(r, err);
    if (ok) {
        free(r->temporary);
        r->temporary = NULL;
    }
    run_folder_abandon(r);
    return ok;
}

void run_folder_abandon(struct run_folder *r)
{
    if (r->writing)
        safetensors_abandon(&r->tokens);
    if (r->temporary && r->lock && !run_folder_has_state(r)) {
        remove_file(r->temporary, tokens_name);
        remove_file(r->temporary, summary_name);
        rmdir(r->temporary);
    }
    if (r->lock)
        close(r->lock);
    free(r->staging);
    free(r->temporary);
    free(r->state);
    free(r->path);
    *r = (struct run_folder){ 0 };
}
