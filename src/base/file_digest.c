#include "base/file_digest.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)16 << 20)
#define READ_BYTES  ((size_t)256 << 10)      /* in memory at once, of each thread */

/* Ends the stream; data lies in the map, whose pages are released once read. */
static bool hash_mapped(struct digest *out, struct digest_stream *s, const uint8_t *data, size_t n,
                        const struct mapped_file *map, struct error *err)
{
    bool ok = s != NULL;
    for (size_t at = 0, now, offset = n ? (size_t)(data - map->data) : 0; ok && at < n; at += now) {
        now = size_min(READ_BYTES, n - at);
        ok = file_populate(map, offset + at, now, err) && digest_update(s, data + at, now, err);
        file_release(map, offset + at, now, false);
    }
    return digest_end(s, ok ? out : NULL, err) && ok;
}

/* map: holds the bytes.  NULL: the bytes are in memory. */
static bool hash_bytes(struct digest *out, const uint8_t *data, size_t n,
                       const struct mapped_file *map, struct error *err)
{
    return map ? hash_mapped(out, digest_begin(err), data, n, map, err)
               : digest_of(out, data, n, err);
}

bool file_digest(struct digest *out, const char *path, struct error *err)
{
    struct mapped_file f;
    if (!file_map(&f, path, err))
        return false;
    bool ok = hash_bytes(out, f.data, f.size, &f, err);
    file_unmap(&f);
    return ok;
}

bool file_digest_git(struct digest *out, const char *path, struct error *err)
{
    struct mapped_file f;
    *out = (struct digest){ { 0 } };
    if (!file_map(&f, path, err))
        return false;
    bool ok = hash_mapped(out, digest_begin_git(f.size, err), f.data, f.size, &f, err);
    file_unmap(&f);
    return ok;
}

bool file_digest_pieces(struct digest *out, const uint8_t *data, size_t n,
                        const struct mapped_file *map, int n_threads, struct error *err)
{
    size_t n_pieces = n / PIECE_BYTES + 1;
    struct digest *pieces = mem_array(n_pieces, sizeof *pieces, "digests", err);
    if (!pieces)
        return false;
    bool ok = true;
    const int threads = n_threads > 0 ? n_threads : 1;
    #pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(&& : ok)
    for (size_t i = 0; i < n_pieces; i++) {
        size_t at = i * PIECE_BYTES;
        ok = ok && hash_bytes(&pieces[i], data + at, size_min(PIECE_BYTES, n - at), map, NULL);
    }
    if (!ok)
        error_set(err, "%s: cannot be read back", map ? map->path : "memory");
    ok = ok && digest_of(out, pieces, n_pieces * sizeof *pieces, err);
    free(pieces);
    return ok;
}
