/* compensated.h - Neumaier's compensated sum: the error does not grow with the number of terms. */
#ifndef SURPRISAL_EVAL_STATISTICS_COMPENSATED_H
#define SURPRISAL_EVAL_STATISTICS_COMPENSATED_H

/* Zero-initialise; the value is total + correction. */
struct compensated {
    double total, correction;
};

void compensated_add(struct compensated *sum, double x);
double compensated_value(const struct compensated *sum);

#endif
