/* The prefix cache below a scheduler: a hit has the bits of a cold start at every length of prompt;
 * where states are kept and found; salts; what goes first. */
#include "tests/unit/decode/scheduler_fixture.h"

enum { CONTEXT = MOST_PROMPT + MOST_ANSWER, TURN = 4001 };

static struct fixture f;
static struct crowd crowd;
static struct client c;

static void open_cache(size_t cache_bytes, size_t context)
{
    const struct scheduler_options o = {
        .context = context, .max_sequences = 2, .kv_dtype = DTYPE_F32, .kv_tokens = context,
        .prefix_cache_bytes = cache_bytes, .turn_id = TURN,
    };
    struct error err = { 0 };
    crowd = (struct crowd)CROWD_EMPTY;
    crowd.s = scheduler_open(f.e, &o, &err);
    must(crowd.s != NULL, &err);
    crowd.vocab_size = f.ck.config.vocab_size;
}

/* Tokens of c's prompt that come from the cache. */
static size_t run(void)
{
    struct error err = { 0 };
    must(client_add(&crowd, &c, &err), &err);
    crowd_wait(&crowd, 1);
    if (c.end != SCHEDULER_DONE)
        must(false, &c.err);
    return c.n_cached;
}

static size_t states(void)
{
    struct scheduler_figures figures;
    scheduler_read_figures(crowd.s, &figures);
    return figures.cached_states;
}

/* ---- bits ------------------------------------------------------------------------------- */

/* Each prompt twice: most of the second comes from the cache. */
static void test_lengths(void)
{
    static const size_t few[] = { 1, 2, 63, 64, 65, 66, 127, 128, 129, 192, 193, 200 };
    size_t wrong = 0, n_lengths = quick() ? sizeof few / sizeof *few >> (quick() > 1) : 200;
    open_cache(1 << 24, CONTEXT);
    for (size_t i = 0; i < n_lengths; i++) {
        size_t n = quick() ? few[i] : i + 1;
        struct record cold;
        client_fill(&c, 1000 + n, n, 3);
        run();
        cold = c.got;
        size_t cached = run();
        bool ok = cached == (n - 1) / DELTA_CHUNK * DELTA_CHUNK && same_record(&c.got, &cold, 3);
        if (ok && (quick() || n % 16 < 2)) {      /* and cold is what it is without a scheduler */
            run_alone(&f, DTYPE_F32, &c, &cold);
            ok = same_record(&c.got, &cold, 3);
        }
        if (!ok)
            printf("# a prompt of %zu tokens: %zu from the cache\n", n, cached);
        wrong += !ok;
    }
    check(wrong == 0, "a hit has the bits of a cold start, at every length", "%zu of %zu have not",
          wrong, n_lengths);
    scheduler_close(crowd.s);
}

/* ---- places ----------------------------------------------------------------------------- */

/* A prompt that was seen, and then one with the same first tokens. */
/* clang-format off */
static const struct {
    const char *name;
    size_t turns[3];                    /* places of <|im_start|> in the first one */
    size_t n_first, common, n_then;
    size_t first_logits;                /* wanted of the second; 0: the last */
    const char *salts[2];
    size_t expected;
} places[] = {
    { "before the end",                         { 0 },           200, 200, 260, 0,   { NULL }, 192 },
    { "a shorter prompt finds no longer state", { 0 },           200, 200, 150, 0,   { NULL }, 0 },
    { "before the last turn",                   { 5, 70, 180 },  200, 180, 260, 0,   { NULL }, 128 },
    { "before the second turn",                 { 5, 70, 180 },  200, 70,  260, 0,   { NULL }, 64 },
    { "nowhere else",                           { 5, 135, 180 }, 200, 127, 260, 0,   { NULL }, 0 },
    { "one token less than a state",            { 0 },           200, 191, 260, 0,   { NULL }, 0 },
    { "the whole of a state",                   { 0 },           200, 192, 260, 0,   { NULL }, 192 },
    { "a state is not behind wanted logits",    { 5, 70, 180 },  200, 200, 260, 100, { NULL }, 64 },
    { "it is where they begin",                 { 5, 70, 180 },  200, 200, 260, 128, { NULL }, 128 },
    { "another salt",                           { 0 },           200, 200, 260, 0,   { "a", "b" }, 0 },
    { "a salt and none",                        { 0 },           200, 200, 260, 0,   { "a", NULL }, 0 },
    { "the same salt",                          { 0 },           200, 200, 260, 0,   { "a", "a" }, 192 },
};
/* clang-format on */

