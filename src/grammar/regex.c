#include "grammar/regex.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/utf8.h"
#include "grammar/regex_class.h"

#define NO_LIMIT SIZE_MAX

struct parser {
    struct regex_reader in;
    struct regex *out;
    size_t depth;
};

/* ---- reading --------------------------------------------------------------------- */

static bool parse_alternatives(struct parser *p, struct error *err);

static char peek(const struct parser *p)
{
    return p->in.text[p->in.at];
}

static bool skip_word(struct parser *p, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(p->in.text + p->in.at, word, n) != 0)
        return false;
    p->in.at += n;
    return true;
}

static bool digits(const struct parser *p, size_t *at, size_t *value)
{
    size_t begin = *at;
    for (*value = 0; ascii_digit(p->in.text[*at]); ++*at)
        if (*value <= REGEX_MAX_STEPS)
            *value = *value * 10 + (size_t)(p->in.text[*at] - '0');
    return *at > begin;
}

/* {m}, {m,} or {m,n}; anything else in braces is text, as in PCRE2. */
static bool read_counts(struct parser *p, size_t *min, size_t *max)
{
    size_t at = p->in.at + 1;
    if (!digits(p, &at, min))
        return false;
    *max = *min;
    if (p->in.text[at] == ',') {
        at++;
        if (!digits(p, &at, max))
            *max = NO_LIMIT;
    }
    if (p->in.text[at] != '}')
        return false;
    p->in.at = at + 1;
    return true;
}

static bool read_repetition(struct parser *p, size_t *min, size_t *max)
{
    char c = peek(p);
    if (c == '{')
        return read_counts(p, min, max);
    if (!c || !strchr("*+?", c))
        return false;
    *min = c == '+';
    *max = c == '?' ? 1 : NO_LIMIT;
    p->in.at++;
    return true;
}

static bool parse_repetitions(struct parser *p, size_t begin, struct error *err)
{
    size_t min, max;
    while (read_repetition(p, &min, &max)) {
        if (max < min)
            return regex_class_fail(&p->in, err, "a repetition whose limits are out of order");
        if (peek(p) == '+')
            return regex_class_fail(&p->in, err, "possessive repetitions are not supported");
        if (peek(p) == '?')         /* lazy: the same texts */
            p->in.at++;
        if (!regex_repeat(p->out, begin, min, max, err))
            return false;
    }
    return true;
}

/* (?i) and the like, behind "(?"; *scoped: up to a ':'. */
static bool parse_flags(struct parser *p, bool *scoped, struct error *err)
{
    bool on = true;
    for (; peek(p) != ')' && peek(p) != ':'; p->in.at++) {
        char c = peek(p);
        if (c == '-')
            on = false;
        else if (c == 'i')
            p->in.caseless = on;
        else if (c == 's')
            p->in.dot_all = on;
        else if (c == 'x')
            p->in.extended = on;
        else
            return regex_class_fail(&p->in, err,
                                    "this kind of group or option is not supported");
    }
    *scoped = peek(p) == ':';
    p->in.at++;
    return true;
}

static bool skip_name(struct parser *p, char end, struct error *err)
{
    while (ascii_letter(peek(p)) || ascii_digit(peek(p)) || peek(p) == '_')
        p->in.at++;
    return peek(p) == end ? (p->in.at++, true)
                          : regex_class_fail(&p->in, err, "a group without its name's end");
}

/* Behind a '('.  *is_flags: options for the rest of the group around it. */
static bool parse_group_head(struct parser *p, bool *is_flags, struct error *err)
{
    bool scoped = true, ok = true;
    if (peek(p) == '*')
        return regex_class_fail(&p->in, err, "verbs are not supported");
    if (!skip_word(p, "?"))
        return true;
    if (skip_word(p, "#")) {
        *is_flags = true;
        p->in.at += strcspn(p->in.text + p->in.at, ")");
        return peek(p) ? (p->in.at++, true)
                       : regex_class_fail(&p->in, err, "a comment without its )");
    }
    if (peek(p) == '=' || peek(p) == '!' || skip_word(p, "<=") || skip_word(p, "<!"))
        return regex_class_fail(&p->in, err, "look-around is not supported");
    if (skip_word(p, "P<") || skip_word(p, "<"))
        ok = skip_name(p, '>', err);
    else if (skip_word(p, "'"))
        ok = skip_name(p, '\'', err);
    else if (!skip_word(p, ":"))
        ok = parse_flags(p, &scoped, err);
    *is_flags = ok && !scoped;
    return ok;
}

static bool parse_group(struct parser *p, bool *is_flags, struct error *err)
{
    struct regex_reader before = p->in;
    *is_flags = false;
    if (++p->depth > REGEX_MAX_DEPTH)
        return regex_class_fail(&p->in, err, "groups nest too deeply");
    if (!parse_group_head(p, is_flags, err))
        return false;
    if (!*is_flags) {
        if (!parse_alternatives(p, err))
            return false;
        if (!skip_word(p, ")"))
            return regex_class_fail(&p->in, err, "a group without its )");
        p->in.caseless = before.caseless;
        p->in.dot_all = before.dot_all;
        p->in.extended = before.extended;
    }
    p->depth--;
    return true;
}

