/* rows.h - the tables that rows.c and scalar_rows.c are compiled to: one for each instruction set,
 * and each once more with the roundings of BF16 compute. */
#ifndef SURPRISAL_KERNELS_ROWS_H
#define SURPRISAL_KERNELS_ROWS_H

#include "kernels/kernels.h"

#define DECLARE_ROWS(set) \
    extern const struct row_kernels row_kernels_##set, row_kernels_##set##_bf16
DECLARE_ROWS(scalar);
DECLARE_ROWS(baseline);             /* whatever the compiler targets */
DECLARE_ROWS(avx2);
DECLARE_ROWS(avx512);
#undef DECLARE_ROWS

/* The members of struct kernels. */
#define ROWS_OF(set) .rows = &row_kernels_##set, .rows_bf16 = &row_kernels_##set##_bf16

/* r(x) of kernels.h, in the files that are compiled twice. */
#ifdef ROUND_BF16
#define ROUNDED(x) bf16_value(bf16_of(x))
#else
#define ROUNDED(x) (x)
#endif

#endif
