/* Blocks of GGUF types on every set of kernels against what ggml's own code makes of the same bytes
 * (tests/conformance/make_ggml_goldens.py): all values of 1024 random blocks by their SHA-256,
 * those of the first one by one.  Then pieces that begin and end inside a block. */
#include "kernels/ggml_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "kernels/kernels.h"
#include "kernels/stored.h"
#include "tests/check.h"
#include "tests/isas.h"
#include "tests/random.h"

#define GOLDEN "tests/unit/kernels/ggml_blocks.golden"

enum { BLOCKS = 1024, NAME_BYTES = 64 };

static uint8_t bytes[BLOCKS * GGML_BLOCK_MOST + 8];
static float values[BLOCKS * GGML_BLOCK_MOST];

/* Bytes of the high half of a scale in F16, of which each block has one or two. */
static const struct {
    const char *name;
    enum dtype dtype;
    size_t halves[2];
} types[] = {
    { "Q4_0", DTYPE_Q4_0, { 1, 1 } },         { "Q4_1", DTYPE_Q4_1, { 1, 3 } },
    { "Q5_0", DTYPE_Q5_0, { 1, 1 } },         { "Q5_1", DTYPE_Q5_1, { 1, 3 } },
    { "Q8_0", DTYPE_Q8_0, { 1, 1 } },         { "Q2_K", DTYPE_Q2_K, { 81, 83 } },
    { "Q3_K", DTYPE_Q3_K, { 109, 109 } },     { "Q4_K", DTYPE_Q4_K, { 1, 3 } },
    { "Q5_K", DTYPE_Q5_K, { 1, 3 } },         { "Q6_K", DTYPE_Q6_K, { 209, 209 } },
    { "IQ2_XXS", DTYPE_IQ2_XXS, { 1, 1 } },   { "IQ2_XS", DTYPE_IQ2_XS, { 1, 1 } },
    { "IQ3_XXS", DTYPE_IQ3_XXS, { 1, 1 } },   { "IQ1_S", DTYPE_IQ1_S, { 1, 1 } },
    { "IQ4_NL", DTYPE_IQ4_NL, { 1, 1 } },     { "IQ3_S", DTYPE_IQ3_S, { 1, 1 } },
    { "IQ2_S", DTYPE_IQ2_S, { 1, 1 } },       { "IQ4_XS", DTYPE_IQ4_XS, { 1, 1 } },
    { "IQ1_M", DTYPE_IQ1_M, { 55, 55 } },     { "TQ2_0", DTYPE_TQ2_0, { 65, 65 } },
    { "MXFP4", DTYPE_GGML_MXFP4, { 0, 0 } },  { "NVFP4", DTYPE_GGML_NVFP4, { 0, 0 } },
    { "Q1_0", DTYPE_Q1_0, { 1, 1 } },         { "Q2_0", DTYPE_Q2_0, { 1, 1 } },
};
#define N_TYPES (sizeof types / sizeof *types)

static struct matrix make_blocks(size_t type)
{
    const struct ggml_block_type *t = ggml_block_type(types[type].dtype);
    struct random r = { 1 };
    for (size_t i = 0; i < BLOCKS * t->bytes; i += 8) {
        uint64_t x = random_bits(&r);
        memcpy(bytes + i, &x, sizeof x);
    }
    for (uint8_t *b = bytes; b < bytes + BLOCKS * t->bytes; b += t->bytes) {
        for (size_t i = 0; i < 2 && types[type].halves[i]; i++)
            b[types[type].halves[i]] &= 0xBF;
        if (types[type].dtype == DTYPE_GGML_MXFP4 && b[0] == 255)
            b[0] = 254;
        for (size_t i = 0; i < 4 && types[type].dtype == DTYPE_GGML_NVFP4; i++)
            b[i] &= 0x7F;
    }
    return (struct matrix){ .dtype = types[type].dtype, .data = bytes, .rows = BLOCKS / 4,
                            .cols = 4 * t->columns };
}

static void unhex(uint8_t *out, const char *text)
{
    for (; text[0] && text[1]; text += 2, out++) {
        const char two[3] = { text[0], text[1] };
        *out = (uint8_t)strtoul(two, NULL, 16);
    }
}

