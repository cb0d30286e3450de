#include "server/peers.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/machine.h"
#include "server/response.h"
#include "server/waiting.h"

void peers_notify(void *server, struct MHD_Connection *connection, void **socket_context,
                  enum MHD_ConnectionNotificationCode code)
{
    struct server *s = server;
    struct peer *p = *socket_context;
    pthread_mutex_lock(&s->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            s->http.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        p = mem_array(1, sizeof *p, "a connection", NULL);
        *socket_context = p;
        if (p) {
            *p = (struct peer){ .next = s->peers, .link = &s->peers,
                                .fd = info ? info->connect_fd : -1, .since = machine_seconds() };
            if (p->next)
                p->next->link = &p->next;
            s->peers = p;
        }
    } else if (p) {
        *p->link = p->next;
        if (p->next)
            p->next->link = p->link;
        free(p);
        *socket_context = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

/* A connection between requests is closed without a word. */
static void end_slow(struct peer *p)
{
    if (p->receiving || p->n_requests == 0)
        response_refuse(p->fd, 408, "Request Timeout",
                        "the request did not arrive within 60 seconds");
    shutdown(p->fd, SHUT_RDWR);
    p->since = machine_seconds();
}

void peers_look(struct server *s)
{
    double now = machine_seconds();
    pthread_mutex_lock(&s->lock);
    for (struct peer *p = s->peers; p; p = p->next)
        if (p->exchange)
            waiting_look(p->exchange, now);
        else if (!p->busy && now - p->since > SERVER_RECEIVE_SECONDS)
            end_slow(p);
    pthread_mutex_unlock(&s->lock);
}

void peers_cancel(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct peer *p = s->peers; p; p = p->next)
        if (p->exchange)
            job_cancel(p->exchange->job);
    pthread_mutex_unlock(&s->lock);
}

size_t peers_unfinished(struct server *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->n_requests;
    for (struct peer *p = s->peers; p; p = p->next)
        if (p->exchange && job_is_done(p->exchange->job))
            n--;
    pthread_mutex_unlock(&s->lock);
    return n;
}
