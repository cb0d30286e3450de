#include "server/exchange.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "server/peers.h"
#include "server/request_log.h"
#include "server/response.h"
#include "server/routes.h"
#include "server/waiting.h"

#define DISCARDED_BYTES ((size_t)256 << 20)     /* of a body that was refused */

/* ---- the header ----------------------------------------------------------------------- */

static const char *header(const struct exchange *x, const char *name)
{
    return x->server->http.lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

/* In a time that does not depend on where they differ. */
static bool is_key(const char *given, const char *key)
{
    size_t n = strlen(given), n_key = strlen(key);
    unsigned differ = n != n_key;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned)(unsigned char)given[i] ^ (unsigned char)key[n_key ? i % n_key : 0];
    return differ == 0;
}

static bool is_authorized(const struct exchange *x, const char *url)
{
    const struct surprisal_serve_options *o = x->server->o;
    const char *given = header(x, "Authorization");
    bool found = false;
    if (o->n_api_keys == 0 || strncmp(url, "/v1", 3) != 0)
        return true;
    if (!given || !ascii_begins(given, "bearer "))
        return false;
    for (given += 7; *given == ' '; given++)
        ;
    for (size_t i = 0; i < o->n_api_keys; i++)
        found = is_key(given, o->api_keys[i]) || found;
    return found;
}

