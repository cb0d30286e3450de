/* run_state.h - what an interrupted run leaves, so that --resume goes on from there.
 *
 * One safetensors file in the folder under construction (run_folder.h), replaced as a whole by each
 * save: `settings` U8 (lines "key: value" of all that decides the result, compared line by line),
 * `numbers` I64 (where the run stands), `seconds` F64, `tensors` U8 [n, 33] (weights_hash_known), `rows` U8
 * [runs, 32] (run_folder_rows of each run folder), `x` F32 [rows, hidden_size] (the residual stream), and
 * `sha256` U8 [32] of all these.  The scores of earlier passes are in tokens.safetensors beside it. */
#ifndef SURPRISAL_EVAL_RUN_RUN_STATE_H
#define SURPRISAL_EVAL_RUN_RUN_STATE_H

#include "base/digest.h"
#include "engine/types.h"
#include "formats/safetensors.h"
#include "formats/weights.h"

/* What a state is of: the same for the process that saves and the one that loads. */
struct run_state_of {
    const char *settings;
    size_t n_tensors, n_runs, hidden_size;
    int n_threads;                      /* that hash x */
};

struct run_state {
    struct engine_state engine;         /* x borrows from file */
    double seconds;                     /* that the run has taken */
    const uint8_t *known;               /* [n_tensors * WEIGHTS_KNOWN_BYTES]; borrows from file */
    const uint8_t *rows;                /* [n_runs * DIGEST_BYTES]; borrows from file */
    struct safetensors_file file;       /* owned */
};

/* Of s the file is not used. */
bool run_state_save(const char *path, const struct run_state_of *of, const struct run_state *s,
                    struct error *err);
/* Refuses a state of other settings (naming the first that differs), of another checkpoint's shape,
 * or one that is not, byte for byte, what was saved. */
bool run_state_load(struct run_state *s, const char *path, const struct run_state_of *of,
                    struct error *err);
void run_state_close(struct run_state *s);

#endif
