/* job.h - a request that has been understood, and its answers as they grow: prompts, and for each
 * of them one or more choices.  Each choice is a request to the scheduler (decode/scheduler.h).
 *
 * The engine thread adds tokens (choice.h); the thread of the server reads what is ready.  What
 * both touch is behind the lock; a choice belongs to the engine thread until it has ended. */
#ifndef SURPRISAL_SERVER_JOB_H
#define SURPRISAL_SERVER_JOB_H

#include <pthread.h>
#include <time.h>

#include "chat/answer.h"
#include "decode/scheduler.h"
#include "generate/answer_reader.h"
#include "generate/continuation.h"
#include "server/answer_form.h"
#include "server/logprobs.h"
#include "server/metrics.h"
#include "server/request.h"

#define JOB_ID_BYTES 192
/* Of events that a client does not read; then its request is cancelled. */
#define JOB_STREAM_BYTES ((size_t)16 << 20)

struct job;
struct choice;

/* What differs between completions and chat completions. */
struct job_form {
    const char *id_prefix, *event_object;
    bool is_chat;
    /* Events of a stream, engine thread: before the first token of a choice; after one; the end. */
    bool (*begun)(struct choice *c, struct error *err);
    bool (*grown)(struct choice *c, struct error *err);
    bool (*over)(struct choice *c, struct error *err);
    /* The whole answer. */
    bool (*answer)(const struct job *j, struct buffer *b, struct error *err);
};

struct job_prompt {
    const int32_t *ids;             /* [n] in `owned`, or in the workspace */
    size_t n;
    int32_t *owned;
    size_t max_tokens;              /* of an answer */
    bool thinks;                    /* the answer begins inside of thinking */
    bool has_logprobs;
    struct logprobs logprobs;       /* owned: of ids[1] and later, if they are wanted */
    struct buffer text;             /* owned, of an echo, with the */
    size_t *offsets, characters;    /* characters before each token (owned [n]), and in all */
    size_t n_cached;
};

/* Of chat completions. */
struct job_chat {
    struct answer_rules rules;      /* tools in the workspace; thinking is the prompt's */
    bool hide_reasoning;            /* include_reasoning false */
    bool one_call;                  /* parallel_tool_calls false */
    bool named;                     /* a call of a named function is demanded */
    int64_t thinking_budget;        /* REQUEST_NOT_GIVEN: none */
    struct request_word end_thinking;   /* with a budget: ids that end it */
};

struct choice {
    struct job *job;
    size_t index;
    struct job_prompt *prompt;
    uint64_t ticket;
    bool begun;
    struct sampler sampler;
    struct sampler_mask mask;
    struct continuation answer;
    struct answer_reader reader;    /* of chats */
    struct logprobs logprobs;       /* of the answer */
    size_t *offsets;                /* owned: characters before each token, with logprobs */
    size_t offsets_capacity, characters;
    bool thinking;
    size_t reasoning_tokens;
    bool forced;                    /* chat.end_thinking comes, from token */
    size_t forced_from;             /* forced_from of the answer */
    struct matcher *matcher;        /* owned while it runs; NULL: its form is free */
    const uint64_t *allowed;        /* by the matcher, which owns it: bits */
    double mask_seconds;            /* of its work */
    bool stuck;                     /* the request's own masks left no token of its form */
    double last_token;              /* machine_seconds; 0: none yet */
    /* What is in the stream: ids and log-probabilities of tokens, bytes of the message, calls whose
     * name is, and bytes of the last one's arguments. */
    size_t shown, shown_reasoning, shown_content, shown_calls, shown_arguments;
};

struct job_host {
    struct scheduler *scheduler;
    const struct tokenizer *tokenizer;
    const struct token_trie *trie;
    const struct generation_config *publisher;
    struct metrics *metrics;
    size_t vocab_size;
    int32_t own_end_id;             /* of the tokenizer: leaves stop_reason null; -1: none */
};

struct job {
    const struct job_host *host;
    const struct job_form *form;
    struct workspace w;             /* of the request */
    struct request request;
    struct job_chat chat;
    struct answer_form answer_form;
    char id[JOB_ID_BYTES];
    const char *model;              /* as the answer names it; borrowed */
    time_t created;
    struct job_prompt *prompts;     /* owned [n_prompts] */
    struct choice *choices;         /* owned [n_choices] */
    size_t n_prompts, n_choices;
    struct job *next;               /* in the compiler's queue */
    double arrived, prefill_begun, first_token;     /* machine_seconds; 0: not yet */
    pthread_mutex_t lock;           /* guards what follows */
    struct buffer stream;           /* owned: events; the first `sent` bytes are gone */
    size_t sent;
    size_t n_added, n_ended, n_started;
    bool preparing;                 /* by another thread (compiler.h) */
    bool refused;                   /* it could not start, and `problem` says why */
    bool done;                      /* nothing more comes */
    bool cancelled;
    struct problem problem;         /* why it failed */
    bool abandoned;                 /* by the client: the last to leave frees it */
    void (*wake)(void *user);       /* called behind the lock when there is something to read */
    void *user;
};

/* Gives a job with an open workspace; NULL when memory is out. */
struct job *job_new(const struct job_host *host, const struct job_form *form, struct error *err);
/* Makes the choices, and gives them to the scheduler.  A failure is in j->problem. */
bool job_start(struct job *j);
/* For a thread that has prepared it: starts it, unless p has a status or it was cancelled, and
 * wakes the client.  Afterwards it may be gone. */
void job_prepared(struct job *j, const struct problem *p);
/* Was it not cancelled? */
bool job_is_wanted(struct job *j);
/* Its choices end soon. */
void job_cancel(struct job *j);
bool job_is_done(struct job *j);
/* The client is gone: cancels, and frees once all choices have ended. */
void job_abandon(struct job *j);

/* Adds an event to the stream and wakes the client. */
bool job_emit(struct job *j, const struct buffer *json, struct error *err);
/* Sums over all choices; the prompts count once. */
struct job_usage {
    size_t prompt, completion, cached, reasoning;
};
struct job_usage job_usage(const struct job *j);
struct job_usage job_usage_of(const struct choice *c);
void job_write_usage(struct writer *w, const struct job_usage *u);
/* most: alternatives that are shown. */
struct logprobs_names job_names(const struct job *j, int64_t most);
/* Appends {"id", "object", "created", "model", "choices":[ */
void job_write_head(struct writer *w, const struct job *j, const char *object);
/* Appends how the head ends: fields that every answer has. */
void job_write_tail(struct writer *w, const struct job *j);

#endif
