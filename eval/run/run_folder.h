/* run_folder.h - the folder of a run: summary.json and tokens.safetensors.
 *
 * The life of a run, from a text to its folder (evaluate.c makes these steps):
 *
 *     text --> ids --> windows                         input.h, sequence.h, protocol.h
 *                         |
 *      .------------------'
 *      |   pass 1 of n: as many windows as the memory budget allows
 *      |       layer 0 .. last: x += layer(x)          engine.h; from time to time the residual
 *      |       head: scores of the windows' targets    stream x is saved in a state (run_state.h)
 *      |   pass 2 ...
 *      v
 *     OUT.partial/                      under construction: unfinished_run.h
 *         surprisal-state.json          the mark: the settings of the run
 *         state.safetensors             where to resume: run_state.h
 *         tokens.safetensors            scores, written in place after each pass
 *         summary.json                  figures and digests, written last
 *      |
 *      |   state removed, folder renamed: output_folder.h
 *      v
 *     OUT/                              finished; never written again
 *         tokens.safetensors
 *         summary.json ------------->   record.h reads it again and checks every digest
 *
 * A run of several plans has one such folder for each plan in OUT.partial, and later in OUT
 * ("OUT/llama-512/"), but one mark and one state.  When the process dies, OUT.partial stays:
 * --resume continues from the state, or, if summary.json is there, only renames the folder.
 *
 * This module writes one run folder inside OUT.partial.  One of commit and abandon must be called.
 *
 * tokens.safetensors has one row for each scored token, in text order: position I32 (index in the
 * ids, without prefix tokens), window I32, id I32, nll F64 (nats), top1 I32, logsumexp F32, and on
 * request hidden [scored, hidden_size] F32 or BF16 (rounded to nearest, ties to even).
 *
 * The summary states two digests (SHA-256), and record.h checks them: one of the bytes of all
 * columns but hidden, one after another in the order above, so that equal scores give equal digests
 * with and without hidden states; one of the bytes of hidden. */
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
    void *staging;                      /* owned; a part of one column */
    size_t staging_bytes;
    struct digest_stream *rows[RUN_FOLDER_COLUMNS + 1];     /* owned; a digest of each column */
};

struct run_digests {
    bool has_tokens, has_hidden;        /* false: no such column */
    struct digest tokens, hidden;
};

/* The columns that the digest of tokens covers, in its order. */
extern const struct run_folder_column {
    const char *name;
    enum dtype dtype;
} run_folder_columns[RUN_FOLDER_COLUMNS];

/* The place of a scored token. */
struct token_place {
    int32_t position, window, id;
};

/* The size of tokens.safetensors without its header. */
size_t run_folder_bytes(size_t scored, enum surprisal_hidden hidden, size_t hidden_size);

/* Creates the folder if needed, and tokens.safetensors in it with its whole space, so that a full
 * disk shows before the work.  resume: opens the tokens.safetensors of an earlier process instead;
 * refused if it is missing or has another size or header. */
bool run_folder_begin(struct run_folder *r, const char *path, size_t scored,
                      enum surprisal_hidden hidden, size_t hidden_size, bool resume,
                      struct error *err);
/* Reads back the first rows, which an earlier process added; refused unless run_folder_rows gives
 * the expected digest.  Call it before adding anything. */
bool run_folder_reread(struct run_folder *r, size_t rows, const struct digest *expected,
                       struct error *err);
/* A digest of all rows added so far. */
bool run_folder_rows(const struct run_folder *r, struct digest *out, struct error *err);
/* Reads the NLL of rows [row, row + n), which an earlier process may have added. */
bool run_folder_read_nll(const struct run_folder *r, size_t row, size_t n, double *nll,
                         struct error *err);
/* Makes all added rows durable: call it before saving a state that counts them. */
bool run_folder_sync(struct run_folder *r, struct error *err);
/* Adds the next rows, [row, row + n); hidden [n, hidden_size] may be NULL when it is not kept. */
bool run_folder_add(struct run_folder *r, size_t row, size_t n, const struct token_place *places,
                    const struct engine_score *scores, const float *hidden, struct error *err);
/* Computes the digests, reading back all rows, also those of an earlier process. */
bool run_folder_digests(const struct run_folder *r, struct run_digests *out, struct error *err);
/* Writes summary.json with this text. */
bool run_folder_commit(struct run_folder *r, const char *summary, struct error *err);
/* The files stay: unfinished_run.h decides whether to remove them. */
void run_folder_abandon(struct run_folder *r);

#endif
