#include "server/waiting.h"

#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/format.h"
#include "base/machine.h"
#include "server/peers.h"
#include "server/response.h"

static void wake(void *user)
{
    struct exchange *x = user;
    if (x->suspended) {
        x->suspended = false;
        x->server->http.resume_connection(x->connection);
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
    format_text(j->id, sizeof j->id, "%s%s", j->form->id_prefix, own);
    return true;
}

void waiting_start(struct exchange *x, const char *id)
{
    struct job *j = x->job;
    j->wake = wake;
    j->user = x;
    if (!make_id(x, id))
        return;
    if (j->answer_form.demanded)
        compiler_add(&x->server->compiler, j);
    else if (!job_start(j))
        x->problem = j->problem;
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
        x->server->http.suspend_connection(x->connection);
    }
    if (j->sent == j->stream.size)
        j->sent = j->stream.size = 0;
    pthread_mutex_unlock(&j->lock);
    return read;
}

static enum MHD_Result respond_stream(struct exchange *x)
{
    const struct http_library *http = &x->server->http;
    struct MHD_Response *response =
        http->create_response_from_callback(MHD_SIZE_UNKNOWN, 32768, read_stream, x, NULL);
    if (!response)
        return MHD_NO;
    x->status = 200;
    x->type = "text/event-stream; charset=utf-8";
    x->last_write = machine_seconds();
    http->add_response_header(response, "Cache-Control", "no-cache");
    http->add_response_header(response, "X-Accel-Buffering", "no");
    return response_queue(x, response, 200);
}

/* The answer or the refusal, once it is there; a stream, once it has begun. */
enum MHD_Result waiting_respond(struct exchange *x)
{
    struct job *j = x->job;
    pthread_mutex_lock(&j->lock);
    bool streams = j->request.stream && !j->refused;
    bool waits = streams ? j->preparing : !j->done && !j->refused;
    if (waits) {
        x->suspended = true;
        x->server->http.suspend_connection(x->connection);
    }
    pthread_mutex_unlock(&j->lock);
    if (waits)
        return MHD_YES;
    if (streams)
        return respond_stream(x);
    x->problem = j->problem;
    x->status = 200;
    x->type = RESPONSE_JSON;
    if (!x->problem.status && !j->form->answer(j, &x->answer, &x->problem.err))
        problem_say(&x->problem, 500, NULL);
    return response_whole(x);
}

static bool has_left(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void waiting_look(struct exchange *x, double now)
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
