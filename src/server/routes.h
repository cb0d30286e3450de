/* routes.h - the paths of the API (SERVE 2.1) and what answers them. */
#ifndef SURPRISAL_SERVER_ROUTES_H
#define SURPRISAL_SERVER_ROUTES_H

#include "server/exchange.h"

/* Sets x->route, or a problem: 404, 405. */
void routes_find(struct exchange *x, const char *url, const char *method);

#endif
