#include "grammar/regex_class.h"

#include <string.h>
#include <utf8proc.h>

#include "base/format.h"
#include "base/utf8.h"
#include "tokenizer/pattern.h"

#define MAX_PROPERTIES 16u              /* \p in a pattern: each goes through all characters */
#define MAX_FOLDED     ((size_t)1 << 21)
#define LAST_CASED     0x1E943u         /* characters behind it have no other case (Unicode 16) */

bool regex_class_fail(const struct regex_reader *r, struct error *err, const char *what)
{
    return error_set(err, "regular expression, byte %zu: %s", r->at, what);
}

static bool add_text(struct charset *set, const char *ranges, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && ranges[i]; i += 2)
        ok = charset_add(set, (unsigned char)ranges[i], (unsigned char)ranges[i + 1], err);
    return ok;
}

static bool add_all(struct charset *set, const struct charset *more, struct error *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < more->n; i++)
        ok = charset_add(set, more->ranges[i].first, more->ranges[i].last, err);
    return ok;
}

/* Adds `some`, or all but it, and releases it. */
static bool add_or_invert(struct charset *set, struct charset *some, bool inverted,
                          struct error *err)
{
    bool ok = charset_tidy(some, err) && (!inverted || charset_invert(some, err))
           && add_all(set, some, err);
    charset_free(some);
    return ok;
}

/* ---- \d \w \s \h \v \N and their opposites, [:alpha:] ---------------------------- */

static const struct class {
    const char *name;
    const char *ranges;         /* pairs of characters */
} posix[] = {
    { "alnum", "09AZaz" }, { "alpha", "AZaz" }, { "ascii", "\x01\x7f" }, { "blank", "  \t\t" },
    { "cntrl", "\x01\x1f\x7f\x7f" }, { "digit", "09" }, { "graph", "!~" }, { "lower", "az" },
    { "print", " ~" }, { "punct", "!/:@[`{~" }, { "space", "  \t\r" }, { "upper", "AZ" },
    { "word", "09AZaz__" }, { "xdigit", "09AFaf" },
};

static bool add_spaces(struct charset *set, bool vertical, struct error *err)
{
    static const struct charset_range across[] = {
        { 9, 9 }, { 0x20, 0x20 }, { 0xA0, 0xA0 }, { 0x1680, 0x1680 }, { 0x180E, 0x180E },
        { 0x2000, 0x200A }, { 0x202F, 0x202F }, { 0x205F, 0x205F }, { 0x3000, 0x3000 },
    }, down[] = { { 10, 13 }, { 0x85, 0x85 }, { 0x2028, 0x2029 } };
    const struct charset_range *r = vertical ? down : across;
    size_t n = vertical ? sizeof down / sizeof *down : sizeof across / sizeof *across;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = charset_add(set, r[i].first, r[i].last, err);
    return ok;
}

/* false with *known false: no such letter. */
static bool add_letter(struct charset *set, char letter, bool *known, struct error *err)
{
    struct charset some = { 0 };
    char small = (char)(letter | 0x20);
    bool ok = true;
    *known = true;
    if (small == 'd')
        ok = add_text(&some, "09", err);
    else if (small == 'w')
        ok = add_text(&some, "09AZaz__", err);
    else if (small == 's')
        ok = add_text(&some, "  \t\r", err);
    else if (small == 'h' || small == 'v')
        ok = add_spaces(&some, small == 'v', err);
    else if (letter == 'N')
        ok = add_text(&some, "\n\n", err);
    else
        *known = false;
    if (!*known)
        return false;
    if (!ok)
        charset_free(&some);
    return ok && add_or_invert(set, &some, letter != small, err);
}

/* [:alpha:], behind "[:"; leaves the place alone if it is none. */
static bool add_posix(struct regex_reader *r, struct charset *set, bool *known, struct error *err)
{
    const char *name = r->text + r->at, *end = strstr(name, ":]");
    bool inverted = *name == '^';
    *known = false;
    name += inverted;
    for (size_t i = 0; end && i < sizeof posix / sizeof *posix; i++) {
        struct charset some = { 0 };
        if (strlen(posix[i].name) != (size_t)(end - name)
            || strncmp(posix[i].name, name, (size_t)(end - name)) != 0)
            continue;
        *known = true;
        r->at = (size_t)(end - r->text) + 2;
        if (!add_text(&some, posix[i].ranges, err)
            || (strcmp(posix[i].name, "ascii") == 0 && !charset_add(&some, 0, 0, err))
            || (strcmp(posix[i].name, "cntrl") == 0 && !charset_add(&some, 0, 0, err))) {
            charset_free(&some);
            return false;
        }
        return add_or_invert(set, &some, inverted, err);
    }
    return true;
}

