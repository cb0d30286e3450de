/* plan_folders.h - the run folders that `eval --plan` wrote into one folder, and those of two. */
#ifndef SURPRISAL_EVAL_RUN_PLAN_FOLDERS_H
#define SURPRISAL_EVAL_RUN_PLAN_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct plan_pair {
    char *name;                         /* owned: of the subfolder, "strided-2048-512" */
    bool in_a, in_b;                    /* at least one of them */
};

/* Zero-initialise; release with plan_pairs_free. */
struct plan_pairs {
    struct plan_pair *list;             /* owned [n]; by name, numbers in it by value */
    size_t n, capacity;
};

/* A folder is one of plans when it is no run folder itself and holds at least one. */
bool plan_folders_in(const char *folder);

/* The subfolders of a and b that hold a run folder's summary.json, paired by name.  b may be NULL:
 * then only a's.  Refuses a folder that cannot be read or holds none.  The folders' content is not
 * looked at. */
bool plan_pairs_find(struct plan_pairs *p, const char *a, const char *b, struct error *err);
void plan_pairs_free(struct plan_pairs *p);

#endif
