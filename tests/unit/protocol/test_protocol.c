#include "eval/protocol/protocol.h"

#include <string.h>

#include "tests/check.h"

#define S SURPRISAL_STRIDED
#define D SURPRISAL_DISJOINT
#define L SURPRISAL_LLAMA
#define R SURPRISAL_ROLLING

/* Worked out with ../shared/oracle/windows.py; rolling's n counts the prefix. */
static const struct {
    const char *name;
    enum surprisal_protocol protocol;
    size_t n, context, stride, windows, scored;
    struct engine_window first, last;               /* begin, end, first */
} cases[] = {
    { "strided: stride = context", S, 10, 4, 4, 3, 7, { 0, 4, 1 }, { 8, 10, 9 } },
    { "strided: overlap scores each token once", S, 10, 4, 2, 4, 9, { 0, 4, 1 }, { 6, 10, 8 } },
    { "strided: a last window of one token", S, 9, 4, 4, 3, 6, { 0, 4, 1 }, { 8, 9, 9 } },
    { "strided: a short text is one window", S, 3, 8, 8, 1, 2, { 0, 3, 1 }, { 0, 3, 1 } },
    { "strided: stops at the end of the text", S, 10, 10, 3, 1, 9, { 0, 10, 1 }, { 0, 10, 1 } },
    { "strided: steps of one", S, 5, 2, 1, 4, 4, { 0, 2, 1 }, { 3, 5, 4 } },
    { "strided: test text, 1024/512", S, 404912, 1024, 512, 790, 404911, { 0, 1024, 1 },
      { 403968, 404912, 404480 } },
    { "strided: test text, 2048/2048", S, 404912, 2048, 2048, 198, 404714, { 0, 2048, 1 },
      { 403456, 404912, 403457 } },
    { "disjoint: the tail is dropped", D, 10, 4, 4, 2, 6, { 0, 4, 1 }, { 4, 8, 5 } },
    { "disjoint: no tail", D, 8, 4, 4, 2, 6, { 0, 4, 1 }, { 4, 8, 5 } },
    { "disjoint: exactly one window", D, 4, 4, 4, 1, 3, { 0, 4, 1 }, { 0, 4, 1 } },
    { "disjoint: test text, 2048", D, 404912, 2048, 2048, 197, 403259, { 0, 2048, 1 },
      { 401408, 403456, 401409 } },
    { "llama: even context", L, 10, 4, 4, 2, 2, { 0, 4, 3 }, { 4, 8, 7 } },
    { "llama: odd context", L, 10, 5, 5, 2, 4, { 0, 5, 3 }, { 5, 10, 8 } },
    { "llama: smallest context", L, 9, 3, 3, 3, 3, { 0, 3, 2 }, { 6, 9, 8 } },
    { "llama: test text, 512", L, 404912, 512, 512, 790, 201450, { 0, 512, 257 },
      { 403968, 404480, 404225 } },
    { "rolling: a last window is filled up", R, 10, 4, 4, 3, 9, { 0, 5, 1 }, { 5, 10, 9 } },
    { "rolling: whole windows", R, 9, 4, 4, 2, 8, { 0, 5, 1 }, { 4, 9, 5 } },
    { "rolling: one token", R, 2, 4, 4, 1, 1, { 0, 2, 1 }, { 0, 2, 1 } },
    { "rolling: one token more than a window", R, 6, 4, 4, 2, 5, { 0, 5, 1 }, { 1, 6, 5 } },
    { "rolling: test text, 1024", R, 404913, 1024, 1024, 396, 404912, { 0, 1025, 1 },
      { 403888, 404913, 404481 } },
};

static bool same(const struct engine_window *a, const struct engine_window *b)
{
    return a->begin == b->begin && a->end == b->end && a->first == b->first;
}

/* Index of each scored token, from what a record has of it; rolling's position leaves out the
 * prefix. */
