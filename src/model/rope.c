#include "model/rope.h"

#include <math.h>

#include "base/bf16.h"

void rope_frequencies(double *frequency, size_t rotary_dim, double theta)
{
    for (size_t i = 0; i < rotary_dim / 2; i++)
        frequency[i] = pow(theta, -2.0 * (double)i / (double)rotary_dim);
}

void rope_angles(float *cosine, float *sine, const double *frequency, size_t rotary_dim,
                 size_t position)
{
    for (size_t i = 0; i < rotary_dim / 2; i++) {
        double angle = (double)position * frequency[i];
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
}

static float r(float x)
{
    return bf16_value(bf16_of(x));
}

void rope_apply(float *head, const float *cosine, const float *sine, size_t rotary_dim,
                enum compute_type type)
{
    size_t half = rotary_dim / 2;
    for (size_t i = 0; i < half; i++) {
        float a = head[i], b = head[i + half], c = cosine[i], s = sine[i];
        bool rounded = type == COMPUTE_BF16;
        head[i] = rounded ? r(r(a * c) - r(b * s)) : a * c - b * s;
        head[i + half] = rounded ? r(r(b * c) + r(a * s)) : b * c + a * s;
    }
}
