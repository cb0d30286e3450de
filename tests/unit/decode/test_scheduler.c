/* The scheduler on the demo checkpoints: whatever else runs, however small the pool, with whatever
 * threads and pieces, each request gets the bits that it gets alone; requests start in order, and
 * running ones wait for one piece at most; one that fails or leaves disturbs no other. */
#include "tests/unit/decode/scheduler_fixture.h"

#include "decode/speculation.h"
#include "engine/pass.h"

enum { CONTEXT = MOST_PROMPT + MOST_ANSWER, CLIENTS = 14, PREAMBLES = 3, TURN = 4001 };

static struct client clients[CLIENTS];
static struct record wants[CLIENTS];

/* ---- a crowd that comes and goes ------------------------------------------------------------ */

/* Some begin with the same tokens, some want logits of their prompts, one wants no answer; three
 * outgrow the blocks that they have when they start. */
static void make_clients(void)
{
    struct random r = { 5 };
    struct client preamble[PREAMBLES];
    for (size_t i = 0; i < PREAMBLES; i++)
        client_fill(&preamble[i], 100 + i, 70 + 60 * i, 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        const struct client *p = &preamble[i / 5];
        size_t common = i % 4 ? p->n_prompt : 0, rest = 1 + random_below(&r, 60);
        struct client *c = &clients[i];
        if (i >= 5 && i < 8)
            client_fill(c, i, 128 - i, 150 + i);
        else
            client_fill(c, i, common + rest, i ? 1 + random_below(&r, 16) : 0);
        memcpy(c->prompt, p->prompt, size_min(common, c->n_prompt) * sizeof *c->prompt);
        c->prompt[0] = TURN;
        c->prompt[common < c->n_prompt ? common : c->n_prompt / 2] = TURN;
        if (i % 5 == 0)
            c->first_logits = random_below(&r, c->n_prompt);
    }
}

struct arrivals {
    struct random random;
    size_t n_clients, added, alive;
    bool leave;                         /* some are cancelled at a random token */
};

static void add_next(struct crowd *crowd)
{
    struct arrivals *a = crowd->user;
    struct error err = { 0 };
    if (a->added == a->n_clients)
        return;
    a->alive++;
    must(client_add(crowd, &clients[a->added++], &err), &err);
}

static void maybe_add(struct crowd *crowd, struct client *c)
{
    struct arrivals *a = crowd->user;
    if (random_below(&a->random, 4) == 0)
        add_next(crowd);
    if (a->leave && random_below(&a->random, 25) == 0)
        scheduler_cancel(crowd->s, c->ticket);
}

static void add_if_none(struct crowd *crowd, struct client *c)
{
    struct arrivals *a = crowd->user;
    (void)c;
    if (--a->alive == 0)
        add_next(crowd);
}

/* The share of drafts that are right, in per cent; the others are the layer's, which was not
 * trained. */
static size_t right;

static void replace_drafts(void *user, size_t position, int32_t *drafts, size_t n)
{
    const struct client *c = user;
    const struct record *want = &wants[c - clients];
    struct random r = { c->seed + position };
    for (size_t i = 0; i < n && position - c->n_prompt + i < want->n; i++)
        if (random_below(&r, 100) < right)
            drafts[i] = want->ids[position - c->n_prompt + i];
}

enum { WAITS = 1, HITS = 2, LEAVES = 4 };