static void test_places(void)
{
    size_t n = quick() < 2 ? sizeof places / sizeof *places : 1;
    for (size_t i = 0; i < n; i++) {
        struct client then;
        struct record want;
        open_cache(1 << 24, CONTEXT);
        client_fill(&c, 2000 + i, places[i].n_first, 2);
        client_fill(&then, 3000 + i, places[i].n_then, 2);
        for (size_t t = 0; t < 3; t++)
            c.prompt[places[i].turns[t]] = TURN;
        memcpy(then.prompt, c.prompt, size_min(places[i].common, then.n_prompt) * sizeof *c.prompt);
        c.salt = places[i].salts[0];
        run();
        c = then;
        c.salt = places[i].salts[1];
        if (places[i].first_logits)
            c.first_logits = places[i].first_logits;
        size_t cached = run();
        run_alone(&f, DTYPE_F32, &c, &want);
        check(cached == places[i].expected && same_record(&c.got, &want, 2), places[i].name,
              "%zu tokens from the cache, expected %zu", cached, places[i].expected);
        scheduler_close(crowd.s);
    }
}

/* ---- what goes ----------------------------------------------------------------------------- */

/* Sees prompt `seed` of 100 tokens; was it kept? */
static bool see(uint64_t seed)
{
    client_fill(&c, seed, 100, 1);
    return run() == 64;
}

static void test_eviction(void)
{
    size_t state = sequence_state_bytes(&f.ck.config, CONTEXT);
    open_cache(2 * state + state / 2, CONTEXT);
    bool ok = !see(1) && !see(2) && see(1) && !see(3);      /* 2 goes */
    check(ok && states() == 2 && see(1) && see(3) && !see(2),
          "what was not used for the longest time goes first", "%zu states", states());
    scheduler_close(crowd.s);

    open_cache(state / 2, CONTEXT);
    check(!see(1) && !see(1) && states() == 0, "what is larger than the budget is not kept",
          "%zu states", states());
    scheduler_close(crowd.s);

    open_cache(0, CONTEXT);
    check(!see(1) && !see(1) && states() == 0, "without a budget nothing is kept", "%zu states",
          states());
    scheduler_close(crowd.s);

    /* Four blocks, of which three prompts leave one each; then one needs three. */
    open_cache(100 * state, CONTEXT);
    for (uint64_t seed = 1; seed <= 3; seed++)
        see(seed);
    size_t before = states();
    struct record want;
    client_fill(&c, 50, 300, 20);
    run();
    run_alone(&f, DTYPE_F32, &c, &want);
    check(before == 3 && same_record(&c.got, &want, 20) && see(3) && !see(1),
          "kept states give their blocks to a request that needs them, the oldest first",
          "%zu states before", before);
    scheduler_close(crowd.s);

    /* Two blocks, and a state of 192 tokens that shares the second one. */
    open_cache(100 * state, 256);
    client_fill(&c, 51, 200, 56);
    run();
    run_alone(&f, DTYPE_F32, &c, &want);
    check(same_record(&c.got, &want, 56) && states() == 0,
          "one request has room, whatever is kept", "%zu tokens, %zu states", c.got.n, states());
    scheduler_close(crowd.s);
}

int main(void)
{
    const struct engine_options options = { .n_threads = 1 };
    fixture_open(&f, "data/demo/mxfp4", &options);
    test_lengths();
    test_places();
    if (quick() < 2)
        test_eviction();
    fixture_close(&f);
    return check_done();
}
