/* Answers with drafts that a test supplies, right with some probability, against the same answers
 * without: full acceptance, rows taken back and giving up; and where an answer ends inside of
 * drafts that were accepted. */
#include "generate/generation.h"

#include <stdlib.h>
#include <string.h>

#include "generate/generate.h"
#include "tests/differ.h"
#include "tests/random.h"

#define DEMO "data/demo/mxfp4"

enum { PROMPT = 70, MOST = 160 };

/* Drafts the answer that is known, each right with probability p. */
struct oracle {
    const int32_t *ids;                 /* [n] */
    size_t n;
    double p;
    struct random random;
};

static void draft(void *user, size_t number, int32_t *drafts, size_t n)
{
    struct oracle *o = user;
    for (size_t i = 0; i < n; i++) {
        int32_t right = number + i < o->n ? o->ids[number + i] : 0;
        drafts[i] = random_uniform(&o->random) < o->p ? right : (right + 1) % 4000;
    }
}

/* An answer and what became of it. */
struct answer {
    int32_t ids[MOST];
    double logprobs[MOST];
    size_t n, steps, stopped;
    size_t checked[SURPRISAL_MTP_MOST], accepted[SURPRISAL_MTP_MOST];
    enum surprisal_finish finish;
    char text[4096];
};

static int32_t prompt[PROMPT];

static void take_result(struct answer *a, const struct generation *g, const struct turn *t)
{
    const struct continuation *c = &t->answer;
    *a = (struct answer){ .n = c->n, .finish = c->finish, .stopped = g->drafting.stopped,
                          .steps = g->drafting.speculation.steps };
    memcpy(a->ids, c->ids, c->n * sizeof *c->ids);
    memcpy(a->logprobs, c->logprobs, c->n * sizeof *c->logprobs);
    memcpy(a->text, c->text.text.data, c->text.text.size);
    for (size_t i = 0; i < g->drafting.n_drafts; i++) {
        const struct surprisal_draft_count count = drafting_count(&g->drafting, i);
        a->checked[i] = count.checked;
        a->accepted[i] = count.accepted;
    }
}

/* context: of the model; 0: its own. */
static void answer(struct answer *a, const struct surprisal_generate_options *o, size_t context,
                   struct oracle *oracle)
{
    struct generation g = { 0 };
    struct turn t = { .prompt = prompt, .n_prompt = PROMPT };
    struct error err = { 0 };
    must(generation_open(&g, o, &err), &err);
    g.context = context ? context : g.context;
    if (oracle)
        g.drafting.source = (struct drafting_source){ draft, oracle };
    generation_begin(&g, &t, MOST);
    must(generation_reserve(&g, PROMPT + t.answer.limits.max_tokens, false, &err)
         && generation_run(&g, &t, &err), &err);
    take_result(a, &g, &t);
    continuation_free(&t.answer);
    generation_close(&g);
}

static struct surprisal_generate_options options_of(double temperature)
{
    struct surprisal_generate_options o = surprisal_generate_defaults();
    o.checkpoint = DEMO;
    o.ignore_eos = true;
    o.machine.threads = 1;
    o.max_tokens = MOST;
    o.sampling.temperature = temperature;
    o.sampling.presence_penalty = 0.5;
    o.sampling.random_seed = false;
    o.sampling.seed = 11;
    return o;
}

static bool same(char *where, const struct answer *found, const struct answer *expected)
{
    return same_i32(where, found->ids, expected->ids, MOST)
        && same_f64(where, found->logprobs, expected->logprobs, MOST)
        && found->n == expected->n && found->finish == expected->finish
        && strcmp(found->text, expected->text) == 0;
}

