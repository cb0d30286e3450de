/* comparison.h - two records of the same tokens, compared: everything that the document and the
 * table show, as numbers.  Deltas are B minus A; A is the original. */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARISON_H
#define SURPRISAL_EVAL_COMPARE_COMPARISON_H

#include "base/json.h"
#include "eval/statistics/delta_p.h"
#include "eval/statistics/divergence_figures.h"
#include "eval/statistics/paired.h"
#include "eval/run/record.h"

#define COMPARISON_RANGES        32
#define COMPARISON_WORST_WINDOWS 10
#define COMPARISON_WORST_TOKENS  20

/* A window or document with scored tokens. */
struct comparison_unit {
    int32_t number;                     /* of the window or document in the run */
    size_t begin, end;                  /* its rows */
};

/* Tokens by their index in the window, both ends included. */
struct comparison_range {
    int32_t from, to;
    size_t scored;                      /* above 0 */
    double nll_a, nll_b;
    struct estimate delta;              /* error by unit */
};

/* Zero-initialise; release with comparison_free. */
struct comparison {
    const struct record *a, *b;                     /* borrowed */
    const struct divergence_row *divergence;        /* borrowed [scored]; NULL: not measured */
    bool by_document;                               /* units are documents, not windows */
    size_t n_units;
    struct comparison_unit *units;                  /* owned [n_units] */
    struct paired_unit *sums;                       /* owned [n_units] */
    int32_t *unit;                                  /* owned [scored]: the row's unit */
    struct paired paired;
    double same_top1;                               /* share of tokens */
    struct delta_p delta_p;
    struct divergence_figures kl;                   /* where divergence was measured */
    struct comparison_range ranges[COMPARISON_RANGES];
    size_t n_ranges;
    /* By falling |delta|; units and rows that do not differ are left out. */
    size_t worst_units[COMPARISON_WORST_WINDOWS], n_worst_units;
    size_t worst_rows[COMPARISON_WORST_TOKENS], n_worst_rows;
};

/* comparable_check must have accepted the records.  bootstrap: samples (at least 2) and seed. */
bool comparison_make(struct comparison *c, const struct record *a, const struct record *b,
                     const struct divergence_row *divergence, const struct bootstrap *bootstrap,
                     struct error *err);
/* Bytes that a comparison takes while it is made, and those of them that it keeps. */
size_t comparison_bytes(size_t scored, size_t windows);
size_t comparison_kept_bytes(size_t scored, size_t windows);
void comparison_free(struct comparison *c);

/* Mean divergence of B from A over rows [begin, end), nats; NaN when it was not measured. */
double comparison_mean_kld(const struct comparison *c, size_t begin, size_t end);

#endif
