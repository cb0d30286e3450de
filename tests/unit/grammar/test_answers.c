/* Answers to requests, by chance and by text: what a walk writes is accepted again, drafts that are
 * taken back leave no trace, masks say what steps do.
 *
 * With an argument TOKENIZER no test: each line of stdin is a job as JSON, each line of stdout its
 * result, for tests/conformance/test_grammar.py.
 *
 *     {fields of a request, "thinking": bool, ...} and one of
 *     "texts": [...]                   -> {"accepts": [bool]}
 *     "walks": n, "tokens": n, "seed": n   -> {"walks": [text, or null if it did not end]}
 *     "ids": [...]                     -> {"masks": [allowed tokens before each and at the end, as
 *                                          hexadecimal bytes], "n": how many ids came}
 *     "time": text                     -> {"mean", "worst": seconds, "steps", "walks",
 *     "held_bytes"}
 *     or {"error": message}; "open_seconds" says how long the request took to compile. */
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "tests/check.h"
#include "tests/unit/grammar/answer_walk.h"

/* Of this process's CPU time: the machine may be busy. */
static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- jobs ------------------------------------------------------------------------ */

static bool open_request(struct grammar **g, const struct walk_host *h, const cJSON *job,
                         struct error *err)
{
    static const char *const names[] = { "response_format", "structured_outputs", "tools",
                                         "tool_choice" };
    char *fields[4];
    for (size_t i = 0; i < 4; i++) {
        cJSON *exact = json_exact_copy(json_get(job, names[i]));
        fields[i] = json_print_line(exact);
        cJSON_Delete(exact);
    }
    struct grammar_request r = { fields[0], fields[1], fields[2], fields[3],
                                 cJSON_IsTrue(json_get(job, "thinking")) };
    bool ok = grammar_open(g, &r, h->trie, err);
    for (size_t i = 0; i < 4; i++)
        cJSON_free(fields[i]);
    return ok;
}

static void do_texts(const struct walk_host *h, const struct grammar *g, const cJSON *texts,
                     cJSON *out)
{
    cJSON *accepts = cJSON_AddArrayToObject(out, "accepts");
    for (const cJSON *t = texts->child; t; t = t->next)
        cJSON_AddItemToArray(accepts, cJSON_CreateBool(walk_accepts(h, g, t->valuestring,
                                                                    strlen(t->valuestring))));
}

static bool do_walks(const struct walk_host *h, const struct grammar *g, const cJSON *job,
                     cJSON *out, struct error *err)
{
    cJSON *walks = cJSON_AddArrayToObject(out, "walks");
    struct random r = { (uint64_t)json_get(job, "seed")->valuedouble };
    bool ok = true;
    for (int i = 0; ok && i < json_get(job, "walks")->valueint; i++) {
        struct matcher *m = walk_match(h, g, err);
        struct buffer text = { 0 };
        bool ended;
        ok = m && buffer_append(&text, "", 0, err)
          && walk_random(h, m, (size_t)json_get(job, "tokens")->valueint, &r, &text, &ended, err);
        if (ok)
            cJSON_AddItemToArray(walks, ended ? cJSON_CreateString(text.data)
                                              : cJSON_CreateNull());
        buffer_free(&text);
        matcher_free(m);
    }
    return ok;
}

static bool add_mask(const struct walk_host *h, struct matcher *m, cJSON *masks, struct error *err)
{
    const uint64_t *allowed = matcher_allowed(m, err);
    size_t n = (h->trie->vocab_size + 7) / 8;
    char *text = allowed ? calloc(n, 2) : NULL, hex[] = "0123456789abcdef";
    struct buffer b = { 0 };
    for (size_t i = 0; text && i < n; i++) {
        text[2 * i] = hex[allowed[i / 8] >> (i % 8 * 8 + 4) & 15];
        text[2 * i + 1] = hex[allowed[i / 8] >> (i % 8 * 8) & 15];
    }
    bool ok = text && buffer_append(&b, text, 2 * n, err);
    if (ok)
        cJSON_AddItemToArray(masks, cJSON_CreateString(b.data));
    buffer_free(&b);
    free(text);
    return ok;
}

