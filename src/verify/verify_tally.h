/* verify_tally.h - one tile of a weight counted: rows [row, row + n_rows) of a view. */
#ifndef SURPRISAL_VERIFY_VERIFY_TALLY_H
#define SURPRISAL_VERIFY_VERIFY_TALLY_H

#include "kernels/kernels.h"
#include "verify/verify_scan.h"

#define TALLY_COLUMNS ((size_t)8192)    /* expanded at a time; whole blocks */

/* Scratch of one thread. */
struct tally_scratch {
    float q[TALLY_COLUMNS], w[TALLY_COLUMNS];
};

struct tile {
    const struct matrix *here;
    const struct matrix *there;         /* the original; NULL: not compared */
    size_t row, n_rows;
    bool same_storage;                  /* both hold the same kind of bytes */
    bool is_float;                      /* else only the bytes are compared */
    bool both_plain;
};

/* t: zero-initialised. */
void tally_tile(struct tally *t, const struct tile *tile, const struct row_kernels *rows,
                struct tally_scratch *scratch);

#endif
