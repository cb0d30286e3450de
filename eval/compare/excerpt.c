#include "eval/compare/excerpt.h"

#include <stdlib.h>
#include <string.h>

#include "eval/score/model.h"

static const char *tokenizer_member(const struct record *r, const char *key)
{
    return cJSON_GetStringValue(json_get(json_get_value(r->summary, "tokenizer"), key));
}

bool excerpt_is_of(const struct tokenizer *t, const struct record *r)
{
    const char *sha256 = tokenizer_member(r, "sha256");
    return sha256 && strcmp(tokenizer_sha256(t), sha256) == 0;
}

struct tokenizer *excerpt_tokenizer(const struct record *r, const char *path,
                                    const struct surprisal_progress *progress)
{
    const char *sha256 = tokenizer_member(r, "sha256");
    const char *where = path ? path : tokenizer_member(r, "path");
    if (!where || !sha256)
        return NULL;
    struct error why = { 0 };
    struct tokenizer *t = tokenizer_open(where, &why);
    if (t && excerpt_is_of(t, r))
        return t;
    if (t)
        error_set(&why, "%s: is not the tokenizer of %s: its sha256 is %.12s, expected %.12s",
                  tokenizer_path(t), r->folder, tokenizer_sha256(t), sha256);
    model_warn(progress, "tokens are shown without their text: %s", why.message);
    if (t)
        tokenizer_close(t);
    return NULL;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* The first or the last `most` characters of the n bytes at text. */
static void narrow(const char **text, size_t *n, size_t most, bool from_end)
{
    size_t seen = 0;
    if (from_end) {
        size_t i = *n;
        while (i > 0 && seen < most)
            seen += !is_continuation((*text)[--i]);
        *text += i;
        *n -= i;
        return;
    }
    size_t i = 0;
    while (i < *n && (seen < most || is_continuation((*text)[i])))
        seen += !is_continuation((*text)[i++]);
    *n = i;
}

/* A NUL becomes U+FFFD: strings end at one. */
static char *without_nul(const char *text, size_t n)
{
    struct buffer b = { 0 };
    bool ok = buffer_append(&b, "", 0, NULL);
    while (ok && n > 0) {
        const char *nul = memchr(text, '\0', n);
        size_t plain = nul ? (size_t)(nul - text) : n;
        ok = buffer_append(&b, text, plain, NULL)
          && (!nul || buffer_append(&b, "\xEF\xBF\xBD", 3, NULL));
        text += plain + (nul != NULL);
        n -= plain + (nul != NULL);
    }
    if (ok)
        return b.data;
    buffer_free(&b);
    return NULL;
}

/* Rows [begin, end), of which the first or last `most` characters. */
static char *decode(const struct tokenizer *t, const struct record *r, size_t begin, size_t end,
                    size_t most, bool from_end)
{
    struct buffer b = { 0 };
    char *text = NULL;
    if (t && tokenizer_decode(t, r->id + begin, end - begin, &b, NULL)) {
        const char *start = b.data;
        size_t n = b.size;
        narrow(&start, &n, most, from_end);
        text = without_nul(start, n);
    }
    buffer_free(&b);
    return text;
}

char *excerpt_token(const struct tokenizer *t, const struct record *r, size_t row)
{
    return decode(t, r, row, row + 1, SIZE_MAX, false);
}

/* A token may be part of a character: a UTF-8 character may take up to four tokens. */
#define TOKENS_OF(characters) (4 * (characters))

char *excerpt_before(const struct tokenizer *t, const struct record *r, size_t row, size_t most)
{
    size_t begin = row;
    while (begin > 0 && row - begin < TOKENS_OF(most)
           && r->position[begin - 1] == r->position[begin] - 1)
        begin--;
    return decode(t, r, begin, row, most, true);
}

char *excerpt_after(const struct tokenizer *t, const struct record *r, size_t row, size_t most)
{
    size_t end = row + 1;
    while (end < r->scored && end - row <= TOKENS_OF(most)
           && r->position[end] == r->position[end - 1] + 1)
        end++;
    return decode(t, r, row + 1, end, most, false);
}

char *excerpt_rows(const struct tokenizer *t, const struct record *r, size_t begin, size_t end,
                   size_t most)
{
    return decode(t, r, begin, size_min(end, begin + TOKENS_OF(most)), most, false);
}
