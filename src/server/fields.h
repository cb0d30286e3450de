/* fields.h - members of a request's JSON, by name: each function leaves its result as it is if the
 * member is absent or null, and refuses another type or a value out of range with 400. */
#ifndef SURPRISAL_SERVER_FIELDS_H
#define SURPRISAL_SERVER_FIELDS_H

#include "chat/value.h"
#include "server/problem.h"

struct fields {
    const struct value *body;       /* a mapping */
    struct workspace *w;            /* where lists go */
    struct problem *problem;
};

/* NULL: absent or null.  names are constants. */
const struct value *fields_get(const struct fields *f, const char *name);
bool fields_flag(const struct fields *f, const char *name, bool *out);
/* Finite, least to most. */
bool fields_number(const struct fields *f, const char *name, double least, double most,
                   double *out);
/* 5.0 is 5; true is no number. */
bool fields_integer(const struct fields *f, const char *name, int64_t least, int64_t most,
                    int64_t *out);
/* Without NUL. */
bool fields_text(const struct fields *f, const char *name, const char **out);
/* A list of token ids below `vocab_size`. */
bool fields_ids(const struct fields *f, const char *name, size_t vocab_size, const int32_t **ids,
                size_t *n);
/* The same of a value that is there, which errors call by this name. */
bool fields_ids_of(const struct fields *f, const char *name, const struct value *v,
                   size_t vocab_size, const int32_t **ids, size_t *n);
/* The integer of a value; false for others. */
bool fields_is_integer(const struct value *v, int64_t *out);

#endif
