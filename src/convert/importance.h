/* importance.h - files that say how much an error of each input channel matters.
 *
 * safetensors, F32, module names as in the split layout (X of X.weight).  At most one of
 *   gamma        X [in]: squared errors count gamma^2, as in qstream; or
 *                X.hessian [in / 32, 32, 32]: the error of a block is d H d^T
 *   activations  X.input_mean_square [in], as `surprisal calibrate` writes it: squared errors count
 *                by it; a block of channels that no text ever reached counts them alike
 * Numbers that are not finite, or a negative mean square, are refused.  A module that the file does
 * not name is quantized without. */
#ifndef SURPRISAL_CONVERT_IMPORTANCE_H
#define SURPRISAL_CONVERT_IMPORTANCE_H

#include "formats/safetensors.h"
#include "formats/weight_list.h"
#include <surprisal.h>

#include "kernels/mxfp4.h"

/* Zero-initialise: no file. */
struct importance {
    struct safetensors_file file;       /* owned */
    bool is_open, is_activations;
    float *channels;                    /* owned: of the module at hand */
    size_t capacity;
};

bool importance_open(struct importance *im, const struct surprisal_quantize_options *options,
                     struct error *err);
void importance_close(struct importance *im);

/* Does the file speak of this module?  Refuses a tensor of another shape. */
bool importance_has(bool *has, const struct importance *im, const struct listed_weight *m,
                    struct error *err);
/* What it says, valid until the next call. */
bool importance_of(struct mxfp4_importance *out, struct importance *im,
                   const struct listed_weight *m, struct error *err);

#endif
