/* An answer that comes token by token, as reasoning, content and calls: tags count as tokens alone,
 * and stop texts in the raw text before them; deltas add up to the message. */
#include "generate/answer_reader.h"

#include <stdlib.h>
#include <string.h>

#include "chat/messages.h"
#include "chat/value_json.h"
#include "tests/check.h"

#define TOOLS "[{\"function\": {\"name\": \"now\"}}]"
#define SPELLED "<tool_call><function=now></function></tool_call>"
#define NOW "<tool_call>\n<function=now>\n</function>\n</tool_call>"

enum { THINKS = 1, NO_REASONING = 2, NO_TOOLS = 4 };

/* clang-format off */
static const struct {
    const char *name;
    int flags;
    const char *spelled;                /* comes first, tags in it from ordinary tokens; without */
    size_t cut;                         /* so many of its last ids */
    const char *text;
    const char *stops[2];
    const char *expected;
} cases[] = {
    { "thinking, then an answer", THINKS, "", 0, "why\n</think>\n\nAnswer.", { 0 }, "r[why]c[Answer.]" },
    { "content alone", 0, "", 0, "Answer.", { 0 }, "c[Answer.]" },
    { "a call", 0, "", 0, "Sure.\n" NOW, { 0 }, "c[Sure.]now{}" },
    { "two calls", 0, "", 0, NOW "\n" NOW, { 0 }, "now{}now{}" },
    { "a call without tools", NO_TOOLS, "", 0, NOW, { 0 }, "c[" NOW "]" },
    { "a tag that is spelled is text", THINKS, "a </think> b", 0, "</think>c", { 0 }, "r[a </think> b]c[c]" },
    { "a call that is spelled is text", 0, "a " SPELLED, 0, "", { 0 }, "c[a " SPELLED "]" },
    { "a character that a tag cuts", THINKS, "\xF0\x9F\x98\x80", 1, "</think>c", { 0 }, "r[\xEF\xBF\xBD]c[c]" },
    { "a character cut at the end", 0, "a\xF0\x9F\x98\x80", 1, "", { 0 }, "c[a\xEF\xBF\xBD]" },
    { "all is content", THINKS | NO_REASONING, "", 0, "why</think>A", { 0 }, "c[why</think>A]" },
    { "a stop text in content", THINKS, "", 0, "why</think>one two three", { "two" }, "r[why]c[one ]" },
    { "a stop text in reasoning", THINKS, "", 0, "why not</think>one", { "not" }, "r[why ]" },
    { "a stop text that is a tag", THINKS, "", 0, "why</think>one", { "</think>" }, "r[why]" },
    { "a stop text that begins in a tag", THINKS, "", 0, "why</think>one", { "nk>o" }, "r[why</thi]" },
    { "a stop text that ends in a tag", THINKS, "", 0, "why</think>one", { "y</th" }, "r[wh]" },
    { "a stop text behind a call", 0, "", 0, "a" NOW "b", { "b" }, "c[a]now{}" },
    { "a stop text in a call", 0, "", 0, "a" NOW "b", { "</function>" },
      "c[a<tool_call>\n<function=now>\n]" },
    { "what seemed to become a stop text", THINKS, "", 0, "why</think>one", { "why</think>two" }, "r[why]c[one]" },
    { "the same up to the end", THINKS, "", 0, "why</think>one", { "why</think>one two" }, "r[why]c[one]" },
};
/* clang-format on */

struct gathered {
    struct buffer deltas;               /* in the form of `expected` */
    int part;                           /* -1: none is open */
};

static void close_part(struct gathered *g)
{
    if (g->part == SURPRISAL_CHAT_REASONING || g->part == SURPRISAL_CHAT_CONTENT)
        buffer_append(&g->deltas, "]", 1, NULL);
}

/* A call is its name and its arguments, which have braces of their own. */
static bool gather(void *user, enum surprisal_chat_part part, const char *text, size_t n)
{
    struct gathered *g = user;
    if (g->part != (int)part) {
        close_part(g);
        if (part == SURPRISAL_CHAT_REASONING || part == SURPRISAL_CHAT_CONTENT)
            buffer_printf(&g->deltas, NULL, part == SURPRISAL_CHAT_REASONING ? "r[" : "c[");
    }
    buffer_append(&g->deltas, text, n, NULL);
    g->part = (int)part;
    return true;
}

static void describe(struct buffer *b, const struct message_parts *m)
{
    if (m->reasoning.size)
        buffer_printf(b, NULL, "r[%s]", m->reasoning.data);
    if (m->content.size)
        buffer_printf(b, NULL, "c[%s]", m->content.data);
    for (size_t i = 0; i < m->n_calls; i++)
        buffer_printf(b, NULL, "%s%s", m->calls[i].name.data, m->calls[i].arguments.data);
    buffer_printf(b, NULL, "%s", "");
}

