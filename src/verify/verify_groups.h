/* verify_groups.h - findings that repeat, as one line each.
 *
 * Findings of one code are a group when their tensors' names differ in numbers alone; those about
 * no tensor, when their files and texts do.  The group shows the text of its first finding, and the
 * numbers in the name: "layers.{0-7}.mlp.experts.{3,4}.down_proj.weight". */
#ifndef SURPRISAL_VERIFY_VERIFY_GROUPS_H
#define SURPRISAL_VERIFY_VERIFY_GROUPS_H

#include "verify/verify_findings.h"

struct verify_group {
    const struct finding *first;        /* borrowed */
    size_t n;
    char *tensor;                       /* owned */
};

struct verify_groups {
    struct verify_group *list;          /* owned [n]: by level, then as they were found */
    size_t n;
};

/* Before the text of a group of more than one. */
#define VERIFY_GROUP_COUNT "%zu such, the first: "

/* all: every finding is a group of its own. */
bool verify_groups_make(struct verify_groups *g, const struct findings *found, bool all,
                        struct error *err);
void verify_groups_free(struct verify_groups *g);

#endif
