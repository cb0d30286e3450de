#include "base/stand_in.h"

#include <stdint.h>
#include <string.h>

#define LOOKED_AT ((size_t)4096)        /* bytes that are zero in a file of zeros */
#define ZEROS_LEAST ((size_t)16)        /* fewer may be anything */
#define POINTER "version https://git-lfs.github.com/spec/"
#define POINTER_MOST ((size_t)1024)     /* bytes; the specification's limit */

/* What each begins with, and is. */
static const struct {
    const char *begin, *what;
} known[] = {
    { "# xet version", "is a Xet pointer" },
    { "/annex/objects/", "is a git-annex pointer" },
    { "<", "is an HTML or XML page (an error message?)" },
    { "{\"error\"", "is an error message in JSON" },
    { "Entry not found", "is the hub's message \"Entry not found\"" },
    { "Repository not found", "is the hub's message \"Repository not found\"" },
    { "Invalid username or password", "is the hub's message \"Invalid username or password\"" },
    { "Access to model", "is the hub's message that access to the model is restricted" },
    { "GGUF", "is a GGUF file" },
    { "PK\3\4", "is a zip archive (weights as PyTorch pickles them?)" },
    { "\x1F\x8B", "is compressed by gzip" },
};

static bool begins_with(const uint8_t *data, size_t n, const char *begin)
{
    size_t length = strlen(begin);
    return n >= length && memcmp(data, begin, length) == 0;
}

static bool are_zeros(const uint8_t *data, size_t n)
{
    size_t i = 0;
    while (i < n && i < LOOKED_AT && data[i] == 0)
        i++;
    return n >= ZEROS_LEAST && (i == n || i == LOOKED_AT);
}

bool stand_in_is_pointer(const void *data, size_t n)
{
    return n <= POINTER_MOST && begins_with(data, n, POINTER);
}

/* The digits of "size 4000"; 0 of them if there are none. */
static size_t pointer_size(const uint8_t *data, size_t n, const char **digits)
{
    static const char key[] = "\nsize ";
    size_t length = strlen(key), end;
    for (size_t i = 0; i + length < n; i++) {
        if (memcmp(data + i, key, length) != 0)
            continue;
        *digits = (const char *)data + i + length;
        for (end = i + length; end < n && data[end] >= '0' && data[end] <= '9';)
            end++;
        return end - i - length;
    }
    return 0;
}

static bool refuse_pointer(const char *path, const uint8_t *data, size_t n, struct error *err)
{
    const char *digits = "?";
    size_t n_digits = pointer_size(data, n, &digits);
    return error_set(err, "%s: is a Git LFS pointer to a file of %.*s bytes, not the file itself: "
                     "get it with `git lfs pull` in the folder, or with `hf download`", path,
                     n_digits ? (int)n_digits : 1, digits);
}

/* White space and a byte order mark may come before a page. */
static size_t skip_space(const uint8_t *data, size_t n)
{
    size_t i = begins_with(data, n, "\xEF\xBB\xBF") ? 3 : 0;
    while (i < n && data[i] && strchr(" \t\r\n", data[i]))
        i++;
    return i;
}

bool stand_in_check(const char *path, const void *data, size_t n, struct error *err)
{
    const uint8_t *bytes = data;
    if (stand_in_is_pointer(data, n))
        return refuse_pointer(path, data, n, err);
    if (are_zeros(data, n))
        return error_set(err, "%s: is full of zeros, as a download that did not finish leaves it: "
                         "get it again, with `hf download` for example", path);
    size_t skipped = n ? skip_space(bytes, n) : 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n && begins_with(bytes + skipped, n - skipped, known[i].begin))
            return error_set(err, "%s: %s, not the file itself: get it again, with `hf download` "
                             "for example", path, known[i].what);
    return true;
}
