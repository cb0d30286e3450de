#include "server/exchange.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/format.h"
#include "base/machine.h"
#include "server/peers.h"
#include "server/request_log.h"
#include "server/routes.h"

#define JSON_TYPE "application/json"
#define DISCARDED_BYTES ((size_t)256 << 20)     /* of a body that was refused */

/* ---- the header ----------------------------------------------------------------------- */

static const char *header(const struct exchange *x, const char *name)
{
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
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
    if (!given || strncasecmp(given, "Bearer ", 7) != 0)
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
    size_t n = strlen(JSON_TYPE);
    return type && strncasecmp(type, JSON_TYPE, n) == 0
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
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
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
    if (p->status == 413 && !x->raw) {
        peers_refuse(x->peer, 413, "Content Too Large", p->err.message);
        x->raw = true;
    }
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
    x->raw = header(x, "Expect") == NULL;
    if (x->raw)
        peers_refuse(x->peer, 413, "Content Too Large", x->problem.err.message);
}

/* ---- responses -------------------------------------------------------------------------- */

static enum MHD_Result respond(struct exchange *x, struct MHD_Response *response, unsigned status)
{
    if (!response)
        return MHD_NO;
    if (x->request_id[0])
        MHD_add_response_header(response, "X-Request-Id", x->request_id);
    if (x->server->o->cors) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                "authorization, content-type, x-request-id");
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST, OPTIONS");
    }
    if (status == 429)
        MHD_add_response_header(response, "Retry-After", "5");
    if (x->allow)
        MHD_add_response_header(response, "Allow", x->allow);
    if (x->type)
        MHD_add_response_header(response, "Content-Type", x->type);
    if (x->route && x->route->run == routes_page)
        MHD_add_response_header(response, "Content-Security-Policy", x->server->page_policy);
    enum MHD_Result queued = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result respond_whole(struct exchange *x)
{
    struct buffer *b = &x->answer;
    if (x->problem.status) {
        b->size = 0;
        x->status = x->problem.status;
        x->type = JSON_TYPE;
        if (x->status == 401)
            buffer_printf(b, NULL, "{\"error\":\"Unauthorized\"}");
        else
            problem_write(b, &x->problem, NULL);
    }
    return respond(x, MHD_create_response_from_buffer(b->size, b->data ? b->data : "",
                                                      MHD_RESPMEM_MUST_COPY), x->status);
}

/* Gives what the stream has; suspends the connection until there is more. */
static ssize_t read_stream(void *user, uint64_t position, char *bytes, size_t most)
{
    (void)position;
    struct exchange *x = user;
    struct job *j = x->job;
    pthread_mutex_lock(&j->lock);
    size_t n = size_min(j->stream.size - j->sent, most);
    ssize_t read = (ssize_t)n;
    if (n) {
        memcpy(bytes, j->stream.data + j->sent, n);
        j->sent += n;
        x->last_write = machine_seconds();
    } else if (j->done)
        read = MHD_CONTENT_READER_END_OF_STREAM;
    else {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    if (j->sent == j->stream.size)
        j->sent = j->stream.size = 0;
    pthread_mutex_unlock(&j->lock);
    return read;
}

static enum MHD_Result respond_stream(struct exchange *x)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, read_stream, x, NULL);
    if (!response)
        return MHD_NO;
    x->status = 200;
    x->type = "text/event-stream; charset=utf-8";
    x->last_write = machine_seconds();
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    return respond(x, response, 200);
}

/* ---- jobs --------------------------------------------------------------------------------- */

static void wake(void *user)
{
    struct exchange *x = user;
    if (x->suspended) {
        x->suspended = false;
        MHD_resume_connection(x->connection);
    }
}

/* X-Request-Id, else request_id, else a random one. */
static bool make_id(struct exchange *x, const char *own)
{
    struct job *j = x->job;
    unsigned char bytes[16];
    char hex[33] = "";
    if (x->request_id[0])
        own = x->request_id;
    if (!own || strlen(own) > EXCHANGE_ID_BYTES) {
        own = hex;
        if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
            return problem_set(&x->problem, 500, NULL, "no random bytes can be had");
        for (size_t i = 0; i < sizeof bytes; i++)
            format_text(hex + 2 * i, 3, "%02x", bytes[i]);
    }
    format_text(j->id, sizeof j->id, "%s%s", j->form->id_prefix,
                own);
    return true;
}

/* Requests, whatever the number of their choices. */
static bool take_place(struct exchange *x)
{
    struct server *s = x->server;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    bool full = s->n_requests >= s->o->max_sequences + s->o->max_queue;
    x->placed = !stopping && !full;
    s->n_requests += x->placed;
    pthread_mutex_unlock(&s->lock);
    if (stopping)
        return problem_set(&x->problem, 503, NULL, "the server stops");
    return !full || problem_set(&x->problem, 429, NULL, "%zu requests wait already",
                                s->o->max_queue);
}

void exchange_start(struct exchange *x, const char *id)
{
    struct job *j = x->job;
    j->wake = wake;
    j->user = x;
    if (!make_id(x, id))
        return;
    if (!job_start(j))
        x->problem = j->problem;
}

/* The answer, once it is there. */
static enum MHD_Result answer_job(struct exchange *x)
{
    struct job *j = x->job;
    if (j->request.stream)
        return respond_stream(x);
    pthread_mutex_lock(&j->lock);
    bool done = j->done;
    if (!done) {
        x->suspended = true;
        MHD_suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&j->lock);
    if (!done)
        return MHD_YES;
    x->problem = j->problem;
    x->status = 200;
    x->type = JSON_TYPE;
    if (!x->problem.status && !j->form->answer(j, &x->answer, &x->problem.err))
        problem_say(&x->problem, 500, NULL);
    return respond_whole(x);
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
    return x->job && !x->problem.status ? answer_job(x) : respond_whole(x);
}

/* ---- callbacks ------------------------------------------------------------------------------ */

static struct exchange *begin(struct server *s, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
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
        return x->problem.status == 413 && !x->raw ? respond_whole(x) : MHD_YES;
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

/* ---- each second ------------------------------------------------------------------------------ */

static bool has_left(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void exchange_look(struct exchange *x, double now)
{
    const struct surprisal_serve_options *o = x->server->o;
    struct job *j = x->job;
    pthread_mutex_lock(&j->lock);
    bool waits = x->suspended, late = now - x->began > o->request_timeout_seconds;
    if (late && !j->done && !j->problem.status)
        problem_set(&j->problem, 408, NULL, "the request took more than %.10g seconds",
                    o->request_timeout_seconds);
    if (waits && j->request.stream && o->keep_alive_seconds > 0
        && now - x->last_write >= o->keep_alive_seconds
        && buffer_printf(&j->stream, NULL, ": keep-alive\n\n"))
        wake(x);
    pthread_mutex_unlock(&j->lock);
    if (late || (waits && has_left(x->peer->fd)))
        job_cancel(j);
}
