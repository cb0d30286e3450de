#include "verify/verify_tally.h"

#include <math.h>
#include <string.h>

#include "kernels/stored.h"

#define SIGN_BIT   0x80000000u
#define NOT_FINITE 0x7F800000u          /* magnitudes from here on are infinity and NaN */
#define OFF_ABOVE  1.75                 /* see verify_scan.h */
#define OFF_BELOW  0.57
#define OFF_COSINE2 0.9

/* ---- values -------------------------------------------------------------------- */

static uint32_t magnitude_of(const float *x, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= ~SIGN_BIT;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static void add_peak(struct tally_peaks *p, const float *x, size_t n, uint32_t largest, size_t at)
{
    p->n++;
    p->sum_bits += largest;
    p->exponents[largest >> 29] |= (uint64_t)1 << (largest >> 23 & 63);
    if (largest <= p->largest)
        return;
    size_t i = 0;
    while (i + 1 < n && magnitude_of(x + i, 1) != largest)
        i++;
    p->largest = largest;
    p->at_largest = at + i;
}

/* Peaks and squares.  Four sums, so that one addition need not wait for the last. */
static void tally_runs(struct tally *t, const float *x, size_t n, size_t run, size_t at)
{
    for (size_t first = 0, now; first < n; first += now) {
        now = size_min(run, n - first);
        uint32_t largest = magnitude_of(x + first, now);
        if (largest >= NOT_FINITE)
            continue;
        double s[4] = { 0 };
        for (size_t i = 0; i < now; i++)
            s[i & 3] += (double)x[first + i] * x[first + i];
        t->sum_q2 += (s[0] + s[1]) + (s[2] + s[3]);
        if (largest)
            add_peak(&t->peaks, x + first, now, largest, at + first);
    }
}

/* at: index of x[0] in the weight. */
static void tally_values(struct tally *t, const float *x, size_t n, size_t at)
{
    uint32_t largest = t->largest, differs = 0;
    size_t non_finite = 0;
    if (t->elements == 0)
        memcpy(&t->first_bits, x, sizeof t->first_bits);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        uint32_t magnitude = bits & ~SIGN_BIT;
        differs |= bits ^ t->first_bits;
        largest = magnitude > largest ? magnitude : largest;
        non_finite += magnitude >= NOT_FINITE;
    }
    if (non_finite && !t->non_finite) {
        size_t i = 0;
        while (isfinite(x[i]))
            i++;
        t->first_non_finite = at + i;
    }
    t->elements += n;
    t->non_finite += non_finite;
    t->largest = largest;
    t->varies |= differs != 0;
}

/* Bytes against bytes: how many elements differ. */
static void compare_bytes(struct tally *t, const uint8_t *a, const uint8_t *b, size_t n,
                          size_t element, size_t at)
{
    if (memcmp(a, b, n * element) == 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i * element, b + i * element, element) != 0) {
            if (!t->different)
                t->first_different = at + i;
            t->different++;
        }
}

/* ---- blocks ---------------------------------------------------------------------- */

static void tally_codes(struct tally *t, const struct stored_codes *codes, size_t n)
{
    t->blocks++;
    t->codes += n;
    t->zero_blocks += codes->largest == 0;
    t->small_blocks += codes->largest > 0 && codes->largest <= 1;
    t->largest_codes += codes->n_largest;
}

struct block_sums {
    double w2, q2, wq, error2;
};

static struct block_sums sum_block(const float *w, const float *q, size_t n)
{
    struct block_sums s = { 0 };
    for (size_t i = 0; i < n; i++) {
        double x = w[i], y = q[i], d = x - y;
        s.w2 += x * x;
        s.q2 += y * y;
        s.wq += x * y;
        s.error2 += d * d;
    }
    return s;
}

/* A block of n weights of the original, w, that is quantized as q; largest_code: what its largest
 * code is worth. */
static void compare_block(struct tally *t, const float *w, const float *q, size_t n,
                          float largest_code, size_t block)
{
    uint32_t bits = magnitude_of(w, n);
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    if (bits >= NOT_FINITE) {
        for (size_t i = 0; i < n; i++)
            t->original_non_finite += isfinite(w[i]) ? 0 : 1;
        return;
    }
    struct block_sums s = sum_block(w, q, n);
    t->sum_w2 += s.w2;
    t->sum_error2 += s.error2;
    if (amax > largest_code)
        for (size_t i = 0; i < n; i++)
            t->clipped += fabsf(w[i]) > largest_code;
    if (s.q2 == 0) {
        if (amax > VERIFY_ZERO_WEIGHT && !t->zeroed_blocks++)
            t->first_zeroed = block;
        return;
    }
    double factor = s.wq / s.q2;
    if ((factor >= OFF_ABOVE || (factor > 0 && factor <= OFF_BELOW))
        && s.wq * s.wq > OFF_COSINE2 * s.w2 * s.q2 && !t->off_blocks++) {
        t->first_off = block;
        t->off_factor = factor;
    }
}