static bool do_masks(const struct walk_host *h, const struct grammar *g, const cJSON *ids,
                     cJSON *out, struct error *err)
{
    struct matcher *m = walk_match(h, g, err);
    cJSON *masks = cJSON_AddArrayToObject(out, "masks");
    bool ok = m && add_mask(h, m, masks, err);
    int n = 0;
    for (const cJSON *id = ids->child; ok && id && matcher_advance(m, id->valueint, NULL);
         id = id->next, n++)
        ok = add_mask(h, m, masks, err);
    cJSON_AddNumberToObject(out, "n", n);
    matcher_free(m);
    return ok;
}

static bool do_time(const struct walk_host *h, const struct grammar *g, const cJSON *job,
                    cJSON *out, struct error *err)
{
    struct matcher_figures f;
    struct matcher *m = walk_match(h, g, err);
    const char *text = json_get(job, "time")->valuestring;
    int32_t *ids = NULL;
    size_t n = 0;
    double sum = 0, worst = 0;
    bool ok = m && tokenizer_encode(h->tokenizer, text, strlen(text), &ids, &n, err);
    for (size_t i = 0; ok && i <= n; i++) {
        double begin = seconds();
        ok = matcher_allowed(m, err) && (i == n || matcher_advance(m, ids[i], err));
        double took = seconds() - begin;
        sum += took;
        worst = took > worst ? took : worst;
    }
    if (ok) {
        matcher_read_figures(m, &f);
        cJSON_AddNumberToObject(out, "mean", sum / (double)(n + 1));
        cJSON_AddNumberToObject(out, "worst", worst);
        json_add_size(out, "steps", n + 1);
        json_add_size(out, "walks", f.n_walks);
        json_add_size(out, "held_bytes", f.held_bytes);
    }
    free(ids);
    matcher_free(m);
    return ok;
}

static void do_job(const struct walk_host *h, const cJSON *job, cJSON *out)
{
    struct error err = { 0 };
    struct grammar *g = NULL;
    double begin = seconds();
    bool ok = open_request(&g, h, job, &err);
    cJSON_AddNumberToObject(out, "open_seconds", seconds() - begin);
    if (ok && !g)
        ok = error_set(&err, "(the answer is free)");
    if (ok && json_get(job, "texts"))
        do_texts(h, g, json_get(job, "texts"), out);
    if (ok && json_get(job, "walks"))
        ok = do_walks(h, g, job, out, &err);
    if (ok && json_get(job, "ids"))
        ok = do_masks(h, g, json_get(job, "ids"), out, &err);
    if (ok && json_get(job, "time"))
        ok = do_time(h, g, job, out, &err);
    if (!ok)
        cJSON_AddStringToObject(out, "error", err.message);
    grammar_close(g);
}

