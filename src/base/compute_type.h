/* compute_type.h - what products are computed in: the caller's choice, known from the API to the kernels. */
#ifndef SURPRISAL_BASE_COMPUTE_TYPE_H
#define SURPRISAL_BASE_COMPUTE_TYPE_H

/* What the values of a product are; sums are f32 either way. */
enum compute_type {
    COMPUTE_F32,
    COMPUTE_BF16                    /* both sides BF16 (held as f32); weights are rounded to it */
};
#define COMPUTE_TYPES 2

#endif
