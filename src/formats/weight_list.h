/* weight_list.h - all tensors of a checkpoint as weights, by name, those of the image encoder and
 * of multi-token prediction included: what two checkpoints can be compared by, and what a quantizer
 * packs.
 *
 * Names are those of weight.h: experts one by one, codes and scales together; any other tensor is
 * itself.  Everything borrows from the checkpoint. */
#ifndef SURPRISAL_FORMATS_WEIGHT_LIST_H
#define SURPRISAL_FORMATS_WEIGHT_LIST_H

#include "formats/weights.h"

struct listed_weight {
    char *name;                     /* owned */
    struct stored_weight stored;
    enum weight_kind kind;
    bool is_expected;               /* the config asks for it */
    bool is_unexpected; /* its name is one of the text model's, but it does not ask for it */
    bool is_linear;                 /* may be packed */
};

struct weight_list {
    struct listed_weight *list;     /* owned [n], sorted by name, no name twice */
    size_t n, capacity;
};

/* Faults are those of tensors alone.  Of two tensors for one weight the packed one is kept. */
bool weight_list_read(struct weight_list *l, const struct checkpoint *ck,
                      const struct weight_faults *faults, struct error *err);
/* Of a checkpoint that is bound.  Refuses tensors outside the text model whose codes and scales do
 * not fit; a scale without codes is an odd tensor. */
bool weight_list_of_model(struct weight_list *l, const struct checkpoint *ck,
                          const struct weights *w, struct error *err);
void weight_list_free(struct weight_list *l);
/* NULL when there is none. */
struct listed_weight *weight_list_find(const struct weight_list *l, const char *name);

/* Marks what the config asks for.  Faults: what is missing, and dtypes and shapes that the config
 * does not ask for.  prefix: of the text model's names. */
bool weight_list_match(struct weight_list *l, const struct checkpoint *ck, const char *prefix,
                       const struct weight_faults *faults, struct error *err);

#endif
