#include "base/file_digest.h"

#include <stdlib.h>

#define PIECE_BYTES ((size_t)16 << 20)
#define READ_BYTES  ((size_t)1 << 20)

bool file_digest(struct digest *out, const char *path, struct error *err)
{
    struct mapped_file f;
    if (!file_map(&f, path, err))
        return false;
    struct digest_stream *s = digest_begin(err);
    bool ok = s != NULL;
    for (size_t at = 0, n; ok && at < f.size; at += n) {
        n = size_min(READ_BYTES, f.size - at);
        ok = file_populate(&f, at, n, err) && digest_update(s, f.data + at, n, err);
        file_release(&f, at, n, false);
    }
    ok = digest_end(s, ok ? out : NULL, err) && ok;
    file_unmap(&f);
    return ok;
}

static bool hash_piece(struct digest *out, const uint8_t *data, size_t n, const struct mapped_file *map)
{
    size_t offset = map ? (size_t)(data - map->data) : 0;
    bool ok = (!map || !n || file_populate(map, offset, n, NULL)) && digest_of(out, data, n, NULL);
    if (map && n)
        file_release(map, offset, n, false);
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
    #pragma omp parallel for schedule(dynamic) num_threads(n_threads > 0 ? n_threads : 1) reduction(&& : ok)
    for (size_t i = 0; i < n_pieces; i++) {
        size_t at = i * PIECE_BYTES;
        ok = ok && hash_piece(&pieces[i], data + at, size_min(PIECE_BYTES, n - at), map);
    }
    if (!ok)
        error_set(err, "%s: cannot be read back", map ? map->path : "memory");
    ok = ok && digest_of(out, pieces, n_pieces * sizeof *pieces, err);
    free(pieces);
    return ok;
}
