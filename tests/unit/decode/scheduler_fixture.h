/* scheduler_fixture.h - clients of a scheduler on a demo checkpoint, and what each gets alone, from
 * a decoder without one. */
#ifndef SURPRISAL_TESTS_UNIT_DECODE_SCHEDULER_FIXTURE_H
#define SURPRISAL_TESTS_UNIT_DECODE_SCHEDULER_FIXTURE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "decode/scheduler.h"
#include "tests/check.h"
#include "tests/decoder_step.h"
#include "tests/random.h"

enum { MOST_PROMPT = 320, MOST_ANSWER = 180 };

/* 1 under sanitizers: less of the same; 2 on an emulated CPU, a hundred times slower (Makefile). */
__attribute__((unused))
static int quick(void)
{
    const char *value = getenv("SURPRISAL_TEST_QUICK");
    return value ? atoi(value) : 0;
}

struct fixture {
    struct checkpoint ck;
    struct weights w;
    struct mtp_weights mtp;
    struct engine *e;
};

__attribute__((unused))
static void fixture_open(struct fixture *f, const char *checkpoint,
                         const struct engine_options *options)
{
    struct engine_options drafts = *options;
    struct error err = { 0 };
    must(checkpoint_open(&f->ck, checkpoint, &err) && weights_bind(&f->w, &f->ck, &err)
         && weights_bind_mtp(&f->mtp, &f->ck, &err), &err);
    drafts.mtp = &f->mtp;
    f->e = engine_open(&f->ck, &f->w, &drafts, &err);
    must(f->e != NULL, &err);
}

__attribute__((unused))
static void fixture_close(struct fixture *f)
{
    engine_close(f->e);
    weights_free_mtp(&f->mtp);
    weights_free(&f->w);
    checkpoint_close(&f->ck);
}

/* ---- what a request gets ------------------------------------------------------------- */

/* Ids, and a sum of the bits of the logits behind each, and of the prompt's. */
struct record {
    int32_t ids[MOST_ANSWER];
    uint64_t bits[MOST_ANSWER];
    size_t n;
    uint64_t rows[MOST_PROMPT];
    size_t n_rows;
};

/* FNV-1a, by words. */
__attribute__((unused))
static uint64_t sum_of_bits(const float *x, size_t n)
{
    uint64_t sum = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, x + i, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x100000001B3);
    }
    return sum;
}

/* The best of some quarter of the vocabulary, so that answers differ by their seeds. */
__attribute__((unused))
static int32_t pick(const float *logits, size_t n, uint64_t seed)
{
    struct random r = { seed };
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if ((random_bits(&r) & 3) == 0 && logits[i] > logits[best])
            best = i;
    return (int32_t)best;
}

/* ---- a client ------------------------------------------------------------------------ */

struct client {
    int32_t prompt[MOST_PROMPT];
    size_t n_prompt, n_answer;          /* 0: the prompt's logits alone */
    size_t first_logits;                /* below n_prompt - 1: prompt_logits are wanted */
    const char *salt;
    uint64_t seed;
    struct record got;
    size_t fail_at;                     /* fails at this token, counted from 1; 0: never */
    bool fail_rows;                     /* fails at the logits of its prompt */
    int32_t wrong_id;                   /* is said where it fails, if it is not 0 */
    size_t n_cached, order, starts, ends;       /* order: of the starts in its crowd */
    enum scheduler_end end;
    struct error err;
    uint64_t ticket;
    struct crowd *crowd;
};

/* Clients of one scheduler. */
struct crowd {
    struct scheduler *s;
    size_t vocab_size;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n_ended, n_started;
    /* Called on the engine thread at a token, and at an end; may be NULL. */
    void (*at_token)(struct crowd *c, struct client *client);
    void (*at_end)(struct crowd *c, struct client *client);
    void *user;
};

#define CROWD_EMPTY { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER }

__attribute__((unused))
static void client_started(void *user, size_t n_cached)
{
    struct client *c = user;
    c->n_cached = n_cached;
    c->order = c->crowd->n_started++;
    c->starts++;
}

__attribute__((unused))
static bool client_rows(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    struct client *c = user;
    size_t V = c->crowd->vocab_size;
    if (c->fail_rows || row != c->first_logits + c->got.n_rows)
        return error_set(err, "row %zu comes after %zu rows", row, c->got.n_rows);
    for (size_t i = 0; i < n; i++)
        c->got.rows[c->got.n_rows++] = sum_of_bits(logits + i * V, V);
    return true;
}

/* Notes a token; the last one ends the answer. */
__attribute__((unused))
static bool client_choose(void *user, float *logits, size_t position, int32_t *id, bool *more,
                          struct error *err)
{
    struct client *c = user;
    struct record *got = &c->got;
    if (position != c->n_prompt + got->n || *id != -1 || !*more)
        return error_set(err, "position %zu comes after %zu tokens", position, got->n);
    if (c->fail_at == got->n + 1) {
        *id = c->wrong_id;
        return c->wrong_id || error_set(err, "this client fails");
    }
    got->bits[got->n] = sum_of_bits(logits, c->crowd->vocab_size);
    *more = got->n + 1 < c->n_answer;
    if (c->n_answer)
        *id = got->ids[got->n++] = pick(logits, c->crowd->vocab_size, c->seed + position);
    if (c->crowd->at_token)
        c->crowd->at_token(c->crowd, c);
    return true;
}

