/* rows.h - the tables that rows.c is compiled to, one for each instruction set. */
#ifndef SURPRISAL_KERNELS_ROWS_H
#define SURPRISAL_KERNELS_ROWS_H

#include "kernels/kernels.h"

extern const struct row_kernels row_kernels_baseline;   /* whatever the compiler targets */
extern const struct row_kernels row_kernels_avx2;
extern const struct row_kernels row_kernels_avx512;

#endif