static void compare(const struct kernels *kn, size_t type, const char *digest, const char *first)
{
    const struct matrix w = make_blocks(type);
    char name[NAME_BYTES], found[2 * DIGEST_BYTES + 1] = "";
    float expected[GGML_BLOCK_MOST];
    struct digest d;
    snprintf(name, sizeof name, "%s, %s: ggml's values", types[type].name, kn->isa);
    bool defined = true;
    for (size_t row = 0; row < w.rows; row++) {
        float *out = values + row * w.cols;
        float definition[4 * GGML_BLOCK_MOST];
        kn->rows->expand(out, &w, row, 0, w.cols);
        kernels_scalar.rows->expand(definition, &w, row, 0, w.cols);
        defined = defined && memcmp(out, definition, w.cols * sizeof *out) == 0;
    }
    check(defined, "the bits of the definition", "%s, %s", types[type].name, kn->isa);
    for (size_t i = 0; i < w.rows * w.cols; i++)
        values[i] += 0;                 /* -0 */
    unhex((uint8_t *)(void *)expected, first);
    for (size_t i = 0; i < w.cols / 4; i++)
        if (expected[i] != values[i]) {
            check(false, name, "value %zu is %a, expected %a", i, (double)values[i],
                  (double)expected[i]);
            return;
        }
    if (digest_of(&d, values, w.rows * w.cols * sizeof *values, NULL))
        digest_hex(found, &d);
    check(strcmp(found, digest) == 0, name, "SHA-256 is %s, expected %s", found, digest);
    check(!stored_find_nan(&(struct stored_nan){ 0 }, &w), "all scales are finite", "%s",
          types[type].name);
}

/* Columns [first, first + n) are those of the whole row. */
static void test_pieces(const struct kernels *kn)
{
    static const size_t pieces[][2] = { { 0, 1 }, { 31, 2 }, { 32, 32 }, { 96, 128 }, { 5, 300 } };
    static float whole[4 * GGML_BLOCK_MOST], piece[4 * GGML_BLOCK_MOST];
    for (size_t type = 0; type < N_TYPES; type++) {
        const struct matrix w = make_blocks(type);
        bool same = true;
        kn->rows->expand(whole, &w, 3, 0, w.cols);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            size_t first = pieces[i][0], n = pieces[i][1];
            if (first + n > w.cols)
                n = w.cols - first;
            piece[n] = 7;
            kn->rows->expand(piece, &w, 3, first, n);
            same = same && piece[n] == 7 && memcmp(piece, whole + first, n * sizeof *piece) == 0;
        }
        check(same, "pieces of a row", "%s, %s", types[type].name, kn->isa);
    }
}

static void test_faults(void)
{
    for (size_t type = 0; type < N_TYPES; type++) {
        struct matrix w = make_blocks(type);
        size_t size = ggml_block_type(w.dtype)->bytes, half = types[type].halves[1];
        struct stored_nan at = { 0 };
        if (half)
            bytes[5 * size + half] |= 0x7C;
        else
            bytes[5 * size] = 255;
        if (w.dtype == DTYPE_IQ1_M)     /* the next lower bits are another word's */
            bytes[5 * size + 53] |= 0xC0;
        check(stored_find_nan(&at, &w) && at.part == 0 && at.row == 1
                  && at.col == w.cols / 4 && strstr(at.what, "scale"),
              "a scale that is no number is found", "%s: [%zu, %zu]", types[type].name, at.row,
              at.col);
    }
}

static void test_isa(const struct kernels *kn, const char *golden)
{
    char *copy = strdup(golden), *rest = copy, *line;
    for (size_t type = 0; (line = strtok_r(rest, "\n", &rest)); type++) {
        char *word, *name = strtok_r(line, " ", &word), *digest = strtok_r(NULL, " ", &word);
        strtok_r(NULL, " ", &word);
        char *first = strtok_r(NULL, " ", &word);
        if (check(type < N_TYPES && first && strcmp(name, types[type].name) == 0,
                  "the golden file has this type", "%s", name))
            compare(kn, type, digest, first);
    }
    free(copy);
}

int main(void)
{
    struct error err = { 0 };
    struct buffer golden = { 0 };
    if (!check(file_read(&golden, GOLDEN, &err), "the golden file", "%s", err.message))
        return check_done();
    for (size_t i = 0; i < N_ISAS; i++) {
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        test_isa(kn, golden.data);
        test_pieces(kn);
    }
    test_faults();
    buffer_free(&golden);
    return check_done();
}
