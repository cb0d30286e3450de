/* request_body.h - the JSON that a request brings, and the model that it names. */
#ifndef SURPRISAL_SERVER_REQUEST_BODY_H
#define SURPRISAL_SERVER_REQUEST_BODY_H

#include "chat/value.h"
#include "server/exchange.h"

/* *body: an object in w.  *model: as the server's names have it.  A failure is in x->problem. */
bool request_body_read(struct exchange *x, struct value *body, const char **model,
                       struct workspace *w);

#endif
