/* run_state.h - the state of an interrupted run, from which --resume continues.
 *
 * A safetensors file in the folder under construction (run_folder.h has a picture); each save
 * replaces the whole file: `settings` U8 (lines "key: value" of everything that decides the result,
 * compared line by line), `numbers` I64 (pass, layer and row that the run has reached), `seconds`
 * F64, `tensors` U8 [n, 33] (weights_hash_known), `rows` U8 [runs, 32] (run_folder_rows of each run
 * folder), `left_out` I64 [n, 7] (the windows that are left out so far: left_out.h), `x` F32 [rows,
 * hidden_size] (the residual stream), and `sha256` U8 [32] of all these.
 * The scores of earlier passes are in tokens.safetensors in the same folder. */
#ifndef SURPRISAL_EVAL_RUN_RUN_STATE_H
#define SURPRISAL_EVAL_RUN_RUN_STATE_H

#include "base/digest.h"
#include "engine/types.h"
#include "eval/run/left_out.h"
#include "formats/safetensors.h"
#include "formats/weights.h"

/* The run that a state belongs to: the same for the process that saves and the one that loads. */
struct run_state_of {
    const char *settings;
    size_t n_tensors, n_runs, n_windows, hidden_size;
    int n_threads;                      /* for the hash of x */
};

struct run_state {
    struct engine_state engine;         /* x borrows from file */
    double seconds;                     /* run time until now */
    const uint8_t *known;               /* [n_tensors * WEIGHTS_KNOWN_BYTES]; borrows from file */
    const uint8_t *rows;                /* [n_runs * DIGEST_BYTES]; borrows from file */
    struct safetensors_file file;       /* owned */
    /* To save: [n_windows] of the run; NULL: none is left out.  Loaded: owned, NULL as well. */
    struct nonfinite *nonfinite;
};

/* s->file is not used. */
bool run_state_save(const char *path, const struct run_state_of *of, const struct run_state *s,
                    struct error *err);
/* Refuses a state with other settings (the error names the first that differs), with the shape of
 * another checkpoint, or with any byte changed since it was saved. */
bool run_state_load(struct run_state *s, const char *path, const struct run_state_of *of,
                    struct error *err);
void run_state_close(struct run_state *s);

#endif
