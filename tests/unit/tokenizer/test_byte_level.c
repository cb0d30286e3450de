/* GPT-2's alphabet, and what bytes become that are no UTF-8. */
#include "tokenizer/byte_level.h"

#include "tests/differ.h"
#include "tokenizer/unicode.h"

#define TEXT(literal) literal, sizeof literal - 1

/* By the definition, src/encoder.py: printable bytes stand for themselves, the others, in order,
 * for U+0100 and on. */
static void test_alphabet(void)
{
    int32_t expected[256], found[256], others = 0x100;
    for (int32_t b = 0; b < 256; b++) {
        bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        expected[b] = printable ? b : others++;
        found[b] = (int32_t)byte_level_character((unsigned char)b);
    }
    check_equal_i32("every byte has its character", found, expected, 256);
    char all[256], where[DIFFER_TEXT] = "";
    struct buffer encoded = { 0 }, decoded = { 0 };
    for (int b = 0; b < 256; b++)
        all[b] = (char)b;
    bool ok = byte_level_encode(&encoded, all, 256, NULL)
           && byte_level_decode(&decoded, encoded.data, encoded.size, NULL) && decoded.size == 256;
    check(ok && same_bytes(where, decoded.data, all, 256), "every byte comes back", "%zu bytes %s",
          decoded.size, where);
    buffer_free(&encoded);
    buffer_free(&decoded);
}

static bool holds(const struct buffer *b, const char *text, size_t n)
{
    return b->size == n && memcmp(b->data, text, n) == 0;
}

static void test_decode(void)
{
    static const struct {
        const char *name, *token; size_t n; const char *bytes; size_t n_bytes;
    } cases[] = {
        { "letters", TEXT("abc"), TEXT("abc") },
        { "a space and a line's end", TEXT("\xC4\xA0\xC4\x8A"), TEXT(" \n") },
        { "NUL", TEXT("\xC4\x80"), TEXT("\0") },
        { "bytes of a character", TEXT("\xC3\x83\xC2\xA9"), TEXT("\xC3\xA9") },
        { "the soft hyphen's byte", TEXT("\xC5\x83"), TEXT("\xAD") },
        { "one character outside: all of it is itself", TEXT("\xC4\xA0 \xC4\xA0"),
          TEXT("\xC4\xA0 \xC4\xA0") },
        { "a letter beyond the alphabet", TEXT("\xC4\xA0\xC5\x84"), TEXT("\xC4\xA0\xC5\x84") },
        { "a character of three bytes", TEXT("\xE4\xB8\xAD"), TEXT("\xE4\xB8\xAD") },
        { "a Latin-1 character that stands for no byte", TEXT("a\xC2\xA0"), TEXT("a\xC2\xA0") },
        { "nothing", TEXT(""), TEXT("") },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b = { 0 };
        buffer_append(&b, "<", 1, NULL);        /* what is there stays */
        bool ok = byte_level_decode(&b, cases[i].token, cases[i].n, NULL) && b.data[0] == '<';
        char where[DIFFER_TEXT] = "";
        check(ok && b.size == cases[i].n_bytes + 1
                  && same_bytes(where, b.data + 1, cases[i].bytes, cases[i].n_bytes),
              cases[i].name, "%zu bytes %s", b.size - 1, where);
        buffer_free(&b);
    }
}

#define BAD "\xEF\xBF\xBD"

/* Unicode 15, table 3-8 and its neighbours: one U+FFFD for each maximal part that could begin a
 * character. */
static void test_lossy(void)
{
    static const struct {
        const char *name, *bytes; size_t n; const char *text; size_t n_text;
    } cases[] = {
        { "UTF-8 stays", TEXT("a\xC3\xA9\0z"), TEXT("a\xC3\xA9\0z") },
        { "a lone continuation", TEXT("a\x80z"), TEXT("a" BAD "z") },
        { "two of them are two", TEXT("\x80\xBF"), TEXT(BAD BAD) },
        { "a character cut short at the end", TEXT("a\xF0\x9F\x98"), TEXT("a" BAD) },
        { "and before another", TEXT("\xE2\x82z"), TEXT(BAD "z") },
        { "overlong: each byte", TEXT("\xC0\x80"), TEXT(BAD BAD) },
        { "overlong in three: each byte", TEXT("\xE0\x80\x80"), TEXT(BAD BAD BAD) },
        { "a surrogate: each byte", TEXT("\xED\xA0\x80"), TEXT(BAD BAD BAD) },
        { "above U+10FFFF: each byte", TEXT("\xF4\x90\x80\x80"), TEXT(BAD BAD BAD BAD) },
        { "table 3-8", TEXT("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
          TEXT("a" BAD BAD BAD "b" BAD "c" BAD BAD "d") },
        { "nothing", TEXT(""), TEXT("") },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b = { 0 };
        bool ok = byte_level_append_lossy(&b, cases[i].bytes, cases[i].n, NULL);
        check(ok && (!cases[i].n_text ? b.size == 0 : holds(&b, cases[i].text, cases[i].n_text)),
              cases[i].name, "%zu bytes, expected %zu", b.size, cases[i].n_text);
        buffer_free(&b);
    }
}

int main(void)
{
    test_alphabet();
    test_decode();
    test_lossy();
    return check_done();
}
