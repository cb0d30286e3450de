/* stop_text.h - finds stop texts in a text that comes in pieces.
 *
 * The match that is complete first wins, of several that end at the same byte the longest; so the
 * result does not depend on how the text is cut into pieces.  What may still become a stop text is
 * held back. */
#ifndef SURPRISAL_DECODE_STOP_TEXT_H
#define SURPRISAL_DECODE_STOP_TEXT_H

#include "base/memory.h"

/* Release with stop_text_free. */
struct stop_text {
    const char *const *texts;       /* [n], none empty; borrowed */
    size_t n;
    struct buffer text;             /* owned: all that came, up to the match */
    size_t released;                /* bytes of text that no stop text can begin in any more */
    size_t found;                   /* index of the stop text that was found; n: none yet */
    bool waits;                     /* none counts that is complete now; what may begin one is
                                       held back all the same */
    bool keep;                      /* the match is not cut off */
};

void stop_text_init(struct stop_text *s, const char *const *texts, size_t n);
void stop_text_free(struct stop_text *s);

/* Appends a piece, at most up to the end of a match, which is cut off. */
bool stop_text_add(struct stop_text *s, const char *bytes, size_t n, struct error *err);
/* Nothing more comes: all is released. */
void stop_text_end(struct stop_text *s);

#endif
