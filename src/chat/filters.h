/* filters.h - filters, tests and methods of the template language: functions of values.
 *
 * What each means is Python's and jinja2's (jinja2/filters.py, jinja2/tests.py); tojson is
 * json.dumps with ensure_ascii false, as transformers has it.  upper and lower map characters one
 * by one (and sharp s to SS), without Python's rules for context. */
#ifndef SURPRISAL_CHAT_FILTERS_H
#define SURPRISAL_CHAT_FILTERS_H

#include "chat/value.h"

#define FILTERS_ARGUMENTS 4     /* at most, of one call of any of these */

/* Arguments of a call; those with a name have it, the others stand in front. */
struct filters_arguments {
    struct value values[FILTERS_ARGUMENTS];
    struct marked_text names[FILTERS_ARGUMENTS];    /* n == 0: by position */
    size_t n;
};

/* The index of a name in each table; -1: it is none of them. */
int filters_find(const struct marked_text *name);
int filters_find_test(const struct marked_text *name);
int filters_find_method(const struct marked_text *name);

/* value | filter(arguments) */
bool filters_apply(struct value *out, unsigned filter, const struct value *v,
                   const struct filters_arguments *args, struct workspace *w, struct error *err);
/* value is test */
bool filters_test(unsigned test, const struct value *v);
/* value.method(arguments).  Is there such a method of this type of value? */
bool filters_has_method(const struct value *v, unsigned method);
bool filters_call_method(struct value *out, unsigned method, const struct value *v,
                         const struct filters_arguments *args, struct workspace *w,
                         struct error *err);

/* What a loop runs over: *list is the value itself if it is one, or its characters, keys or
 * nothing (undefined). */
bool filters_iterate(struct value_list **list, const struct value *v, struct workspace *w,
                     struct error *err);

#endif
