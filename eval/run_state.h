/* run_state.h - what an interrupted run leaves, so that --resume goes on from there.
 *
 * One safetensors file in the folder under construction (run_folder.h), replaced as a whole by each
 * save: `settings` U8 (lines "key: value" of all that decides the result, compared line by line),
 * `numbers` I64 (where the run stands), `seconds` F64, `tensors` U8 [n, 33] (weights_hash_known) and
 * `x` F32 [rows, hidden_size], the residual stream.  The scores of earlier passes are in
 * tokens.safetensors beside it. */
#ifndef SURPRISAL_EVAL_RUN_STATE_H
#define SURPRISAL_EVAL_RUN_STATE_H

#include "engine/engine.h"
#include "formats/safetensors.h"

struct run_state {
    struct engine_state engine;         /* x borrows from file */
    double seconds;                     /* that the run has taken */
    const uint8_t *known;               /* [w->n_tensors * WEIGHTS_KNOWN_BYTES]; borrows from file */
    struct safetensors_file file;       /* owned */
};

/* known: [n_tensors * WEIGHTS_KNOWN_BYTES]. */
bool run_state_save(const char *path, const char *settings, const struct engine_state *state,
                    double seconds, const uint8_t *known, size_t n_tensors, size_t hidden_size,
                    struct error *err);
/* Refuses a state of other settings (naming the first that differs), of another checkpoint's shape,
 * or a damaged one. */
bool run_state_load(struct run_state *s, const char *path, const char *settings, size_t n_tensors,
                    size_t hidden_size, struct error *err);
void run_state_close(struct run_state *s);

#endif
