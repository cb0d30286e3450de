#include "formats/weight_format.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "formats/weight_config.h"
#include "kernels/integers.h"
#include "kernels/stored.h"

/* ---- the table ------------------------------------------------------------------------ */

#define IS(dtype) WEIGHT_DTYPE(DTYPE_##dtype)
#define HALVES (IS(BF16) | IS(F16) | IS(F32))
#define POWERS (IS(U8) | IS(F8_E8M0))

/* clang-format off */
#define PLAIN(dtype) \
    { DTYPE_##dtype, 0, 0, { { WEIGHT_PLAIN, IS(dtype), SHAPE_BYTES, ROLE_CODES, false } } }
/* A type of GGUF's: one tensor of the weight's shape. */
#define GGML(dtype) \
    { DTYPE_##dtype, 8, 0, { { WEIGHT_PLAIN, IS(dtype), SHAPE_BYTES, ROLE_CODES, false } } }
#define CODES(suffix, dtype, shape) { suffix, IS(dtype), SHAPE_##shape, ROLE_CODES, false }
#define PART(suffix, dtypes, shape, role) { suffix, dtypes, SHAPE_##shape, ROLE_##role, false }
#define MAYBE(suffix, dtypes, shape, role) { suffix, dtypes, SHAPE_##shape, ROLE_##role, true }

/* compressed-tensors `pack-quantized`; GPTQ, and AutoRound in its layout, without g_idx. */
#define INT(n) \
    { DTYPE_INT##n, n, 0, { CODES(".weight_packed", I32, WORDS), \
                            PART(".weight_scale", HALVES, GROUPS, SCALES), \
                            MAYBE(".weight_zero_point", IS(I32), ZEROS, ZEROS), \
                            MAYBE(".weight_shape", IS(I64) | IS(I32), PAIR, SHAPE), \
                            MAYBE(".weight_g_idx", IS(I32), COLUMNS, GROUP) } }
#define GPTQ(n) \
    { DTYPE_GPTQ##n, n, 0, { CODES(".qweight", I32, WORDS_DOWN), \
                             PART(".scales", HALVES, GROUPS_DOWN, SCALES), \
                             PART(".qzeros", IS(I32), ZEROS_DOWN, ZEROS), \
                             MAYBE(".g_idx", IS(I32), COLUMNS, GROUP) } }

/* MLX's, mode "affine". */
#define MLX(n) \
    { DTYPE_MLX##n, n, MLX_GROUP, { CODES(WEIGHT_PLAIN, U32, STREAM), \
                                    PART(".scales", IS(BF16) | IS(F16), WHOLE_GROUPS, SCALES), \
                                    PART(".biases", IS(BF16) | IS(F16), AS_SCALES, BIASES) } }
/* The others of its modes: a byte for a scale, whatever that is. */
#define MLX_MODE(dtype, bits, block) \
    { DTYPE_##dtype, bits, block, { CODES(WEIGHT_PLAIN, U32, STREAM), \
                                    PART(".scales", IS(U8), BLOCKS, SCALES) } }

