/* ggml_decode.h - blocks of GGUF types (ggml_blocks.h) as loops that the compiler vectorises:
 * rows.c includes it once for each instruction set. */
#ifndef SURPRISAL_KERNELS_GGML_DECODE_H
#define SURPRISAL_KERNELS_GGML_DECODE_H

#include <string.h>

#include "kernels/ggml_blocks.h"

/* Elements [at, at + n) of a matrix, counted row by row, all in one row. */
static void ggml_decode(float *out, const struct matrix *w, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = ggml_block_value(w->dtype, w->data, at + i);
}

#endif
