/* pattern_translate.c - translates Oniguruma's Ruby syntax to PCRE2's, as far as both can say the
 * same; anything else is refused by name.  (Oniguruma's doc/RE; pcre2pattern(3).) */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/pattern.h"
#include "tokenizer/unicode.h"

struct translation {
    const char *p;              /* the rest to be read */
    const char *regex;          /* the whole pattern */
    const char *what;
    struct buffer *out;
    struct error *err;
    size_t depth;               /* open groups */
    size_t caseless_depth;      /* depth of the outermost open (?i:, 0 for none */
    uint32_t before;            /* the last character outside of classes, 0 for none */
};

static bool refuse(struct translation *t, const char *construct, size_t n)
{
    return error_set(t->err, "%s: regular expression: '%.*s' at byte %zu is not supported",
                     t->what, (int)n, construct, (size_t)(construct - t->regex));
}

/* Copies n bytes. */
static bool copy(struct translation *t, size_t n)
{
    t->p += n;
    return buffer_append(t->out, t->p - n, n, t->err);
}

/* Replaces n bytes by other text. */
static bool replace(struct translation *t, size_t n, const char *text)
{
    t->p += n;
    return buffer_append(t->out, text, strlen(text), t->err);
}

/* ---- escapes ----------------------------------------------------------- */

/* Oniguruma's \w: alphabetic, marks, decimal digits, connectors, and, outside of classes (by its
 * Latin-1 table), superscript digits and fractions. */
#define WORD_IN_CLASS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define WORD WORD_IN_CLASS "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

static bool translate_property(struct translation *t)
{
    static const char *const categories[] = {
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P",
        "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl",
        "Zp", "C", "Cc", "Cf", "Co", "Cn"
    };
    /* Scripts whose stand-ins have the same script. */
    static const char *const scripts[] = { "Han", "Hiragana", "Katakana", "Hangul" };
    const char *close = t->p[2] == '{' ? strchr(t->p, '}') : NULL;
    if (!close)
        return refuse(t, t->p, 2);
    bool negated = t->p[3] == '^';
    const char *name = t->p + 3 + negated;
    size_t n = (size_t)(close - name), all = (size_t)(close + 1 - t->p);
    const char *prefix = NULL;
    for (size_t i = 0; !prefix && i < sizeof categories / sizeof categories[0]; i++)
        if (strlen(categories[i]) == n && memcmp(categories[i], name, n) == 0)
            prefix = "";
    for (size_t i = 0; !prefix && i < sizeof scripts / sizeof scripts[0]; i++)
        if (strlen(scripts[i]) == n && memcmp(scripts[i], name, n) == 0)
            prefix = "sc:";     /* PCRE2's bare name means script extensions */
    if (!prefix || t->caseless_depth)
        return refuse(t, t->p, all);
    char letter = (t->p[1] == 'P') != negated ? 'P' : 'p';
    t->p += all;
    return buffer_printf(t->out, t->err, "\\%c{%s%.*s}", letter, prefix, (int)n, name);
}

/* Reads \x{H..}, \xHH (below 80; Oniguruma takes higher ones as raw bytes) and \uHHHH as a code
 * point; returns its length, 0 for anything else. */
static size_t read_number(const char *p, uint32_t *c)
{
    bool braced = p[1] == 'x' && p[2] == '{';
    const char *digits = p + (braced ? 3 : 2);
    size_t n = strspn(digits, "0123456789abcdefABCDEF");
    if (!braced)
        n = p[1] == 'u' && n >= 4 ? 4 : p[1] == 'x' && n >= 2 ? 2 : 0;
    if (n == 0 || n > 6 || (braced && digits[n] != '}'))
        return 0;
    char text[8] = { 0 };
    memcpy(text, digits, n);
    unsigned long value = strtoul(text, NULL, 16);
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)
        || (p[1] == 'x' && !braced && value >= 0x80))
        return 0;
    *c = (uint32_t)value;
    return (size_t)(digits - p) + n + braced;
}

/* Reads a literal character, escaped or not, at p; returns its length, 0 for anything else. */
static size_t read_character(const char *p, uint32_t *c)
{
    size_t length;
    if (*p != '\\') {
        *c = utf8_get(p, &length);
        return length;
    }
    static const char letters[] = "rntfvae", values[] = "\r\n\t\f\v\a\x1b";
    const char *letter = p[1] ? strchr(letters, p[1]) : NULL;
    if (letter) {
        *c = (unsigned char)values[letter - letters];
        return 2;
    }
    if (p[1] == 'x' || p[1] == 'u')
        return read_number(p, c);
    *c = (unsigned char)p[1];
    return p[1] && strchr(" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", p[1]) ? 2 : 0;
}

/* An escape that is not a single character. */
static bool translate_escape(struct translation *t, bool in_class)
{
    switch (t->p[1]) {
    case 's': case 'S': case 'd': case 'D':
        return copy(t, 2);
    case 'p': case 'P':
        return translate_property(t);
    case 'w':
        return replace(t, 2, in_class ? WORD_IN_CLASS : "[" WORD "]");
    case 'W':
        if (!in_class)
            return replace(t, 2, "[^" WORD "]");
    }
    return refuse(t, t->p, t->p[1] ? 2 : 1);
}

