/* student.h - Student's t distribution: two-sided p-values and intervals.
 *
 * p = I_x(df / 2, 1 / 2) with x = df / (df + t^2), the regularized incomplete beta function (DLMF
 * 8.17) by its continued fraction (DLMF 8.17.22, evaluated by Lentz's method).  For small t the
 * fraction gives the complement, 1 - I_{1-x}(1/2, df/2) (8.17.4).  Only gamma(a + 1/2) / gamma(a)
 * is needed, by the asymptotic series of its logarithm (DLMF 5.11.13), since the difference of two
 * large lgamma values loses digits.
 *
 * Accuracy, relative: 1e-12 for df up to 10,000, 1e-10 up to a million, p down to 1e-290 (the tests
 * compare with scipy.stats). */
#ifndef SURPRISAL_EVAL_STATISTICS_STUDENT_H
#define SURPRISAL_EVAL_STATISTICS_STUDENT_H

/* The probability of |T| >= |t| with df >= 1 degrees of freedom; 0 for infinite t, NaN for NaN. */
double student_p(double t, double df);

/* The t with student_p(t, df) == p, 0 < p < 1: an interval of confidence 1 - p is +- t errors. */
double student_t(double p, double df);

#endif
