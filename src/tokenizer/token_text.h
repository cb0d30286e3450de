/* token_text.h - text of ids that come one at a time.
 *
 * A character is given when all its bytes are there.  The pieces together are what tokenizer_decode
 * makes of all ids at once. */
#ifndef SURPRISAL_TOKENIZER_TOKEN_TEXT_H
#define SURPRISAL_TOKENIZER_TOKEN_TEXT_H

#include "tokenizer/tokenizer.h"

/* Zero-initialise but for the tokenizer; release with token_text_free. */
struct token_text {
    const struct tokenizer *tokenizer;  /* borrowed */
    struct buffer bytes;                /* owned: of an unfinished character */
    bool begun;
};

void token_text_free(struct token_text *t);

/* Appends what is complete now to `out`. */
bool token_text_add(struct token_text *t, int32_t id, struct buffer *out, struct error *err);
/* No more ids: an unfinished character becomes U+FFFD. */
bool token_text_end(struct token_text *t, struct buffer *out, struct error *err);

#endif
