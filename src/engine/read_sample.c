#include "engine/read_sample.h"

#include "base/digest.h"
#include "base/machine.h"
#include "engine/limits.h"

#define MOST_BYTES ((size_t)8 << 20)

static double missing_share(const struct stream_parts *parts, double bytes)
{
    double missing = 0;
    for (size_t i = 0; i < parts->begin[parts->n_parts]; i++) {
        const struct stream_range *r = &parts->ranges[i];
        missing += (double)r->n * (1 - file_cached_share(r->file, r->offset, r->n));
    }
    return missing / bytes;
}

bool read_sample(struct read_rates *rates, const struct stream_parts *parts, struct error *err)
{
    *rates = (struct read_rates){ 0 };
    size_t bytes = stream_parts_bytes(parts, 0, parts->n_parts);
    if (bytes < 200)
        return true;
    const struct stream_range *r = &parts->ranges[0];
    size_t n = size_min(r->n, size_min(bytes / 200, MOST_BYTES));
    struct limits_rate disk = { 0 };
    rates->missing = missing_share(parts, (double)bytes);
    if (rates->missing > 0.01 && bytes / 200 > MOST_BYTES
        && !limits_disk(&disk, r->file->path, MOST_BYTES, 0.1, err))
        return false;
    rates->disk = disk.bytes_per_second > 0 ? 1 / disk.bytes_per_second : 0;
    if (!file_populate(r->file, r->offset, n, err))
        return false;
    struct digest_stream *hash = digest_begin(err);
    file_release(r->file, r->offset, n, false);
    double start = machine_thread_seconds();
    bool ok = hash && file_populate(r->file, r->offset, n, err);
    double populated = machine_thread_seconds();
    ok = ok && digest_update(hash, r->file->data + r->offset, n, err);
    double hashed = machine_thread_seconds();
    file_release(r->file, r->offset, n, false);
    rates->map = (machine_thread_seconds() - hashed + populated - start) / (double)n;
    rates->hash = (hashed - populated) / (double)n;
    digest_end(hash, NULL, NULL);
    return ok;
}
