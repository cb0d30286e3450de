/* peers.h - connections, and what libmicrohttpd does not see of them: senders that are slow but
 * not silent, and clients that leave while their connection is suspended. */
#ifndef SURPRISAL_SERVER_PEERS_H
#define SURPRISAL_SERVER_PEERS_H

#include "server/exchange.h"

struct peer {
    struct peer *next, **link;
    int fd;
    double since;                   /* the connection, the end of the last response, or the header
                                       of a later request */
    size_t n_requests;              /* that were answered */
    bool receiving;                 /* a body */
    bool busy;                      /* a request is being answered, */
    struct exchange *exchange;      /* by the engine; NULL: not by it */
};

/* A callback of libmicrohttpd. */
void peers_notify(void *server, struct MHD_Connection *connection, void **socket_context,
                  enum MHD_ConnectionNotificationCode code);

/* Each second. */
void peers_look(struct server *s);
/* Ends what is being answered. */
void peers_cancel(struct server *s);
/* Requests for which the engine still works. */
size_t peers_unfinished(struct server *s);

#endif
