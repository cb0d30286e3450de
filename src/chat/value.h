/* value.h - values of the template language, as Python has them.
 *
 * Values do not change once made (a namespace is the exception), so that they share their parts;
 * all live in a workspace.  Strings are sequences of characters, not of bytes.  An integer beyond
 * 64 bits keeps its digits: it is printed and compared for equality, but not computed with. */
#ifndef SURPRISAL_CHAT_VALUE_H
#define SURPRISAL_CHAT_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chat/marked_text.h"
#include "chat/workspace.h"

#define VALUE_DEPTH 64          /* of lists and mappings in each other */

enum value_kind {
    VALUE_UNDEFINED, VALUE_NONE, VALUE_BOOLEAN, VALUE_INTEGER, VALUE_BIG_INTEGER, VALUE_FLOAT,
    VALUE_STRING, VALUE_LIST, VALUE_TUPLE, VALUE_MAPPING, VALUE_NAMESPACE, VALUE_LOOP, VALUE_MACRO,
    VALUE_FUNCTION,             /* a method that was not called, or a global function */
};

struct value_list;
struct value_mapping;

struct value {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct marked_text string;      /* BIG_INTEGER: its digits; UNDEFINED: what is undefined */
        struct value_list *list;        /* LIST, TUPLE */
        struct value_mapping *mapping;  /* MAPPING, NAMESPACE */
        struct interpreter_loop *loop;
        struct interpreter_macro *macro;
    } of;
};

struct value_list {
    size_t n;
    struct value items[];
};

struct value_entry {
    struct marked_text key;
    struct value value;
};

/* Keeps the order in which keys came. */
struct value_mapping {
    struct value_entry *entries;
    size_t n, capacity;
    uint32_t *slots;            /* hash table of 1 + index; NULL while there are few entries */
    size_t n_slots;
};

/* ---- making -------------------------------------------------------------- */

struct value value_undefined(const char *name, size_t n);
struct value value_none(void);
struct value value_boolean(bool b);
struct value value_integer(int64_t i);
struct value value_float(double x);
struct value value_string(struct marked_text t);
/* kind: LIST or TUPLE; the n items are undefined at first. */
bool value_list_make(struct value *out, enum value_kind kind, size_t n, struct workspace *w,
                     struct error *err);
/* kind: MAPPING or NAMESPACE; empty. */
bool value_mapping_make(struct value *out, enum value_kind kind, struct workspace *w,
                        struct error *err);
/* A key that is there keeps its place and gets the value. */
bool value_mapping_set(struct value_mapping *m, const struct marked_text *key,
                       const struct value *v, struct workspace *w, struct error *err);
/* NULL: there is none. */
struct value *value_mapping_get(const struct value_mapping *m, const struct marked_text *key);
/* The member of a value that is a mapping; NULL otherwise. */
const struct value *value_member(const struct value *v, const char *key);

/* ---- asking -------------------------------------------------------------- */

bool value_is_string(const struct value *v, const char *word);
bool value_truth(const struct value *v);
/* The type as messages name it. */
const char *value_type(const struct value *v);
bool value_equal(bool *out, const struct value *a, const struct value *b, struct workspace *w,
                 struct error *err);
/* *order: below, 0 or above 0, of two numbers or two strings; an error for others. */
bool value_order(int *order, const struct value *a, const struct value *b, struct error *err);

/* Python's str(): nothing for undefined.  repr is only reached through lists and mappings. */
bool value_print(struct marked_text_builder *b, const struct value *v, struct workspace *w,
                 struct error *err);
/* Python's repr() of a float: the shortest digits that give it back. */
bool value_print_float(struct marked_text_builder *b, double x, struct error *err);
/* *out: str() as a text of the workspace. */
bool value_to_text(struct marked_text *out, const struct value *v, struct workspace *w,
                   struct error *err);

#endif
