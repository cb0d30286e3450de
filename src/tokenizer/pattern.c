#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/pattern.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenizer/unicode.h"

/* Address space only, until used.  A pattern that needs more is run by the interpreter, whose
 * memory grows. */
#define JIT_STACK_START ((size_t)32 << 10)
#define JIT_STACK_MAX   ((size_t)64 << 20)

/* The most steps of a search, plus some for each byte of text: plenty for linear patterns, and a
 * limit for those that explode. */
#define STEPS          10000000u
#define STEPS_PER_BYTE 64u

struct pattern {
    pcre2_code *code;
    bool jit;
    char *what;
};

struct pattern_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static bool pcre2_error(struct error *err, const char *what, int code)
{
    char message[256];
    if (pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message) < 0)
        strcpy(message, "unknown error");
    return error_set(err, "%s: regular expression: %s", what, message);
}

static struct pattern *compile(const char *regex, size_t n, uint32_t options, const char *what,
                               struct error *err)
{
    struct pattern *p = mem_array(1, sizeof *p, "pattern", err);
    if (!p)
        return NULL;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE offset = 0;
    p->what = mem_string(what, err);
    if (context && p->what) {
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        p->code = pcre2_compile((PCRE2_SPTR)regex, n, options | PCRE2_UTF, &code,
                                &offset, context);
        if (p->code)        /* without a JIT the interpreter gives the same result */
            p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    }
    pcre2_compile_context_free(context);
    if (p->code)
        return p;
    pcre2_error(err, what, code);
    pattern_free(p);
    return NULL;
}

struct pattern *pattern_compile(const char *regex, const char *what, struct error *err)
{
    struct buffer translated = { 0 };
    struct pattern *p = NULL;
    /* In Ruby's syntax ^ and $ match at every line. */
    if (buffer_append(&translated, "", 0, err)
        && pattern_translate(&translated, regex, what, err))
        p = compile(translated.data, translated.size, PCRE2_UCP | PCRE2_MULTILINE, what, err);
    buffer_free(&translated);
    return p;
}

struct pattern *pattern_compile_literal(const char *text, const char *what, struct error *err)
{
    for (size_t i = 0, length; text[i]; i += length) {
        uint32_t c = utf8_get(text + i, &length);
        bool affected = unicode_stand_in(c) != c;
        for (size_t k = 0; k < unicode_n_stand_ins; k++)
            affected = affected || unicode_stand_ins[k].stand_in == c;
        if (affected) {
            error_set(err, "%s: pattern with U+%04X is not supported", what, (unsigned)c);
            return NULL;
        }
    }
    return compile(text, strlen(text), PCRE2_LITERAL, what, err);
}

struct pattern *pattern_compile_pcre2(const char *regex, const char *what, struct error *err)
{
    return compile(regex, strlen(regex), PCRE2_UCP, what, err);
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    free(p->what);
    free(p);
}

struct pattern_scratch *pattern_scratch_new(struct error *err)
{
    struct pattern_scratch *s = mem_array(1, sizeof *s, "matching", err);
    if (!s)
        return NULL;
    s->match = pcre2_match_data_create(1, NULL);        /* room for the whole match only */
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (s->match && s->context) {
        if (s->stack)                   /* without it the JIT has its 32 KB on the stack */
            pcre2_jit_stack_assign(s->context, NULL, s->stack);
        return s;
    }
    error_lack(err, "out of memory: matching regular expressions");
    pattern_scratch_free(s);
    return NULL;
}

void pattern_scratch_free(struct pattern_scratch *s)
{
    if (!s)
        return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    if (s->stack)
        pcre2_jit_stack_free(s->stack);
    free(s);
}

static int match(const struct pattern *p, struct pattern_scratch *s, const char *subject,
                 size_t n, size_t from)
{
    PCRE2_SPTR text = (PCRE2_SPTR)subject;
    if (p->jit) {
        int found = pcre2_jit_match(p->code, text, n, from, 0, s->match, s->context);
        if (found != PCRE2_ERROR_JIT_STACKLIMIT)
            return found;
    }
    return pcre2_match(p->code, text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s->match,
                       s->context);
}

bool pattern_next(const struct pattern *p, struct pattern_scratch *s, const char *subject,
                  size_t n, struct pattern_walk *walk, struct error *err)
{
    if (walk->from == 0) {
        uint32_t most = UINT32_MAX;
        if (n < (UINT32_MAX - STEPS) / STEPS_PER_BYTE)
            most = STEPS + STEPS_PER_BYTE * (uint32_t)n;
        pcre2_set_match_limit(s->context, most);
        pcre2_set_depth_limit(s->context, most);
        pcre2_set_heap_limit(s->context, UINT32_MAX);
    }
    while (walk->from <= n) {
        int found = match(p, s, subject, n, walk->from);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0)
            return pcre2_error(err, p->what, found);
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
        walk->start = range[0];
        walk->end = range[1];
        if (walk->end > walk->start || !walk->any || walk->last_end != walk->end) {
            walk->from = walk->last_end = walk->end;
            walk->any = true;
            return true;
        }
        size_t length = 1;
        if (walk->from < n)
            utf8_get(subject + walk->from, &length);
        walk->from += length;
    }
    walk->finished = true;
    return false;
}
