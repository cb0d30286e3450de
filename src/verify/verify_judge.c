#include "verify/verify_judge.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "kernels/stored.h"
#include "verify/verify_label.h"

/* ---- where -------------------------------------------------------------------------- */

static const char *block_text(char text[VERIFY_PLACE_BYTES], const struct listed_weight *w,
                              size_t block)
{
    size_t blocks = w->stored.view.cols / stored_block(&w->stored.view).cols;
    snprintf(text, VERIFY_PLACE_BYTES, "[%zu, %zu]", block / blocks, block % blocks);
    return text;
}

struct judge {
    const struct tally *t;
    const struct listed_weight *w, *there;
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
                        j->w->stored.is_fused ? j->w->name : "", j->w->stored.is_fused ? ": " : "",
                        text);
}

/* ---- values -------------------------------------------------------------------------- */

/* Scales of any dtype, and zero points: what eval refuses, and those that are zero.  The scan has
 * seen those of blocks, and those that lie among the codes. */
static bool judge_scales(const struct judge *j)
{
    const struct matrix *m = &j->w->stored.view;
    struct stored_nan at = j->t->bad;
    if (!j->w->stored.is_packed || !j->w->stored.is_whole || j->t->blocks)
        return true;
    if (at.what || (m->scale && stored_find_bad_scale(&at, m)))
        return add(j, FOUND_SCALE_NAN, j->w->stored.parts[at.part], "has %s, at [%zu, %zu]",
                   at.what, at.row, at.col);
    size_t n = stored_count_zero_scales(m);
    return n == 0
        || add(j, NOTE_CODES, j->w->stored.parts[1],
               "%zu scales are zero, and so are their weights", n);
}

static bool judge_finite(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[VERIFY_PLACE_BYTES];
    bool ok = true;
    if (t->nan_scales)
        ok = add(j, FOUND_SCALE_NAN, j->w->stored.parts[1],
                 "%zu of %zu scale bytes are 255, which is NaN, the first at"
                 " %s",
                 t->nan_scales, t->blocks, block_text(place, j->w, t->first_nan_scale));
    ok = ok && judge_scales(j);
    if (ok && t->non_finite)
        ok = add(j, FOUND_NON_FINITE, j->w->stored.parts[0],
                 "%zu of %zu values are NaN or infinite, the first at %s", t->non_finite,
                 t->elements, verify_label_place(place, j->w, t->first_non_finite));
    return ok;
}

/* A norm or a bias may be all zeros: counted, not named. */
static bool is_constant_vector(const struct listed_weight *w, const struct tally *t)
{
    return w->stored.ndim < 2 && t->elements > 1 && !t->varies && !t->non_finite;
}

/* An all-zero or constant matrix means lost data, unless the original has it too. */
static bool judge_zeros(const struct judge *j)
{
    const struct tally *t = j->t;
    bool as_there =
        t->compared && !t->different && stored_alike(&j->there->stored.view, &j->w->stored.view);
    if (is_constant_vector(j->w, t))
        return true;
    if (t->elements > 1 && t->largest == 0) {
        as_there |= t->compared && t->zero_rows_there == t->rows && t->rows;
        return add(j, as_there ? NOTE_CONSTANT : FOUND_ZERO_TENSOR, j->w->stored.parts[0],
                   "all %zu values are zero", t->elements);
    }
    if (t->elements > 1 && !t->varies && !t->non_finite)
        return add(j, as_there ? NOTE_CONSTANT : FOUND_CONSTANT, j->w->stored.parts[0],
                   "all %zu values are the same", t->elements);
    return t->zero_rows == t->zero_rows_there
        || add(j, FOUND_ZERO_ROWS, j->w->stored.parts[0], "%zu of %zu rows are zero%s",
               t->zero_rows - t->zero_rows_there, t->rows,
               t->compared ? ", and are not in the original" : "");
}

