#include "kernels/expand.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void expand_f32(float *out, const uint8_t *data, size_t n)
{
    memcpy(out, data, n * sizeof *out);
}

static void expand_bf16(float *out, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, data + 2 * i, sizeof half);
        out[i] = float_of_bits((uint32_t)half << 16);
    }
}

/* IEEE binary16.  Scaling by 2^112 moves the exponent's bias from 15 to 127 and is exact for
 * subnormals too; exponent 31 (infinity, NaN) is put right by hand. */
static void expand_f16(float *out, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, data + 2 * i, sizeof half);
        uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
        uint32_t sign = (uint32_t)(half & 0x8000) << 16;
        float x = float_of_bits(magnitude) * 0x1p112f;
        if ((half & 0x7C00) == 0x7C00)
            x = float_of_bits(magnitude | 0x7F800000);
        out[i] = sign ? -x : x;
    }
}

static const float e2m1[16] = {
    0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f,
    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f,
};

/* 2^(e - 127); e == 0 is the subnormal 2^-127. */
static float e8m0(uint8_t e)
{
    if (e == 255)
        return NAN;
    return e ? float_of_bits((uint32_t)e << 23) : 0x1p-127f;
}

static void expand_mxfp4(float *out, const uint8_t *packed, const uint8_t *scale, size_t n)
{
    for (size_t block = 0; block < n / MXFP4_BLOCK; block++) {
        float factor = e8m0(scale[block]);
        const uint8_t *codes = packed + block * MXFP4_BLOCK / 2;
        float *o = out + block * MXFP4_BLOCK;
        for (size_t i = 0; i < MXFP4_BLOCK / 2; i++) {
            o[2 * i] = e2m1[codes[i] & 15] * factor;
            o[2 * i + 1] = e2m1[codes[i] >> 4] * factor;
        }
    }
}

void expand_row(float *out, const struct matrix *w, size_t row)
{
    size_t n = w->cols;
    switch (w->dtype) {
    case DTYPE_F32:
        expand_f32(out, w->data + row * n * 4, n);
        break;
    case DTYPE_F16:
        expand_f16(out, w->data + row * n * 2, n);
        break;
    case DTYPE_BF16:
        expand_bf16(out, w->data + row * n * 2, n);
        break;
    case DTYPE_MXFP4:
        expand_mxfp4(out, w->data + row * (n / 2), w->scale + row * (n / MXFP4_BLOCK), n);
        break;
    default:
        assert(!"a weight's dtype is checked when it is bound");
    }
}
