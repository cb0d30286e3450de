/* forced.h - tokens that an answer has to have at a place: one of several texts, chosen by the
 * model token by token. */
#ifndef SURPRISAL_SERVER_FORCED_H
#define SURPRISAL_SERVER_FORCED_H

#include "server/request.h"

/* No text is the beginning of another. */
struct forced_words {
    struct request_word *words;     /* [n], in a workspace */
    size_t n;
};

/* Adds a text of n bytes as ids. */
bool forced_add(struct forced_words *f, const struct tokenizer *t, const char *text, size_t n,
                struct workspace *w, struct error *err);

struct forced {
    const struct forced_words *words;   /* NULL: nothing is forced */
    size_t begin;                       /* where in the answer's ids */
};

/* Sets all logits [V] to -INFINITY but those of tokens that may follow ids [n]; raw: the logits as
 * they came. */
void forced_mask(const struct forced *f, float *logits, const float *raw, size_t vocab_size,
                 const int32_t *ids, size_t n);
/* After a token: forces nothing more if a text is complete. */
void forced_go_on(struct forced *f, const int32_t *ids, size_t n);

#endif
