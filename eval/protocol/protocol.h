/* protocol.h - the perplexity protocols as lists of windows.
 *
 * What they mean, C being the context and S the stride:
 *   strided   windows of C start every S tokens, the last one is shorter; a token is scored in the
 *             first window that reaches it (huggingface.co/docs/transformers/perplexity)
 *   disjoint  whole windows of C, all but the first token scored; the tail is dropped
 *   llama     whole windows of C, the targets after position C / 2 scored; the tail is dropped
 *             (llama.cpp, tools/perplexity, for a tokenizer that adds no BOS)
 *   rolling   ids are one document with a prefix token before it; each later token is scored once,
 *             C a window, and a later window sees C + 1 tokens (lm-evaluation-harness,
 *             get_rolling_token_windows with context_len 1) */
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

/* Refuses a context below 2, a stride of 0 or above the context (tokens would be left out), and the
 * default, in whose place plans_make (plans.h) puts a protocol. */
bool protocol_check(enum surprisal_protocol protocol, size_t context, size_t stride,
                    struct error *err);

/* Appends the windows of the n tokens that stand at `base` in the ids; n counts the prefix token of
 * rolling.  stride matters to strided alone.  Nothing to score is an error that says why.  A strided
 * last window of one token scores nothing and is kept, as in the definition. */
bool protocol_windows(struct windows *out, enum surprisal_protocol protocol, size_t base, size_t n,
                      size_t context, size_t stride, struct error *err);
void windows_free(struct windows *w);

/* Sums over the windows: targets scored; tokens that go through the layers (the last token of a
 * window is a target only). */
size_t windows_scored(const struct windows *w);
size_t windows_model_tokens(const struct windows *w);

#endif
