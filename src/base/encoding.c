#include "base/encoding.h"

#include <string.h>

#include "base/utf8.h"

bool encoding_refuse_utf16(const char *text, size_t n, const char *path, struct error *err)
{
    bool little = n >= 2 && memcmp(text, "\xFF\xFE", 2) == 0;
    bool big = n >= 2 && memcmp(text, "\xFE\xFF", 2) == 0;
    return (!little && !big)
        || error_set(err, "%s: is UTF-16 (byte order mark %s), expected UTF-8 (iconv -f UTF-16 "
                     "-t UTF-8 makes it so)", path, little ? "FF FE" : "FE FF");
}

bool encoding_check(const char *text, size_t n, const char *path, struct error *err)
{
    size_t bad;
    return utf8_valid(text, n, &bad)
        || (encoding_refuse_utf16(text, n, path, err)
            && error_set(err, "%s: invalid UTF-8 at byte %zu", path, bad));
}

size_t encoding_mark(const char *text, size_t n)
{
    return n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}
