/* digest.h - SHA-256, and SHA-1 where git has it (OpenSSL's libcrypto, which uses the CPU's SHA
 * instructions). */
#ifndef SURPRISAL_BASE_DIGEST_H
#define SURPRISAL_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DIGEST_BYTES 32

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

struct digest_stream;           /* opaque; owned by the caller until digest_end */

struct digest_stream *digest_begin(struct error *err);
/* Of git's blob of n bytes, which are to follow: SHA-1, 20 bytes of the digest. */
struct digest_stream *digest_begin_git(size_t n, struct error *err);
bool digest_update(struct digest_stream *s, const void *bytes, size_t n, struct error *err);
/* Writes the digest and frees the stream; with out NULL only frees it.  NULL is fine. */
bool digest_end(struct digest_stream *s, struct digest *out, struct error *err);

/* The digest of the bytes so far; the stream stays open. */
bool digest_so_far(const struct digest_stream *s, struct digest *out, struct error *err);

/* begin, update, end. */
bool digest_of(struct digest *out, const void *bytes, size_t n, struct error *err);

/* out: 64 lower-case hexadecimal digits and NUL. */
void digest_hex(char out[2 * DIGEST_BYTES + 1], const struct digest *d);

#endif