static int serve_jobs(const char *tokenizer)
{
    struct error err = { 0 };
    struct walk_host h;
    char *line = NULL;
    size_t capacity = 0;
    if (!walk_host_open(&h, tokenizer, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0; ) {
        cJSON *job = json_parse(line, (size_t)n, "job", &err), *out = cJSON_CreateObject();
        if (job)
            do_job(&h, job, out);
        else
            cJSON_AddStringToObject(out, "error", err.message);
        char *text = json_print_line(out);
        puts(text);
        fflush(stdout);
        cJSON_free(text);
        cJSON_Delete(out);
        cJSON_Delete(job);
    }
    free(line);
    walk_host_close(&h);
    return 0;
}

/* ---- masks say what steps do ----------------------------------------------------- */

/* clang-format off */
static const char *const walked[] = {
    "{\"type\":\"json_object\"}",
#define SCHEMA(text) "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":" text "}}"
    SCHEMA("{\"type\":\"string\",\"minLength\":20,\"maxLength\":45}"),
    SCHEMA("{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"ab\",\"the\",12,1]},\"minItems\":3,\"maxItems\":30}"),
    SCHEMA("{\"type\":\"string\",\"pattern\":\"^[A-Za-z ,]{5,40}[.]$\"}"),
    SCHEMA("{\"type\":\"string\",\"pattern\":\"^[a-z ]{0,40}$\",\"minLength\":25}"),
    SCHEMA("{\"anyOf\":[{\"type\":\"string\",\"maxLength\":30},{\"type\":\"string\",\"pattern\":\"^[ a-z]*$\"}]}"),
    SCHEMA("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"maxItems\":2}"),
};
/* clang-format on */

/* Compares the mask with a step by each token, taken back again. */
static size_t mask_errors(const struct walk_host *h, struct matcher *m, uint64_t *allowed)
{
    size_t n_words = (h->trie->vocab_size + 63) / 64, wrong = 0;
    const uint64_t *mask = matcher_allowed(m, NULL);
    memset(allowed, 0, n_words * sizeof *allowed);
    if (mask)
        memcpy(allowed, mask, n_words * sizeof *allowed);
    for (size_t id = 0; id < h->trie->vocab_size; id++) {
        bool can = matcher_advance(m, (int32_t)id, NULL);
        if (can)
            matcher_back(m, 1);
        wrong += can != (allowed[id / 64] >> (id % 64) & 1);
    }
    mask = matcher_allowed(m, NULL);
    return wrong + !(mask && memcmp(mask, allowed, n_words * sizeof *allowed) == 0);
}

static void test_masks(const struct walk_host *h)
{
    uint64_t *allowed = calloc((h->trie->vocab_size + 63) / 64, sizeof *allowed);
    size_t wrong = 0, n = 0;
    struct random r = { 3 };
    for (size_t i = 0; allowed && i < sizeof walked / sizeof *walked; i++) {
        struct grammar *g = NULL;
        struct grammar_request request = { .response_format = walked[i] };
        struct matcher *m = grammar_open(&g, &request, h->trie, NULL) ? walk_match(h, g, NULL)
                                                                      : NULL;
        for (size_t k = 0; m && k < 40 && !matcher_has_ended(m); k++, n++) {
            wrong += mask_errors(h, m, allowed);
            wrong += !matcher_advance(m, walk_choose(h, allowed, &r), NULL);
        }
        matcher_free(m);
        grammar_close(g);
    }
    check(wrong == 0 && n > 60, "a mask has the tokens that can come, also after drafts",
          "%zu of %zu masks are wrong", wrong, n);
    free(allowed);
}

static void test_end_ids(const struct walk_host *h)
{
    struct error err = { 0 };
    struct grammar *g = NULL;
    struct grammar_request request = { .response_format = walked[0] };
    int32_t outside = (int32_t)h->trie->vocab_size;
    struct matcher *m = grammar_open(&g, &request, h->trie, &err)
                      ? grammar_match(g, h->trie, &outside, 1, &err) : NULL;
    check(g && !m && strstr(err.message, "the vocabulary has"),
          "an end token outside of the vocabulary is refused", "%s", err.message);
    matcher_free(m);
    grammar_close(g);
}

/* Closing brackets that reach below what a walk sees at first. */
static void test_depth(const struct walk_host *h)
{
    enum { DEPTH = 300 };
    uint64_t *allowed = calloc((h->trie->vocab_size + 63) / 64, sizeof *allowed);
    struct grammar *g = NULL;
    struct grammar_request request = { .response_format = SCHEMA("{}") };
    struct matcher *m = grammar_open(&g, &request, h->trie, NULL) ? walk_match(h, g, NULL) : NULL;
    char text[2 * DEPTH];
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    size_t n = m ? walk_bytes(h, m, text, DEPTH + 1) : 0;
    check(allowed && n == DEPTH + 1 && mask_errors(h, m, allowed) == 0
          && walk_bytes(h, m, text + n, 2 * DEPTH - n) == 2 * DEPTH - n && matcher_is_complete(m),
          "masks at depth 300", "%zu bytes", n);
    matcher_free(m);
    grammar_close(g);
    free(allowed);
}

/* More states than are held: they are forgotten, and the answer goes on. */
static void test_long_answer(const struct walk_host *h)
{
    enum { LENGTH = 120000 };
    struct grammar *g = NULL;
    struct grammar_request request = { .response_format
                                       = SCHEMA("{\"type\":\"string\",\"maxLength\":120000}") };
    struct matcher *m = grammar_open(&g, &request, h->trie, NULL) ? walk_match(h, g, NULL) : NULL;
    struct matcher_figures f = { 0 };
    bool ok = m && walk_bytes(h, m, "\"", 1) == 1;
    for (size_t i = 0; ok && i < LENGTH; i++)
        ok = walk_bytes(h, m, "a", 1) == 1 && (i % 1000 || matcher_allowed(m, NULL));
    if (ok) {
        matcher_read_figures(m, &f);
        matcher_back(m, 50);
        ok = walk_bytes(h, m, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", 50) == 50
          && walk_bytes(h, m, "c", 1) == 0 && walk_bytes(h, m, "\"", 1) == 1
          && matcher_is_complete(m) && matcher_advance(m, h->end_id, NULL)
          && matcher_has_ended(m) && !matcher_advance(m, h->end_id, NULL);
        matcher_back(m, ok);
        ok = ok && !matcher_has_ended(m) && matcher_advance(m, h->end_id, NULL);
    }
    check(ok && f.held_bytes < (size_t)64 << 20 && f.n_walks < 20,
          "a long answer holds little, and keeps its limit", "%zu bytes, %zu walks", f.held_bytes,
          f.n_walks);
    matcher_free(m);
    grammar_close(g);
}

/* ---- requests that ask for too much ---------------------------------------------- */

/* n copies of `one` (with %zu: its number) between two texts. */
static bool many(struct buffer *b, const char *before, const char *one, const char *separator,
                 size_t n, const char *after)
{
    bool ok = buffer_printf(b, NULL, "%s", before);
    for (size_t i = 0; ok && i < n; i++) {
        const char *number = strchr(one, '#');
        ok = buffer_printf(b, NULL, "%s", i ? separator : "")
          && (number ? buffer_printf(b, NULL, "%.*s%zu%s", (int)(number - one), one, i, number + 1)
                     : buffer_printf(b, NULL, "%s", one));
    }
    return ok && buffer_printf(b, NULL, "%s", after);
}

static void test_bombs(const struct walk_host *h)
{
    /* clang-format off */
#define TEN "{\"anyOf\":[{},{},{},{},{},{},{},{},{},{}]}"
    static const struct {
        const char *name, *before, *one, *separator;
        size_t n;
        const char *after, *message;    /* NULL: it is not too much */
    } bombs[] = {                       /* schemas; lists of tools begin with '[' */
        { "nesting of 100,000", "", "{\"items\":", "", 100000, "{", "response_format: " },
        { "300,000 values", "{\"enum\":[", "\"value #\"", ",", 300000, "]}", NULL },
        { "long values", "{\"enum\":[", "\"# aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
          ",", 100000, "]}", "it is too large: it needs more than 4194304 places" },
        { "100,000 properties", "{\"properties\":{", "\"p#\":{}", ",", 100000, "}}",
          "at most 4096 members" },
        { "4,000 optional properties", "{\"additionalProperties\":false,\"properties\":{",
          "\"p#\":{\"type\":\"null\"}", ",", 4000, "}}", NULL },
        { "choices times choices", "{\"allOf\":[", TEN, ",", 20, "]}", "it takes too much work" },
        { "choices times elements", "{\"allOf\":[" TEN "," TEN "," TEN "," TEN "],\"maxItems\":1,"
          "\"prefixItems\":[", "true", ",", 4096, "]}", "it takes too much work" },
        { "choices times characters", "{\"allOf\":[" TEN "," TEN "," TEN "," TEN "],\"maxLength\":0,"
          "\"enum\":[\"", "aaaaaaaaaaaaaaaa", "", 65536, "\"]}", "it takes too much work" },
        { "a chain of $ref", "{\"$ref\":\"#/$defs/0\",\"$defs\":{", "\"#\":{\"allOf\":[{\"$ref\":\"#/$defs/1\"}]}",
          ",", 1000, "}}", "/$defs/1: it leads to itself" },
        { "many patterns", "{\"type\":\"string\",\"allOf\":[", "{\"pattern\":\"[a#]{30}\"}", ",", 12, "]}",
          "too large an automaton" },
        { "many empty patterns", "{\"type\":\"string\",\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"},"
          "{\"pattern\":\"c\"},{\"pattern\":\"d\"},{\"pattern\":\"e\"},{\"pattern\":\"f\"},{\"pattern\":\"g\"},"
          "{\"pattern\":\"h\"},{\"pattern\":\"i\"},{\"pattern\":\"j\"},{\"pattern\":\"k\"},{\"pattern\":\"l\"},"
          "{\"pattern\":\"m\"},{\"pattern\":\"n\"},{\"pattern\":\"o\"},", "{\"pattern\":\"\"}", ",", 5000, "]}",
          "it takes too much work" },
        { "parts with the same members", "{\"allOf\":[", "{\"properties\":{\"a\":{},\"b\":{},\"c\":{},"
          "\"d\":{},\"e\":{},\"f\":{},\"g\":{},\"h\":{},\"i\":{},\"j\":{},\"k\":{},\"l\":{},\"p#\":{}}}", ",",
          4000, "]}", "it takes too much work" },
        { "groups in groups", "{\"pattern\":\"", "(", "", 300, "\"}", "groups nest too deeply" },
        { "8,000 free parameters", "[", "{\"function\":{\"name\":\"f#\",\"strict\":true,\"parameters\":{"
          "\"additionalProperties\":false,\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"},"
          "\"c\":{\"type\":\"string\"},\"d\":{\"type\":\"string\"},\"e\":{\"type\":\"string\"},\"f\":{\"type\":\"string\"},"
          "\"g\":{\"type\":\"string\"},\"h\":{\"type\":\"string\"}}}}}", ",", 1000, "]", NULL },
        { "properties of characters", "{\"pattern\":\"", "\\\\p{L}", "", 20, "\"}", "more than 16 \\p" },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        struct buffer b = { 0 };
        struct error err = { 0 };
        struct grammar *g = NULL;
        bool tools = bombs[i].before[0] == '[';
        bool ok = buffer_printf(&b, NULL, "%s", tools ? ""
                                : "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":")
               && many(&b, bombs[i].before, bombs[i].one, bombs[i].separator, bombs[i].n,
                       bombs[i].after) && buffer_printf(&b, NULL, "%s", tools ? "" : "}}");
        struct grammar_request request = { .response_format = tools ? NULL : b.data,
                                           .tools = tools ? b.data : NULL };
        double begin = seconds();
        bool opened = ok && grammar_open(&g, &request, h->trie, &err);
        struct matcher *m = g ? walk_match(h, g, NULL) : NULL;
        bool masked = m && matcher_allowed(m, NULL) && walk_bytes(h, m, "{\"", 2) != 1
                   && matcher_allowed(m, NULL);
        check(ok && (bombs[i].message ? !opened && strstr(err.message, bombs[i].message) : masked),
              bombs[i].name, "%s", opened ? "opened" : err.message);
        printf("# %.0f ms: %.100s\n", 1e3 * (seconds() - begin), err.message);
        matcher_free(m);
        grammar_close(g);
        buffer_free(&b);
    }
}

int main(int argc, char **argv)
{
    struct error err = { 0 };
    struct walk_host h;
    if (argc == 2)
        return serve_jobs(argv[1]);
    if (check(walk_host_open(&h, "data/demo/bf16", &err), "the demo's tokenizer opens", "%s",
              err.message)) {
        test_masks(&h);
        test_end_ids(&h);
        test_depth(&h);
        test_long_answer(&h);
        test_bombs(&h);
    }
    walk_host_close(&h);
    return check_done();
}
