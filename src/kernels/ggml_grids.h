/* ggml_grids.h - the codebooks of the IQ types (ggml_blocks.h): data of ggml, see the notice in
 * ggml_grids.c.
 *
 * A word holds one entry, its first value in the lowest bits, as indices:
 *
 *     iq2_*    eight of 2 bits: 8, 25, 43         iq3_xxs  four of 3 bits: 4, 12 ... 52, 62
 *     iq1      eight of 2 bits: -1, 0, 1          iq3_s    four of 3 bits: 1, 3 ... 15 */
#ifndef SURPRISAL_KERNELS_GGML_GRIDS_H
#define SURPRISAL_KERNELS_GGML_GRIDS_H

#include <stdint.h>

extern const uint16_t ggml_grid_iq2_xxs[256], ggml_grid_iq2_xs[512], ggml_grid_iq2_s[1024];
extern const uint16_t ggml_grid_iq3_xxs[256], ggml_grid_iq3_s[512], ggml_grid_iq1[2048];

#endif
