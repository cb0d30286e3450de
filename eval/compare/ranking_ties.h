/* ranking_ties.h - which candidates of a ranking cannot be told apart by their divergence from the
 * original (ranking.h: `ties`, `tied_with`). */
#ifndef SURPRISAL_EVAL_COMPARE_RANKING_TIES_H
#define SURPRISAL_EVAL_COMPARE_RANKING_TIES_H

#include "base/error.h"
#include "base/json.h"

#define RANKING_TIES_LEVEL 0.05

/* documents [n]: parsed, of the candidates in their order.  Adds `ties` to the ranking and
 * `tied_with` to its n candidates. */
bool ranking_ties_add(cJSON *ranking, const cJSON *const *documents, size_t n, struct error *err);

#endif
