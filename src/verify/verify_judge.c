#include "verify/verify_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"

#define PLACE_BYTES 128

/* ---- where -------------------------------------------------------------------------- */

/* "[3, 17]" of element `index`. */
static const char *place_text(char text[PLACE_BYTES], const struct verify_weight *w, size_t index)
{
    struct tensor at = { .ndim = w->ndim };
    for (size_t i = w->ndim; i-- > 0;) {
        at.shape[i] = index % w->shape[i];
        index /= w->shape[i];
    }
    return tensor_shape_text(&at, text, PLACE_BYTES);
}

static const char *block_text(char text[PLACE_BYTES], const struct verify_weight *w, size_t block)
{
    size_t blocks = w->view.cols / MXFP4_BLOCK;
    snprintf(text, PLACE_BYTES, "[%zu, %zu]", block / blocks, block % blocks);
    return text;
}

struct judge {
    const struct tally *t;
    const struct verify_weight *w, *there;
    struct findings *found;
    struct error *err;
};

/* About the weight's own tensor, or its scales; says which part of a fused one. */
__attribute__((format(printf, 4, 5)))
static bool add(const struct judge *j, enum finding_code code, const struct tensor *of,
                const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    format_text_v(text, sizeof text, format, args);
    va_end(args);
    return findings_add(j->found, code, of->file, of->name, j->err, "%s%s%s",
                        j->w->is_fused ? j->w->name : "", j->w->is_fused ? ": " : "", text);
}

/* ---- values -------------------------------------------------------------------------- */

static bool judge_finite(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[PLACE_BYTES];
    bool ok = true;
    if (t->nan_scales)
        ok = add(j, FOUND_SCALE_NAN, j->w->scale, "%zu of %zu scale bytes are 255, which is NaN, the first at"
                 " %s", t->nan_scales, t->blocks, block_text(place, j->w, t->first_nan_scale));
    if (ok && t->non_finite)
        ok = add(j, FOUND_NON_FINITE, j->w->tensor, "%zu of %zu values are NaN or infinite, the first at %s",
                 t->non_finite, t->elements, place_text(place, j->w, t->first_non_finite));
    return ok;
}

/* A norm or a bias may be all zeros: counted, not named. */
static bool is_constant_vector(const struct verify_weight *w, const struct tally *t)
{
    return w->ndim < 2 && t->elements > 1 && !t->varies && !t->non_finite;
}

/* An all-zero or constant matrix means lost data, unless the original has it too. */
static bool judge_zeros(const struct judge *j)
{
    const struct tally *t = j->t;
    bool as_there = t->compared && !t->different && j->there->view.dtype == j->w->view.dtype;
    if (is_constant_vector(j->w, t))
        return true;
    if (t->elements > 1 && t->largest == 0) {
        as_there |= t->compared && t->zero_rows_there == t->rows && t->rows;
        return add(j, as_there ? NOTE_CONSTANT : FOUND_ZERO_TENSOR, j->w->tensor,
                   "all %zu values are zero", t->elements);
    }
    if (t->elements > 1 && !t->varies && !t->non_finite)
        return add(j, as_there ? NOTE_CONSTANT : FOUND_CONSTANT, j->w->tensor,
                   "all %zu values are the same", t->elements);
    return t->zero_rows == t->zero_rows_there
        || add(j, FOUND_ZERO_ROWS, j->w->tensor, "%zu of %zu rows are zero%s",
               t->zero_rows - t->zero_rows_there, t->rows,
               t->compared ? ", and are not in the original" : "");
}

/* Without the original, codes that crowd at one end of their range are suspect. */
static bool judge_codes(const struct judge *j)
{
    const struct tally *t = j->t;
    bool known = t->compared && tally_sqnr(t) >= VERIFY_LOW_SQNR;
    bool ok = true;
    if (t->blocks && 2 * t->largest_codes >= t->blocks * MXFP4_BLOCK)
        ok = add(j, known ? NOTE_CODES : FOUND_SATURATED, j->w->tensor, "%zu of %zu codes are the largest, 6:"
                 " scales too small?", t->largest_codes, t->blocks * MXFP4_BLOCK);
    if (ok && t->small_blocks && 2 * t->small_blocks >= t->blocks - t->zero_blocks)
        ok = add(j, known ? NOTE_CODES : FOUND_SMALL_CODES, j->w->tensor, "%zu of %zu blocks have no code above"
                 " 1: scales too large?", t->small_blocks, t->blocks);
    return ok;
}

/* ---- against the original ------------------------------------------------------------- */

static bool judge_equal(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[PLACE_BYTES];
    if (!t->different)
        return true;
    if (j->w->scale)
        return add(j, FOUND_DIFFERS, j->w->tensor, "%zu bytes of codes and scales are not the original's",
                   t->different);
    return add(j, FOUND_DIFFERS, j->w->tensor, "%zu of %zu values are not the original's, the first at %s",
               t->different, j->w->view.rows * j->w->view.cols,
               place_text(place, j->w, t->first_different));
}

