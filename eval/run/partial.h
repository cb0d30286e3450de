/* partial.h - the folder that a run writes, under construction (base/output_folder.h).
 *
 * It holds one run folder (run_folder.h), or one a plan as its subfolders, and for --resume a state
 * (run_state.h).  Its mark holds the settings of the run, so that what an interrupted one left is told
 * from what another one did.  What is worth going on with: a state, or the summary of a run, which is
 * written last. */
#ifndef SURPRISAL_EVAL_RUN_PARTIAL_H
#define SURPRISAL_EVAL_RUN_PARTIAL_H

#include "base/output_folder.h"

/* Zero-initialise, so that abandoning one that was never begun is fine. */
struct partial {
    struct output_folder building;
    const char *folder;                 /* PATH.partial, of building */
    char *state;                        /* owned: path of the state in it, there or not */
    bool keep;                          /* abandoning leaves everything */
};

/* As output_folder_begin.  What an interrupted run left is taken up with `resume`, and refused without
 * when it is worth going on with; else it is begun anew.  One of commit and abandon must be called. */
bool partial_begin(struct partial *p, const struct output_request *request, struct error *err);
/* A state stands in the folder. */
bool partial_has_state(const struct partial *p);
/* Refuses what was taken over when it is of a run with other settings, naming the first line that
 * differs; else notes them. */
bool partial_settle(struct partial *p, const char *settings, struct error *err);
/* Removes all that an earlier process left. */
bool partial_clear(struct partial *p, struct error *err);
/* Removes the state and gives the folder its name. */
bool partial_commit(struct partial *p, struct error *err);
/* Removes the folder and the runs in it, unless something in it is worth going on with, or it is to be
 * kept. */
void partial_abandon(struct partial *p);

/* Is a name in a folder of run folders one that a run writes: "tokens.safetensors", "strided-2048-512/",
 * "llama-512/summary.json"? */
bool partial_is_ours(void *unused, const char *name);

/* Names the first line in which two settings ("key: value" lines) differ; always false.  path: where
 * `then` was found. */
bool settings_differ(const char *path, const char *now, const char *then, size_t n_then,
                     struct error *err);

#endif
