/* verify_weights.h - the tensors of a folder as weights that two folders can be compared by.
 *
 * Names are those of the split layout: a pair X.weight_packed, X.weight_scale is the weight X.weight;
 * a fused tensor P.experts.gate_up_proj [E, 2I, D] (gate rows first) is the 2E weights
 * P.experts.e.{gate,up}_proj.weight, and P.experts.down_proj [E, D, I] is E of them; any other tensor
 * is itself, those of the image encoder and of multi-token prediction included.  Views borrow from
 * the folder. */
#ifndef SURPRISAL_VERIFY_VERIFY_WEIGHTS_H
#define SURPRISAL_VERIFY_VERIFY_WEIGHTS_H

#include "formats/stored.h"
#include "formats/weights.h"
#include "verify/verify_folder.h"

struct verify_weight {
    char *name;                         /* owned */
    const struct tensor *tensor;        /* codes, or the plain tensor */
    const struct tensor *scale;         /* of codes; NULL: not packed */
    bool is_fused;                      /* a part of a fused tensor */
    bool is_whole;                      /* the view below may be read: no fault in its shapes */
    bool is_float;                      /* and holds numbers that expand() knows */
    size_t ndim, shape[TENSOR_MAX_DIMS];        /* of the weight, not of its codes */
    struct matrix view;                 /* all but the last dimension are rows */
    size_t n_bytes;                     /* at view.data */

    /* From the config (verify_layout). */
    bool is_expected;                   /* the text model asks for it */
    bool is_unexpected;                 /* has a place in the text model that the config does not know */
    bool is_linear;
    enum weight_kind kind;              /* of an expected one */
};

struct verify_weights {
    struct verify_weight *list;         /* owned [n], sorted by name, no name twice */
    size_t n, capacity;
};

/* found: NULL when the faults of this folder are nobody's business (the original). */
bool verify_weights_list(struct verify_weights *out, const struct verify_folder *f,
                         struct findings *found, struct error *err);
void verify_weights_free(struct verify_weights *w);
/* NULL when there is none. */
struct verify_weight *verify_weights_find(const struct verify_weights *w, const char *name);

#endif
