#include "server/page.h"

#include <string.h>

#include "base/digest.h"
#include "base/format.h"

const char page_html[] =
#include "src/server/page.html.h"
    ;

#define BASE64_BYTES 45         /* of a SHA-256, with its NUL */

static void encode_base64(char out[BASE64_BYTES], const struct digest *d)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < DIGEST_BYTES; i += 3) {
        unsigned b1 = i + 1 < DIGEST_BYTES ? d->bytes[i + 1] : 0;
        unsigned b2 = i + 2 < DIGEST_BYTES ? d->bytes[i + 2] : 0;
        unsigned x = (unsigned)d->bytes[i] << 16 | b1 << 8 | b2;
        for (size_t k = 0; k < 4; k++)
            *out++ = i + k > DIGEST_BYTES ? '=' : digits[x >> (18 - 6 * k) & 63];
    }
    *out = '\0';
}

/* The hash of what stands between two tags. */
static bool hash_part(char out[BASE64_BYTES], const char *from, const char *to, struct error *err)
{
    const char *begin = strstr(page_html, from), *end = begin ? strstr(begin, to) : NULL;
    struct digest d;
    if (!end)
        return error_set(err, "the page has no %s", from);
    begin += strlen(from);
    if (!digest_of(&d, begin, (size_t)(end - begin), err))
        return false;
    encode_base64(out, &d);
    return true;
}

bool page_make_policy(char *out, size_t n, struct error *err)
{
    char style[BASE64_BYTES], script[BASE64_BYTES];
    if (!hash_part(style, "<style>", "</style>", err)
        || !hash_part(script, "<script>", "</script>", err))
        return false;
    format_text(out, n, "default-src 'self'; style-src 'sha256-%s'; script-src 'sha256-%s'; "
                "img-src data:; base-uri 'none'; frame-ancestors 'none'", style, script);
    return true;
}
