#include "tokenizer/token_text.h"

#include <string.h>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"

void token_text_free(struct token_text *t)
{
    buffer_free(&t->bytes);
}

/* Could bytes that follow make the n bytes at s, which are no character, one?  Completed by the
 * least or the largest bytes that may follow, every beginning of a character is one: the bounds of
 * a second byte (Unicode 15, table 3-7) leave one of the two inside. */
static bool begins_character(const char *s, size_t n)
{
    for (size_t length = n + 1; length <= 4; length++) {
        char least[4], most[4];
        memset(least, 0x80, sizeof least);
        memset(most, 0xBF, sizeof most);
        memcpy(least, s, n);
        memcpy(most, s, n);
        if (utf8_length(least, length) == length || utf8_length(most, length) == length)
            return true;
    }
    return false;
}

/* Bytes at the end that are the beginning of a character. */
static size_t unfinished(const struct buffer *b)
{
    for (size_t n = 3; n > 0; n--)
        if (n <= b->size && begins_character(b->data + b->size - n, n)
            && utf8_length(b->data + b->size - n, n) == 0)
            return n;
    return 0;
}

bool token_text_add(struct token_text *t, int32_t id, struct buffer *out, struct error *err)
{
    if (!tokenizer_token_bytes(t->tokenizer, id, !t->begun, &t->bytes, err))
        return false;
    t->begun = true;
    size_t left = unfinished(&t->bytes), done = t->bytes.size - left;
    if (!byte_level_append_lossy(out, t->bytes.data, done, err))
        return false;
    if (left)
        memmove(t->bytes.data, t->bytes.data + done, left);
    t->bytes.size = left;
    return true;
}

bool token_text_end(struct token_text *t, struct buffer *out, struct error *err)
{
    bool ok = byte_level_append_lossy(out, t->bytes.data, t->bytes.size, err);
    t->bytes.size = 0;
    return ok;
}