const struct weight_format weight_formats[] = {
    PLAIN(BF16), PLAIN(F16), PLAIN(F32),
    { DTYPE_MXFP4, 4, MXFP4_BLOCK, { CODES(".weight_packed", U8, BYTES),
                                     PART(".weight_scale", IS(U8), BLOCKS, SCALES) } },
    { DTYPE_FP8, 8, 0, { CODES(WEIGHT_PLAIN, F8_E4M3, BYTES),
                         PART(".weight_scale_inv", IS(BF16) | IS(F32) | IS(F8_E8M0), CONFIG_BLOCKS,
                              SCALES) } },
    { DTYPE_FP8, 8, 0, { CODES(WEIGHT_PLAIN, F8_E4M3, BYTES),
                         PART(".weight_scale", HALVES, GROUPS, SCALES) } },
    { DTYPE_MXFP8, 8, MXFP4_BLOCK, { CODES(WEIGHT_PLAIN, F8_E4M3, BYTES),
                                     PART(".weight_scale", POWERS, BLOCKS, SCALES) } },
    { DTYPE_MXFP4, 4, MXFP4_BLOCK, { CODES(WEIGHT_PLAIN, U8, BYTES),
                                     PART(".weight_scale", POWERS, BLOCKS, SCALES) } },
    { DTYPE_MXFP6_E2M3, 6, MXFP4_BLOCK, { CODES(".weight_packed", U8, BYTES),
                                          PART(".weight_scale", IS(U8), BLOCKS, SCALES) } },
    { DTYPE_MXFP6_E2M3, 6, MXFP4_BLOCK, { CODES(WEIGHT_PLAIN, U8, BYTES),
                                          PART(".weight_scale", POWERS, BLOCKS, SCALES) } },
    { DTYPE_MXFP6_E3M2, 6, MXFP4_BLOCK, { CODES(WEIGHT_PLAIN, U8, BYTES),
                                          PART(".weight_scale", POWERS, BLOCKS, SCALES) } },
    { DTYPE_NVFP4, 4, NVFP4_BLOCK, { CODES(WEIGHT_PLAIN, U8, BYTES),
                                     PART(".weight_scale", IS(F8_E4M3), BLOCKS, SCALES),
                                     PART(".weight_scale_2", IS(F32), ONE, FACTOR) } },
    { DTYPE_NVFP4, 4, NVFP4_BLOCK, { CODES(".weight_packed", U8, BYTES),
                                     PART(".weight_scale", IS(F8_E4M3), BLOCKS, SCALES),
                                     PART(".weight_global_scale", IS(F32), ONE, DIVISOR) } },
    INT(4), INT(8), INT(2),
    { DTYPE_INT8, 8, 0, { CODES(WEIGHT_PLAIN, I8, BYTES),
                          PART(".weight_scale", HALVES, GROUPS, SCALES),
                          MAYBE(".weight_zero_point", IS(I8), AS_SCALES, ZEROS) } },
    GPTQ(4), GPTQ(8), GPTQ(2),
    { DTYPE_AWQ4, 4, 0, { CODES(".qweight", I32, WORDS_OF_ROWS),
                          PART(".scales", HALVES, GROUPS_DOWN, SCALES),
                          MAYBE(".qzeros", IS(I32), ZEROS_DOWN, ZEROS) } },
    MLX(4), MLX(8), MLX(6), MLX(5), MLX(3), MLX(2),
    MLX_MODE(MXFP4, 4, MXFP4_BLOCK), MLX_MODE(MXFP8, 8, MXFP4_BLOCK),
    MLX_MODE(NVFP4, 4, NVFP4_BLOCK),
    GGML(Q4_0), GGML(Q4_1), GGML(Q5_0), GGML(Q5_1), GGML(Q8_0),
    GGML(Q2_K), GGML(Q3_K), GGML(Q4_K), GGML(Q5_K), GGML(Q6_K),
    GGML(IQ4_NL), GGML(IQ4_XS), GGML(IQ2_XXS), GGML(IQ2_XS), GGML(IQ2_S),
    GGML(IQ3_XXS), GGML(IQ3_S), GGML(IQ1_S), GGML(IQ1_M), GGML(TQ2_0),
    GGML(Q1_0), GGML(Q2_0), GGML(GGML_MXFP4), GGML(GGML_NVFP4),
};
/* clang-format on */
const size_t weight_formats_count = sizeof weight_formats / sizeof *weight_formats;

size_t weight_format_parts(const struct weight_format *f)
{
    size_t n = 0;
    while (n < WEIGHT_PARTS && f->parts[n].suffix)
        n++;
    return n;
}

/* ---- tensors of a module ------------------------------------------------------------------ */

static bool is_suffix(const char *suffix)
{
    for (size_t i = 0; i < weight_formats_count; i++)
        for (size_t p = 0; p < weight_format_parts(&weight_formats[i]); p++)
            if (strcmp(weight_formats[i].parts[p].suffix, suffix) == 0)
                return true;
    return false;
}

