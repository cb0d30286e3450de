/* finished.h - a complete run folder as a result: of a run that was killed when only the folder's
 * name was missing, or that was merged of its parts. */
#ifndef SURPRISAL_EVAL_SCORE_FINISHED_H
#define SURPRISAL_EVAL_SCORE_FINISHED_H

#include "base/digest.h"
#include "base/error.h"
#include "surprisal.h"

/* Proves the folder by its own digests (record.h), hidden states included, and gives its result.
 * One of another checkpoint than this digest's is refused; NULL: any is taken. */
bool finished_read(struct surprisal_result *result, const char *folder,
                   const struct digest *checkpoint, struct error *err);

#endif
