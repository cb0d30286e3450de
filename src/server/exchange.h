/* exchange.h - one request over HTTP and its response: the body is collected here, with limits of
 * its own; answers that take long are waited for with the connection suspended. */
#ifndef SURPRISAL_SERVER_EXCHANGE_H
#define SURPRISAL_SERVER_EXCHANGE_H

#include "server/server.h"

#define EXCHANGE_ID_BYTES 128

struct exchange;

/* A path, its method, and what answers it: it fills the response, starts a job, or leaves a
 * problem. */
struct exchange_route {
    const char *path, *method;
    void (*run)(struct exchange *x);
    bool takes_place;               /* among the requests that the engine answers */
};

struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    struct peer *peer;
    const struct exchange_route *route;
    struct buffer body;             /* owned */
    size_t held;                    /* bytes of it that the server counts */
    size_t received;
    bool raw;                       /* an answer went out already, and the connection will close */
    bool ran;
    bool placed;                    /* it has taken its place */
    double began;
    char request_id[EXCHANGE_ID_BYTES + 1];     /* X-Request-Id; "": none */
    /* The response: */
    struct problem problem;         /* status 0: none */
    struct buffer answer;           /* owned */
    unsigned status;
    const char *type, *allow, *policy;      /* headers; NULL: none */
    struct job *job;
    /* Behind the job's lock: */
    bool suspended;
    double last_write;
};

/* Callbacks of libmicrohttpd. */
enum MHD_Result exchange_handle(void *server, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **x);
void exchange_completed(void *server, struct MHD_Connection *connection, void **x,
                        enum MHD_RequestTerminationCode code);

#endif
