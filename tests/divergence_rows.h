/* divergence_rows.h - are rows of KL divergence the same to the bit? */
#ifndef SURPRISAL_TESTS_DIVERGENCE_ROWS_H
#define SURPRISAL_TESTS_DIVERGENCE_ROWS_H

#include <string.h>

#include "model/divergence.h"

static bool equal_rows(const struct divergence_row *a, const struct divergence_row *b, size_t n)
{
    bool equal = true;
    for (size_t i = 0; i < n; i++)
        equal = equal && memcmp(&a[i].kld, &b[i].kld, 8) == 0
             && memcmp(&a[i].kld_reverse, &b[i].kld_reverse, 8) == 0 && a[i].top_a == b[i].top_a
             && memcmp(&a[i].kld_same_head, &b[i].kld_same_head, 8) == 0
             && a[i].overlap5 == b[i].overlap5 && a[i].same_top1 == b[i].same_top1;
    return equal;
}

#endif
