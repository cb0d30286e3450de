#include "weights.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* In memory at once, of all threads; between two looks at progress and interruption a thread takes
 * its share. */
#define PIECES_BYTES ((size_t)8 << 20)
#define PIECE_LEAST  ((size_t)128 << 10)

/* One tensor, as far as it has been taken. */
struct part {
    const struct tensor *tensor;
    struct digest_stream *stream;       /* owned; NULL before the first byte and after the last */
    size_t taken;                       /* bytes */
    struct digest digest;               /* when taken == tensor->n_bytes and it was begun */
    bool done;
};

struct weights_hash {
    const struct checkpoint *ck;
    const struct weights *w;
    struct part *parts;                 /* owned [w->n_tensors]; in the order of w->tensors */
    struct part **by_address;           /* owned [w->n_tensors] */
    pthread_mutex_t lock;               /* of done and digest, which another thread may look at */
};

static int compare_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(struct part *const *)a)->tensor->data;
    uintptr_t y = (uintptr_t)(*(struct part *const *)b)->tensor->data;
    return x < y ? -1 : x > y;
}

struct weights_hash *weights_hash_open(const struct checkpoint *ck, const struct weights *w,
                                       struct error *err)
{
    struct weights_hash *h = mem_array(1, sizeof *h, "digests", err);
    if (!h)
        return NULL;
    *h = (struct weights_hash){ .ck = ck, .w = w };
    pthread_mutex_init(&h->lock, NULL);
    h->parts = mem_array(w->n_tensors, sizeof *h->parts, "digests", err);
    h->by_address = mem_array(w->n_tensors, sizeof(void *), "digests", err);
    if (!h->parts || !h->by_address) {
        weights_hash_close(h);
        return NULL;
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        h->parts[i].tensor = w->tensors[i].tensor;
        h->by_address[i] = &h->parts[i];
    }
    qsort(h->by_address, w->n_tensors, sizeof *h->by_address, compare_address);
    return h;
}

void weights_hash_close(struct weights_hash *h)
{
    if (!h)
        return;
    for (size_t i = 0; h->parts && i < h->w->n_tensors; i++)
        digest_end(h->parts[i].stream, NULL, NULL);
    pthread_mutex_destroy(&h->lock);
    free(h->parts);
    free(h->by_address);
    free(h);
}

/* The next n bytes of a tensor. */
static bool consume(struct weights_hash *h, struct part *p, size_t n, struct error *err)
{
    if (!p->stream && !(p->stream = digest_begin(err)))
        return false;
    if (!digest_update(p->stream, p->tensor->data + p->taken, n, err))
        return false;
    p->taken += n;
    if (p->taken < p->tensor->n_bytes)
        return true;
    struct digest_stream *stream = p->stream;
    p->stream = NULL;
    struct digest digest;
    if (!digest_end(stream, &digest, err))
        return false;
    pthread_mutex_lock(&h->lock);
    p->digest = digest;
    p->done = true;
    pthread_mutex_unlock(&h->lock);
    return true;
}

bool weights_hash_add(struct weights_hash *h, const uint8_t *data, size_t n, struct error *err)
{
    size_t low = 0, high = h->w->n_tensors;     /* the first tensor that ends after data */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tensor *t = h->by_address[middle]->tensor;
        if (t->data + t->n_bytes <= data)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < h->w->n_tensors && h->by_address[low]->tensor->data < data + n; low++) {
        struct part *p = h->by_address[low];
        const uint8_t *next = p->tensor->data + p->taken;
        const uint8_t *end = p->tensor->data + p->tensor->n_bytes;
        end = end < data + n ? end : data + n;
        if (!p->done && next >= data && next < end && !consume(h, p, (size_t)(end - next), err))
            return false;
    }
    return true;
}

/* ---- all that is missing, in parallel ------------------------------------------- */

struct job {
    struct weights_hash *hash;
    const struct progress *progress;
    size_t total_bytes;
    size_t piece_bytes;
    size_t done_bytes;                  /* guarded by the critical section below */
    bool failed;                        /* read and written atomically */
    struct error *err;                  /* written by the first thread that fails */
};

static bool has_failed(struct job *job)
{
    bool failed;
    #pragma omp atomic read
    failed = job->failed;
    return failed;
}