/* Tensors are sorted by name, so those of a module follow each other, and all of its submodules. */
void weight_format_tensors(struct weight_tensors *out, const struct checkpoint *ck,
                           const char *name, size_t n_module)
{
    size_t low = 0, high = ck->n_tensors;
    *out = (struct weight_tensors){ .n = 0 };
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *there = ck->tensors[middle]->name;
        int order = strncmp(there, name, n_module);
        if (order < 0 || (order == 0 && (unsigned char)there[n_module] < '.'))
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < ck->n_tensors && out->n < WEIGHT_SUFFIXES; low++) {
        const struct tensor *t = ck->tensors[low];
        if (strncmp(t->name, name, n_module) != 0 || t->name[n_module] != '.')
            return;
        if (is_suffix(t->name + n_module))
            out->list[out->n++] = t;
    }
}

const struct tensor *weight_format_tensor(const struct weight_tensors *t, size_t n_module,
                                          const char *suffix)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->list[i]->name + n_module, suffix) == 0)
            return t->list[i];
    return NULL;
}

/* ---- shapes --------------------------------------------------------------------------------- */

static size_t divide_up(size_t n, size_t by)
{
    return n / by + (n % by != 0);
}

static bool has_shape(const struct tensor *t, const struct tensor *expected)
{
    return t->ndim == expected->ndim
        && memcmp(t->shape, expected->shape, t->ndim * sizeof *t->shape) == 0;
}

static struct tensor shape_of(size_t ndim, size_t a, size_t b)
{
    return (struct tensor){ .ndim = ndim, .shape = { a, b } };
}

/* Of codes; false: the format has no such columns or rows. */
static bool codes_shape(struct tensor *out, const struct weight_format *f, size_t rows, size_t cols)
{
    size_t in_word = f->bits ? 32 / f->bits : 1;
    switch (f->parts[0].shape) {
    case SHAPE_WORDS:         *out = shape_of(2, rows, divide_up(cols, in_word)); return true;
    case SHAPE_WORDS_DOWN:    *out = shape_of(2, divide_up(cols, in_word), rows); return true;
    case SHAPE_WORDS_OF_ROWS: *out = shape_of(2, cols, rows / 8); return rows % 8 == 0;
    case SHAPE_STREAM:
        *out = shape_of(2, rows, cols / 32 * f->bits + cols % 32 * f->bits / 32);
        return cols % f->block == 0;
    default:
        *out = shape_of(2, rows, cols / 8 * f->bits + cols % 8 * f->bits / 8);
        return f->bits == 8 || cols % f->block == 0;
    }
}

/* Scales in groups of any size: [], [1], [rows], or [blocks of rows, blocks of columns]. */
static bool take_groups(struct weight_view *v, const struct tensor *t, bool down)
{
    struct matrix *m = v->matrix;
    m->block_rows = 1;
    m->block_cols = v->cols;
    if (!v->rows || !v->cols)
        return false;
    if (t->ndim == 2 && down)
        return t->shape[1] == v->rows
            && (m->block_cols = weight_config_block(v->ck, 1, v->cols, t->shape[0])) != 0;
    if (down)
        return false;
    if (t->ndim == 1 && t->shape[0] == v->rows)
        return true;
    m->block_rows = v->rows;
    if (t->ndim == 0 || (t->ndim == 1 && t->shape[0] == 1))
        return true;
    if (t->ndim != 2)
        return false;
    m->block_rows = weight_config_block(v->ck, 0, v->rows, t->shape[0]);
    m->block_cols = weight_config_block(v->ck, 1, v->cols, t->shape[1]);
    return m->block_rows && m->block_cols;
}

