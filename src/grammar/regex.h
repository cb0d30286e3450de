/* regex.h - a regular expression in PCRE2's syntax, as a program of steps over characters.
 *
 * All that names a regular language: classes, groups, alternatives, repetitions (lazy ones too: the
 * texts are the same), the anchors ^ $ \A \z, (?i) (?s) (?x).  Refused by name: look-around, back
 * references, recursion, atomic groups and possessive repetitions, \b, (?m), verbs.  Classes are
 * those of PCRE2 without UCP, as in ECMA-262: \d, \w and \s are ASCII's; \p{...} is Unicode's.  $
 * is the end of the text alone, as \z and ECMA-262 have it, without PCRE2's line end before it.
 * \uXXXX, which JSON schemas use, is the character, and ECMA-262's \/ and \- are themselves. */
#ifndef SURPRISAL_GRAMMAR_REGEX_H
#define SURPRISAL_GRAMMAR_REGEX_H

#include "grammar/charset.h"

#define REGEX_MAX_BYTES ((size_t)64 << 10)
#define REGEX_MAX_STEPS ((size_t)1 << 16)
#define REGEX_MAX_DEPTH 200

enum regex_kind {
    REGEX_SET,          /* a character of sets[set], then the next step     */
    REGEX_EITHER,       /* the steps a and b further on, without a character */
    REGEX_JUMP,         /* the step a further on                            */
    REGEX_BEGIN,        /* only at the beginning of the text                */
    REGEX_END,          /* only at its end                                  */
    REGEX_MATCH,
};

struct regex_step {
    enum regex_kind kind;
    int32_t a, b;
    uint32_t set;
};

/* Zero-initialise; owns everything; release with regex_free, also after a failure. */
struct regex {
    struct regex_step *steps;
    size_t n_steps, steps_capacity;
    struct charset *sets;       /* tidy */
    size_t n_sets, sets_capacity;
    size_t work;                /* of \p and (?i), which go through many characters */
};

/* Appends the program of the pattern, n bytes of UTF-8, without REGEX_MATCH.  The error says what
 * is wrong, and at which byte. */
bool regex_parse(struct regex *r, const char *pattern, size_t n, struct error *err);
void regex_free(struct regex *r);

/* ---- steps (regex_steps.c): jumps are relative, so a block of them can be moved and copied --- */

bool regex_add(struct regex *r, struct regex_step step, struct error *err);
bool regex_insert(struct regex *r, size_t at, struct regex_step step, struct error *err);
/* A step of these characters; takes the set over. */
bool regex_add_set(struct regex *r, struct charset *set, struct error *err);
/* A step of all characters. */
bool regex_add_any(struct regex *r, struct error *err);
/* Steps from `begin` on, repeated: min copies, then either a loop (max SIZE_MAX) or max - min
 * optional copies, each of which may jump behind the last. */
bool regex_repeat(struct regex *r, size_t begin, size_t min, size_t max, struct error *err);

static inline struct regex_step regex_either(size_t a, size_t b)
{
    return (struct regex_step){ .kind = REGEX_EITHER, .a = (int32_t)a, .b = (int32_t)b };
}

#endif