/* The first failure stays. */
static void fail(struct job *job, const struct error *why)
{
    #pragma omp critical(surprisal_digest)
    if (!job->failed) {
        if (job->err)
            *job->err = *why;
        #pragma omp atomic write
        job->failed = true;
    }
}

/* A mapped page that was read counts as this process's memory until it is given back; it stays
 * in the system's cache. */
static void release(const struct checkpoint *ck, const uint8_t *data, size_t n)
{
    const struct mapped_file *f = checkpoint_file_of(ck, data);
    if (f)
        file_release(f, (size_t)(data - f->data), n, false);
}

static bool report(struct job *job, size_t n, struct error *err)
{
    bool go_on;
    #pragma omp critical(surprisal_digest)
    {
        job->done_bytes += n;
        go_on = progress_report(job->progress, "digest", (double)job->done_bytes,
                                (double)job->total_bytes, "bytes", err);
    }
    return go_on;
}

static bool consume_rest(struct part *p, struct job *job, struct error *err)
{
    while (!p->done) {
        size_t left = p->tensor->n_bytes - p->taken, at = p->taken;
        size_t n = size_min(left, job->piece_bytes);
        if (has_failed(job) || !consume(job->hash, p, n, err))
            return false;
        release(job->hash->ck, p->tensor->data + at, n);
        if (!report(job, n, err))
            return false;
    }
    return true;
}

bool weights_hash_rest(struct weights_hash *h, int n_threads, const struct progress *progress,
                       struct error *err)
{
    struct job job = { .hash = h, .progress = progress, .total_bytes = h->w->bytes, .err = err };
    size_t threads = n_threads > 0 ? (size_t)n_threads : 1;
    job.piece_bytes = size_max(PIECE_LEAST, PIECES_BYTES / threads);
    #pragma omp parallel for schedule(dynamic) num_threads((int)threads)
    for (size_t i = 0; i < h->w->n_tensors; i++) {
        struct error why = { .interrupted = false };
        if (!has_failed(&job) && !consume_rest(&h->parts[i], &job, &why))
            fail(&job, &why);
    }
    return !job.failed;
}

/* ---- the digest ------------------------------------------------------------------- */

static bool update_u64(struct digest_stream *s, uint64_t x, struct error *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(x >> (8 * i));
    return digest_update(s, bytes, sizeof bytes, err);
}

static bool update_tensor(struct digest_stream *s, const struct tensor *t, const struct digest *d,
                          struct error *err)
{
    const char *dtype = dtype_name(t->dtype);
    bool ok = digest_update(s, t->name, strlen(t->name) + 1, err)
           && digest_update(s, dtype, strlen(dtype) + 1, err) && update_u64(s, t->ndim, err);
    for (size_t i = 0; ok && i < t->ndim; i++)
        ok = update_u64(s, t->shape[i], err);
    return ok && digest_update(s, d->bytes, sizeof d->bytes, err);
}

void weights_hash_known(struct weights_hash *h, uint8_t *out)
{
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->w->n_tensors; i++, out += WEIGHTS_KNOWN_BYTES) {
        memset(out, 0, WEIGHTS_KNOWN_BYTES);
        out[0] = h->parts[i].done;
        if (out[0])
            memcpy(out + 1, h->parts[i].digest.bytes, DIGEST_BYTES);
    }
    pthread_mutex_unlock(&h->lock);
}

void weights_hash_assume(struct weights_hash *h, const uint8_t *known)
{
    for (size_t i = 0; i < h->w->n_tensors; i++, known += WEIGHTS_KNOWN_BYTES) {
        struct part *p = &h->parts[i];
        if (!known[0])
            continue;
        p->taken = p->tensor->n_bytes;
        memcpy(p->digest.bytes, known + 1, DIGEST_BYTES);
        p->done = true;
    }
}

bool weights_hash_check(const struct weights_hash *h, const uint8_t *known, struct error *err)
{
    for (size_t i = 0; i < h->w->n_tensors; i++, known += WEIGHTS_KNOWN_BYTES) {
        const struct part *p = &h->parts[i];
        if (known[0] && (!p->done || memcmp(known + 1, p->digest.bytes, DIGEST_BYTES) != 0))
            return error_set(err, "%s: '%s' is not what it was when the run was interrupted",
                             p->tensor->file, p->tensor->name);
    }
    return true;
}

