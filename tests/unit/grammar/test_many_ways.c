/* An answer with tens of thousands of ways to go on: the last states, which tokens that are taken
 * back need, are larger than what the matcher likes to hold. */
#include "tests/check.h"
#include "tests/unit/grammar/answer_walk.h"

#define N_SCHEMAS 3000          /* each with some ten ways inside of its string */
#define N_KEPT    MATCHER_MAX_BACK
#define N_STEPS   16

/* Lists of a text and a number, which all begin alike. */
static bool write_request(struct buffer *b, struct error *err)
{
    bool ok = buffer_printf(b, err, "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":"
                            "{\"anyOf\":[");
    for (int i = 0; ok && i < N_SCHEMAS; i++)
        ok = buffer_printf(b, err, "%s{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\","
                           "\"maxLength\":5000},{\"const\":%d}],\"minItems\":2,\"maxItems\":2}",
                           i ? "," : "", i);
    return ok && buffer_printf(b, err, "]}}}");
}

/* The states are made anew now and then, not at each token: else they do not grow. */
static void test_growth(const struct walk_host *h, struct matcher *m)
{
    struct matcher_figures before, after;
    size_t n = walk_bytes(h, m, "[\"", 2), n_grown = 0;
    for (size_t i = 0; i < N_KEPT; i++)
        n += walk_bytes(h, m, "a", 1);
    for (size_t i = 0; i < N_STEPS; i++) {
        matcher_read_figures(m, &before);
        n += walk_bytes(h, m, "a", 1);
        matcher_read_figures(m, &after);
        n_grown += after.held_bytes > before.held_bytes;
    }
    check(n == 2 + N_KEPT + N_STEPS && n_grown >= N_STEPS - 2, "states that are needed are kept",
          "%zu bytes, the states grew %zu times of %d, now %zu MiB", n, n_grown, N_STEPS,
          after.held_bytes >> 20);
}

int main(void)
{
    struct error err = { 0 };
    struct walk_host h;
    struct buffer text = { 0 };
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    if (check(walk_host_open(&h, "data/demo/bf16", &err) && write_request(&text, &err)
              && grammar_open(&g, &(struct grammar_request){ .response_format = text.data },
                              h.trie, &err)
              && (m = walk_match(&h, g, &err)) != NULL, "the answer begins", "%s", err.message))
        test_growth(&h, m);
    matcher_free(m);
    grammar_close(g);
    buffer_free(&text);
    walk_host_close(&h);
    return check_done();
}
