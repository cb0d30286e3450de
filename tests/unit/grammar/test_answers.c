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
 *     "time": text, "repeat": n        -> {"mean", "worst": seconds, "steps", "walks", "held_bytes"}
 *     or {"error": message}; "open_seconds" says how long the request took to compile. */
#include <stdlib.h>
#include <time.h>

#include "base/json.h"
#include "tests/check.h"
#include "tests/unit/grammar/answer_walk.h"

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

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

int main(int argc, char **argv)
{
    if (argc == 2)
        return serve_jobs(argv[1]);
    return check_done();
}
