/* ranks.h - one evaluation by several ranks: the bytes of the run in one process, and its folder.
 *
 *     every rank                                  rank 0
 *     says which machine it is on        ------>  counts ranks that share memory and processors
 *     reads text and config              ------>  compares settings, begins the folder
 *     scores one part after another      <----->  sends a part to whoever is free
 *                                                 joins the parts
 *
 * Rank 0 writes the run and the others write their parts into its folder by ordinary files
 * (surprisal_division), not by MPI-IO: so each part is durable by itself, resumes like any run, and
 * is joined by the code of `merge`, in one order.  Parts go to whoever is free: thus fast and slow
 * ranks, short and long parts even out by the time that they really take.  Rank 0 scores, too: it
 * looks for messages while it computes, as all ranks do, from the progress callback.
 *
 * Ranks of a machine map the same files, so the page cache holds one copy of the weights, read from
 * disk once, without windows of shared memory.  Each takes its share of --memory, or of the free
 * memory, and as many threads as its own affinity mask has, divided by the ranks with the same
 * mask.
 *
 * A rank that fails, is asked to stop by a signal or is silent stops all: the others save what they
 * have, and the error names the rank. */
#ifndef SURPRISAL_CLUSTER_RANKS_H
#define SURPRISAL_CLUSTER_RANKS_H

#include "cluster/launch.h"

struct ranks_request {
    const struct launch *launch;        /* NULL: this process alone goes on with a division */
    const struct surprisal_eval_options *eval;
    bool mixed;                         /* ranks may have several instruction sets */
};

/* In rank 0, *merged is the run, released with surprisal_merged_free, or err says what failed and
 * in which rank.  In the others *merged stays empty, and a failure has no message: it is not theirs
 * to tell. */
bool ranks_eval(const struct ranks_request *request, struct surprisal_merged *merged,
                struct surprisal_error *err);

#endif
