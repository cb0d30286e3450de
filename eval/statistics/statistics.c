#include "eval/statistics/statistics.h"

#include <math.h>
#include <stdlib.h>

double statistics_quantile(const double *ascending, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n)
        return ascending[n - 1];
    double share = at - (double)below, low = ascending[below], high = ascending[below + 1];
    return share < 0.5 ? low + share * (high - low) : high - (1 - share) * (high - low);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void statistics_sort(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
}

struct figures statistics_figures(const struct window_score *windows, size_t n_windows)
{
    struct compensated nll = { 0 };
    size_t scored = 0, units = 0;
    for (size_t i = 0; i < n_windows; i++) {
        compensated_add(&nll, compensated_value(&windows[i].nll));
        scored += windows[i].scored;
        units += windows[i].scored > 0;
    }
    double n = (double)scored, mean = compensated_value(&nll) / n;

    struct compensated squares = { 0 };
    for (size_t i = 0; i < n_windows; i++) {
        double residual = compensated_value(&windows[i].nll) - mean * (double)windows[i].scored;
        compensated_add(&squares, residual * residual);
    }
    double w = (double)units;
    double se = units > 1 ? sqrt(w / (w - 1) * compensated_value(&squares)) / n : (double)NAN;
    double perplexity = exp(mean);
    return (struct figures){
        .mean = mean, .perplexity = perplexity,
        .mean_se = se, .perplexity_se = perplexity * se,
        .word_perplexity = (double)NAN, .byte_perplexity = (double)NAN,
        .bits_per_byte = (double)NAN,
    };
}

void statistics_by_text(struct figures *f, size_t tokens, size_t words, size_t bytes)
{
    double total = f->mean * (double)tokens;
    f->word_perplexity = exp(total / (double)words);
    f->byte_perplexity = exp(total / (double)bytes);
    f->bits_per_byte = total / (double)bytes / log(2.0);
}
