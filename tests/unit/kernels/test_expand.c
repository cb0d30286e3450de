/* Stored weights to f32: every bit pattern that matters, by hand. */
#include <math.h>
#include <string.h>

#include "kernels/expand.h"
#include "tests/check.h"

static void test_mxfp4(void)
{
    static const struct { const char *name; uint8_t packed, scale; float values[2]; } cases[] = {
        { "low nibble comes first",       0x72, 127, { 1.0f, 6.0f } },
        { "bit 3 is the sign",            0x9A, 127, { -1.0f, -0.5f } },
        { "scale 128 doubles",            0x21, 128, { 1.0f, 2.0f } },
        { "smallest scale",               0x02, 0,   { 0x1p-127f, 0.0f } },
        { "half of the smallest scale",   0x01, 0,   { 0x1p-128f, 0.0f } },
        { "code 8 is minus zero",         0x08, 127, { -0.0f, 0.0f } },
        { "6 x 2^125 is still finite",    0x07, 252, { 6 * 0x1p125f, 0.0f } },
        { "3 x 2^126 is the largest",     0x05, 253, { 3 * 0x1p126f, 0.0f } },
        { "4 x 2^126 overflows",          0x06, 253, { INFINITY, 0.0f } },
        { "scale 255 is NaN",             0x22, 255, { NAN, NAN } },
        { "codes 3 and 5",                0x53, 127, { 1.5f, 3.0f } },
        { "codes 4 and 6",                0x64, 126, { 1.0f, 2.0f } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t packed[32] = { 0 }, scale[2] = { 1, cases[i].scale };
        float out[64];
        packed[16] = cases[i].packed;           /* the second block has its own scale */
        struct matrix w = { DTYPE_MXFP4, packed, scale, 1, 64 };
        expand_row(out, &w, 0);
        bool ok = true;
        for (int j = 0; j < 2; j++) {
            float expected = cases[i].values[j], got = out[32 + j];
            ok = ok && (isnan(expected) ? isnan(got) : memcmp(&expected, &got, 4) == 0);
        }
        check(ok, cases[i].name, "got %g and %g", (double)out[32], (double)out[33]);
    }
}

static void test_halves(void)
{
    static const struct { const char *name; enum dtype dtype; uint16_t bits; float value; } cases[] = {
        { "bf16 one",                DTYPE_BF16, 0x3F80, 1.0f },
        { "bf16 negative",           DTYPE_BF16, 0xC048, -3.125f },
        { "bf16 subnormal",          DTYPE_BF16, 0x0001, 0x1p-133f },
        { "bf16 infinity",           DTYPE_BF16, 0x7F80, INFINITY },
        { "bf16 NaN",                DTYPE_BF16, 0x7FC0, NAN },
        { "f16 one",                 DTYPE_F16,  0x3C00, 1.0f },
        { "f16 largest",             DTYPE_F16,  0x7BFF, 65504.0f },
        { "f16 smallest normal",     DTYPE_F16,  0x0400, 0x1p-14f },
        { "f16 smallest subnormal",  DTYPE_F16,  0x0001, 0x1p-24f },
        { "f16 largest subnormal",   DTYPE_F16,  0x03FF, 1023 * 0x1p-24f },
        { "f16 minus zero",          DTYPE_F16,  0x8000, -0.0f },
        { "f16 negative",            DTYPE_F16,  0xC248, -3.140625f },
        { "f16 minus infinity",      DTYPE_F16,  0xFC00, -INFINITY },
        { "f16 NaN",                 DTYPE_F16,  0x7E00, NAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* Row 1 of a [2, 1] matrix at an odd address: data in a file is aligned to nothing. */
        uint8_t bytes[5] = { 0 };
        memcpy(bytes + 3, &cases[i].bits, 2);
        struct matrix w = { cases[i].dtype, bytes + 1, NULL, 2, 1 };
        float out;
        expand_row(&out, &w, 1);
        float expected = cases[i].value;
        check(isnan(expected) ? isnan(out) : memcmp(&expected, &out, 4) == 0, cases[i].name,
              "got %g", (double)out);
    }
}

int main(void)
{
    test_mxfp4();
    test_halves();
    const float values[3] = { 1.5f, -0.0f, 0x1p-149f };
    float out[3];
    expand_row(out, &(struct matrix){ DTYPE_F32, (const uint8_t *)values, NULL, 1, 3 }, 0);
    check(memcmp(values, out, sizeof out) == 0, "f32 is copied", "bits differ");
    return check_done();
}