/* Scales [rows, any]: groups of as many columns each, in multiples of MLX's smallest. */
static bool take_whole_groups(struct weight_view *v, const struct tensor *t)
{
    struct matrix *m = v->matrix;
    size_t groups = t->ndim == 2 ? t->shape[1] : 0;
    if (!groups || t->shape[0] != v->rows || v->cols % groups || v->cols / groups % MLX_GROUP)
        return false;
    m->block_rows = 1;
    m->block_cols = v->cols / groups;
    return true;
}

/* What the shape should be; of scales of any groups, the matrix holds these afterwards. */
static bool fits(struct weight_view *v, size_t part, struct tensor *expected)
{
    const struct weight_format *f = v->format;
    const struct tensor *t = v->parts[part];
    struct matrix *m = v->matrix;
    size_t groups = m->block_cols ? divide_up(v->cols, m->block_cols) : 0;
    size_t in_word = f->bits ? 32 / f->bits : 1;
    switch (f->parts[part].shape) {
    case SHAPE_BLOCKS:
        m->block_rows = 1;
        m->block_cols = f->block;
        *expected = shape_of(2, v->rows, divide_up(v->cols, f->block));
        break;
    case SHAPE_CONFIG_BLOCKS:
        weight_config_blocks(m, v->ck);
        *expected = shape_of(2, divide_up(v->rows, m->block_rows),
                             divide_up(v->cols, m->block_cols));
        break;
    case SHAPE_GROUPS:
        *expected = shape_of(2, v->rows, 1);
        return take_groups(v, t, false);
    case SHAPE_WHOLE_GROUPS:
        *expected = shape_of(2, v->rows, size_max(v->cols / 64, 1));
        return take_whole_groups(v, t);
    case SHAPE_GROUPS_DOWN:
        *expected = shape_of(2, 1, v->rows);
        return take_groups(v, t, true);
    case SHAPE_ZEROS:      *expected = shape_of(2, divide_up(v->rows, in_word), groups); break;
    case SHAPE_ZEROS_DOWN: *expected = shape_of(2, groups, divide_up(v->rows, in_word)); break;
    case SHAPE_AS_SCALES:
        if (!v->parts[1])
            return false;
        *expected = *v->parts[1];
        break;
    case SHAPE_COLUMNS:    *expected = shape_of(1, v->cols, 0); break;
    case SHAPE_PAIR:       *expected = shape_of(1, 2, 0); break;
    case SHAPE_ONE:
        *expected = shape_of(0, 0, 0);
        return t->ndim == 0 || (t->ndim == 1 && t->shape[0] == 1);
    default:
        if (!codes_shape(expected, f, v->rows, v->cols))
            return false;
    }
    return has_shape(t, expected);
}

/* Element i of an I32 or I64 tensor; what is negative is larger than any size. */
static size_t number_at(const struct tensor *t, size_t i)
{
    int32_t small;
    int64_t x;
    if (t->dtype == DTYPE_I32) {
        memcpy(&small, t->data + i * sizeof small, sizeof small);
        x = small;
    } else
        memcpy(&x, t->data + i * sizeof x, sizeof x);
    return (size_t)x;
}

bool weight_format_shape(size_t shape[2], const struct weight_format *f,
                         const struct tensor *const *parts)
{
    const struct tensor *t = parts[0], *pair = NULL;
    if (t->ndim != 2)
        return false;
    for (size_t i = 1; i < weight_format_parts(f); i++)
        if (f->parts[i].role == ROLE_SHAPE && parts[i] && parts[i]->ndim == 1
            && parts[i]->shape[0] == 2 && (f->parts[i].dtypes & WEIGHT_DTYPE(parts[i]->dtype)))
            pair = parts[i];
    bool down = f->parts[0].shape == SHAPE_WORDS_DOWN || f->parts[0].shape == SHAPE_WORDS_OF_ROWS;
    size_t unit = f->parts[0].shape == SHAPE_BYTES ? 8 : 32;
    size_t n = t->shape[!down];
    shape[0] = t->shape[down];
    shape[1] = n / f->bits * unit + n % f->bits * unit / f->bits;
    if (f->parts[0].shape == SHAPE_WORDS_OF_ROWS) {
        shape[0] = t->shape[1] * 8;
        shape[1] = n;
    }
    if (pair)
        shape[1] = number_at(pair, 1);
    return true;
}

