#include "verify/verify_scan.h"

#include <stdlib.h>
#include <string.h>

#include "verify/verify_tally.h"

#define HUGE_PAGE_BYTES ((size_t)2 << 20)   /* a huge page of x86-64 and ARM with pages of 4 KiB */
#define TILE_BYTES ((size_t)4 << 20)    /* of this checkpoint; the original may add some */

/* Rows of one weight, in the order of the files. */
struct piece {
    size_t weight;
    const uint8_t *data;
    size_t row, n_rows;
    struct tally tally;
};

struct scan {
    const struct verify_folder *f, *original_folder;
    const struct weight_list *w;
    const struct listed_weight **counterparts;  /* owned [w->n] */
    struct piece *pieces;               /* owned [n_pieces] */
    size_t n_pieces, capacity;
    size_t total_bytes, done_bytes;     /* done: guarded by the critical section below */
    const struct row_kernels *rows;
    const struct progress *progress;
    bool failed;                        /* read and written atomically */
    struct error *err;                  /* written by the first thread that fails */
};

/* ---- what is compared with what --------------------------------------------------- */

static bool same_shape(const struct stored_weight *a, const struct stored_weight *b)
{
    return a->ndim == b->ndim && memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape) == 0;
}

const struct listed_weight *verify_scan_counterpart(const struct listed_weight *w,
                                                    const struct weight_list *original)
{
    const struct listed_weight *x = original ? weight_list_find(original, w->name) : NULL;
    return x && x->stored.is_whole && w->stored.is_whole && same_shape(&w->stored, &x->stored)
        && (stored_alike(&w->stored.view, &x->stored.view)
            || (w->stored.is_float && x->stored.is_float)) ? x : NULL;
}

/* ---- pieces ----------------------------------------------------------------------- */

static size_t row_bytes(const struct listed_weight *w)
{
    return w->stored.view.rows ? w->stored.n_bytes / w->stored.view.rows : 0;
}

static bool add_pieces(struct scan *s, size_t i, struct error *err)
{
    const struct listed_weight *w = &s->w->list[i];
    size_t bytes = row_bytes(w), step = size_max(1, TILE_BYTES / size_max(1, bytes));
    if (!w->stored.is_whole || !w->stored.n_bytes)
        return true;
    for (size_t row = 0; row < w->stored.view.rows; row += step) {
        if (!mem_grow(&s->pieces, &s->capacity, s->n_pieces + 1, sizeof *s->pieces, "the scan",
                      err))
            return false;
        s->pieces[s->n_pieces++] = (struct piece){
            .weight = i, .data = w->stored.view.data + row * bytes, .row = row,
            .n_rows = size_min(step, w->stored.view.rows - row) };
    }
    s->total_bytes +=
        w->stored.n_bytes + (s->counterparts[i] ? s->counterparts[i]->stored.n_bytes : 0);
    return true;
}

/* By address, which is by file and place in it; so rows of one weight stay in order. */
static int compare_place(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct piece *)a)->data;
    uintptr_t y = (uintptr_t)((const struct piece *)b)->data;
    return (x > y) - (x < y);
}

static bool make_pieces(struct scan *s, const struct weight_list *original, struct error *err)
{
    s->counterparts = mem_array(s->w->n, sizeof(void *), "the scan", err);
    bool ok = s->counterparts != NULL;
    for (size_t i = 0; ok && i < s->w->n; i++) {
        s->counterparts[i] = verify_scan_counterpart(&s->w->list[i], original);
        ok = add_pieces(s, i, err);
    }
    if (ok && s->n_pieces)
        qsort(s->pieces, s->n_pieces, sizeof *s->pieces, compare_place);
    return ok;
}

/* ---- bytes of a piece --------------------------------------------------------------- */

struct range {
    const struct mapped_file *file;
    size_t offset, n;
};

static struct range range_of(const struct verify_folder *f, const uint8_t *data, size_t n)
{
    const struct mapped_file *file = n ? checkpoint_file_of(&f->ck, data) : NULL;
    return (struct range){ file, file ? (size_t)(data - file->data) : 0, n };
}

/* Codes or elements, and scales, here and there.  Returns how many ranges. */
static size_t ranges_of(struct range out[2 * STORED_SPANS], const struct scan *s,
                        const struct piece *p)
{
    const struct listed_weight *both[] = { &s->w->list[p->weight], s->counterparts[p->weight] };
    const struct verify_folder *folders[] = { s->f, s->original_folder };
    struct stored_span spans[STORED_SPANS];
    size_t n = 0;
    for (size_t i = 0; i < 2 && both[i]; i++) {
        size_t count = stored_spans(spans, &both[i]->stored.view, p->row, p->n_rows);
        for (size_t j = 0; j < count; j++)
            out[n++] = range_of(folders[i], spans[j].data, spans[j].n);
    }
    return n;
}