/* The ids of a case. */
static size_t ids_of(size_t i, const struct tokenizer *t, int32_t *ids)
{
    static const uint8_t plain[256] = { [0 ... 255] = 1 };
    size_t n = 0, spelled, text;
    int32_t *some;
    struct error err = { 0 };
    if (tokenizer_encode_plain(t, cases[i].spelled, plain, strlen(cases[i].spelled), &some,
                               &spelled, &err)) {
        n = spelled - size_min(spelled, cases[i].cut);
        if (n)
            memcpy(ids, some, n * sizeof *ids);
        free(some);
    }
    if (tokenizer_encode(t, cases[i].text, strlen(cases[i].text), &some, &text, &err)) {
        if (text)
            memcpy(ids + n, some, text * sizeof *ids);
        n += text;
        free(some);
    }
    return n;
}

static bool read_all(struct answer_reader *r, struct continuation *a, const int32_t *ids, size_t n,
                     struct error *err)
{
    for (size_t i = 0; i < n && !a->finished; i++) {
        const struct sampler_choice choice = { .id = ids[i] };
        size_t size = a->text.text.size;
        if (!continuation_add(a, &choice, err)
            || !answer_reader_add(r, a, choice.id, size, err))
            return false;
    }
    continuation_stop(a, SURPRISAL_FINISH_STOP);
    return continuation_end(a, err) && answer_reader_end(r, a, err);
}

static void test_case(size_t i, const struct tokenizer *t, const struct value *tools)
{
    const struct continuation_limits limits = {
        .tokenizer = t, .stop = cases[i].stops, .n_stop = cases[i].stops[0] != NULL,
        .max_tokens = 1000,
    };
    const struct answer_rules rules = {
        .starts_in_thinking = cases[i].flags & THINKS,
        .no_reasoning = cases[i].flags & NO_REASONING,
        .tools = cases[i].flags & NO_TOOLS ? NULL : tools,
    };
    struct gathered g = { .part = -1 };
    const struct answer_reader_delta delta = { gather, &g };
    struct continuation a;
    struct answer_reader r;
    struct buffer whole = { 0 };
    struct error err = { 0 };
    int32_t ids[256];
    size_t n = ids_of(i, t, ids);
    continuation_init(&a, &limits);
    bool ok = answer_reader_open(&r, &rules, t, &delta, &err) && read_all(&r, &a, ids, n, &err);
    describe(&whole, &r.parts);
    close_part(&g);
    check(ok && strcmp(whole.data, cases[i].expected) == 0, cases[i].name, "%s, expected %s: %s",
          whole.data, cases[i].expected, err.message);
    check(g.deltas.size == strlen(cases[i].expected)
          && memcmp(g.deltas.data, cases[i].expected, g.deltas.size) == 0,
          "the deltas add up to the message", "%s: %.*s", cases[i].name, (int)g.deltas.size,
          g.deltas.data);
    buffer_free(&g.deltas);
    buffer_free(&whole);
    answer_reader_close(&r);
    continuation_free(&a);
}

/* Deltas come with the tokens, not at the end. */
static void test_early(const struct tokenizer *t)
{
    const struct continuation_limits limits = { .tokenizer = t, .max_tokens = 1000 };
    const struct answer_rules rules = { .starts_in_thinking = true };
    struct gathered g = { .part = -1 };
    struct continuation a;
    struct answer_reader r;
    struct error err = { 0 };
    int32_t *ids;
    size_t n, seen = 0;
    const char *text = "one two three</think>four five";
    continuation_init(&a, &limits);
    bool ok = tokenizer_encode(t, text, strlen(text), &ids, &n, &err)
           && answer_reader_open(&r, &rules, t, &(struct answer_reader_delta){ gather, &g }, &err);
    for (size_t i = 0; ok && i < n; i++) {
        size_t size = a.text.text.size, before = g.deltas.size;
        const struct sampler_choice choice = { .id = ids[i] };
        ok = continuation_add(&a, &choice, &err)
          && answer_reader_add(&r, &a, choice.id, size, &err);
        seen += g.deltas.size > before;
    }
    check(ok && seen >= n - 2, "each token gives what is certain", "%zu deltas of %zu tokens: %s",
          seen, n, err.message);
    free(ids);
    buffer_free(&g.deltas);
    answer_reader_close(&r);
    continuation_free(&a);
}

int main(void)
{
    struct error err = { 0 };
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct value given, tools;
    struct tokenizer *t = tokenizer_open("data/demo/bf16", &err);
    if (!check(t && value_json_read(&given, TOOLS, strlen(TOOLS), "tools", false, &w, &err)
               && messages_normalize_tools(&tools, &given, &w, &err),
               "the tokenizer and the tools", "%s", err.message))
        return check_done();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(i, t, &tools);
    test_early(t);
    workspace_free(&w);
    tokenizer_close(t);
    return check_done();
}
