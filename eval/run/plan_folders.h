/* plan_folders.h - finds the finished run folders that `eval --plan` wrote into one folder, and
 * pairs those of two. */
#ifndef SURPRISAL_EVAL_RUN_PLAN_FOLDERS_H
#define SURPRISAL_EVAL_RUN_PLAN_FOLDERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct plan_pair {
    char *name;                         /* owned: of the subfolder, "strided-2048-512" */
    bool in_a, in_b;                    /* at least one of them */
};

/* Zero-initialise; release with plan_folders_free. */
struct plan_pairs {
    struct plan_pair *list;             /* owned [n]; sorted by name, numbers by value */
    size_t n, capacity;
};

/* Is it a folder of plans: not a run folder itself, but with at least one in it? */
bool plan_folders_in(const char *folder);

/* Pairs the subfolders of a and b that hold a summary.json by their names; b NULL: lists those of
 * a.  Refuses a folder that cannot be read or holds none.  Does not look into the run folders. */
bool plan_folders_pair(struct plan_pairs *p, const char *a, const char *b, struct error *err);
void plan_folders_free(struct plan_pairs *p);

#endif
