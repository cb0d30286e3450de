/* sequence_state.h - what a model remembers of one sequence: keys and values of its full attention,
 * matrices and windows of its delta nets (model/attention.h, model/delta_net.h).
 *
 * Owned by whoever runs the sequence; a decoder (decoder.h) adds tokens to it.  Keys and values
 * have addresses for `capacity` tokens from the beginning, but the system gives memory only to
 * those that are used. */
#ifndef SURPRISAL_DECODE_SEQUENCE_STATE_H
#define SURPRISAL_DECODE_SEQUENCE_STATE_H

#include "base/memory.h"
#include "model/attention.h"
#include "model/delta_net.h"

/* Zero-initialise; release with sequence_state_close. */
struct sequence_state {
    struct attention_state *attention;      /* owned [L]; zero in layers of the other type */
    struct delta_net_state *delta_net;      /* owned [L]; the same */
    struct arena memory;
    size_t n_past;                          /* tokens so far */
    size_t capacity;
};

/* Memory of a state that is full; SIZE_MAX when it cannot be had. */
size_t sequence_state_bytes(const struct config *c, size_t capacity);
bool sequence_state_open(struct sequence_state *s, const struct config *c, size_t capacity,
                         struct error *err);
void sequence_state_close(struct sequence_state *s);
/* No tokens again. */
void sequence_state_clear(struct sequence_state *s, const struct config *c);

#endif
