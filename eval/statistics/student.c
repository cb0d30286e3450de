#include "eval/statistics/student.h"

#include <float.h>
#include <math.h>

#define PI 3.14159265358979323846

/* log(gamma(a + 1/2) / gamma(a)), a >= 1/2. */
static double log_gamma_ratio(double a)
{
    /* gamma(a + 1/2) / gamma(a) is a / (a + 1/2) times its value at a + 1.  From a = 20 the series
     * is exact to the last digit. */
    double shift = 0;
    for (; a < 20; a++)
        shift += log(a / (a + 0.5));
    double r = 1 / (a * a);
    double series = 17.0 / 14336 - r * 31.0 / 18432;
    series = -1.0 / 8 + r * (1.0 / 192 + r * (-1.0 / 640 + r * series));
    return shift + 0.5 * log(a) + series / a;
}

/* The continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2). */
static double beta_fraction(double x, double a, double b)
{
    const double tiny = DBL_MIN / DBL_EPSILON;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (double m = 1; m < 100000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double step = 1;
        const double terms[2] = { even, odd };
        for (int i = 0; i < 2; i++) {
            d = 1 + terms[i] * d;
            c = 1 + terms[i] / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            step = c * d;
            value *= step;
        }
        if (fabs(step - 1) < DBL_EPSILON)
            break;
    }
    return value;
}

double student_p(double t, double df)
{
    t = fabs(t);
    if (isnan(t) || isnan(df) || df < 1)
        return (double)NAN;
    if (isinf(t))
        return 0;
    double a = df / 2, ratio = t / df * t;          /* t^2 / df */
    double x = 1 / (1 + ratio), complement = ratio / (1 + ratio);
    if (isinf(ratio))
        x = 0, complement = 1;
    /* x^a (1 - x)^(1/2) / B(a, 1/2), in logarithms */
    double log_x = isinf(ratio) ? log(df) - 2 * log(t) : -log1p(ratio);
    double log_front = a * log_x + 0.5 * log(complement) + log_gamma_ratio(a) - 0.5 * log(PI);
    if (x < (a + 1) / (a + 2.5))
        return exp(log_front) * beta_fraction(x, a, 0.5) / a;
    return t > 0 ? 1 - exp(log_front) * beta_fraction(complement, 0.5, a) / 0.5 : 1;
}

double student_t(double p, double df)
{
    double low = 0, high = 1;
    while (student_p(high, df) > p && high < DBL_MAX / 2)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (student_p(middle, df) > p)
            low = middle;
        else
            high = middle;
    }
    return high;
}
