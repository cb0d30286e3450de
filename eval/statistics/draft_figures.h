/* draft_figures.h - what is said of drafts: how often the model agrees, by draft.
 *
 * Means over all drafted targets of all windows (shared/oracle/mtp.py: acceptance). */
#ifndef SURPRISAL_EVAL_STATISTICS_DRAFT_FIGURES_H
#define SURPRISAL_EVAL_STATISTICS_DRAFT_FIGURES_H

#include "engine/types.h"
#include "eval/statistics/compensated.h"

/* Of one draft: the first, second, ... after a position. */
struct draft_sums {
    size_t positions, same_top1;
    struct compensated accepted, nll;
};

struct draft_figures {
    size_t positions;
    double same_top1, accepted, mean_nll;       /* NaN without positions */
};

void draft_figures_add(struct draft_sums *s, const struct engine_draft *drafts, size_t n);
struct draft_figures draft_figures_of(const struct draft_sums *s);

#endif
