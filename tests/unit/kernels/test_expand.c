/* Stored weights to f32, and f32 to BF16: every bit pattern that matters, by hand, in every set. */
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/kernels.h"
#include "tests/differ.h"
#include "tests/isas.h"

static void test_mxfp4(const struct row_kernels *rows)
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
        struct matrix w = {
            .dtype = DTYPE_MXFP4, .data = packed, .scale = scale, .rows = 1, .cols = 64
        };
        rows->expand(out, &w, 0, 0, 64);
        bool ok = true;
        for (int j = 0; j < 2; j++) {
            float expected = cases[i].values[j], got = out[32 + j];
            ok = ok && (isnan(expected) ? isnan(got) : memcmp(&expected, &got, 4) == 0);
        }
        check(ok, cases[i].name, "got %g and %g", (double)out[32], (double)out[33]);
    }
}

static void test_halves(const struct row_kernels *rows)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        uint16_t bits;
        float value;
    } cases[] = {
        { "bf16 one", DTYPE_BF16, 0x3F80, 1.0f },
        { "bf16 negative", DTYPE_BF16, 0xC048, -3.125f },
        { "bf16 subnormal", DTYPE_BF16, 0x0001, 0x1p-133f },
        { "bf16 infinity", DTYPE_BF16, 0x7F80, INFINITY },
        { "bf16 NaN", DTYPE_BF16, 0x7FC0, NAN },
        { "f16 one", DTYPE_F16, 0x3C00, 1.0f },
        { "f16 largest", DTYPE_F16, 0x7BFF, 65504.0f },
        { "f16 smallest normal", DTYPE_F16, 0x0400, 0x1p-14f },
        { "f16 smallest subnormal", DTYPE_F16, 0x0001, 0x1p-24f },
        { "f16 largest subnormal", DTYPE_F16, 0x03FF, 1023 * 0x1p-24f },
        { "f16 minus zero", DTYPE_F16, 0x8000, -0.0f },
        { "f16 negative", DTYPE_F16, 0xC248, -3.140625f },
        { "f16 minus infinity", DTYPE_F16, 0xFC00, -INFINITY },
        { "f16 NaN", DTYPE_F16, 0x7E00, NAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        /* Row 1 of a [2, 1] matrix at an odd address: data in a file is aligned to nothing. */
        uint8_t bytes[5] = { 0 };
        memcpy(bytes + 3, &cases[i].bits, 2);
        struct matrix w = { .dtype = cases[i].dtype, .data = bytes + 1, .rows = 2, .cols = 1 };
        float out;
        rows->expand(&out, &w, 1, 0, 1);
        float expected = cases[i].value;
        check(isnan(expected) ? isnan(out) : memcmp(&expected, &out, 4) == 0, cases[i].name,
              "got %g", (double)out);
    }
}

