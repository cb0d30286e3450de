#include "convert/stream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"

#define BATCH_WEIGHTS ((size_t)4 << 20)         /* between two looks at progress and interruption */
#define CHUNK_WEIGHTS ((size_t)16 << 10)        /* at a time by a thread: 64 KB of f32 */
#define COPY_BYTES ((size_t)8 << 20)
#define AHEAD_BYTES ((size_t)64 << 20)

/* Numbers of a matrix are counted from its first row to its last: [at, at + n) of them. */
static void expand_numbers(const struct stream *s, float *out, const struct matrix *m, size_t at,
                           size_t n)
{
    for (size_t count; n > 0; out += count, at += count, n -= count) {
        count = size_min(n, m->cols - at % m->cols);
        s->kn->rows->expand(out, m, at / m->cols, at % m->cols, count);
    }
}

/* ---- pages in and out ------------------------------------------------------------- */

static void read_ahead(struct stream *s, size_t task)
{
    const struct layout *l = s->layout;
    if (s->ahead <= task) {
        s->ahead = task;
        s->ahead_bytes = 0;
    }
    for (; s->ahead < l->n_tasks && s->ahead_bytes < AHEAD_BYTES; s->ahead++) {
        const struct listed_weight *m = l->tasks[s->ahead].module;
        const struct mapped_file *f = checkpoint_file_of(s->ck, m->stored.view.data);
        if (f && m->stored.n_bytes)
            file_read_ahead(f, (size_t)(m->stored.view.data - f->data), m->stored.n_bytes);
        s->ahead_bytes += m->stored.n_bytes;
    }
}

/* Brings n bytes at `data` into memory. */
static bool bring(struct stream *s, const uint8_t *data, size_t n, struct error *err)
{
    const struct mapped_file *f = checkpoint_file_of(s->ck, data);
    return !f || !n || file_populate(f, (size_t)(data - f->data), n, err);
}

static void release(struct stream *s, const uint8_t *data, size_t n)
{
    const struct mapped_file *f = checkpoint_file_of(s->ck, data);
    if (f && n)
        file_release(f, (size_t)(data - f->data), n, false);
}

/* The bytes of the rows that numbers [at, at + n) are in. */
static size_t spans_of(struct stored_span spans[STORED_SPANS], const struct matrix *m, size_t at,
                       size_t n)
{
    size_t first = at / m->cols, end = (at + n + m->cols - 1) / m->cols;
    return stored_spans(spans, m, first, end - first);
}

static bool bring_numbers(struct stream *s, const struct matrix *m, size_t at, size_t n,
                          struct error *err)
{
    struct stored_span spans[STORED_SPANS];
    size_t count = spans_of(spans, m, at, n);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = bring(s, spans[i].data, spans[i].n, err);
    return ok;
}

static void release_numbers(struct stream *s, const struct matrix *m, size_t at, size_t n)
{
    struct stored_span spans[STORED_SPANS];
    size_t count = spans_of(spans, m, at, n);
    for (size_t i = 0; i < count; i++)
        release(s, spans[i].data, spans[i].n);
}

/* Reports n more bytes as read. */
static bool advance(struct stream *s, size_t n, struct error *err)
{
    s->done_bytes += n;
    s->ahead_bytes -= size_min(s->ahead_bytes, n);
    return progress_report(s->progress, s->stage, (double)s->done_bytes, (double)s->total_bytes,
                           "bytes", err);
}

/* ---- copying ------------------------------------------------------------------------ */

static bool copy(struct stream *s, const struct task *t, struct safetensors_writer *w, size_t place,
                 struct error *err)
{
    const struct listed_weight *m = t->module;
    for (size_t at = 0; at < m->stored.n_bytes; at += COPY_BYTES) {
        size_t n = size_min(COPY_BYTES, m->stored.n_bytes - at);
        if (!bring(s, m->stored.view.data + at, n, err)
            || !safetensors_write(w, place, t->offset + at, m->stored.view.data + at, n, err)
            || !advance(s, n, err))
            return false;
        release(s, m->stored.view.data + at, n);
    }
    return true;
}