/* clang-format off */
static const struct scene {
    const char *name, *checkpoint;
    enum compute_type compute;
    enum dtype kv;
    int n_threads;
    size_t sequences, kv_tokens, cache_bytes, piece, decoding_piece;
    int expected;
    size_t n_clients, n_drafts, right;
} scenes[] = {              /* neighbours with the same results share what runs alone */
    { "8 at once",             "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 8, 0,       0,       0,   0,   0, CLIENTS, 0, 0 },
    { "two threads",           "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  2, 3, 0,       1 << 24, 64,  64,  0, 5, 0, 0 },
    { "a pool of one context", "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 8, CONTEXT, 0,       128, 64,  WAITS, CLIENTS, 0, 0 },
    { "and a prefix cache",    "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 8, CONTEXT, 1 << 24, 64,  128, WAITS | HITS, CLIENTS, 0, 0 },
    { "3 drafts of each",      "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 5, 0,       1 << 24, 128, 64,  HITS, CLIENTS, 3, 85 },
    { "drafts, a small pool",  "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  2, 8, CONTEXT, 1 << 24, 64,  128, WAITS | HITS, CLIENTS, 8, 95 },
    { "an untrained layer",    "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 8, 0,       0,       0,   0,   0, CLIENTS, 1, 0 },
    { "a cache of few states", "data/demo/mxfp4", COMPUTE_F32,  DTYPE_F32,  1, 3, 0,       1 << 20, 0,   1,   HITS, CLIENTS, 0, 0 },
    { "keys rounded to BF16",  "data/demo/mxfp4", COMPUTE_F32,  DTYPE_BF16, 1, 6, 700,     1 << 24, 0,   64,  HITS, CLIENTS, 0, 0 },
    { "bf16, and some leave",  "data/demo/bf16",  COMPUTE_BF16, DTYPE_BF16, 1, 5, CONTEXT, 1 << 24, 192, 128, HITS | LEAVES, CLIENTS, 0, 0 },
    { "and 2 drafts of each",  "data/demo/bf16",  COMPUTE_BF16, DTYPE_BF16, 1, 5, CONTEXT, 1 << 24, 192, 128, HITS | LEAVES, CLIENTS, 2, 85 },
    { "bf16, two threads",     "data/demo/bf16",  COMPUTE_BF16, DTYPE_BF16, 2, 5, 0,       0,       192, 128, 0, 4, 0, 0 },
};
/* clang-format on */

static struct crowd crowd_on(struct fixture *f, const struct scheduler_options *o)
{
    struct crowd crowd = CROWD_EMPTY;
    struct error err = { 0 };
    crowd.s = scheduler_open(f->e, o, &err);
    must(crowd.s != NULL, &err);
    crowd.vocab_size = f->ck.config.vocab_size;
    return crowd;
}

/* Does client i have what it gets alone?  One that was cancelled, up to there. */
static bool is_right(const char *scene, size_t i)
{
    const struct client *c = &clients[i];
    bool is_done = c->end == SCHEDULER_DONE;
    bool ok = c->ends == 1 && c->starts == 1 && c->end != SCHEDULER_FAILED
           && (is_done ? c->got.n == c->n_answer : c->got.n > 0)
           && same_record(&c->got, &wants[i], c->got.n);
    if (!ok)
        printf("# %s: client %zu, prompt %zu, answer %zu of %zu, ends %zu: %s\n", scene, i,
               c->n_prompt, c->got.n, c->n_answer, c->ends, c->err.message);
    return ok;
}

static void check_scene(const struct scene *scene, const struct scheduler_figures *f)
{
    size_t wrong = 0, left = 0;
    for (size_t i = 0; i < scene->n_clients; i++) {
        wrong += !is_right(scene->name, i);
        left += clients[i].end == SCHEDULER_CANCELLED;
    }
    check(wrong == 0, scene->name, "%zu of %zu do not have their bits", wrong, scene->n_clients);
    int seen = (f->waited_again ? WAITS : 0) | (f->cache_hits ? HITS : 0) | (left ? LEAVES : 0);
    check((seen & scene->expected) == scene->expected, "it is what its name says",
          "%s: %zu waited again, %zu tokens from the cache, %zu left", scene->name,
          f->waited_again, f->cache_hits, left);
    printf("# %s: %zu steps, %zu of %zu tokens of prompts prefilled, %zu from the cache, "
           "%zu waited again, %zu states kept\n", scene->name, f->steps, f->prefilled_tokens,
           f->prompt_tokens, f->cache_hits, f->waited_again, f->cached_states);
}

/* Right drafts make steps fewer; a layer whose drafts are wrong drafts no more. */
static void check_drafts(const struct scene *scene, const struct scheduler_figures *f)
{
    size_t accepted = 0, most = 0;
    for (size_t i = 0; i < scene->n_drafts; i++)
        accepted += f->accepted_tokens[i];
    for (size_t i = 0; i < scene->n_clients; i++)
        most += size_min(clients[i].n_answer, SPECULATION_WINDOW);
    printf("# %s: %zu steps had %zu drafts, %zu were right\n", scene->name, f->drafts,
           f->drafted_tokens, accepted);
    if (scene->right)
        check(2 * accepted > f->drafted_tokens && accepted > f->drafts, "most drafts are right",
              "%zu of %zu in %zu steps", accepted, f->drafted_tokens, f->drafts);
    else
        check(f->drafts > 0 && f->drafts <= most && 2 * accepted < f->drafted_tokens,
              "drafts that are wrong are given up", "%zu steps, expected at most %zu", f->drafts,
              most);
}

static bool same_results(const struct scene *a, const struct scene *b)
{
    return a->kv == b->kv && a->compute == b->compute && strcmp(a->checkpoint, b->checkpoint) == 0;
}

static void test_scene(const struct scene *scene, bool wants_are_known)
{
    const struct engine_options engine = { .n_threads = scene->n_threads,
                                           .compute = scene->compute };
    const struct scheduler_options options = {
        .context = CONTEXT, .max_sequences = scene->sequences, .kv_tokens = scene->kv_tokens,
        .kv_dtype = scene->kv, .prefix_cache_bytes = scene->cache_bytes,
        .piece_tokens = scene->piece, .decoding_piece = scene->decoding_piece, .turn_id = TURN,
        .n_drafts = scene->n_drafts, .replace_drafts = replace_drafts,
    };
    struct arrivals arrivals = { .random = { scene->sequences }, .n_clients = scene->n_clients,
                                 .leave = scene->expected & LEAVES };
    struct fixture f;
    struct scheduler_figures figures;
    right = scene->right;
    fixture_open(&f, scene->checkpoint, &engine);
    for (size_t i = 0; !wants_are_known && i < CLIENTS; i++)
        run_alone(&f, scene->kv, &clients[i], &wants[i]);
    struct crowd crowd = crowd_on(&f, &options);
    crowd.at_token = maybe_add;
    crowd.at_end = add_if_none;
    crowd.user = &arrivals;
    add_next(&crowd);
    crowd_wait(&crowd, scene->n_clients);
    scheduler_read_figures(crowd.s, &figures);
    check_scene(scene, &figures);
    if (scene->n_drafts)
        check_drafts(scene, &figures);
    scheduler_close(crowd.s);
    fixture_close(&f);
}

/* ---- order, and pieces -------------------------------------------------------------------- */

static struct client some[8];

static const struct scheduler_options plain = {
    .context = CONTEXT, .max_sequences = 3, .kv_dtype = DTYPE_F32, .piece_tokens = 256,
    .decoding_piece = 64, .turn_id = -1,
};

static void add(struct crowd *crowd, struct client *c)
{
    struct error err = { 0 };
    must(client_add(crowd, c, &err), &err);
}

/* Of tokens of one client, one after the other. */
struct pace {
    size_t steps, prefilled;            /* at the last token */
    size_t first_steps;                 /* at the first one */
    size_t most_steps, most_prefilled;  /* between two of them */
};

static void note_pace(struct crowd *crowd, struct client *c)
{
    struct pace *p = crowd->user;
    struct scheduler_figures f;
    scheduler_read_figures(crowd->s, &f);
    if (c->got.n == 1 && c == some)     /* the others come while it decodes */
        for (size_t i = 1; i < 6; i++)
            add(crowd, &some[i]);
    p += c - some;
    if (c->got.n == 1) {
        p->first_steps = f.steps;
    } else {
        p->most_steps = size_max(p->most_steps, f.steps - p->steps);
    }
    if (c->got.n > 2)                   /* the first came with a piece of its own prompt */
        p->most_prefilled = size_max(p->most_prefilled, f.prefilled_tokens - p->prefilled);
    p->steps = f.steps;
    p->prefilled = f.prefilled_tokens;
}

static void test_pace(struct fixture *f)
{
    static const size_t prompts[] = { 300, 310, 20, 200, 64, 150 };
    static const size_t answers[] = { 30, 20, 9, 12, 5, 4 };
    struct pace pace[6] = { { 0 } };
    struct crowd crowd = crowd_on(f, &plain);
    size_t steps = 0, prefilled = 0;
    bool in_order = true;
    crowd.at_token = note_pace;
    crowd.user = pace;
    for (size_t i = 0; i < 6; i++)
        client_fill(&some[i], 20 + i, prompts[i], answers[i]);
    add(&crowd, some);
    crowd_wait(&crowd, 6);
    for (size_t i = 0; i < 6; i++) {
        in_order = in_order && some[i].order == i && some[i].got.n == answers[i];
        steps = size_max(steps, pace[i].most_steps);
        prefilled = size_max(prefilled, pace[i].most_prefilled);
    }
    check(in_order, "requests start in the order in which they come", "the second is number %zu",
          some[1].order);
    check(steps == 1, "each running request gets a token in each step", "one waits %zu", steps);
    check(prefilled == 64, "between two tokens of a request is one short piece at most",
          "%zu tokens of prompts", prefilled);
    check(pace[0].first_steps == 1, "alone, a prompt goes in pieces of full length",
          "%zu steps are done before the second of 300 tokens in pieces of 256",
          pace[0].first_steps);
    scheduler_close(crowd.s);
}

/* ---- clients that fail, leave, or are refused ------------------------------------------------ */

static void test_failures(struct fixture *f)
{
    /* clang-format off */
    static const struct {
        const char *name, *word;
        size_t n_prompt, n_answer, fail_at, first_logits;
        int32_t wrong_id;
        enum scheduler_end end;
    } cases[] = {
        { "one that is well",        "",             70,      9,   0, 69, 0,       SCHEDULER_DONE },
        { "a token that fails",      "client fails", 30,      9,   3, 29, 0,       SCHEDULER_FAILED },
        { "an id that is none",      "id 1048576",   5,       9,   2, 4,  1 << 20, SCHEDULER_FAILED },
        { "logits that fail",        "row 7",        90,      9,   0, 7,  0,       SCHEDULER_FAILED },
        { "an answer too long",      "the context",  120,     20,  0, 119, 0,      SCHEDULER_FAILED },
        { "another that is well",    "",             100,     12,  0, 0,  0,       SCHEDULER_DONE },
    };
    /* clang-format on */
    enum { N = sizeof cases / sizeof *cases };
    struct scheduler_options o = plain;
    struct scheduler_figures figures;
    struct record want;
    o.context = 128;
    struct crowd crowd = crowd_on(f, &o);
    for (size_t i = 0; i < N; i++) {
        client_fill(&some[i], 40 + i, cases[i].n_prompt, cases[i].n_answer);
        some[i].fail_at = cases[i].fail_at;
        some[i].wrong_id = cases[i].wrong_id;
        some[i].first_logits = cases[i].first_logits;
        some[i].fail_rows = strcmp(cases[i].word, "row 7") == 0;
        add(&crowd, &some[i]);
    }
    crowd_wait(&crowd, N);
    for (size_t i = 0; i < N; i++) {
        bool ok = some[i].ends == 1 && some[i].end == cases[i].end;
        if (ok && cases[i].end == SCHEDULER_DONE) {
            run_alone(f, DTYPE_F32, &some[i], &want);
            ok = same_record(&some[i].got, &want, cases[i].n_answer);
        } else {
            ok = ok && strstr(some[i].err.message, cases[i].word);
        }
        check(ok, cases[i].name, "ends as %d, %zu tokens: %s", (int)some[i].end, some[i].got.n,
              some[i].err.message);
    }
    scheduler_read_figures(crowd.s, &figures);
    check(figures.running == 0 && figures.waiting == 0 && figures.kv_used == 0 && !figures.failed,
          "afterwards nothing runs, and nothing is used", "%zu run, %zu wait, %zu tokens",
          figures.running, figures.waiting, figures.kv_used);
    scheduler_close(crowd.s);
}

static void test_refusals(struct fixture *f)
{
    struct crowd crowd = crowd_on(f, &plain);
    struct error err = { 0 };
    struct client *c = &some[0];
    client_fill(c, 60, 4, 1);
    c->n_prompt = 0;
    check(!client_add(&crowd, c, &err) && strstr(err.message, "no tokens") && !err.lacking,
          "a prompt without tokens is refused", "%s", err.message);
    c->n_prompt = 4;
    c->prompt[2] = -1;
    check(!client_add(&crowd, c, &err) && strstr(err.message, "token 2 has id -1"),
          "an id outside the vocabulary is refused", "%s", err.message);
    scheduler_close(crowd.s);
    struct scheduler_options o = plain;
    o.context = 100;
    crowd = crowd_on(f, &o);
    client_fill(c, 61, 101, 1);
    check(!client_add(&crowd, c, &err) && strstr(err.message, "101 tokens"),
          "a prompt longer than the context is refused", "%s", err.message);
    client_fill(c, 61, 100, 0);
    c->first_logits = 90;
    add(&crowd, c);
    crowd_wait(&crowd, 1);
    check(c->end == SCHEDULER_DONE && c->got.n == 0 && c->got.n_rows == 9,
          "one of just its length gives its logits", "%zu rows: %s", c->got.n_rows, c->err.message);
    scheduler_close(crowd.s);
}

static void fill_queue(struct crowd *crowd, struct client *c)
{
    struct error *err = crowd->user;
    if (c != some || c->got.n != 1)
        return;
    add(crowd, &some[1]);
    add(crowd, &some[2]);
    check(!client_add(crowd, &some[3], err) && err->lacking,
          "beyond the queue a request is refused", "%s", err->message);
    scheduler_cancel(crowd->s, some[1].ticket);
    scheduler_cancel(crowd->s, 12345);
}

/* One place, two that wait. */
static void test_queue(struct fixture *f)
{
    struct scheduler_options o = plain;
    struct error err = { 0 };
    o.max_sequences = 1;
    o.max_queue = 2;
    struct crowd crowd = crowd_on(f, &o);
    crowd.at_token = fill_queue;
    crowd.user = &err;
    for (size_t i = 0; i < 4; i++)
        client_fill(&some[i], 70 + i, 30, 170);
    add(&crowd, some);
    crowd_wait(&crowd, 1);
    check(some[1].ends == 1 && some[1].end == SCHEDULER_CANCELLED && some[1].starts == 0,
          "one that waits can leave", "%zu starts", some[1].starts);
    scheduler_close(crowd.s);
    check(some[0].ends == 1 && some[2].ends == 1 && some[2].end == SCHEDULER_CANCELLED
          && some[0].got.n < 170, "closing ends what runs and what waits", "%zu tokens, ends %zu, "
          "%zu", some[0].got.n, some[0].ends, some[2].ends);
}

/* ---- in the middle of the work ------------------------------------------------------------ */

struct watch {
    struct crowd *crowd;
    struct client *cancel;              /* at the given report */
    size_t reports, at;
    bool stop;                          /* at that report the work is to stop */
};

static bool watch(void *user, const char *stage, double done, double total, const char *unit)
{
    struct watch *w = user;
    (void)stage, (void)done, (void)total, (void)unit;
    if (++w->reports != w->at)
        return true;
    if (w->cancel)
        scheduler_cancel(w->crowd->s, w->cancel->ticket);
    return !w->stop;
}

static void test_middle(const char *checkpoint)
{
    struct watch w = { .at = 20, .cancel = some };
    const struct engine_options engine = { .n_threads = 1, .progress = { .report = watch,
                                                                         .user = &w } };
    struct fixture f;
    struct record want;
    struct scheduler_figures figures;
    struct error err = { 0 };
    fixture_open(&f, checkpoint, &engine);
    struct crowd crowd = crowd_on(&f, &plain);
    w.crowd = &crowd;
    client_fill(&some[0], 80, 250, 5);
    client_fill(&some[1], 81, 130, 5);
    add(&crowd, &some[0]);
    crowd_wait(&crowd, 1);
    check(some[0].end == SCHEDULER_CANCELLED && some[0].got.n == 0 && w.reports <= w.at + 1,
          "a prompt is left in the middle of a piece", "after %zu reports of %zu", w.reports, w.at);
    add(&crowd, &some[1]);
    crowd_wait(&crowd, 1);
    run_alone(&f, DTYPE_F32, &some[1], &want);
    check(same_record(&some[1].got, &want, 5), "the next request has its bits", "%zu tokens",
          some[1].got.n);

    w = (struct watch){ .at = 120, .stop = true };
    for (size_t i = 0; i < 5; i++) {
        client_fill(&some[i], 80 + i, 60, 100);
        add(&crowd, &some[i]);
    }
    crowd_wait(&crowd, 5);
    size_t failed = 0;
    for (size_t i = 0; i < 5; i++)
        failed += some[i].end == SCHEDULER_FAILED && strstr(some[i].err.message, "interrupted");
    scheduler_read_figures(crowd.s, &figures);
    check(failed == 5 && figures.failed && figures.running + figures.waiting == 0,
          "a failure of the engine ends all with its reason", "%zu: %s", failed,
          some[0].err.message);
    check(!client_add(&crowd, some, &err) && err.interrupted && strstr(err.message, "has failed"),
          "and no more are taken", "%s", err.message);
    scheduler_close(crowd.s);
    fixture_close(&f);
}

/* ---- memory ---------------------------------------------------------------------------------- */

enum { LONG_CONTEXT = 4000, LONG_BLOCKS = 32 };

/* Opens within a budget; false, with an error, if it does not suffice.  *weights: their bytes. */
static bool fits(const struct fixture *f, size_t n_drafts, size_t budget,
                 struct scheduler_memory *m, size_t *weights, struct error *err)
{
    const struct engine_options options = { .n_threads = 1, .memory_bytes = budget,
                                            .mtp = n_drafts ? &f->mtp : NULL };
    const struct scheduler_options o = { .context = LONG_CONTEXT, .kv_dtype = DTYPE_F32,
                                         .prefix_cache_bytes = 12345678, .count_weights = true,
                                         .n_drafts = n_drafts };
    struct engine *e = engine_open(&f->ck, &f->w, &options, err);
    struct scheduler *s = e ? scheduler_open(e, &o, err) : NULL;
    if (s) {
        scheduler_memory(s, m);
        *weights = e->parts.bytes + (n_drafts ? drafter_weight_bytes(e) : 0);
    }
    scheduler_close(s);
    engine_close(e);
    return s != NULL;
}

static void test_budget(const struct fixture *f, size_t n_drafts)
{
    const size_t M = (size_t)1 << 20;
    struct error err = { 0 };
    struct scheduler_memory m, more;
    size_t least = M, named = 0, weights;
    while (!fits(f, n_drafts, least, &m, &weights, &err))
        least += M;
    const char *needs = strstr(err.message, "needs ");
    if (needs)
        sscanf(needs, "needs %zuM", &named);
    check(fits(f, n_drafts, named * M, &more, &weights, &err) && named * M <= least + 4 * M,
          "a budget that is too small is refused with a sum that suffices", "%zuM, named %zuM: %s",
          least / M, named, err.message);
    check(m.bytes + m.weight_memory_bytes <= least && m.weight_memory_bytes < weights
          && m.kv_tokens >= LONG_BLOCKS * KV_BLOCK
          && m.kv_tokens < LONG_BLOCKS * KV_BLOCK * 3 / 2
          && m.bytes == m.kv_bytes + m.state_bytes + m.prefix_cache_bytes + m.draft_bytes
                         + m.buffer_bytes
          && (m.draft_bytes > 0) == (n_drafts > 0),
          "all of it fits into the least budget, with one context", "%zu bytes, %zu tokens",
          m.bytes, m.kv_tokens);
    bool ok = fits(f, n_drafts, 8 * least, &more, &weights, &err);
    check(ok && more.kv_tokens == 8 * LONG_BLOCKS * KV_BLOCK, "a large one has room for 8 contexts",
          "%zu tokens", more.kv_tokens);
    size_t context = (more.kv_bytes + more.draft_bytes - m.kv_bytes - m.draft_bytes) / 7;
    size_t between = more.bytes - 3 * context + weights;
    ok = fits(f, n_drafts, between, &more, &weights, &err);
    check(ok && more.kv_tokens < 6 * LONG_CONTEXT && more.kv_tokens > 4 * LONG_CONTEXT
          && more.bytes + weights <= between, "one between has room for 5",
          "%zu tokens, %zu of %zu bytes", more.kv_tokens, more.bytes + weights, between);
}

int main(void)
{
    const struct engine_options engine = { .n_threads = 1 };
    struct fixture f;
    make_clients();
    for (size_t i = 0; quick() < 2 && i < sizeof scenes / sizeof *scenes; i++)
        test_scene(&scenes[i], i && same_results(&scenes[i], &scenes[i - 1]));
    fixture_open(&f, "data/demo/mxfp4", &engine);
    if (quick() < 2)
        test_pace(&f);
    test_failures(&f);
    test_refusals(&f);
    test_queue(&f);
    test_budget(&f, 0);
    test_budget(&f, 2);
    fixture_close(&f);
    test_middle("data/demo/mxfp4");
    return check_done();
}
