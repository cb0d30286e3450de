/* file_digest.h - SHA-256 of what may be larger than memory: piece by piece, pages given back. */
#ifndef SURPRISAL_BASE_FILE_DIGEST_H
#define SURPRISAL_BASE_FILE_DIGEST_H

#include "base/digest.h"
#include "base/file.h"

/* The SHA-256 of a regular file's bytes. */
bool file_digest(struct digest *out, const char *path, struct error *err);
/* The SHA-256 of the SHA-256s of n bytes' pieces of 16 MB (the last one shorter, perhaps empty), so that
 * all threads can work on it.  data is in memory, or (map not NULL) in that mapping. */
bool file_digest_pieces(struct digest *out, const uint8_t *data, size_t n,
                        const struct mapped_file *map, int n_threads, struct error *err);

#endif
