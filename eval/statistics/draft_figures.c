#include "eval/statistics/draft_figures.h"

void draft_figures_add(struct draft_sums *s, const struct engine_draft *drafts, size_t n)
{
    s->positions += n;
    for (size_t i = 0; i < n; i++) {
        s->same_top1 += drafts[i].same_top1;
        compensated_add(&s->accepted, drafts[i].accepted);
        compensated_add(&s->nll, drafts[i].nll);
    }
}

struct draft_figures draft_figures_of(const struct draft_sums *s)
{
    double n = (double)s->positions;            /* 0 / 0 is NaN */
    return (struct draft_figures){
        .positions = s->positions, .same_top1 = (double)s->same_top1 / n,
        .accepted = compensated_value(&s->accepted) / n,
        .mean_nll = compensated_value(&s->nll) / n,
    };
}