/* ---- which format ------------------------------------------------------------------------- */

/* How many of a format's tensors are there, with the right dtype and shape. */
static int score(const struct weight_view *v, const size_t *model)
{
    const struct weight_format *f = v->format;
    struct matrix m = { .dtype = f->dtype };
    struct weight_view here = *v;
    struct tensor expected;
    size_t shape[2] = { 0 };
    int points = 0;
    here.matrix = &m;
    bool known = model || weight_format_shape(shape, f, v->parts);
    here.rows = model ? model[0] : shape[0];
    here.cols = model ? model[1] : shape[1];
    for (size_t i = 0; i < weight_format_parts(f); i++) {
        const struct tensor *t = v->parts[i];
        if (!t)
            points -= !f->parts[i].may_be_absent;
        else if (f->parts[i].dtypes & WEIGHT_DTYPE(t->dtype))
            points += 2 + (known && fits(&here, i, &expected));
    }
    return points;
}

/* Integers under a plain weight's name are codes only if something stands beside them. */
static bool is_silent(const struct weight_view *v, const struct tensor *codes)
{
    bool beside = codes->dtype != DTYPE_U8 && codes->dtype != DTYPE_I8 && codes->dtype != DTYPE_U32;
    for (size_t p = 1; p < weight_format_parts(v->format); p++)
        beside = beside || v->parts[p];
    return !beside && strcmp(v->format->parts[0].suffix, WEIGHT_PLAIN) == 0;
}

/* MLX's bits follow from the columns of a group. */
static bool has_said_groups(const struct weight_format *f, const struct weight_view *v,
                            size_t n_module)
{
    const struct tensor *scales = v->parts[1];
    size_t shape[2];
    return scales && scales->ndim == 2 && weight_format_shape(shape, f, v->parts)
        && scales->shape[1]
        && shape[1] / scales->shape[1] == weight_config_mlx_group(v->ck, scales->name, n_module);
}

/* Of formats that have the same tensors: E2M3 and E3M2, and GPTQ's and MLX's bits, if the model is
 * not known. */
static bool is_said(const struct weight_format *f, const struct weight_view *v, size_t n_module)
{
    const struct checkpoint *ck = v->ck;
    if (f->parts[0].shape == SHAPE_STREAM)
        return has_said_groups(f, v, n_module);
    return f->dtype == DTYPE_MXFP6_E3M2 ? weight_config_is_e3m2(ck)
         : f->parts[0].shape == SHAPE_WORDS_DOWN && weight_config_has_bits(ck, f->bits);
}

const struct weight_format *weight_format_choose(const struct checkpoint *ck,
                                                 const struct weight_tensors *tensors,
                                                 size_t n_module, const struct tensor *codes,
                                                 const size_t *model)
{
    const struct weight_format *best = NULL;
    const char *suffix = codes->name + n_module;
    int most = 0;
    for (size_t i = 0; i < weight_formats_count; i++) {
        const struct weight_format *f = &weight_formats[i];
        struct weight_view v = { .ck = ck, .format = f };
        bool is_codes = f->parts[0].dtypes & WEIGHT_DTYPE(codes->dtype);
        if (strcmp(f->parts[0].suffix, suffix) != 0
            || (!is_codes && strcmp(suffix, WEIGHT_PLAIN) == 0))
            continue;
        if (!dtype_is_packed(f->dtype))
            return f;
        for (size_t p = 0; p < weight_format_parts(f); p++)
            v.parts[p] = weight_format_tensor(tensors, n_module, f->parts[p].suffix);
        if (is_silent(&v, codes))
            continue;
        int points = score(&v, model);
        if (!best || points > most || (points == most && is_said(f, &v, n_module))) {
            best = f;
            most = points;
        }
    }
    return best;
}

/* ---- taking a part ---------------------------------------------------------------------- */

