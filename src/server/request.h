/* request.h - what completions and chat completions have in common, from JSON to checked values
 * (vLLM: vllm/entrypoints/openai/chat_completion/protocol.py, completion/protocol.py, and
 * vllm/sampling_params.py).
 *
 * A field that vLLM knows and this server lacks is refused unless it holds its default: nothing
 * that changes an answer is ignored silently. */
#ifndef SURPRISAL_SERVER_REQUEST_H
#define SURPRISAL_SERVER_REQUEST_H

#include "decode/sampler.h"
#include "formats/generation_config.h"
#include "server/fields.h"
#include "surprisal.h"
#include "tokenizer/tokenizer.h"

#define REQUEST_PROMPTS 1024
#define REQUEST_CHOICES 128
#define REQUEST_STOPS 64
#define REQUEST_STOP_BYTES 1024
#define REQUEST_NOT_GIVEN INT64_MIN

/* What a server sets for all requests.  Borrows everything. */
struct request_rules {
    size_t vocab_size;
    const struct tokenizer *tokenizer;
    const struct generation_config *publisher;
    const struct surprisal_sampling *sampling;  /* what the command line says, else NaN */
    int64_t max_logprobs;                       /* -1: the whole vocabulary */
    size_t context;
};

/* A text that may not be generated, as ids. */
struct request_word {
    const int32_t *ids;             /* [n] */
    size_t n;
};

/* Lists live in the workspace of the request. */
struct request {
    struct sampler_settings sampling;       /* of choice 0; without mask */
    size_t n;
    const char *const *stop;                /* [n_stop] */
    size_t n_stop;
    const int32_t *stop_ids, *allowed_ids;  /* allowed_ids NULL: all are */
    size_t n_stop_ids, n_allowed;
    const struct request_word *bad_words;   /* [n_bad_words] */
    size_t n_bad_words;
    bool keep_stop, ignore_eos, keep_special, echo;
    bool stream, include_usage, continuous_usage;
    bool return_ids;                        /* return_token_ids */
    bool ids_as_tokens;                     /* return_tokens_as_token_ids */
    int64_t min_tokens;
    int64_t max_tokens;                     /* REQUEST_NOT_GIVEN */
    int64_t logprobs;                       /* the k best of each token; REQUEST_NOT_GIVEN */
    int64_t prompt_logprobs;                /* the same; -1: the whole vocabulary */
    int64_t truncate;                       /* tokens of a prompt that stay; -1: what fits */
    bool truncate_right;                    /* the first ones stay */
    const char *cache_salt;                 /* NULL: none */
};

/* Reads the fields of both; max_tokens and logprobs are the caller's. */
bool request_read(struct request *r, const struct fields *f, const struct request_rules *rules);
/* Alternatives of a token of the answer that a request may ask for. */
int64_t request_most_logprobs(const struct request_rules *rules);
/* Refuses a field of this table unless it is absent, null, false, empty or what `normal` says. */
struct request_unsupported {
    const char *name, *normal;      /* normal: JSON of a number or word; NULL: nothing more */
};
bool request_refuse_unsupported(const struct fields *f, const struct request_unsupported *table,
                                size_t n);

/* Cuts a prompt to truncate_prompt_tokens, and then sets *max_tokens, at most `r->max_tokens`, or
 * else the publisher's number, or else `otherwise`, and what the context leaves.  Refuses a prompt
 * that leaves no room for one token, by numbers.  *ids may move. */
bool request_fit(const struct request *r, const struct request_rules *rules, const int32_t **ids,
                 size_t *n_ids, int64_t otherwise, size_t *max_tokens, struct problem *p);

#endif