/* n columns of a row from `first`; w NULL: not compared, or bytes against bytes.  True: all are
 * zero. */
static bool tally_blocks(struct tally *t, const struct matrix *m, size_t row, size_t first,
                         size_t n, const float *q, const float *w)
{
    size_t size = stored_block(m).cols;
    bool zero = true;
    for (size_t i = 0; i < n; i += size) {
        size_t at = row * m->cols + first + i, block = at / size;
        const struct stored_codes codes = stored_codes(m, row, first + i);
        tally_codes(t, &codes, size);
        zero &= codes.largest == 0;
        if (isnan(codes.scale)) {
            if (!t->nan_scales++)
                t->first_nan_scale = block;
            continue;
        }
        /* A NaN scale has its own count; its elements are no others. */
        tally_values(t, q + i, size, at);
        tally_runs(t, q + i, size, TALLY_RUN, at);
        if (w)
            compare_block(t, w + i, q + i, size, stored_largest_code(m) * codes.scale, block);
    }
    return zero;
}

/* Plain here and packed there, or of two dtypes. */
static void compare_plain(struct tally *t, const float *w, const float *q, size_t n)
{
    for (size_t i = 0; i < n; i++)
        t->original_non_finite += isfinite(w[i]) ? 0 : 1;
    if (t->original_non_finite)
        return;
    struct block_sums s = sum_block(w, q, n);
    t->sum_w2 += s.w2;
    t->sum_error2 += s.error2;
}

/* What rounding to this dtype changes, in parts of the value, or to F16 where a converter computed
 * in it; 0: nothing but the order of heads was changed. */
static double plain_rounding(const struct matrix *to, const struct matrix *from)
{
    bool is_changed = to->one_added != from->one_added || to->is_rate != from->is_rate;
    if (to->dtype == from->dtype && !is_changed)
        return 0;
    if (to->dtype == DTYPE_F16 || (is_changed && from->dtype == DTYPE_F16))
        return 0x1p-10;
    return to->dtype == DTYPE_BF16 ? 0x1p-8 : 0x1p-22;
}

/* Values of two dtypes, or in another order: how many differ by more than rounding. */
static void compare_rounded(struct tally *t, const struct tile *tile, const float *w,
                            const float *q, size_t n, size_t at)
{
    const double relative = plain_rounding(tile->here, tile->there);
    const double least = relative > 0 && tile->here->dtype == DTYPE_F16 ? 0x1p-24 : 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(w[i])
            && !(fabs((double)w[i] - q[i]) <= relative * fabs((double)w[i]) + least)) {
            if (!t->different)
                t->first_different = at + i;
            t->different++;
        }
}

/* ---- tiles -------------------------------------------------------------------------- */

