#include "engine/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"

#define PIECE_BYTES ((size_t)8 << 20)

struct stream {
    const struct stream_parts *parts;
    struct stream_options options;
    pthread_t thread;
    pthread_mutex_t lock;               /* guards all that follows */
    pthread_cond_t changed;
    size_t first, ready;                /* parts [first, ready) have been read */
    size_t needed;                      /* asked for: read even beyond the budget */
    size_t in_memory, bytes;
    bool stop, failed;
    struct error err;                   /* why it failed */
};

size_t stream_parts_bytes(const struct stream_parts *parts, size_t begin, size_t end)
{
    size_t bytes = 0;
    for (size_t i = parts->begin[begin]; i < parts->begin[end]; i++)
        bytes += parts->ranges[i].n;
    return bytes;
}

size_t stream_part_bytes(const struct stream_parts *parts, size_t part)
{
    return stream_parts_bytes(parts, part, part + 1);
}

void stream_part_release(const struct stream_parts *parts, size_t part, bool evict)
{
    for (size_t i = parts->begin[part]; i < parts->begin[part + 1]; i++) {
        const struct stream_range *r = &parts->ranges[i];
        file_release(r->file, r->offset, r->n, evict);
    }
}

/* ---- the reading thread ---------------------------------------------------- */

static bool stopped(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = s->stop;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static bool read_range(struct stream *s, const struct stream_range *r, struct error *err)
{
    for (size_t at = 0; at < r->n; at += PIECE_BYTES) {
        size_t n = size_min(PIECE_BYTES, r->n - at);
        if (stopped(s))
            return error_set(err, "stopped");
        /* The disk reads the next piece while this one is processed. */
        file_read_ahead(r->file, r->offset + at, size_min(2 * PIECE_BYTES, r->n - at));
        if (!file_populate(r->file, r->offset + at, n, err))
            return false;
        if (s->options.seen
            && !s->options.seen(s->options.user, r->file->data + r->offset + at, n, err))
            return false;
    }
    return true;
}

static bool read_part(struct stream *s, size_t part, struct error *err)
{
    for (size_t i = s->parts->begin[part]; i < s->parts->begin[part + 1]; i++)
        if (!read_range(s, &s->parts->ranges[i], err))
            return false;
    return true;
}

static void *reader(void *user)
{
    struct stream *s = user;
    for (size_t part = s->first; part < s->parts->n_parts; part++) {
        size_t bytes = stream_part_bytes(s->parts, part);
        struct error err = { 0 };
        pthread_mutex_lock(&s->lock);
        while (!s->stop && part > s->needed && s->in_memory + bytes > s->options.ahead_bytes)
            pthread_cond_wait(&s->changed, &s->lock);
        s->in_memory += bytes;
        pthread_mutex_unlock(&s->lock);

        bool ok = read_part(s, part, &err);
        pthread_mutex_lock(&s->lock);
        if (ok) {
            s->ready = part + 1;
            s->bytes += bytes;
        } else {
            s->failed = true;
            s->err = err;
        }
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        if (!ok)
            break;
    }
    return NULL;
}

/* ---- its user ---------------------------------------------------------------- */

struct stream *stream_open(const struct stream_parts *parts, size_t first_part,
                           const struct stream_options *options, struct error *err)
{
    struct stream *s = mem_array(1, sizeof *s, "the stream of weights", err);
    if (!s)
        return NULL;
    s->parts = parts;
    s->options = *options;
    s->first = s->ready = s->needed = first_part;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (threads_begin(&s->thread, reader, s, "the thread that reads weights", err))
        return s;
    free(s);
    return NULL;
}

void stream_close(struct stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    /* From the part in use on; one more may have been begun. */
    for (size_t part = s->needed; part < s->parts->n_parts && part <= s->ready; part++)
        stream_part_release(s->parts, part, s->options.evict);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool stream_need(struct stream *s, size_t part, struct error *err)
{
    pthread_mutex_lock(&s->lock);
    if (part > s->needed) {
        s->needed = part;
        pthread_cond_broadcast(&s->changed);
    }
    while (s->ready <= part && !s->failed)
        pthread_cond_wait(&s->changed, &s->lock);
    bool ok = s->ready > part;
    if (!ok && err)
        *err = s->err;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void stream_done(struct stream *s, size_t part)
{
    stream_part_release(s->parts, part, s->options.evict);
    pthread_mutex_lock(&s->lock);
    s->in_memory -= stream_part_bytes(s->parts, part);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

size_t stream_bytes(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    size_t bytes = s->bytes;
    pthread_mutex_unlock(&s->lock);
    return bytes;
}
