/* stages.h - the stages of a comparison of two checkpoints, told to the caller as they begin. */
#ifndef SURPRISAL_EVAL_COMPARE_STAGES_H
#define SURPRISAL_EVAL_COMPARE_STAGES_H

#include "base/error.h"
#include "surprisal.h"

#define STAGES_MAX 6

/* Zero-initialise: no stages, of which nothing is told. */
struct stages {
    struct surprisal_stage list[STAGES_MAX];
    size_t n, begun;
};

/* Names stay borrowed; seconds: estimated, 0: not known. */
void stages_add(struct stages *s, const char *name, double seconds);
/* The next one begins.  tell: surprisal_compare_options.stage, may be NULL. */
void stages_next(struct stages *s, void (*tell)(void *user, size_t index), void *user);

/* Refuses runs that the disk has no room for. */
bool stages_have_room(const struct surprisal_comparison_plan *plan, struct error *err);

#endif
