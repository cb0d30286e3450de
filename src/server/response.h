/* response.h - what goes back to a client: headers that all responses have, refusals as JSON. */
#ifndef SURPRISAL_SERVER_RESPONSE_H
#define SURPRISAL_SERVER_RESPONSE_H

#include "server/exchange.h"

#define RESPONSE_JSON "application/json"

/* Queues and releases the response; NULL: there is no memory for one. */
enum MHD_Result response_queue(struct exchange *x, struct MHD_Response *response, unsigned status);
/* x->answer, or x->problem if there is one. */
enum MHD_Result response_whole(struct exchange *x);
/* Sends a refusal around libmicrohttpd, which can answer only between requests. */
void response_refuse(int fd, unsigned status, const char *reason, const char *message);

#endif
