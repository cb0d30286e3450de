/* Parts come in order, within the budget, and all bytes are seen once; a file that was cut short is
 * an error and not a SIGBUS. */
#include "engine/stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/check.h"

enum { FILE_BYTES = 3 << 20, PART_BYTES = 100001, N_PARTS = 31 };

static char path[] = "/tmp/surprisal-stream-XXXXXX";
static struct mapped_file file;
static struct stream_range ranges[2 * N_PARTS];
static size_t begin[N_PARTS + 1];
static const struct stream_parts parts = { ranges, begin, N_PARTS };

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static bool make_file(void)
{
    int fd = mkstemp(path);
    uint8_t *bytes = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++)
        bytes[i] = byte_at(i);
    bool ok = fd >= 0 && write(fd, bytes, FILE_BYTES) == FILE_BYTES && close(fd) == 0;
    free(bytes);
    /* Each part is two ranges, the second further on, none aligned to anything. */
    for (size_t p = 0; p < N_PARTS; p++) {
        ranges[2 * p] = (struct stream_range){ &file, p * (PART_BYTES - 1000), PART_BYTES - 1000 };
        ranges[2 * p + 1] = (struct stream_range){ &file, FILE_BYTES - 1000 * (p + 1), 1000 };
        begin[p + 1] = 2 * (p + 1);
    }
    return ok && file_map(&file, path, NULL);
}

struct seen {
    size_t bytes, wrong;
    const uint8_t *stop_at;
};

static bool see(void *user, const uint8_t *data, size_t n, struct error *err)
{
    struct seen *s = user;
    if (s->stop_at && data >= s->stop_at)
        return error_set(err, "seen enough");
    s->bytes += n;
    for (size_t i = 0; i < n; i++)
        s->wrong += data[i] != byte_at((size_t)(data - file.data) + i);
    return true;
}

static void test_order(size_t ahead_bytes, bool evict, size_t first)
{
    struct error err = { 0 };
    struct seen seen = { 0 };
    struct stream_options options = { .ahead_bytes = ahead_bytes, .evict = evict, .seen = see,
                                      .user = &seen };
    struct stream *s = stream_open(&parts, first, &options, &err);
    bool ok = s != NULL;
    for (size_t p = first; ok && p < N_PARTS; p++) {
        ok = stream_need(s, p, &err);
        size_t ready = stream_bytes(s), used = (p - first) * PART_BYTES;
        /* What has been read lies at most the budget, or the part in use, before what was used. */
        ok = ok && ready >= used + PART_BYTES
          && ready <= used + (ahead_bytes > PART_BYTES ? ahead_bytes : PART_BYTES);
        stream_done(s, p);
    }
    check(ok, "parts come in order, within the budget", "ahead %zu: %s", ahead_bytes, err.message);
    check(seen.bytes == (N_PARTS - first) * PART_BYTES && seen.wrong == 0,
          "all bytes are seen once", "%zu bytes, %zu wrong", seen.bytes, seen.wrong);
    stream_close(s);
}

static void test_errors(void)
{
    struct error err = { 0 };
    struct seen seen = { .stop_at = file.data + 5 * PART_BYTES };
    struct stream_options options = { .ahead_bytes = 3 * PART_BYTES, .seen = see, .user = &seen };
    struct stream *s = stream_open(&parts, 0, &options, &err);
    check(!stream_need(s, N_PARTS - 1, &err) && strstr(err.message, "seen enough"),
          "what the viewer finds stops the stream", "%s", err.message);
    stream_close(s);
    options.seen = NULL;
    s = stream_open(&parts, 0, &options, &err);
    stream_close(s);                            /* at once, with parts in flight */
    check(s != NULL, "a stream is closed before it is used", "%s", err.message);
    stream_close(NULL);
    if (truncate(path, 10 * PART_BYTES) != 0)
        return;
    s = stream_open(&parts, 0, &options, &err);
    check(!stream_need(s, N_PARTS - 1, &err) && strstr(err.message, path),
          "a file that was cut short is an error that names it", "%s", err.message);
    stream_close(s);
}

int main(void)
{
    if (check(make_file(), "a file", "cannot be made")) {
        test_order(1, false, 0);
        test_order(PART_BYTES, false, 0);
        test_order(4 * PART_BYTES + 17, false, 0);
        test_order(3 * PART_BYTES, true, 0);
        test_order(100 * PART_BYTES, false, 9);
        test_errors();
    }
    file_unmap(&file);
    unlink(path);
    return check_done();
}
