/* snapshot.h - a sequence as it was some tokens ago, to go on from there.
 *
 * Keys and values of earlier tokens stay where they are in the sequence's state (sequence_state.h);
 * what delta nets forget as they go on is copied here.  A state goes back to a snapshot as long as
 * it was only added to since: not after sequence_state_clear. */
#ifndef SURPRISAL_DECODE_SNAPSHOT_H
#define SURPRISAL_DECODE_SNAPSHOT_H

#include "decode/sequence_state.h"

/* Zero-initialise; release with snapshot_close. */
struct snapshot {
    struct delta_net_state *delta_net;  /* owned [L]; zero in layers of full attention */
    struct arena memory;
    size_t n_past;                      /* tokens; 0: nothing was taken */
};

/* Memory of a snapshot; SIZE_MAX when it cannot be had. */
size_t snapshot_bytes(const struct config *c);
bool snapshot_open(struct snapshot *snapshot, const struct config *c, struct error *err);
void snapshot_close(struct snapshot *snapshot);

void snapshot_take(struct snapshot *snapshot, const struct sequence_state *s,
                   const struct config *c);
/* Takes the state back to the snapshot, also one that an interruption has left unfinished. */
void snapshot_restore(const struct snapshot *snapshot, struct sequence_state *s,
                      const struct config *c);

#endif
