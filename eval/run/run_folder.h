/* run_folder.h - what a run leaves in a folder: summary.json and tokens.safetensors.
 *
 * The folder is under construction (partial.h) until all is complete: the files are written in place.
 * One of commit and abandon must be called.
 *
 * tokens.safetensors, one row a scored token in text order: position I32 (index in the ids, without
 * prefix tokens), window I32, id I32, nll F64 (nats), top1 I32, logsumexp F32, and hidden
 * [scored, hidden_size] F32 or BF16 (rounded to nearest, ties to even) when it is asked for.
 *
 * Digests (SHA-256), which the summary states and record.h checks: of the bytes of all columns but
 * hidden, one after another in the order above, so that equal scores give equal digests with hidden
 * states or without; and of the bytes of hidden. */
#ifndef SURPRISAL_EVAL_RUN_RUN_FOLDER_H
#define SURPRISAL_EVAL_RUN_RUN_FOLDER_H

#include "base/digest.h"
#include "engine/types.h"
#include "formats/safetensors.h"
#include "surprisal.h"

#define RUN_TOKENS  "tokens.safetensors"
#define RUN_SUMMARY "summary.json"
#define RUN_FOLDER_COLUMNS 6            /* without hidden */

/* Zero-initialise, so that abandoning one that was never begun is fine. */
struct run_folder {
    char *path;                         /* owned */
    struct safetensors_writer tokens;   /* owned while writing */
    bool writing;
    enum surprisal_hidden hidden;
    size_t hidden_size;
    void *staging;                      /* owned; a piece of one column */
    size_t staging_bytes;
    struct digest_stream *rows[RUN_FOLDER_COLUMNS + 1];     /* owned; of each column, as it grows */
};

struct run_digests {
    bool has_tokens, has_hidden;        /* false: not kept */
    struct digest tokens, hidden;
};

/* The columns that the digest of tokens covers, in its order. */
extern const struct run_folder_column {
    const char *name;
    enum dtype dtype;
} run_folder_columns[RUN_FOLDER_COLUMNS];

/* Where a scored token stands. */
struct token_place {
    int32_t position, window, id;
};

/* Of tokens.safetensors, but for its header. */
size_t run_folder_bytes(size_t scored, enum surprisal_hidden hidden, size_t hidden_size);

/* Creates the folder where it is not there yet and tokens.safetensors in it, with its space, so that a
 * disk too small shows before the work.  resume: opens the tokens.safetensors that an earlier process left, or
 * refuses one that is missing or has another size or header. */
bool run_folder_begin(struct run_folder *r, const char *path, size_t scored,
                      enum surprisal_hidden hidden, size_t hidden_size, bool resume,
                      struct error *err);
/* Reads the first rows back, which an earlier process added; they are refused when run_folder_rows said
 * another digest of them.  Before anything is added. */
bool run_folder_take_rows(struct run_folder *r, size_t rows, const struct digest *expected,
                          struct error *err);
/* A digest of all rows that were added so far, in order from the first. */
bool run_folder_rows(const struct run_folder *r, struct digest *out, struct error *err);
/* The NLL of rows [row, row + n) that an earlier process added. */
bool run_folder_read_nll(const struct run_folder *r, size_t row, size_t n, double *nll,
                         struct error *err);
/* Makes durable what was added, before a state says so. */
bool run_folder_sync(struct run_folder *r, struct error *err);
/* Rows [row, row + n), the next ones; hidden [n, hidden_size] may be NULL when it is not kept. */
bool run_folder_add(struct run_folder *r, size_t row, size_t n, const struct token_place *places,
                    const struct engine_score *scores, const float *hidden, struct error *err);
/* Reads back all that was added, also by an earlier process. */
bool run_folder_digests(const struct run_folder *r, struct run_digests *out, struct error *err);
/* summary: the text of summary.json. */
bool run_folder_commit(struct run_folder *r, const char *summary, struct error *err);
/* What was written stays; the folder around it decides. */
void run_folder_abandon(struct run_folder *r);

#endif
