/* wikitext.h - WikiText files as lm-evaluation-harness's task `wikitext` reads them.
 *
 * The data set EleutherAI/wikitext_document_level cuts a WikiText file into articles at the lines
 * that are a top-level heading, " = Title = "; the harness undoes the corpus's tokenization
 * (" @-@ ", spaces around punctuation) before it scores an article, and counts words and bytes of
 * the article as it was (lm_eval/tasks/wikitext/preprocess_wikitext.py). */
#ifndef SURPRISAL_EVAL_PROTOCOL_WIKITEXT_H
#define SURPRISAL_EVAL_PROTOCOL_WIKITEXT_H

#include "base/memory.h"

struct wikitext_articles {      /* set text and n; the rest starts as zero */
    const char *text;           /* borrowed, UTF-8 */
    size_t n, at;
};

/* The next article into page (replaced; the caller frees it at last).  False at the end, or after an
 * error, which also sets *ok to false. */
bool wikitext_next(struct wikitext_articles *a, struct buffer *page, bool *ok, struct error *err);

/* out: owned by the caller, who need not initialise it. */
bool wikitext_detokenize(struct buffer *out, const char *page, size_t n, struct error *err);

#endif
