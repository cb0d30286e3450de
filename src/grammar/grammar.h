/* grammar.h - what a request demands of the form of its answer (SERVE 3.6, 3.8).
 *
 * Who samples asks at each step which tokens may come next, masks all others before anything else,
 * and says which one came:
 *
 *     grammar_open(&g, &request, trie, err)          once a request; g NULL: the answer is free
 *     m = grammar_match(g, trie, end_ids, n, err)    once an answer
 *     matcher_allowed(m, err)                        before each token (matcher.h)
 *     matcher_advance(m, id, err)                    after it; matcher_back for rejected drafts
 *
 * The mask binds the first token of content.  Thinking is free: the mask begins behind </think> and
 * at most two line ends.  When the answer is complete, only the end tokens are allowed. */
#ifndef SURPRISAL_GRAMMAR_GRAMMAR_H
#define SURPRISAL_GRAMMAR_GRAMMAR_H

#include "grammar/matcher.h"

/* Fields of the request as JSON; NULL: absent.  response_format: text, json_object, json_schema.
 * structured_outputs: one of json, regex (the whole answer), choice, json_object; null is absent.
 * tools and tool_choice as in OpenAI's API; with tool_choice auto and a bound content, the answer
 * is that content or begins with a call. */
struct grammar_request {
    const char *response_format, *structured_outputs, *tools, *tool_choice;
    bool starts_in_thinking;
};

/* Owns what it holds; may be used by several threads at once. */
struct grammar;

/* The error begins with the name of the field. */
bool grammar_open(struct grammar **g, const struct grammar_request *r,
                  const struct token_trie *trie, struct error *err);
void grammar_close(struct grammar *g);
struct matcher *grammar_match(const struct grammar *g, const struct token_trie *trie,
                              const int32_t *end_ids, size_t n_end_ids, struct error *err);

#endif
