/* logprobs.h - log-probabilities of tokens and of their best alternatives: log-softmax of the
 * logits as they came, before masks, penalties and temperature (vLLM's raw_logprobs). */
#ifndef SURPRISAL_SERVER_LOGPROBS_H
#define SURPRISAL_SERVER_LOGPROBS_H

#include <stdint.h>

#include "server/writer.h"
#include "tokenizer/tokenizer.h"

struct logprob {
    int32_t id;
    double value;               /* nats */
    size_t rank;                /* 1: the largest; of equal logits the lowest id is before */
};

/* A list of entries: each a token, and then the k best of the vocabulary at its place.  Set k, and
 * zero the rest; release with logprobs_free. */
struct logprobs {
    size_t k;
    struct logprob *items;      /* owned [n * (1 + k)] */
    size_t n, capacity;
};

/* logits [V], their logsumexp; k <= V. */
bool logprobs_add(struct logprobs *l, const float *logits, double logsumexp, size_t vocab_size,
                  int32_t id, struct error *err);
/* The token of an entry; its k alternatives follow. */
const struct logprob *logprobs_entry(const struct logprobs *l, size_t i);
void logprobs_free(struct logprobs *l);

/* How tokens are shown. */
struct logprobs_names {
    const struct tokenizer *tokenizer;
    bool as_ids;                /* token_id:N */
    size_t most;                /* alternatives of a token, at most */
};

/* Appends the token's text as a JSON string: bytes that are no character become U+FFFD; no token:
 * "". */
void logprobs_write_token(struct writer *w, const struct logprobs_names *names, int32_t id);

/* "token_logprobs", "tokens", "top_logprobs" of completions, entries [begin, end), each array
 * without brackets. */
void logprobs_write_values(struct writer *w, const struct logprobs *l, size_t begin, size_t end);
void logprobs_write_tokens(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                           const struct logprobs_names *names);
void logprobs_write_top(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                        const struct logprobs_names *names);
/* Of chat completions: [{"token", "logprob", "bytes", "top_logprobs": [...]}] of these entries. */
void logprobs_write_content(struct writer *w, const struct logprobs *l, size_t begin, size_t end,
                            const struct logprobs_names *names);
/* vLLM's prompt_logprobs: [null, {"ID": {"logprob", "rank", "decoded_token"}}, ...]. */
void logprobs_write_prompt(struct writer *w, const struct logprobs *l,
                           const struct logprobs_names *names);

#endif
