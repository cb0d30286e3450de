/* wikitext.h - WikiText files as lm-evaluation-harness's task `wikitext` reads them.
 *
 * The data set EleutherAI/wikitext_document_level splits a WikiText file into articles at top-level
 * headings, " = Title = ".  The harness scores an article without the tokenization of the corpus ("
 * @-@ ", spaces around punctuation), but counts words and bytes with it
 * (lm_eval/tasks/wikitext/preprocess_wikitext.py). */
#ifndef SURPRISAL_EVAL_PROTOCOL_WIKITEXT_H
#define SURPRISAL_EVAL_PROTOCOL_WIKITEXT_H

#include "base/memory.h"

struct wikitext_articles {      /* the caller sets text and n; at: where the first begins */
    const char *text;           /* borrowed, UTF-8 */
    size_t n, at;
};

/* Puts the next article into page (whose content is replaced; the caller frees it in the end).
 * False at the end, or on an error, which also sets *ok to false. */
bool wikitext_next(struct wikitext_articles *a, struct buffer *page, bool *ok, struct error *err);

/* out: owned by the caller; needs no initialisation. */
bool wikitext_detokenize(struct buffer *out, const char *page, size_t n, struct error *err);

#endif
