/* mixer_sample.h - a little of what mixers multiply within themselves, to time it: the delta rule
 * of one head in each thread, and attention's products of queries with keys and values.
 *
 * Values are made up. */
#ifndef SURPRISAL_ENGINE_MIXER_SAMPLE_H
#define SURPRISAL_ENGINE_MIXER_SAMPLE_H

#include "model/buffers.h"
#include "model/compute.h"

/* Of the threads; those of the other mixer are not taken. */
struct mixer_sample_buffers {
    struct thread_buffers q, k, v, out, scratch;
    struct thread_buffers decay, beta, state;       /* of the delta rule */
    struct thread_buffers score, packed;            /* of attention */
};

/* Zero-initialise; release with mixer_sample_close. */
struct mixer_sample {
    const struct compute *cm;           /* borrowed */
    size_t rows;                        /* of a thread: tokens of the delta rule, or queries */
    struct mixer_sample_buffers buffers;
    struct arena arena;                 /* owned: they are in it */
};

/* The delta rule over `tokens`. */
bool mixer_sample_delta_rule(struct mixer_sample *s, const struct compute *cm, size_t tokens,
                             struct error *err);
void mixer_sample_run_delta_rule(void *sample);
/* FLOP of a token in a call of each thread, as kernels/delta_rule.h has its products; the
 * triangular solve is time without FLOP here. */
double mixer_sample_delta_flop(const struct config *c);

/* One block of queries and keys as in model/attention.c, except for the softmax between the
 * products (a row kernel). */
bool mixer_sample_attention(struct mixer_sample *s, const struct compute *cm, struct error *err);
void mixer_sample_run_attention(void *sample);
/* FLOP of a thread's call. */
double mixer_sample_attention_flop(const struct mixer_sample *s);

void mixer_sample_close(struct mixer_sample *s);

/* Fills x with values of size one that are exact in BF16. */
void mixer_sample_fill(float *x, size_t n);

#endif
