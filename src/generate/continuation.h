/* continuation.h - an answer while it grows: its tokens, its text, and when it ends.
 *
 * After each token, in this order: is it one that ends an answer, has a stop text become complete,
 * is the answer as long as it may be?  Before min_tokens only the length counts. */
#ifndef SURPRISAL_GENERATE_CONTINUATION_H
#define SURPRISAL_GENERATE_CONTINUATION_H

#include "decode/sampler.h"
#include "decode/stop_text.h"
#include "surprisal.h"
#include "tokenizer/token_text.h"

struct continuation_limits {
    const struct tokenizer *tokenizer;  /* NULL: the answer has no text */
    const int32_t *end_ids;             /* [n_end_ids] */
    size_t n_end_ids;
    const int32_t *stop_ids;            /* [n_stop_ids]: so does each of these */
    size_t n_stop_ids;
    const char *const *stop;            /* [n_stop] */
    size_t n_stop;
    bool keep_stop;                     /* the stop text, or that of a stop id, is not cut off */
    bool keep_special;                  /* special tokens are text */
    size_t min_tokens;
    size_t max_tokens;
    enum surprisal_finish at_most;      /* how an answer of max_tokens ends */
};

/* Release with continuation_free, also after a failure. */
struct continuation {
    struct continuation_limits limits;        /* borrows everything */
    int32_t *ids;                       /* owned [n] */
    double *logprobs;                   /* owned [n] */
    size_t n, ids_capacity, logprobs_capacity;
    struct token_text characters;
    struct stop_text text;
    struct buffer fresh;                /* scratch: what a token adds */
    size_t given;                       /* bytes of text that continuation_news has given */
    bool finished;
    enum surprisal_finish finish;
    int32_t end_id;                     /* that ended it; -1: none */
};

void continuation_init(struct continuation *a, const struct continuation_limits *limits);
void continuation_free(struct continuation *a);

bool continuation_add(struct continuation *a, const struct sampler_choice *choice,
                      struct error *err);
/* Ends an answer that has not ended: stopped from outside. */
void continuation_stop(struct continuation *a, enum surprisal_finish finish);
/* What was held back, once the answer has finished. */
bool continuation_end(struct continuation *a, struct error *err);

/* The text since the last call, *n bytes, borrowed until the next change. */
const char *continuation_news(struct continuation *a, size_t *n);
/* The stop text that ended it; NULL: none did. */
const char *continuation_stop_text(const struct continuation *a);

#endif