/* ---- \p{...}, as PCRE2 knows it -------------------------------------------------- */

/* Every character but NUL, in order. */
static bool all_characters(struct buffer *b, struct error *err)
{
    char text[4];
    bool ok = true;
    for (uint32_t c = 1; ok && c <= CHARSET_LAST; c++)
        if (c < 0xD800 || c > 0xDFFF)
            ok = buffer_append(b, text, utf8_put(text, c), err);
    return ok;
}

static uint32_t last_before(const char *text, size_t end)
{
    size_t length;
    do
        end--;
    while (((unsigned char)text[end] & 0xC0) == 0x80);
    return utf8_get(text + end, &length);
}

static bool add_matches(struct charset *set, const char *regex, struct error *err)
{
    struct buffer all = { 0 };
    struct pattern *p = pattern_compile_pcre2(regex, regex, err);
    struct pattern_scratch *scratch = p ? pattern_scratch_new(err) : NULL;
    struct pattern_walk walk = { 0 };
    bool ok = scratch && all_characters(&all, err);
    while (ok && pattern_next(p, scratch, all.data, all.size, &walk, err)) {
        size_t length;
        ok = charset_add(set, utf8_get(all.data + walk.start, &length),
                         last_before(all.data, walk.end), err);
    }
    ok = ok && walk.finished;
    buffer_free(&all);
    pattern_scratch_free(scratch);
    pattern_free(p);
    return ok;
}

