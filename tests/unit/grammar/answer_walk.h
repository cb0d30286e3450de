/* answer_walk.h - an answer to a request, for tests: from texts, from chance. */
#ifndef SURPRISAL_TESTS_ANSWER_WALK_H
#define SURPRISAL_TESTS_ANSWER_WALK_H

#include <string.h>

#include "grammar/grammar.h"
#include "tests/random.h"

struct walk_host {
    struct tokenizer *tokenizer;
    struct token_trie *trie;
    int32_t of_byte[256];           /* the token that is this byte alone, -1 if none */
    int32_t end_id;
};

static inline bool walk_host_open(struct walk_host *h, const char *tokenizer, struct error *err)
{
    *h = (struct walk_host){ 0 };
    h->tokenizer = tokenizer_open(tokenizer, err);
    size_t n = h->tokenizer ? tokenizer_vocab_size(h->tokenizer) : 0;
    /* a model's vocabulary may be larger than the tokenizer's */
    h->trie = h->tokenizer ? token_trie_new(h->tokenizer, n + 5, err) : NULL;
    h->end_id = h->trie ? tokenizer_token_id(h->tokenizer, "<|im_end|>") : -1;
    memset(h->of_byte, 0xFF, sizeof h->of_byte);
    for (size_t i = 0; h->trie && i < h->trie->parts[0].n; i++) {
        size_t length;
        const uint8_t *bytes = token_trie_bytes(h->trie, h->trie->parts[0].ids[i], &length);
        if (length == 1)
            h->of_byte[bytes[0]] = h->trie->parts[0].ids[i];
    }
    return h->trie != NULL;
}

static inline void walk_host_close(struct walk_host *h)
{
    token_trie_free(h->trie);
    tokenizer_close(h->tokenizer);
}

static inline struct matcher *walk_match(const struct walk_host *h, const struct grammar *g,
                                         struct error *err)
{
    return grammar_match(g, h->trie, &h->end_id, 1, err);
}

/* The answer goes on with n bytes, a token a byte; a tag of the template is its token.  Gives how
 * many bytes could come. */
static inline size_t walk_bytes(const struct walk_host *h, struct matcher *m, const char *text,
                                size_t n)
{
    for (size_t i = 0; i < n; ) {
        int32_t id = h->of_byte[(uint8_t)text[i]];
        size_t length = 1;
        for (int tag = 0; tag < TOKEN_TRIE_TAGS; tag++) {
            const char *name = token_trie_tag_text((enum token_trie_tag)tag);
            if (strlen(name) <= n - i && memcmp(text + i, name, strlen(name)) == 0) {
                id = tokenizer_token_id(h->tokenizer, name);
                length = strlen(name);
            }
        }
        if (!matcher_advance(m, id, NULL))
            return i;
        i += length;
    }
    return n;
}

/* Is the text an answer that may end? */
static inline bool walk_accepts(const struct walk_host *h, const struct grammar *g,
                                const char *text, size_t n)
{
    struct matcher *m = walk_match(h, g, NULL);
    bool ok = m && walk_bytes(h, m, text, n) == n && matcher_is_complete(m);
    matcher_free(m);
    return ok;
}

/* One of the allowed tokens; what closes something is preferred, or no answer would end. */
static inline int32_t walk_choose(const struct walk_host *h, const uint64_t *allowed,
                                  struct random *r)
{
    int32_t chosen = -1, closing = -1;
    size_t n = 0, n_closing = 0;
    for (size_t id = 0; id < h->trie->vocab_size; id++) {
        size_t length;
        const uint8_t *bytes = token_trie_bytes(h->trie, (int32_t)id, &length);
        if (!(allowed[id / 64] >> (id % 64) & 1))
            continue;
        if (random_below(r, ++n) == 0)
            chosen = (int32_t)id;
        if ((int32_t)id == h->end_id || (length && strchr("\"]}<\n", bytes[length - 1])))
            if (random_below(r, ++n_closing) == 0)
                closing = (int32_t)id;
    }
    return closing >= 0 && random_below(r, 3) == 0 ? closing : chosen;
}

/* Appends an answer of at most n tokens; *ended: it came to an end token. */
static inline bool walk_random(const struct walk_host *h, struct matcher *m, size_t n,
                               struct random *r, struct buffer *text, bool *ended,
                               struct error *err)
{
    *ended = false;
    for (size_t i = 0; i < n && !*ended; i++) {
        const uint64_t *allowed = matcher_allowed(m, err);
        if (!allowed)
            return false;
        int32_t id = walk_choose(h, allowed, r);
        *ended = id == h->end_id && matcher_is_complete(m);
        if (!matcher_advance(m, id, err)
            || (!*ended && !tokenizer_token_bytes(h->tokenizer, id, false, text, err)))
            return false;
    }
    return true;
}

#endif
