#include "server/compiler.h"

#include "base/machine.h"
#include "base/threads.h"

static void compile(struct job *j, struct problem *p)
{
    double begun = machine_seconds();
    bool ok = true;
    for (size_t i = 0; ok && i < j->n_prompts; i++)
        ok = answer_form_compile(&j->answer_form, j->prompts[i].thinks, j->host->trie, &j->w, p);
    metrics_grammar(j->host->metrics, machine_seconds() - begun);
}

/* NULL: closing, and nothing is left. */
static struct job *next_job(struct compiler *c)
{
    pthread_mutex_lock(&c->lock);
    while (!c->first && !c->closing)
        pthread_cond_wait(&c->changed, &c->lock);
    struct job *j = c->first;
    if (j)
        c->first = j->next;
    pthread_mutex_unlock(&c->lock);
    return j;
}

static void *run(void *user)
{
    struct compiler *c = user;
    struct job *j;
    while ((j = next_job(c)) != NULL) {
        struct problem p = { 0 };
        if (job_is_wanted(j))
            compile(j, &p);
        job_prepared(j, &p);
    }
    return NULL;
}

bool compiler_open(struct compiler *c, struct error *err)
{
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    c->runs = threads_begin(&c->thread, run, c, "the thread that compiles forms of answers", err);
    return c->runs;
}

void compiler_close(struct compiler *c)
{
    if (!c->runs)
        return;
    pthread_mutex_lock(&c->lock);
    c->closing = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    c->runs = false;
}

void compiler_add(struct compiler *c, struct job *j)
{
    j->preparing = true;
    j->next = NULL;
    pthread_mutex_lock(&c->lock);
    if (c->first)
        c->last->next = j;
    else
        c->first = j;
    c->last = j;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}
