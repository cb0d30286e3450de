/* What a tile's peaks and squares are, and which values are taken for apart, or for sums 1 + w. */
#include "verify/verify_extremes.h"

#include <math.h>
#include <string.h>

#include "verify/verify_groups.h"
#include "verify/verify_levels.h"
#include "verify/verify_norms.h"
#include "verify/verify_tally.h"
#include "tests/check.h"

#define ROWS 40
#define COLS 70                         /* two whole runs and a part of one */

/* A matrix of 0.03 to 0.09, and one value at [row, col]. */
static struct tally tally_with(float *w, size_t row, size_t col, float value)
{
    static struct tally_scratch scratch;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
        w[i] = (i % 2 ? -1.0f : 1.0f) * (0.03f + 0.0001f * (float)(i % 600));
    w[row * COLS + col] = value;
    const struct matrix m = {
        .dtype = DTYPE_F32, .data = (const uint8_t *)w, .rows = ROWS, .cols = COLS
    };
    const struct tile tile = { .here = &m, .n_rows = ROWS, .is_float = true };
    struct error err;
    struct tally t = { .elements = 0 };
    tally_tile(&t, &tile, kernels_find("scalar", &err)->rows, &scratch);
    return t;
}

static void test_peaks(void)
{
    static float w[ROWS * COLS];
    struct tally t = tally_with(w, 7, 33, 1e30f);
    check(t.peaks.n == ROWS * 3 && t.peaks.at_largest == 7 * COLS + 33,
          "the largest has its place", "%zu %zu", t.peaks.n, t.peaks.at_largest);
    check(verify_extremes_own(&t.peaks, false) == -4, "what lies below a gap is the tensor's own",
          "%d", verify_extremes_own(&t.peaks, false));
    double bulk = 0;
    t = tally_with(w, 7, 33, 2);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t first = 0; first < COLS; first += TALLY_RUN) {
            double peak = 0;
            for (size_t i = first; i < first + TALLY_RUN && i < COLS; i++)
                peak = fmax(peak, fabs((double)w[row * COLS + i]));
            bulk += log2(peak) / (ROWS * 3);
        }
    check(fabs(verify_extremes_bulk(&t.peaks) - bulk) < 0.09, "the bulk is the mean log2", "%g %g",
          verify_extremes_bulk(&t.peaks), bulk);
    check(verify_extremes_own(&t.peaks, false) == 1, "a value of its own without a gap", "%d",
          verify_extremes_own(&t.peaks, false));
    double sum = 0;
    for (size_t i = 0; i < (size_t)ROWS * COLS; i++)
        sum += (double)w[i] * w[i];
    check(fabs(verify_levels_rms(&t) / sqrt(sum / (ROWS * COLS)) - 1) < 1e-12, "RMS", "%.17g",
          verify_levels_rms(&t));
    t = tally_with(w, 7, 33, INFINITY);
    check(t.peaks.n == ROWS * 3 - 1 && isfinite(t.sum_q2) && t.non_finite == 1,
          "a run that is not finite has no peak", "%zu", t.peaks.n);
    const struct tally_peaks vector = {
        .n = 2, .sum_bits = 2 * 0x40000000ull, .largest = 0x40000000, .exponents = { [2] = 1 }
    };
    check(verify_extremes_own(&vector, true) == 1, "a vector", "%d",
          verify_extremes_own(&vector, true));
    check(isinf(verify_extremes_bulk(&(struct tally_peaks){ 0 }))
              && verify_extremes_own(&(struct tally_peaks){ 0 }, true) == 0,
          "no peak at all", "%d", verify_extremes_own(&(struct tally_peaks){ 0 }, true));
}

static const struct {
    const char *name;
    enum dtype dtype;
    float x[4];
    bool is_sum;
} sums[] = {
    { "BF16 near 1", DTYPE_BF16, { 1, 1.0078125f, 0.99609375f, 0.30078125f }, true },
    { "BF16 near 0", DTYPE_BF16, { 1, 0.0703125f, 0.01953125f, -0.1f }, false },
    { "a finer value among sums", DTYPE_BF16, { 1, 1, 1, 0.251953125f }, false },
    { "the same, of F16", DTYPE_F16, { 1, 1, 1, 0.251953125f }, true },
    { "F32", DTYPE_F32, { 1.0000001f, 0.5f, 0, 3 }, true },
    { "F32, finer", DTYPE_F32, { 1, 1, 1, 0x1p-25f }, false },
};

static void test_sums(void)
{
    for (size_t i = 0; i < sizeof sums / sizeof sums[0]; i++)
        check(verify_norms_are_sums(sums[i].x, 4, sums[i].dtype) == sums[i].is_sum, sums[i].name,
              "%d", !sums[i].is_sum);
}

/* The groups of the findings, as "n tensor" lines. */
static void test_groups(void)
{
    static const char *const tensors[] = { "a.3.b.10", "c", "a.4.b.10", "a.9.b.10", "a.3.x.1", "" };
    struct findings found = { .n = 0 };
    struct verify_groups g;
    struct buffer lines = { 0 };
    struct error err = { .message = "" };
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof tensors / sizeof tensors[0]; i++)
        ok = findings_add(&found, FOUND_SHAPE, "file", tensors[i], &err, "text %zu", i);
    ok = ok && findings_add(&found, FOUND_SHAPE, "file", NULL, &err, "text 17")
      && findings_add(&found, FOUND_SHAPE, "file", NULL, &err, "another text")
      && findings_add(&found, NOTE_CONSTANT, "file", "a.5.b.10", &err, "text")
      && verify_groups_make(&g, &found, false, &err);
    for (size_t i = 0; ok && i < g.n; i++)
        ok = buffer_printf(&lines, &err, "%zu %s\n", g.list[i].n, g.list[i].tensor);
    check(ok && strcmp(lines.data, "3 a.{3,4,9}.b.10\n1 c\n1 a.3.x.1\n2 \n1 \n1 a.5.b.10\n") == 0,
          "names that differ in numbers are a group", "%s%s", err.message, ok ? lines.data : "");
    verify_groups_free(&g);
    ok = verify_groups_make(&g, &found, true, &err);
    check(ok && g.n == found.n, "all: each is one", "%zu", g.n);
    verify_groups_free(&g);
    findings_free(&found);
    buffer_free(&lines);
}

int main(void)
{
    test_peaks();
    test_sums();
    test_groups();
    return check_done();
}