/* Behind \p or \P. */
static bool add_property(struct regex_reader *r, bool inverted, struct charset *set,
                         struct error *err)
{
    char regex[64] = { 0 };
    struct charset some = { 0 };
    const char *name = r->text + r->at;
    size_t n = *name == '{' ? strcspn(name, "}") + 1 : strspn(name, "CLMNPSZ") ? 1 : 0;
    if (n == 0 || n > 40 || strspn(name, "{}^_ -&0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "abcdefghijklmnopqrstuvwxyz") < n)
        return regex_class_fail(r, err, "\\p without the name of a property");
    if (++r->n_properties > MAX_PROPERTIES)
        return regex_class_fail(r, err, "more than 16 \\p");
    format_text(regex, sizeof regex, "\\p%.*s+", (int)n, name);
    r->at += n;
    if (!add_matches(&some, regex, err)) {
        charset_free(&some);
        return false;
    }
    return add_or_invert(set, &some, inverted, err);
}

/* ---- escapes --------------------------------------------------------------------- */

/* Up to `most` digits; with braces any number of them up to }. */
static bool read_hex(struct regex_reader *r, size_t least, size_t most, uint32_t *c,
                     struct error *err)
{
    bool braces = r->text[r->at] == '{';
    size_t n = 0;
    r->at += braces;
    for (*c = 0; n < (braces ? 8 : most) && ascii_hex(r->text[r->at]) >= 0; n++)
        *c = *c << 4 | (uint32_t)ascii_hex(r->text[r->at++]);
    if (braces && (n == 0 || r->text[r->at++] != '}'))
        return regex_class_fail(r, err, "an escape by number that is not complete");
    if (n < least || *c > CHARSET_LAST || (*c >= 0xD800 && *c <= 0xDFFF))
        return regex_class_fail(r, err, "an escape whose number is no character");
    return true;
}

bool regex_class_escape(struct regex_reader *r, bool in_class, struct charset *set, uint32_t *c,
                        struct error *err)
{
    static const char controls[] = "t\tn\nr\rf\fe\x1b" "a\a";
    char letter = r->text[r->at];
    bool known;
    *c = REGEX_CLASS_SET;
    if (!letter)
        return regex_class_fail(r, err, "\\ at the end");
    r->at++;
    for (size_t i = 0; controls[i]; i += 2)
        if (controls[i] == letter) {
            *c = (unsigned char)controls[i + 1];
            return true;
        }
    if (letter == 'x' || letter == 'u')
        return read_hex(r, letter == 'x' ? 0 : 4, letter == 'x' ? 2 : 4, c, err);
    if (letter == 'p' || letter == 'P')
        return add_property(r, letter == 'P', set, err);
    if (letter == '0') {
        for (*c = 0; r->text[r->at] >= '0' && r->text[r->at] <= '7' && *c < 32; r->at++)
            *c = *c * 8 + (uint32_t)(r->text[r->at] - '0');
        return true;
    }
    if (letter == 'c' && r->text[r->at] >= ' ' && r->text[r->at] <= '~') {
        char x = r->text[r->at++];
        *c = (uint32_t)(x >= 'a' && x <= 'z' ? x - 32 : x) ^ 64;
        return true;
    }
    if (letter == 'b' && in_class) {
        *c = '\b';
        return true;
    }
    if (!ascii_letter(letter) && !ascii_digit(letter)) {
        size_t length;
        *c = utf8_get(r->text + r->at - 1, &length);
        r->at += length - 1;
        return true;
    }
    bool ok = add_letter(set, letter, &known, err);
    if (known)
        return ok;
    r->at--;
    return ascii_digit(letter) || letter == 'k' || letter == 'g'
         ? regex_class_fail(r, err, "back references are not supported")
         : error_set(err, "regular expression, byte %zu: \\%c is not supported", r->at, letter);
}

/* ---- classes --------------------------------------------------------------------- */

/* One member of a class: a character, or REGEX_CLASS_SET. */
static bool read_member(struct regex_reader *r, struct charset *set, uint32_t *c,
                        struct error *err)
{
    size_t length;
    bool known = false;
    if (r->text[r->at] == '\\') {
        r->at++;
        return regex_class_escape(r, true, set, c, err);
    }
    if (r->text[r->at] == '[' && strchr(":.=", r->text[r->at + 1]) && r->text[r->at + 1]) {
        r->at += 2;
        if (!add_posix(r, set, &known, err))
            return false;
        *c = REGEX_CLASS_SET;
        if (known)
            return true;
        r->at -= 2;
        if (strstr(r->text + r->at, ":]"))
            return regex_class_fail(r, err, "a POSIX class that is not supported");
    }
    *c = utf8_get(r->text + r->at, &length);
    r->at += length;
    return true;
}

static bool read_members(struct regex_reader *r, struct charset *set, struct error *err)
{
    for (bool first = true; first || r->text[r->at] != ']'; first = false) {
        uint32_t c, last;
        if (!r->text[r->at])
            return regex_class_fail(r, err, "a class without its ]");
        if (!read_member(r, set, &c, err))
            return false;
        if (c == REGEX_CLASS_SET)
            continue;
        last = c;
        if (r->text[r->at] == '-' && r->text[r->at + 1] && r->text[r->at + 1] != ']') {
            r->at++;
            if (!read_member(r, set, &last, err))
                return false;
            if (last == REGEX_CLASS_SET) {      /* [a-\d]: the three of them */
                last = c;
                if (!charset_add(set, '-', '-', err))
                    return false;
            }
            if (last < c)
                return regex_class_fail(r, err, "a range whose end comes before its beginning");
        }
        if (!charset_add(set, c, last, err))
            return false;
    }
    r->at++;
    return true;
}

bool regex_class_brackets(struct regex_reader *r, struct charset *set, struct error *err)
{
    bool inverted = r->text[r->at] == '^';
    r->at += inverted;
    return read_members(r, set, err) && charset_tidy(set, err)
        && regex_class_fold(r, set, err) && (!inverted || charset_invert(set, err));
}

bool regex_class_fold(struct regex_reader *r, struct charset *set, struct error *err)
{
    size_t n = r->caseless ? set->n : 0;
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        for (uint32_t c = set->ranges[i].first; ok && c <= set->ranges[i].last && c <= LAST_CASED;
             c++) {
            uint32_t small = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
            uint32_t large = (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
            if (++r->n_folded > MAX_FOLDED)
                return regex_class_fail(r, err, "too many characters without case");
            ok = (small == c || charset_add(set, small, small, err))
              && (large == c || charset_add(set, large, large, err));
        }
    return ok && (n == 0 || charset_tidy(set, err));
}
