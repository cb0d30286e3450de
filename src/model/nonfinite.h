/* nonfinite.h - where a NaN or an infinity first shows in a window.
 *
 * A step that is given no list of these ends with an error that says where.  A step that is given
 * one notes the place, and the rows of that window become 0: they stay finite, and no step after it
 * mixes them with those of another window. */
#ifndef SURPRISAL_MODEL_NONFINITE_H
#define SURPRISAL_MODEL_NONFINITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum nonfinite_step { NONFINITE_NONE, NONFINITE_MIXER, NONFINITE_MLP, NONFINITE_HEAD };
enum nonfinite_part {
    NONFINITE_WHOLE, NONFINITE_SHARED_EXPERT, NONFINITE_ROUTER, NONFINITE_EXPERT,
};

struct nonfinite {
    enum nonfinite_step step;           /* NONE: all is finite */
    enum nonfinite_part part;           /* of a mixture of experts: what is to blame */
    bool full_attention;                /* its mixer */
    size_t layer;                       /* unless the step is the head */
    size_t token;                       /* in the window */
    int32_t expert;
};

#define NONFINITE_TEXT_BYTES 64

/* "layer 2, mlp, expert 5", "layer 3, self_attn", "head". */
void nonfinite_text(char out[NONFINITE_TEXT_BYTES], const struct nonfinite *n);
/* "layer 2, mlp, expert 5: NaN or infinity at token 3 of window 0"; always false. */
bool nonfinite_error(const struct nonfinite *n, size_t window, struct error *err);

#endif