/* Piece by piece, since a file may have been cut short. */
static bool digest_tensor(struct digest *out, const struct checkpoint *ck, const struct tensor *t,
                          struct error *err)
{
    const struct mapped_file *f = checkpoint_file_of(ck, t->data);
    struct digest_stream *s = digest_begin(err);
    bool ok = s != NULL;
    for (size_t at = 0, n; ok && at < t->n_bytes; at += n) {
        n = size_min(PIECES_BYTES, t->n_bytes - at);
        ok = (!f || file_populate(f, (size_t)(t->data - f->data) + at, n, err))
          && digest_update(s, t->data + at, n, err);
        release(ck, t->data + at, n);
    }
    return digest_end(s, ok ? out : NULL, err) && ok;
}

bool weights_hash_again(struct weights_hash *h, const char *path, bool *same, struct error *err)
{
    *same = true;
    for (size_t i = 0; *same && i < h->w->n_tensors; i++) {
        const struct part *p = &h->parts[i];
        struct digest digest;
        pthread_mutex_lock(&h->lock);
        bool done = p->done;
        pthread_mutex_unlock(&h->lock);
        if (!done || strcmp(p->tensor->file, path) != 0)
            continue;
        if (!digest_tensor(&digest, h->ck, p->tensor, err))
            return false;
        *same = memcmp(&digest, &p->digest, sizeof digest) == 0;
    }
    return true;
}

static bool check_done(const struct part *p, struct error *err)
{
    return p->done || error_set(err, "%s: '%s' was not read to its end", p->tensor->file,
                                p->tensor->name);
}

bool weights_hash_end(struct digest *out, const struct weights_hash *h, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    bool ok = s && digest_update(s, h->ck->config_digest.bytes, DIGEST_BYTES, err);
    for (size_t i = 0; ok && i < h->w->n_tensors; i++) {
        const struct part *p = &h->parts[i];
        ok = check_done(p, err) && update_tensor(s, p->tensor, &p->digest, err);
    }
    return digest_end(s, ok ? out : NULL, ok ? err : NULL) && ok;
}

bool weights_digest(struct digest *out, const struct checkpoint *ck, const struct weights *w,
                    int n_threads, const struct progress *progress, struct error *err)
{
    struct weights_hash *h = weights_hash_open(ck, w, err);
    bool ok = h && weights_hash_rest(h, n_threads, progress, err) && weights_hash_end(out, h, err);
    weights_hash_close(h);
    return ok;
}

/* ---- the head's ------------------------------------------------------------------- */

/* The parts that hold the head, one or two; their number. */
static size_t head_parts(struct part *parts[2], const struct weights_hash *h)
{
    size_t n = 0;
    enum weight_kind kind = WEIGHT_EMBED_TOKENS;
    for (size_t i = 0; i < h->w->n_tensors; i++)
        if (h->w->tensors[i].kind == WEIGHT_LM_HEAD)
            kind = WEIGHT_LM_HEAD;
    for (size_t i = 0; n < 2 && i < h->w->n_tensors; i++)
        if (h->w->tensors[i].kind == kind)
            parts[n++] = &h->parts[i];
    return n;
}

bool weights_hash_head(struct digest *out, const struct weights_hash *h, struct error *err)
{
    struct part *parts[2];
    size_t n = head_parts(parts, h);
    uint8_t both[2 * DIGEST_BYTES];
    for (size_t i = 0; i < n; i++) {
        if (!check_done(parts[i], err))
            return false;
        *out = parts[i]->digest;
        memcpy(both + i * DIGEST_BYTES, out->bytes, DIGEST_BYTES);
    }
    return n < 2 || digest_of(out, both, sizeof both, err);
}

bool weights_head_digest(struct digest *out, const struct checkpoint *ck, const struct weights *w,
                         const struct progress *progress, struct error *err)
{
    struct weights_hash *h = weights_hash_open(ck, w, err);
    struct part *parts[2];
    size_t n = h ? head_parts(parts, h) : 0;
    struct job job = { .hash = h, .progress = progress, .piece_bytes = PIECES_BYTES };
    bool ok = h != NULL;
    for (size_t i = 0; i < n; i++)
        job.total_bytes += parts[i]->tensor->n_bytes;
    for (size_t i = 0; ok && i < n; i++)
        ok = consume_rest(parts[i], &job, err);
    ok = ok && weights_hash_head(out, h, err);
    weights_hash_close(h);
    return ok;
}
