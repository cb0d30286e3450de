/* arithmetic.h - operators of the template language: sums, comparisons, membership, slices. */
#ifndef SURPRISAL_CHAT_ARITHMETIC_H
#define SURPRISAL_CHAT_ARITHMETIC_H

#include "chat/syntax.h"

/* a op b, for ADD to CONCATENATE.  Text and number have no sum. */
bool arithmetic_binary(struct value *out, enum syntax_operator op, const struct value *a,
                       const struct value *b, struct workspace *w, struct error *err);
/* -a */
bool arithmetic_negate(struct value *out, const struct value *a, struct error *err);
/* a op b, for EQUAL to NOT_IN. */
bool arithmetic_compare(bool *out, enum syntax_operator op, const struct value *a,
                        const struct value *b, struct workspace *w, struct error *err);
/* a[bounds[0]:bounds[1]:bounds[2]]; a bound that is not given is none. */
bool arithmetic_slice(struct value *out, const struct value *a, const struct value bounds[3],
                      struct workspace *w, struct error *err);
/* The index of a list or text of n elements that i means; n: there is none. */
size_t arithmetic_index(int64_t i, size_t n);
/* "'name' is undefined"; always false. */
bool arithmetic_refuse_undefined(const struct value *v, struct error *err);

#endif
