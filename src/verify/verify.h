/* verify.h - one check of a checkpoint, by itself or against the original it was made from.
 *
 * Every file, tensor and value is looked at, and every fault listed; what cannot be read is a
 * finding and the rest is still checked.  Fails only when there is nothing to check, memory is out,
 * a file changes under it, or it is interrupted. */
#ifndef SURPRISAL_VERIFY_VERIFY_H
#define SURPRISAL_VERIFY_VERIFY_H

#include "verify/verify_download.h"
#include "verify/verify_scan.h"

struct verify_result {
    struct verify_folder folder;
    struct verify_folder original;      /* when has_original */
    bool has_original;
    struct weight_list weights, original_weights;
    struct tally *tallies;              /* owned [weights.n] */
    struct findings findings;
    struct verify_download download;
    bool lists_all;                     /* a line for each finding, also for those that repeat */
    double seconds;
};

/* against: NULL for none.  verify_free after success only. */
bool verify_checkpoint(struct verify_result *out, const char *checkpoint, const char *against,
                       int n_threads, const struct progress *progress, struct error *err);
void verify_free(struct verify_result *r);

#endif
