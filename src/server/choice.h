/* choice.h - one answer to one prompt, as the scheduler fills it: masks and draws,
 * log-probabilities, text, parts of a message. */
#ifndef SURPRISAL_SERVER_CHOICE_H
#define SURPRISAL_SERVER_CHOICE_H

#include "server/job.h"

/* What the scheduler gets; ended is the caller's. */
struct scheduler_request choice_request(struct choice *c);
/* Its work has ended; what is the answer's stays. */
void choice_rest(struct choice *c);
void choice_free(struct choice *c);

/* "stop", "length" or "tool_calls". */
const char *choice_finish_reason(const struct choice *c);
/* Writes "finish_reason" and "stop_reason". */
void choice_write_finish(struct writer *w, const struct choice *c);

#endif