static bool same_indices(const struct windows *w, enum surprisal_protocol protocol, size_t context,
                         size_t stride)
{
    size_t prefix = protocol == SURPRISAL_ROLLING;
    for (size_t i = 0; i < w->n; i++) {
        const struct engine_window *x = &w->list[i];
        for (size_t t = x->first; t < x->end; t++) {
            const struct protocol_row row = { .position = t - prefix, .window = i,
                                              .starts_document = i == 0,
                                              .scored_before = t - x->first,
                                              .scored_from = x->end - t };
            if (protocol_index_in_window(protocol, context, stride, &row)
                != (int64_t)(t - x->begin))
                return false;
        }
    }
    return true;
}

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct windows w = { 0 };
        bool ok = protocol_windows(&w, cases[i].protocol, 0, cases[i].n, cases[i].context,
                                   cases[i].stride, &err);
        ok = ok && w.n == cases[i].windows && windows_scored(&w) == cases[i].scored
          && same(&w.list[0], &cases[i].first) && same(&w.list[w.n - 1], &cases[i].last)
          && same_indices(&w, cases[i].protocol, cases[i].context, cases[i].stride);
        check(ok, cases[i].name, "%zu windows, %zu scored %s", w.n, windows_scored(&w),
              err.message);
        windows_free(&w);
    }
}

/* Targets rise strictly through the windows, stand inside them, and see no more than they may. */
static bool consistent(const struct windows *w, size_t base, size_t n, size_t longest)
{
    size_t next = base + 1;
    for (size_t i = 0; i < w->n; i++) {
        const struct engine_window *x = &w->list[i];
        if (!(x->begin >= base && x->begin < x->first && x->first <= x->end && x->end <= base + n)
            || x->end - x->begin > longest || x->first < next)
            return false;
        next = x->end > x->first ? x->end : next;
    }
    return true;
}

static void test_invariants(void)
{
    size_t wrong = 0, tried = 0;
    for (size_t n = 2; n <= 40; n++)
        for (size_t context = 3; context <= 12; context++)
            for (size_t stride = 1; stride <= context; stride++)
                for (unsigned p = S; p <= R; p++) {
                    bool whole = p == D || p == L;
                    struct windows w = { 0 };
                    if (whole && n < context)
                        continue;
                    bool ok = protocol_windows(&w, (enum surprisal_protocol)p, 7, n, context,
                                               stride, NULL)
                           && consistent(&w, 7, n, context + (p == R));
                    size_t scored = windows_scored(&w);
                    size_t all = p == D ? n / context * (context - 1)
                               : p == L ? n / context * (context - context / 2 - 1)
                               : p == S && stride == context ? n - (n + context - 1) / context
                               : n - 1;
                    wrong += !(ok && scored == all);
                    tried++;
                    windows_free(&w);
                }
    check(wrong == 0, "targets rise, stand in their windows, and are as many as they must be",
          "%zu of %zu", wrong, tried);
}

static void test_refusals(void)
{
    static const struct {
        const char *name;
        enum surprisal_protocol protocol;
        size_t n, context, stride;
        const char *says;
    } refused[] = {
        { "a default that was not replaced", SURPRISAL_PROTOCOL_DEFAULT, 10, 4, 4,
          "unknown protocol 0" },
        { "context 1", D, 10, 1, 1, "context is 1" },
        { "stride 0", S, 10, 4, 0, "stride is 0" },
        { "stride above context", S, 10, 4, 5, "stride 5 is larger than context 4" },
        { "disjoint: text shorter than a window", D, 3, 4, 4,
          "3 tokens, fewer than one window of 4" },
        { "llama: text shorter than a window", L, 3, 4, 4, "3 tokens, fewer than one window of 4" },
        { "llama: context 2 scores nothing", L, 10, 2, 2, "second half" },
        { "strided: one token", S, 1, 4, 4, "1 token, nothing to score" },
        { "rolling: the prefix alone", R, 1, 4, 4, "nothing to score" },
        { "huge context", D, 10, SIZE_MAX, 1, "fewer than one window" },
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct error err = { 0 };
        struct windows w = { 0 };
        bool ok = protocol_check(refused[i].protocol, refused[i].context, refused[i].stride, &err)
               && protocol_windows(&w, refused[i].protocol, 0, refused[i].n, refused[i].context,
                                   refused[i].stride, &err);
        check(!ok && strstr(err.message, refused[i].says), refused[i].name, "%d '%s'", ok,
              err.message);
        windows_free(&w);
    }
    struct windows w = { 0 };
    bool ok = protocol_windows(&w, S, 0, 5, SIZE_MAX, SIZE_MAX, NULL)
           && protocol_windows(&w, R, 5, 5, SIZE_MAX, SIZE_MAX, NULL);
    check(ok && w.n == 2 && w.list[0].end == 5 && w.list[1].end == 10,
          "a context beyond any text is one window, appended", "%zu", w.n);
    windows_free(&w);
}

int main(void)
{
    test_cases();
    test_invariants();
    test_refusals();
    return check_done();
}
