/* verify_folder.h - a checkpoint opened for what can be read of it.
 *
 * checkpoint_open refuses a checkpoint at its first fault; this makes a finding of every fault and
 * goes on with the rest.  What is missing because of a fault that has been named is no finding of
 * its own. */
#ifndef SURPRISAL_VERIFY_VERIFY_FOLDER_H
#define SURPRISAL_VERIFY_VERIFY_FOLDER_H

#include "formats/weight_list.h"
#include "verify/verify_findings.h"

struct verify_folder {
    struct checkpoint ck;       /* owned */
    const char *prefix;         /* of the text model's names */
    char **lost;                /* owned [n_lost]: tensors whose loss a finding has named */
    size_t n_lost, n_sorted, lost_capacity;
    bool may_lack_any;          /* a file cannot be read, and nothing says what was in it */
};

/* Fails only where there is no checkpoint to look into, or memory or descriptors are out. */
bool verify_folder_open(struct verify_folder *f, const char *path, struct findings *found,
                        struct error *err);
void verify_folder_close(struct verify_folder *f);
/* A finding has named, or explains, the loss of a tensor that could hold the weight. */
bool verify_folder_is_lost_weight(const struct verify_folder *f, const char *weight);

/* All tensors as weights (formats/weight_list.h); faults are findings.  found: NULL where they do
 * not matter. */
bool verify_folder_list(struct weight_list *out, struct verify_folder *f, struct findings *found,
                        struct error *err);
/* Presence, shape and dtype of every weight that the config asks for, and what it does not ask
 * for.  Adds what is missing to the lost tensors. */
bool verify_folder_match(struct verify_folder *f, struct weight_list *w, struct findings *found,
                         struct error *err);

#endif