/* The rows and columns that a tensor says. */
static bool check_pair(const struct weight_view *v, const struct tensor *t, char *text, size_t n)
{
    size_t rows = number_at(t, 0), cols = number_at(t, 1);
    if (rows == v->rows && cols == v->cols)
        return true;
    snprintf(text, n, "says [%zd, %zd], expected [%zu, %zu]", (ssize_t)rows, (ssize_t)cols, v->rows,
             v->cols);
    return false;
}

/* Nothing is read through a group before it is known to be one. */
static bool check_group(const struct weight_view *v, const struct tensor *t, char *text, size_t n)
{
    size_t groups = divide_up(v->cols, v->matrix->block_cols);
    for (size_t i = 0; i < v->cols; i++)
        if (number_at(t, i) >= groups) {
            snprintf(text, n, "has group %zd at [%zu], expected one of %zu",
                     (ssize_t)number_at(t, i), i, groups);
            return false;
        }
    return true;
}

static bool refuse_dtype(const struct tensor *t, enum dtype expected, char *text, size_t n)
{
    snprintf(text, n, "has dtype %s, expected %s as the scales have", dtype_name(t->dtype),
             dtype_name(expected));
    return false;
}

static bool take_role(struct weight_view *v, size_t part, char *text, size_t n)
{
    const struct tensor *t = v->parts[part];
    struct matrix *m = v->matrix;
    switch (v->format->parts[part].role) {
    case ROLE_CODES:
        m->is_signed = t->dtype == DTYPE_I8;
        return true;
    case ROLE_SCALES:
        m->scale = t->data;
        m->scale_dtype = t->dtype != DTYPE_U8       ? t->dtype
                       : m->dtype == DTYPE_NVFP4 ? DTYPE_F8_E4M3
                                                 : DTYPE_F8_E8M0;
        return true;
    case ROLE_BIASES:
        m->bias = t->data;
        return t->dtype == m->scale_dtype || refuse_dtype(t, m->scale_dtype, text, n);
    case ROLE_FACTOR:
    case ROLE_DIVISOR:
        m->factor = t->data;
        m->factor_divides = v->format->parts[part].role == ROLE_DIVISOR;
        return true;
    case ROLE_ZEROS:
        m->zero = t->data;
        m->zeros = integers_are_transposed(m) && m->dtype != DTYPE_AWQ4 ? weight_config_zeros(v->ck)
                                                                     : ZEROS_STORED;
        return true;
    case ROLE_GROUP:
        m->group = t->data;
        return check_group(v, t, text, n);
    default:
        return check_pair(v, t, text, n);
    }
}

bool weight_format_take(struct weight_view *v, size_t part, char *text, size_t n)
{
    char found_text[256], expected_text[256];
    struct tensor expected = { .ndim = 0 };
    const struct tensor *t = v->parts[part];
    const struct weight_format *f = v->format;
    if (fits(v, part, &expected))
        return take_role(v, part, text, n);
    if (part == 0 && f->block && v->cols % f->block && f->bits < 8)
        snprintf(text, n, "has %zu columns, %s needs a multiple of %zu", v->cols,
                 dtype_name(f->dtype), f->block);
    else if (f->parts[part].shape == SHAPE_WORDS_OF_ROWS && v->rows % 8)
        snprintf(text, n, "has %zu rows, %s needs a multiple of 8", v->rows, dtype_name(f->dtype));
    else
        snprintf(text, n, "has shape %s, expected %s%s",
                 tensor_shape_text(t, found_text, sizeof found_text),
                 tensor_shape_text(&expected, expected_text, sizeof expected_text),
                 f->parts[part].shape == SHAPE_GROUPS         ? " or blocks"
                 : f->parts[part].shape == SHAPE_WHOLE_GROUPS ? " or groups of 32, 64, ... columns"
                 : f->parts[part].shape == SHAPE_GROUPS_DOWN  ? " or more rows"
                                                              : "");
    return false;
}
