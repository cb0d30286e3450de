/* file_digest.h - SHA-256 of data that may be larger than memory: read piece by piece, pages
 * released. */
#ifndef SURPRISAL_BASE_FILE_DIGEST_H
#define SURPRISAL_BASE_FILE_DIGEST_H

#include "base/digest.h"
#include "base/file.h"

/* The SHA-256 of a regular file's bytes. */
bool file_digest(struct digest *out, const char *path, struct error *err);
/* The SHA-1 that git has of it as a blob, in the first 20 bytes; the others are 0. */
bool file_digest_git(struct digest *out, const char *path, struct error *err);
/* Splits n bytes into pieces of 16 MB (the last one shorter, perhaps empty), and gives the SHA-256
 * of the SHA-256s of the pieces, so that all threads can share the work.  data lies in `map`, or,
 * with map NULL, in memory. */
bool file_digest_pieces(struct digest *out, const uint8_t *data, size_t n,
                        const struct mapped_file *map, int n_threads, struct error *err);

#endif
