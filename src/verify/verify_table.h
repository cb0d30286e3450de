/* verify_table.h - the tallies of quantized weights added up by layer and kind of module
 * (verify_label.h). */
#ifndef SURPRISAL_VERIFY_VERIFY_TABLE_H
#define SURPRISAL_VERIFY_VERIFY_TABLE_H

#include "verify/verify.h"
#include "verify/verify_label.h"

struct verify_cell {
    size_t tensors;                     /* 0: no such modules */
    struct tally sum;
};

struct verify_table {
    struct verify_label *layers, *kinds;        /* owned; layers in order, kinds by name */
    size_t n_layers, n_kinds, layers_capacity, kinds_capacity;
    struct verify_cell *cells;          /* owned [n_layers * n_kinds] */
    struct verify_cell *totals;         /* owned [n_kinds] */
    struct verify_cell all;
};

/* Packed weights, and those that are packed in the original. */
bool verify_table_is_quantized(const struct verify_result *r, size_t weight);

bool verify_table_make(struct verify_table *t, const struct verify_result *r, struct error *err);
void verify_table_free(struct verify_table *t);
const struct verify_cell *verify_table_cell(const struct verify_table *t, size_t layer,
                                            size_t kind);

#endif
