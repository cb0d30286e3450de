/* verify_folder.h - a checkpoint folder opened for what can be read of it.
 *
 * checkpoint_open refuses a folder at its first fault; this lists every fault and goes on with the
 * rest: files that cannot be read are left out, a tensor that the index looks for in the wrong file
 * is taken from the right one, and without a usable index the headers decide. */
#ifndef SURPRISAL_VERIFY_VERIFY_FOLDER_H
#define SURPRISAL_VERIFY_VERIFY_FOLDER_H

#include "formats/weight_list.h"
#include "verify/verify_findings.h"

struct verify_folder {
    struct checkpoint ck;       /* owned; config_json NULL when it could not be read */
    bool has_config;            /* ck.config was read */
    const char *prefix;         /* of the text model's names */
    char **lost;                /* owned [n_lost]: tensors whose loss a finding has named */
    size_t n_lost, n_sorted, lost_capacity;
};

/* Fails only where there is no folder to look into, or memory or descriptors are out. */
bool verify_folder_open(struct verify_folder *f, const char *path, struct findings *found,
                        struct error *err);
void verify_folder_close(struct verify_folder *f);
/* Adds a lost tensor, which is_lost knows from the next sort_lost on. */
bool verify_folder_lose(struct verify_folder *f, const char *tensor, struct error *err);
void verify_folder_sort_lost(struct verify_folder *f);
bool verify_folder_is_lost(const struct verify_folder *f, const char *tensor);
/* Any tensor that could hold a weight. */
bool verify_folder_is_lost_weight(const struct verify_folder *f, const char *weight);

/* All tensors as weights (formats/weight_list.h); faults are findings.  found: NULL where they do not
 * matter. */
bool verify_folder_list(struct weight_list *out, struct verify_folder *f, struct findings *found,
                        struct error *err);
/* Presence, shape and dtype of every weight that the config asks for, and what it does not ask for.  Adds
 * what is missing to the lost tensors. */
bool verify_folder_match(struct verify_folder *f, struct weight_list *w, struct findings *found,
                         struct error *err);

#endif
