/* decoder_step.h - the shortest step of a decoder: one token for each sequence. */
#ifndef SURPRISAL_TESTS_DECODER_STEP_H
#define SURPRISAL_TESTS_DECODER_STEP_H

#include <assert.h>

#include "decode/decoder.h"

/* *logits [n, V] borrows from the decoder until its next use. */
__attribute__((unused))
static bool decoder_step(struct decoder *d, struct sequence_state *const *states,
                         const int32_t *ids, size_t n, float **logits, struct error *err)
{
    struct decoder_rows rows[16];
    assert(n <= sizeof rows / sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct decoder_rows){ states[i], &ids[i], 1 };
    return decoder_step_rows(d, rows, n, logits, NULL, err);
}

#endif
