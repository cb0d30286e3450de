/* partial.h - the folder that a run writes, under construction (base/partial_folder.h).
 *
 * A state (run_state.h) in it outlives the process.  It holds one run folder (run_folder.h), or
 * several as its subfolders. */
#ifndef SURPRISAL_EVAL_PARTIAL_H
#define SURPRISAL_EVAL_PARTIAL_H

#include "base/partial_folder.h"

/* Zero-initialise, so that abandoning one that was never begun is fine. */
struct partial {
    struct partial_folder building;
    const char *folder;                 /* PATH.partial, of building */
    char *state;                        /* owned: path of the state in it, there or not */
};

/* Refuses a path at which something stands, or a parent in which nothing can be created.  What an
 * interrupted run left is taken up with `resume`, and refused without; without a state in it, it is
 * begun anew.  One of commit and abandon must be called. */
bool partial_begin(struct partial *p, const char *path, bool resume, struct error *err);
/* A state stands in the folder. */
bool partial_has_state(const struct partial *p);
/* Removes the state and gives the folder its name. */
bool partial_commit(struct partial *p, struct error *err);
/* Removes the folder and the runs in it, unless a state stands there. */
void partial_abandon(struct partial *p);

#endif
