/* compiler.h - one thread that compiles the forms which requests demand of their answers
 * (answer_form.h), in the order of arrival: what a hostile client demands may take seconds, which
 * neither the engine nor other connections should wait for. */
#ifndef SURPRISAL_SERVER_COMPILER_H
#define SURPRISAL_SERVER_COMPILER_H

#include "server/job.h"

/* Zero-initialise; release with compiler_close, also after a failure. */
struct compiler {
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;           /* guards what follows */
    pthread_cond_t changed;
    struct job *first, *last;       /* the queue */
    bool closing;
};

bool compiler_open(struct compiler *c, struct error *err);
/* Waits until its queue is empty. */
void compiler_close(struct compiler *c);
/* The job is prepared, and then started or refused (job_prepared). */
void compiler_add(struct compiler *c, struct job *j);

#endif
