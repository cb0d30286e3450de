/* expand.h - stored weights to f32, exactly; one function for each dtype.
 *
 * The matrix's data need not be aligned.  MXFP4 (base/matrix.h) is exact for scale bytes up to
 * 252; above, large codes give infinity, and 255 gives NaN (OCP MX 1.0, 5.4.1). */
#ifndef SURPRISAL_KERNELS_EXPAND_H
#define SURPRISAL_KERNELS_EXPAND_H

#include "base/matrix.h"

/* out: [w->cols]. */
void expand_row(float *out, const struct matrix *w, size_t row);

#endif
