#include "tokenizer/byte_level.h"

#include "base/utf8.h"

/* Bytes without a printable form in Latin-1: 0x00-0x20, 0x7F-0xA0, 0xAD. */
#define N_LOW     0x21u         /* bytes 0x00..0x20 -> U+0100..U+0120 */
#define N_MIDDLE  0x22u         /* bytes 0x7F..0xA0 -> U+0121..U+0142 */
#define SOFT_HYPHEN 0xADu       /*                  -> U+0143         */

uint32_t byte_level_character(unsigned char byte)
{
    if (byte < N_LOW)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x100u + N_LOW + (byte - 0x7Fu);
    return byte == SOFT_HYPHEN ? 0x100u + N_LOW + N_MIDDLE : byte;
}

/* The byte of a character, -1 when it is not in the alphabet. */
static int byte_of(uint32_t c)
{
    if (c >= 0x100 && c < 0x100 + N_LOW)
        return (int)(c - 0x100);
    if (c >= 0x100 + N_LOW && c < 0x100 + N_LOW + N_MIDDLE)
        return (int)(c - 0x100 - N_LOW + 0x7F);
    if (c == 0x100 + N_LOW + N_MIDDLE)
        return (int)SOFT_HYPHEN;
    return c < 0x100 && byte_level_character((unsigned char)c) == c ? (int)c : -1;
}

bool byte_level_encode(struct buffer *out, const char *bytes, size_t n, struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        char character[4];
        size_t length = utf8_put(character, byte_level_character((unsigned char)bytes[i]));
        if (!buffer_append(out, character, length, err))
            return false;
    }
    return true;
}

bool byte_level_decode(struct buffer *out, const char *token, size_t n, struct error *err)
{
    size_t before = out->size;
    for (size_t i = 0, length; i < n; i += length) {
        int byte = byte_of(utf8_get(token + i, &length));
        if (byte < 0) {
            out->size = before;
            return buffer_append(out, token, n, err);
        }
        char c = (char)byte;
        if (!buffer_append(out, &c, 1, err))
            return false;
    }
    return true;
}

/* Length of the ill-formed part at s, where no valid sequence starts: the longest prefix of a valid
 * one, at least one byte. */
static size_t ill_formed_length(const unsigned char *s, size_t n)
{
    unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
    size_t expected = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : (s[0] & 0xF0) == 0xE0 ? 3
                    : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 1;
    if (expected < 3 || n < 2 || s[1] < low || s[1] > high)
        return 1;
    return expected == 4 && n >= 3 && (s[2] & 0xC0) == 0x80 ? 3 : 2;
}

bool byte_level_append_lossy(struct buffer *out, const char *bytes, size_t n, struct error *err)
{
    size_t done = 0;
    while (done < n) {
        size_t bad = n - done;
        bool valid = utf8_valid(bytes + done, n - done, &bad);
        if (!buffer_append(out, bytes + done, bad, err))
            return false;
        done += bad;
        if (valid)
            break;
        if (!buffer_append(out, "\xEF\xBF\xBD", 3, err))
            return false;
        done += ill_formed_length((const unsigned char *)bytes + done, n - done);
    }
    return true;
}