__attribute__((unused))
static void client_ended(void *user, enum scheduler_end end, const struct error *err)
{
    struct client *c = user;
    struct crowd *crowd = c->crowd;
    c->end = end;
    if (err)
        c->err = *err;
    if (crowd->at_end)
        crowd->at_end(crowd, c);
    pthread_mutex_lock(&crowd->lock);
    c->ends++;
    crowd->n_ended++;
    pthread_cond_broadcast(&crowd->changed);
    pthread_mutex_unlock(&crowd->lock);
}

__attribute__((unused))
static bool client_add(struct crowd *crowd, struct client *c, struct error *err)
{
    const struct scheduler_request r = {
        .prompt = c->prompt, .n_prompt = c->n_prompt, .first_logits = c->first_logits,
        .max_answer = c->n_prompt % 2 ? c->n_answer : 0, .cache_salt = c->salt, .user = c,
        .started = client_started,
        .prompt_logits = c->first_logits + 1 < c->n_prompt ? client_rows : NULL,
        .choose = client_choose, .ended = client_ended,
    };
    c->crowd = crowd;
    c->got.n = c->got.n_rows = 0;
    c->starts = c->ends = 0;
    return scheduler_add(crowd->s, &r, &c->ticket, err);
}

/* Waits until n have ended since the last call. */
__attribute__((unused))
static void crowd_wait(struct crowd *crowd, size_t n)
{
    pthread_mutex_lock(&crowd->lock);
    while (crowd->n_ended < n)
        pthread_cond_wait(&crowd->changed, &crowd->lock);
    crowd->n_ended -= n;
    pthread_mutex_unlock(&crowd->lock);
}

/* Random ids, from a seed of its own. */
__attribute__((unused))
static void client_fill(struct client *c, uint64_t seed, size_t n_prompt, size_t n_answer)
{
    struct random r = { seed };
    *c = (struct client){ .n_prompt = n_prompt, .n_answer = n_answer, .seed = seed * 1000,
                          .first_logits = n_prompt - 1 };
    for (size_t i = 0; i < n_prompt; i++)
        c->prompt[i] = (int32_t)random_below(&r, 4000);
}

/* ---- alone ------------------------------------------------------------------------------ */

struct alone {
    const struct client *c;
    struct record *want;
    size_t vocab_size;
};

__attribute__((unused))
static bool alone_rows(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    struct alone *a = user;
    struct record *want = a->want;
    size_t V = a->vocab_size, last = a->c->n_prompt - 1;
    (void)err;
    for (size_t i = 0; i < n; i++, logits += V) {
        if (row + i < last) {
            want->rows[want->n_rows++] = sum_of_bits(logits, V);
            continue;
        }
        want->bits[0] = sum_of_bits(logits, V);
        if (a->c->n_answer)
            want->ids[want->n++] = pick(logits, V, a->c->seed + a->c->n_prompt);
    }
    return true;
}

/* By a decoder: the prompt in one prefill, then steps. */
__attribute__((unused))
static void run_alone(struct fixture *f, enum dtype kv, const struct client *c,
                      struct record *want)
{
    const struct decoder_options options = { .max_sequences = 1 };
    const size_t capacity = MOST_PROMPT + MOST_ANSWER;
    struct error err = { 0 };
    struct kv_pool pool;
    struct sequence_state s, *one = &s;
    size_t V = f->ck.config.vocab_size;
    struct alone a = { c, want, V };
    const struct decoder_sink sink = { alone_rows, &a };
    struct decoder *d = decoder_open(f->e, &options, &err);
    *want = (struct record){ .n = 0 };
    must(d && sequence_state_pool_open(&pool, &f->ck.config, kv, capacity, &err)
         && sequence_state_open(&s, &f->ck.config, &pool, capacity, &err)
         && decoder_prefill(d, &s, c->prompt, c->n_prompt, c->first_logits, &sink, &err), &err);
    while (want->n < c->n_answer) {
        float *logits;
        must(decoder_step(d, &one, &want->ids[want->n - 1], 1, &logits, &err), &err);
        want->bits[want->n] = sum_of_bits(logits, V);
        want->ids[want->n] = pick(logits, V, c->seed + c->n_prompt + want->n);
        want->n++;
    }
    sequence_state_close(&s);
    sequence_state_pool_close(&pool);
    decoder_close(d);
}

/* Whether the first n tokens are the same, and all logits of the prompt. */
__attribute__((unused))
static bool same_record(const struct record *got, const struct record *want, size_t n)
{
    return got->n >= n && want->n >= n && got->n_rows == want->n_rows
        && memcmp(got->ids, want->ids, n * sizeof *got->ids) == 0
        && memcmp(got->bits, want->bits, size_max(n, 1) * sizeof *got->bits) == 0
        && memcmp(got->rows, want->rows, got->n_rows * sizeof *got->rows) == 0;
}

#endif