/* Without the original, codes that crowd at one end of their range are suspect. */
static bool judge_codes(const struct judge *j)
{
    const struct tally *t = j->t;
    bool known = t->compared && tally_sqnr(t) >= VERIFY_LOW_SQNR;
    bool ok = true;
    const struct tensor *codes = j->w->stored.parts[0];
    if (t->blocks && 2 * t->largest_codes >= t->codes)
        ok = add(j, known ? NOTE_CODES : FOUND_SATURATED, codes,
                 "%zu of %zu codes are the largest, 6:"
                 " scales too small?",
                 t->largest_codes, t->codes);
    if (ok && t->small_blocks && 2 * t->small_blocks >= t->blocks - t->zero_blocks)
        ok = add(j, known ? NOTE_CODES : FOUND_SMALL_CODES, codes,
                 "%zu of %zu blocks have no code above"
                 " 1: scales too large?",
                 t->small_blocks, t->blocks);
    return ok;
}

/* ---- against the original ------------------------------------------------------------- */

static bool judge_equal(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[VERIFY_PLACE_BYTES];
    if (!t->different)
        return true;
    if (j->w->stored.is_packed)
        return add(j, FOUND_DIFFERS, j->w->stored.parts[0],
                   "%zu bytes of codes and scales are not the original's", t->different);
    return add(j, FOUND_DIFFERS, j->w->stored.parts[0],
               "%zu of %zu values are not the original's, the first at %s", t->different,
               j->w->stored.view.rows * j->w->stored.view.cols,
               verify_label_place(place, j->w, t->first_different));
}

static bool judge_distance(const struct judge *j)
{
    const struct tally *t = j->t;
    char place[VERIFY_PLACE_BYTES];
    bool ok = true;
    double sqnr = tally_sqnr(t);
    if (t->original_non_finite)
        return findings_add(j->found, FOUND_NON_FINITE, j->there->stored.parts[0]->file,
                            j->there->stored.parts[0]->name, j->err,
                            "the original has %zu values that are NaN"
                            " or infinite",
                            t->original_non_finite);
    if (t->off_blocks)
        ok = add(j, FOUND_SCALE_OFF, j->w->stored.parts[1],
                 "%zu of %zu scales do not fit their codes, the first at %s,"
                 " where the original's weights are %.2f times larger; SQNR %.1f dB",
                 t->off_blocks, t->blocks, block_text(place, j->w, t->first_off), t->off_factor,
                 sqnr);
    else if (sqnr < VERIFY_LOW_SQNR && t->largest)
        ok = add(j, FOUND_LOW_SQNR, j->w->stored.parts[0],
                 "SQNR %.1f dB, expected at least %.0f: other weights than the"
                 " original's?",
                 sqnr, VERIFY_LOW_SQNR);
    if (ok && t->zeroed_blocks && t->zero_rows == t->zero_rows_there)
        ok = add(j, FOUND_ZEROED, j->w->stored.parts[0],
                 "%zu of %zu blocks are zero, and are not in the original, the"
                 " first at %s",
                 t->zeroed_blocks, t->blocks, block_text(place, j->w, t->first_zeroed));
    return ok;
}

bool verify_judge(const struct tally *tallies, const struct weight_list *w,
                  const struct weight_list *original, struct findings *found, struct error *err)
{
    size_t n_constant = 0, first = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct judge one = { &tallies[i], &w->list[i],
                                   verify_scan_counterpart(&w->list[i], original), found, err };
        const struct judge *j = &one;
        ok = judge_finite(j) && judge_zeros(j) && (!one.w->stored.is_packed || judge_codes(j));
        if (ok && one.t->compared)
            ok = one.t->different
                      || stored_alike(&one.there->stored.view, &one.w->stored.view)
                   ? judge_equal(j) : judge_distance(j);
        if (is_constant_vector(one.w, one.t) && n_constant++ == 0)
            first = i;
    }
    if (ok && n_constant)
        ok = findings_add(found, NOTE_CONSTANT, w->list[first].stored.parts[0]->file,
                          w->list[first].stored.parts[0]->name, err,
                          "all values are the same, in this and %zu"
                          " more vectors",
                          n_constant - 1);
    return ok;
}

