#include "eval/run/run_folder.h"

#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "base/output_folder.h"

enum column { POSITION, WINDOW, ID, NLL, TOP1, LOGSUMEXP, HIDDEN, N_COLUMNS };
_Static_assert(HIDDEN == RUN_FOLDER_COLUMNS, "hidden, which is optional, comes last");

const struct run_folder_column run_folder_columns[RUN_FOLDER_COLUMNS] = {
    [POSITION] = { "position", DTYPE_I32 },
    [WINDOW] = { "window", DTYPE_I32 },
    [ID] = { "id", DTYPE_I32 },
    [NLL] = { "nll", DTYPE_F64 },
    [TOP1] = { "top1", DTYPE_I32 },
    [LOGSUMEXP] = { "logsumexp", DTYPE_F32 },
};

static enum dtype hidden_dtype(enum surprisal_hidden hidden)
{
    return hidden == SURPRISAL_HIDDEN_BF16 ? DTYPE_BF16 : DTYPE_F32;
}

size_t run_folder_bytes(size_t scored, enum surprisal_hidden hidden, size_t hidden_size)
{
    bool keeps = hidden != SURPRISAL_HIDDEN_NONE;
    size_t row = keeps ? hidden_size * dtype_bytes(hidden_dtype(hidden)) : 0;
    for (int i = 0; i < HIDDEN; i++)
        row += dtype_bytes(run_folder_columns[i].dtype);
    return scored * row;
}

static size_t n_columns(const struct run_folder *r)
{
    return r->hidden == SURPRISAL_HIDDEN_NONE ? HIDDEN : N_COLUMNS;
}

bool run_folder_begin(struct run_folder *r, const char *path, size_t scored,
                      enum surprisal_hidden hidden, size_t hidden_size, bool resume,
                      struct error *err)
{
    struct safetensors_entry entries[N_COLUMNS];
    for (int i = 0; i < HIDDEN; i++)
        entries[i] = (struct safetensors_entry){ run_folder_columns[i].name,
                                                 run_folder_columns[i].dtype, 1, { scored } };
    entries[HIDDEN] = (struct safetensors_entry){
        "hidden", hidden_dtype(hidden), 2, { scored, hidden_size },
    };
    *r = (struct run_folder){ .path = mem_string(path, err), .hidden = hidden,
                              .hidden_size = hidden_size };
    if (!r->path || (!resume && !output_folder_make(path, err)))
        return false;
    char *tokens = file_join(path, RUN_TOKENS, err);
    size_t n = n_columns(r);
    r->writing = tokens
              && (resume ? safetensors_reopen(&r->tokens, tokens, entries, n, err)
                         : safetensors_create_in_place(&r->tokens, tokens, entries, n, err));
    free(tokens);
    for (size_t i = 0; r->writing && i < n; i++)
        if (!(r->rows[i] = digest_begin(err)))
            return false;
    return r->writing;
}

bool run_folder_read_nll(const struct run_folder *r, size_t row, size_t n, double *nll,
                         struct error *err)
{
    return safetensors_read_back(&r->tokens, NLL, row * sizeof *nll, nll, n * sizeof *nll, err);
}

bool run_folder_sync(struct run_folder *r, struct error *err)
{
    return output_file_sync(&r->tokens.out, err);
}

/* Appends bytes to a column. */
static bool append(struct run_folder *r, enum column column, size_t offset, const void *bytes,
                   size_t n, struct error *err)
{
    return safetensors_write(&r->tokens, column, offset, bytes, n, err)
        && digest_update(r->rows[column], bytes, n, err);
}

static bool write_hidden(struct run_folder *r, size_t row, size_t n, const float *hidden,
                         struct error *err)
{
    size_t D = r->hidden_size;
    if (r->hidden == SURPRISAL_HIDDEN_F32)
        return append(r, HIDDEN, row * D * sizeof *hidden, hidden, n * D * sizeof *hidden, err);
    if (!mem_grow(&r->staging, &r->staging_bytes, D * sizeof(uint16_t), 1, "a column", err))
        return false;
    uint16_t *bf16 = r->staging;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < D; j++)
            bf16[j] = bf16_of(hidden[i * D + j]);
        if (!append(r, HIDDEN, (row + i) * D * sizeof *bf16, bf16, D * sizeof *bf16, err))
            return false;
    }
    return true;
}