/* ---- packing -------------------------------------------------------------------------- */

/* A piece of a matrix that is packed at once: n weights from the first one, whole blocks. */
struct batch {
    const struct matrix *matrix;
    size_t first, n;
    uint8_t *packed, *scale;
    struct mxfp4_importance importance;
    size_t undecided;
    size_t bad;                         /* the first number that is not finite; SIZE_MAX: none */
};

/* *bad: the first number that is not finite, if it comes before what it was. */
static void find_bad(size_t *bad, const float *w, size_t first, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(w[i])) {
            #pragma omp critical(surprisal_stream)
            *bad = size_min(*bad, first + i);
            return;
        }
}

static void pack_batch(const struct stream *s, struct batch *b)
{
    size_t chunks = (b->n + CHUNK_WEIGHTS - 1) / CHUNK_WEIGHTS, undecided = 0;
    #pragma omp parallel for schedule(dynamic) num_threads(s->n_threads) reduction(+ : undecided)
    for (size_t c = 0; c < chunks; c++) {
        float w[CHUNK_WEIGHTS];
        size_t at = c * CHUNK_WEIGHTS, n = size_min(CHUNK_WEIGHTS, b->n - at);
        size_t size = mxfp4_block_size(), block = at / size, period = b->matrix->cols / size;
        expand_numbers(s, w, b->matrix, b->first + at, n);
        if (!s->kn->rows->all_finite(w, n))
            find_bad(&b->bad, w, b->first + at, n);
        else
            undecided += mxfp4_quantize(b->packed + at / 2, b->scale + block, w, n / size,
                                        (b->first / size + block) % period, period, &s->rule,
                                        &b->importance, s->kn);
    }
    b->undecided += undecided;
}

/* Of n numbers of a weight, as they count in the progress. */
static size_t bytes_of(const struct listed_weight *m, size_t n)
{
    return m->stored.n_bytes / m->stored.view.rows * n / m->stored.view.cols;
}

static bool refuse_bad(const struct listed_weight *m, size_t at, struct error *err)
{
    return error_set(err,
                     "%s: '%s' has a weight that is not a finite number (row %zu, column %zu of"
                     " '%s'), expected none",
                     m->stored.parts[0]->file, m->stored.parts[0]->name, at / m->stored.view.cols,
                     at % m->stored.view.cols, m->name);
}

static bool pack(struct stream *s, const struct task *t, struct safetensors_writer *w, size_t place,
                 size_t scale_place, struct error *err)
{
    const struct listed_weight *m = t->module;
    const struct matrix *from = &m->stored.view;
    size_t total = from->rows * from->cols, block = mxfp4_block_size();
    struct batch b = { .matrix = from, .bad = SIZE_MAX };
    if (!mem_grow(&s->out, &s->capacity, BATCH_WEIGHTS / 2 + BATCH_WEIGHTS / block, 1,
                  "packed weights", err)
        || (s->importance && !importance_of(&b.importance, s->importance, m, err)))
        return false;
    b.packed = s->out;
    b.scale = s->out + BATCH_WEIGHTS / 2;
    for (; b.first < total; b.first += b.n) {
        b.n = size_min(BATCH_WEIGHTS, total - b.first);
        if (!bring_numbers(s, from, b.first, b.n, err))
            return false;
        pack_batch(s, &b);
        if (b.bad != SIZE_MAX)
            return refuse_bad(m, b.bad, err);
        if (!safetensors_write(w, place, b.first / 2, b.packed, b.n / 2, err)
            || !safetensors_write(w, scale_place, b.first / block, b.scale, b.n / block, err)
            || !advance(s, bytes_of(m, b.n), err))
            return false;
        release_numbers(s, from, b.first, b.n);
    }
    s->blocks += total / block;
    s->undecided += b.undecided;
    return true;
}

/* ---- expanding -------------------------------------------------------------------------- */

/* Numbers that rounding has changed. */
static size_t count_rounded(const float *w, const uint16_t *rounded, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += bf16_value(rounded[i]) < w[i] || bf16_value(rounded[i]) > w[i];
    return count;
}

