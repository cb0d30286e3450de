/* protocol.h - the perplexity protocols as lists of windows.
 *
 * With C the context and S the stride:
 *   strided   windows of C start every S tokens, the last one is shorter; a token is scored in the
 *             first window that holds it (huggingface.co/docs/transformers/perplexity)
 *   disjoint  whole windows of C, all but the first token scored; the tail is dropped
 *   llama     whole windows of C, the targets after position C / 2 scored; the tail is dropped
 *             (llama.cpp, tools/perplexity, for a tokenizer that adds no BOS)
 *   rolling   the ids are a prefix token and one document; each token of the document is scored
 *             once, C in each window; windows after the first one see C + 1 tokens
 *             (lm-evaluation-harness, get_rolling_token_windows with context_len 1) */
#ifndef SURPRISAL_EVAL_PROTOCOL_PROTOCOL_H
#define SURPRISAL_EVAL_PROTOCOL_PROTOCOL_H

#include "base/error.h"
#include "engine/types.h"
#include "surprisal.h"

/* Zero-initialise; owns list; release with windows_free. */
struct windows {
    struct engine_window *list;
    size_t n, capacity;
};

const char *protocol_name(enum surprisal_protocol protocol);
/* Finds the protocol with this name of n characters; false when there is none (the default has
 * none). */
bool protocol_find(enum surprisal_protocol *protocol, const char *name, size_t n);

/* Refuses a context below 2, a stride of 0 or above the context (which would skip tokens), and the
 * default (plans_make in plans.h replaces it by a protocol). */
bool protocol_check(enum surprisal_protocol protocol, size_t context, size_t stride,
                    struct error *err);

/* Appends the windows of the n tokens from `base` in the ids; n includes the prefix token of
 * rolling.  Only strided uses the stride.  If nothing can be scored, the error says why.  The last
 * strided window may hold one token and score nothing; it is kept, as in the definition. */
bool protocol_windows(struct windows *out, enum surprisal_protocol protocol, size_t base, size_t n,
                      size_t context, size_t stride, struct error *err);
void windows_free(struct windows *w);

/* A scored token and its window, as a record of a run has them. */
struct protocol_row {
    size_t position;            /* index in the ids, without prefix tokens */
    size_t window;
    bool starts_document;       /* rolling: the window is the first one of its document */
    size_t scored_before, scored_from;  /* tokens of the window: before this one; from it on */
};

/* The index of the token in its window: 0 is the first token that the model sees, so a scored one
 * has at least 1.  0 or less: the protocol has no such row. */
int64_t protocol_index_in_window(enum surprisal_protocol protocol, size_t context, size_t stride,
                                 const struct protocol_row *row);

/* Sums over the windows: scored targets; tokens that go through the layers (the last token of a
 * window is only a target). */
size_t windows_scored(const struct windows *w);
size_t windows_model_tokens(const struct windows *w);

#endif
