/* event.h - what events of completions and of chats have in common: one piece of one choice. */
#ifndef SURPRISAL_SERVER_EVENT_H
#define SURPRISAL_SERVER_EVENT_H

#include "server/job.h"

/* Write the ids of tokens that no event had yet, and of the prompt, as members behind a comma, if
 * the request wants ids. */
void event_write_ids(struct writer *w, const struct choice *c);
void event_write_prompt_ids(struct writer *w, const struct choice *c);
/* Ends an event behind its choices, with usage if each event has it, and sends it.  Its tokens are
 * shown then, and its text is released. */
bool event_send(struct writer *w, struct choice *c);

#endif
