/* sampler.h - from logits to a token, in the order of vLLM (v1/sample/sampler.py):
 *
 *     log-probability   of the logits as they come
 *     masks             what may not be chosen becomes -infinity
 *     bias              added
 *     repetition        logits of tokens that were seen: positive ones divided, others multiplied
 *     frequency         times the token's count in the answer, subtracted
 *     presence          subtracted if the token is in the answer
 *     temperature       logits divided; below SAMPLER_GREEDY the largest wins, the lowest id among
 *                       equals, and nothing that follows matters
 *     min_p             tokens stay whose probability is at least min_p times the largest
 *     top_k             the k most probable stay, and those that equal the k-th
 *     top_p             the most probable stay until they reach top_p together, never none
 *     draw
 *
 * Draws depend on (seed, stream, position) alone: not on other sequences, threads, or how many
 * draws were made before.  Probabilities are computed and summed in double, in one order. */
#ifndef SURPRISAL_DECODE_SAMPLER_H
#define SURPRISAL_DECODE_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SAMPLER_GREEDY 1e-5

struct sampler_bias {
    int32_t id;
    float value;
};

/* Sets logits [V] of tokens that may not be chosen to -INFINITY. */
struct sampler_mask {
    void (*apply)(void *user, float *logits, size_t vocab_size);
    void *user;
};

struct sampler_settings {
    double temperature;             /* 0 to 2 */
    size_t top_k;                   /* 0: off */
    double top_p;                   /* (0, 1]; 1: off */
    double min_p;                   /* [0, 1]; 0: off */
    double presence_penalty, frequency_penalty;     /* [-2, 2]; 0: off */
    double repetition_penalty;      /* above 0; 1: off */
    uint64_t seed, stream;          /* stream: which of several answers with one seed */
    const struct sampler_bias *bias;        /* [n_bias], values -100 to 100; borrowed */
    size_t n_bias;
    const struct sampler_mask *mask;        /* borrowed; NULL: every token may be chosen */
};

/* Refuses values out of range, by the name of the field, and ids outside the vocabulary. */
bool sampler_settings_check(const struct sampler_settings *s, size_t vocab_size,
                            struct error *err);

/* Of one sequence. */
struct sampler {
    struct sampler_settings settings;
    size_t vocab_size;
    uint32_t *count;                /* owned [V]: in the answer */
    bool *in_prompt;                /* owned [V] */
    float *raw;                     /* owned [V]: logits as they came */
    struct sampler_candidate *candidates;   /* owned [2 V]: what is left, and what is chosen from */
};

/* Settings that were checked.  Release with sampler_close, also after a failure. */
bool sampler_open(struct sampler *s, const struct sampler_settings *settings, size_t vocab_size,
                  struct error *err);
void sampler_close(struct sampler *s);
/* Bytes of a sampler. */
size_t sampler_bytes(size_t vocab_size);

/* Tokens of the prompt, and one of the answer, for the penalties. */
void sampler_add_prompt(struct sampler *s, const int32_t *ids, size_t n);
void sampler_add(struct sampler *s, int32_t id);

struct sampler_choice {
    int32_t id;
    double logprob;                 /* of the logits as they came, nats */
    double logsumexp;               /* of these logits */
};

/* Refuses a logit of n that is NaN or infinite; the error names the position. */
bool sampler_check_logits(const float *logits, size_t n, size_t position, struct error *err);
/* The index of the largest of n > 0 logits, the lowest among equals. */
size_t sampler_largest(const float *logits, size_t n);
/* log(sum(exp(logits))) [n], finite ones. */
double sampler_logsumexp(const float *logits, size_t n);

/* The token at `position` of the sequence (prompt included).  logits [V] are changed; s->raw keeps
 * them as they came.  Refuses what sampler_check_logits refuses, and a mask that leaves no
 * token. */
bool sampler_draw(const struct sampler *s, struct sampler_choice *choice, float *logits,
                  size_t position, struct error *err);

#endif
