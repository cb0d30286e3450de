/* verify_judge.h - from what was counted to what is wrong. */
#ifndef SURPRISAL_VERIFY_VERIFY_JUDGE_H
#define SURPRISAL_VERIFY_VERIFY_JUDGE_H

#include "verify/verify_scan.h"

/* Rounding to the nearest E2M1 under a scale that fits each block's largest weight gives 16 to 20
 * dB for weights of any usual distribution; another expert's weights give -3, zeros 0. */
#define VERIFY_LOW_SQNR 10.0

/* Values of this checkpoint and, when `original` is given, against it; tallies: [w->n]. */
bool verify_judge(const struct tally *tallies, const struct weight_list *w,
                  const struct weight_list *original, struct findings *found, struct error *err);

/* Which weights there are here and there, and their shapes and dtypes. */
bool verify_judge_names(const struct verify_folder *f, const struct weight_list *w,
                        const struct verify_folder *original_folder,
                        const struct weight_list *original, struct findings *found,
                        struct error *err);

#endif
