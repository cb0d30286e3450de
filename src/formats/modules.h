/* modules.h - a checkpoint's tensors as a quantizer sees them: experts one by one, codes and scales
 * together.
 *
 * Names are those of the split layout.  A fused tensor P.experts.gate_up_proj [E, 2I, D] (gate rows
 * first) is the 2E modules P.experts.e.{gate,up}_proj.weight, P.experts.down_proj [E, D, I] is E of
 * them; the pair X.weight_packed, X.weight_scale is X.weight; any other tensor is itself. */
#ifndef SURPRISAL_FORMATS_MODULES_H
#define SURPRISAL_FORMATS_MODULES_H

#include "formats/stored.h"
#include "formats/weights.h"

struct module {
    char *name;                     /* owned: of the tensor in the split layout */
    const struct tensor *tensor;    /* that it is stored in; codes, of a packed one */
    size_t ndim, shape[TENSOR_MAX_DIMS];
    struct matrix view;             /* all of it when ndim == 2, else only dtype and data */
    size_t n_bytes;                 /* at view.data; scales, which stand elsewhere, apart */
    enum weight_kind kind;
    bool is_linear;                 /* may be packed */
    bool is_part;                   /* of a fused tensor */
};

struct modules {
    struct module *list;            /* owned [n]; by tensor name, parts of a fused one in order */
    size_t n, capacity;
};

/* Everything borrows from ck.  Refuses codes without scales or of shapes that do not fit. */
bool modules_list(struct modules *out, const struct checkpoint *ck, const struct weights *w,
                  struct error *err);
void modules_free(struct modules *m);

#endif
