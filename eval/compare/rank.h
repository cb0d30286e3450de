/* rank.h - the job of surprisal_rank: the original and many candidates become run folders
 * (ranked_runs.h), each candidate is compared with the original (compare.h), and the documents of
 * the pairs become a ranking (ranking.h), or one for each plan of the original. */
#ifndef SURPRISAL_EVAL_COMPARE_RANK_H
#define SURPRISAL_EVAL_COMPARE_RANK_H

#include "base/error.h"
#include "base/json.h"
#include "surprisal.h"

/* As surprisal.h documents it. */
bool rank_check(const struct surprisal_rank_options *o, struct error *err);

/* Gives {"rankings": [...]}, to be freed by cJSON_Delete. */
cJSON *rank_run(const struct surprisal_rank_options *o, struct error *err);

#endif
