/* completion.h - /v1/completions: prompts as text or ids, and its answers and streams. */
#ifndef SURPRISAL_SERVER_COMPLETION_H
#define SURPRISAL_SERVER_COMPLETION_H

#include "server/job.h"

extern const struct job_form completion_form;

/* Reads the request into a new job.  A failure is in j->problem. */
bool completion_read(struct job *j, const struct value *body, const struct request_rules *rules);

#endif