/* Writes elements of `size` bytes to a column; they lie `stride` bytes apart, the first at
 * `from`. */
static bool write_column(struct run_folder *r, enum column column, size_t row, size_t n,
                         const void *from, size_t stride, size_t size, struct error *err)
{
    if (!mem_grow(&r->staging, &r->staging_bytes, n * size, 1, "a column", err))
        return false;
    for (size_t i = 0; i < n; i++)
        memcpy((char *)r->staging + i * size, (const char *)from + i * stride, size);
    return append(r, column, row * size, r->staging, n * size, err);
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

#define DIGEST_PIECE ((size_t)1 << 20)

/* Hashes the first n_bytes of a column. */
static bool digest_column(const struct run_folder *r, size_t column, size_t n_bytes,
                          struct digest_stream *s, void *piece, struct error *err)
{
    for (size_t at = 0, n; at < n_bytes; at += n) {
        n = size_min(DIGEST_PIECE, n_bytes - at);
        if (!safetensors_read_back(&r->tokens, column, at, piece, n, err)
            || !digest_update(s, piece, n, err))
            return false;
    }
    return true;
}

/* The digest of the columns [first, last). */
static bool digest_columns(const struct run_folder *r, size_t first, size_t last,
                           struct digest *out, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    void *piece = s ? mem_array(DIGEST_PIECE, 1, "a column", err) : NULL;
    bool ok = piece != NULL;
    for (size_t i = first; ok && i < last; i++)
        ok = digest_column(r, i, r->tokens.n_bytes[i], s, piece, err);
    free(piece);
    return digest_end(s, ok ? out : NULL, err) && ok;
}

bool run_folder_digests(const struct run_folder *r, struct run_digests *out, struct error *err)
{
    *out = (struct run_digests){
        .has_tokens = true, .has_hidden = r->hidden != SURPRISAL_HIDDEN_NONE,
    };
    return digest_columns(r, 0, HIDDEN, &out->tokens, err)
        && (!out->has_hidden || digest_columns(r, HIDDEN, N_COLUMNS, &out->hidden, err));
}

bool run_folder_rows(const struct run_folder *r, struct digest *out, struct error *err)
{
    struct digest columns[N_COLUMNS];
    for (size_t i = 0; i < n_columns(r); i++)
        if (!digest_so_far(r->rows[i], &columns[i], err))
            return false;
    return digest_of(out, columns, n_columns(r) * sizeof *columns, err);
}

bool run_folder_reread(struct run_folder *r, size_t rows, const struct digest *expected,
                       struct error *err)
{
    struct digest found;
    void *piece = mem_array(DIGEST_PIECE, 1, "a column", err);
    bool ok = piece != NULL;
    for (size_t i = 0; ok && i < n_columns(r); i++) {
        size_t width = i == HIDDEN ? r->hidden_size * dtype_bytes(hidden_dtype(r->hidden))
                                   : dtype_bytes(run_folder_columns[i].dtype);
        ok = digest_column(r, i, rows * width, r->rows[i], piece, err);
    }
    free(piece);
    return ok && run_folder_rows(r, &found, err)
        && (memcmp(&found, expected, sizeof found) == 0
            || error_set(err, "%s: its first %zu rows are not those of the interrupted run",
                         r->tokens.out.path, rows));
}

bool run_folder_commit(struct run_folder *r, const char *summary, struct error *err)
{
    bool ok = safetensors_commit(&r->tokens, err);
    r->writing = false;
    char *path = ok ? file_join(r->path, RUN_SUMMARY, err) : NULL;
    ok = path && output_file_write(path, summary, strlen(summary), err);
    free(path);
    run_folder_abandon(r);
    return ok;
}

void run_folder_abandon(struct run_folder *r)
{
    if (r->writing)
        safetensors_abandon(&r->tokens);
    for (size_t i = 0; i < N_COLUMNS; i++)
        digest_end(r->rows[i], NULL, NULL);
    free(r->staging);
    free(r->path);
    *r = (struct run_folder){ 0 };
}