static bool bring(const struct scan *s, const struct piece *p, struct error *err)
{
    struct range ranges[2 * STORED_SPANS];
    size_t n = ranges_of(ranges, s, p);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = !ranges[i].file
          || file_populate(ranges[i].file, ranges[i].offset, ranges[i].n, err);
    return ok;
}

static void read_ahead(const struct scan *s, const struct piece *p)
{
    struct range ranges[2 * STORED_SPANS];
    size_t n = ranges_of(ranges, s, p);
    for (size_t i = 0; i < n; i++)
        if (ranges[i].file)
            file_read_ahead(ranges[i].file, ranges[i].offset, ranges[i].n);
}

/* A fault maps up to HUGE_PAGE_BYTES, which may include pages that a neighbour just released, so
 * the last user releases the whole range.  A thread that still reads there maps it again. */
static void release_range(const struct range *r)
{
    size_t first = r->offset / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    size_t pages = (r->offset + r->n + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES;
    size_t end = size_min(r->file->size, pages * HUGE_PAGE_BYTES);
    file_release(r->file, first, end - first, false);
}

/* Returns how many bytes that were. */
static size_t release(const struct scan *s, const struct piece *p)
{
    struct range ranges[2 * STORED_SPANS];
    size_t n = ranges_of(ranges, s, p), bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].file)
            release_range(&ranges[i]);
        bytes += ranges[i].n;
    }
    return bytes;
}

/* ---- the threads ---------------------------------------------------------------------- */

static bool has_failed(struct scan *s)
{
    bool failed;
    #pragma omp atomic read
    failed = s->failed;
    return failed;
}

/* The first failure stays. */
static void fail(struct scan *s, const struct error *why)
{
    #pragma omp critical(surprisal_verify)
    if (!s->failed) {
        if (s->err)
            *s->err = *why;
        #pragma omp atomic write
        s->failed = true;
    }
}

static bool report(struct scan *s, size_t n_bytes, struct error *err)
{
    bool go_on;
    #pragma omp critical(surprisal_verify)
    {
        s->done_bytes += n_bytes;
        go_on = progress_report(s->progress, "verify", (double)s->done_bytes,
                                (double)s->total_bytes, "bytes", err);
    }
    return go_on;
}

static bool scan_piece(struct scan *s, struct piece *p, struct tally_scratch *scratch,
                       struct error *err)
{
    const struct listed_weight *here = &s->w->list[p->weight];
    const struct listed_weight *there = s->counterparts[p->weight];
    if (!bring(s, p, err))
        return false;
    const struct tile tile = {
        .here = &here->stored.view, .there = there ? &there->stored.view : NULL,
        .row = p->row, .n_rows = p->n_rows,
        .same_storage = there && stored_alike(&here->stored.view, &there->stored.view),
        .is_float = here->stored.is_float,
        .both_plain = there && !here->stored.is_packed && !there->stored.is_packed,
    };
    tally_tile(&p->tally, &tile, s->rows, scratch);
    return report(s, release(s, p), err);
}

static void scan_all(struct scan *s, int n_threads)
{
    size_t ahead = (size_t)n_threads;
    #pragma omp parallel num_threads(n_threads)
    {
        struct error why = { .interrupted = false };
        struct tally_scratch *scratch = mem_array(1, sizeof *scratch, "the scan", &why);
        if (!scratch)
            fail(s, &why);
        #pragma omp for schedule(dynamic)
        for (size_t i = 0; i < s->n_pieces; i++) {
            if (has_failed(s))
                continue;
            if (i + ahead < s->n_pieces)
                read_ahead(s, &s->pieces[i + ahead]);
            if (!scan_piece(s, &s->pieces[i], scratch, &why))
                fail(s, &why);
        }
        free(scratch);
    }
}

bool verify_scan(struct tally *tallies, const struct verify_folder *f, const struct weight_list *w,
                 const struct verify_folder *original_folder, const struct weight_list *original,
                 int n_threads, const struct progress *progress, struct error *err)
{
    struct scan s = { .f = f, .original_folder = original_folder, .w = w, .progress = progress,
                      .err = err };
    const struct kernels *kernels = kernels_find(NULL, err);
    bool ok = kernels && make_pieces(&s, original, err);
    if (ok) {
        s.rows = kernels->rows;
        scan_all(&s, n_threads > 0 ? n_threads : 1);
        ok = !s.failed;
    }
    memset(tallies, 0, w->n * sizeof *tallies);
    for (size_t i = 0; ok && i < s.n_pieces; i++)
        tally_add(&tallies[s.pieces[i].weight], &s.pieces[i].tally);
    free(s.counterparts);
    free(s.pieces);
    return ok;
}
