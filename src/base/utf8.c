#include "base/utf8.h"

size_t utf8_length(const char *s, size_t n)
{
    const unsigned char *c = (const unsigned char *)s;
    if (c[0] < 0x80)
        return 1;
    /* The first byte decides the range of the second one: Unicode 15, table 3-7. */
    size_t length = c[0] >= 0xC2 && c[0] <= 0xDF ? 2 : (c[0] & 0xF0) == 0xE0 ? 3
                  : c[0] >= 0xF0 && c[0] <= 0xF4 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    unsigned char low = c[0] == 0xE0 ? 0xA0 : c[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = c[0] == 0xED ? 0x9F : c[0] == 0xF4 ? 0x8F : 0xBF;
    bool ok = c[1] >= low && c[1] <= high;
    for (size_t i = 2; ok && i < length; i++)
        ok = (c[i] & 0xC0) == 0x80;
    return ok ? length : 0;
}

bool utf8_valid(const char *text, size_t n, size_t *bad_offset)
{
    for (size_t i = 0, length; i < n; i += length) {
        length = utf8_length(text + i, n - i);
        if (length == 0) {
            if (bad_offset)
                *bad_offset = i;
            return false;
        }
    }
    return true;
}

bool utf8_is_control(const char *s)
{
    const unsigned char *c = (const unsigned char *)s;
    return c[0] < 0x20 || c[0] == 0x7F || (c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0);
}

uint32_t utf8_get(const char *s, size_t *length)
{
    const unsigned char *b = (const unsigned char *)s;
    if (b[0] < 0x80) {
        *length = 1;
        return b[0];
    }
    if (b[0] < 0xE0) {
        *length = 2;
        return (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    }
    if (b[0] < 0xF0) {
        *length = 3;
        return (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    }
    *length = 4;
    return (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
}

size_t utf8_count(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

size_t utf8_put(char *out, uint32_t c)
{
    size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[length] | c);
    return length;
}