/* ---- tests --------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *name;
    double temperature, p;
    size_t mtp;
    enum surprisal_compute compute;
    enum surprisal_kv_cache kv;
    int threads;
    bool stops;                         /* too few are accepted */
} cases[] = {
    { "every draft is right",    0, 1,    3, SURPRISAL_COMPUTE_F32,  SURPRISAL_KV_CACHE_F32,  2, 0 },
    { "most drafts, the most",   0, 0.95, 8, SURPRISAL_COMPUTE_F32,  SURPRISAL_KV_CACHE_BF16, 1, 0 },
    { "most drafts, sampled",    1, 0.85, 3, SURPRISAL_COMPUTE_F32,  SURPRISAL_KV_CACHE_F32,  2, 0 },
    { "three in four, bf16",     1, 0.75, 1, SURPRISAL_COMPUTE_BF16, SURPRISAL_KV_CACHE_BF16, 1, 0 },
    { "every one, bf16",         0, 1,    2, SURPRISAL_COMPUTE_BF16, SURPRISAL_KV_CACHE_F32,  2, 0 },
    { "every third",             1, 0.33, 2, SURPRISAL_COMPUTE_F32,  SURPRISAL_KV_CACHE_BF16, 2, 1 },
    { "none is right",           0, 0,    8, SURPRISAL_COMPUTE_F32,  SURPRISAL_KV_CACHE_F32,  1, 1 },
};
/* clang-format on */

/* Steps with all drafts right: the first token comes from the prompt, a step adds 1 + mtp. */
static void check_counts(const char *name, const struct answer *a, double p, size_t mtp, bool stops)
{
    size_t accepted = 0;
    for (size_t i = 0; i < mtp; i++)
        accepted += a->accepted[i];
    if (p >= 1)
        check(a->steps == (MOST - 1 + mtp) / (1 + mtp) && a->accepted[0] == a->checked[0], name,
              "%zu steps with drafts, %zu accepted", a->steps, accepted);
    else
        check((a->stopped > 0) == stops && a->accepted[0] < a->checked[0]
              && (stops ? a->steps == SPECULATION_WINDOW
                        : accepted > a->steps / 2 && a->steps > 10), name,
              "%zu steps with drafts, %zu accepted, given up after %zu", a->steps, accepted,
              a->stopped);
}

static void test_acceptances(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct surprisal_generate_options o = options_of(cases[i].temperature);
        struct answer *expected = calloc(1, sizeof *expected), *found = calloc(1, sizeof *found);
        char where[DIFFER_TEXT] = "";
        o.machine.compute = cases[i].compute;
        o.machine.threads = cases[i].threads;
        o.kv_cache = cases[i].kv;
        answer(expected, &o, 0, NULL);
        struct oracle oracle = { expected->ids, expected->n, cases[i].p, { i } };
        o.mtp = cases[i].mtp;
        answer(found, &o, 0, &oracle);
        check(same(where, found, expected) && found->n == MOST, cases[i].name, "%s", where);
        check_counts("and as many are accepted", found, cases[i].p, cases[i].mtp, cases[i].stops);
        free(expected), free(found);
    }
}

/* The answer ends after so many tokens, of which a step draws up to nine. */
static void test_ends(void)
{
    struct surprisal_generate_options o = options_of(0);
    struct answer *whole = calloc(1, sizeof *whole), *with = calloc(1, sizeof *with),
                  *without = calloc(1, sizeof *without);
    char where[DIFFER_TEXT] = "", stop[8] = "";
    const char *stops[] = { stop };
    answer(whole, &o, 0, NULL);
    struct oracle oracle = { whole->ids, whole->n, 1, { 1 } };
    for (size_t i = 0; i < 11; i++) {
        struct surprisal_generate_options limited = o;
        size_t context = 0;
        char name[80];
        if (i < 5)
            limited.max_tokens = 2 + 3 * i;
        else if (i < 8)
            context = PROMPT + 1 + 4 * i;
        else {                                  /* some characters of the text */
            memcpy(stop, whole->text + 30 + 5 * i, 4);
            limited.stop = stops;
            limited.n_stop = 1;
        }
        answer(without, &limited, context, NULL);
        limited.mtp = 8;
        answer(with, &limited, context, &oracle);
        snprintf(name, sizeof name, "an answer of %zu tokens that ends %s", without->n,
                 i < 5 ? "at max_tokens" : i < 8 ? "at the context's end" : "at a stop text");
        check(same(where, with, without) && without->n < MOST
              && (i < 5 || without->finish == (i < 8 ? SURPRISAL_FINISH_CONTEXT
                                                     : SURPRISAL_FINISH_STOP)), name, "%s", where);
        check(with->accepted[0] == with->checked[0] && with->n <= without->n, "no draft is wrong",
              "%zu of %zu", with->accepted[0], with->checked[0]);
    }
    free(whole), free(with), free(without);
}

