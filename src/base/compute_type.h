/* compute_type.h - the type that matrix products are computed in: chosen by the caller, passed down
 * to the kernels. */
#ifndef SURPRISAL_BASE_COMPUTE_TYPE_H
#define SURPRISAL_BASE_COMPUTE_TYPE_H

/* Type of the factors of a product; sums are f32 in both cases. */
enum compute_type {
    COMPUTE_F32,
    COMPUTE_BF16                    /* both factors are rounded to BF16 (held as f32) */
};
#define COMPUTE_TYPES 2

#endif
