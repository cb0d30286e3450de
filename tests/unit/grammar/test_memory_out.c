/* Requests that memory does not suffice for: the error says that memory is out, and not that the
 * request is at fault (error_lack), however far the compiler or the answer has come. */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/unit/grammar/answer_walk.h"

#define STEP_BYTES ((size_t)256 << 10)

/* From now on this process gets n bytes more than it has. */
static bool limit_to(size_t n)
{
    struct rlimit old;
    unsigned long pages = 0;
    free(malloc(64 << 10));             /* the request itself and its error have room */
    FILE *f = fopen("/proc/self/statm", "r");
    bool ok = f && fscanf(f, "%lu", &pages) == 1;
    if (f)
        fclose(f);
    getrlimit(RLIMIT_AS, &old);
    const struct rlimit less = { pages * (size_t)sysconf(_SC_PAGESIZE) + n, old.rlim_max };
    return ok && setrlimit(RLIMIT_AS, &less) == 0;
}

static void end_limit(void)
{
    struct rlimit r;
    getrlimit(RLIMIT_AS, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_AS, &r);
}

#define SCHEMA(text) "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":" text "}}"

/* With more and more memory, until it is enough. */
static void test_compiler(const struct walk_host *h)
{
    static const struct {
        const char *name;
        struct grammar_request request;
    } requests[] = {
        { "a pattern", { .response_format = SCHEMA("{\"pattern\":\"^[a-z]{16000}\"}") } },
        { "a pattern with a limit", { .response_format = SCHEMA("{\"pattern\":\"[a-c]\","
                                      "\"maxLength\":20000}") } },
        { "characters of Unicode", { .response_format = SCHEMA("{\"pattern\":\"\\\\p{L}\"}") } },
        { "a regular expression", { .structured_outputs
                                    = "{\"regex\":\"([a-f]|[d-z]x){4000}\"}" } },
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        size_t n_failures = 0, n_wrong = 0;
        bool opened = false;
        struct error wrong = { 0 };
        for (size_t n = 0; !opened && n < (size_t)256 << 20; n += STEP_BYTES) {
            struct error err = { 0 };
            struct grammar *g = NULL;
            if (!limit_to(n))
                break;
            opened = grammar_open(&g, &requests[i].request, h->trie, &err);
            end_limit();
            grammar_close(g);
            n_failures += !opened;
            n_wrong += !opened && !err.lacking;
            wrong = opened || err.lacking ? wrong : err;
        }
        check(opened && n_failures > 0 && n_wrong == 0, requests[i].name, "%zu of %zu: %s", n_wrong,
              n_failures, wrong.message);
        printf("# %zu times too little memory\n", n_failures);
    }
}

/* An answer with more and more ways to go on. */
static void test_matcher(const struct walk_host *h)
{
    struct error err = { 0 };
    struct grammar *g = NULL;
    struct grammar_request request = { .response_format
                                       = SCHEMA("{\"pattern\":\"^.{0,9000}$\"}") };
    struct matcher *m = grammar_open(&g, &request, h->trie, &err) ? walk_match(h, g, &err) : NULL;
    size_t n = 0;
    bool ok = m && walk_bytes(h, m, "\"", 1) == 1 && limit_to(STEP_BYTES);
    while (ok && n < 8000 && matcher_allowed(m, &err) && matcher_advance(m, h->of_byte['a'], &err))
        n++;
    end_limit();
    check(ok && n < 8000 && err.lacking, "an answer", "%zu tokens: %s", n, err.message);
    matcher_free(m);
    grammar_close(g);
}

int main(void)
{
    struct error err = { 0 };
    struct walk_host h;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    check_skip("memory is out", "sanitizers need the addresses");
    return check_done();
#endif
    if (check(walk_host_open(&h, "data/demo/bf16", &err), "the demo's tokenizer opens", "%s",
              err.message)) {
        test_compiler(&h);
        test_matcher(&h);
    }
    walk_host_close(&h);
    return check_done();
}
