/* same_files.h - do two files hold the same bytes? */
#ifndef SURPRISAL_TESTS_SAME_FILES_H
#define SURPRISAL_TESTS_SAME_FILES_H

#include <string.h>

#include "base/file.h"

/* False also when one cannot be read. */
static inline bool same_files(const char *a, const char *b)
{
    struct buffer x = { 0 }, y = { 0 };
    bool same = file_read(&x, a, NULL) && file_read(&y, b, NULL) && x.size == y.size
             && memcmp(x.data, y.data, x.size) == 0;
    buffer_free(&x);
    buffer_free(&y);
    return same;
}

#endif
