/* request_log.h - one line of JSON a request, for surprisal_serve_options.log. */
#ifndef SURPRISAL_SERVER_REQUEST_LOG_H
#define SURPRISAL_SERVER_REQUEST_LOG_H

#include "server/exchange.h"

/* When a request is over. */
void request_log(struct exchange *x);

#endif