/* Every E2M1 code under every scale, a piece of a row at a time, against the formula. */
static void test_all_codes(const struct row_kernels *rows)
{
    static const float magnitude[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
    uint8_t packed[48], scale[3];
    float out[64], expected[64];
    char where[DIFFER_TEXT] = "";
    bool ok = true;
    for (size_t i = 0; i < sizeof packed; i++)
        packed[i] = (uint8_t)(i * 37 + i / 16);
    struct matrix w = {
        .dtype = DTYPE_MXFP4, .data = packed, .scale = scale, .rows = 1, .cols = 96
    };
    for (int e = 0; e < 255; e++) {
        memset(scale, e, sizeof scale);
        rows->expand(out, &w, 0, 32, 64);
        for (size_t i = 0; i < 64; i++) {
            int code = packed[(32 + i) / 2] >> 4 * (i % 2) & 15;
            float x = (float)ldexp((double)magnitude[code & 7], e - 127);
            expected[i] = code & 8 ? -x : x;
        }
        ok = same_f32(where, out, expected, 64) && ok;
    }
    check(ok, "all codes under all scales", "differs from E2M1[code] 2^(scale - 127): %s", where);
}

static void test_to_bf16(const struct row_kernels *rows)
{
    static const struct { const char *name; uint32_t bits; uint16_t half; } cases[] = {
        { "exact values stay",              0x3F800000, 0x3F80 },
        { "below half goes down",           0x3F807FFF, 0x3F80 },
        { "above half goes up",             0x3F808001, 0x3F81 },
        { "half goes to even, down",        0x3F808000, 0x3F80 },
        { "half goes to even, up",          0x3F818000, 0x3F82 },
        { "negative",                       0xBF818000, 0xBF82 },
        { "the largest goes to infinity",   0x7F7FFFFF, 0x7F80 },
        { "infinity stays",                 0xFF800000, 0xFF80 },
        { "a NaN with low bits stays NaN",  0x7F800001, 0x7FC0 },
        { "a NaN of all ones stays NaN",    0xFFFFFFFF, 0xFFFF },
        { "subnormal",                      0x00018000, 0x0002 },
        { "minus zero",                     0x80000000, 0x8000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float x[37], expected;
        uint16_t half[37];
        for (size_t j = 0; j < 37; j++)
            memcpy(&x[j], &cases[i].bits, sizeof *x);
        uint32_t wide = (uint32_t)cases[i].half << 16;
        memcpy(&expected, &wide, sizeof expected);
        rows->to_bf16(half, x, 37);
        rows->round_bf16(x, 37);
        bool ok = true;
        for (size_t j = 0; j < 37; j++)
            ok = ok && half[j] == cases[i].half && memcmp(&x[j], &expected, sizeof *x) == 0;
        check(ok, cases[i].name, "got %04x", half[0]);
    }
}

/* Every E4M3 code under scales of each type, in blocks that divide neither rows nor columns, from
 * columns that begin a block and from others. */
static void test_fp8(const struct row_kernels *rows)
{
    enum { ROWS = 5, COLS = 300, BLOCK_ROWS = 2, BLOCK_COLS = 128, BLOCKS = 3 * 3 };
    static uint8_t codes[ROWS * COLS];
    const float f32[BLOCKS] = { 1, 0.1f, 3e-5f, -2, 0, 0x1p-140f, 0.7f, 1e30f, 12345 };
    const uint8_t e8m0[BLOCKS] = { 127, 0, 1, 250, 254, 100, 128, 126, 64 };
    uint16_t bf16[BLOCKS];
    for (size_t i = 0; i < sizeof codes; i++)
        codes[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < BLOCKS; i++)
        bf16[i] = bf16_of(f32[i]);
    const struct {
        const char *name;
        enum dtype dtype;
        const void *scales;
    } cases[] = { { "FP8, F32 scales", DTYPE_F32, f32 }, { "FP8, BF16 scales", DTYPE_BF16, bf16 },
                  { "FP8, E8M0 scales", DTYPE_F8_E8M0, e8m0 } };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const struct matrix w = { .dtype = DTYPE_FP8,
                                  .data = codes,
                                  .scale = cases[k].scales,
                                  .rows = ROWS,
                                  .cols = COLS,
                                  .scale_dtype = cases[k].dtype,
                                  .block_rows = BLOCK_ROWS,
                                  .block_cols = BLOCK_COLS };
        float out[COLS];
        size_t wrong = 0;
        for (size_t first = 0; first < COLS; first += 32)
            for (size_t i = 0, n = COLS - first; i < ROWS * n; i++) {
                size_t row = i / n, j = i % n, code = codes[row * COLS + first + j];
                size_t block = row / BLOCK_ROWS * 3 + (first + j) / BLOCK_COLS, e = code >> 3 & 15,
                       f = code & 7;
                double scale = k == 0 ? (double)f32[block]
                             : k == 1 ? (double)bf16_value(bf16[block])
                                      : ldexp(1, e8m0[block] - 127);
                double x = (e ? ldexp(8 + (double)f, (int)e - 10) : ldexp((double)f, -9)) * scale;
                float expected = (float)(code & 128 ? -x : x);
                if (j == 0)
                    rows->expand(out, &w, row, first, n);
                wrong += (size_t)((code & 127) == 127 ? !isnan(out[j])
                                                       : memcmp(&expected, &out[j], 4) != 0);
            }
        check(wrong == 0, cases[k].name, "%zu values differ from E4M3[code] scale", wrong);
    }
}

/* Heads of rows and of columns in another order: every element by itself, in pieces of every
 * length.  An F32 matrix holds its own index; an MXFP4 block is wider than a head. */
static void test_orders(const struct row_kernels *rows)
{
    enum { ROWS = 9, COLS = 64 };
    static const uint32_t place_of_rows[] = { 2, 0, 3, 1 }, place_of_cols[] = { 1, 4, 0, 3, 2 };
    const struct head_order row_order = { 1, 4, 2, place_of_rows };     /* rows 1 .. 8 */
    const struct head_order col_order = { 3, 5, 12, place_of_cols };    /* columns 3 .. 62 */
    float values[ROWS * COLS], out[COLS], expected[COLS], stored[COLS];
    uint8_t codes[ROWS * COLS / 2], scales[ROWS * COLS / 32];
    for (size_t i = 0; i < ROWS * COLS; i++)
        values[i] = (float)i;
    for (size_t i = 0; i < sizeof codes; i++)
        codes[i] = (uint8_t)(i * 37);
    for (size_t i = 0; i < sizeof scales; i++)
        scales[i] = (uint8_t)(120 + i);
    for (int packed = 0; packed < 2; packed++) {
        struct matrix in_order = { .dtype = packed ? DTYPE_MXFP4 : DTYPE_F32,
                                   .rows = ROWS,
                                   .cols = COLS,
                                   .data = packed ? codes : (const uint8_t *)values,
                                   .scale = packed ? scales : NULL };
        struct matrix w = in_order;
        w.row_order = &row_order;
        w.col_order = &col_order;
        bool same = true;
        for (size_t row = 0; row < ROWS; row++) {
            size_t from = row == 0 ? 0 : 1 + 2 * place_of_rows[(row - 1) / 2] + (row - 1) % 2;
            rows->expand(stored, &in_order, from, 0, COLS);
            for (size_t j = 0; j < COLS; j++)
                expected[j] =
                    stored[j < 3 || j > 62 ? j
                                           : 3 + 12 * place_of_cols[(j - 3) / 12] + (j - 3) % 12];
            for (size_t first = 0; first < COLS; first += 32)
                for (size_t n = 1; n <= COLS - first; n++) {
                    rows->expand(out, &w, row, first, n);
                    same = same && memcmp(out, expected + first, n * sizeof *out) == 0;
                }
        }
        check(same, packed ? "heads in another order, MXFP4" : "heads in another order, F32",
              "differ");
    }
}

int main(void)
{
    struct error err = { 0 };
    const float values[3] = { 1.5f, -0.0f, 0x1p-149f };
    for (size_t i = 0; i < N_ISAS; i++) {
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        test_mxfp4(kn->rows);
        test_all_codes(kn->rows);
        test_halves(kn->rows);
        test_to_bf16(kn->rows);
        test_fp8(kn->rows);
        test_orders(kn->rows);
        float out[3];
        kn->rows->expand(
            out,
            &(struct matrix){
                .dtype = DTYPE_F32, .data = (const uint8_t *)values, .rows = 1, .cols = 3 },
            0, 0, 3);
        check_equal_f32("f32 is copied", out, values, 3);
    }
    return check_done();
}
