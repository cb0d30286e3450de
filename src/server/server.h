/* server.h - `surprisal serve`: OpenAI's API over HTTP, as vLLM has it (SERVE 2).
 *
 * Four threads: libmicrohttpd's one takes requests, checks them and queues them; the scheduler's
 * one computes (decode/scheduler.h); one compiles forms of answers (compiler.h); the caller's one
 * looks after deadlines and clients that left (peers.h), and ends it all.
 *
 * Any program that has the library can serve: libmicrohttpd is loaded then (http_library.h). */
#ifndef SURPRISAL_SERVER_SERVER_H
#define SURPRISAL_SERVER_SERVER_H

#include "chat/prompt.h"
#include "generate/generation.h"
#include "server/chat.h"
#include "server/compiler.h"
#include "server/http_library.h"
#include "server/job.h"
#include "server/metrics.h"

struct peer;

#define SERVER_BODY_BYTES ((size_t)32 << 20)            /* of a request */
#define SERVER_BODIES_BYTES ((size_t)512 << 20)         /* of all */
#define SERVER_HEADER_BYTES ((size_t)16 << 10)
#define SERVER_CONNECTIONS 2048
#define SERVER_RECEIVE_SECONDS 60.0                     /* header and body */
#define SERVER_DRAIN_SECONDS 5.0

/* The members borrow from one another, so the struct stays where it is. */
struct server {
    const struct surprisal_serve_options *o;
    struct generation g;                /* the model, its tokenizer and its publisher's wishes */
    size_t context;
    const char *const *names;           /* [n_names]: of the model */
    const char *own_names[2];
    size_t n_names;
    struct prompt_template *template;   /* NULL: there is none, */
    struct error why;                   /* and why */
    struct token_trie *trie;            /* the vocabulary, for forms of answers */
    struct scheduler *scheduler;
    struct compiler compiler;
    struct metrics metrics;
    struct job_host host;
    struct request_rules rules;
    struct chat_rules chat;
    struct buffer tokenizer_info;       /* JSON */
    char page_policy[256];              /* Content-Security-Policy of the page */
    time_t created;
    struct http_library http;
    struct MHD_Daemon *daemon;
    pthread_mutex_t lock;               /* guards what follows */
    struct peer *peers;                 /* connections, as a list */
    size_t body_bytes;                  /* held */
    size_t n_requests;                  /* that are answered by the engine */
    bool stopping;
};

/* As surprisal.h documents them. */
struct surprisal_serve_options server_defaults(void);
bool server_check(const struct surprisal_serve_options *o, struct error *err);
bool server_run(const struct surprisal_serve_options *o, struct error *err);

/* printf to o->notice. */
void server_notice(const struct server *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
