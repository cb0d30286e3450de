/* waiting.h - requests whose answers take long: the connection is suspended until the engine has
 * something for it. */
#ifndef SURPRISAL_SERVER_WAITING_H
#define SURPRISAL_SERVER_WAITING_H

#include "server/exchange.h"

/* Gives its job to the scheduler; a failure is in x->problem.  id: of the body; NULL: none. */
void waiting_start(struct exchange *x, const char *id);
/* Responds if it can, or waits; called again when it is woken. */
enum MHD_Result waiting_respond(struct exchange *x);
/* Each second, by another thread: keep-alive, deadline, has the client left? */
void waiting_look(struct exchange *x, double now);

#endif
