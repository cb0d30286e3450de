/* selection.h - which modules are packed: a recipe, or patterns as qstream matches them.
 *
 * A pattern with a '*' is a shell glob on the whole name (Python's fnmatch), one without is a part
 * of it.  It matches a module by its tensor's name in the split layout, or by that of the fused
 * tensor. So "*.mlp.gate." matches nothing, since names end in ".weight": such patterns are found
 * here, not after 72 GB. */
#ifndef SURPRISAL_CONVERT_SELECTION_H
#define SURPRISAL_CONVERT_SELECTION_H

#include <surprisal.h>

#include "formats/weight_list.h"

/* Linear modules that a pattern matches. */
struct pattern_matches {
    size_t n, kinds[TENSOR_KINDS];
};

struct selection {
    bool *packed;               /* owned [n_modules]: this module is to be packed */
    size_t n_packed;
    struct pattern_matches *matched;    /* owned [n_include + n_exclude] */
};

/* Refuses a selected module whose columns are no multiple of 32. */
bool selection_make(struct selection *s, const struct weight_list *m,
                    const struct surprisal_quantize_options *options, struct error *err);
/* Refuses a pattern that matches no linear module (unless that is allowed), and a selection of
 * nothing. */
bool selection_check(const struct selection *s, const struct surprisal_quantize_options *options,
                     struct error *err);
void selection_free(struct selection *s);

#endif
