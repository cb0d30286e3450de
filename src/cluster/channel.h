/* channel.h - messages between rank 0 and the others, which never wait for one another.
 *
 * Everybody calls channel_exchange often, while it computes too (it takes no time if called more
 * often than needed): it tells the others that this rank is alive, hands what came in to the
 * receiver, and notices a rank that has been silent for too long.  A rank may be silent as long as
 * it opens files on a slow file system; SURPRISAL_RANK_TIMEOUT sets other seconds than the 600.
 * MPI's own beginning and end, which do wait, get as long. */
#ifndef SURPRISAL_CLUSTER_CHANNEL_H
#define SURPRISAL_CLUSTER_CHANNEL_H

#include "cluster/launch.h"

enum message_kind {
    /* To rank 0: */
    MESSAGE_HELLO,                      /* a = b = 0; text: the machine, its processors */
    MESSAGE_READY,                      /* text: instruction set, newline, settings of the run */
    MESSAGE_WARNING,                    /* text */
    MESSAGE_DONE,                       /* part a is finished; send another one */
    MESSAGE_FAILED,                     /* text: why this rank stops */
    MESSAGE_STOPPED,                    /* because it was asked to, by rank 0 or by a signal */
    /* From rank 0: */
    MESSAGE_WELCOME,                    /* a: ranks on this machine, b: on the same processors */
    MESSAGE_SCORE,                      /* part a of b */
    MESSAGE_STOP,
    MESSAGE_END,                        /* a: exit status of the job */
    /* Both ways: */
    MESSAGE_ALIVE,
};

#define MESSAGE_TEXT_BYTES 16000

struct message {
    int kind, from;
    size_t a, b;
    char text[MESSAGE_TEXT_BYTES];
};

struct channel {
    const struct mpi_library *library;
    struct mpi_session *session;        /* owned; NULL: one process */
    int rank, size;
    void (*receive)(void *user, const struct message *m);
    void *user;
    int timeout_seconds;
    double beaten, looked;              /* seconds: of the last sign of life, of the last look */
    double *heard;                      /* owned [size]: when a rank was heard; of others than rank
                                           0: only heard[0] */
    bool *ended;                        /* owned [size]: nothing is expected of it any more */
};

/* launch NULL: one process, no messages.  Refuses when MPI finds other ranks than the launcher
 * said.  channel_close is due also after a failure. */
bool channel_open(struct channel *c, const struct launch *launch, struct surprisal_error *err);
/* In all ranks. */
void channel_close(struct channel *c);

/* text may be NULL.  A message that cannot be sent ends the job. */
void channel_send(struct channel *c, int to, enum message_kind kind, size_t a, size_t b,
                  const char *text);
/* To all but this rank and those that have ended. */
void channel_tell_all(struct channel *c, enum message_kind kind, size_t a);
/* The rank that has been silent for too long; -1: none. */
int channel_exchange(struct channel *c);
/* The same after a short sleep. */
int channel_wait(struct channel *c);
/* Ends the processes of all ranks. */
void channel_abort(struct channel *c, int status);

double channel_seconds(void);

#endif