/* A piece of a matrix that is expanded at once. */
struct expanded {
    const struct matrix *from;
    size_t first, n;
    bool as_f32;                        /* else as BF16 */
    uint8_t *out;
    size_t bad;         /* of codes, scales and logarithms; stored BF16 is copied whatever it is */
};

/* Numbers as the published layout stores them, of a container that stores something else; how many
 * do not give back what is stored. */
static size_t restore(float *w, const struct matrix *m, size_t n)
{
    size_t changed = 0;
    for (size_t i = 0; (m->one_added || m->is_rate) && i < n; i++) {
        float stored = w[i];
        w[i] = m->one_added ? stored - 1 : (float)log(-(double)stored);
        float back = m->one_added ? w[i] + 1 : (float)-exp((double)w[i]);
        changed += back != stored;
    }
    return changed;
}

static void expand_batch(struct stream *s, struct expanded *e)
{
    size_t chunks = (e->n + CHUNK_WEIGHTS - 1) / CHUNK_WEIGHTS, rounded = 0;
    bool packed = dtype_is_packed(e->from->dtype);
    bool exact = stored_exact_in_bf16(e->from) && !e->from->one_added;
    #pragma omp parallel for schedule(dynamic) num_threads(s->n_threads) reduction(+ : rounded)
    for (size_t c = 0; c < chunks; c++) {
        float w[CHUNK_WEIGHTS];
        size_t at = c * CHUNK_WEIGHTS, count = size_min(CHUNK_WEIGHTS, e->n - at);
        uint16_t *half = (uint16_t *)(void *)e->out + at;
        expand_numbers(s, w, e->from, e->first + at, count);
        size_t changed = restore(w, e->from, count);
        if ((packed || e->from->is_rate) && !s->kn->rows->all_finite(w, count))
            find_bad(&e->bad, w, e->first + at, count);
        if (e->as_f32) {
            memcpy(e->out + at * sizeof *w, w, count * sizeof *w);
            rounded += changed;
            continue;
        }
        s->kn->rows->to_bf16(half, w, count);
        rounded += exact ? 0 : count_rounded(w, half, count);
    }
    s->rounded += rounded;
}

static bool expand(struct stream *s, const struct task *t, struct safetensors_writer *w,
                   const struct new_tensor *to, struct error *err)
{
    const struct listed_weight *m = t->module;
    const struct matrix *from = &m->stored.view;
    size_t total = from->rows * from->cols, size = dtype_bytes(to->entry.dtype);
    struct expanded e = { .from = from, .as_f32 = to->entry.dtype == DTYPE_F32, .bad = SIZE_MAX };
    if (!mem_grow(&s->out, &s->capacity, BATCH_WEIGHTS * size, 1, "weights", err))
        return false;
    e.out = s->out;
    for (; e.first < total; e.first += e.n) {
        e.n = size_min(BATCH_WEIGHTS, total - e.first);
        if (!bring_numbers(s, from, e.first, e.n, err))
            return false;
        expand_batch(s, &e);
        if (e.bad != SIZE_MAX)
            return refuse_bad(m, e.bad, err);
        if (!safetensors_write(w, to->place, t->offset + e.first * size, s->out, e.n * size, err)
            || !advance(s, bytes_of(m, e.n), err))
            return false;
        release_numbers(s, from, e.first, e.n);
    }
    return true;
}

/* ---- one task ------------------------------------------------------------------------------ */

bool stream_task(struct stream *s, size_t task, struct safetensors_writer *w, struct error *err)
{
    const struct task *t = &s->layout->tasks[task];
    const struct new_tensor *to = &s->layout->tensors[t->tensor];
    read_ahead(s, task);
    switch (t->action) {
    case TASK_PACK:
        return pack(s, t, w, to->place, to[1].place, err);
    case TASK_EXPAND:
        return expand(s, t, w, to, err);
    default:
        return copy(s, t, w, to->place, err);
    }
}

void stream_skip(struct stream *s, size_t task)
{
    s->done_bytes += s->layout->tasks[task].module->stored.n_bytes;
}

void stream_free(struct stream *s)
{
    free(s->out);
    s->out = NULL;
}
