/* unfinished_run.h - the folder of an unfinished run, OUT.partial (base/output_folder.h).
 *
 * It holds one run folder (run_folder.h has a picture) or a subfolder for each plan, and for
 * --resume a state (run_state.h).  Its mark holds the settings of the run, so that --resume
 * recognizes a folder of another run.  A folder with a state, or with a summary (which is written
 * last), is worth resuming. */
#ifndef SURPRISAL_EVAL_RUN_UNFINISHED_RUN_H
#define SURPRISAL_EVAL_RUN_UNFINISHED_RUN_H

#include "base/output_folder.h"

/* Zero-initialise: then abandon is fine before begin, too. */
struct unfinished_run {
    struct output_folder building;
    const char *folder;                 /* OUT.partial; borrows from building */
    char *state;                        /* owned: path of the state, which may not exist */
    bool keep;                          /* abandon removes nothing */
};

/* As output_folder_begin.  If an interrupted run left a folder that is worth resuming, takes it
 * over with `resume`, and refuses it without; any other leftover is cleared.  One of commit and
 * abandon must be called. */
bool unfinished_run_begin(struct unfinished_run *p, const struct output_request *request,
                          struct error *err);
/* Does the folder hold a state? */
bool unfinished_run_has_state(const struct unfinished_run *p);
/* Refuses a folder taken over from a run with other settings (the error names the first line that
 * differs); in a new folder, writes the settings into the mark. */
bool unfinished_run_settle(struct unfinished_run *p, const char *settings, struct error *err);
/* Removes everything that an earlier process left. */
bool unfinished_run_clear(struct unfinished_run *p, struct error *err);
/* Removes the state and gives the folder its name. */
bool unfinished_run_commit(struct unfinished_run *p, struct error *err);
/* Removes the folder and the runs in it, unless it is worth resuming or `keep` is set. */
void unfinished_run_abandon(struct unfinished_run *p);

/* Does a run write files of this name: "tokens.safetensors", "strided-2048-512/",
 * "llama-512/summary.json"? */
bool unfinished_run_is_ours(void *unused, const char *name);
/* Of a folder that holds runs in folders of names that is_run knows, n bytes: "b1.partial/",
 * "b1/summary.json". */
bool unfinished_run_is_below(const char *name, bool (*is_run)(const char *run, size_t n));

/* Sets an error that names the first line in which two settings ("key: value" lines) differ; always
 * false.  path: the file that holds `then`. */
bool unfinished_run_differs(const char *path, const char *now, const char *then, size_t n_then,
                            struct error *err);

#endif
