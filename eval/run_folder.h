/* run_folder.h - the folder that a run leaves: summary.json and tokens.safetensors.
 *
 * It is built as PATH.partial and renamed at the end, so at `path` there stands either nothing or a
 * complete result.  One of commit and abandon must be called.  What is under construction is locked:
 * a second run with the same path is refused.  A state (run_state.h) in it outlives the process.
 *
 * tokens.safetensors, one row a scored token in text order: position I32 (index in the ids, without
 * prefix tokens), window I32, id I32, nll F64 (nats), top1 I32, logsumexp F32, and hidden
 * [scored, hidden_size] F32 or BF16 (rounded to nearest, ties to even) when it is asked for. */
#ifndef SURPRISAL_EVAL_RUN_FOLDER_H
#define SURPRISAL_EVAL_RUN_FOLDER_H

#include "engine/engine.h"
#include "formats/safetensors.h"
#include "surprisal.h"

/* Zero-initialise, so that abandoning one that was never begun is fine. */
struct run_folder {
    char *path, *temporary;             /* owned */
    char *state;                        /* owned: path of the state in it, there or not */
    int lock;                           /* descriptor of the folder, or 0 */
    struct safetensors_writer tokens;   /* owned while writing */
    bool writing;
    enum surprisal_hidden hidden;
    size_t hidden_size;
    void *staging;                      /* owned; a piece of one column */
    size_t staging_bytes;
};

/* Where a scored token stands. */
struct token_place {
    int32_t position, window, id;
};

/* Refuses a path at which something stands, or a parent in which nothing can be created.  What an
 * interrupted run left is taken up with `resume`, and refused without; without a state in it, it is
 * begun anew. */
bool run_folder_begin(struct run_folder *r, const char *path, bool resume, struct error *err);
/* A state stands in the folder. */
bool run_folder_has_state(const struct run_folder *r);
/* Opens tokens.safetensors and reserves its space, so that a disk too small shows before the work. */
bool run_folder_tokens(struct run_folder *r, size_t scored, enum surprisal_hidden hidden,
                       size_t hidden_size, struct error *err);
/* The NLL of rows [row, row + n) that an earlier process added. */
bool run_folder_read_nll(const struct run_folder *r, size_t row, size_t n, double *nll,
                         struct error *err);
/* Makes durable what was added, before a state says so. */
bool run_folder_sync(struct run_folder *r, struct error *err);
/* Rows [row, row + n); hidden [n, hidden_size] may be NULL when it is not kept. */
bool run_folder_add(struct run_folder *r, size_t row, size_t n, const struct token_place *places,
                    const struct engine_score *scores, const float *hidden, struct error *err);
/* summary: the text of summary.json. */
bool run_folder_commit(struct run_folder *r, const char *summary, struct error *err);
/* Removes what is under construction, unless a state stands in it. */
void run_folder_abandon(struct run_folder *r);

#endif