/* A token that ends answers, as draft and as what follows the drafts. */
static void test_end_token(void)
{
    struct surprisal_generate_options o = options_of(0);
    struct surprisal_chat_settings chat = { .prompt.thinking = SURPRISAL_THINKING_OFF };
    struct surprisal_generate_result without, with;
    struct surprisal_error err = { 0 };
    bool ok = true;
    o.ignore_eos = false;
    o.chat = &chat;
    o.prompt = "Who are you?";
    for (size_t mtp = 1; ok && mtp <= 5; mtp++) {
        o.mtp = 0;
        ok = surprisal_generate(&o, &without, &err);
        o.mtp = mtp;
        ok = ok && surprisal_generate(&o, &with, &err);
        if (!check(ok, "an answer of a chat", "%s", err.message))
            return;
        check(with.tokens == without.tokens && with.finish == SURPRISAL_FINISH_STOP
              && memcmp(with.ids, without.ids, with.tokens * sizeof *with.ids) == 0
              && strcmp(with.content, without.content) == 0, "an answer that ends by itself",
              "%zu tokens", with.tokens);
        surprisal_generate_result_free(&without);
        surprisal_generate_result_free(&with);
    }
}

/* The callback may stop inside of drafts, and sees each token once. */
static bool stop_at(void *user, const struct surprisal_token *token)
{
    size_t *seen = user;
    *seen += token->id >= 0;
    return *seen < 6;
}

static void test_callback(void)
{
    struct surprisal_generate_options o = options_of(0);
    size_t seen = 0;
    struct answer *whole = calloc(1, sizeof *whole), *found = calloc(1, sizeof *found);
    char where[DIFFER_TEXT] = "";
    answer(whole, &o, 0, NULL);
    struct oracle oracle = { whole->ids, whole->n, 1, { 1 } };
    o.mtp = 8;
    o.token = stop_at;
    o.machine.progress.user = &seen;
    answer(found, &o, 0, &oracle);
    check(found->n == 6 && seen == 6 && found->finish == SURPRISAL_FINISH_INTERRUPTED
          && same_i32(where, found->ids, whole->ids, 6), "a callback stops inside of drafts",
          "%zu tokens, %zu seen: %s", found->n, seen, where);
    free(whole), free(found);
}

static void test_refusals(void)
{
    struct surprisal_generate_options o = options_of(0);
    struct surprisal_error err = { 0 };
    struct surprisal_generate_result r;
    o.prompt = "x";
    o.mtp = 9;
    check(!surprisal_generate_check(&o, &err) && strstr(err.message, "more than 8 drafts"),
          "nine drafts", "%s", err.message);
    o.checkpoint = "tests/fixtures/mini";
    o.mtp = 1;
    check(!surprisal_generate(&o, &r, &err) && strstr(err.message, "has no MTP layer"),
          "a checkpoint without the layer", "%s", err.message);
}

int main(void)
{
    struct random r = { 3 };
    for (size_t i = 0; i < PROMPT; i++)
        prompt[i] = (int32_t)random_below(&r, 4000);
    test_acceptances();
    test_ends();
    test_end_token();
    test_callback();
    test_refusals();
    return check_done();
}
