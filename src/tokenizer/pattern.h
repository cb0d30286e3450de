/* pattern.h - a regular expression of tokenizer.json, matched by PCRE2 as Oniguruma would.
 *
 * `tokenizers` compiles patterns with Oniguruma's Ruby syntax.  Most of that syntax means the same
 * to PCRE2 with UTF and Unicode properties; pattern_translate.c rewrites constructs with another
 * spelling (\w, \u, \p{Han}) and refuses by name those with another meaning (\h, \b, &&, nested
 * classes, "{2}+", ...).  Character classes are Unicode 16's: prepare the text by unicode_subject
 * (unicode.h). */
#ifndef SURPRISAL_TOKENIZER_PATTERN_H
#define SURPRISAL_TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/memory.h"

struct pattern;
struct pattern_scratch;

/* what: the pattern's place in the file, for errors ("file: pre_tokenizer: Split").  Given. */
struct pattern *pattern_compile(const char *regex, const char *what, struct error *err);
/* Matches exactly this text. */
struct pattern *pattern_compile_literal(const char *text, const char *what, struct error *err);
/* A pattern in PCRE2's own syntax. */
struct pattern *pattern_compile_pcre2(const char *regex, const char *what, struct error *err);
void pattern_free(struct pattern *p);

/* Match data and stack of one thread; given. */
struct pattern_scratch *pattern_scratch_new(struct error *err);
void pattern_scratch_free(struct pattern_scratch *s);

/* A walk over all matches of a text, in order.  Zero-initialise. */
struct pattern_walk {
    size_t from;                /* where the search continues  */
    size_t last_end;            /* of the last match           */
    bool any, finished;         /* one was found; none is left */
    size_t start, end;          /* the match found             */
};

/* The next match: false when there is none (err untouched, walk->finished set) or on an error
 * (walk->finished not set).  An empty match right after the last match is skipped, as in
 * Oniguruma's Rust binding.  The n bytes are valid UTF-8. */
bool pattern_next(const struct pattern *p, struct pattern_scratch *s, const char *subject,
                  size_t n, struct pattern_walk *walk, struct error *err);

/* Appends the pattern in PCRE2's syntax (pattern_translate.c). */
bool pattern_translate(struct buffer *out, const char *regex, const char *what,
                       struct error *err);

#endif
