/* linear.h - a linear layer on many tokens: out = x W^T.
 *
 * The weight stays as stored; a tile of its rows is expanded to f32 at a time.  Blocks of rows
 * and tokens have fixed sizes, so that a result does not depend on the number of threads. */
#ifndef SURPRISAL_MODEL_LINEAR_H
#define SURPRISAL_MODEL_LINEAR_H

#include "model/compute.h"

/* out [n, w->rows] (rows ldo apart) = x [n, w->cols] (rows ldx apart) times w transposed.
 * Takes its scratch from the arena and gives it back. */
void linear(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
            size_t n, const struct matrix *w);

/* Expands all of w: out [rows, cols], by all threads. */
void expand_matrix(const struct compute *cm, float *out, const struct matrix *w);

#endif
