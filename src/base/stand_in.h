/* stand_in.h - what is sometimes found in the place of a file, said in words.
 *
 * A clone without Git LFS leaves pointers (https://github.com/git-lfs/git-lfs, docs/spec.md), a
 * failed download an error page or zeros, a wrong link another format.  A parser would call each of
 * them a header of 2336927755350992246 bytes, or JSON that is not valid at byte 0. */
#ifndef SURPRISAL_BASE_STAND_IN_H
#define SURPRISAL_BASE_STAND_IN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* True if the bytes of a file (all, or its beginning) are nothing known.  Else false, with what it
 * is and what to do as the error.  For bytes that a parser has refused: a good file may begin in
 * the same way. */
bool stand_in_check(const char *path, const void *data, size_t n, struct error *err);
/* Is it a Git LFS pointer?  No text or JSON begins in the same way. */
bool stand_in_is_pointer(const void *data, size_t n);

#endif
