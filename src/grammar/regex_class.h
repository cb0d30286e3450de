/* regex_class.h - what a regular expression has for one character: escapes and classes. */
#ifndef SURPRISAL_GRAMMAR_REGEX_CLASS_H
#define SURPRISAL_GRAMMAR_REGEX_CLASS_H

#include "grammar/charset.h"

#define REGEX_CLASS_SET UINT32_MAX  /* an escape that is not one character */

/* A pattern while it is read. */
struct regex_reader {
    const char *text;           /* NUL-terminated, without NUL inside */
    size_t at;
    bool caseless, dot_all, extended;
    size_t n_properties, n_folded;      /* work that is limited */
};

/* Names the byte; always false. */
bool regex_class_fail(const struct regex_reader *r, struct error *err, const char *what);

/* Behind a backslash.  Gives the character, or REGEX_CLASS_SET and adds what it stands for to
 * `set`.  in_class: \b is the backspace there. */
bool regex_class_escape(struct regex_reader *r, bool in_class, struct charset *set, uint32_t *c,
                        struct error *err);
/* Behind the bracket of a class, up to behind its end; the set is tidy. */
bool regex_class_brackets(struct regex_reader *r, struct charset *set, struct error *err);
/* Adds the other cases of a tidy set's characters if case does not matter. */
bool regex_class_fold(struct regex_reader *r, struct charset *set, struct error *err);

#endif