/* Characters first..last as PCRE2 writes them.  A range must hold both a code point and its
 * stand-in, or neither: the subject has the latter in place of the former. */
static bool emit_range(struct translation *t, const char *source, size_t n, uint32_t first,
                       uint32_t last)
{
    for (size_t i = 0; i < unicode_n_stand_ins; i++) {
        const struct unicode_stand_in *row = &unicode_stand_ins[i];
        bool stand_in = row->stand_in >= first && row->stand_in <= last;
        bool same = stand_in ? row->first >= first && row->last <= last
                             : row->last < first || row->first > last;
        if (!same)
            return refuse(t, source, n);
    }
    if (t->caseless_depth && last >= 0x80)
        return refuse(t, source, n);
    t->p = source + n;
    return first == last ? buffer_printf(t->out, t->err, "\\x{%x}", (unsigned)first)
                         : buffer_printf(t->out, t->err, "\\x{%x}-\\x{%x}", (unsigned)first,
                                         (unsigned)last);
}

/* A character outside of classes.  In (?i:...) Oniguruma also matches ligatures and the like
 * against two or three letters (U+FB01 for "fi", U+00DF for "ss"); PCRE2 does not. */
static bool emit_character(struct translation *t, size_t n, uint32_t c)
{
    static const char pairs[][3] = { "ss", "st", "ff", "fi", "fl" };
    for (size_t i = 0; t->caseless_depth && i < sizeof pairs / sizeof pairs[0]; i++)
        if ((t->before | 0x20) == (uint32_t)pairs[i][0] && (c | 0x20) == (uint32_t)pairs[i][1])
            return refuse(t, t->p, n);
    return emit_range(t, t->p, n, c, c);
}

/* ---- classes, groups, quantifiers --------------------------------------- */

static bool translate_class(struct translation *t)
{
    const char *open = t->p;
    if (!copy(t, t->p[1] == '^' ? 2 : 1))
        return false;
    if (*t->p == ']')
        return refuse(t, open, (size_t)(t->p + 1 - open));
    while (*t->p && *t->p != ']') {
        if (*t->p == '[' || strncmp(t->p, "&&", 2) == 0)
            return refuse(t, t->p, *t->p == '[' ? 1 : 2);
        uint32_t first, last;
        size_t n = read_character(t->p, &first), m = 0;
        last = first;
        if (n && t->p[n] == '-' && t->p[n + 1] && t->p[n + 1] != ']')
            m = read_character(t->p + n + 1, &last);
        if (m && last < first)
            return refuse(t, t->p, n + 1 + m);
        bool ok = n ? emit_range(t, t->p, m ? n + 1 + m : n, first, last)
                    : translate_escape(t, true);
        if (!ok)
            return false;
    }
    return *t->p ? copy(t, 1) : refuse(t, open, 1);
}

static bool translate_group(struct translation *t)
{
    static const char *const openings[] = { "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:" };
    t->depth++;
    if (strncmp(t->p, "(?i:", 4) == 0 && !t->caseless_depth)
        t->caseless_depth = t->depth;
    for (size_t i = 0; i < sizeof openings / sizeof openings[0]; i++)
        if (strncmp(t->p, openings[i], strlen(openings[i])) == 0)
            return copy(t, strlen(openings[i]));
    if (t->p[1] == '?' || t->p[1] == '*')
        return refuse(t, t->p, t->p[2] ? 3 : 2);
    return copy(t, 1);
}

/* {n}, {n,}, {n,m}; a brace that does not open an interval is a character. */
static bool translate_brace(struct translation *t)
{
    size_t n = 1 + strspn(t->p + 1, "0123456789"), digits = n - 1;
    bool comma = t->p[n] == ',';
    if (comma)
        n += 1 + strspn(t->p + n + 1, "0123456789");
    if (t->p[n] != '}' || n == 1 + (size_t)comma)
        return replace(t, 1, "\\{");
    n++;
    /* To Oniguruma {,n} means {0,n}, {n}+ repeats the repetition, {n}? makes it optional. */
    if (digits == 0 || t->p[n] == '+' || (t->p[n] == '?' && !comma))
        return refuse(t, t->p, t->p[n] == '+' || t->p[n] == '?' ? n + 1 : n);
    return copy(t, n);
}

static bool translate_element(struct translation *t)
{
    uint32_t c, before = t->before;
    size_t n;
    t->before = 0;
    if (*t->p == '[')
        return translate_class(t);
    if (*t->p == '(')
        return translate_group(t);
    if (*t->p == '{')
        return translate_brace(t);
    if (*t->p == ')') {
        if (t->caseless_depth == t->depth)
            t->caseless_depth = 0;
        t->depth -= t->depth > 0;       /* PCRE2 refuses one too many */
    }
    if (strchr(".^$|)*+?", *t->p))
        return copy(t, 1);
    n = read_character(t->p, &c);
    if (!n)
        return translate_escape(t, false);
    t->before = before;
    bool ok = emit_character(t, n, c);
    t->before = c;
    return ok;
}

bool pattern_translate(struct buffer *out, const char *regex, const char *what,
                       struct error *err)
{
    struct translation t = { .p = regex, .regex = regex, .what = what, .out = out, .err = err };
    while (*t.p)
        if (!translate_element(&t))
            return false;
    return true;
}
