#include "weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

/* Between two looks at progress and interruption. */
#define PIECE_BYTES ((size_t)8 << 20)

struct job {
    const struct weights *w;
    struct digest *digests;             /* [n_tensors] */
    const struct progress *progress;
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
static void release_pages(const uint8_t *data, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = (uintptr_t)(data + n) / page * page;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

static bool report(struct job *job, size_t n)
{
    const struct progress *p = job->progress;
    bool go_on = true;
    #pragma omp critical(surprisal_digest)
    {
        job->done_bytes += n;
        if (p && p->report)
            go_on = p->report(p->user, "digest", (double)job->done_bytes, (double)job->w->bytes,
                              "bytes");
    }
    return go_on;
}

static bool digest_pieces(struct digest_stream *s, struct job *job, const struct tensor *t,
                          struct error *err)
{
    for (size_t at = 0; at < t->n_bytes; at += PIECE_BYTES) {
        size_t n = t->n_bytes - at < PIECE_BYTES ? t->n_bytes - at : PIECE_BYTES;
        if (has_failed(job))
            return false;
        if (!digest_update(s, t->data + at, n, err))
            return false;
        release_pages(t->data + at, n);
        if (!report(job, n)) {
            error_set(err, "interrupted");
            err->interrupted = true;
            return false;
        }
    }
    return true;
}

static void digest_tensor(struct job *job, size_t i)
{
    struct error why = { .interrupted = false };
    struct digest_stream *s = digest_begin(&why);
    bool ok = s && digest_pieces(s, job, job->w->tensors[i].tensor, &why);
    if (!digest_end(s, ok ? &job->digests[i] : NULL, ok ? &why : NULL) || !ok)
        fail(job, &why);
}

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

static bool combine(struct digest *out, const struct checkpoint *ck, const struct job *job,
                    struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    bool ok = s && digest_update(s, ck->config_digest.bytes, DIGEST_BYTES, err);
    for (size_t i = 0; ok && i < job->w->n_tensors; i++)
        ok = update_tensor(s, job->w->tensors[i].tensor, &job->digests[i], err);
    return digest_end(s, ok ? out : NULL, ok ? err : NULL) && ok;
}

bool weights_digest(struct digest *out, const struct checkpoint *ck, const struct weights *w,
                    int n_threads, const struct progress *progress, struct error *err)
{
    struct job job = { .w = w, .progress = progress, .err = err };
    job.digests = mem_array(w->n_tensors, sizeof *job.digests, "digests", err);
    if (!job.digests)
        return false;
    #pragma omp parallel for schedule(dynamic) num_threads(n_threads > 0 ? n_threads : 1)
    for (size_t i = 0; i < w->n_tensors; i++)
        if (!has_failed(&job))
            digest_tensor(&job, i);
    bool ok = !job.failed && combine(out, ck, &job, err);
    free(job.digests);
    return ok;
}