static bool is_json(const struct exchange *x)
{
    const char *type = header(x, "Content-Type");
    size_t n = strlen(RESPONSE_JSON);
    return type && ascii_begins(type, RESPONSE_JSON)
        && (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

/* What goes into ids and back into a header. */
static void keep_request_id(struct exchange *x)
{
    const char *id = header(x, "X-Request-Id");
    size_t n = id ? strlen(id) : 0;
    for (size_t i = 0; i < n; i++)
        if (id[i] <= ' ' || id[i] > '~')
            return;
    if (n <= EXCHANGE_ID_BYTES)
        memcpy(x->request_id, id ? id : "", n + 1);
}

static void check_header(struct exchange *x, const char *url, const char *method)
{
    struct problem *p = &x->problem;
    const union MHD_ConnectionInfo *size =
        x->server->http.get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    keep_request_id(x);
    if (size && size->header_size > SERVER_HEADER_BYTES) {
        problem_set(p, 431, NULL, "the header has %zu bytes, expected at most %zu",
                    size->header_size, SERVER_HEADER_BYTES);
        return;
    }
    if (strcmp(method, "OPTIONS") != 0 && !is_authorized(x, url)) {
        p->status = 401;
        return;
    }
    routes_find(x, url, method);
    if (x->route && strcmp(method, "POST") == 0 && !is_json(x))
        problem_set(p, 400, NULL, "Content-Type is not application/json");
}

/* ---- the body ------------------------------------------------------------------------- */

static bool hold(struct exchange *x, size_t n)
{
    struct server *s = x->server;
    pthread_mutex_lock(&s->lock);
    bool ok = s->body_bytes + n <= SERVER_BODIES_BYTES;
    if (ok) {
        s->body_bytes += n;
        x->held += n;
    }
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static void let_go(struct exchange *x)
{
    buffer_free(&x->body);
    pthread_mutex_lock(&x->server->lock);
    x->server->body_bytes -= x->held;
    x->held = 0;
    pthread_mutex_unlock(&x->server->lock);
}

/* The refusal does not wait for the end of the body. */
static void refuse_now(struct exchange *x)
{
    response_refuse(x->peer->fd, x->problem.status, "Content Too Large", x->problem.err.message);
    x->status = x->problem.status;
    x->raw = true;
}

/* What cannot be taken is read all the same, so that the client comes to read the refusal. */
static bool collect(struct exchange *x, const char *bytes, size_t n)
{
    struct problem *p = &x->problem;
    x->received += n;
    if (!p->status && x->received > SERVER_BODY_BYTES)
        problem_set(p, 413, NULL, "the body has more than %zu bytes", SERVER_BODY_BYTES);
    else if (!p->status && !hold(x, n))
        problem_set(p, 429, NULL, "the bodies of all requests together are too large");
    else if (!p->status && !buffer_append(&x->body, bytes, n, &p->err))
        problem_say(p, 503, NULL);
    if (p->status == 413 && !x->raw)
        refuse_now(x);
    if (p->status)
        let_go(x);
    return x->received <= DISCARDED_BYTES;
}

/* The announced length is refused before the body comes; a client that waits for "100 Continue"
 * gets an ordinary response. */
static void check_length(struct exchange *x)
{
    const char *length = header(x, "Content-Length");
    unsigned long long n = length ? strtoull(length, NULL, 10) : 0;
    if (x->problem.status || n <= SERVER_BODY_BYTES)
        return;
    problem_set(&x->problem, 413, NULL, "the body has %llu bytes, expected at most %zu", n,
                SERVER_BODY_BYTES);
    if (!header(x, "Expect"))
        refuse_now(x);
}

/* Requests, whatever the number of their choices. */
static bool take_place(struct exchange *x)
{
    struct server *s = x->server;
    const struct surprisal_serve_options *o = s->o;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    bool full = s->n_requests >= o->max_sequences
             && s->n_requests - o->max_sequences >= o->max_queue;
    x->placed = !stopping && !full;
    s->n_requests += x->placed;
    pthread_mutex_unlock(&s->lock);
    if (stopping)
        return problem_set(&x->problem, 503, NULL, "the server stops");
    return !full || problem_set(&x->problem, 429, NULL, "%zu requests wait already",
                                o->max_queue);
}

/* Once there is a job, others may look at it. */
static void set_state(struct exchange *x, bool receiving, bool busy)
{
    pthread_mutex_lock(&x->server->lock);
    x->peer->receiving = receiving;
    x->peer->busy = busy;
    x->peer->exchange = busy && x->job ? x : NULL;
    pthread_mutex_unlock(&x->server->lock);
}

static enum MHD_Result run(struct exchange *x)
{
    if (!x->ran) {
        x->ran = true;
        set_state(x, false, true);
        if (!x->problem.status && (!x->route->takes_place || take_place(x)))
            x->route->run(x);
        let_go(x);
        set_state(x, false, true);
    }
    return x->job && !x->problem.status ? waiting_respond(x) : response_whole(x);
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static struct exchange *begin(struct server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        s->http.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct exchange *x = info && info->socket_context
                       ? mem_array(1, sizeof *x, "a request", NULL) : NULL;
    if (!x)
        return NULL;
    x->server = s;
    x->connection = connection;
    x->peer = info->socket_context;
    x->began = machine_seconds();
    x->status = 200;
    if (x->peer->n_requests)
        x->peer->since = x->began;
    set_state(x, true, false);
    return x;
}

enum MHD_Result exchange_handle(void *server, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_size, void **context)
{
    (void)version;
    struct exchange *x = *context;
    if (!x) {
        x = *context = begin(server, connection);
        if (!x)
            return MHD_NO;
        check_header(x, url, method);
        check_length(x);
        return x->problem.status == 413 && !x->raw ? response_whole(x) : MHD_YES;
    }
    if (*upload_size) {
        bool go_on = collect(x, upload, *upload_size);
        *upload_size = 0;
        return go_on ? MHD_YES : MHD_NO;
    }
    return x->raw ? MHD_NO : run(x);
}

void exchange_completed(void *server, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code)
{
    (void)connection, (void)code, (void)server;
    struct exchange *x = *context;
    if (!x)
        return;
    set_state(x, false, false);
    pthread_mutex_lock(&x->server->lock);
    x->peer->since = machine_seconds();
    x->peer->n_requests++;
    x->server->n_requests -= x->placed;
    pthread_mutex_unlock(&x->server->lock);
    request_log(x);
    if (x->job)
        job_abandon(x->job);
    let_go(x);
    buffer_free(&x->answer);
    free(x);
    *context = NULL;
}