static bool parse_set(struct parser *p, struct error *err)
{
    struct charset set = { 0 };
    uint32_t c = REGEX_CLASS_SET;
    size_t length = 1;
    bool ok = true;
    if (skip_word(p, "["))
        ok = regex_class_brackets(&p->in, &set, err);
    else if (skip_word(p, "."))
        ok = (p->in.dot_all || charset_add(&set, '\n', '\n', err)) && charset_tidy(&set, err)
          && charset_invert(&set, err);
    else if (skip_word(p, "\\")) {
        ok = regex_class_escape(&p->in, false, &set, &c, err);
    } else {
        c = utf8_get(p->in.text + p->in.at, &length);
        p->in.at += length;
    }
    ok = ok && (c == REGEX_CLASS_SET || charset_add(&set, c, c, err)) && charset_tidy(&set, err)
      && (c == REGEX_CLASS_SET || regex_class_fold(&p->in, &set, err));
    if (ok)
        return regex_add_set(p->out, &set, err);
    charset_free(&set);
    return false;
}

/* \Q...\E: every character as it stands. */
static bool parse_quoted(struct parser *p, struct error *err)
{
    while (peek(p) && !skip_word(p, "\\E")) {
        struct charset set = { 0 };
        size_t length;
        uint32_t c = utf8_get(p->in.text + p->in.at, &length);
        p->in.at += length;
        if (!charset_add(&set, c, c, err) || !regex_class_fold(&p->in, &set, err)) {
            charset_free(&set);
            return false;
        }
        if (!regex_add_set(p->out, &set, err))
            return false;
    }
    return true;
}

static void skip_extended(struct parser *p)
{
    while (p->in.extended && (ascii_space(peek(p)) || peek(p) == '#'))
        p->in.at += peek(p) == '#' ? strcspn(p->in.text + p->in.at, "\n") : 1;
}

/* *repeats: a repetition may follow. */
static bool parse_item(struct parser *p, bool *repeats, struct error *err)
{
    bool is_flags = false, ok;
    *repeats = true;
    if (skip_word(p, "(")) {
        ok = parse_group(p, &is_flags, err);
        *repeats = !is_flags;
        return ok;
    }
    if (skip_word(p, "^") || skip_word(p, "\\A"))
        return regex_add(p->out, (struct regex_step){ .kind = REGEX_BEGIN }, err);
    if (skip_word(p, "$") || skip_word(p, "\\z") || skip_word(p, "\\Z"))
        return regex_add(p->out, (struct regex_step){ .kind = REGEX_END }, err);
    if (strchr("*+?", peek(p)))
        return regex_class_fail(&p->in, err, "nothing to repeat");
    if (skip_word(p, "\\Q")) {
        *repeats = false;
        return parse_quoted(p, err);
    }
    return parse_set(p, err);
}

static bool parse_sequence(struct parser *p, struct error *err)
{
    for (skip_extended(p); peek(p) && peek(p) != '|' && peek(p) != ')'; skip_extended(p)) {
        size_t begin = p->out->n_steps;
        bool repeats;
        if (!parse_item(p, &repeats, err))
            return false;
        skip_extended(p);
        if (repeats && !parse_repetitions(p, begin, err))
            return false;
    }
    return true;
}

/* a|b|c: either a, then a jump behind the last; or either b ... */
static bool parse_alternatives(struct parser *p, struct error *err)
{
    struct regex *r = p->out;
    size_t *jumps = NULL, n = 0, capacity = 0, begin = r->n_steps;
    bool ok = parse_sequence(p, err);
    while (ok && skip_word(p, "|")) {
        size_t length = r->n_steps - begin;
        ok = regex_insert(r, begin, regex_either(1, length + 2), err)
          && mem_grow(&jumps, &capacity, n + 1, sizeof *jumps, "regular expression", err)
          && regex_add(r, (struct regex_step){ .kind = REGEX_JUMP }, err);
        if (ok)
            jumps[n++] = r->n_steps - 1;
        begin = r->n_steps;
        ok = ok && parse_sequence(p, err);
    }
    for (size_t i = 0; ok && i < n; i++)
        r->steps[jumps[i]].a = (int32_t)(r->n_steps - jumps[i]);
    free(jumps);
    return ok;
}

bool regex_parse(struct regex *r, const char *pattern, size_t n, struct error *err)
{
    struct parser p = { .in = { .text = pattern }, .out = r };
    if (n > REGEX_MAX_BYTES)
        return error_set(err, "regular expression: %zu bytes, at most %zu are supported", n,
                         REGEX_MAX_BYTES);
    if (strlen(pattern) != n || !utf8_valid(pattern, n, NULL))
        return error_set(err, "regular expression: it is not UTF-8 without NUL");
    bool ok = parse_alternatives(&p, err);
    r->work = p.in.n_folded + p.in.n_properties * ((size_t)1 << 19);
    return ok
        && (!peek(&p) || regex_class_fail(&p.in, err, "a ) without its ("));
}