/* ---- names ----------------------------------------------------------------------------- */

static bool judge_pair(const struct listed_weight *w, const struct listed_weight *there,
                       bool may_widen, struct findings *found, struct error *err)
{
    const struct tensor *t = w->stored.parts[0];
    struct tensor have = { .ndim = w->stored.ndim }, want = { .ndim = there->stored.ndim };
    char have_text[256], want_text[256];
    if (!w->stored.is_whole || !there->stored.is_whole)
        return true;
    memcpy(have.shape, w->stored.shape, sizeof have.shape);
    memcpy(want.shape, there->stored.shape, sizeof want.shape);
    tensor_shape_text(&have, have_text, sizeof have_text);
    tensor_shape_text(&want, want_text, sizeof want_text);
    if (strcmp(have_text, want_text) != 0)
        return findings_add(found, FOUND_SHAPE, t->file, t->name, err, "makes a weight of shape %s,"
                            " %s in the original", have_text, want_text);
    return w->stored.is_packed || there->stored.is_packed || may_widen
        || w->stored.view.dtype == there->stored.view.dtype
        || findings_add(found, FOUND_DTYPE, t->file, t->name, err, "is %s, %s in the original",
                        dtype_name(w->stored.view.dtype), dtype_name(there->stored.view.dtype));
}

/* Parts that this checkpoint lacks as a whole: how many weights of the original they are. */
static void count_left_out(size_t n[TENSOR_KINDS], const struct weight_list *w,
                           const struct weight_list *original)
{
    for (size_t i = 0; i < original->n; i++)
        n[weight_kind_outside(original->list[i].name)]++;
    for (size_t i = 0; i < w->n; i++)
        n[weight_kind_outside(w->list[i].name)] = 0;
    n[WEIGHT_OTHER] = 0;                /* the text model */
}

bool verify_judge_names(const struct verify_folder *f, const struct weight_list *w,
                        const struct verify_folder *original_folder,
                        const struct weight_list *original, struct findings *found,
                        struct error *err)
{
    /* A GGUF keeps small tensors in F32, and other parts than the text model in other files. */
    bool ok = true, may_widen = f->ck.reader->is_self_described;
    size_t n_left_out[TENSOR_KINDS] = { 0 };
    if (f->ck.reader->is_self_described)
        count_left_out(n_left_out, w, original);
    for (size_t kind = 0; ok && kind < TENSOR_KINDS; kind++)
        if (n_left_out[kind])
            ok = findings_add(found, NOTE_LEFT_OUT, f->ck.path, NULL, err,
                              "none of the original's %zu weights of '%s' is here",
                              n_left_out[kind], weight_kind_name((enum weight_kind)kind));
    for (size_t i = 0; ok && i < original->n; i++) {
        const struct listed_weight *there = &original->list[i];
        const struct listed_weight *here = weight_list_find(w, there->name);
        if (!here && n_left_out[weight_kind_outside(there->name)])
            continue;
        if (here)
            ok = judge_pair(here, there, may_widen, found, err);
        else if (!verify_folder_is_lost_weight(f, there->name))
            ok = findings_add(found, FOUND_MISSING, NULL, there->name, err,
                              "is in the original (%s), but in no file here",
                              there->stored.parts[0]->name);
    }
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct listed_weight *here = &w->list[i];
        if (!here->is_unexpected && !weight_list_find(original, here->name)
            && !verify_folder_is_lost_weight(original_folder, here->name))
            ok = findings_add(found, FOUND_EXTRA, here->stored.parts[0]->file,
                              here->stored.parts[0]->name, err, "is not in the original");
    }
    return ok;
}
