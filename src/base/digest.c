#include "base/digest.h"

#include <stdio.h>

#include <openssl/evp.h>

/* The stream is libcrypto's context; the struct only gives it a name of ours. */
static struct digest_stream *begin(const EVP_MD *type, const char *name, struct error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, type, NULL) == 1)
        return (struct digest_stream *)ctx;
    EVP_MD_CTX_free(ctx);
    error_set(err, "libcrypto cannot start %s", name);
    return NULL;
}

struct digest_stream *digest_begin(struct error *err)
{
    return begin(EVP_sha256(), "SHA-256", err);
}

/* git hashes "blob N", a NUL and the bytes. */
struct digest_stream *digest_begin_git(size_t n, struct error *err)
{
    char head[32];
    int length = snprintf(head, sizeof head, "blob %zu", n);
    struct digest_stream *s = begin(EVP_sha1(), "SHA-1", err);
    if (!s || digest_update(s, head, (size_t)length + 1, err))
        return s;
    digest_end(s, NULL, NULL);
    return NULL;
}

bool digest_update(struct digest_stream *s, const void *bytes, size_t n, struct error *err)
{
    return EVP_DigestUpdate((EVP_MD_CTX *)s, bytes, n) == 1
        || error_set(err, "libcrypto cannot compute SHA-256");
}

bool digest_end(struct digest_stream *s, struct digest *out, struct error *err)
{
    bool ok = !out || (s && EVP_DigestFinal_ex((EVP_MD_CTX *)s, out->bytes, NULL) == 1);
    EVP_MD_CTX_free((EVP_MD_CTX *)s);
    return ok || error_set(err, "libcrypto cannot finish SHA-256");
}

bool digest_so_far(const struct digest_stream *s, struct digest *out, struct error *err)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool ok = copy && EVP_MD_CTX_copy_ex(copy, (const EVP_MD_CTX *)s) == 1
           && EVP_DigestFinal_ex(copy, out->bytes, NULL) == 1;
    EVP_MD_CTX_free(copy);
    return ok || error_set(err, "libcrypto cannot copy SHA-256");
}

bool digest_of(struct digest *out, const void *bytes, size_t n, struct error *err)
{
    struct digest_stream *s = digest_begin(err);
    if (!s)
        return false;
    if (!digest_update(s, bytes, n, err)) {
        digest_end(s, NULL, NULL);
        return false;
    }
    return digest_end(s, out, err);
}

void digest_hex(char out[2 * DIGEST_BYTES + 1], const struct digest *d)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        out[2 * i] = digits[d->bytes[i] >> 4];
        out[2 * i + 1] = digits[d->bytes[i] & 15];
    }
    out[2 * DIGEST_BYTES] = '\0';
}