static bool judge_distance(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[PLACE_BYTES];
    bool ok = true;
    double sqnr = tally_sqnr(t);
    if (t->original_non_finite)
        return findings_add(j->found, FOUND_NON_FINITE, j->there->tensor->file,
                            j->there->tensor->name, j->err, "the original has %zu values that are NaN"
                            " or infinite", t->original_non_finite);
    if (t->off_blocks)
        ok = add(j, FOUND_SCALE_OFF, j->w->scale, "%zu of %zu scales do not fit their codes, the first at %s,"
                 " where the original's weights are %.2f times larger; SQNR %.1f dB", t->off_blocks,
                 t->blocks, block_text(place, j->w, t->first_off), t->off_factor, sqnr);
    else if (sqnr < VERIFY_LOW_SQNR && t->largest)
        ok = add(j, FOUND_LOW_SQNR, j->w->tensor, "SQNR %.1f dB, expected at least %.0f: other weights than the"
                 " original's?", sqnr, VERIFY_LOW_SQNR);
    if (ok && t->zeroed_blocks && t->zero_rows == t->zero_rows_there)
        ok = add(j, FOUND_ZEROED, j->w->tensor, "%zu of %zu blocks are zero, and are not in the original, the"
                 " first at %s", t->zeroed_blocks, t->blocks, block_text(place, j->w, t->first_zeroed));
    return ok;
}

bool verify_judge(const struct tally *tallies, const struct verify_weights *w,
                  const struct verify_weights *original, struct findings *found, struct error *err)
{
    size_t n_constant = 0, first = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct judge one = { &tallies[i], &w->list[i],
                                   verify_counterpart(&w->list[i], original), found, err };
        const struct judge *j = &one;
        ok = judge_finite(j) && judge_zeros(j) && (!one.w->scale || judge_codes(j));
        if (ok && one.t->compared)
            ok = one.there->view.dtype == one.w->view.dtype ? judge_equal(j) : judge_distance(j);
        if (is_constant_vector(one.w, one.t) && n_constant++ == 0)
            first = i;
    }
    if (ok && n_constant)
        ok = findings_add(found, NOTE_CONSTANT, w->list[first].tensor->file,
                          w->list[first].tensor->name, err, "all values are the same, in this and %zu"
                          " more vectors", n_constant - 1);
    return ok;
}

/* ---- names ----------------------------------------------------------------------------- */

static bool judge_pair(const struct verify_weight *w, const struct verify_weight *there,
                       struct findings *found, struct error *err)
{
    const struct tensor *t = w->tensor;
    struct tensor have = { .ndim = w->ndim }, want = { .ndim = there->ndim };
    char have_text[256], want_text[256];
    if (!w->is_whole || !there->is_whole)
        return true;
    memcpy(have.shape, w->shape, sizeof have.shape);
    memcpy(want.shape, there->shape, sizeof want.shape);
    tensor_shape_text(&have, have_text, sizeof have_text);
    tensor_shape_text(&want, want_text, sizeof want_text);
    if (strcmp(have_text, want_text) != 0)
        return findings_add(found, FOUND_SHAPE, t->file, t->name, err, "makes a weight of shape %s,"
                            " %s in the original", have_text, want_text);
    return w->scale || there->scale || w->view.dtype == there->view.dtype
        || findings_add(found, FOUND_DTYPE, t->file, t->name, err, "is %s, %s in the original",
                        dtype_name(w->view.dtype), dtype_name(there->view.dtype));
}

static bool is_lost(const struct verify_folder *f, const struct verify_weight *w)
{
    char name[512];
    int module = (int)module_name_length(w->name);
    bool lost = verify_folder_is_lost(f, w->name);
    snprintf(name, sizeof name, "%.*s.weight_packed", module, w->name);
    return lost || verify_folder_is_lost(f, name)
        || (w->is_fused && verify_folder_is_lost(f, w->tensor->name));
}

bool verify_judge_names(const struct verify_folder *f, const struct verify_weights *w,
                        const struct verify_folder *original_folder,
                        const struct verify_weights *original, struct findings *found,
                        struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < original->n; i++) {
        const struct verify_weight *there = &original->list[i];
        const struct verify_weight *here = verify_weights_find(w, there->name);
        if (here)
            ok = judge_pair(here, there, found, err);
        else if (!is_lost(f, there))
            ok = findings_add(found, FOUND_MISSING, NULL, there->name, err,
                              "stands in the original (%s), in no file here", there->tensor->name);
    }
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct verify_weight *here = &w->list[i];
        if (!here->is_unexpected && !verify_weights_find(original, here->name)
            && !is_lost(original_folder, here))
            ok = findings_add(found, FOUND_EXTRA, here->tensor->file, here->tensor->name, err,
                              "is not in the original");
    }
    return ok;
}