/* A row, bytes against bytes; scales of several rows with the first of them. */
static void compare_stored(struct tally *t, const struct tile *tile, size_t row)
{
    const struct matrix *a = tile->here;
    struct stored_span here[STORED_SPANS], there[STORED_SPANS];
    size_t n = stored_spans(here, a, row, 1);
    stored_spans(there, tile->there, row, 1);
    if (!dtype_is_packed(a->dtype)) {
        compare_bytes(t, here[0].data, there[0].data, a->cols, dtype_bytes(a->dtype),
                      row * a->cols);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (row % stored_span_rows(a, i) == 0)
            compare_bytes(t, here[i].data, there[i].data, here[i].n, 1, row * here[i].n);
}

/* Values of the original as the other stores them. */
static void store_alike(float *w, size_t n, const struct matrix *to, const struct matrix *from)
{
    for (size_t i = 0; to->one_added && !from->one_added && i < n; i++)
        w[i] += 1;
    for (size_t i = 0; to->is_rate && !from->is_rate && i < n; i++)
        w[i] = (float)-exp((double)w[i]);
}

static void tally_row(struct tally *t, const struct tile *tile, size_t row,
                      const struct row_kernels *rows, struct tally_scratch *s)
{
    const struct matrix *m = tile->here;
    bool expand_there = tile->there && !tile->same_storage, zero = true;
    bool by_blocks = stored_largest_code(m) > 0;
    uint32_t there_largest = 0;
    for (size_t first = 0; first < m->cols; first += TALLY_COLUMNS) {
        size_t n = size_min(TALLY_COLUMNS, m->cols - first), at = row * m->cols + first;
        if (tile->is_float)
            rows->expand(s->q, m, row, first, n);
        if (expand_there) {
            rows->expand(s->w, tile->there, row, first, n);
            store_alike(s->w, n, m, tile->there);
            uint32_t largest = magnitude_of(s->w, n);
            there_largest = largest > there_largest ? largest : there_largest;
        }
        if (by_blocks)
            zero &= tally_blocks(t, m, row, first, n, s->q, expand_there ? s->w : NULL);
        else if (tile->is_float) {
            tally_values(t, s->q, n, at);
            tally_runs(t, s->q, n, m->rows == 1 ? 1 : TALLY_RUN, at);
            if (expand_there)
                compare_plain(t, s->w, s->q, n);
            if (expand_there && tile->both_plain)
                compare_rounded(t, tile, s->w, s->q, n, at);
        }
    }
    if (tile->there && tile->same_storage)
        compare_stored(t, tile, row);
    if (!by_blocks)
        return;
    float amax;
    memcpy(&amax, &there_largest, sizeof amax);
    t->rows++;
    t->zero_rows += zero;
    t->zero_rows_there += zero && ((expand_there && amax <= VERIFY_ZERO_WEIGHT)
                                   || (tile->there && tile->same_storage));
}

/* In the rows as they lie in the file, whatever the order of heads is. */
static void find_bad_block(struct tally *t, const struct tile *tile)
{
    struct matrix part = *tile->here;
    if (part.scale)
        return;
    part.data += tile->row * stored_row_bytes(&part);
    part.rows = tile->n_rows;
    if (stored_find_bad_scale(&t->bad, &part))
        t->bad.row += tile->row;
}

void tally_tile(struct tally *t, const struct tile *tile, const struct row_kernels *rows,
                struct tally_scratch *scratch)
{
    t->compared = tile->there != NULL;
    find_bad_block(t, tile);
    for (size_t i = 0; i < tile->n_rows; i++)
        tally_row(t, tile, tile->row + i, rows, scratch);
}

/* The count, and the place of the first. */
static void add_count(size_t *sum, size_t *sum_first, size_t n, size_t first)
{
    if (n && !*sum)
        *sum_first = first;
    *sum += n;
}

static void add_peaks(struct tally_peaks *sum, const struct tally_peaks *p)
{
    if (p->largest > sum->largest) {
        sum->largest = p->largest;
        sum->at_largest = p->at_largest;
    }
    sum->n += p->n;
    sum->sum_bits += p->sum_bits;
    for (size_t i = 0; i < sizeof p->exponents / sizeof p->exponents[0]; i++)
        sum->exponents[i] |= p->exponents[i];
}

void tally_add(struct tally *sum, const struct tally *t)
{
    if (sum->elements && t->elements)
        sum->varies |= t->first_bits != sum->first_bits;
    else if (t->elements)
        sum->first_bits = t->first_bits;
    sum->varies |= t->varies;
    sum->compared |= t->compared;
    if (t->off_blocks && !sum->off_blocks)
        sum->off_factor = t->off_factor;
    add_count(&sum->non_finite, &sum->first_non_finite, t->non_finite, t->first_non_finite);
    add_count(&sum->nan_scales, &sum->first_nan_scale, t->nan_scales, t->first_nan_scale);
    add_count(&sum->different, &sum->first_different, t->different, t->first_different);
    add_count(&sum->off_blocks, &sum->first_off, t->off_blocks, t->first_off);
    add_count(&sum->zeroed_blocks, &sum->first_zeroed, t->zeroed_blocks, t->first_zeroed);
    if (!sum->bad.what)
        sum->bad = t->bad;
    sum->elements += t->elements;
    sum->largest = sum->largest > t->largest ? sum->largest : t->largest;
    sum->blocks += t->blocks;
    sum->codes += t->codes;
    sum->zero_blocks += t->zero_blocks;
    sum->rows += t->rows;
    sum->zero_rows += t->zero_rows;
    sum->largest_codes += t->largest_codes;
    sum->small_blocks += t->small_blocks;
    sum->sum_q2 += t->sum_q2;
    add_peaks(&sum->peaks, &t->peaks);
    sum->sum_w2 += t->sum_w2;
    sum->sum_error2 += t->sum_error2;
    sum->original_non_finite += t->original_non_finite;
    sum->clipped += t->clipped;
    sum->zero_rows_there += t->zero_rows_there;
}

double tally_sqnr(const struct tally *t)
{
    if (!t->compared || t->original_non_finite || !(t->sum_w2 > 0))
        return NAN;
    return t->sum_error2 > 0 ? 10 * log10(t->sum_w2 / t->sum_error2) : INFINITY;
}

double tally_relative_error(const struct tally *t)
{
    if (!t->compared || t->original_non_finite || !(t->sum_w2 > 0))
        return NAN;
    return sqrt(t->sum_error2 / t->sum_w2);
}
